"""Accelerators as sources of measurements call them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from planner.errors import PlannerError, suggest
from planner.hardware.loader import list_accelerators

SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "p100": "p100-sxm-16gb",
        "v100": "v100-sxm-32gb",
        "v100-16gb": "v100-sxm-16gb",
        "v100-32gb": "v100-sxm-32gb",
        "a100": "a100-sxm-80gb",
        "a100-40gb": "a100-sxm-40gb",
        "a100-80gb": "a100-sxm-80gb",
        "a100-sxm": "a100-sxm-80gb",
        "a800": "a800-sxm-80gb",
        "h100": "h100-sxm-80gb",
        "h100-80gb": "h100-sxm-80gb",
        "h100-sxm": "h100-sxm-80gb",
        "h100-pcie": "h100-pcie-80gb",
        "h200": "h200-sxm-141gb",
        "h800": "h800-sxm-80gb",
        "b200": "b200-sxm",
        "b300": "b300-sxm",
        "gb200": "gb200-nvl72",
        "gb300": "gb300-nvl72",
        "rtx4090": "rtx-4090",
        "rtx5090": "rtx-5090",
        "mi250": "mi250x",
        "mi300": "mi300x",
        "mi350x": "mi355x",
        "mi355": "mi355x",
        "910a": "ascend-910a",
        "910b": "ascend-910b",
        "910b3": "ascend-910b",
        "910c": "ascend-910c",
        "gaudi": "gaudi2",
        "sm80": "a100-sxm-80gb",
        "sm90": "h100-sxm-80gb",
        "sm100": "b200-sxm",
        "trainium": "trainium1",
        "trn1": "trainium1",
        "trn2": "trainium2",
    }
)
"""Spellings beside the catalogue's names. A name that leaves the variant open means the commonest one: the SXM board, the
larger memory. MI350X is MI355X with less power, a compute capability
names the server board that has it, and Gaudi without a number the generation of the catalogue's clusters."""


def accelerator_named(name: str) -> str:
    """The catalogue's name of an accelerator.

    Raises:
        PlannerError: no accelerator is called so; the nearest name is suggested.
    """
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    if plain in SHORT_NAMES:
        return SHORT_NAMES[plain]
    known = list_accelerators()
    if plain in known:
        return plain
    raise PlannerError(f"unknown accelerator '{name[:60]}': {suggest(plain[:60], [*known, *SHORT_NAMES])}")


def accelerator_in(words: str) -> str | None:
    """The first accelerator that a description names, None where it names none."""
    plain = re.sub(r"[\s_]+", "-", words.lower())
    names = sorted([*SHORT_NAMES, *list_accelerators()], key=len, reverse=True)
    pattern = r"(?<![a-z0-9])(?:" + "|".join(map(re.escape, names)) + r")(?![a-z0-9])"
    found = re.search(pattern, plain)
    return accelerator_named(found.group()) if found else None
