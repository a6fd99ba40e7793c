"""Constants of kernels from tables of measured kernels."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planner.calibration.fit.constants import Constant, Key, chip_of, constant, members_of
from planner.calibration.fit.digest import data_digest
from planner.calibration.fit.points import FloatArray, PointsFit, fit_points
from planner.calibration.fit.scopes import Values, accelerator_with
from planner.errors import PlannerError
from planner.hardware.accelerators import load_accelerator
from planner.hardware.calibration import (
    MATMUL,
    CalibratedScope,
    Calibration,
    FittedConstant,
    kernel_value,
    kernels_alone,
    plateau_name,
)
from planner.hardware.types import Accelerator
from planner.validation.csv_rows import CsvRows, read_rows
from planner.validation.files import measurement_files
from planner.validation.kernels.formats import FORMATS, generation_named
from planner.validation.kernels.timed import Timings, rows_by
from planner.validation.kernels.timings import eager_operator, timings_of

Progress = Callable[[float, str], None]

SHAPE_OF_MATMULS = ("matmul_tile_k", "matmul_wave", "matmul_stride", "matmul_traffic")
"""Fitted per architecture; the loss of narrow tiles stays a prior, because the plateau can hardly be told from it."""

_SECTIONS = {"accelerator": "accelerators", "architecture": "architectures", "attention": "attention"}


@dataclass(frozen=True)
class Block:
    """Measurements that share constants with no others: the matmuls or the memory-bound kernels of one
    architecture, or one generation of attention kernels.

    Args:
        tables: of the files, in their order.
        constants: that they depend on.
        priors: accelerators before any fit, by name.
    """

    tables: tuple[Timings, ...]
    constants: tuple[Constant, ...]
    priors: Mapping[str, Accelerator]

    def predict(self, values: Values) -> FloatArray:
        """Seconds of all rows, table after table."""
        made = {name: kernels_alone(accelerator_with(plain, values)) for name, plain in self.priors.items()}
        return np.concatenate([table.price(made.__getitem__) for table in self.tables])

    def fit(self, chosen: Sequence[CsvRows] | None = None, start: FloatArray | None = None) -> PointsFit:
        """The best constants.

        Args:
            chosen: rows to fit on, all by default; start: positions to start from.
        """
        block = self if chosen is None else Block(_tables(chosen), self.constants, self.priors)
        seconds = np.concatenate([table.measured_s for table in block.tables])
        weights = np.concatenate([table.weights for table in block.tables])
        return fit_points(self.constants, block.predict, seconds, weights, start=start)


def read_blocks(files: Sequence[Path]) -> list[Block]:
    """The tables of some files, taken apart into independent blocks.

    Raises:
        PlannerError: unreadable tables, other data than kernels, unknown accelerators.
    """
    parts: dict[Hashable, list[CsvRows]] = {}
    architectures: dict[str, str] = {}
    for file in files:
        rows = read_rows(file, FORMATS)
        if rows.kind == "collectives":
            raise PlannerError("holds collectives, not kernels; fit them apart", file=file)
        for name in set(rows.columns["gpu"]) - set(architectures):
            architectures[name] = load_accelerator(name).architecture
        kinds = (
            rows.columns["kernel"]
            if rows.kind == "attention"
            else [architectures[n] for n in rows.columns["gpu"]]
        )
        for key, chosen in rows_by([(rows.kind, kind) for kind in kinds]).items():
            parts.setdefault(key, []).append(rows.take(chosen))
    return [_block(_tables(members)) for members in parts.values()]


def _tables(members: Sequence[CsvRows]) -> tuple[Timings, ...]:
    return tuple(timings_of(rows) for rows in members)


def _block(tables: tuple[Timings, ...]) -> Block:
    names = dict.fromkeys(name for table in tables for name in table.devices)
    priors = {name: load_accelerator(name) for name in names}
    made: dict[Key, Constant] = {}
    for table in tables:
        for key, prior in _constants_of(table, priors):
            found = constant(key, prior)
            if found is not None:
                made.setdefault(key, found)
    return Block(tables, tuple(made.values()), priors)


def _constants_of(table: Timings, priors: Mapping[str, Accelerator]) -> Iterator[tuple[Key, float]]:
    """Keys and priors of what a table depends on."""
    columns = table.rows.columns
    for name in dict.fromkeys(table.devices):
        accelerator = priors[name]
        kernels, chip, architecture = accelerator.kernels, chip_of(name), accelerator.architecture
        if table.kind == "attention":
            used = {k for k, gpu in zip(columns["kernel"], columns["gpu"], strict=True) if gpu == name}
            for generation in map(generation_named, sorted(used)):
                rate = kernels.alone.get(generation, kernels.attention_forward[generation])
                yield Key("accelerator", chip, f"alone.{generation}"), rate
                yield from _losses(table, accelerator, generation)
            continue
        if table.kind == "matmul":
            yield Key("architecture", architecture, "launch_s"), kernels.launch_s
            in_step = kernel_value(accelerator, plateau_name("bf16"))
            plateau = kernels.alone.get(MATMUL, in_step)
            if plateau is not None:
                yield Key("accelerator", chip, f"alone.{MATMUL}"), plateau
            if accelerator.compute_units is not None:
                for shape in SHAPE_OF_MATMULS:
                    yield Key("architecture", architecture, shape), getattr(kernels, shape)
        else:
            yield Key("architecture", architecture, "floor_s"), kernels.floor_s
            for operator in sorted({found for op in columns["op"] if (found := eager_operator(op))}):
                yield Key("accelerator", chip, f"eager.{operator}"), kernels.eager[operator]


def _losses(table: Timings, accelerator: Accelerator, generation: str) -> Iterator[tuple[Key, float]]:
    """What the generation loses in short blocks and at other widths, as far as the table has such rows."""
    columns = table.rows.columns
    present = {
        "causal_half": any(columns["mask"]),
        "full_half": not all(columns["mask"]),
        "width_64": 64 in columns["head_dim"],
        "width_256": 256 in columns["head_dim"],
    }
    shape = accelerator.kernels.attention_kernels[generation]
    for name, there in present.items():
        if there:
            yield Key("attention", generation, name), getattr(shape, name)


def fit_kernels(
    paths: Sequence[str | Path],
    progress: Progress = lambda done, message: None,
    *,
    name: str = "published-kernels",
) -> Calibration:
    """Constants fitted to tables of measured kernels.

    Args:
        paths: CSV files, or folders of them; tables of collectives are refused.

    Raises:
        PlannerError: unreadable tables, other data than kernels, unknown accelerators.
    """
    files = measurement_files(paths, (".csv",), "tables of measured kernels (.csv)")
    blocks = read_blocks(files)
    fitted: list[tuple[Block, PointsFit]] = []
    for done, block in enumerate(blocks):
        progress(done / len(blocks), "fitting kernels")
        fitted.append((block, block.fit()))
    return Calibration(
        name=name,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        data="kernels",
        data_sha256=data_digest(files),
        rows=sum(len(table.measured_s) for block in blocks for table in block.tables),
        **_sections(fitted),
    )


def _sections(fitted: Sequence[tuple[Block, PointsFit]]) -> dict[str, dict[str, CalibratedScope]]:
    """Scopes of the calibration by section; a scope may collect constants of several blocks."""
    found: dict[tuple[str, str], dict[str, FittedConstant]] = {}
    members: dict[tuple[str, str], tuple[str, ...]] = {}
    families: dict[tuple[str, str], set[str]] = {}
    for block, fit in fitted:
        devices = [(table.rows.file.stem, device) for table in block.tables for device in table.devices]
        for index, made in enumerate(block.constants):
            touched = np.flatnonzero(fit.responses[:, index])
            if not len(touched):
                continue
            place = (_SECTIONS[made.key.kind], made.key.scope)
            sources = {devices[row] for row in touched}
            found.setdefault(place, {})[made.key.name] = FittedConstant(
                value=float(f"{fit.values[made.key]:.5g}"),
                prior=float(f"{made.prior:.5g}"),
                spread=made.rule.spread,
                lower=made.rule.lower,
                upper=made.rule.upper,
                rows=len(touched),
                groups=len(sources),
            )
            members[place] = members_of(made.key)
            families.setdefault(place, set()).update(family for family, _ in sources)
    sections: dict[str, dict[str, CalibratedScope]] = {name: {} for name in _SECTIONS.values()}
    for (section, scope), constants in sorted(found.items()):
        place = (section, scope)
        sections[section][scope] = CalibratedScope(
            members=members[place],
            families=tuple(sorted(families[place])),
            constants=dict(sorted(constants.items())),
        )
    return sections
