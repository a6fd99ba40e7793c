"""``plan validate collectives``: published collective timings against the network model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from planner.cli.validate_points import comparison_options, show

if TYPE_CHECKING:
    from planner.cli.output import Output, ProgressCall
    from planner.validation.points import Comparison


@click.command(name="collectives")
@comparison_options
@click.option("--priors", is_flag=True, help="Predict from the priors alone, without any fitted constant.")
def command(output: Output, priors: bool, **request: Any) -> None:
    """Compare published collective timings with predictions: YAML files of sources and points, CSV tables
    (node,collective,ranks,ranks_per_node,bytes,time_us), or folders of them."""
    show(output, partial(_compare, calibrated=not priors), "Collectives", **request)


def _compare(paths: tuple[str, ...], progress: ProgressCall, *, calibrated: bool) -> Comparison:
    from planner.validation.collectives import compare_collectives

    return compare_collectives(paths, progress, calibrated=calibrated)
