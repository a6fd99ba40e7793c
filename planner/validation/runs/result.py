"""The JSON of ``plan validate runs``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from planner.validation.runs.assignments import Assignment
from planner.validation.runs.experts import ExpertScore
from planner.validation.runs.groups import Group
from planner.validation.runs.memory_scores import MemoryGroup
from planner.validation.runs.outcome import Outcome
from planner.validation.runs.score import Score
from planner.validation.runs.statistics import ErrorSummary


def to_json(score: Score, seconds: float) -> dict[str, Any]:
    """Plain data; fractions are fractions (0.05 = 5 %), seconds and bytes are SI.

    Args:
        seconds: that reading, predicting and scoring took.
    """
    return {
        "groups": [_group(group) for group in score.groups],
        "overall": dataclasses.asdict(score.overall),
        "memory": {
            "groups": [_memory(group) for group in score.memory],
            "fit_table": dataclasses.asdict(score.fits),
        },
        "sets": [dataclasses.asdict(item) for item in score.sets],
        "rows": [_row(outcome) for outcome in score.outcomes],
        "doubtful_groups": [_group(group) for group in score.doubtful],
        "incomplete_groups": [_group(group) for group in score.incomplete],
        "experts": _experts(score.experts) if score.experts else None,
        "models": [_group(group, ("family", "accelerator", "model")) for group in score.models],
        "assignments": [_assignment(item) for item in score.assignments],
        "refused": [{"reason": reason, "rows": count} for reason, count in score.refused],
        "approximated": [{"what": what, "rows": count} for what, count in score.approximated],
        "seconds": seconds,
    }


def _errors(errors: ErrorSummary | None, prefix: str = "") -> dict[str, float | None]:
    names = [field.name for field in dataclasses.fields(ErrorSummary)]
    return {prefix + name: getattr(errors, name) if errors else None for name in names}


def _group(group: Group, names: tuple[str, ...] = ("family", "accelerator")) -> dict[str, Any]:
    return {
        **dict(zip(names, group.key, strict=True)),
        "n": group.n,
        "predicted": group.predicted,
        "votes": group.votes,
        **_errors(group.errors),
        "kendall_tau": group.kendall_tau,
        "regret_mean": group.regret_mean,
        "regret_worst": group.regret_worst,
        "coverage": group.coverage,
        "interval_width_median": group.interval_width_median,
        "skill": group.skill,
        "skill_bar": group.skill_bar,
        "skilled": group.skilled,
        "flat_mfu": _errors(group.flat_mfu) if group.flat_mfu else None,
    }


def _memory(group: MemoryGroup) -> dict[str, Any]:
    plain = {
        field.name: getattr(group, field.name)
        for field in dataclasses.fields(group)
        if field.name not in ("errors", "assigned")
    }
    assigned = None if group.assigned is None else _errors(group.assigned)
    return plain | _errors(group.errors) | {"assigned": assigned}


def _experts(score: ExpertScore) -> dict[str, Any]:
    return {
        "groups": [dataclasses.asdict(group) for group in score.groups],
        **{name: getattr(score, name) for name in ("mean_ape", "worst", "within", "pairs", "ordered")},
        "hard_pairs_right": score.right,
        "hard_pairs_near": score.near,
        "hard_pairs": [
            {
                **item.pair.model_dump(),
                **{name: getattr(item, name) for name in ("measured", "predicted", "error", "right", "near")},
            }
            for item in score.hard_pairs
        ],
    }


def _assignment(item: Assignment) -> dict[str, Any]:
    return {
        "family": item.family,
        "accelerator": item.accelerator,
        "software": item.software,
        "model": item.model,
        "setting": _plain(item.setting),
        "rows": item.rows,
        "of": item.of,
        "time": _errors(item.time) if item.time else None,
        "memory": _errors(item.memory) if item.memory else None,
        "memory_tau": item.memory_tau,
    }


def _row(outcome: Outcome) -> dict[str, Any]:
    peak = max(outcome.memory, key=lambda figure: figure.measured_bytes, default=None)
    return {
        "id": outcome.row.id,
        "family": outcome.family,
        "accelerator": outcome.accelerator,
        "precision": outcome.row.layout.precision,
        "experts": outcome.row.model.moe is not None,
        "scored": outcome.heading,
        "measured_s": outcome.measured_s,
        "predicted_s": outcome.predicted_s,
        "interval_s": list(outcome.interval_s) if outcome.interval_s else None,
        "error": outcome.error,
        "measured_mfu": outcome.row.measured.mfu,
        "predicted_mfu": outcome.predicted_mfu,
        "measured_bytes": peak.measured_bytes if peak else None,
        "predicted_bytes": peak.predicted_bytes if peak else None,
        "memory": [
            {
                "memory_kind": figure.kind,
                "pipeline_rank": figure.rank,
                "measured_bytes": figure.measured_bytes,
                "predicted_bytes": figure.predicted_bytes,
                "error": figure.error,
            }
            for figure in outcome.memory
        ],
        "fits": all(reading.fits for reading in outcome.readings) if outcome.readings else None,
        "readings": len(outcome.readings),
        "shares": _shares(outcome),
        "quirk": outcome.row.quirk,
        "assumed": list(outcome.assumed),
        "approximated": list(outcome.approximated),
        "refused_because": outcome.refused or outcome.not_scored,
    }


def _shares(outcome: Outcome) -> dict[str, float] | None:
    """Parts of the first reading's step over the whole."""
    if not outcome.readings:
        return None
    parts = outcome.readings[0].parts
    total = sum(parts.values()) or 1.0
    return {name: seconds / total for name, seconds in parts.items()}


def _plain(setting: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.item() if hasattr(value, "item") else value for name, value in setting.items()}
