"""Settings that a row leaves open: each has the few values that it may have had, never silently "off"."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner.jobs.framework import Framework
from planner.jobs.types import CAPTURE_SCOPES
from planner.validation.runs.degrees import Degrees, micro_batches_of
from planner.validation.runs.refusal import Refused, lacking
from planner.validation.runs.rows import RunRow

MOST_CHOICES = 64
"""Combinations of unknown settings that one row may have; beyond it the row says nothing."""

UNFUSED = ("megatron-lm", "megatron-deepspeed", "deepspeed")
"""Frameworks whose published runs are older than FlashAttention in them (2019 to 2022)."""

_GATHERS_CONTEXT = ("maxtext",)
"""Frameworks that can do both and gather keys and values unless told otherwise (context_parallel_strategy of configs/base.yml
in AI-Hypercomputer/maxtext)."""

_GRAPHS_SINCE = (25, 9)
"""NeMo release from which benchmarks use CUDA graphs and fused dispatchers, printed or not."""

_WHOLE_WITH_EXPERTS_SINCE = (26, 6)
"""First release whose recipes capture the whole iteration of dropless experts: the counts of rows stay on the device in their
fused kernels. Before, graphs hold parts of a layer (presets of Megatron-Bridge v0.2 to v0.6)."""

_FOLDS_SINCE = (25, 5)
"""NeMo release from which benchmark recipes set an expert tensor-parallel degree of their own."""

_PRESETS_UNTIL = (26, 6)
"""Last NeMo release (its patches included) whose benchmark presets (scripts/performance/configs of NVIDIA-NeMo/Megatron-Bridge)
state graphs and dispatchers wherever they differ from none and all-to-all; later presets are programs."""

_PRECISIONS = ("bf16", "fp16", "fp32", "fp8", "mxfp8", "nvfp4")

_ALSO_CALLED = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float8": "fp8"}
"""PyTorch's names of precisions."""

_RECOMPUTE_SWITCH = {"False": "none", "True": "unknown"}
"""Sources that only say whether activations are computed again leave open which."""


@dataclass(frozen=True)
class Known:
    """What the choices depend on."""

    row: RunRow
    degrees: Degrees
    framework: Framework
    precisions: tuple[str, ...]


def choices_of(known: Known) -> dict[str, tuple[Any, ...]]:
    """Setting -> its possible values; one value where the row states it.

    Raises:
        Refused: the open settings have too many combinations, or a stated value is not known here.
    """
    choices = {name: choose(known) for name, choose in _CHOOSE.items()}
    total = math.prod(len(values) for values in choices.values())
    if total > MOST_CHOICES:
        open_ones = ", ".join(name for name, values in choices.items() if len(values) > 1)
        raise Refused(f"too much is unknown: {open_ones}")
    return choices


def assignments(choices: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Every combination of the values."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def release_of(row: RunRow) -> tuple[int, ...]:
    """The release as numbers, empty when none is printed."""
    return tuple(int(part) for part in re.findall(r"\d+", row.release or ""))


def _vocab(known: Known) -> tuple[int, ...]:
    vocab = known.row.model.vocab
    return (vocab,) if vocab is not None else (32000, 152064)


def _precision(known: Known) -> tuple[str, ...]:
    text = known.row.layout.precision
    if text in (None, "unknown"):
        return tuple(name for name in ("bf16", "fp16") if name in known.precisions) or ("fp32",)
    stated = _ALSO_CALLED.get(str(text).lower(), str(text).lower())
    if stated not in _PRECISIONS:
        raise lacking("precision", str(text))
    return (stated,)


def _recompute(known: Known) -> tuple[str, ...]:
    text = known.row.layout.recompute
    stated = _RECOMPUTE_SWITCH.get(text or "", text)
    if stated in (None, "unknown"):
        return ("none", "selective", "full")
    if stated not in ("none", "selective", "full", "custom"):
        raise lacking("recompute", str(stated))
    return (str(stated),)


def _vpp(known: Known) -> tuple[int, ...]:
    layout, pp = known.row.layout, known.degrees.pp
    if pp == 1:
        return (1,)
    if layout.vpp is not None:
        return (layout.vpp,)
    text = (layout.schedule or "").lower()
    if not layout.has("vpp") and not re.search(r"inter|-i\b|vpp", text):
        return (1,)  # an absent vpp means 1F1B, an empty one is unknown (format of the rows)
    if found := re.search(r"vpp(\d+)", text):
        return (int(found[1]),)
    layers = known.row.model.layers or pp
    whole = [v for v in range(2, layers // pp + 1) if layers % (pp * v) == 0 or (layers + 2) % (pp * v) == 0]
    least = () if re.search(r"inter|-i\b", text) else (1,)
    return tuple(dict.fromkeys((*least, *whole[:1], *whole[-1:]))) or (1,)


def _micro_batch(known: Known) -> tuple[int, ...]:
    return micro_batches_of(known.row, known.degrees)


def _zero_stage(known: Known) -> tuple[int, ...]:
    stated, offered = known.row.layout.zero_stage, known.framework.zero_stages
    if stated is not None:
        return (stated,)
    if known.degrees.dp * known.degrees.cp == 1:
        return (0,)
    return tuple(stage for stage in offered if stage in (0, 1)) or (max(offered),)


def _sequence_parallel(known: Known) -> tuple[bool, ...]:
    if known.degrees.tp == 1:
        return (False,)
    stated = known.row.layout.sp
    if stated is not None:
        return (stated,)
    return (False,) if "sp" not in known.framework.features else (False, True)


def _expert_parallel(known: Known) -> tuple[int, ...]:
    layout, moe, degrees = known.row.layout, known.row.model.moe, known.degrees
    if moe is None or moe.experts is None:
        return (1,)
    if layout.ep is not None:
        return (layout.ep,)
    if known.row.complete or not layout.has("ep"):
        return (1,)
    ranks = degrees.tp * degrees.cp * degrees.dp
    return tuple(n for n in (1, 8, moe.experts) if moe.experts % n == 0 and ranks % n == 0)


def _expert_tensor(known: Known) -> tuple[int, ...]:
    """Megatron-Core's default is the tensor-parallel degree; frameworks without folding know no other."""
    row, tp = known.row, known.degrees.tp
    if row.model.moe is None:
        return (1,)
    if row.layout.etp is not None:
        return (row.layout.etp,)
    folds = "folding" in known.framework.features and not () < release_of(row) < _FOLDS_SINCE
    return (tp,) if tp == 1 or row.complete or not folds or row.layout.etp_assumed else (tp, 1)


def _context_kind(known: Known) -> tuple[str, ...]:
    if known.degrees.cp == 1:
        return ("ring",)
    text = (known.row.layout.cp_kind or "").lower()
    for words, kind in (
        (("hybrid", "usp"), "usp"),
        (("ulysses", "all-to-all", "a2a"), "ulysses"),
        (("gather",), "allgather"),
        (("ring", "p2p"), "ring"),
    ):
        if any(word in text for word in words):
            return (kind,)
    if text == "unknown":
        return ("ring", "allgather")
    rings = "ring" in known.framework.features and known.framework.name not in _GATHERS_CONTEXT
    return ("ring",) if rings else ("allgather",)


def _attention(known: Known) -> tuple[str, ...]:
    layout = known.row.layout
    if layout.attention in ("unfused", "flash", "cudnn"):
        return (layout.attention,)
    if layout.attention_fused is not None:
        return ("flash",) if layout.attention_fused else ("unfused",)
    if known.row.hardware.accelerator.startswith("v100"):
        return ("unfused",)  # FlashAttention needs Turing or later
    if known.framework.name in UNFUSED:
        return ("unfused",) if known.row.complete else ("unfused", "flash")
    return ("flash",)


def _graphs(known: Known) -> tuple[bool | tuple[str, ...], ...]:
    """The whole iteration, parts of a layer, or nothing; the source prints implementation/scope."""
    text = known.row.layout.cuda_graph
    if text is not None:
        kind, _, scopes = text.partition("/")
        parts = tuple(re.findall(r"\w+", scopes)) if kind == "transformer_engine" else ()
        return (tuple(part for part in parts if part in CAPTURE_SCOPES) or kind != "none",)
    if not _silent(known):
        return (False,)
    routed = known.row.model.moe is not None and release_of(known.row) < _WHOLE_WITH_EXPERTS_SINCE
    return (False, ("attn", "moe_router", "moe_preprocess") if routed else True)


def _silent(known: Known) -> bool:
    """Whether graphs and dispatcher may have been in use though the row does not say so."""
    release = release_of(known.row)
    if known.framework.name != "megatron-core" or release < _GRAPHS_SINCE:
        return False
    return known.row.layout.recompute_source is None or release[:2] > _PRESETS_UNTIL


def _dispatcher(known: Known) -> tuple[str, ...]:
    row = known.row
    if row.model.moe is None:
        return ("alltoall",)
    text = (row.layout.moe_dispatcher or row.model.moe.dispatcher or row.layout.kernels or "").lower()
    for word, name in (("hybridep", "hybridep"), ("deepep", "deepep"), ("allgather", "allgather")):
        if word in text:
            return (name,)
    return ("alltoall", "hybridep") if not text and _silent(known) else ("alltoall",)


def _compile(known: Known) -> tuple[bool, ...]:
    layout = known.row.layout
    if layout.compile is not None:
        return (layout.compile,)
    return (False, True) if layout.has("compile") else (False,)


_CHOOSE: Mapping[str, Callable[[Known], tuple[Any, ...]]] = {
    "vocab": _vocab,
    "precision": _precision,
    "recompute": _recompute,
    "vpp": _vpp,
    "micro_batch": _micro_batch,
    "zero_stage": _zero_stage,
    "sp": _sequence_parallel,
    "ep": _expert_parallel,
    "etp": _expert_tensor,
    "cp_kind": _context_kind,
    "attention": _attention,
    "cuda_graph": _graphs,
    "dispatcher": _dispatcher,
    "compile": _compile,
}
