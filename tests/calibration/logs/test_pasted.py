"""Logs as people paste them: every form of one table gives the same points; what contradicts itself is refused by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from planner.calibration.logs.benchmark import read_benchmarks
from planner.calibration.logs.identify import Identity, identify
from planner.errors import PlannerError

LOGS = Path(__file__).resolve().parents[2] / "data" / "logs"
REAL = (LOGS / "h100-2x8.txt").read_text()
NOISE = "node1:122330:122330 [0] NCCL INFO Channel 00 : 15[7] -> 0[0] [receive] via NET/IB/0/GDRDMA"


def found_in(text: str, folder: Path) -> Identity:
    file = folder / "log.txt"
    file.write_text(text, newline="")
    tests = read_benchmarks(file)
    assert len(tests) == 1
    found = identify(tests[0], None, None)
    assert found is not None
    return found


def each_line(change: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: "".join(f"{change(line)}\n" for line in text.splitlines())


FORMS: dict[str, Callable[[str], str]] = {
    "as printed": lambda text: text,
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "colours": each_line(lambda line: f"\x1b[32m{line}\x1b[0m"),
    "mpirun --tag-output": each_line(lambda line: f"[1,0]<stdout>:{line}"),
    "escaped HTML": each_line(lambda line: f"[1,0]&lt;stdout&gt;: {line}"),
    "srun --label": each_line(lambda line: f" 0: {line}"),
    "time stamps": each_line(lambda line: f"2024-05-01T12:00:00.123Z {line}"),
    "pod name": each_line(lambda line: f"nccl-test-launcher-x7k2p nccl: {line}"),
    "fenced": lambda text: f"Here is what I get:\n```\n{text}```\nIs that normal?\n",
    "quoted": each_line(lambda line: f"> {line}"),
    "tabs": lambda text: text.replace("    ", "\t"),
    "no-break spaces": lambda text: text.replace("  ", "\u00a0 "),
    "library between the rows": each_line(lambda line: f"{line}\n{NOISE}"),
    "without hashes": lambda text: text.replace("#", ""),
    "compiled before": lambda text: f"Linking  all_gather.o > build/all_gather_perf\n{text}",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_reads_the_same(form: str, tmp_path: Path) -> None:
    found = found_in(FORMS[form](REAL), tmp_path)
    assert (found.collective, found.ranks, len(found.rows)) == ("all_reduce", 16, 9)
    last = found.rows[-1]
    assert (last.size, last.timed[0].time_us, last.timed[1].busbw) == (8589934592, 47535.0, 337.35)


SAMPLES = {
    "h100-2x8.txt": ("all_reduce", 16, 9),
    "mpi-prefix-alltoall.txt": ("all_to_all", 16, 6),  # by count: 2048 bytes are 16 parts of 32 floats
    "gb200-rack-list-cut.txt": ("all_reduce", 72, 5),
    "v100-old-header.txt": ("all_reduce", 16, 3),
    "rccl-mi300x.txt": ("all_reduce", 8, 1),
    "eight-ranks-no-heading.txt": ("all_reduce", 8, 7),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_published_logs(name: str) -> None:
    (benchmark,) = read_benchmarks(LOGS / name)
    ranks = (
        16 if name == "v100-old-header.txt" else None
    )  # three slow rows: the factor alone leaves some open
    found = identify(benchmark, None, ranks)
    assert found is not None
    assert (found.collective, found.ranks, len(found.rows)) == SAMPLES[name]


def test_labels_inside_the_rows() -> None:
    (benchmark,) = read_benchmarks(LOGS / "rank-labels-in-rows.txt")
    assert [row.timed[1].time_us for row in benchmark.rows[:2]] == [2302.3, 416.7]


def test_the_line_below_a_table_names_its_program() -> None:
    (benchmark,) = read_benchmarks(LOGS / "broadcast-concluded.txt")
    found = identify(benchmark, None, 8)
    assert found is not None
    assert found.collective == "broadcast"


def test_devices_of_a_list_that_was_cut() -> None:
    (benchmark,) = read_benchmarks(LOGS / "gb200-rack-list-cut.txt")
    assert benchmark.facts.listed_per_node == 4  # device 3 of a host that has more


def test_several_tests_in_one_file(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    gathers = "1048576 16384 float none -1 303.15 3.46 3.24 0 300.00 3.50 3.28 0\n"
    file.write_text(f"{REAL}\n$ mpirun -np 16 ./build/all_gather_perf\n{gathers}{REAL}")
    found = [identify(test, None, None) for test in read_benchmarks(file)]
    assert [part.collective for part in found if part] == ["all_reduce", "all_gather", "all_reduce"]


def test_what_is_not_priced_is_said(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_text(REAL.replace("all_reduce_perf", "hypercube_perf"))
    assert identify(read_benchmarks(file)[0], None, None) is None


def test_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    whole = REAL.split("# Out of bounds")[0].rstrip("\n")
    for lost in (3, 12, 25, 40):
        assert len(found_in(whole[:-lost], tmp_path).rows) in (8, 9)
    found = found_in(whole[: -len("47743  179.92  337.35      0")], tmp_path)
    assert len(found.rows[-1].timed) == 1  # out of place was whole


def test_a_cut_first_line_is_left_out(tmp_path: Path) -> None:
    rows = [line for line in REAL.splitlines() if " float " in line]
    found = found_in("\n".join([rows[0].strip()[2:], *rows[1:]]), tmp_path)
    assert (found.collective, len(found.rows)) == ("all_reduce", 8)


CONTRADICTIONS = {
    "time": (" 6759.0 ", " 9759.0 ", "algbw says 158.86"),
    "algbw": (" 158.86 ", " 188.86 ", "algbw says 188.86"),
    "busbw": (" 297.86 ", " 250.86 ", "busbw of 1.875 times algbw, found 250.86"),
    "in place": (" 298.82 ", " 398.82 ", "in place"),
    "size": ("1073741824     268435456", "2073741824     268435456", "columns contradict"),
    "count": ("1073741824     268435456", "1073741824     268435455", "268435455 elements"),
    "missing cell": (" 158.86 ", " ", "cells"),
    "word": (" 158.86 ", " fast ", "'fast'"),
}


@pytest.mark.parametrize("column", CONTRADICTIONS)
def test_contradictions_are_refused_with_their_line(column: str, tmp_path: Path) -> None:
    old, new, reason = CONTRADICTIONS[column]
    line = next(n for n, text in enumerate(REAL.splitlines(), 1) if text.lstrip().startswith("1073741824"))
    with pytest.raises(PlannerError) as caught:
        found_in(REAL.replace(old, new), tmp_path)
    assert caught.value.line == line
    assert reason in caught.value.message


def test_a_busbw_of_no_number_of_ranks_is_refused(tmp_path: Path) -> None:
    row = "1073741824 268435456 float sum -1 6759.0 158.86 {:.2f} 0\n"
    with pytest.raises(PlannerError, match="no number of ranks"):
        found_in(row.format(158.86 * 1.93), tmp_path)


def test_processes_that_do_not_know_of_each_other(tmp_path: Path) -> None:
    row = "1073741824 268435456 float sum -1 6759.0 158.86 0.00 0 6759.0 158.86 0.00 0\n"
    with pytest.raises(PlannerError, match="do not know of each other"):
        found_in(row, tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"\x7fELF\x00\x01", "binary"), (b"hello\nworld\n", "no row")]
)
def test_files_without_a_log(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_bytes(content)
    with pytest.raises(PlannerError, match=reason):
        read_benchmarks(file)
    with pytest.raises(PlannerError, match="does not exist"):
        read_benchmarks(tmp_path / "none.txt")
