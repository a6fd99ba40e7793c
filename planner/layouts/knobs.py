"""Layout knobs of files and flags to ``Layout`` and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from planner.errors import PlannerError, suggest
from planner.jobs.knobs import KNOBS
from planner.jobs.types import Job
from planner.layouts import knob_values as read
from planner.layouts.aliases import is_action_list, schedule_name
from planner.layouts.knob_text import parse_knob_text
from planner.layouts.knob_values import Place
from planner.layouts.layout import DEFAULT_AXIS_ORDER, DEFAULT_SLICES, Layout, Schedule, Shard
from planner.layouts.presets import zero_shard
from planner.layouts.variants import divisors

_CP_KINDS = ("ring", "ulysses", "usp", "allgather")


def parse_layout(
    knobs: str | Mapping[str, Any] | Layout,
    job: Job,
    *,
    file: str | None = None,
    line: int | None = None,
    base: Path | None = None,
) -> Layout:
    """The layout that knobs describe, with every default resolved for a job.

    Degrees default to 1 and dp to what is left of the devices; micro_batch to 1 and grad_accum to what is left of
    the batch; vpp > 1 to interleaved_1f1b; sp to on when tp > 1 and the framework has it; an unfolded expert mesh to
    etp = tp; slices to 4 under seq1f1b. Legality (heads, layers, the framework's limits) is judged by
    ``legality.check``, not here.

    Args:
        knobs: ``"tp=8,pp=4"``, a mapping with the same names, or a layout (returned as it is).
        base: folder of a relative FILE in ``schedule=csv:FILE`` (default: the current one).

    Raises:
        PlannerError: unknown knob, wrong type, or numbers that contradict each other, with the nearest legal values.
    """
    if isinstance(knobs, Layout):
        return knobs
    place = Place(file, line)
    given = _known(parse_knob_text(knobs) if isinstance(knobs, str) else knobs, place)
    tp = _degree(given, "tp", place)
    pp = _degree(given, "pp", place)
    ulysses, ring, cp_kind = _context(given, job, place)
    dp = _data_parallel(given, tp, ulysses * ring, pp, job, place)
    vpp = _virtual_stages(given, pp, place)
    micro_batch, micro_batches = _batch(given, dp, job, place)
    modules, chosen = job.selective_modules, given.get("recompute_modules")
    unfolded = job.model.experts > 0 and "folding" not in job.framework.features
    default_sp = tp > 1 and "sp" in job.framework.features
    return Layout(
        tp=tp,
        sp=read.truth(given["sp"], "sp", place) if "sp" in given else default_sp,
        ulysses=ulysses,
        ring=ring,
        pp=pp,
        vpp=vpp,
        **_schedule(given, vpp, place, base),
        ep=_degree(given, "ep", place),
        etp=_degree(given, "etp", place, default=tp if unfolded else 1),
        dp=dp,
        shard=_shard(given, dp * ulysses * ring, job, place),
        micro_batch=micro_batch,
        micro_batches=micro_batches,
        recompute=read.recompute(given.get("recompute"), chosen, modules, job.model, place),
        recompute_layers=read.recompute_layers(given.get("recompute_layers"), pp, place),
        offload=read.offload(given.get("offload"), place),
        layers_per_stage=read.number_list(given["layers_per_stage"], "layers_per_stage", place)
        if "layers_per_stage" in given
        else None,
        axis_order=read.axis_order(given["axis_order"], place)
        if "axis_order" in given
        else DEFAULT_AXIS_ORDER,
        cp_kind=cp_kind,
    )


def layout_to_knobs(layout: Layout) -> dict[str, Any]:
    """The knobs of a layout as plain data; ``parse_layout`` of it gives the layout back for the same job."""
    knobs: dict[str, Any] = {
        "tp": layout.tp,
        "sp": layout.sp,
        "cp": layout.cp,
        "ulysses": layout.ulysses,
        "cp_kind": _cp_kind(layout),
        "pp": layout.pp,
        "vpp": layout.vpp,
        "schedule": layout.schedule if layout.schedule_file is None else f"csv:{layout.schedule_file}",
        "ep": layout.ep,
        "etp": layout.etp,
        "dp": layout.dp,
        "micro_batch": layout.micro_batch,
        "grad_accum": layout.micro_batches,
        "recompute": layout.recompute.mode,
        "axis_order": list(layout.axis_order),
    }
    if layout.schedule == "seq1f1b":
        knobs["slices"] = layout.slices
    if layout.layers_per_stage is not None:
        knobs["layers_per_stage"] = list(layout.layers_per_stage)
    if layout.recompute.modules:
        knobs["recompute_modules"] = list(layout.recompute.modules)
    if layout.recompute_layers is not None:
        count = layout.recompute_layers
        knobs["recompute_layers"] = list(count) if isinstance(count, tuple) else count
    knobs |= _shard_knobs(layout)
    moved = {
        state: {"tier": tier, "fraction": fraction}
        for state in ("parameters", "gradients", "optimizer", "activations")
        for tier, fraction in [getattr(layout.offload, state)]
        if tier != "hbm"
    }
    if moved:
        knobs["offload"] = moved
    return {name: knobs[name] for name in KNOBS if name in knobs}


def _shard_knobs(layout: Layout) -> dict[str, Any]:
    stage = layout.zero_stage
    if stage is not None and zero_shard(stage, layout.dp * layout.cp) == layout.shard:
        return {"zero_stage": stage}
    shard = layout.shard
    sizes = {"parameters": shard.parameters, "gradients": shard.gradients, "optimizer": shard.optimizer}
    if shard.parameters_secondary:
        sizes["parameters_secondary"] = shard.parameters_secondary
    return {"shard": sizes}


def _cp_kind(layout: Layout) -> str:
    if layout.cp_kind == "allgather":
        return "allgather"
    if layout.ulysses > 1:
        return "usp" if layout.ring > 1 else "ulysses"
    return "ring"


def _known(given: Mapping[str, Any], place: Place) -> dict[str, Any]:
    for name in given:
        if name not in KNOBS:
            place.fail(str(name), f"unknown knob; {suggest(str(name), KNOBS)}")
    return {name: value for name, value in given.items() if value is not None}


def _degree(given: Mapping[str, Any], name: str, place: Place, default: int = 1) -> int:
    return read.whole_number(given[name], name, place) if name in given else default


def _context(
    given: Mapping[str, Any], job: Job, place: Place
) -> tuple[int, int, Literal["ring", "allgather"]]:
    """(ulysses, ring, how the ring degree is served)."""
    kind = read.choice(given["cp_kind"], "cp_kind", _CP_KINDS, place) if "cp_kind" in given else None
    total = _degree(given, "cp", place) if "cp" in given else None
    ulysses = _degree(given, "ulysses", place) if "ulysses" in given else None
    ring = _degree(given, "ring", place) if "ring" in given else None
    features = job.framework.features
    if kind is None and "ring" not in features and "cp_allgather" in features:
        kind = "allgather"
    if ulysses is None:
        all_ulysses = kind == "ulysses" or (
            kind is None and ring is None and "ring" not in features and "ulysses" in features
        )
        ulysses = (total or ring or 1) // (ring or 1) if all_ulysses or ring is not None else 1
    if ring is None:
        ring = max(1, (total or ulysses) // ulysses)
    if total is not None and ulysses * ring != total:
        legal = ", ".join(str(d) for d in divisors(total))
        place.fail("cp", f"cp={total} is not ulysses x ring = {ulysses} x {ring}; ulysses may be {legal}")
    if kind == "ulysses" and ring > 1:
        place.fail(
            "cp_kind",
            f"cp_kind ulysses leaves no ring, but ulysses={ulysses} of cp={ulysses * ring}; use usp",
        )
    return ulysses, ring, "allgather" if kind == "allgather" else "ring"


def _data_parallel(given: Mapping[str, Any], tp: int, cp: int, pp: int, job: Job, place: Place) -> int:
    inner, devices = tp * cp * pp, job.devices
    if "dp" in given:
        dp = _degree(given, "dp", place)
        idle = bool(job.search.allow.get("idle_devices", False))
        if inner * dp == devices or (idle and inner * dp < devices):
            return dp
        legal = f"; dp must be {devices // inner}" if devices % inner == 0 else ""
        place.fail("dp", f"tp x cp x pp x dp = {tp} x {cp} x {pp} x {dp} is not the {devices} devices{legal}")
    if devices % inner == 0:
        return devices // inner
    near = []
    for name, value in (("tp", tp), ("cp", cp), ("pp", pp)):
        others = inner // value
        choices = [d for d in divisors(devices) if devices % (d * others) == 0]
        if choices and value > 1:
            near.append(f"{name} {_listed(_nearest(choices, value))}")
    hint = f"; nearest legal: {' or '.join(near)}" if near else ""
    raise PlannerError(
        f"tp x cp x pp = {tp} x {cp} x {pp} = {inner} does not divide the {devices} devices{hint}",
        file=place.file,
        line=place.line,
        field=place.prefix,
    )


def _nearest(values: list[int], to: int) -> list[int]:
    return sorted(sorted(values, key=lambda value: (abs(value - to), value))[:3])


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


def _virtual_stages(given: Mapping[str, Any], pp: int, place: Place) -> int:
    if "vpp" in given:
        return _degree(given, "vpp", place)
    if "layers_per_stage" in given:
        stages = len(read.number_list(given["layers_per_stage"], "layers_per_stage", place))
        if stages % pp:
            place.fail(
                "layers_per_stage",
                f"{stages} entries for pp={pp}; accepted: pp x vpp entries, a multiple of {pp}",
            )
        return stages // pp
    return 1


def _schedule(given: Mapping[str, Any], vpp: int, place: Place, base: Path | None) -> dict[str, Any]:
    """The schedule and what goes with it."""
    name, file = _schedule_and_file(given, vpp, place, base)
    slices = _degree(given, "slices", place, default=DEFAULT_SLICES if name == "seq1f1b" else 1)
    return {"schedule": name, "schedule_file": file, "slices": slices}


def _schedule_and_file(
    given: Mapping[str, Any], vpp: int, place: Place, base: Path | None
) -> tuple[Schedule, str | None]:
    if "schedule" not in given:
        return ("interleaved_1f1b" if vpp > 1 else "1f1b"), None
    text = str(given["schedule"])
    if is_action_list(text):
        name = text[len("csv:") :].strip()
        if not name or "\0" in name:
            place.fail(
                "schedule", f"'{text}' names no file; accepted: csv:FILE, a schedule as PyTorch dumps it"
            )
        return "csv", str((base or Path()).absolute() / name)
    field = f"{place.prefix}.schedule"
    return schedule_name(text, file=place.file, line=place.line, field=field), None


def _batch(given: Mapping[str, Any], dp: int, job: Job, place: Place) -> tuple[int, int]:
    """(micro_batch, micro_batches)."""
    batch = job.training.global_batch
    if batch % dp:
        closest = _nearest(list(divisors(batch)), dp)
        place.fail(
            "dp", f"dp={dp} does not divide the global batch {batch}; nearest legal dp: {_listed(closest)}"
        )
    share = batch // dp
    known = "micro_batch" if "micro_batch" in given else ("grad_accum" if "grad_accum" in given else None)
    value = _degree(given, known, place) if known else 1
    if share % value:
        closest = _nearest(list(divisors(share)), value)
        place.fail(
            known or "micro_batch",
            f"{value} does not divide the {share} sequences of a replica; nearest legal: {_listed(closest)}",
        )
    micro_batch, micro_batches = (share // value, value) if known == "grad_accum" else (value, share // value)
    if "grad_accum" in given and _degree(given, "grad_accum", place) != micro_batches:
        place.fail(
            "grad_accum",
            f"micro_batch={micro_batch} and dp={dp} make it {micro_batches}, not {given['grad_accum']}",
        )
    return micro_batch, micro_batches


def _shard(given: Mapping[str, Any], group: int, job: Job, place: Place) -> Shard:
    if "zero_stage" in given and "shard" in given:
        place.fail("shard", "zero_stage is a preset of shard: give one of them")
    if "shard" in given:
        return read.shard(given["shard"], place)
    if "zero_stage" in given:
        stage = read.whole_number(given["zero_stage"], "zero_stage", place, least=0)
        if stage > 3:
            place.fail("zero_stage", f"{stage} is not a ZeRO stage; accepted: 0, 1, 2, 3")
        return zero_shard(stage, group)
    stages = job.framework.zero_stages
    return zero_shard(0 if 0 in stages else min(stages), group)
