"""Many layouts as columns of arrays: the form in which costs are computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from planner.layouts.layout import SCHEDULES, Layout, Offload, Recompute, Shard

IntArray = NDArray[np.int64]

COLUMNS = (
    "tp",
    "sp",
    "ulysses",
    "ring",
    "pp",
    "vpp",
    "schedule",  # index into SCHEDULES
    "schedule_file",  # index into Layouts.schedule_files (None: generated)
    "slices",
    "ep",
    "etp",
    "dp",
    "shard_parameters",
    "shard_gradients",
    "shard_optimizer",
    "shard_secondary",
    "micro_batch",
    "micro_batches",
    "recompute",  # index into Layouts.recompute
    "recompute_layers",  # first n layers of each pipeline rank; -1 for all; below, see Layouts.recompute_lists
    "offload",  # index into Layouts.offload
    "partition",  # index into Layouts.partitions (None: even)
    "axis_order",  # index into Layouts.axis_orders
    "cp_gather",  # 1 when the ring degree is served by an all-gather of K and V
)


@dataclass(frozen=True)
class Layouts:
    """A frozen set of equally long integer columns; some hold the index of an interned frozen object.

    ``recompute_lists`` holds numbers of recomputed layers per pipeline rank; the list k is -2 - k in its column.
    """

    columns: Mapping[str, IntArray]
    recompute: tuple[Recompute, ...]
    offload: tuple[Offload, ...]
    partitions: tuple[tuple[int, ...] | None, ...]
    axis_orders: tuple[tuple[str, ...], ...]
    schedule_files: tuple[str | None, ...] = (None,)
    recompute_lists: tuple[tuple[int, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.columns["tp"])

    def __getattr__(self, name: str) -> IntArray:
        try:
            columns: Mapping[str, IntArray] = object.__getattribute__(self, "columns")
            return columns[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def cp(self) -> IntArray:
        return self.columns["ulysses"] * self.columns["ring"]

    @property
    def edp(self) -> IntArray:
        c = self.columns
        return c["tp"] * c["ulysses"] * c["ring"] * c["dp"] // (c["etp"] * c["ep"])

    def take(self, index: IntArray | NDArray[np.bool_] | slice) -> Layouts:
        """The rows chosen by an index array, mask or slice."""
        return replace(self, columns={name: column[index] for name, column in self.columns.items()})

    def row(self, index: int) -> Layout:
        """One row as a ``Layout``."""
        c = {name: int(column[index]) for name, column in self.columns.items()}
        return Layout(
            tp=c["tp"],
            sp=bool(c["sp"]),
            ulysses=c["ulysses"],
            ring=c["ring"],
            pp=c["pp"],
            vpp=c["vpp"],
            schedule=SCHEDULES[c["schedule"]],
            schedule_file=self.schedule_files[c["schedule_file"]],
            slices=c["slices"],
            ep=c["ep"],
            etp=c["etp"],
            dp=c["dp"],
            shard=Shard(
                c["shard_parameters"], c["shard_gradients"], c["shard_optimizer"], c["shard_secondary"]
            ),
            micro_batch=c["micro_batch"],
            micro_batches=c["micro_batches"],
            recompute=self.recompute[c["recompute"]],
            recompute_layers=self.recompute_layers_of(c["recompute_layers"]),
            offload=self.offload[c["offload"]],
            layers_per_stage=self.partitions[c["partition"]],
            axis_order=self.axis_orders[c["axis_order"]],
            cp_kind="allgather" if c["cp_gather"] else "ring",
        )

    def recompute_layers_of(self, code: int) -> int | tuple[int, ...] | None:
        """What an entry of the column ``recompute_layers`` stands for: the first n layers, n per pipeline rank, or all."""
        if code < -1:
            return self.recompute_lists[-2 - code]
        return None if code < 0 else code

    def unique(self, names: Sequence[str]) -> tuple[IntArray, IntArray]:
        """Distinct combinations of some columns.

        Returns:
            (first, inverse): row index of the first occurrence of each combination, and for every row the position of
            its combination in ``first``. A term that depends on these columns only is computed on ``take(first)`` and
            spread with ``[inverse]``.
        """
        return distinct_rows([self.columns[name] for name in names], len(self))


def distinct_rows(columns: Sequence[IntArray], rows: int) -> tuple[IntArray, IntArray]:
    """Distinct combinations of integer columns: (row of each first occurrence, combination of every row)."""
    if rows <= 1:
        return np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    key = np.zeros(rows, dtype=np.int64)
    span = 1
    for column in columns:
        low, high = int(column.min()), int(column.max())
        if low == high:
            continue
        values, width = column - low, high - low + 1
        if rows >= _FEW_ROWS and width > _FEW_VALUES:
            values, width = _counted(values, width)
        if (rows >= _FEW_ROWS and span * width > _table_size(rows)) or span * width > 2**62:
            key, span = _counted(key, span)
        key = key * width + values
        span *= width
    if span == 1:
        return np.zeros(1, dtype=np.int64), np.zeros(rows, dtype=np.int64)
    if rows < _FEW_ROWS or span > _table_size(rows):
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        return first, inverse
    occurs = np.full(span, rows, dtype=np.int64)
    occurs[key[::-1]] = np.arange(rows - 1, -1, -1)  # of equal keys the last assignment stays: the first row
    present = occurs < rows
    return occurs[present], (np.cumsum(present) - 1)[key]


_FEW_ROWS = 1 << 10
"""Below it sorting is cheaper than tables over all values."""

_FEW_VALUES = 16
"""Values of a column that are not worth counting anew."""


def _table_size(rows: int) -> int:
    """Largest range of values for which a table is cheaper than sorting so many rows."""
    return 4 * rows + (1 << 12)


def _counted(values: IntArray, span: int) -> tuple[IntArray, int]:
    """(values numbered in their order without gaps, how many there are); ``span``: all are in 0 .. span - 1."""
    if span > _table_size(len(values)):
        distinct, places = np.unique(values, return_inverse=True)
        return places, len(distinct)
    present = np.zeros(span, dtype=np.bool_)
    present[values] = True
    places = np.cumsum(present) - 1
    return places[values], int(places[-1]) + 1


def from_layouts(rows: Iterable[Layout]) -> Layouts:
    """Columns of the given layouts, in order."""
    recompute: dict[Recompute, int] = {}
    offload: dict[Offload, int] = {}
    partitions: dict[tuple[int, ...] | None, int] = {}
    orders: dict[tuple[str, ...], int] = {}
    files: dict[str | None, int] = {}
    lists: dict[tuple[int, ...], int] = {}
    table: list[tuple[int, ...]] = []
    for row in rows:
        count = row.recompute_layers
        if isinstance(count, tuple):
            count = -2 - lists.setdefault(count, len(lists))
        table.append(
            (
                row.tp,
                int(row.sp),
                row.ulysses,
                row.ring,
                row.pp,
                row.vpp,
                SCHEDULES.index(row.schedule),
                files.setdefault(row.schedule_file, len(files)),
                row.slices,
                row.ep,
                row.etp,
                row.dp,
                row.shard.parameters,
                row.shard.gradients,
                row.shard.optimizer,
                row.shard.parameters_secondary,
                row.micro_batch,
                row.micro_batches,
                recompute.setdefault(row.recompute, len(recompute)),
                -1 if count is None else count,
                offload.setdefault(row.offload, len(offload)),
                partitions.setdefault(row.layers_per_stage, len(partitions)),
                orders.setdefault(row.axis_order, len(orders)),
                int(row.cp_kind == "allgather"),
            )
        )
    matrix = np.array(table, dtype=np.int64).reshape(len(table), len(COLUMNS))
    columns = {name: np.ascontiguousarray(matrix[:, i]) for i, name in enumerate(COLUMNS)}
    return Layouts(
        columns,
        tuple(recompute),
        tuple(offload),
        tuple(partitions),
        tuple(orders),
        tuple(files),
        tuple(lists),
    )
