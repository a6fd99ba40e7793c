"""A chosen sharding for people: rivals, operators with what they send, alternatives."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planner.report.tables import NARROW, new_table
from planner.report.text import percent, seconds
from planner.solvers.sharding.plan import OUTPUT
from planner.units import format_bytes

if TYPE_CHECKING:
    from rich.console import Console

FOLLOWERS = ("view", "elementwise", "select")
"""Kinds of operators that are told together where they send nothing and own nothing."""

SHORT = {
    "all_gather": "all-gather",
    "all_reduce": "all-reduce",
    "reduce_scatter": "reduce-scatter",
    "all_to_all": "all-to-all",
}


def print_sharding(console: Console, payload: Mapping[str, Any], *, quiet: bool) -> None:
    """The plans side by side, then operator by operator."""
    console.print(_rivals(payload, narrow=console.width < NARROW))
    console.print(_operators(payload))
    if quiet:
        return
    console.print(
        "placements: S0 splits dimension 0, R is whole on every rank, P holds partial sums; one per mesh dimension"
    )
    for note in payload["notes"]:
        console.print(f"note: {note}")
    console.print(_styles(payload["parallel_styles"]))
    certificate = payload["certificate"]
    if certificate is not None:
        console.print(_proof(certificate))


def print_why(console: Console, found: Mapping[str, Any], step_s: float) -> None:
    """Every other way to run one operator, cheapest first."""
    table = new_table(
        f"{found['operator']}: what another split costs",
        ("split", "inputs", "outputs", "rest kept", "rest chosen again"),
        left=("split", "inputs", "outputs"),
    )
    for item in (found["chosen"], *found["others"]):
        chosen = item is found["chosen"]
        table.add_row(
            ("> " if chosen else "  ") + split_words(item["split"]),
            " ".join(_where(code) for code in item["inputs"]),
            " ".join(_where(code) for code in item["outputs"]),
            "chosen" if chosen else _extra(item["kept_s"], step_s),
            "" if chosen or item["resolved_s"] is None else _extra(item["resolved_s"], step_s),
        )
    console.print(table)


def print_runners_up(console: Console, payload: Mapping[str, Any]) -> None:
    """The cheapest other way of every operator that does more than follow."""
    headings = ("operator", "chosen", "next best", "rest kept")
    table = new_table("Next best split of each operator", headings, left=headings[:3])
    kinds = {item["name"]: item["kind"] for item in payload["operators"]}
    for item in payload["next_best"]:
        if kinds[item["operator"]] in FOLLOWERS:
            continue
        table.add_row(
            item["operator"],
            split_words(item["chosen"]),
            split_words(item["split"]),
            _extra(item["kept_s"], payload["seconds"]),
        )
    console.print(table)


def split_words(split: Sequence[Any]) -> str:
    """What an operator does on each mesh dimension."""
    return ", ".join(
        "whole" if item is None else "partial" if isinstance(item, int) else str(item) for item in split
    )


def _extra(extra_s: float | None, step_s: float) -> str:
    if extra_s is None:
        return "impossible"
    words = f"+{seconds(max(extra_s, 0.0))}"
    return f"{words} ({percent(max(extra_s, 0.0) / step_s)})" if step_s else words


def _rivals(payload: Mapping[str, Any], *, narrow: bool) -> Any:
    devices = math.prod(payload["mesh"])
    mesh = f"{'x'.join(str(size) for size in payload['mesh'])} device{'s' if devices > 1 else ''}"
    what = "training step" if payload["training"] else "forward pass"
    parts = ("seconds",) if narrow else ("seconds", "kernels_s", "forward_s", "backward_s")
    words = {
        "seconds": "time",
        "kernels_s": "kernels",
        "forward_s": "sent forward",
        "backward_s": "sent backward",
    }
    table = new_table(
        f"{payload['graph']} on {mesh} of {payload['cluster']}: one {what}",
        ("plan", *(words[part] for part in parts), "calls", "memory", "fits", "against best"),
        left=("plan",),
    )
    table.columns[0].no_wrap = True
    best = payload["seconds"]
    name = "linear programme" if payload["chosen_by"] == "ilp" else payload["chosen_by"]
    rows = {f"> {name}": payload} | {
        f"  {rival}": item for rival, item in payload["rivals"].items() if rival != payload["chosen_by"]
    }
    for label, item in rows.items():
        calls = str(sum(item["collectives"].values()))
        against = "" if item is payload or not best else f"{100 * (item['seconds'] / best - 1):+.1f} %"
        fits = "yes" if item["fits"] else "no"
        table.add_row(
            label, *(seconds(item[part]) for part in parts), calls, format_bytes(item["bytes"]), fits, against
        )
    return table


def _operators(payload: Mapping[str, Any]) -> Any:
    headings = ("operator", "split", "parameters", "output", "sent before it", "sent for its gradient")
    table = new_table("Operators, copies of a block once", headings, left=headings)
    for row in _rows(payload):
        table.add_row(row.name, row.split, row.parameters, row.output, row.forward, row.backward)
    return table


@dataclass(frozen=True)
class _Row:
    name: str
    split: str
    parameters: str
    output: str
    forward: str
    backward: str


def _rows(payload: Mapping[str, Any]) -> Iterator[_Row]:
    """Operators one by one; followers between them together."""
    sends = _sends(payload)
    copies = Counter(item["copy_of"] or item["name"] for item in payload["operators"])
    followers: list[Mapping[str, Any]] = []
    for item in payload["operators"]:
        if item["copy_of"] is not None:
            continue
        if item["kind"] in FOLLOWERS and not item["parameters"] and item["name"] not in sends:
            followers.append(item)
            continue
        yield from _followers(followers)
        followers = []
        yield _Row(
            _name(item, copies[item["name"]]),
            split_words(item["split"]),
            " ".join(
                f"{_short(name, item['module'])} {_where(payload['stored'][name])}"
                for name in item["parameters"]
            ),
            " ".join(_where(code) for code in item["outputs"]),
            *("\n".join(lines) for lines in sends.get(item["name"], ((), ()))),
        )
    yield from _followers(followers)
    delivered = [item["use"] for item in payload["transitions"] if item["consumers"][0][0] == OUTPUT]
    if delivered:
        lines = ("\n".join(found) for found in sends.get(OUTPUT, ((), ())))
        yield _Row("the graph's output", "", "", " ".join(_where(code) for code in delivered), *lines)


def _followers(items: Sequence[Mapping[str, Any]]) -> Iterator[_Row]:
    if items:
        targets = Counter(item["target"].split(".")[-1] for item in items)
        words = ", ".join(name if count == 1 else f"{name} x{count}" for name, count in targets.items())
        places = list(dict.fromkeys(_where(code) for item in items for code in item["outputs"]))
        yield _Row(f"  {words}", "follow", "", " ".join(places), "", "")


def _name(item: Mapping[str, Any], copies: int) -> str:
    label = f"{item['name']} ({item['module']})" if item["module"] else str(item["name"])
    return label if copies == 1 else f"{label} x{copies}"


def _short(name: str, module: str) -> str:
    return name.removeprefix(f"{module}.")


def _where(code: Sequence[str]) -> str:
    """A placement: one word where it is the same on all mesh dimensions."""
    return (
        code[0]
        if (len(set(code)) == 1 and code[0] in ("R", "P")) or len(code) == 1
        else f"({','.join(code)})"
    )


def _sends(payload: Mapping[str, Any]) -> dict[str, tuple[list[str], list[str]]]:
    """Operator -> collectives before its first use of a value; of the gradients that it sends back."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for item in payload["transitions"]:
        first, what = item["consumers"][0][0], item["value"] if item["value"] in payload["stored"] else ""
        for column, steps in enumerate((item["forward"], item["backward"])):
            if words := _calls(steps, many=len(payload["mesh"]) > 1):
                lines = found.setdefault(first, ([], []))[column]
                lines.append(f"{what}: {words}" if what else words)
    for item in payload["inner"]:
        lines = found.setdefault(item["operator"], ([], []))[item["in_pass"] == "backward"]
        words = _calls([{**item, "collective": "all_reduce"}], many=len(payload["mesh"]) > 1)
        lines.append(f"{item['what']}: {words}")
    return found


def _calls(steps: Sequence[Mapping[str, Any]], *, many: bool) -> str:
    """Collectives in order; equal ones along several mesh dimensions as one."""
    calls: dict[str, list[str]] = {}
    for step in steps:
        if step["collective"]:
            call = f"{SHORT[step['collective']]} {format_bytes(step['bytes'])}"
            calls.setdefault(call, []).append(str(step["mesh_dim"]))
    return ", ".join(f"{call} (dim {' and '.join(dims)})" if many else call for call, dims in calls.items())


def _styles(found: Mapping[str, Any]) -> str:
    """How far PyTorch's own styles go."""
    if not found["modules"]:
        return "parallelize_module: no module has a style of its own in this plan"
    counts = Counter(item["style"] for item in found["modules"])
    words = ", ".join(f"{count} {style}" for style, count in counts.items())
    if not found["unsaid"]:
        return f"parallelize_module says this plan: {words} (in the plan file)"
    return (
        f"parallelize_module says part of this plan ({words}); {len(found['unsaid'])} of its conversions "
        "have no style (in the plan file)"
    )


def _proof(certificate: Mapping[str, Any]) -> str:
    size = f"{certificate['variables']:,} variables, {certificate['constraints']:,} constraints"
    if certificate["status"] == "optimal":
        whole = ", whole without branching" if certificate["relaxation_whole"] else ""
        return f"proved: no sharding is faster by these prices ({size}{whole})"
    bound = certificate["lower_bound_s"]
    known = (
        f"none is faster than {seconds(bound)}, gap {percent(certificate['gap'])}"
        if bound
        else "no bound is known"
    )
    return f"not proved: the limit came first; {known} ({size})"
