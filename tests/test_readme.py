"""Every command block of the README runs, in order, as a reader would type it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(root: Path) -> list[list[str]]:
    lines = [line for block in BLOCK.findall((root / "README.md").read_text()) for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def test_plan_commands_run(root: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(root / "examples")
    ran = 0
    for words in commands(root):
        if words[0] == "plan":
            done = subprocess.run(
                [sys.executable, "-m", "planner.cli", *words[1:]],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
            assert done.stdout.strip()
            ran += 1
    assert ran >= 10
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_make_targets_exist(root: Path) -> None:
    targets = [words[1] for words in commands(root) if words[0] == "make"]
    assert targets == ["demo", "test"]
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=root, capture_output=True, check=True)


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/file-formats.md", "docs/cli.md"])
def test_links_lead_somewhere(page: str, root: Path) -> None:
    path = root / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def test_every_job_in_the_documentation_loads(root: Path, tmp_path: Path) -> None:
    from planner.jobs.loader import load_job

    pages = [root / "README.md", root / "docs" / "file-formats.md"]
    blocks = [
        block for page in pages for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S)
    ]
    jobs = [block for block in blocks if block.startswith("model:") and "training:" in block]
    assert len(jobs) == 2
    for index, block in enumerate(jobs):
        path = tmp_path / f"{index}.yaml"
        path.write_text(block)
        assert load_job(path).devices == 64
