"""Constants of the collective model that belong to software, not to one link."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CollectiveConstants:
    """Priors until a calibration replaces them; sources in docs/collectives.md.

    Args:
        base_s: device-side start of one call, where a level states none (NCCL's tuner: 6.6-6.8 us for its low-latency
            protocol). The host's launch is not in it.
        pipelining: weight of the sqrt term; 1 is chunking at the optimum for a message that crosses several hops.
        low_latency_inside, low_latency_outside: part of the rate that the protocols for small messages reach, where a level
            states none (NCCL's caps over its bus: 87.7 of 240 GB/s on Ampere, 141 of 371 on Hopper, 282 of 722 on Blackwell;
            over two nodes 22.5 of 192, 45 of 384).
        slots: hops inside a node that a chunked ring feels: slices in flight between neighbours (NCCL: 8 steps, 2 to a slice;
            NCCL_STEPS and ALLREDUCE_SLICESTEPS of src/include).
        switch_slots: members of a switch that adds whose shares of a chunk fill it as fast as one.
        pair_hops: the same of two ranks: each waits for the other's half before it can send its own on (A100 and H100 reach
            less over two ranks than over four or eight: microsoft/vidur, 148 against 166-170 GB/s busbw at 57 MiB on A100).
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
        gloo: kinds of link whose collectives are gloo's: rings only (gloo/allreduce.cc), and one thread of the host handles
            messages one after the other.
        flat_vendors: vendors whose library never works level by level by itself: NCCL and RCCL choose among ring, tree and
            switches that add (NCCL src/graph/tuning.cc).
        one_root: kinds of link of which a domain below has one for all its members: rings between NVLink pairs measure one
            PCIe link per direction (A100: 23.7 of 31 GB/s; H100: 48.5 of 63).
        message_gap_s: between messages that are posted together, where the link's latency is not shorter.
    """

    base_s: float = 7e-6
    pipelining: float = 1.0
    low_latency_inside: float = 0.38
    low_latency_outside: float = 0.12
    slots: int = 4
    switch_slots: int = 8
    pair_hops: int = 2
    tree_efficiency: float = 0.92
    in_switch_efficiency: float = 0.75
    in_switch_efficiency_nvlink5: float = 0.67
    in_switch_s: float = 18e-6
    in_switch_min_ranks: int = 5
    in_network_efficiency: float = 0.5
    dragonfly_efficiency: float = 0.75
    host_driven: tuple[str, ...] = ("ethernet", "internet", "loopback")
    flat_vendors: tuple[str, ...] = ("nvidia", "amd")
    gloo: tuple[str, ...] = ("loopback",)
    one_root: tuple[str, ...] = ("pcie",)
    message_gap_s: float = 1.5e-6


DEVICE_INITIATED = CollectiveConstants(message_gap_s=0.1e-6)
"""Kernels that post to the network card themselves: DeepEP's low-latency dispatch grows by 31 us, 18 of them for bytes, over
248 more peers (deepseek-ai/DeepEP README, 8 to 256 ranks)."""
