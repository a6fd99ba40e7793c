"""Numbers and layouts in the words of a table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

GIB = 2.0**30


def gib(value_bytes: float) -> str:
    """Bytes in GiB with one decimal: device memory is sold and reported in binary units."""
    return f"{value_bytes / GIB:,.1f} GiB"


def seconds(value_s: float) -> str:
    """A time in s or ms with three significant digits."""
    if value_s == 0:
        return "0"
    if value_s >= 1:
        return f"{value_s:,.2f} s"
    if value_s >= 1e-3:
        return f"{value_s * 1e3:.3g} ms"
    return f"{value_s * 1e6:.3g} us"


def percent(fraction: float) -> str:
    """A fraction as a percentage with one decimal."""
    return f"{100 * fraction:.1f} %"


def share(part: float, whole: float) -> str:
    """``part`` as a percentage of ``whole``; a dash when there is no whole."""
    return percent(part / whole) if whole else "-"


def layout_words(knobs: Mapping[str, Any]) -> str:
    """The knobs that matter of a layout in one short line; what is off or 1 stays out."""
    words = [*_mesh_words(knobs), *_expert_words(knobs), _state_words(knobs), *_memory_words(knobs)]
    return " ".join(word for word in words if word)


def used_devices(knobs: Mapping[str, Any]) -> int:
    """Devices that a layout occupies: tp x cp x pp x dp."""
    return math.prod(int(knobs.get(axis, 1)) for axis in ("tp", "cp", "pp", "dp"))


def _mesh_words(knobs: Mapping[str, Any]) -> list[str]:
    words = [f"tp{knobs['tp']}{'+sp' if knobs.get('sp') else ''}" if knobs.get("tp", 1) > 1 else ""]
    cp, ulysses = knobs.get("cp", 1), knobs.get("ulysses", 1)
    if cp > 1:
        kind = knobs.get("cp_kind", "ring")
        words.append(f"cp{cp}(ulysses{ulysses}×ring{cp // ulysses})" if kind == "usp" else f"cp{cp}({kind})")
    if knobs.get("pp", 1) > 1:
        chunks = f"×{knobs['vpp']}" if knobs.get("vpp", 1) > 1 else ""
        schedule = knobs.get("schedule", "1f1b")
        plain = schedule == ("interleaved_1f1b" if chunks else "1f1b")
        words.append(f"pp{knobs['pp']}{chunks}" + ("" if plain else f"({schedule})"))
    words.append(f"dp{knobs.get('dp', 1)}")
    return words


def _expert_words(knobs: Mapping[str, Any]) -> list[str]:
    return [f"{axis}{knobs[axis]}" for axis in ("ep", "etp") if knobs.get(axis, 1) > 1]


def _state_words(knobs: Mapping[str, Any]) -> str:
    if "shard" in knobs:
        sizes = knobs["shard"]
        text = "/".join(str(sizes.get(state, 1)) for state in ("parameters", "gradients", "optimizer"))
        return f"shard{text}"
    stage = knobs.get("zero_stage") or 0
    return f"zero{stage}" if stage else ""


def _memory_words(knobs: Mapping[str, Any]) -> list[str]:
    words = [f"mb{knobs.get('micro_batch', 1)}×{knobs.get('grad_accum', 1)}"]
    mode = knobs.get("recompute", "none")
    if mode != "none":
        count = knobs.get("recompute_layers")
        layers = "" if count is None else f"[{runs(count) if isinstance(count, list) else count}]"
        words.append(f"recompute-{mode}{layers}")
    for state, move in knobs.get("offload", {}).items():
        part = "" if move.get("fraction", 1.0) == 1.0 else f"×{move['fraction']:g}"
        words.append(f"{state}→{move['tier']}{part}")
    if knobs.get("layers_per_stage"):
        words.append("layers " + runs(knobs["layers_per_stage"]))
    return words


def runs(numbers: Sequence[int]) -> str:
    """``3+13×4+2×3`` for 3, thirteen times 4, twice 3."""
    groups = [(len(list(run)), number) for number, run in itertools.groupby(numbers)]
    return "+".join(f"{count}×{number}" if count > 1 else str(number) for count, number in groups)
