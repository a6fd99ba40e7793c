"""Lines of frameworks as they were printed: Megatron-LM issue 756, torchtitan pull requests 1287 and 2389, DeepSpeed issues 3742
and 1825, MaxText pull request 2232, GPT-NeoX."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.calibration.steps.formats import Memory, Sample, Timers, facts_in
from planner.calibration.steps.log_file import read_log
from planner.errors import PlannerError

MEGATRON = (
    " [2024-04-06 02:55:45] iteration        2/     100 | consumed samples:          256 | elapsed time per iteration (ms): "
    "5630.1 | throughput per GPU (TFLOP/s/GPU): 231.9 | global batch size:   128 | lm loss: 2.021530E+00 |"
)
TORCHTITAN = (
    "[titan] 2026-02-24 19:46:17,508 - root - INFO - step:  4  loss:  7.62585  grad_norm: 26.6250  memory: 66.91GiB(37.51%)"
    "  tps: 10,050  tflops: 314.71  mfu: 13.99%"
)
DEEPSPEED = (
    "[2023-07-25 21:03:17,269] [INFO] [timer.py:215:stop] epoch=0/micro_step=34/global_step=34, "
    "RunningAvgSamplesPerSec=7.86, CurrSamplesPerSec=8.009, MemAllocated=59.65GB, MaxMemAllocated=63.31GB"
)
OLD_DEEPSPEED = "[timer.py:189:stop] 0/40, SamplesPerSec=83.486, MemAllocated=0.26GB, MaxMemAllocated=9.02GB"
NEOX = " samples/sec: 7.799 | iteration       34/   10000 | elapsed time per iteration (ms): 4103.1 | lm_loss: 1.1E+01 |"
PIPELINE = "steps: 10 loss: 7.9123 iter time (s): 1.250 samples/sec: 51.200"
MAXTEXT = (
    "completed step: 9, seconds: 5.667, TFLOP/s/device: 134.924, Tokens/s/device: 8672.758, loss: 10.374"
)

STEPS = {
    "megatron": (MEGATRON, ("Megatron-LM", 2, "step_time_s", 5.6301)),
    "torchtitan": (TORCHTITAN, ("torchtitan", 4, "tokens_per_s_per_device", 10050.0)),
    "deepspeed": (DEEPSPEED, ("DeepSpeed", 34, "samples_per_s", 8.009)),
    "old deepspeed": (OLD_DEEPSPEED, ("DeepSpeed", 40, "samples_per_s_average", 83.486)),
    "gpt-neox": (NEOX, ("Megatron-LM", 34, "step_time_s", 4.1031)),
    "deepspeed pipeline": (PIPELINE, ("DeepSpeed", 10, "step_time_s", 1.25)),
    "maxtext": (MAXTEXT, ("MaxText", 9, "step_time_s", 5.667)),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps(name: str) -> None:
    text, (program, step, figure, value) = STEPS[name]
    (found,) = [fact for fact in facts_in(1, text) if isinstance(fact, Sample)]
    assert (found.program, found.step, found.figure) == (program, step, figure)
    assert found.value == pytest.approx(value)
    assert found.global_batch == (128 if name == "megatron" else None)


def test_memory_and_timers() -> None:
    line = "[Rank 1] (after 1 iterations) memory (MB) | allocated: 1.5 | max allocated: 54251.0 | max reserved: 61480.0"
    assert list(facts_in(1, line)) == [
        Memory("allocated", 54251.0 * 2**20),
        Memory("reserved", 61480.0 * 2**20),
    ]
    assert Memory("reserved", 66.91 * 2**30) in list(facts_in(1, TORCHTITAN))
    assert Memory("allocated", 63.31 * 2**30) in list(facts_in(1, DEEPSPEED))
    (timers,) = facts_in(1, "time (ms) | forward: 659.86 | optimizer: 1172.51 | batch generator: 0.83")
    assert timers == Timers({"forward": 0.65986, "optimizer": 1.17251, "batch generator": 0.00083})
    (timers,) = facts_in(1, "    forward-compute ................................: (2043.31, 2060.92)")
    assert timers == Timers({"forward-compute": 2.06092})


def test_ranks_that_print_the_same_step_count_once(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    faster = TORCHTITAN.replace("10,050", "10,049")
    file.write_text("\n".join([TORCHTITAN, faster, TORCHTITAN, TORCHTITAN.replace("step:  4", "step:  5")]))
    found = read_log(file)
    assert (found.steps, found.values) == ((4, 5), (10050.0, 10050.0))


def test_the_time_of_an_iteration_goes_before_rates(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_text(f"{DEEPSPEED}\n{NEOX}\n{OLD_DEEPSPEED}\n")
    assert read_log(file).figure == "step_time_s"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("hello\n", None, "holds no step"),
        (f"{MEGATRON}\n{MEGATRON.replace('128', '256')}\n", 2, "the global batch changes"),
        (f"{MAXTEXT}\n{MAXTEXT.replace('5.667', '0.000')}\n", 2, "found step_time_s of 0"),
    ],
)
def test_refused_logs(text: str, line: int | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_text(text)
    with pytest.raises(PlannerError, match=reason) as caught:
        read_log(file)
    assert caught.value.line == line
