"""``plan collective``: what nccl-tests would print on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output
from planner.errors import PlannerError

if TYPE_CHECKING:
    from rich.console import Console

LARGEST_SWEEP = 64


@click.command(name="collective")
@click.argument("name", metavar="COLLECTIVE")
@click.option("--cluster", "reference", metavar="C", required=True, help="Catalogue name or cluster file.")
@click.option("--ranks", metavar="N", required=True, help="Ranks of the group, innermost first.")
@click.option(
    "--bytes",
    "size",
    metavar="SIZE",
    help="Larger of one rank's input and output buffer, for example 1GiB (the default).",
)
@click.option("--sweep", metavar="FROM..TO", help="Doubling sizes, for example 1KiB..8GiB.")
@click.option(
    "--stride", metavar="K", default="1", show_default=True, help="Distance between the ranks of the group."
)
@click.option(
    "--algorithm", default="auto", show_default=True, help="ring, tree, hierarchical, in_network, ..."
)
@click.option("--dtype-bytes", metavar="N", default="2", show_default=True, help="Bytes of one element.")
@output_options
def command(output: Output, **request: Any) -> None:
    """Expected time, algbw and busbw of a COLLECTIVE (all_reduce, reduce_scatter, all_gather, all_to_all, broadcast,
    send_recv), as nccl-tests prints them."""
    answer = _answer(**request)
    output.emit(answer, lambda console: _render(answer, console))
    output.note(
        "alone on the network, without host launch; constants are priors where no calibration covers a link"
    )
    if answer["confidence"] is not None:
        output.note(answer["confidence"])


def _answer(
    name: str,
    reference: str,
    ranks: str,
    size: str | None,
    sweep: str | None,
    stride: str,
    algorithm: str,
    dtype_bytes: str,
) -> dict[str, Any]:
    from planner.costs.collectives import LOW_CONFIDENCE, Group, collective_named, doubted_between_nodes
    from planner.hardware.calibration import alone
    from planner.hardware.loader import load_cluster

    if size is not None and sweep is not None:
        raise click.UsageError("--bytes and --sweep exclude each other")
    sizes = _sizes(sweep) if sweep is not None else [_bytes(size or "1GiB", "--bytes")]
    group = Group(
        alone(load_cluster(reference, base=Path.cwd())), _count(ranks, "--ranks"), _count(stride, "--stride")
    )
    collective = collective_named(name)
    leaves_node = (group.ranks - 1) * group.stride >= group.cluster.devices_per_node
    lines = group.table(
        collective, sizes, algorithm=algorithm, dtype_bytes=_count(dtype_bytes, "--dtype-bytes")
    )
    return {
        "collective": name,
        "confidence": LOW_CONFIDENCE if leaves_node and doubted_between_nodes(collective) else None,
        "cluster": group.cluster.name,
        "ranks": group.ranks,
        "stride": group.stride,
        "levels": [level.name for level in group.cluster.network],
        "ranks_per_level": list(group.ranks_per_level),
        "sizes": [asdict(line) for line in lines],
    }


def _render(answer: Mapping[str, Any], console: Console) -> None:
    from rich.table import Table

    spread = " x ".join(
        f"{members:g} per {level}"
        for level, members in zip(answer["levels"], answer["ranks_per_level"], strict=True)
        if members > 1
    )
    title = f"{answer['collective']} of {answer['ranks']} ranks on {answer['cluster']}" + (
        f" ({spread})" if spread else ""
    )
    table = Table(title=title)
    for heading in ("size (B)", "count", "time (us)", "algbw (GB/s)", "busbw (GB/s)"):
        table.add_column(heading, justify="right")
    table.add_column("algorithm")
    for row in answer["sizes"]:
        rates = [_rate(row[name]) for name in ("algbw", "busbw")]
        table.add_row(
            str(row["bytes"]), str(row["count"]), f"{row['seconds'] * 1e6:.2f}", *rates, row["algorithm"]
        )
    console.print(table)


def _rate(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1e9:.2f}" if value >= 1e8 else f"{value / 1e9:.3g}"


def _sizes(sweep: str) -> list[float]:
    first, separator, last = sweep.partition("..")
    if not separator:
        raise PlannerError(f"found '{sweep}'; accepted: FROM..TO, for example 1KiB..8GiB", field="--sweep")
    size, end = _bytes(first, "--sweep"), _bytes(last, "--sweep")
    if size > end:
        raise PlannerError(f"found '{sweep}'; the first size must not exceed the last", field="--sweep")
    sizes: list[float] = []
    while size <= end and len(sizes) < LARGEST_SWEEP:
        sizes.append(size)
        size *= 2
    return sizes


def _bytes(text: str, field: str) -> float:
    from planner.units import parse_quantity

    plain = text.strip()
    value = parse_quantity(float(plain) if plain.isdigit() else text, "bytes", field=field, allow_zero=False)
    if value < 1:
        raise PlannerError(f"found '{text}'; at least one byte", field=field)
    return float(int(value))


def _count(text: str, field: str) -> int:
    from planner.units import parse_count

    value = parse_count(text, field=field)
    if value < 1:
        raise PlannerError(f"found '{text}'; at least 1", field=field)
    return value
