from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from planner.errors import NoAnswerError, PlannerError
from planner.validation.processes import launch
from planner.validation.processes.launch import run_processes

HERE = Path(__file__).parent
SURROUNDINGS = {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}


def start(*arguments: str, count: int = 2, **options: object) -> None:
    run_processes(
        "faulty_worker", arguments, count, environment=SURROUNDINGS, **{"timeout_s": 120, **options}
    )


def running(folder: Path) -> list[int]:
    """Process ids that wrote themselves into the folder and still run (a zombie does not)."""
    pids = [int(file.name) for file in folder.iterdir()]
    states = {pid: Path(f"/proc/{pid}/stat") for pid in pids}
    return [pid for pid, file in states.items() if file.exists() and file.read_text().split()[2] != "Z"]


def wait_until(condition: object, seconds: float = 120.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


def test_processes_reduce_over_all_ranks_with_one_thread_each() -> None:
    lines: list[str] = []
    start("work", count=3, on_line=lines.append)
    assert lines == ["sum [6.0, 6.0, 6.0] 1"]


def test_the_error_of_the_rank_that_failed_first_is_told() -> None:
    with pytest.raises(NoAnswerError, match=r"^rank 1: ValueError: the moon is full$"):
        start("raise")


def test_bad_input_stays_bad_input() -> None:
    with pytest.raises(PlannerError, match=r"^rank 1: layout.tp: no such thing$") as caught:
        start("refuse")
    assert caught.value.exit_code == 2


def test_a_killed_rank_takes_the_others_along() -> None:
    with pytest.raises(NoAnswerError, match=r"^rank 1 died of SIGKILL \(out of memory\?\)$"):
        start("kill")


def test_a_rank_that_does_not_come_is_waited_for_as_long_as_groups_say() -> None:
    with pytest.raises(NoAnswerError, match=r"^rank 0: .*[Tt]imed out waiting 3000ms"):
        start("desert")


def test_wrong_world_size() -> None:
    with pytest.raises(PlannerError, match="world size: 2 processes started, the job needs 3"):
        start("expect", "3")


def test_time_limit_leaves_no_process(tmp_path: Path) -> None:
    for limit in (8, 30, 120):  # a busy machine takes long to start them
        folder = tmp_path / str(limit)
        folder.mkdir()
        with pytest.raises(
            NoAnswerError, match=f"2 processes of faulty_worker hang: nothing heard for {limit} s"
        ):
            start("sleep", str(folder), timeout_s=limit)
        wait_until(lambda: not running(folder))  # noqa: B023
        if len(list(folder.iterdir())) == 2:
            return
    pytest.fail("the processes did not start")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_orphans_when_the_parent_ends(tmp_path: Path, how: signal.Signals) -> None:
    # a shell's background jobs ignore Ctrl-C, and so would their children
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; from test_launch import start; start('sleep', {str(tmp_path)!r})"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **SURROUNDINGS}, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        parent.send_signal(how)
        parent.wait(60)
        wait_until(lambda: not running(tmp_path))
    finally:
        parent.kill()
        parent.wait()


def test_a_port_in_use_is_refused_at_once() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(PlannerError, match=rf"port: port {port} cannot be used: Address already in use"):
            start("work", port=port)


def test_without_torch_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PlannerError, match=r"PyTorch is not installed; pip install '.*\[torch\]'"):
        start("work")


def test_at_least_one_process() -> None:
    with pytest.raises(PlannerError, match="processes: found 0; at least 1"):
        start("work", count=0)


def test_a_module_that_does_not_exist() -> None:
    with pytest.raises(NoAnswerError, match="exit code 1"):
        run_processes("planner.no_such_module", [], 1, timeout_s=120)
