"""Accelerators by the names that sources use."""

from __future__ import annotations

import pytest

from planner.errors import PlannerError
from planner.hardware.loader import list_accelerators
from planner.validation.devices import SHORT_NAMES, accelerator_in, accelerator_named


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("a100", "a100-sxm-80gb"),
        ("A100-40GB", "a100-sxm-40gb"),
        ("h100", "h100-sxm-80gb"),
        ("a40", "a40"),
        ("h100_pcie", "h100-pcie-80gb"),
        ("gb200-nvl72", "gb200-nvl72"),
        ("Ascend 910B", "ascend-910b"),
    ],
)
def test_names(name: str, canonical: str) -> None:
    assert accelerator_named(name) == canonical


@pytest.mark.parametrize(
    ("words", "canonical"),
    [
        ("2 nodes x 8 A100-80GB SXM, 4x HDR 200 Gb/s per node", "a100-sxm-80gb"),
        ("3 nodes x 8 A100-40GB SXM4", "a100-sxm-40gb"),
        ("GB200 NVL72, 1 rack (18 trays x 4)", "gb200-nvl72"),
        ("2 nodes x 8 Ascend 910B3, NIC not stated", "ascend-910b"),
        ("2 nodes MI350X (16 ranks assumed: 8 per node)", "mi355x"),
        ("SM90 CX7", "h100-sxm-80gb"),
        ("a cluster of Pentiums", None),
    ],
)
def test_the_accelerator_in_a_description(words: str, canonical: str | None) -> None:
    assert accelerator_in(words) == canonical


def test_every_short_name_means_a_device_of_the_catalogue() -> None:
    known = list_accelerators()
    assert [name for name, canonical in SHORT_NAMES.items() if canonical not in known] == []
    assert [name for name in SHORT_NAMES if name in known] == []


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(PlannerError, match="unknown accelerator 'h1000': did you mean 'h100'"):
        accelerator_named("h1000")
