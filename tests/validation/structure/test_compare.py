"""A trace that does what is predicted passes; one that differs fails in that term only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from planner.layouts.knobs import parse_layout
from planner.validation.structure.compare import compare, figures_of
from planner.validation.structure.record import Trace, TracedCall
from tests.costs.samples import DENSE


def traced_as_predicted(job: Any, layout: Any) -> Trace:
    figures = figures_of(job, layout, 0)
    everything, again = figures.flops
    rows = figures.rank.communication
    return Trace(
        flops={"forward": int(everything - again), "recompute": int(again)},
        calls=tuple(
            TracedCall(r.collective, r.axis, r.pass_, int(r.bytes_per_call), int(r.calls_per_step))
            for r in rows
        ),
        persistent={
            name: int(getattr(figures.states, name)[0]) for name in ("parameters", "gradients", "optimizer")
        },
        peak_bytes=int(figures.rank.memory.peak_bytes * 1.04),
        peak_by_class={},
        holders=(),
        seconds=0.0,
    )


def test_one_wrong_call_and_a_peak_out_of_bounds(make_job: Any) -> None:
    job = make_job(DENSE, devices=4, global_batch=4, framework="megatron-core")
    layout = parse_layout("tp=4,sp=true,recompute=full", job)
    trace = traced_as_predicted(job, layout)
    assert Trace.from_json(trace.to_json()) == trace
    assert all(term.passed for term in compare(job, layout, 0, trace))
    first = replace(trace.calls[0], calls=trace.calls[0].calls + 1)
    wrong = replace(trace, calls=(first, *trace.calls[1:]), peak_bytes=int(trace.peak_bytes * 1.03))
    failed = [term.area for term in compare(job, layout, 0, wrong) if not term.passed]
    assert failed == ["communication", "peak"]
