"""The tracer on a program small enough to count by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

WEIGHT = 64 * 64 * 4
MATMUL = 2 * 16 * 64 * 64


@pytest.fixture(scope="module")
def counted(root: Path) -> Any:
    command = [sys.executable, "-m", "tests.validation.structure.toy"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def test_flops(counted: Any) -> None:
    """Two products forward; backward a weight gradient each, and an input gradient for all but the first layer."""
    assert counted[1] == {"matmul forward": 2 * MATMUL, "matmul backward": 3 * MATMUL}


def test_collectives(counted: Any) -> None:
    """fully_shard gathers each layer forward, again backward, and scatters each gradient: whole weights in fp32."""
    assert counted[0] == {
        f"all_gather dp forward {WEIGHT}": 2,
        f"all_gather dp backward {WEIGHT}": 2,
        f"reduce_scatter dp backward {WEIGHT}": 2,
    }


def test_persistent_bytes(counted: Any) -> None:
    """A quarter of both weights, and as much of gradients."""
    assert counted[2] == {"parameters": 2 * WEIGHT // 4, "gradients": 2 * WEIGHT // 4}


def test_classes_add_up_to_the_peak(counted: Any) -> None:
    assert sum(counted[3].values()) == counted[4] > 2 * WEIGHT // 4
