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
def command(output: Output, **request: Any) -> None:
    """Compare measured kernels with predictions: CSV tables of matmuls (gpu,m,n,k,time_us), memory-bound operators
    (gpu,op,bytes_moved,time_us), attention (gpu,kernel,direction,mask,batch,heads,head_dim,seq_len,tflops) and
    collectives (node,collective,ranks,ranks_per_node,bytes,time_us), or folders of them."""
    show(output, _compare, "Kernels", **request)


def _compare(paths: tuple[str, ...], progress: ProgressCall) -> Comparison:
    from planner.validation.kernels import compare_kernels

    return compare_kernels(paths, progress)
