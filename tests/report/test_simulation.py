"""Words and tables about a simulated step, and the names of its files."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from planner.errors import PlannerError
from planner.jobs.loader import load_job
from planner.layouts.knobs import parse_layout
from planner.report import simulation_files
from planner.report.simulation import (
    axes_table,
    bubble_line,
    difference_lines,
    link_lines,
    path_lines,
    print_simulation,
    ranks_table,
    size_line,
    step_table,
    what_if_table,
)
from planner.report.simulation_files import Files, title_of, trace_names
from planner.simulator.analysis.causes import Cause
from planner.simulator.analysis.critical_path import CriticalPath, PathShare
from planner.simulator.analysis.summary import Analysis, analyse
from planner.simulator.analysis.what_if import WhatIf
from planner.simulator.prediction import to_prediction
from planner.simulator.simulation import Simulation, simulate
from tests.report.samples import GIB, prediction


@pytest.fixture(scope="module")
def simulation(examples: Path) -> Simulation:
    job = load_job(examples / "llama3-70b-h100.yaml")
    return simulate(job, parse_layout("tp=8,pp=4,zero_stage=1,recompute=full,micro_batch=4", job))


@pytest.fixture(scope="module")
def analysis(simulation: Simulation) -> Analysis:
    return analyse(simulation)


def printed(*items: Table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=140).print(*items)
    return stream.getvalue()


def test_the_difference_and_its_causes() -> None:
    estimate, simulated = prediction(), prediction(step_time_s=10.5)
    causes = (
        Cause("transfers that share links", 0.75),
        Cause("exact order", -0.25),
        Cause("rounding", 1e-12),
    )
    assert difference_lines(simulated, estimate, causes) == [
        "simulated 10.50 s, estimated 10.00 s (+5.0 %), because:",
        "  +750 ms transfers that share links",
        "  -250 ms exact order",
    ]
    assert difference_lines(simulated, None, ()) == ["this schedule has no closed form to compare with"]


def test_the_step_side_by_side() -> None:
    simulated = prediction(
        step_time_s=10.5, time=replace(prediction().time, bubble_s=1.0, compute_s=8.0 + 1e-12)
    )
    text = printed(step_table(simulated, prediction()))
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["bubble"] == ["bubble", "1.00", "s", "9.5", "%", "500", "ms", "+500", "ms"]
    # A difference of 1e-12 s is rounding.
    assert rows["compute"][-1] == "±0"
    assert "estimated" not in printed(step_table(simulated, None))


def test_the_critical_path_in_words(analysis: Analysis) -> None:
    shares = (
        PathShare("compute of stage 3", 4.1, 0.41),
        PathShare("waits for the pipeline hop stage 3 -> 4", 3.8, 0.38),
        PathShare("gradient reduction (dp)", 0.02, 0.002),
    )
    lines = path_lines(replace(analysis, path=CriticalPath((), shares, 0.5)))
    assert lines[1:4] == [
        "  41 % compute of stage 3 (4.10 s)",
        "  38 % waits for the pipeline hop stage 3 -> 4 (3.80 s)",
        "  < 1 % gradient reduction (dp) (20 ms)",
    ]
    assert "500 ms because links are shared" in lines[4]


def test_what_if_in_a_table(analysis: Analysis) -> None:
    asked = replace(analysis, questions=(WhatIf("bandwidth of nvlink", 9.8, 0.2, 0.02),))
    assert "bandwidth of nvlink  9.80 s  -200 ms  2.00 %" in printed(what_if_table(asked))


def test_ranks_show_their_peak_and_the_pass_at_work(simulation: Simulation, analysis: Analysis) -> None:
    text = printed(ranks_table(simulation, analysis))
    for rank, line in enumerate(analysis.memory):
        assert f"{line.peak_bytes / GIB:,.2f}  {line.peak_at}" in text
        assert line.peak_at.startswith(f"B of stage {rank}, micro-batch ")


def test_narrow_terminals_keep_the_pass_at_the_peak(simulation: Simulation, analysis: Analysis) -> None:
    stream = io.StringIO()
    Console(file=stream, width=80).print(ranks_table(simulation, analysis, width=80))
    assert "B of stage 3, micro-batch 0" in stream.getvalue()
    assert "optimizer" not in stream.getvalue()
    assert "optimizer" in printed(ranks_table(simulation, analysis))


def test_long_pipelines_show_both_ends(simulation: Simulation, analysis: Analysis) -> None:
    long = replace(analysis, shown=(0,) * 40, memory=analysis.memory[:1] * 40)
    text = printed(ranks_table(simulation, long))
    ranks = [line.split()[0] for line in text.splitlines() if line.strip() and line.split()[0].isdigit()]
    assert ranks == [str(rank) for rank in (*range(8), *range(32, 40))]
    assert "…" in text


def test_lines_about_links_bubbles_and_size(simulation: Simulation, analysis: Analysis) -> None:
    assert link_lines(analysis)[0].startswith("links busy: nvlink ")
    assert "infiniband" in link_lines(analysis)[0]
    assert link_lines(replace(analysis, links=())) == [
        "links: none was loaded (transfers ran without sharing)"
    ]
    assert "between a rank's first and last task" in bubble_line(analysis)
    assert size_line(simulation).endswith("tasks of 4 kinds of devices for 64, links shared")
    assert "tensor parallel" in printed(axes_table(simulation, analysis))


def test_everything_is_printed_without_an_estimate(simulation: Simulation, analysis: Analysis) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=120)
    print_simulation(console, simulation, analysis, to_prediction(simulation), None, ())
    assert "no closed form" in stream.getvalue()
    assert "What if" not in stream.getvalue()


def test_traces_name_their_processes(simulation: Simulation) -> None:
    names = trace_names(simulation)
    assert names.actors[3] == "rank 48 (pipeline rank 3, 16 devices)"
    assert names.levels == ["nvlink", "infiniband"]
    assert title_of(simulation) == "llama3-70b on 64 × h100-sxm-80gb"


def test_only_files_that_were_asked_for_are_written(
    simulation: Simulation, analysis: Analysis, tmp_path: Path
) -> None:
    simulated = to_prediction(simulation)
    assert Files().write(simulation, analysis, simulated) == []
    files = Files(schedule=str(tmp_path / "s.csv"))
    assert files.named == (str(tmp_path / "s.csv"),)
    assert files.write(simulation, analysis, simulated) == [f"schedule written to {tmp_path / 's.csv'}"]
    assert [item.name for item in tmp_path.iterdir()] == ["s.csv"]


def test_what_is_too_large_is_refused_before_anything_is_written(
    simulation: Simulation, analysis: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation_files, "MOST_IN_PAGE", 100)
    files = Files(
        page=str(tmp_path / "p.html"), timeline=str(tmp_path / "t.png"), schedule=str(tmp_path / "s.csv")
    )
    with pytest.raises(PlannerError, match=r"--html: [\d,]+ events, at most 100 open in a viewer"):
        files.write(simulation, analysis, to_prediction(simulation))
    assert list(tmp_path.iterdir()) == []
