"""The job file as users write it: keys, defaults and units, checked at the border.

Kept apart from ``types``: this is what YAML may say, that is what the planner computes with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool

from planner.documents.fields import count, quantity
from planner.errors import PlannerError, suggest
from planner.jobs.knobs import KNOBS, SWITCHES
from planner.jobs.types import CAPTURE_SCOPES, Attention, CaptureScope, Dispatcher, Objective, Optimizer
from planner.units import parse_count, parse_quantity

DTYPE_BYTES: Mapping[str, float] = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "int4": 0.5,
}
"""Formats in which states and gradients may be kept or travel."""

OVERLAPS = ("tp", "dp_reduce", "dp_gather", "pp", "ep", "cp", "offload")


def _quiet(parse: Callable[[object], Any]) -> Callable[[object], Any]:
    """Turns a ``PlannerError`` of a parser into the ``ValueError`` that pydantic collects with its field."""

    def check(value: object) -> Any:
        try:
            return parse(value)
        except PlannerError as error:
            raise ValueError(error.message) from None

    return check


def _dtype_bytes(value: object) -> float:
    if isinstance(value, str) and value in DTYPE_BYTES:
        return DTYPE_BYTES[value]
    raise PlannerError(f"found {value!r}; {suggest(str(value), DTYPE_BYTES)}")


def _capture(value: object) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    parts = value if isinstance(value, list | tuple) else [value]
    for part in parts:
        if part not in CAPTURE_SCOPES:
            hint = suggest(str(part), CAPTURE_SCOPES)
            raise PlannerError(f"found {part!r}; true, false or a list of parts: {hint}")
    return tuple(parts)


def _overlap(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise PlannerError(
            "found no mapping; accepted: kinds of traffic with true or false, for example {tp: true}"
        )
    return {str(key): _overlap_entry(str(key), item) for key, item in value.items()}


def _overlap_entry(key: str, value: object) -> float:
    if key == "bucket_bytes":
        return parse_quantity(value, "bytes", field=key, allow_zero=False)
    if key == "prefetch":
        return float(value) if isinstance(value, bool) else float(parse_count(value))
    if key not in OVERLAPS:
        raise PlannerError(f"unknown key '{key}'; {suggest(key, (*OVERLAPS, 'bucket_bytes', 'prefetch'))}")
    if isinstance(value, bool):
        return float(value)
    share = parse_quantity(value, "1")
    if share > 1:
        raise PlannerError(f"{key}: found {value!r}; accepted: true, false, or the hidden share from 0 to 1")
    return share


def _knob_table(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise PlannerError("found no mapping; accepted: knobs with their values, for example {tp: 8}")
    known = (*KNOBS, *SWITCHES)
    for key, item in value.items():
        if key not in known:
            raise PlannerError(f"unknown knob '{key}'; {suggest(str(key), known)}")
        if item == []:
            raise PlannerError(f"{key}: found an empty list; accepted: at least one value")
    return dict(value)


def _limits(value: object) -> dict[str, int]:
    limits = {key: parse_count(item) for key, item in _knob_table(value).items()}
    for key, limit in limits.items():
        if limit < 1:
            raise PlannerError(f"{key}: found {limit}; accepted: 1 or more")
    return limits


Count = Annotated[int, count(), Field(ge=1)]
TokenCount = Annotated[int, count(binary=True), Field(ge=1)]
Seconds = Annotated[float, quantity("s", allow_zero=False)]
PositiveNumber = Annotated[float, quantity("1", allow_zero=False)]
Ratio = Annotated[float, quantity("1"), Field(ge=1)]
FractionBelowOne = Annotated[float, quantity("1"), Field(lt=1)]
Capture = Annotated[bool | tuple[CaptureScope, ...], BeforeValidator(_quiet(_capture))]
DTypeBytes = Annotated[float, BeforeValidator(_quiet(_dtype_bytes))]
Knobs = Annotated[dict[str, Any], BeforeValidator(_quiet(_knob_table))]
Limits = Annotated[dict[str, int], BeforeValidator(_quiet(_limits))]
Overlap = Annotated[dict[str, float], BeforeValidator(_quiet(_overlap))]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LossSection(_Section):
    """``training.loss``."""

    vocab_parallel: StrictBool = True
    fused: StrictBool = True
    chunk: Count | None = None


class MoeSection(_Section):
    """``training.moe``."""

    router_imbalance: Ratio = 1.0
    capacity_factor: PositiveNumber | None = None
    dispatcher: Dispatcher = "alltoall"


class TrainingSection(_Section):
    """``training``: exactly one of global_batch and global_batch_tokens; ``tokens`` is the budget of the whole run."""

    global_batch: Count | None = None
    global_batch_tokens: TokenCount | None = None
    seq_len: TokenCount | None = None
    lengths: str | dict[str, Any] | None = None
    precision: Literal["bf16", "fp16", "fp32", "tf32", "fp8", "mxfp8", "nvfp4"] = "bf16"
    optimizer: Optimizer = "adamw"
    optimizer_state_dtype: DTypeBytes | None = None
    gradient_dtype: DTypeBytes | None = None
    gradient_reduce_dtype: DTypeBytes | None = None
    parameter_gather_dtype: DTypeBytes | None = None
    cp_balance: Literal["zigzag", "contiguous"] = "zigzag"
    framework: str = "megatron-core"
    attention: Attention = "flash"
    dropout: FractionBelowOne = 0.0
    loss: LossSection = LossSection()
    capture: Capture = False
    compile: StrictBool = False
    launch_blocking: StrictBool = False
    fp8_recipe: Literal["tensorwise", "rowwise", "delayed", "blockwise", "mxfp8"] | None = None
    moe: MoeSection = MoeSection()
    overlap: Overlap = Field(default_factory=dict)
    tokens: Count | None = None


class TargetSection(_Section):
    """``search.target`` of the objective ``devices``: a rate, or a deadline for a token budget."""

    tokens_per_s: PositiveNumber | None = None
    deadline: Seconds | None = None
    tokens: Count | None = None


class SearchSection(_Section):
    """``search``."""

    objective: Objective = "step_time"
    target: TargetSection | None = None
    fix: Knobs = Field(default_factory=dict)
    limit: Limits = Field(default_factory=dict)
    allow: Knobs = Field(default_factory=dict)
    memory_reserve: FractionBelowOne = 0.06


class JobFile(_Section):
    """A whole job file. ``model`` and ``cluster`` are a name, a path or a mapping, resolved by the loader."""

    model: str | dict[str, Any]
    cluster: str | dict[str, Any]
    devices: Count | None = None
    name: str | None = None
    training: TrainingSection
    search: SearchSection = SearchSection()
