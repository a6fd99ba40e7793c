"""Lines that training frameworks print of their steps.

Megatron-LM (and GPT-NeoX, Megatron-DeepSpeed) print the time of an iteration; torchtitan tokens per second and device; DeepSpeed
samples per second; MaxText seconds. Timers and memory stand on lines of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Program = Literal["Megatron-LM", "DeepSpeed", "torchtitan", "MaxText"]
Figure = Literal["step_time_s", "tokens_per_s_per_device", "samples_per_s", "samples_per_s_average"]
MemoryKind = Literal["allocated", "reserved"]

_NUMBER = r"(\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+)?)"
_MEGATRON = re.compile(
    rf"\biteration\s+(\d+)/\s*\d+\s*\|.*?elapsed time per iteration \((ms|s)\):\s*{_NUMBER}", re.IGNORECASE
)
_GLOBAL_BATCH = re.compile(r"\bglobal batch size:\s*(\d+)")
_TORCHTITAN = re.compile(rf"\bstep:\s*(\d+)\s.*?\bmemory:\s*{_NUMBER}GiB\(.*?\b[tw]ps:\s*{_NUMBER}")
_DEEPSPEED = re.compile(rf"(?:\bglobal_step=|\b\d+/)(\d+),.*?\b(CurrSamplesPerSec|SamplesPerSec)={_NUMBER}")
_PIPELINE = re.compile(rf"\bsteps:\s*(\d+)\s+loss:.*?\biter time \(s\):\s*{_NUMBER}")
_MAXTEXT = re.compile(rf"\bcompleted step:\s*(\d+),\s*seconds:\s*{_NUMBER}")
_TIMERS = re.compile(r"\btime \(ms\)\s*\|(.*)$")
_TIMER = re.compile(rf"([a-z][\w ()-]*?):\s*{_NUMBER}")
_TIMER_LINE = re.compile(rf"^\s*([a-z][\w-]*)\s*\.+:\s*(?:\(\s*{_NUMBER},\s*{_NUMBER}\s*\)|{_NUMBER})\s*$")
_MEGATRON_MEMORY = re.compile(
    rf"\bmemory \(MB\)\s*\|.*?max allocated:\s*{_NUMBER}.*?max reserved:\s*{_NUMBER}"
)
_DEEPSPEED_MEMORY = re.compile(rf"\bMaxMemAllocated=\s*{_NUMBER}\s*GB")


@dataclass(frozen=True)
class Sample:
    """One figure of one step.

    Args:
        line: where it stands. step: number that the program gives it.
        global_batch: sequences per step, where the line says so.
    """

    program: Program
    line: int
    step: int
    figure: Figure
    value: float
    global_batch: int | None = None


@dataclass(frozen=True)
class Timers:
    """Seconds by name of timer; of several ranks the slowest."""

    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Memory:
    """Peak bytes of the rank that prints."""

    kind: MemoryKind
    peak_bytes: float


def facts_in(line: int, text: str) -> Iterator[Sample | Timers | Memory]:
    """What one line of a log tells."""
    sample = _sample(line, text)
    if sample is not None:
        yield sample
    yield from _memory(text)
    joined = _TIMERS.search(text)
    if joined is not None:
        yield Timers({name.strip(): _number(value) / 1e3 for name, value in _TIMER.findall(joined[1])})
    single = _TIMER_LINE.match(text)
    if single is not None:
        yield Timers({single[1]: _number(single[3] or single[4]) / 1e3})


def _sample(line: int, text: str) -> Sample | None:
    found = _MEGATRON.search(text)
    if found is not None:
        batch = _GLOBAL_BATCH.search(text)
        seconds = _number(found[3]) / (1e3 if found[2] == "ms" else 1.0)
        return Sample(
            "Megatron-LM", line, int(found[1]), "step_time_s", seconds, int(batch[1]) if batch else None
        )
    found = _TORCHTITAN.search(text)
    if found is not None:
        return Sample("torchtitan", line, int(found[1]), "tokens_per_s_per_device", _number(found[3]))
    found = _DEEPSPEED.search(text)
    if found is not None:
        figure: Figure = "samples_per_s" if found[2].startswith("Curr") else "samples_per_s_average"
        return Sample("DeepSpeed", line, int(found[1]), figure, _number(found[3]))
    for program, pattern in _SECONDS.items():
        found = pattern.search(text)
        if found is not None:
            return Sample(program, line, int(found[1]), "step_time_s", _number(found[2]))
    return None


_SECONDS: Mapping[Program, re.Pattern[str]] = {"DeepSpeed": _PIPELINE, "MaxText": _MAXTEXT}


def _memory(text: str) -> Iterator[Memory]:
    found = _MEGATRON_MEMORY.search(text)
    if found is not None:  # "MB" of Megatron-LM are 2^20 bytes
        yield Memory("allocated", _number(found[1]) * 2**20)
        yield Memory("reserved", _number(found[2]) * 2**20)
    found = _TORCHTITAN.search(text)
    if found is not None:
        yield Memory("reserved", _number(found[2]) * 2**30)
    found = _DEEPSPEED_MEMORY.search(text)
    if found is not None:  # "GB" of DeepSpeed are 2^30 bytes
        yield Memory("allocated", _number(found[1]) * 2**30)


def _number(text: str) -> float:
    return float(text.replace(",", ""))
