"""The exclusion list is data: every entry names a row of the format, says what it is about, and why."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from planner.validation.runs.software import framework_of
from planner.validation.runs.votes import Exclusion, load_votes
from tests.validation.runs.samples import rows, shelf

VOTES = load_votes()


def test_every_excluded_row_exists_in_the_sample() -> None:
    assert [item.id for item in VOTES.exclusions if item.id not in rows()] == []


def test_no_row_is_excluded_twice_for_the_same_thing() -> None:
    named = [(item.id, item.what) for item in VOTES.exclusions]
    assert len(named) == len(set(named))


def test_reasons_are_sentences() -> None:
    assert all(
        len(item.reason.split()) >= 5 for item in (*VOTES.exclusions, *VOTES.composed, *VOTES.corrections)
    )
    with pytest.raises(ValidationError):
        Exclusion(id="x", what="time", reason="odd")


def test_an_entry_sets_apart_only_what_it_is_about() -> None:
    noop = next(row for row in rows().values() if "noop_layer" in row.id)
    assert VOTES.doubt(noop, "memory")
    assert VOTES.doubt(noop, "time") is None
    quirk = next(row for row in rows().values() if row.quirk)
    assert VOTES.doubt(quirk, "time") == quirk.quirk


def test_composed_rows_are_cells_of_their_own_family() -> None:
    row = next(row for row in rows().values() if row.id.startswith("vtrain-single"))
    assert VOTES.family(row) == "vtrain-single"
    assert VOTES.cell(row) == (row.model.hidden, row.layout.tp, row.layout.micro_batch)
    other = next(row for row in rows().values() if row.id.startswith("vtrain-multi"))
    assert VOTES.family(other) == "vtrain"
    assert VOTES.cell(other) is None


def test_a_correction_changes_its_field_in_rows_of_its_source_only() -> None:
    single = next(row for row in rows().values() if row.id.startswith("vtrain-single"))
    multi = next(row for row in rows().values() if row.id.startswith("vtrain-multi"))
    assert (single.layout.recompute, VOTES.corrected(single).layout.recompute) == ("full", "none")
    assert (VOTES.corrected(single).model.vocab, VOTES.corrected(single).model.padded_vocab) == (50257, False)
    assert (
        VOTES.corrected(single).model_copy(update={"layout": single.layout, "model": single.model}) == single
    )
    assert VOTES.corrected(multi) is multi


def test_large_runs_of_the_machine_that_hung_block_their_launches() -> None:
    source = "bigscience-workshop/bigscience: train/tr11-176B-ml/chronicles-prequel.md"
    named = [row for row in rows().values() if (row.source or "").startswith(source)]
    for row in named:
        layout = VOTES.corrected(row).layout
        assert layout.launch_blocking is (True if (row.hardware.count or 0) >= 320 else None)
        assert layout.grad_dtype == "bfloat16"
        later = row.model_copy(update={"notes": 'section "Rebalancing layers"'})
        assert VOTES.corrected(later).layout.grad_dtype == row.layout.grad_dtype
    assert {(row.hardware.count or 0) >= 320 for row in named} >= {True}


def test_the_cards_of_the_machine_are_counted_by_the_sections_that_its_repair_lies_between() -> None:
    source = "bigscience-workshop/bigscience: train/tr11-176B-ml/chronicles-prequel.md"
    named = next(row for row in rows().values() if (row.source or "").startswith(source))
    for section, rate in (("48 node contenders", 200), ("NHEADs comparison", 200), ("GBS Variations", 400)):
        row = named.model_copy(update={"notes": f'section "{section}"; memory is nvidia-smi style'})
        assert VOTES.corrected(row).hardware.network.gbps_per_node == rate
        assert VOTES.corrected(row).hardware.network.kind == row.hardware.network.kind == "omni-path"


def test_layers_whose_attention_is_swapped_recompute_the_rest() -> None:
    """The published row is a stand-in's: only its source and its policy matter here."""
    script = "README.md table + examples/mcore/mixtral/pretrain_mixtral_8x22b_32k_ptd.sh"
    other = next(row for row in rows().values() if row.id == "ascend-modellink-mistral-7b-32k")
    mirror = (other.source or "").partition("README.md")[0]
    corrected = VOTES.corrected(other.model_copy(update={"source": mirror + script})).layout
    assert (other.layout.recompute, corrected.recompute) == ("none", "selective")
    assert corrected.recompute_modules == ("moe",)


FMS = "foundation-model-stack/fms-fsdp:README.md"


@pytest.mark.parametrize("source", [FMS, "arXiv 2304.11277 section 5.4"])
def test_runs_of_fully_sharded_data_parallel_have_flat_parameters(source: str) -> None:
    """FSDP1 by the script of the first source and the title of the second. The row is a stand-in's."""
    other = next(iter(rows().values()))
    corrected = VOTES.corrected(other.model_copy(update={"source": source}))
    assert (other.layout.shard_runtime, corrected.layout.shard_runtime) == (None, "fsdp1")
    assert framework_of(corrected, shelf())[0].shard_runtime == "fsdp1"
    assert framework_of(other, shelf())[0].shard_runtime != "fsdp1"


@pytest.mark.parametrize(("count", "kind"), [(128, "roce"), (96, "infiniband")])
def test_links_are_rdma_where_the_authors_say_so(count: int, kind: str) -> None:
    """Of 128 A100 they do, of 96 H100 not. The row is a stand-in's."""
    other = next(row for row in rows().values() if row.hardware.network.kind == "infiniband")
    hardware = other.hardware.model_copy(update={"count": count})
    corrected = VOTES.corrected(other.model_copy(update={"source": FMS, "hardware": hardware})).hardware
    assert corrected.network == other.hardware.network.model_copy(update={"kind": kind})


def test_four_passes_do_not_fit_into_what_the_corrected_rows_measured() -> None:
    """Slopes of the published step times of width 2,048 without tp: 8.79 and 16.32 ms per layer at 4 and 8 sequences."""
    measured = (16.32e-3 - 8.79e-3) / 4
    tokens, width, heads = 1024, 2048, 16
    matmuls = 2.0 * 12 * width**2 * tokens / 312e12  # A100: dense fp16 peak, one pass
    core = 4.0 * tokens**2 * width / 312e12
    scores = (
        heads * tokens**2 * (16.0 + 16.0 + 24.0) / 2.039e12
    )  # bytes of unfused scores, forward twice and backward
    assert 4 * (matmuls + core) + scores > measured
    assert 3 * (matmuls + core) + scores < measured


def test_a_time_that_no_layout_explains_is_a_reason_for_its_sets() -> None:
    single = next(row for row in rows().values() if row.id.startswith("vtrain-single"))
    model = single.model.model_copy(update={"hidden": 2048})
    layout = single.layout.model_copy(update={"tp": 4, "micro_batch": 2})
    odd = single.model_copy(update={"model": model, "layout": layout})
    assert "half of the work" in (VOTES.order_note(odd) or "")
    assert VOTES.order_note(odd.model_copy(update={"layout": layout.model_copy(update={"tp": 2})})) is None
    assert VOTES.doubt(odd, "time") is None


def test_the_first_maxtext_has_no_flash_attention() -> None:
    """Only the source of the row matters here; at that commit attention is einsums around a softmax."""
    other = next(row for row in rows().values() if row.framework == "maxtext")
    first = other.model_copy(update={"source": "AI-Hypercomputer/maxtext@281e04bf3 (2023-04-27): README.md"})
    assert VOTES.corrected(first).layout.attention == "unfused"
    assert VOTES.corrected(other).layout.attention is None
