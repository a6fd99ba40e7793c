"""Constants of a device from its measured kernels and blocks: one robust least squares over all points."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from planner.calibration.fit.constants import Constant, Key
from planner.calibration.fit.digest import data_digest
from planner.calibration.fit.points import FloatArray, PointsFit, fit_points
from planner.calibration.fit.scopes import Values, accelerator_with, with_values
from planner.calibration.measure.constants import BLOCK_FRAMEWORK, device_constants, of_profiles
from planner.calibration.measure.record import read_record
from planner.calibration.measure.residuals import MeasuredFit, Residual
from planner.calibration.measure.shapes import ADAMW_BYTES, PASSES, block_job, fields_of
from planner.costs.kernels import attention_seconds, matmul_seconds, memory_bound_seconds
from planner.costs.predict import predict
from planner.hardware.accelerators import load_accelerator
from planner.hardware.calibration import kernels_alone
from planner.hardware.calibration_files import CalibratedScope, Calibration, FittedConstant
from planner.hardware.types import Accelerator
from planner.jobs.framework import FRAMEWORKS, Framework, load_framework
from planner.jobs.types import Job
from planner.layouts.layout import Layout

BLOCK_WEIGHT, NOISY_WEIGHT = 4.0, 0.3
"""A block is a step in small and counts as so many kernels; a noisy point counts as part of one."""

ELEMENT_BYTES: Mapping[str, float] = {"fp32": 4.0, "tf32": 4.0, "fp8": 1.0}


def fit_device(record: Path, *, name: str = "own device") -> MeasuredFit:
    """The constants of the device that a file of measurements is of.

    Raises:
        PlannerError: the file is missing or holds something else.
    """
    machine, points = read_record(record, "kernels")
    accelerator = load_accelerator(str(machine["accelerator"]))
    profiles = {name: load_framework(name) for name in FRAMEWORKS}
    framework = profiles[BLOCK_FRAMEWORK]
    constants = device_constants(points, accelerator, framework)
    jobs = [block_job(point, _one(accelerator)) if point["kind"] == "block" else None for point in points]
    jobs = [None if job is None else replace(job, framework=_as_here(job)) for job in jobs]
    measured = np.array([float(point["time_us"]) * 1e-6 for point in points])
    weights = np.array(
        [
            (BLOCK_WEIGHT if point["kind"] == "block" else 1.0) * (NOISY_WEIGHT if point["noisy"] else 1.0)
            for point in points
        ]
    )

    def seconds(values: Values) -> FloatArray:
        return _seconds(points, jobs, accelerator_with(accelerator, values), values, profiles)

    fit = fit_points(constants, seconds, measured, weights)
    predicted = seconds(fit.values)
    residuals = tuple(
        Residual(str(point["kind"]), _subject(point), float(m), float(p), bool(point["noisy"]))
        for point, m, p in zip(points, measured, predicted, strict=True)
    )
    calibration = _calibration(record, machine, points, accelerator, constants, fit, profiles, name)
    return MeasuredFit(calibration, residuals)


def _one(accelerator: Accelerator) -> Mapping[str, Any]:
    """A cluster of one device, which sends nothing."""
    return {
        "accelerator": accelerator.name,
        "nodes": 1,
        "devices_per_node": 1,
        "network": [{"name": "none", "kind": "loopback"}],
    }


def _as_here(job: Job) -> Framework:
    """The profile with its stated host costs: what published runs taught of other hosts does not hold here."""
    return job.framework.model_copy(update={"host": load_framework(job.framework.name).host})


def _seconds(
    points: Sequence[Mapping[str, Any]],
    jobs: Sequence[Job | None],
    accelerator: Accelerator,
    values: Values,
    profiles: Mapping[str, Framework],
) -> FloatArray:
    alone = accelerator if accelerator.synchronous else kernels_alone(accelerator)
    generation = profiles[BLOCK_FRAMEWORK].attention_generation("flash", accelerator.architecture)
    whole = {**values, **{key: value for key, _, value in of_profiles(values, profiles)}}
    return np.array(
        [
            _kernel(point, alone, generation) if job is None else block_seconds(with_values(job, whole))
            for point, job in zip(points, jobs, strict=True)
        ]
    )


def block_seconds(job: Job) -> float:
    """Predicted seconds of one forward and backward of a job on one device."""
    time = predict(job, Layout(micro_batch=job.training.global_batch)).time
    return time.compute_s + time.host_s


def _kernel(point: Mapping[str, Any], accelerator: Accelerator, generation: str) -> float:
    """Predicted seconds of one measured kernel."""
    sizes, kind, precision = fields_of(point), str(point["kind"]), str(point["precision"])
    element = ELEMENT_BYTES.get(precision, 2.0)
    if kind == "matmul":
        m, n, k = (np.array([float(sizes[name])]) for name in ("m", "n", "k"))
        return float(matmul_seconds(m, n, k, accelerator, precision, element)[0])
    if kind == "attention":
        scores = np.array([float(sizes["batch"] * sizes["heads"] * sizes["length"] ** 2)])
        return float(
            attention_seconds(
                2.0 * scores * sizes["width"],  # half of the square: causal
                scores,
                accelerator,
                precision,
                generation,
                backward=point["direction"] == "backward",
                tokens=float(sizes["length"]),
                causal=True,
                head_dim=float(sizes["width"]),
            )[0]
        )
    if kind == "adamw":
        return float(memory_bound_seconds(np.array([ADAMW_BYTES * sizes["elements"]]), accelerator)[0])
    moved = np.array([PASSES[kind] * element * sizes["elements"]])
    operator = kind if kind in accelerator.kernels.eager else "add"
    return float(memory_bound_seconds(moved, accelerator, operator=operator)[0])


def _subject(point: Mapping[str, Any]) -> str:
    skipped = ("kind", "time_us", "spread", "windows", "noisy")
    return " ".join(f"{name} {value}" for name, value in point.items() if name not in skipped)


def _calibration(
    record: Path,
    machine: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    accelerator: Accelerator,
    constants: Sequence[Constant],
    fit: PointsFit,
    profiles: Mapping[str, Framework],
    name: str,
) -> Calibration:
    source = f"{machine['host']} {machine['processes']} processes"
    sections: dict[str, dict[str, FittedConstant]] = {"accelerator": {}, "architecture": {}}
    blocks: dict[Key, FittedConstant] = {}
    for index, made in enumerate(constants):
        rows = int(np.count_nonzero(fit.responses[:, index]))
        if not rows:
            continue
        stated = _stated(made, fit.values[made.key], rows)
        if made.key.kind == "framework":
            blocks[made.key] = stated
        else:
            sections[made.key.kind][made.key.name] = stated
    shared: defaultdict[str, dict[str, FittedConstant]] = defaultdict(dict)
    for key, source_key, value in of_profiles(fit.values, profiles):
        if source_key in blocks:
            shared[key.scope][key.name] = blocks[source_key].model_copy(
                update={"value": float(f"{value:.5g}")}
            )
    return Calibration(
        name=name,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        data="device",
        data_sha256=data_digest([record]),
        rows=len(points),
        provenance={"device": ", ".join(f"{key} {value}" for key, value in machine.items())},
        accelerators=dict(_scope(accelerator.name, source, sections["accelerator"])),
        architectures=dict(_scope(accelerator.architecture, source, sections["architecture"])),
        frameworks={
            name: scope for found, made in shared.items() for name, scope in _scope(found, source, made)
        },
    )


def _stated(made: Constant, value: float, rows: int) -> FittedConstant:
    rule = made.rule
    return FittedConstant(
        value=float(f"{value:.5g}"),
        prior=float(f"{made.prior:.5g}"),
        spread=rule.spread,
        lower=rule.lower,
        upper=rule.upper,
        rows=rows,
        groups=1,
    )


def _scope(
    member: str, source: str, constants: Mapping[str, FittedConstant]
) -> Iterator[tuple[str, CalibratedScope]]:
    if constants:
        yield (
            member,
            CalibratedScope(members=(member,), families=(source,), constants=dict(sorted(constants.items()))),
        )
