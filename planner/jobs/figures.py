"""The speeds and sizes of a job's hardware by name, and the job with some of them changed.

What-if questions and sweeps share these names. A figure stands for all constants that move with it: ``peak_flops`` is the bf16
peak, and the peaks of the other precisions keep their ratio to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from planner.errors import PlannerError, suggest
from planner.hardware.types import Accelerator, Host, NetworkLevel
from planner.jobs.types import Job


@dataclass(frozen=True)
class Figure:
    """One figure of the hardware that a job runs on.

    Args:
        name: for example ``memory_bandwidth`` or ``infiniband.latency``; words: for tables.
        unit: dimension as ``planner.units.parse_quantity`` takes it: flop/s, bytes, bytes/s, s.
        value: in SI units.
        more_is_better: False for times.
        scale: the job with this figure, and what moves with it, times a factor.
    """

    name: str
    words: str
    unit: str
    value: float
    more_is_better: bool
    scale: Callable[[Job, float], Job]


def figures(job: Job) -> Mapping[str, Figure]:
    """Every figure that is known of the job's cluster, by name: the accelerator's, each network level's, the host's, launches.

    ``<level>.bandwidth`` moves what one pair of devices reaches too; ``<level>.start`` is the time that a collective takes to
    start on the device, where it was measured, and moves that of single messages; ``launch`` is the host's work per forward
    operator and moves backward's and the experts'; ``kernel_start`` is the time on the device of each kernel besides its work.
    """
    found = (*_accelerator(job), *_levels(job), *_host(job), *_launches(job))
    return {figure.name: figure for figure in found}


def with_figures(job: Job, values: Mapping[str, float]) -> Job:
    """The job with figures set to SI values, one after the other.

    Raises:
        PlannerError: an unknown figure (the nearest is named), or a value that is not positive.
    """
    for name, value in values.items():
        figure = figure_of(job, name)
        if value <= 0:
            raise PlannerError(f"found {value:g}; accepted: more than 0", field=name)
        job = figure.scale(job, value / figure.value)
    return job


def figure_of(job: Job, name: str) -> Figure:
    """One figure by name.

    Raises:
        PlannerError: no such figure; names the nearest.
    """
    known = figures(job)
    if name not in known:
        raise PlannerError(f"unknown hardware figure '{name}'; {suggest(name, known)}", field=name)
    return known[name]


def _accelerator(job: Job) -> Iterator[Figure]:
    device = job.cluster.accelerator
    peaks = device.peak_flops
    main = "bf16" if "bf16" in peaks else job.training.precision

    def all_peaks(item: Accelerator, factor: float) -> Accelerator:
        return replace(item, peak_flops={name: peak * factor for name, peak in item.peak_flops.items()})

    yield _of_device("peak_flops", "peak FLOP/s", "flop/s", peaks[main], all_peaks)
    for precision, peak in peaks.items():
        yield _of_device(
            f"peak_flops.{precision}", f"peak {precision} FLOP/s", "flop/s", peak, _peak(precision)
        )
    yield _of_device(
        "memory",
        "HBM capacity",
        "bytes",
        device.memory_bytes,
        lambda item, factor: replace(item, memory_bytes=item.memory_bytes * factor),
    )
    yield _of_device(
        "memory_bandwidth",
        "HBM bandwidth",
        "bytes/s",
        device.memory_bandwidth,
        lambda item, factor: replace(item, memory_bandwidth=item.memory_bandwidth * factor),
    )


def _peak(precision: str) -> Callable[[Accelerator, float], Accelerator]:
    def scale(item: Accelerator, factor: float) -> Accelerator:
        return replace(item, peak_flops={**item.peak_flops, precision: item.peak_flops[precision] * factor})

    return scale


def _of_device(
    name: str, words: str, unit: str, value: float, scale: Callable[[Accelerator, float], Accelerator]
) -> Figure:
    def change(job: Job, factor: float) -> Job:
        return replace(job, cluster=replace(job.cluster, accelerator=scale(job.cluster.accelerator, factor)))

    return Figure(name, words, unit, value, unit != "s", change)


def _levels(job: Job) -> Iterator[Figure]:
    for place, level in enumerate(job.cluster.network):
        yield Figure(
            f"{level.name}.bandwidth",
            f"{level.name} bandwidth",
            "bytes/s",
            level.bandwidth,
            True,
            _level(place, _faster_level),
        )
        if level.latency_s:
            yield Figure(
                f"{level.name}.latency",
                f"{level.name} latency",
                "s",
                level.latency_s,
                False,
                _level(place, lambda item, factor: replace(item, latency_s=item.latency_s * factor)),
            )

        if level.start_s:
            yield Figure(
                f"{level.name}.start",
                f"start of {level.name} calls",
                "s",
                level.start_s,
                False,
                _level(place, _sooner_level),
            )


def _sooner_level(item: NetworkLevel, factor: float) -> NetworkLevel:
    message, call = item.message_start_s, item.start_s
    return replace(
        item,
        start_s=None if call is None else call * factor,
        message_start_s=None if message is None else message * factor,
    )


def _faster_level(item: NetworkLevel, factor: float) -> NetworkLevel:
    pair = None if item.per_flow_bandwidth is None else item.per_flow_bandwidth * factor
    return replace(item, bandwidth=item.bandwidth * factor, per_flow_bandwidth=pair)


def _level(place: int, scale: Callable[[NetworkLevel, float], NetworkLevel]) -> Callable[[Job, float], Job]:
    def change(job: Job, factor: float) -> Job:
        network = list(job.cluster.network)
        network[place] = scale(network[place], factor)
        return replace(job, cluster=replace(job.cluster, network=tuple(network)))

    return change


def _host(job: Job) -> Iterator[Figure]:
    host = job.cluster.host
    known = (
        ("host.link", "link to the host", "bytes/s", "link_bandwidth", host.link_bandwidth),
        ("host.memory", "host memory", "bytes", "memory_bytes", host.memory_bytes),
    )
    for name, words, unit, attribute, value in known:
        if value:
            yield Figure(name, words, unit, value, True, _host_change(attribute))


def _host_change(attribute: str) -> Callable[[Job, float], Job]:
    def change(job: Job, factor: float) -> Job:
        changes = {attribute: getattr(job.cluster.host, attribute) * factor}
        host: Host = replace(job.cluster.host, **changes)
        return replace(job, cluster=replace(job.cluster, host=host))

    return change


def _launches(job: Job) -> Iterator[Figure]:
    per_operator, kernels = job.framework.host.forward_operator_s, job.cluster.accelerator.kernels
    if per_operator:
        yield Figure("launch", "host work per launch", "s", per_operator, False, _launch)
    if kernels.launch_s:
        yield _of_device(
            "kernel_start",
            "start of a kernel",
            "s",
            kernels.launch_s,
            lambda item, factor: replace(
                item, kernels=replace(item.kernels, launch_s=item.kernels.launch_s * factor)
            ),
        )


def _launch(job: Job, factor: float) -> Job:
    names = ("forward_operator_s", "backward_operator_s", "expert_s")
    host = job.framework.host
    changed = host.model_copy(update={name: getattr(host, name) * factor for name in names})
    return replace(job, framework=job.framework.model_copy(update={"host": changed}))
