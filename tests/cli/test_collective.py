"""``plan collective``."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from planner.cli.collective import command
from planner.cli.main import run
from planner.errors import PlannerError

BASE = ["all_reduce", "--cluster", "h100-superpod", "--ranks", "16"]


def test_the_table_shows_what_nccl_tests_shows() -> None:
    result = CliRunner().invoke(command, [*BASE, "--bytes", "1GiB"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    for text in ("1073741824", "536870912", "time (us)", "algbw", "busbw", "8 per nvlink x 2 per infiniband"):
        assert text in result.stdout
    assert "without host launch" in result.stderr


def test_json_is_one_object_on_standard_output() -> None:
    result = CliRunner().invoke(command, [*BASE, "--sweep", "1KiB..4KiB", "--json"])
    answer = json.loads(result.stdout)
    assert [row["bytes"] for row in answer["sizes"]] == [1024, 2048, 4096]
    assert answer["ranks_per_level"] == [8.0, 2.0]
    for row in answer["sizes"]:
        assert row["algbw"] == pytest.approx(row["bytes"] / row["seconds"])
        assert row["busbw"] == pytest.approx(row["algbw"] * 2 * 15 / 16)


def test_a_stride_of_a_node_puts_one_rank_on_each() -> None:
    result = CliRunner().invoke(
        command, ["all_gather", "--cluster", "h100-superpod", "--ranks", "4", "--stride", "8", "--json"]
    )
    assert json.loads(result.stdout)["ranks_per_level"] == [1.0, 4.0]


def test_one_rank_has_nothing_to_do() -> None:
    result = CliRunner().invoke(
        command, ["all_reduce", "--cluster", "h100-superpod", "--ranks", "1", "--json"]
    )
    row = json.loads(result.stdout)["sizes"][0]
    assert (row["seconds"], row["busbw"], row["algorithm"]) == (0.0, None, "none")


def test_quiet_says_nothing_beside_the_table() -> None:
    assert CliRunner().invoke(command, [*BASE, "-q"]).stderr == ""


FAULTS = [
    (["allreduce", *BASE[1:]], "did you mean 'all_reduce'"),
    ([*BASE, "--algorithm", "rings"], "did you mean 'ring'"),
    ([*BASE[:-1], "0"], "--ranks: found '0'; at least 1"),
    ([*BASE[:-1], "1e12"], "devices"),
    ([*BASE[:-1], "many"], "--ranks"),
    ([*BASE, "--stride", "-1"], "--stride"),
    ([*BASE, "--bytes", "-1GiB"], "--bytes"),
    ([*BASE, "--bytes", "nan"], "--bytes"),
    ([*BASE, "--bytes", "1 parsec"], "--bytes"),
    ([*BASE, "--bytes", "0"], "--bytes"),
    ([*BASE, "--sweep", "1KiB"], "--sweep"),
    ([*BASE, "--sweep", "8KiB..1KiB"], "must not exceed"),
    ([*BASE, "--dtype-bytes", "0"], "--dtype-bytes"),
    (["all_reduce", "--cluster", "h100-superpdo", "--ranks", "8"], "h100-superpod"),
    ([*BASE[:3], "--ranks", "4", "--algorithm", "in_network"], "cannot run on this network"),
]


@pytest.mark.parametrize(("arguments", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_bad_input_is_one_error_that_names_the_fault(arguments: list[str], message: str) -> None:
    error = CliRunner().invoke(command, arguments).exception
    assert isinstance(error, PlannerError)
    assert message in str(error)
    assert "\n" not in str(error)


def test_bad_input_leaves_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["collective", "allreduce", *BASE[1:]]) == 2
    assert run(["collective", *BASE, "--bytes", "1GiB", "--sweep", "1KiB..2KiB"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
