"""Every section's statements, by the name of their data file."""

from __future__ import annotations

from collections.abc import Mapping

from tests.statements import (
    closed_forms,
    context_parallel,
    folding,
    megascale,
    pangu,
    ptd_p,
    search_finds,
    sequence_parallel,
    stage_three,
    ulysses_ring,
    zero_plus_plus,
)
from tests.statements.statement import Compute

SECTIONS: Mapping[str, Mapping[str, Compute]] = {
    "closed_forms": closed_forms.STATEMENTS,
    "ptd_p": ptd_p.STATEMENTS,
    "sequence_parallel": sequence_parallel.STATEMENTS,
    "zero_plus_plus": zero_plus_plus.STATEMENTS,
    "stage_three": stage_three.STATEMENTS,
    "context_parallel": context_parallel.STATEMENTS,
    "ulysses_ring": ulysses_ring.STATEMENTS,
    "folding": folding.STATEMENTS,
    "pangu": pangu.STATEMENTS,
    "megascale": megascale.STATEMENTS,
    "search_finds": search_finds.STATEMENTS,
}
