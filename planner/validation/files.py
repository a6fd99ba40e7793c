"""Which files a validation reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from planner.errors import PlannerError

MOST_FILES = 1000


def measurement_files(
    paths: Sequence[str | Path],
    endings: Sequence[str],
    what: str,
    *,
    wanted: Callable[[Path], bool] = lambda file: True,
) -> list[Path]:
    """The files that are named, and those of the folders that are named, in a fixed order, each once.

    Args:
        endings: of the files that are taken from a folder and below it, for example ``.csv``.
        what: the files should be, for messages.
        wanted: which files of a folder belong to this validation; a file that is named itself always does.

    Raises:
        PlannerError: a path that does not exist, a folder without such a file, or one with absurdly many.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        try:
            folder, there = path.is_dir(), path.exists()
        except (OSError, ValueError):  # a name that is too long or holds a null character
            folder, there = False, False
        if not there:
            raise PlannerError(f"does not exist; accepted: {what}, or a folder of them", file=path)
        inside = _inside(path, endings, wanted) if folder else [path]
        if not inside:
            raise PlannerError(f"holds no {what}", file=path)
        found |= dict.fromkeys(inside)
    return list(found)


def _inside(folder: Path, endings: Sequence[str], wanted: Callable[[Path], bool]) -> list[Path]:
    files = sorted(file for file in folder.rglob("*") if file.suffix in endings and file.is_file())
    if len(files) > MOST_FILES:
        raise PlannerError(f"holds {len(files):,} files; {MOST_FILES:,} are accepted", file=folder)
    return [file for file in files if wanted(file)]
