"""What a calibration was fitted to, as a digest of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path


def data_digest(files: Sequence[Path]) -> str:
    """SHA-256 over the contents of the data files in order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
