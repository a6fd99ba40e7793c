"""Files of pictures: which formats there are, and how one is written whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.documents.writing import write_bytes
from planner.errors import PlannerError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

DOTS_PER_INCH = 130


def check_picture(path: str | Path) -> Path:
    """The file of a picture.

    Raises:
        PlannerError: its ending names no format that can be drawn.
    """
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise PlannerError(f"found the ending '{file.suffix}'; accepted: {', '.join(SUFFIXES)}", file=file)
    return file


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches.

    The object interface: pyplot would keep global state and may want a display.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure, whole or not at all; the same figure gives the same bytes.

    Raises:
        PlannerError: the ending names no format, or the file cannot be written.
    """
    file = check_picture(path)
    content = io.BytesIO()
    figure.savefig(content, format=file.suffix[1:].lower(), dpi=DOTS_PER_INCH, metadata=_metadata(file))
    write_bytes(file, content.getvalue())


def _metadata(file: Path) -> dict[str, Any]:
    """Without a date, so that the same picture has the same bytes."""
    keys: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    return keys.get(file.suffix.lower(), {})
