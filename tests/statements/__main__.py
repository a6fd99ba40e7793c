"""``python -m tests.statements``: records what is computed, for the tests and the table of docs/statements.md."""

from __future__ import annotations

import re
from pathlib import Path

from ruamel.yaml import YAML

from tests.statements.all_sections import SECTIONS
from tests.statements.docs import table
from tests.statements.statement import RECORDED, statements

DOCS = Path(__file__).parents[2] / "docs" / "statements.md"
MARKS = ("<!-- statements -->", "<!-- end of statements -->")


def record() -> None:
    """Computes every statement and writes the figures."""
    figures = {
        section: {
            name: {cell: float(f"{figure:.6g}") for cell, figure in compute().items()}
            for name, compute in found.items()
        }
        for section, found in SECTIONS.items()
    }
    yaml = YAML(typ="rt")
    yaml.indent(mapping=2)
    with RECORDED.open("w") as file:
        file.write("# Written by `python -m tests.statements`; do not edit.\n")
        yaml.dump(figures, file)


def write_table() -> None:
    """The recorded figures, in the docs."""
    before, after = (re.escape(mark) for mark in MARKS)
    text = f"{MARKS[0]}\n\n{table(statements().values())}\n\n{MARKS[1]}"
    DOCS.write_text(re.sub(f"{before}.*{after}", lambda _: text, DOCS.read_text(), flags=re.DOTALL))


if __name__ == "__main__":
    record()
    write_table()
