"""Accelerators, networks and clusters as plain frozen values in SI units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from planner.hardware.spreads import Spreads

Precision = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "nvfp4", "int8"]

Fabric = Literal["switch", "full_mesh", "ring", "torus", "rail", "fat_tree", "dragonfly"]

Generation = Literal[
    "unfused", "flash1", "flash2", "flash3", "flash4", "triton", "cudnn", "splash", "flash_cpu"
]
"""Generations of attention kernels: scores in memory; FlashAttention 1 to 4 and their ports to other devices; the Triton port
of FlashAttention 1; cuDNN's fused kernels; Pallas' Splash on TPU; PyTorch's own kernel for CPUs."""

CPU = "cpu"
"""Architecture of accelerators that are cores of the host itself."""

Grade = Literal["A", "B", "C"]
"""A: read in a text; B: published figure recalled, not re-read; C: sources disagree."""


@dataclass(frozen=True)
class Evidence:
    """Where one figure comes from."""

    source: str
    grade: Grade
    note: str | None = None


@dataclass(frozen=True)
class AttentionKernel:
    """One generation of attention kernels, on any device.

    Args:
        causal_half, full_half: tokens per block at which its time doubles, causal or not (time x (1 + half / tokens)).
        width_64, width_256: rate with heads of that width over the rate with heads of 128.
    """

    causal_half: float = 500.0
    full_half: float = 190.0
    width_64: float = 1.0
    width_256: float = 1.0


@dataclass(frozen=True)
class KernelConstants:
    """How close kernels of this accelerator come to its peaks: priors until a calibration replaces them.

    Args:
        matmul_efficiency: plateau fraction of the dense peak by precision that large matmuls reach in training steps.
        matmul_k_half, matmul_mn_half: without ``compute_units``: contraction length, and smaller one of m and n, at which a
            matmul takes twice its plateau time (time x (1 + k_half/k + mn_half/min(m, n))).
        matmul_tile_k: start and end of a tile, as contraction length at the 16-bit rate.
        matmul_tile_edge: loss of narrow tiles (time x (1 + edge (1/rows + 1/columns))).
        matmul_wave: share of a started wave of tiles that is paid in full.
        matmul_stride: loss when rows of the operands lie multiples of 4 KiB apart.
        matmul_traffic: fraction of the HBM bandwidth at which operands stream.
        matmul_array: width of the systolic arrays, to which contractions and outputs are padded; 1 where there are none.
        matmul_group_rows: without ``compute_units``: rows that each group of a grouped matmul adds, because tiles at its ends
            are computed for both neighbours.
        memory_efficiency: achieved fraction of the HBM bandwidth by kernels that are bound by memory.
        eager: the same of unfused kernels by operator (norm, activation, add), over ideal bytes.
        attention_forward, attention_backward: fraction of the 16-bit dense peak by generation of the kernel, long sequences
            of heads of 128.
        attention_kernels: what each generation loses elsewhere.
        alone: plateau of 16-bit matmuls (``matmul``) and forward rates of attention generations in kernel benchmarks, where
            they are known.
        launch_s: time that every matmul and attention kernel takes besides its work.
        floor_s: shortest time of a kernel that is bound by memory.
        cast_factor: HBM traffic of casts to 8 bits and below over that of the ideal kernels.
    """

    matmul_efficiency: Mapping[str, float]
    matmul_k_half: float = 200.0
    matmul_mn_half: float = 100.0
    matmul_tile_k: float = 130.0
    matmul_tile_edge: float = 8.0
    matmul_wave: float = 0.38
    matmul_stride: float = 0.03
    matmul_traffic: float = 0.78
    matmul_array: float = 1.0
    matmul_group_rows: float = 0.0
    memory_efficiency: float = 0.85
    eager: Mapping[str, float] = field(default_factory=lambda: {"norm": 0.4, "activation": 0.55, "add": 0.85})
    attention_forward: Mapping[str, float] = field(
        default_factory=lambda: {"flash2": 0.50, "triton": 0.45, "unfused": 0.45, "cudnn": 0.55}
    )
    attention_backward: Mapping[str, float] = field(
        default_factory=lambda: {"flash2": 0.42, "triton": 0.27, "unfused": 0.45, "cudnn": 0.46}
    )
    attention_kernels: Mapping[str, AttentionKernel] = field(default_factory=dict)
    alone: Mapping[str, float] = field(default_factory=dict)
    launch_s: float = 5e-6
    floor_s: float = 3e-6
    cast_factor: float = 1.0


@dataclass(frozen=True)
class Accelerator:
    """One device (one rank).

    Args:
        name: canonical name, for example ``h100-sxm-80gb``.
        vendor, architecture: for priors and reports.
        peak_flops: dense FLOP/s by precision.
        memory_bytes: HBM of the device.
        memory_bandwidth: bytes/s.
        kernels: efficiency priors.
        compute_units: multiprocessors that share a matmul's tiles; None where that is not how the device works.
        power_w: board power, None when unknown.
        evidence: source and grade by figure name (``peak_flops.bf16``, ``memory_bytes``, ...).
    """

    name: str
    vendor: str
    architecture: str
    peak_flops: Mapping[str, float]
    memory_bytes: float
    memory_bandwidth: float
    kernels: KernelConstants
    compute_units: int | None = None
    power_w: float | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    notes: str | None = None

    @property
    def synchronous(self) -> bool:
        """Whether the cores that compute also run the host program and move messages, so that nothing of it overlaps."""
        return self.architecture == CPU


@dataclass(frozen=True)
class NetworkLevel:
    """One level of the network: what joins the devices of one domain.

    Args:
        name: for example ``nvlink``, ``infiniband``.
        size: devices in one domain of this level (a multiple of the inner level's size).
        bandwidth: bytes/s that one device can send into this level, one direction, all its links together.
        per_flow_bandwidth: bytes/s that one pair of devices reaches (full mesh: one link; None: the same as bandwidth).
        latency_s: one hop.
        fabric: how the domain is wired.
        shape: extents of a torus, innermost first (only for ``torus``).
        wrap: whether the torus has wrap-around links.
        in_network_reduction: the switches add (NVLS, SHARP).
        oversubscription: >= 1; bandwidth that leaves the leaf is divided by it.
        efficiency: achieved fraction of the wire rate by large transfers that are alone.
        in_step_efficiency: of that rate, what training steps see beside their other traffic and slow peers; fitted to runs.
        in_network_efficiency: all-reduce bytes (of one rank's buffer) per second over the wire rate when the
            switches add; None: not measured for this kind.
        start_s: of one call of a collective whose group this level joins, on the device; None: the library's prior.
        message_start_s: of one send and receive over this level; None: the library's prior.
        ramp, in_network_ramp: weight of the time that filling a chunked collective takes, 1 at the best number of chunks; the
            same when the switches add.
        low_latency_share: of the rate, what the protocols for small messages reach, which fill nothing; None: the prior.
        wrap_unit: a slice of the torus keeps its wrap-around links on extents that are multiples of this
            (optical switches); 0: only on axes that it takes whole.
        kind: catalogue name of the link kind (``nvlink4``, ``infiniband-ndr``), for reports and evidence.
        own: figures of single collectives, (``figure.collective``, value), where they were measured one by one: libraries on
            the host such as gloo implement each in its own way.
    """

    name: str
    size: int
    bandwidth: float
    latency_s: float
    fabric: Fabric = "switch"
    per_flow_bandwidth: float | None = None
    shape: tuple[int, ...] | None = None
    wrap: bool = True
    in_network_reduction: bool = False
    oversubscription: float = 1.0
    efficiency: float = 0.8
    in_step_efficiency: float = 1.0
    in_network_efficiency: float | None = None
    start_s: float | None = None
    message_start_s: float | None = None
    ramp: float = 1.0
    in_network_ramp: float = 1.0
    low_latency_share: float | None = None
    wrap_unit: int = 0
    kind: str | None = None
    own: tuple[tuple[str, float], ...] = ()

    def of(self, collective: str) -> NetworkLevel:
        """The level as a collective finds it: its own figures over those of all."""
        split = [(name.rpartition("."), value) for name, value in self.own]
        found = {figure: value for (figure, _, whose), value in split if whose == collective}
        return replace(self, **found) if found else self  # type: ignore[arg-type]


@dataclass(frozen=True)
class Host:
    """The tiers below HBM, per node.

    Args:
        memory_bytes: host memory of one node (None: unknown, so nothing may be offloaded to it).
        link_bandwidth: bytes/s between one device and its host, one direction, when it transfers alone.
        shared_by: devices that share one such link.
        nvme_bytes, nvme_read, nvme_write: capacity and bytes/s of one node's local drives together.
        cores: of the node, where its devices are processes on them; None: not stated, as many as devices.
    """

    memory_bytes: float | None = None
    link_bandwidth: float | None = None
    shared_by: int = 1
    nvme_bytes: float | None = None
    nvme_read: float | None = None
    nvme_write: float | None = None
    cores: int | None = None


@dataclass(frozen=True)
class GroupLink:
    """What joins two groups of a heterogeneous cluster.

    Args:
        groups: positions of the pair, ascending.
        level: its ``bandwidth`` is what one device of either group can send to the other one, all devices at a time.
        stated: by the file; else it is the slower of both groups' outermost levels.
    """

    groups: tuple[int, int]
    level: NetworkLevel
    stated: bool


@dataclass(frozen=True)
class Cluster:
    """Nodes of equal accelerators joined by a hierarchy of network levels.

    Args:
        name: catalogue or file name.
        accelerator: the device.
        nodes, devices_per_node: their product is ``devices``.
        network: levels, innermost first; the last one joins all devices.
        host: tiers of one node.
        price_per_device_hour: currency units, None when not given.
        power_per_device_w: wall power per device including its share of the node, None when unknown.
        mtbf_s: mean time between failures of one device, None when unknown.
        calibration: path of a calibration file, None for priors.
        spreads: how far predictions may be off: of that calibration, else widths of the priors.
        links: path of a CSV matrix of measured node-to-node bandwidths, None when not measured.
        groups: a heterogeneous cluster: its homogeneous parts; the other fields then describe the first one and
            only code that asks for groups may use such a cluster.
        between: what joins them, one link per pair.
        evidence: by figure name (``network[nvlink].bandwidth``, ``host.memory_bytes``, ...).
    """

    name: str
    accelerator: Accelerator
    nodes: int
    devices_per_node: int
    network: tuple[NetworkLevel, ...]
    host: Host = Host()
    price_per_device_hour: float | None = None
    power_per_device_w: float | None = None
    mtbf_s: float | None = None
    calibration: str | None = None
    spreads: Spreads = field(default_factory=Spreads)
    links: str | None = None
    groups: tuple[Cluster, ...] = ()
    between: tuple[GroupLink, ...] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    notes: str | None = None

    @cached_property
    def devices(self) -> int:
        return self.nodes * self.devices_per_node

    @property
    def devices_per_core(self) -> float:
        """Processes that share one core of the host, at least 1; 1 for devices that are no cores of it."""
        if not self.accelerator.synchronous or self.host.cores is None:
            return 1.0
        return max(self.devices_per_node / self.host.cores, 1.0)
