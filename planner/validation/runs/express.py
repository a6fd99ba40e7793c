"""A row in the planner's own types: one (job, layout) per assignment of what the row leaves open, or why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.errors import PlannerError
from planner.hardware.types import Cluster
from planner.jobs.framework import Framework
from planner.jobs.rules import faults
from planner.jobs.types import Job, SearchOptions
from planner.layouts.layout import Layout, Offload
from planner.models.catalogue import load_model
from planner.models.graph import ModelGraph
from planner.validation.runs.clusters import (
    CATALOGUE,
    Constants,
    build_cluster,
    reference_nodes,
    with_host,
)
from planner.validation.runs.degrees import Degrees, degrees_of
from planner.validation.runs.layouts import layout_of
from planner.validation.runs.models import candidates, describe, known_architectures
from planner.validation.runs.refusal import Refused
from planner.validation.runs.rows import RunRow
from planner.validation.runs.shelf import Shelf
from planner.validation.runs.software import framework_of, training_of
from planner.validation.runs.unknown import Known, assignments, choices_of

_NOT_TRAINING = ("lora", "peft", "inference")

SMALLEST_RESERVE = SearchOptions(memory_reserve=0.0)
"""A published run left nothing free on purpose."""


@dataclass(frozen=True)
class Variant:
    """One reading of a row.

    Args:
        setting: value of every setting that the row leaves open.
        key: equal for readings whose jobs differ in the batch only, so that they are priced together.
    """

    setting: Mapping[str, Any]
    key: tuple[Any, ...]
    job: Job
    layout: Layout


@dataclass(frozen=True)
class Expressed:
    """A row's readings.

    Args:
        assumed: what the row does not say and had to be taken.
        approximated: what it says and is priced as something near.
        untimed: why its seconds mean nothing, None when they do.
    """

    row: RunRow
    variants: tuple[Variant, ...]
    assumed: tuple[str, ...]
    approximated: tuple[str, ...]
    untimed: str | None


def express(row: RunRow, shelf: Shelf, constants: Constants = CATALOGUE) -> Expressed:
    """The readings of a row.

    Args:
        shelf: what other rows have built.
        constants: of devices, links and profiles.

    Raises:
        Refused: what is missing, or which feature is.
    """
    if row.task in _NOT_TRAINING:
        raise Refused(f"feature: training of adapters ({row.task})")
    hardware, untimed = _named(row, shelf)
    row = row.model_copy(update={"hardware": hardware})
    degrees = degrees_of(row)
    if not degrees.batch_known:
        untimed = "measured: without the global batch a step has no seconds"
    between = "DCN" in (hardware.interconnect or "")
    slices = (row.layout.dp_replicas or 1) if between else 1
    cluster, assumed = build_cluster(hardware, shelf, slices=slices, constants=constants)
    framework, also = framework_of(row, shelf, cluster.calibration)
    architectures = shelf.once("architectures", known_architectures)
    variants: list[Variant] = []
    problems: list[Refused] = []
    for name, model in candidates(row.model, architectures):
        named = row.model_copy(update={"model": model})
        for variant in _readings(named, degrees, cluster, framework, shelf, problems):
            setting = variant.setting if name is None else {"model": name, **variant.setting}
            variants.append(replace(variant, setting=setting))
    if not variants:
        raise problems[0]
    return Expressed(row, tuple(variants), (*assumed, *also), approximations(row), untimed)


def _readings(
    row: RunRow,
    degrees: Degrees,
    cluster: Cluster,
    framework: Framework,
    shelf: Shelf,
    problems: list[Refused],
) -> Iterator[Variant]:
    """One variant per assignment of what is open; ``problems`` collects why others are impossible."""
    precisions = tuple(sorted(cluster.accelerator.peak_flops))
    try:
        choices = choices_of(Known(row, degrees, framework, precisions))
    except Refused as error:
        problems.append(error)
        return
    open_settings = [name for name, values in choices.items() if len(values) > 1]
    for setting in assignments(choices):
        try:
            variant = _variant(row, degrees, cluster, framework, setting, shelf)
        except Refused as error:
            problems.append(error)
            continue
        yield replace(variant, setting={name: setting[name] for name in open_settings})


def _named(row: RunRow, shelf: Shelf) -> tuple[Any, str | None]:
    nodes = shelf.once("nodes", reference_nodes)
    stand_in = nodes.get(row.hardware.accelerator, {}).get("stand_in")
    if stand_in is None:
        return row.hardware, None
    untimed = "measured: the device is not named, so its seconds say nothing"
    return row.hardware.model_copy(update={"accelerator": stand_in}), untimed


def approximations(row: RunRow) -> tuple[str, ...]:
    """Features that a row states and the planner prices as something near; each is counted in the report."""
    layout, found = row.layout, []
    words = " ".join(layout.offload).lower()
    named = words and words != "none" and not any(key in words for key in ("=n", "=y", "optimizer"))
    if named and row.framework != "maxtext":
        found.append("activation offload not priced")
    if set(layout.optimizer_memory) - {"reuse-fp32-param", "swap-optimizer"}:
        found.append("optimizer memory switches not priced")
    if any(name.startswith(("swap", "moe-zero", "enable-recompute")) for name in layout.recompute_extra):
        found.append("swapping of activations not priced")
    return tuple(found)


def _variant(
    row: RunRow,
    degrees: Degrees,
    cluster: Cluster,
    framework: Framework,
    setting: Mapping[str, Any],
    shelf: Shelf,
) -> Variant:
    pads = framework.pads_vocabulary
    model_key, model = _model(row, shelf, setting["vocab"], pads * degrees.tp if pads > 1 else 1)
    modules = shelf.once(("modules", model_key), lambda: _modules(model))
    layout = layout_of(row, degrees, framework, setting, modules)
    if layout.offload != Offload():
        name = row.hardware.accelerator
        cluster = shelf.once(("host of", name, id(cluster)), lambda: with_host(cluster, name, shelf))
    training = training_of(
        row, framework, setting, seq_len=row.model.seq_len or 1, global_batch=degrees.global_batch
    )
    job = Job(row.id, model, cluster, training, framework, SMALLEST_RESERVE)
    for _, message in faults(model, cluster, framework, training, SMALLEST_RESERVE):
        raise Refused("the job is impossible", message)
    alike = replace(training, global_batch=1, overlap={})
    overlap = tuple(sorted(training.overlap.items()))
    # clusters and profiles stay on the shelf, so their identities tell them apart
    key = (model_key, id(cluster), id(framework), overlap, repr(alike))
    return Variant(setting, key, job, layout)


def _model(row: RunRow, shelf: Shelf, vocab: int, padding: int) -> tuple[str, ModelGraph]:
    architectures = shelf.once("architectures", known_architectures)
    fields = describe(row.model, architectures, vocab=vocab, padding=padding)
    name = fields.pop("name")
    key = repr(sorted(fields.items()))
    try:
        return key, shelf.once(("model", key), lambda: load_model({"name": name, **fields})[1])
    except PlannerError as error:
        raise Refused("the model cannot be built", error.message) from None


def _modules(model: ModelGraph) -> frozenset[str]:
    return frozenset(operator.module for block in model.blocks.values() for operator in block.operators)
