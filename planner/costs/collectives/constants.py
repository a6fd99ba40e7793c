"""Constants of the collective model that belong to software, not to one link."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CollectiveConstants:
    """Priors until a calibration replaces them; sources in docs/collectives.md.

    Args:
        base_s: device-side start of one call (NCCL's tuner: 6.6-6.8 us for its low-latency protocol). The host's launch is
            not in it.
        pipelining: weight of the sqrt term; 1 is chunking at the optimum for a message that crosses several hops.
        slots: hops inside a node that a chunked ring feels (NCCL keeps 8 chunks in flight between neighbours).
        tree_efficiency: of the ring's bus bandwidth (NCCL's tuner: 0.92).
        in_switch_efficiency: algbw of in-switch all-reduce over the ring's bus bandwidth, inside the node
            (H200: 276 of 367 GB/s).
        in_switch_efficiency_nvlink5: the same on NVLink 5 (B200: 483 of 722 GB/s).
        in_switch_s: what an in-switch all-reduce inside the node needs beyond ``base_s`` to synchronise its members (NCCL's
            tuner: 25 us in all).
        in_switch_min_ranks: members of a domain from which NCCL prefers in-switch reduction.
        in_network_efficiency: the same ratio for switches outside the node (NCCL's tuner: CollNet at half of the bus).
        dragonfly_efficiency: part of the wire left when minimal routes of a dragonfly meet; 1 when none meet, 0.5 when
            all traffic takes detours (Valiant routing).
        host_driven: kinds of link whose collectives run on the host, so that the algorithm is free to choose.
    """

    base_s: float = 7e-6
    pipelining: float = 1.0
    slots: int = 8
    tree_efficiency: float = 0.92
    in_switch_efficiency: float = 0.75
    in_switch_efficiency_nvlink5: float = 0.67
    in_switch_s: float = 18e-6
    in_switch_min_ranks: int = 5
    in_network_efficiency: float = 0.5
    dragonfly_efficiency: float = 0.75
    host_driven: tuple[str, ...] = ("ethernet", "internet", "loopback")
