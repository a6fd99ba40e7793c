"""Messages between pipeline ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.costs.collectives import collective_cost
from planner.hardware.types import Cluster
from planner.jobs.prediction import EXPOSED_AXES
from planner.layouts.mesh import Spread
from planner.simulator.actors import Actors
from planner.simulator.links import NetworkLinks, message_route
from planner.simulator.lowering.passes import Moved, moved_by
from planner.simulator.lowering.rank import LoweredRank
from planner.simulator.lowering.stamp import SPAN
from planner.simulator.program import NONE, ProgramBuilder, TaskKind, What
from planner.simulator.schedules.dependencies import dependencies, flatten
from planner.simulator.schedules.schedule import Integers, Kind, Schedule


@dataclass(frozen=True, eq=False)
class Message:
    """Hops between two ranks in one direction, rows of equal length.

    Args:
        sender, receiver: pipeline ranks.
        sent, needed: (messages,), positions of the actions that give and need it.
        stage, micro_batch: (messages,), of the sending pass.
        forward: activations (gradients otherwise).
        output_stage: (messages,), virtual stage whose output (or its gradient) travels.
    """

    sender: int
    receiver: int
    sent: Integers
    needed: Integers
    stage: Integers
    micro_batch: Integers
    forward: bool
    output_stage: Integers


def messages(schedule: Schedule) -> list[Message]:
    """All messages between ranks, grouped by ranks and direction."""
    flat, edges = flatten(schedule), dependencies(schedule)
    crossing = edges.hop & (flat.kind[edges.earlier] <= Kind.OVERLAP_F_B)
    later, earlier = edges.later[crossing], edges.earlier[crossing]
    forward = flat.kind[earlier] == Kind.F
    fused = flat.kind[earlier] == Kind.OVERLAP_F_B
    continues = (flat.kind[later] == Kind.F) | (flat.kind[later] == Kind.OVERLAP_F_B)
    onward = continues & (schedule.previous[flat.stage[later]] == flat.stage[earlier])
    forward |= fused & onward & (flat.micro_batch[later] == flat.micro_batch[earlier])
    backward_stage = np.where(fused, flat.stage2[earlier], flat.stage[earlier])
    stage = np.where(forward, flat.stage[earlier], backward_stage)
    micro_batch = np.where(fused & ~forward, flat.micro_batch2[earlier], flat.micro_batch[earlier])
    output = np.where(forward, stage, schedule.previous[stage])
    keys = np.stack([flat.rank[earlier], flat.rank[later], forward], axis=1)
    found, inverse = np.unique(keys, axis=0, return_inverse=True)
    result = []
    for index, (sender, receiver, onwards) in enumerate(found.tolist()):
        rows = inverse.ravel() == index
        sent, needed = flat.position[earlier[rows]], flat.position[later[rows]]
        result.append(
            Message(
                sender, receiver, sent, needed, stage[rows], micro_batch[rows], bool(onwards), output[rows]
            )
        )
    return result


@dataclass(frozen=True, eq=False)
class HopLowering:
    """Appends hops to a builder.

    Args:
        columns: (pipelines, ranks), devices of each pipeline in order.
        hidden: share of a hop that the framework overlaps: the receiver does not wait for it.
        blocking: the sender's next action waits for the hop, too.
    """

    builder: ProgramBuilder
    network: NetworkLinks
    actors: Actors
    cluster: Cluster
    columns: Integers
    hidden: float
    blocking: bool
    sharing: bool

    def lower(self, message: Message, ranks: Sequence[LoweredRank], sizes: NDArray[np.float64]) -> None:
        """Tasks of one group of messages.

        Args:
            sizes: (messages,), bytes.
        """
        senders = np.flatnonzero(self.actors.pipeline_rank == message.sender)
        receivers = np.flatnonzero(self.actors.pipeline_rank == message.receiver)
        place = {int(actor): index for index, actor in enumerate(receivers)}
        for column, sender in enumerate(senders.tolist()):
            receiver = self.actors.along_pipeline(sender, message.receiver)
            for nbytes in np.unique(sizes).tolist():
                rows = np.flatnonzero(sizes == nbytes)
                moved = self._moved(int(self.actors.device[sender]), message, nbytes)
                before = ranks[message.sender].leave[message.sent[rows], column]
                hop = self._add(message, rows, sender, receiver, moved.share(1.0 - self.hidden))
                self.builder.after(hop, before)
                self.builder.after(ranks[message.receiver].entry[message.needed[rows], place[receiver]], hop)
                if self.blocking:
                    self._hold(ranks[message.sender].entry[:, column], message.sent[rows], hop)
                if self.hidden > 0.0:
                    rest = self._add(message, rows, sender, receiver, moved.share(self.hidden), offset=1)
                    self.builder.after(rest, before)

    def _hold(self, entry: Integers, sent: Integers, hop: Integers) -> None:
        """Lets what the sender computes next wait for the hop; ``entry``: (actions,), of the sender."""
        computing = np.flatnonzero(entry != NONE)
        following = np.searchsorted(computing, sent, side="right")
        there = following < len(computing)
        self.builder.after(entry[computing[following[there]]], hop[there])

    def _add(
        self,
        message: Message,
        rows: Integers,
        sender: int,
        receiver: int,
        moved: Moved,
        *,
        offset: int = 0,
    ) -> Integers:
        """Messages of one direction leave in order, the part that nobody waits for included."""
        direction = "pp forward" if message.forward else "pp backward"
        nbytes = moved.nbytes if self.sharing else ()
        return self.builder.add(
            len(rows),
            kind=TaskKind.TRANSFER,
            stream=self.builder.stream(sender, direction),
            position=message.sent[rows] * SPAN + offset,
            seconds=moved.seconds - moved.latency_s,
            latency_s=moved.latency_s,
            route=message_route(self.network, self.builder, sender, receiver, nbytes),
            what=What.HOP,
            axis=EXPOSED_AXES.index("pp"),
            actor=sender,
            stage=message.stage[rows],
            micro_batch=message.micro_batch[rows],
        )

    def _moved(self, device: int, message: Message, nbytes: float) -> Moved:
        """The cost of one message between two given devices."""
        pipeline = self.columns[np.flatnonzero(self.columns[:, message.sender] == device)[0]]
        return message_cost(self.cluster, device, int(pipeline[message.receiver]), nbytes)


def message_cost(cluster: Cluster, sender: int, receiver: int, nbytes: float) -> Moved:
    """One message between two devices, over the levels that join them."""
    apart = [1 if sender // level.size == receiver // level.size else 2 for level in cluster.network]
    pair = Spread(
        np.array([2]), np.array([max(abs(sender - receiver), 1)]), cluster.devices, np.array([apart])
    )
    cost = collective_cost("send_recv", np.array([nbytes]), pair, cluster)
    return moved_by(cost)
