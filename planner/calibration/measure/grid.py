"""What is measured: shapes of kernels and blocks, sizes and groups of collectives, by budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from planner.costs.collectives import Collective
from planner.hardware.types import Cluster

Budget = Literal["small", "full"]
Point = Mapping[str, str | int]
"""One thing to measure, as it stands in the file: its kind, precision and sizes."""

_MATMULS = {
    "small": ((64, 256, 256), (256, 64, 256), (256, 256, 256), (256, 1024, 256), (256, 256, 1024),
              (128, 512, 512), (512, 512, 512), (64, 4096, 256), (512, 2048, 512)),
    "full": tuple((m, n, k) for m in (32, 128, 512, 2048) for n, k in
                  ((64, 256), (256, 256), (1024, 256), (256, 1024), (512, 512), (2048, 512), (1024, 1024), (4096, 1024))),
}  # fmt: skip

_LARGE_MATMULS = tuple(
    (m, n, k)
    for m in (1024, 4096, 8192)
    for n, k in ((1024, 4096), (4096, 1024), (4096, 4096), (14336, 4096), (4096, 14336))
)
"""Layers of models of 1 to 8 billion parameters, for devices that finish the others in no time."""

_ATTENTION = {
    "small": ((4, 8, 64, 32), (2, 8, 256, 32), (1, 4, 512, 64)),
    "full": ((4, 8, 64, 32), (2, 8, 256, 32), (1, 8, 512, 64), (1, 4, 1024, 64), (1, 4, 1024, 128), (1, 2, 2048, 64)),
}  # fmt: skip

_LARGE_ATTENTION = ((4, 32, 1024, 128), (2, 32, 2048, 128), (1, 32, 4096, 128), (2, 32, 2048, 64))

MEMORY_BOUND = ("norm", "activation", "add", "copy", "adamw")
"""Operators of training steps that wait for memory; adamw is an update of all its parameters in one call."""

_ELEMENTS = {"small": (2**14, 2**17, 2**20), "full": (2**12, 2**14, 2**16, 2**18, 2**20, 2**22)}
_LARGE_ELEMENTS = (2**24, 2**26)

_BLOCKS = {
    "small": ((64, 1, 32), (128, 2, 64), (256, 1, 64), (256, 4, 64), (256, 2, 256), (512, 2, 128)),
    "full": ((64, 1, 32), (128, 1, 64), (128, 4, 64), (256, 1, 64), (256, 4, 64), (256, 16, 64), (256, 2, 256),
             (384, 2, 128), (512, 1, 128), (512, 4, 128), (512, 1, 512)),
}  # fmt: skip
"""(hidden, micro-batch, sequence) of two layers with their ends, forward and backward, as a training step runs them."""

BLOCK_FRAMEWORKS = ("fsdp", "megatron-core")
"""Profiles whose layers blocks are: modules of eager PyTorch, and Megatron's, whose fused kernels exist on GPUs only."""

_LARGE_BLOCKS = ((2048, 1, 1024), (2048, 4, 2048), (4096, 1, 2048), (4096, 2, 4096))

SIZES = {"small": (10, 26), "full": (10, 30)}
"""Powers of two that the buffers of collectives run over: 1 KiB to 64 MiB, to 1 GiB."""

COLLECTIVES: tuple[Collective, ...] = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "send_recv",
)


def device_grid(precisions: Sequence[str], budget: Budget, *, large: bool = False) -> Iterator[Point]:
    """Kernels and blocks to measure.

    Args:
        large: also shapes that only devices of many TFLOP/s finish soon.
    """
    for precision in precisions:
        for m, n, k in _MATMULS[budget] + (_LARGE_MATMULS if large else ()):
            yield {"kind": "matmul", "precision": precision, "m": m, "n": n, "k": k}
        if precision in ("fp8", "mxfp8", "int8"):
            continue
        for shape in _ATTENTION[budget] + (_LARGE_ATTENTION if large else ()):
            yield from _attention(precision, *shape)
        for operator in MEMORY_BOUND:
            for elements in _ELEMENTS[budget] + (_LARGE_ELEMENTS if large else ()):
                yield {"kind": operator, "precision": precision, "elements": elements}
        for framework in BLOCK_FRAMEWORKS:
            for hidden, batch, sequence in _BLOCKS[budget] + (_LARGE_BLOCKS if large else ()):
                sizes = {"hidden": hidden, "batch": batch, "sequence": sequence}
                yield {"kind": "block", "precision": precision, "framework": framework, **sizes}


def _attention(precision: str, batch: int, heads: int, length: int, width: int) -> Iterator[Point]:
    for direction in ("forward", "backward"):
        yield {
            "kind": "attention",
            "precision": precision,
            "direction": direction,
            "batch": batch,
            "heads": heads,
            "length": length,
            "width": width,
        }


def group_sizes(cluster: Cluster, ranks: int) -> tuple[int, ...]:
    """Ranks of the groups to measure: pairs, and the domain of every level that lies inside the job, which is the last."""
    sizes = {2, ranks, *(level.size for level in cluster.network)}
    return tuple(sorted(size for size in sizes if 2 <= size <= ranks and ranks % size == 0))


def network_grid(cluster: Cluster, ranks: int, budget: Budget) -> Iterator[Point]:
    """Collectives to measure: every one over every group, sizes (in nccl-tests' convention) by factors of four."""
    first, last = SIZES[budget]
    for size in group_sizes(cluster, ranks):
        for collective in COLLECTIVES:
            if collective == "send_recv" and size > 2:
                continue
            for power in range(first, last + 1, 2):
                yield {"collective": collective, "ranks": size, "bytes": 2**power}
