"""``plan validate collectives``: published collective timings against the network model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.cli.validate_points import comparison_options, show

if TYPE_CHECKING:
    from planner.cli.output import Output, ProgressCall
    from planner.validation.points import Comparison


@click.command(name="collectives")
@comparison_options
def command(output: Output, **request: Any) -> None:
    """Compare published collective timings with predictions: YAML files of sources and points, CSV tables
    (node,collective,ranks,ranks_per_node,bytes,time_us), or folders of them."""
    show(output, _compare, "Collectives", **request)


def _compare(paths: tuple[str, ...], progress: ProgressCall) -> Comparison:
    from planner.validation.collectives import compare_collectives

    return compare_collectives(paths, progress)
