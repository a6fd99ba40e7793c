"""Ray, started for real on this machine, against processes."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from planner.errors import PlannerError
from planner.jobs.shelf import Shelf
from planner.studies.sweep import ray_engine
from planner.studies.sweep.run import Engine, run_sweep
from tests.studies.sweep.samples import small_sweep

OVER = {"seq_len": "64..512:64", "layout.micro_batch": "1,2,5", "memory_bandwidth": "x0.5,x1"}


def descendants() -> dict[int, bytes]:
    """Processes that this one has started, and those that they have: command lines by number."""
    parents, commands = {}, {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: commands[pid] for pid in found if pid in commands and b"ray" in commands[pid]}


def gone(pids: set[int]) -> bool:
    """Whether those processes end soon."""
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_ray_gives_the_same_table_and_leaves_no_process(tmp_path: Path) -> None:
    sweep = small_sweep(OVER)
    tables, seen = {}, set()
    for engine in ("process", "ray"):
        outcome = run_sweep(
            sweep,
            tmp_path / f"{engine}.parquet",
            Engine(engine, workers=2),  # type: ignore[arg-type]
            shelf=Shelf(),
            progress=lambda done, words: seen.update(descendants()),
        )
        assert outcome.computed == len(sweep.points) == 48
        assert outcome.statuses == {"ok": 32, "bad_input": 16}
        tables[engine] = outcome.table.drop_columns(["seconds"])
    assert tables["ray"].equals(tables["process"])
    assert len(seen) > 2
    assert gone(seen - {os.getpid()})


def test_an_actor_that_dies_is_a_row_with_its_reason() -> None:
    sweep = small_sweep({"seq_len": "64..640:64"})
    rows, seen, killed = {}, set(), 0
    for number, row in ray_engine.run_ray(sweep.task, sweep.points, workers=1):
        rows[number] = row
        seen |= set(descendants())
        if len(rows) == 3:
            for pid, words in descendants().items():
                if b"SweepActor" in words:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
    assert killed == 1
    assert sorted(rows) == list(range(10))
    fallen = [row for row in rows.values() if row["status"] == "error"]
    assert len(fallen) <= 1
    assert all("the worker of Ray died" in row["message"] for row in fallen)
    assert sum(row["status"] == "ok" for row in rows.values()) >= 9
    assert gone(seen - {os.getpid()})


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    sweep = small_sweep({"seq_len": "64"})
    with pytest.raises(PlannerError, match=r"pip install 'distributed-training-planner\[ray\]'"):
        next(ray_engine.run_ray(sweep.task, sweep.points, workers=1))


def test_a_cluster_that_is_not_there() -> None:
    sweep = small_sweep({"seq_len": "64"})
    with pytest.raises(PlannerError, match="Ray cannot be reached"):
        next(ray_engine.run_ray(sweep.task, sweep.points, 1, address="127.0.0.1:1"))


class Slow:
    """A Ray that has nothing ready for so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def wait(self, running: list[str], *, num_returns: int, timeout: float) -> tuple[list[str], list[str]]:
        self.looks -= 1
        return ([], running) if self.looks >= 0 else (running[:num_returns], running[num_returns:])


def test_a_cluster_that_ends_in_mid_sweep_is_an_error() -> None:
    with pytest.raises(PlannerError, match="has ended before the sweep"):
        ray_engine._next(Slow(looks=10), ["portion"], "127.0.0.1:1")


@pytest.mark.parametrize("answers", [True, False])
def test_a_cluster_that_answers_or_is_silent_for_a_moment_is_waited_for(answers: bool) -> None:
    looks = 10 if answers else int(ray_engine.PATIENCE_S / ray_engine.LOOK_S) - 1
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = f"127.0.0.1:{server.getsockname()[1] if answers else 1}"
        assert ray_engine._next(Slow(looks), ["portion"], head) == "portion"
