"""The wheel carries its data and does the main job away from the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, without a network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("planner", "hardware_specs"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(root / name, source / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(build, cwd=source, capture_output=True, check=True)
    return next(target.glob("*.whl"))


def test_catalogue_presets_and_profiles_are_inside(wheel: Path, root: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, inside in (("hardware_specs", "planner/_data/hardware_specs"), ("planner", "planner")):
        for path in (root / folder).rglob("*.yaml"):
            assert f"{inside}/{path.relative_to(root / folder).as_posix()}" in names
    assert "planner/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "examples/"))]


def test_the_installed_package_searches_from_another_folder(
    wheel: Path, examples: Path, tmp_path: Path
) -> None:
    installed, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    shutil.copy(examples / "llama3-8b-h100.yaml", elsewhere / "job.yaml")
    code = "import sys, planner, planner.cli.main as m; print(planner.__file__, file=sys.stderr); m.main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "search", "job.yaml", "--top", "1", "--json"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.startswith(str(installed))
    assert len(json.loads(done.stdout)["plans"]) == 1
