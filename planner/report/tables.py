"""The look of every table, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


NARROW = 105
"""Columns of a terminal below which wide tables leave out what other tables tell anyway."""


def new_table(title: str | None, headings: Sequence[str] = (), *, left: Sequence[str] = ()) -> Table:
    """A table with a ruled heading and no frame.

    Args:
        title: printed above, None for none.
        headings: of the columns; more may be added by the caller.
        left: headings of the columns that hold words; they wrap. The others hold numbers, right aligned.
    """
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in headings:
        if heading in left:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    return table
