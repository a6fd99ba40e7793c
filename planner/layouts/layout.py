"""One layout, for people: the knobs of a parallel training job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Schedule = Literal[
    "gpipe",
    "1f1b",
    "eager_1f1b",
    "interleaved_1f1b",
    "looped_bfs",
    "zb_h1",
    "zb_h2",
    "zb_v",
    "v_half",
    "v_min",
    "interleaved_zb",
    "dualpipe",
    "dualpipe_v",
    "wave",
    "seq1f1b",
    "csv",
]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
NAMED_SCHEDULES: tuple[Schedule, ...] = tuple(name for name in SCHEDULES if name != "csv")
"""Schedules that are generated; ``csv`` stands for an action list in ``Layout.schedule_file``."""

DEFAULT_SLICES = 4
"""Slices of a sequence under seq1f1b, of those that its paper measures (arXiv 2406.03488)."""

MeshAxis = Literal["tp", "ulysses", "ring", "dp", "pp", "etp", "ep", "edp"]
Tier = Literal["hbm", "host", "nvme"]
RecomputeMode = Literal["none", "selective", "full"]
StateClass = Literal["parameters", "gradients", "optimizer", "activations"]

DEFAULT_AXIS_ORDER = ("tp", "cp", "ep", "dp", "pp")


@dataclass(frozen=True)
class Recompute:
    """What is thrown away in forward and computed again in backward.

    Args:
        mode: none, selective (the listed modules) or full (a layer keeps only its input).
        modules: recompute units for ``selective`` (see ``models.graph.Operator.module``).
    """

    mode: RecomputeMode = "none"
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Offload:
    """Tier and moved fraction for each state class; what is not named stays in HBM."""

    parameters: tuple[Tier, float] = ("hbm", 0.0)
    gradients: tuple[Tier, float] = ("hbm", 0.0)
    optimizer: tuple[Tier, float] = ("hbm", 0.0)
    activations: tuple[Tier, float] = ("hbm", 0.0)

    def fraction(self, state: StateClass, tier: Tier) -> float:
        """Share of the class that lives in ``tier``."""
        chosen, moved = getattr(self, state)
        if tier == "hbm":
            return 1.0 if chosen == "hbm" else 1.0 - moved
        return float(moved) if chosen == tier else 0.0


@dataclass(frozen=True)
class Shard:
    """Shard group size of each state class along dp x cp (experts: along edp); 1 replicates.

    ``parameters_secondary``: size of the group that keeps a second shard for the backward gather (hpZ); 0 for none.
    Sizes larger than an expert's edp are cut to edp.
    """

    parameters: int = 1
    gradients: int = 1
    optimizer: int = 1
    parameters_secondary: int = 0


@dataclass(frozen=True)
class Layout:
    """All knobs of one layout, resolved (no defaults left open).

    Args:
        tp, ulysses, ring, pp, dp: degrees; context parallelism is cp = ulysses x ring.
        sp: norms and dropouts split along the sequence over tp.
        vpp: virtual stages (chunks) per pipeline rank.
        schedule_file: absolute path of the action list when the schedule is ``csv``, else None.
        slices: parts of a sequence that pass the pipeline one by one (seq1f1b), else 1.
        ep, etp: degrees of the expert mesh on the same ranks (tp x cp x dp = etp x ep x edp).
        shard: groups of the sharded states (ZeRO, FSDP, HSDP, hpZ are presets of it).
        micro_batch: sequences per micro-batch of one replica; micro_batches: how many per step (grad_accum).
        recompute_layers: the first n layers of each pipeline rank are recomputed, one number for all ranks or one per rank;
            None for all layers.
        layers_per_stage: layers of each virtual stage in order, None for even.
        axis_order: mesh axes innermost first.
        cp_kind: ``ring`` degrees may also be served by all-gathering K and V (``allgather``).
    """

    tp: int = 1
    sp: bool = False
    ulysses: int = 1
    ring: int = 1
    pp: int = 1
    vpp: int = 1
    schedule: Schedule = "1f1b"
    schedule_file: str | None = None
    slices: int = 1
    ep: int = 1
    etp: int = 1
    dp: int = 1
    shard: Shard = field(default_factory=Shard)
    micro_batch: int = 1
    micro_batches: int = 1
    recompute: Recompute = field(default_factory=Recompute)
    recompute_layers: int | tuple[int, ...] | None = None
    offload: Offload = field(default_factory=Offload)
    layers_per_stage: tuple[int, ...] | None = None
    axis_order: tuple[str, ...] = DEFAULT_AXIS_ORDER
    cp_kind: Literal["ring", "allgather"] = "ring"

    def recomputed_on(self, rank: int, layers: int) -> int:
        """How many of the layers of a pipeline rank follow the recompute policy, at most ``layers``."""
        count = self.recompute_layers
        return min(layers, layers if count is None else count[rank] if isinstance(count, tuple) else count)

    @property
    def cp(self) -> int:
        return self.ulysses * self.ring

    @property
    def edp(self) -> int:
        return self.tp * self.cp * self.dp // (self.etp * self.ep)

    @property
    def zero_stage(self) -> int | None:
        """0-3 when the shard groups are one of those presets, else None."""
        group = self.dp * self.cp
        sizes = (self.shard.optimizer, self.shard.gradients, self.shard.parameters)
        if group == 1 or sizes == (1, 1, 1):
            return 0
        return {(group, 1, 1): 1, (group, group, 1): 2, (group, group, group): 3}.get(sizes)

    def knobs(self) -> Mapping[str, object]:
        """The layout as the knobs of job files, plan files and ``--layout`` (plain data)."""
        from planner.layouts.knobs import layout_to_knobs

        return layout_to_knobs(self)
