"""Sheets of the hardware catalogue: every figure with its source and grade."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from planner.errors import PlannerError, suggest
from planner.hardware.catalogue import list_accelerators, list_clusters, list_networks
from planner.hardware.loader import load_accelerator, load_cluster, load_network_kind
from planner.hardware.networks import LEVEL_FIGURES
from planner.hardware.types import Accelerator, Cluster, Evidence, NetworkLevel
from planner.report.tables import new_table
from planner.units import format_bytes, format_rate, format_seconds

if TYPE_CHECKING:
    from rich.console import Console

    from planner.hardware.schema import NetworkFile

UNSTATED = Evidence("not stated", "C")


@dataclass(frozen=True)
class FigureRow:
    """One figure: name, value for people, SI value for programs, origin (None for what needs none)."""

    figure: str
    text: str
    value: Any
    evidence: Evidence | None


@dataclass(frozen=True)
class Sheet:
    """Everything that the catalogue says about one entry."""

    kind: str
    name: str
    rows: tuple[FigureRow, ...]
    notes: str | None

    def to_json(self) -> dict[str, Any]:
        """Figures by name with value, source and grade."""
        figures = {
            row.figure: {"value": row.value} | (asdict(row.evidence) if row.evidence else {})
            for row in self.rows
        }
        return {"kind": self.kind, "name": self.name, "figures": figures, "notes": self.notes}


def hardware_list() -> dict[str, list[dict[str, Any]]]:
    """Names and leading figures of the whole catalogue."""
    accelerators = [load_accelerator(name) for name in list_accelerators()]
    clusters = [load_cluster(name) for name in list_clusters()]
    return {
        "accelerators": [
            {
                "name": item.name,
                "vendor": item.vendor,
                "memory_bytes": item.memory_bytes,
                "memory_bandwidth": item.memory_bandwidth,
                "peak_flops": dict(item.peak_flops),
            }
            for item in accelerators
        ],
        "clusters": [
            {
                "name": item.name,
                "accelerator": item.accelerator.name,
                "nodes": item.nodes,
                "devices_per_node": item.devices_per_node,
                "devices": item.devices,
                "network": [level.kind or level.name for level in item.network],
            }
            for item in clusters
        ],
        "networks": [{"name": name} for name in list_networks()],
    }


def print_hardware_list(console: Console, catalogue: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Tables of accelerators, clusters and network kinds."""
    headings = ("name", "vendor", "memory", "bandwidth", "16-bit dense", "8-bit float")
    table = new_table("Accelerators", headings, left=headings[:2])
    for item in catalogue["accelerators"]:
        peaks = item["peak_flops"]
        table.add_row(
            item["name"],
            item["vendor"],
            format_bytes(item["memory_bytes"]),
            format_rate(item["memory_bandwidth"]),
            _peak(peaks.get("bf16", peaks.get("fp16"))),
            _peak(peaks.get("fp8")),
        )
    console.print(table)
    words = ("name", "accelerator", "nodes × devices", "network, innermost first")
    table = new_table("Clusters", words, left=words)
    for item in catalogue["clusters"]:
        size = f"{item['nodes']:,} × {item['devices_per_node']}"
        table.add_row(item["name"], item["accelerator"], size, ", ".join(item["network"]))
    console.print(table)
    console.print("Network kinds: " + ", ".join(item["name"] for item in catalogue["networks"]))


def hardware_sheet(name: str) -> Sheet:
    """The sheet of an accelerator, network kind or cluster by name, or of a cluster file.

    Raises:
        PlannerError: no such entry; the nearest name is suggested.
    """
    if name in list_accelerators():
        accelerator = load_accelerator(name)
        return Sheet("accelerator", name, tuple(_accelerator_rows(accelerator)), accelerator.notes)
    if name in list_networks():
        network = load_network_kind(name)
        return Sheet("network", name, tuple(_network_rows(network)), network.notes)
    if name in list_clusters() or "/" in name or name.endswith((".yaml", ".yml", ".json")):
        cluster = load_cluster(name)
        return Sheet("cluster", cluster.name, tuple(_cluster_rows(cluster)), cluster.notes)
    known = (*list_accelerators(), *list_networks(), *list_clusters())
    raise PlannerError(f"no accelerator, network kind or cluster '{name}'; {suggest(name, known)}")


def print_sheet(console: Console, sheet: Sheet) -> None:
    """One row per figure."""
    table = new_table(f"{sheet.kind} {sheet.name}")
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("grade", justify="center")
    table.add_column("source", overflow="fold")
    for row in sheet.rows:
        origin = row.evidence
        source = "" if origin is None else origin.source + (f" ({origin.note})" if origin.note else "")
        table.add_row(row.figure, row.text, origin.grade if origin else "", source)
    console.print(table)
    if sheet.notes:
        console.print(sheet.notes.strip())
    console.print(
        "grades: A read in the source; B published figure, recalled; C judgement, or sources disagree",
        style="dim",
    )


def _accelerator_rows(item: Accelerator) -> Iterator[FigureRow]:
    def row(figure: str, text: str, value: Any) -> FigureRow:
        return FigureRow(figure, text, value, item.evidence.get(figure, UNSTATED))

    yield FigureRow("vendor", item.vendor, item.vendor, None)
    yield FigureRow("architecture", item.architecture, item.architecture, None)
    for precision, peak in item.peak_flops.items():
        yield row(f"peak_flops.{precision}", format_rate(peak, "FLOP/s"), peak)
    yield row("memory_bytes", format_bytes(item.memory_bytes), item.memory_bytes)
    yield row("memory_bandwidth", format_rate(item.memory_bandwidth), item.memory_bandwidth)
    if item.compute_units is not None:
        yield row("compute_units", f"{item.compute_units:,}", item.compute_units)
    yield row("power_w", _or_unknown(item.power_w, "{:,.0f} W"), item.power_w)
    kernels = item.kernels
    for table in ("matmul_efficiency", "alone", "eager", "attention_forward", "attention_backward"):
        for key, efficiency in getattr(kernels, table).items():
            yield row(f"kernels.{table}.{key}", f"{efficiency:.2f}", efficiency)
    for name in _matmul_constants(item):
        yield row(f"kernels.{name}", f"{getattr(kernels, name):g}", getattr(kernels, name))
    yield row("kernels.memory_efficiency", f"{kernels.memory_efficiency:.2f}", kernels.memory_efficiency)
    yield row("kernels.launch", format_seconds(kernels.launch_s), kernels.launch_s)
    yield row("kernels.floor", format_seconds(kernels.floor_s), kernels.floor_s)


def _matmul_constants(item: Accelerator) -> tuple[str, ...]:
    """What shapes matmuls on the device: a ramp, or tiles over its compute units."""
    if item.compute_units is None:
        return ("matmul_k_half", "matmul_mn_half")
    return ("matmul_tile_k", "matmul_tile_edge", "matmul_wave", "matmul_stride", "matmul_traffic")


_LINK_TIMES = ("latency", "start", "message_start")
_ONE_IF_UNSTATED = ("oversubscription", "ramp", "in_network_ramp")


def _network_rows(item: NetworkFile) -> Iterator[FigureRow]:
    yield FigureRow("fabric", str(item.fabric), item.fabric, None)
    forms = {"bandwidth": "B/s", "per_flow_bandwidth": "B/s"} | dict.fromkeys(_LINK_TIMES, "s")
    for name in LEVEL_FIGURES:
        figure = getattr(item, name, None)
        if figure is None or figure.value is None:
            continue
        source = item.sources.get(figure.source or "", figure.source or UNSTATED.source)
        text = _with_unit(figure.value, forms.get(name))
        yield FigureRow(name, text, figure.value, Evidence(source, figure.grade, figure.note))


def _cluster_rows(item: Cluster) -> Iterator[FigureRow]:
    def row(figure: str, text: str, value: Any) -> FigureRow:
        origin = item.evidence.get(figure)
        return FigureRow(figure, text, value, origin if value is not None else None)

    yield FigureRow("accelerator", item.accelerator.name, item.accelerator.name, None)
    yield FigureRow("nodes", f"{item.nodes:,}", item.nodes, None)
    yield FigureRow("devices_per_node", str(item.devices_per_node), item.devices_per_node, None)
    for level in item.network:
        yield from _level_rows(item, level)
    host = item.host
    yield row("host.memory_bytes", _or_unknown(host.memory_bytes, None, "B"), host.memory_bytes)
    yield row("host.link_bandwidth", _or_unknown(host.link_bandwidth, None, "B/s"), host.link_bandwidth)
    yield FigureRow("host.shared_by", f"{host.shared_by} devices per link", host.shared_by, None)
    yield row("host.nvme_bytes", _or_unknown(host.nvme_bytes, None, "B"), host.nvme_bytes)
    yield row("host.nvme_read", _or_unknown(host.nvme_read, None, "B/s"), host.nvme_read)
    yield row("host.nvme_write", _or_unknown(host.nvme_write, None, "B/s"), host.nvme_write)
    price = item.price_per_device_hour
    yield row("price_per_device_hour", _or_unknown(price, "{:.2f}"), price)
    yield row(
        "power_per_device_w", _or_unknown(item.power_per_device_w, "{:,.0f} W"), item.power_per_device_w
    )
    yield row("mtbf_s", _or_unknown(item.mtbf_s, None, "s"), item.mtbf_s)


def _level_rows(item: Cluster, level: NetworkLevel) -> Iterator[FigureRow]:
    prefix = f"network[{level.name}]"
    wiring = level.fabric + (f" {'×'.join(map(str, level.shape))}" if level.shape else "")
    yield FigureRow(f"{prefix}.kind", level.kind or level.name, level.kind, None)
    yield FigureRow(f"{prefix}.size", f"{level.size:,} devices, {wiring}", level.size, None)
    forms = {"bandwidth": "B/s", "per_flow_bandwidth": "B/s"} | dict.fromkeys(_LINK_TIMES, "s")
    for name in LEVEL_FIGURES:
        field = f"{name}_s" if name in _LINK_TIMES else name
        value, figure = getattr(level, field), f"{prefix}.{name}"
        if value is None or (name in _ONE_IF_UNSTATED and value == 1.0):
            continue
        origin = item.evidence.get(f"{prefix}.{field}") or item.evidence.get(figure)
        yield FigureRow(figure, _with_unit(value, forms.get(name)), value, origin)


def _peak(value: float | None) -> str:
    return "-" if value is None else format_rate(value, "FLOP/s")


def _with_unit(value: float, unit: str | None) -> str:
    if unit == "B/s":
        return format_rate(value)
    if unit == "s":
        return format_seconds(value)
    if unit == "B":
        return format_bytes(value)
    return f"{value:g}"


def _or_unknown(value: float | None, form: str | None, unit: str | None = None) -> str:
    if value is None:
        return "unknown"
    return form.format(value) if form else _with_unit(value, unit)
