"""What the memory of each virtual stage and pipeline rank is made of, from the cost model."""

from __future__ import annotations

import numpy as np

from planner.costs.instants import OPTIMIZER_STEP
from planner.costs.memory import stage_memory
from planner.costs.prices import PriceRows
from planner.costs.states import tier_fraction
from planner.simulator.analysis.memory import RankFacts, StageFacts
from planner.simulator.lowering.passes import PricedLayout, total
from planner.simulator.schedules.schedule import Schedule

VARYING = ("activations", "transient", "logits")
"""Classes that passes change; the others stay as they are until the update."""


def stage_facts(priced: PricedLayout, schedule: Schedule) -> tuple[StageFacts, ...]:
    """By virtual stage, bytes that its passes keep and need."""
    alive = [_alive(priced, rank) for rank in range(schedule.ranks)]
    return tuple(
        _stage(
            priced, int(schedule.model_stage[stage]), schedule.slices, *alive[int(schedule.rank_of[stage])]
        )
        for stage in range(schedule.stages)
    )


def rank_facts(priced: PricedLayout, rank: int) -> RankFacts:
    """What a rank's device holds whatever it computes: states, buffers, double buffers of offloaded activations."""
    stage = priced.ranks[rank]
    memory = stage_memory(priced.job, priced.row, priced.prices, stage)
    passes = {name: float(values[0]) for name, values in memory.alive[0].items() if name not in VARYING}
    update = {name: float(values[0]) for name, values in memory.alive[OPTIMIZER_STEP].items()}
    counts = (stage.recomputed, stage.plain)
    moved = _moved(priced)
    saved = float(priced.prices.total("saved", *counts)[0])
    passes["activations"] = min(2.0 * moved * float(priced.prices.largest(("saved",), *counts)[0]), saved)
    return RankFacts(passes, update)


def _stage(priced: PricedLayout, stage: int, slices: int, gradients: float, at_head: float) -> StageFacts:
    costs, prices = priced.stages[stage], priced.prices
    moments = [
        gradients + _of(prices, name, again, "again") + _of(prices, name, again, "moment")
        for name, again, kind in _blocks(priced, stage)
        if kind == "layer"
    ]
    heads = [(name, again) for name, again, kind in _blocks(priced, stage) if kind == "head"]
    kept = costs.saved_bytes * (1.0 - _moved(priced)) / slices
    backward = total(block.backward for block in costs.blocks).seconds
    return StageFacts(
        saved_bytes=kept,
        moment_bytes=max(moments, default=0.0) / slices,
        logits_bytes=sum(_of(prices, name, again, "logits") for name, again in heads) / slices,
        head_moment_bytes=at_head / slices if heads else 0.0,
        head_share=_head_seconds(priced, stage) / backward if backward > 0.0 else 0.0,
    )


def _blocks(priced: PricedLayout, stage: int) -> list[tuple[str, bool, str]]:
    """(name, whether recomputed, kind) of a model stage's blocks."""
    blocks = priced.job.model.blocks
    return [(name, again, blocks[name].kind) for name, again in priced.stages[stage].names]


def _of(prices: PriceRows, name: str, again: bool, quantity: str) -> float:
    return float(prices.get(name, quantity, recomputed=again)[0])


def _moved(priced: PricedLayout) -> float:
    """Share of the activations that leaves the device."""
    return 1.0 - float(tier_fraction(priced.row, "activations", "hbm")[0])


def _head_seconds(priced: PricedLayout, stage: int) -> float:
    costs = priced.stages[stage]
    pairs = zip(_blocks(priced, stage), costs.blocks, strict=True)
    return sum(block.backward.seconds for (_, _, kind), block in pairs if kind == "head")


def _alive(priced: PricedLayout, rank: int) -> tuple[float, float]:
    """(gradients that every backward of a rank needs beside its layers' own, all transients at the head)."""
    stage = priced.ranks[rank]
    memory = stage_memory(priced.job, priced.row, priced.prices, stage)
    layers = [
        {name: n for name, n in counts.items() if priced.job.model.blocks[name].kind == "layer"}
        for counts in (stage.recomputed, stage.plain)
    ]
    moment = priced.prices.largest(("again", "moment"), *layers) if any(layers) else np.zeros(1)
    transient = [float(memory.alive[instant]["transient"][0]) for instant in (0, 1)]
    return transient[0] - float(moment[0]), transient[1]
