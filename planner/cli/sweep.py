"""``plan sweep``: one job over a grid or a sample of its fields."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import output_options, parse_settings
from planner.cli.output import Output, check_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from rich.console import Console

    from planner.studies.sweep.request import Request
    from planner.studies.sweep.run import Outcome


def _what(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say what is computed."""
    options = (
        click.argument("job_file", metavar="[JOB|SWEEP]", required=False, type=click.Path()),
        click.option(
            "--over",
            metavar="FIELD=VALUES",
            multiple=True,
            help="Vary a field: 64..4096 doubles, 1..9:2 steps, 1,2,4 lists, x0.5..x2 scales a hardware figure, "
            "uniform:A..B and log:A..B draw.",
        ),
        click.option("--samples", type=click.IntRange(1), metavar="N", help="N random points, not all."),
        click.option("--seed", type=click.IntRange(0), metavar="N", help="Of the random points (default 0)."),
        click.option(
            "--layout", metavar="KNOBS", help="Estimate this layout at each point; without it, search."
        ),
        click.option(
            "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Override a key of the job."
        ),
        click.option("--devices", metavar="N", help="Use this many devices of the cluster."),
        click.option("--tokens", metavar="N", help="Token budget, for example 15T."),
        click.option("--gap", metavar="FRACTION", help="Each search may stop when this near to the optimum."),
        click.option("--time-limit", metavar="TIME", help="Each search stops after this long."),
    )
    return _decorated(function, options)


def _how(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say where rows are computed and kept, and how they are shown."""
    options = (
        click.option(
            "-o", "--output", "file", metavar="TABLE", help="Keep rows in this .parquet or .csv file."
        ),
        click.option("--fresh", is_flag=True, help="Begin the table anew."),
        click.option("--retry", is_flag=True, help="Compute rows with status 'error' again."),
        click.option(
            "--workers", type=click.IntRange(1, 4096), metavar="N", help="Processes (default: CPUs)."
        ),
        click.option(
            "--engine",
            type=click.Choice(["process", "ray"]),
            default="process",
            show_default=True,
            help="Processes of this machine, or actors of Ray.",
        ),
        click.option("--ray-address", metavar="ADDRESS", help="Running Ray cluster, e.g. auto."),
        click.option("--show", metavar="TABLE", help="Show a table that is there, finished or not."),
        click.option(
            "--top", type=click.IntRange(1, 1000), default=20, show_default=True, help="Rows printed."
        ),
        click.option("--plot", "picture", metavar="DIR|FILE", help="Draw it: a folder of pictures, or one."),
        click.option("--heat", metavar="FIELD,FIELD", help="Fields of the heat map."),
    )
    return _decorated(function, options)


def _decorated(function: Callable[..., Any], options: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    for option in reversed(options):
        function = option(function)
    return function


@click.command("sweep")
@_what
@_how
@output_options
def command(job_file: str | None, show: str | None, output: Output, **options: Any) -> None:
    """Search (or estimate) JOB at every combination of the fields' values, one row each.

    A sweep that was stopped or killed goes on where it was when it is called again with the same -o TABLE.
    """
    if (job_file is None) == (show is None):
        raise click.UsageError("accepted: a job or sweep file, or --show TABLE")
    if options["heat"] is not None and options["picture"] is None:
        raise click.UsageError("--heat says what --plot draws: give --plot too")
    _check_picture(options["picture"])
    if show is not None:
        from planner.studies.sweep.store import stored_table

        _report(stored_table(Path(show)), None, None, output, options)
        return
    outcome = _run(str(job_file), output, options)
    _report(outcome.table, outcome, options["file"], output, options)


def _run(job_file: str, output: Output, options: dict[str, Any]) -> Outcome:
    from planner.jobs.shelf import Shelf
    from planner.studies.sweep.request import checked_sweep
    from planner.studies.sweep.run import Engine, run_sweep

    if options["ray_address"] is not None and options["engine"] != "ray":
        raise click.UsageError("--ray-address belongs to --engine ray")
    shelf = Shelf()
    sweep = checked_sweep(_request(job_file, options), shelf)
    engine = Engine(options["engine"], options["workers"], options["ray_address"])
    how = {"shelf": shelf, "fresh": options["fresh"], "retry": options["retry"]}
    with _table_file(options["file"]) as path, output.progress() as progress:
        try:
            return run_sweep(sweep, path, engine, progress=progress, **how)
        except KeyboardInterrupt:
            if options["file"] is not None:
                output.note(f"rows so far are kept; the same command goes on with {options['file']}")
            raise


def _request(job_file: str, options: dict[str, Any]) -> Request:
    """What the file asks for, with what the command line adds to it."""
    from dataclasses import replace

    from planner.jobs.loader import override
    from planner.studies.sweep.request import open_request
    from planner.units import parse_quantity

    request = open_request(job_file)
    short = {"devices": options["devices"], "training.tokens": options["tokens"]}
    settings = {name: value for name, value in short.items() if value is not None}
    settings |= parse_settings(options["settings"])
    if settings:
        request = replace(request, base=override(request.base, settings))
    given: dict[str, Any] = {name: options[name] for name in ("samples", "seed", "layout")}
    if options["gap"] is not None:
        given["gap"] = parse_quantity(options["gap"], "1", field="--gap")
    if options["time_limit"] is not None:
        given["time_limit_s"] = parse_quantity(
            options["time_limit"], "s", field="--time-limit", allow_zero=False
        )
    over = {**request.over, **_over(options["over"])}
    return replace(request, over=over, **{name: value for name, value in given.items() if value is not None})


def _over(pairs: tuple[str, ...]) -> dict[str, str]:
    over: dict[str, str] = {}
    for pair in pairs:
        path, equals, values = pair.partition("=")
        if not equals or not path.strip() or not values.strip():
            raise click.UsageError(f"--over {pair!r}: accepted: FIELD=VALUES, for example devices=64..4096")
        if path.strip() in over:
            raise click.UsageError(f"--over {path.strip()} is given twice; give all its values in one")
        over[path.strip()] = values
    return over


@contextmanager
def _table_file(file: str | None) -> Iterator[Path]:
    """Where rows are kept: the file that was asked for, else one that goes with the command."""
    if file is not None:
        from planner.studies.sweep.table import check_suffix

        check_target(file)
        check_suffix(Path(file))
        yield Path(file)
        return
    with tempfile.TemporaryDirectory(prefix="plan-sweep-") as folder:
        yield Path(folder) / "table.parquet"


def _check_picture(picture: str | None) -> None:
    """Refuse a picture that cannot be written before the sweep begins."""
    if picture is not None and Path(picture).suffix:
        from planner.report.pictures import check_picture

        check_target(picture)
        check_picture(picture)


def _report(
    table: pa.Table, outcome: Outcome | None, file: str | None, output: Output, options: dict[str, Any]
) -> None:
    from planner.report.sweep_table import print_sweep, sweep_summary

    rows = table.to_pylist()
    payload = sweep_summary(rows) if outcome is None else outcome.to_json()
    if file is None:
        payload["rows"] = rows
    else:
        payload["table"] = file
    written = _draw(table, options)
    payload["pictures"] = written

    def render(console: Console) -> None:
        print_sweep(console, table, top=options["top"], quiet=output.quiet)
        if file is not None:
            console.print(f"table written to {file}")
        for name in written:
            console.print(f"picture written to {name}")

    output.emit(payload, render)


def _draw(table: pa.Table, options: dict[str, Any]) -> list[str]:
    if options["picture"] is None:
        return []
    from planner.report.sweep_plots import draw_sweep

    heat = None if options["heat"] is None else tuple(part.strip() for part in options["heat"].split(","))
    return [str(path) for path in draw_sweep(options["picture"], table, heat=heat)]
