"""Sheets of the model catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.models.catalogue import list_models, load_model
from planner.report.tables import new_table
from planner.units import format_count

if TYPE_CHECKING:
    from rich.console import Console

PUBLISHED = ("source", "published_parameters", "published_active_parameters", "published_tolerance")


def model_list() -> list[dict[str, Any]]:
    """Name, family and sizes of every preset."""
    rows = []
    for name in list_models():
        spec, graph = load_model(name)
        rows.append(
            {
                "name": name,
                "family": spec.family,
                "parameters": graph.parameter_count,
                "active_parameters": graph.active_parameter_count,
                "layers": graph.layers,
                "hidden": graph.hidden,
                "heads": graph.heads,
                "kv_heads": graph.kv_heads,
                "experts": graph.experts,
                "seq_len": graph.seq_len,
            }
        )
    return rows


def print_model_list(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """One row per preset."""
    headings = ("name", "family", "parameters", "active", "layers", "hidden", "heads", "experts", "seq_len")
    table = new_table(None, headings, left=headings[:2])
    for row in rows:
        heads = "-" if row["heads"] is None else str(row["heads"])
        if row["kv_heads"] is not None and row["kv_heads"] != row["heads"]:
            heads += f"/{row['kv_heads']}"
        active = row["active_parameters"]
        table.add_row(
            row["name"],
            row["family"],
            format_count(row["parameters"]),
            format_count(active) if active != row["parameters"] else "",
            str(row["layers"]),
            str(row["hidden"]),
            heads,
            str(row["experts"]) if row["experts"] else "",
            str(row["seq_len"]),
        )
    console.print(table)


def model_sheet(reference: str) -> dict[str, Any]:
    """Dimensions, source and parameters by block of a preset, model file or Hugging Face ``config.json``.

    Raises:
        PlannerError: no such model, or a faulty file.
    """
    spec, graph = load_model(reference, base=Path())
    stated = spec.model_dump(mode="json", exclude_defaults=True)
    blocks = [
        {
            "block": name,
            "kind": graph.blocks[name].kind,
            "instances": graph.order.count(name),
            "parameters_each": graph.blocks[name].parameter_count,
            "operators": len(graph.blocks[name].operators),
        }
        for name in dict.fromkeys(graph.order)
    ]
    return {
        "name": spec.name,
        "specification": {key: value for key, value in stated.items() if key not in PUBLISHED},
        "parameters": graph.parameter_count,
        "active_parameters": graph.active_parameter_count,
        "published": {key: getattr(spec, key) for key in PUBLISHED},
        "blocks": blocks,
    }


def print_model(console: Console, sheet: Mapping[str, Any]) -> None:
    """Specification, counts and blocks."""
    table = new_table(f"model {sheet['name']}")
    table.add_column("figure", no_wrap=True)
    table.add_column("value", overflow="fold")
    for key, value in _flat(sheet["specification"]):
        table.add_row(key, str(value))
    console.print(table)
    published = sheet["published"]
    counted = f"{sheet['parameters']:,} parameters"
    if sheet["active_parameters"] != sheet["parameters"]:
        counted += f", {sheet['active_parameters']:,} active per token"
    console.print(counted)
    if published["published_parameters"]:
        within = (
            f" (within {published['published_tolerance']:.2%})" if published["published_tolerance"] else ""
        )
        console.print(f"published: {published['published_parameters']:,}{within}")
    if published["source"]:
        console.print(f"source: {published['source']}")
    headings = ("block", "kind", "instances", "parameters each", "operators")
    table = new_table("Blocks", headings, left=headings[:2])
    for row in sheet["blocks"]:
        count = f"{row['parameters_each']:,}"
        table.add_row(row["block"], row["kind"], str(row["instances"]), count, str(row["operators"]))
    console.print(table)


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows
