"""``plan validate kernels``: measured kernels against the kernel model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from planner.cli.validate_points import comparison_options, show

if TYPE_CHECKING:
    from planner.cli.output import Output, ProgressCall
    from planner.validation.points import Comparison


@click.command(name="kernels")
@comparison_options
@click.option(
    "--left-out/--no-left-out",
    default=True,
    help="Also predict every shape by constants fitted without it (some fifteen seconds for 5,000 rows).",
)
def command(output: Output, *, left_out: bool, **request: Any) -> None:
    """Compare measured kernels with predictions: CSV tables of matmuls (gpu,m,n,k,time_us), memory-bound operators
    (gpu,op,bytes_moved,time_us), attention (gpu,kernel,direction,mask,batch,heads,head_dim,seq_len,tflops) and
    collectives (node,collective,ranks,ranks_per_node,bytes,time_us), or folders of them."""
    show(output, _with_left_out if left_out else _compare, "Kernels", **request)


def _compare(paths: tuple[str, ...], progress: ProgressCall) -> Comparison:
    from planner.validation.kernels import compare_kernels

    return compare_kernels(paths, progress)


def _with_left_out(paths: tuple[str, ...], progress: ProgressCall) -> Comparison:
    from planner.calibration.fit.kernel_folds import compare_with_left_out

    return compare_with_left_out(paths, progress)
