"""The accelerator, network-kind and cluster files as pydantic models: the border where YAML enters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from planner.errors import PlannerError
from planner.hardware.types import Fabric, Grade, Precision
from planner.units import parse_count, parse_quantity

MAX_DEVICES = 10_000_000


class Strict(BaseModel):
    """A mapping in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(Strict):
    """One figure with its origin; a file may write the bare value instead.

    Args:
        value: SI value; None where nobody publishes it, which is never replaced by a guess.
        source: a public text, or a key of the file's ``sources`` table.
        grade: A read in that text, B recalled published figure, C sources disagree or a judgement.
    """

    value: float | None
    source: str | None = None
    grade: Grade = "B"
    note: str | None = None


def _figure(
    dimension: str, *, allow_zero: bool = False, smallest: float = 0.0, largest: float | None = None
) -> BeforeValidator:
    def convert(given: Any) -> Any:
        if given is None or isinstance(given, Figure):
            return given
        fields = dict(given) if isinstance(given, Mapping) else {"value": given}
        if fields.get("value") is not None:
            number = _number(fields["value"], dimension, allow_zero)
            if number < smallest or (largest is not None and number > largest):
                bounds = (
                    f"from {smallest:g} to {largest:g}"
                    if largest is not None
                    else f"of at least {smallest:g}"
                )
                raise ValueError(f"found {fields['value']!r}; a value {bounds} is accepted")
            fields["value"] = number
        return fields

    return BeforeValidator(convert)


def _number(value: Any, dimension: str, allow_zero: bool) -> float:
    try:
        return parse_quantity(value, dimension, allow_zero=allow_zero)
    except PlannerError as error:
        raise ValueError(error.message) from None


def _whole(value: Any) -> Any:
    if value is None:
        return None
    try:
        number = parse_count(value)
    except PlannerError as error:
        raise ValueError(error.message) from None
    if not 1 <= number <= MAX_DEVICES:
        raise ValueError(f"found {value!r}; a whole number from 1 to {MAX_DEVICES:,} is accepted")
    return number


FlopRate = Annotated[Figure, _figure("flop/s")]
Bytes = Annotated[Figure, _figure("bytes")]
ByteRate = Annotated[Figure, _figure("bytes/s")]
Seconds = Annotated[Figure, _figure("s")]
Latency = Annotated[Figure, _figure("s", allow_zero=True)]
Watts = Annotated[Figure, _figure("W")]
Price = Annotated[Figure, _figure("usd/h", allow_zero=True)]
Fraction = Annotated[Figure, _figure("1", largest=1.0)]
Positive = Annotated[Figure, _figure("1")]
Count = Annotated[Figure, _figure("1", smallest=1.0, largest=100_000.0)]
Rows = Annotated[Figure, _figure("1", allow_zero=True)]
Divisor = Annotated[Figure, _figure("1", smallest=1.0, largest=1000.0)]
Whole = Annotated[int, BeforeValidator(_whole)]


class AttentionShape(Strict):
    """Losses of one generation of attention kernels."""

    causal_half: Positive | None = None
    full_half: Positive | None = None
    width_64: Positive | None = None
    width_256: Positive | None = None


class Kernels(Strict):
    """Efficiency priors; what a file leaves out comes from its architecture, then from the defaults."""

    matmul_efficiency: dict[Precision, Fraction] = Field(default_factory=dict)
    matmul_k_half: Positive | None = None
    matmul_mn_half: Positive | None = None
    matmul_tile_k: Positive | None = None
    matmul_tile_edge: Positive | None = None
    matmul_wave: Fraction | None = None
    matmul_stride: Positive | None = None
    matmul_traffic: Fraction | None = None
    matmul_array: Count | None = None
    matmul_group_rows: Rows | None = None
    memory_efficiency: Fraction | None = None
    eager: dict[str, Fraction] = Field(default_factory=dict)
    attention_forward: dict[str, Fraction] = Field(default_factory=dict)
    attention_backward: dict[str, Fraction] = Field(default_factory=dict)
    alone: dict[str, Fraction] = Field(default_factory=dict)
    launch: Seconds | None = None
    floor: Seconds | None = None


class Priors(Strict):
    """``hardware_specs/priors.yaml``."""

    sources: dict[str, str] = Field(default_factory=dict)
    defaults: Kernels
    attention: dict[str, AttentionShape] = Field(default_factory=dict)
    architectures: dict[str, Kernels]


class AcceleratorFile(Strict):
    """One file of ``hardware_specs/accelerators``, or an inline mapping in a cluster file."""

    name: str = Field(min_length=1, max_length=100)
    vendor: str = "unknown"
    architecture: str = "unknown"
    sources: dict[str, str] = Field(default_factory=dict)
    peak_flops: dict[Precision, FlopRate] = Field(min_length=1)
    memory: Bytes
    memory_bandwidth: ByteRate
    compute_units: Count | None = None
    power: Watts | None = None
    kernels: Kernels = Kernels()
    notes: str | None = None


class LevelFigures(Strict):
    """What a network kind states, and what a level of a cluster may state anew."""

    bandwidth: ByteRate | None = None
    per_flow_bandwidth: ByteRate | None = None
    latency: Latency | None = None
    fabric: Fabric | None = None
    wrap: bool | None = None
    wrap_unit: int | None = Field(default=None, ge=0, le=4096)
    in_network_reduction: bool | None = None
    in_network_efficiency: Positive | None = None
    start: Latency | None = None
    message_start: Latency | None = None
    ramp: Positive | None = None
    in_network_ramp: Positive | None = None
    low_latency_share: Fraction | None = None
    oversubscription: Divisor | None = None
    efficiency: Fraction | None = None


class NetworkFile(LevelFigures):
    """One file of ``hardware_specs/networks``."""

    name: str
    description: str
    sources: dict[str, str] = Field(default_factory=dict)
    notes: str | None = None


class Level(LevelFigures):
    """One level of a cluster's network; ``kind`` supplies every figure that the level does not state."""

    name: str = Field(min_length=1, max_length=100)
    kind: str | None = None
    size: Whole | None = None
    shape: list[Whole] | None = Field(default=None, min_length=1, max_length=6)


class Nvme(Strict):
    """The local drives of one node together."""

    capacity: Bytes
    read: ByteRate | None = None
    write: ByteRate | None = None


class HostFile(Strict):
    """Tiers below device memory, per node; ``link`` is between one device and its host, one direction."""

    memory: Bytes | None = None
    link: ByteRate | None = None
    shared_by: Whole = 1
    nvme: Nvme | None = None
    cores: Whole | None = None


class ClusterFile(Strict):
    """One file of ``hardware_specs/clusters``, a user's file, or an inline mapping in a job."""

    name: str | None = Field(default=None, min_length=1, max_length=100)
    accelerator: str | dict[str, Any]
    nodes: Whole
    devices_per_node: Whole
    network: list[Level] = Field(min_length=1, max_length=16)
    host: HostFile = HostFile()
    sources: dict[str, str] = Field(default_factory=dict)
    links: str | None = None
    price_per_device_hour: Price | None = None
    power: Watts | None = None
    mtbf: Seconds | None = None
    calibration: str | None = None
    notes: str | None = None


class GroupFile(Strict):
    """A part of a heterogeneous cluster by reference: ``devices`` of that cluster (default: all), under a name of its own."""

    cluster: str
    devices: Whole | None = None
    name: str | None = Field(default=None, min_length=1, max_length=100)


class BetweenFile(LevelFigures):
    """What joins groups: ``bandwidth`` per device and direction at either end; ``groups``: the pair, default: all others."""

    groups: tuple[str, str] | None = None
    kind: str | None = None


def _listed(given: Any) -> Any:
    return given if given is None or isinstance(given, list) else [given]


class GroupedFile(Strict):
    """A heterogeneous cluster: several homogeneous ones, each checked on its own as a ``ClusterFile``."""

    name: str | None = None
    groups: list[Any] = Field(min_length=2, max_length=64)
    between: Annotated[list[BetweenFile], BeforeValidator(_listed)] = Field(default=[], max_length=2048)
    sources: dict[str, str] = Field(default_factory=dict)
    links: str | None = None
    notes: str | None = None
