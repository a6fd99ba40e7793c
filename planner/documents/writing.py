"""Write files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from planner.errors import PlannerError


def write_text(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all; errors as ``write_bytes``."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that nobody ever sees half of it.

    Raises:
        PlannerError: the folder does not exist or cannot be written.
    """
    file = Path(path)
    if file.is_dir():
        raise PlannerError("cannot be written: is a directory", file=file)
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, file)
        temporary = None
    except OSError as error:
        raise PlannerError(f"cannot be written: {error.strerror}", file=file) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_yaml(path: str | Path, data: Any) -> None:
    """Write plain values as YAML, atomically; ``load_document`` reads the same values back."""
    write_text(path, to_yaml(data))


def to_yaml(data: Any) -> str:
    """Plain values as YAML text in block style, keys in their given order."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.default_flow_style = False
    yaml.width = 120
    # The default marks None by an empty value, which readers of the file take for a forgotten one.
    yaml.representer.add_representer(type(None), _represent_none)
    stream = StringIO()
    yaml.dump(_plain(data), stream)
    return stream.getvalue()


def _represent_none(representer: Any, value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


def _plain(value: Any) -> Any:
    """Mappings and sequences of any kind, and numpy scalars, as dict, list and Python scalars."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist") and not isinstance(value, str | bytes):
        return _plain(value.tolist())
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
