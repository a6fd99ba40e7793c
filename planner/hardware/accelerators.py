"""Accelerators from their files, completed by the efficiency priors of their architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.documents import Document, fault, validate
from planner.documents.bulk import load_bulk
from planner.errors import PlannerError
from planner.hardware import catalogue
from planner.hardware.evidence import evidence, known, value
from planner.hardware.schema import AcceleratorFile, Figure, Kernels, Priors
from planner.hardware.types import Accelerator, AttentionKernel, Evidence, KernelConstants

_SAME = (
    "matmul_k_half",
    "matmul_mn_half",
    "matmul_tile_k",
    "matmul_tile_edge",
    "matmul_wave",
    "matmul_stride",
    "matmul_traffic",
    "matmul_array",
    "matmul_group_rows",
    "memory_efficiency",
)
_SCALARS = {**{name: name for name in _SAME}, "launch": "launch_s", "floor": "floor_s"}
_TABLES = ("matmul_efficiency", "eager", "attention_forward", "attention_backward", "alone")


def load_accelerator(
    reference: str | Mapping[str, Any], *, document: Document | None = None, at: tuple[str | int, ...] = ()
) -> Accelerator:
    """One accelerator.

    Args:
        reference: a catalogue name, or the mapping of an accelerator file.
        document, at: where the reference stands, for messages.

    Raises:
        PlannerError: unknown name, or a figure that is missing, of a wrong unit or impossible.
    """
    if isinstance(reference, str):
        try:
            path = catalogue.find(catalogue.ACCELERATORS, reference)
        except PlannerError as error:
            raise fault(document, at, error.message) from None
        document, at = load_bulk(path), ()
    elif document is None:
        document = Document(None, reference)
    return _build(validate(document, AcceleratorFile, at), document, at)


def _build(file: AcceleratorFile, document: Document, at: tuple[str | int, ...]) -> Accelerator:
    for name, figure in (("memory", file.memory), ("memory_bandwidth", file.memory_bandwidth)):
        if figure.value is None:
            raise fault(document, (*at, name), "is unknown; an accelerator needs it")
    peaks = known({str(name): figure for name, figure in file.peak_flops.items()})
    if not peaks:
        raise fault(document, (*at, "peak_flops"), "holds no known figure; at least one precision is needed")
    kernels, origins = _kernels(file, peaks)
    figures = [(f"peak_flops.{name}", figure) for name, figure in file.peak_flops.items()]
    figures += [("memory_bytes", file.memory), ("memory_bandwidth", file.memory_bandwidth)]
    units = value(file.compute_units)
    return Accelerator(
        name=file.name,
        vendor=file.vendor,
        architecture=file.architecture,
        peak_flops=peaks,
        memory_bytes=file.memory.value or 0.0,
        memory_bandwidth=file.memory_bandwidth.value or 0.0,
        kernels=kernels,
        compute_units=None if units is None else int(units),
        power_w=value(file.power),
        evidence={
            **evidence(
                [*figures, ("compute_units", file.compute_units), ("power_w", file.power)], file.sources
            ),
            **origins,
        },
        notes=file.notes,
    )


def load_priors() -> Priors:
    """The efficiency priors of the catalogue."""
    return validate(load_bulk(catalogue.specs_root() / "priors.yaml"), Priors)


def _kernels(
    file: AcceleratorFile, peaks: Mapping[str, float]
) -> tuple[KernelConstants, dict[str, Evidence]]:
    """Constants from the most special statement: the accelerator, its architecture, the defaults."""
    priors = load_priors()
    layers: list[tuple[Kernels, Mapping[str, str]]] = [(priors.defaults, priors.sources)]
    if file.architecture in priors.architectures:
        layers.append((priors.architectures[file.architecture], priors.sources))
    layers.append((file.kernels, file.sources))
    merged: dict[str, Figure] = {}
    origins: dict[str, Evidence] = {}
    for layer, sources in layers:
        stated = {name: figure for name, figure in _flat(layer) if figure.value is not None}
        merged |= stated
        origins |= evidence(stated.items(), sources)
    scalars = {target: merged[name].value for name, target in _SCALARS.items()}
    tables = {
        table: {
            name.split(".")[1]: figure.value
            for name, figure in merged.items()
            if name.startswith(f"{table}.")
        }
        for table in _TABLES
    }
    tables["matmul_efficiency"] = {name: tables["matmul_efficiency"].get(name) for name in peaks}
    absent = [name for name, figure in tables["matmul_efficiency"].items() if figure is None]
    if absent:
        raise PlannerError(f"no matmul efficiency prior for {', '.join(absent)} of {file.architecture}")
    unused = {f"matmul_efficiency.{name}" for name in _precisions(merged) - set(peaks)}
    kept = {f"kernels.{name}": origin for name, origin in origins.items() if name not in unused}
    shapes, shape_origins = _attention(priors)
    constants = KernelConstants(**scalars, **tables, attention_kernels=shapes)  # type: ignore[arg-type]
    return constants, kept | shape_origins


def _attention(priors: Priors) -> tuple[dict[str, AttentionKernel], dict[str, Evidence]]:
    """Losses of the attention kernels, which belong to their generation, not to a device."""
    shapes: dict[str, AttentionKernel] = {}
    origins: dict[str, Evidence] = {}
    for generation, shape in priors.attention.items():
        figures = {name: getattr(shape, name) for name in type(shape).model_fields}
        stated = {name: figure for name, figure in figures.items() if figure is not None}
        shapes[generation] = AttentionKernel(**known(stated))
        place = f"kernels.attention_kernels.{generation}"
        origins |= evidence(((f"{place}.{name}", f) for name, f in stated.items()), priors.sources)
    return shapes, origins


def _precisions(merged: Mapping[str, Figure]) -> set[str]:
    return {name.split(".")[1] for name in merged if name.startswith("matmul_efficiency.")}


def _flat(kernels: Kernels) -> list[tuple[str, Figure]]:
    """Every stated figure by ``table.key`` or scalar name."""
    pairs = [(name, getattr(kernels, name)) for name in _SCALARS]
    pairs += [
        (f"{table}.{key}", figure) for table in _TABLES for key, figure in getattr(kernels, table).items()
    ]
    return [(name, figure) for name, figure in pairs if figure is not None]
