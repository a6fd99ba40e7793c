"""Accelerators, networks and clusters as plain frozen values in SI units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

Precision = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "nvfp4", "int8"]

Fabric = Literal["switch", "full_mesh", "ring", "torus", "rail", "fat_tree", "dragonfly"]

Grade = Literal["A", "B", "C"]
"""A: read in a text; B: published figure recalled, not re-read; C: sources disagree."""


@dataclass(frozen=True)
class Evidence:
    """Where one figure comes from."""

    source: str
    grade: Grade
    note: str | None = None


@dataclass(frozen=True)
class KernelConstants:
    """How close kernels of this accelerator come to its peaks: priors until a calibration replaces them.

    Args:
        matmul_efficiency: plateau fraction of the dense peak by precision.
        matmul_k_half: contraction length at which a matmul loses half of its plateau time again (time x (1 + k_half/k)).
        matmul_mn_half: the same for min(m, n).
        memory_efficiency: achieved fraction of the HBM bandwidth.
        memory_ramp_bytes: bytes at which a memory-bound kernel reaches half of that fraction.
        attention_forward, attention_backward: fraction of the 16-bit dense peak by kernel (flash, triton, unfused, cudnn).
        attention_causal_half, attention_full_half: tokens per block at which a flash kernel's time doubles, causal or not
            (time x (1 + half / tokens): FlashAttention-2's published sweeps on A100 and H100, head width 128, within 2 %).
        launch_s: time from one kernel to the next on the device.
        cast_factor: HBM traffic of casts to 8 bits and below over that of the ideal kernels.
    """

    matmul_efficiency: Mapping[str, float]
    matmul_k_half: float = 200.0
    matmul_mn_half: float = 100.0
    memory_efficiency: float = 0.85
    memory_ramp_bytes: float = 2e6
    attention_forward: Mapping[str, float] = field(
        default_factory=lambda: {"flash": 0.50, "triton": 0.45, "unfused": 0.45, "cudnn": 0.55}
    )
    attention_backward: Mapping[str, float] = field(
        default_factory=lambda: {"flash": 0.42, "triton": 0.27, "unfused": 0.45, "cudnn": 0.46}
    )
    attention_causal_half: float = 500.0
    attention_full_half: float = 190.0
    launch_s: float = 5e-6
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
    power_w: float | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    notes: str | None = None


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
        wrap_unit: a slice of the torus keeps its wrap-around links on extents that are multiples of this
            (optical switches); 0: only on axes that it takes whole.
        kind: catalogue name of the link kind (``nvlink4``, ``infiniband-ndr``), for reports and evidence.
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
    wrap_unit: int = 0
    kind: str | None = None


@dataclass(frozen=True)
class Host:
    """The tiers below HBM, per node.

    Args:
        memory_bytes: host memory of one node (None: unknown, so nothing may be offloaded to it).
        link_bandwidth: bytes/s between one device and its host, one direction, when it transfers alone.
        shared_by: devices that share one such link.
        nvme_bytes, nvme_read, nvme_write: capacity and bytes/s of one node's local drives together.
    """

    memory_bytes: float | None = None
    link_bandwidth: float | None = None
    shared_by: int = 1
    nvme_bytes: float | None = None
    nvme_read: float | None = None
    nvme_write: float | None = None


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
        links: path of a CSV matrix of measured node-to-node bandwidths, None when not measured.
        groups: a heterogeneous cluster: its homogeneous parts; the other fields then describe the first one and
            only code that asks for groups may use such a cluster.
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
    links: str | None = None
    groups: tuple[Cluster, ...] = ()
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    notes: str | None = None

    @cached_property
    def devices(self) -> int:
        return self.nodes * self.devices_per_node
