"""Rows as other sources may print them: each is predicted, refused with one named reason, or one clear error."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from planner.errors import PlannerError
from planner.validation.runs.outcome import Outcome, outcomes
from planner.validation.runs.reading import read_rows
from planner.validation.runs.rows import RunRow
from planner.validation.runs.votes import load_votes

LLAMA = {
    "name": "a llama", "layers": 32, "hidden": 4096, "ffn_hidden": 14336, "heads": 32, "kv_heads": 8, "vocab": 128256,
    "seq_len": 8192, "gated_mlp": True, "tied_embeddings": False,
}  # fmt: skip
LAYOUT = {
    "tp": 2, "sp": True, "pp": 2, "vpp": 1, "cp": 1, "dp": 4, "zero_stage": 1, "micro_batch": 1, "global_batch": 128,
    "recompute": "none", "precision": "bf16",
}  # fmt: skip
NETWORK = {"kind": "infiniband", "gbps_per_node": 3200, "stated": True}
USUAL: dict[str, Any] = {
    "family": "odd",
    "software": "NeMo 24.09",
    "framework": "megatron-core",
    "release": "24.09",
    "model": LLAMA,
    "hardware": {"accelerator": "h100-sxm-80gb", "count": 16, "per_node": 8, "network": NETWORK},
    "layout": LAYOUT,
    "measured": {"step_time_s": 8.0},
    "complete": True,
}

SAME: dict[str, dict[str, Any]] = {
    "unknown keys": {"colour": "red", "layout.spin": [1, {"a": 2}], "model.taste": None},
    "a quoted number": {"measured.step_time_s": "8.0", "layout.tp": "2"},
    "a float degree": {"layout.tp": 2.0},
    "one printed time": {"measured": {"step_time_s_printed": 8.0}},
    "upper case": {"layout.precision": "BF16"},
    "PyTorch's name": {"layout.precision": "bfloat16"},
    "recompute as a switch": {"layout.recompute": False},
    "a list of words": {"layout.overlap": ["everything"], "notes": {"a": 1}, "quirk": None, "missing": None},
    "ranks without figures": {"measured.memory_mib_by_rank": None, "measured.allocated_mib_by_stage": None},
    "network in words": {"hardware.network": "400G InfiniBand"},
    "no network": {"hardware.network": None},
    "a number for an id": {"release": 24.09},
    "swiglu": {"model.gated_mlp": "SwiGLU"},
}
"""Changes that say the same as the usual row."""

WIDER: dict[str, dict[str, Any]] = {
    "software not told": {"framework": None},
    "software without a profile": {"framework": "paper-lm", "software": None},
    "open recompute": {"layout.recompute": True},
    "open virtual stages": {"layout.vpp": None},
    "open vocabulary": {"model.vocab": None},
    "words for a degree of sharding": {"layout.zero_stage": "hybrid"},
    "a device without runs": {"hardware.accelerator": "h20"},
}
"""Changes after which the row says less: the interval is wider."""

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "device": ({"hardware.accelerator": "abacus-9000"}, "'abacus-9000' is not in the catalogue"),
    "no sequence": ({"model.seq_len": None}, "model.seq_len is not given"),
    "no width": ({"model.ffn_hidden": None}, "model.ffn_hidden is not given"),
    "all null": ({f"layout.{name}": None for name in LAYOUT}, "layout.tp is not given"),
    "product": ({"layout.dp": 8}, "tp x cp x pp x dp is not the number of devices"),
    "no divisor": ({"layout.tp": 3}, "tp x cp x pp does not divide the devices"),
    "batch": ({"layout.global_batch": 130}, "dp does not divide the global batch"),
    "micro-batch": ({"layout.micro_batch": 64}, "no whole number of micro-batches"),
    "integers": ({"layout.precision": "int8"}, "feature: precision"),
    "two precisions": ({"layout.precision": ["bf16", "fp8"]}, "feature: precision"),
    "recompute": ({"layout.recompute": "every third"}, "feature: recompute"),
    "schedule": ({"layout.schedule": "spiral"}, "feature: schedule"),
    "sharding": ({"layout.zero_stage": 7}, "feature: ZeRO stage"),
    "experts": ({"model.moe": {"experts": 8, "topk": 16, "moe_ffn": 512}}, "the model cannot be built"),
    "key heads": ({"model.kv_heads": 5}, "the model cannot be built"),
    "half a node": ({"hardware.per_node": 3}, "devices do not fill whole nodes"),
    "too many": ({"hardware.count": 2**40, "layout.dp": None}, "hardware cannot be built"),
    "no network": ({"hardware.network": {"kind": "roce", "gbps_per_node": 0}}, "hardware cannot be built"),
}

ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "negative": ({"measured.step_time_s": -1}, "measured.step_time_s"),
    "not a number": ({"measured.step_time_s": float("nan")}, "measured.step_time_s"),
    "infinite": ({"measured.step_time_s": float("inf")}, "measured.step_time_s"),
    "percent": ({"measured": {"mfu": 41.5}}, "measured.mfu"),
    "negative rank": ({"measured.memory_mib_by_rank": [[-1.0]]}, "measured.memory_mib_by_rank"),
    "fraction": ({"layout.tp": 1.5}, "layout.tp"),
    "nothing": ({"layout.pp": 0}, "layout.pp"),
    "no device": ({"hardware.accelerator": None}, "hardware.accelerator"),
    "no model": ({"model": None}, "model"),
    "model in words": ({"model": "a llama"}, "model"),
    "no family": ({"family": None}, "family"),
}


def changed(identity: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The usual row with some fields replaced, ``section.field`` or a whole section."""
    data = {"id": identity} | {k: dict(v) if isinstance(v, dict) else v for k, v in USUAL.items()}
    for name, value in changes.items():
        section, _, field = name.partition(".")
        if field:
            data[section][field] = value
        else:
            data[section] = value
    return data


@cache
def answers() -> dict[str, Outcome]:
    """Every odd row that can be read, in one run."""
    refused = {f"refused {name}": changes for name, (changes, _) in REFUSED.items()}
    odd = {"usual": {}} | SAME | WIDER | refused
    rows = [RunRow.model_validate(changed(name, changes)) for name, changes in odd.items()]
    return {outcome.row.id: outcome for outcome in outcomes(rows, load_votes())}


@pytest.mark.parametrize("name", SAME)
def test_another_spelling_of_the_same_row(name: str) -> None:
    usual, found = answers()["usual"], answers()[name]
    assert found.refused is None
    assert found.predicted_s == pytest.approx(usual.predicted_s)
    assert found.interval_s == pytest.approx(usual.interval_s)
    assert found.error == usual.error
    assert found.heading == "complete"


@pytest.mark.parametrize("name", WIDER)
def test_what_is_not_known_widens_the_interval(name: str) -> None:
    usual, found = answers()["usual"].interval_s, answers()[name].interval_s
    assert usual is not None
    assert found is not None
    assert found[1] / found[0] > usual[1] / usual[0]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_predicted_has_one_named_reason(name: str) -> None:
    outcome = answers()[f"refused {name}"]
    assert outcome.predicted_s is None
    assert outcome.refused is not None
    assert REFUSED[name][1] in outcome.refused
    assert "\n" not in outcome.refused


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_is_an_error_with_its_place(name: str, tmp_path: Path) -> None:
    changes, field = ERRORS[name]
    path = tmp_path / "rows.yaml"
    path.write_text(yaml.safe_dump({"runs": [changed(name, changes)]}, sort_keys=False))
    with pytest.raises(PlannerError) as caught:
        list(read_rows([path]))
    assert str(caught.value.file) == str(path)
    assert caught.value.line is not None
    assert field in (caught.value.field or "")
    assert "\n" not in str(caught.value)


def test_a_model_of_the_catalogue_needs_no_widths() -> None:
    """Llama 3 8B by name: the widths of the usual row are its own (arXiv 2407.21783, table 3)."""
    named = {"name": "Llama3_8B", "vocab": 128256, "seq_len": 8192}
    rows = [RunRow.model_validate(changed("named", {"model": named}))]
    (outcome,) = outcomes(rows, load_votes())
    assert outcome.predicted_s == pytest.approx(answers()["usual"].predicted_s)
