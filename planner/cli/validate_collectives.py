"""``plan validate collectives``: published collective timings against the network model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from planner.cli.validate_points import comparison_options, show

if TYPE_CHECKING:
    from rich.console import Console

    from planner.cli.output import Output, ProgressCall
    from planner.validation.collectives.verdicts import JudgedComparison


@click.command(name="collectives")
@comparison_options
@click.option("--priors", is_flag=True, help="Predict from the priors alone, without any fitted constant.")
def command(output: Output, priors: bool, **request: Any) -> None:
    """Compare published collective timings with predictions: YAML files of sources and points, CSV tables
    (node,collective,ranks,ranks_per_node,bytes,time_us), or folders of them. Sweeps of eight sizes or more are also
    predicted from hardware constants alone and from constants fitted to half of their sizes."""
    show(output, partial(_compare, calibrated=not priors), "Collectives", also=_verdicts, **request)


def _compare(paths: tuple[str, ...], progress: ProgressCall, *, calibrated: bool) -> JudgedComparison:
    from planner.validation.collectives.verdicts import judge_collectives

    return judge_collectives(paths, progress, calibrated=calibrated)


def _verdicts(console: Console, comparison: JudgedComparison) -> None:
    from planner.report.sweeps import show_verdicts

    show_verdicts(console, comparison.verdicts)
