"""Several chunks per rank, stage s on rank s mod p: interleaved 1F1B, looped BFS, interleaved zero-bubble."""

from __future__ import annotations

import numpy as np

from planner.errors import PlannerError
from planner.simulator.schedules.ordering import Passes, alternate
from planner.simulator.schedules.schedule import Integers, Schedule, one_chain


def interleaved_1f1b(
    ranks: int, chunks: int, micro_batches: int, *, group: int | None = None, rounds: bool = False
) -> Schedule:
    """Groups of micro-batches pass all of a rank's chunks in turn (arXiv 2104.04473, section 2.2).

    Args:
        group: micro-batches that pass one chunk before the next chunk's turn, as Megatron-Core's
            ``microbatch_group_size_per_vp_stage``; default p. The last group may be shorter, but not shorter than p.
        rounds: deal the micro-batches into max(1, m // p) equal groups instead, as torch.distributed.pipelining does.

    Raises:
        PlannerError: the micro-batches cannot be dealt into such groups.
    """
    groups = group_sizes(ranks, micro_batches, group, rounds)
    return _interleaved("interleaved_1f1b", ranks, chunks, micro_batches, groups, split=False)


def interleaved_zb(
    ranks: int, chunks: int, micro_batches: int, *, group: int | None = None, rounds: bool = False
) -> Schedule:
    """Interleaved 1F1B with ZB-H1's warm-up and split backward (arXiv 2401.10241; order of PyTorch 2.13).

    Args:
        group, rounds: see ``interleaved_1f1b``.

    Raises:
        PlannerError: the micro-batches cannot be dealt into such groups.
    """
    groups = group_sizes(ranks, micro_batches, group, rounds)
    return _interleaved("interleaved_zb", ranks, chunks, micro_batches, groups, split=True)


def looped_bfs(ranks: int, chunks: int, micro_batches: int) -> Schedule:
    """All micro-batches through a rank's first chunk, then its second, ...; back in reverse (arXiv 2211.05953)."""
    chunk = np.repeat(np.arange(chunks, dtype=np.int64), micro_batches)
    micro_batch = np.tile(np.arange(micro_batches, dtype=np.int64), chunks)
    actions = []
    for rank in range(ranks):
        forward = Passes(chunk * ranks + rank, micro_batch)
        backward = Passes(forward.stage[::-1], micro_batch[::-1])
        actions.append(alternate(forward, backward, warmup=len(forward)))
    return one_chain("looped_bfs", loop_placement(ranks, chunks), micro_batches, tuple(actions))


def loop_placement(ranks: int, chunks: int) -> Integers:
    """(stages,): stage s on rank s mod p."""
    return np.arange(ranks * chunks, dtype=np.int64) % ranks


def group_sizes(ranks: int, micro_batches: int, group: int | None, rounds: bool) -> list[int]:
    """How many micro-batches pass a chunk together, group by group (see ``interleaved_1f1b``)."""
    if rounds and group is not None:
        raise _refuse(f"groups of {group} and rounds; accepted: either a group or rounds")
    if rounds:
        count = max(1, micro_batches // ranks)
        if micro_batches % count:
            raise _refuse(f"{micro_batches} micro-batches do not make {count} equal rounds")
        return [micro_batches // count] * count
    size = ranks if group is None else group
    if not ranks <= size <= micro_batches:
        raise _refuse(
            f"groups of {size} micro-batches; accepted: from {ranks} (ranks) to {micro_batches} (micro-batches)"
        )
    whole, remainder = divmod(micro_batches, size)
    if 0 < remainder < ranks:
        raise _refuse(
            f"{micro_batches} micro-batches in groups of {size} leave {remainder}; accepted: none, or at least {ranks} "
            "(ranks)"
        )
    return [size] * whole + [remainder] * (remainder > 0)


def _refuse(message: str) -> PlannerError:
    return PlannerError(f"an interleaved schedule cannot run this: {message}", field="schedule")


def _interleaved(
    name: str, ranks: int, chunks: int, micro_batches: int, groups: list[int], split: bool
) -> Schedule:
    """Megatron-Core's order; ``split``: half the warm-up per rank and weight gradients that trail by r passes."""
    chunk, micro_batch = _turns(chunks, groups)
    actions = []
    for rank in range(ranks):
        forward = Passes(chunk * ranks + rank, micro_batch)
        backward = Passes((chunks - 1 - chunk) * ranks + rank, micro_batch)
        warmup = (1 if split else 2) * (ranks - 1 - rank) + (chunks - 1) * groups[0]
        actions.append(alternate(forward, backward, warmup, weight_delay=rank if split else None))
    return one_chain(name, loop_placement(ranks, chunks), micro_batches, tuple(actions))


def _turns(chunks: int, groups: list[int]) -> tuple[Integers, Integers]:
    """(chunk, micro-batch) of a rank's forwards: for each group, for each chunk, for each micro-batch of the group."""
    starts = np.concatenate([[0], np.cumsum(groups)])
    chunk = [np.repeat(np.arange(chunks, dtype=np.int64), size) for size in groups]
    units = [
        np.tile(np.arange(start, start + size, dtype=np.int64), chunks)
        for start, size in zip(starts[:-1].tolist(), groups, strict=True)
    ]
    return np.concatenate(chunk), np.concatenate(units)
