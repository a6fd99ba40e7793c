"""The event loop with shared links, compiled. Import it inside functions only: numba takes long to load.

It stands in one file because numba's cache watches the file of the outermost function alone.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from planner.simulator.engine.jit import jit
from planner.simulator.engine.world import Queue, World
from planner.simulator.program import TaskKind

Array = NDArray[Any]

COMPUTE = int(TaskKind.COMPUTE)
TRANSFER = int(TaskKind.TRANSFER)
PLAIN, LATENCY, MOVING, DONE = 1, 2, 3, 4
FREE, RISING, FIXED = 0, 1, 2
SAME_TIME = 1e-15
SAME_LEVEL = 1e-12


@jit
def put(queue: Queue, item: int, key: float) -> None:  # pragma: no cover
    """Add an item, or change its key."""
    heap, place, keys = queue
    at = place[item]
    if at == 0:
        heap[0] += 1
        at = heap[0]
    keys[item] = key
    while at > 1 and keys[heap[at >> 1]] > key:
        heap[at] = heap[at >> 1]
        place[heap[at]] = at
        at >>= 1
    size = heap[0]
    while True:
        child = 2 * at
        if child < size and keys[heap[child + 1]] < keys[heap[child]]:
            child += 1
        if child > size or keys[heap[child]] >= key:
            break
        heap[at] = heap[child]
        place[heap[at]] = at
        at = child
    heap[at] = item
    place[item] = at


@jit
def pop(queue: Queue) -> int:  # pragma: no cover
    """Take the item with the least key."""
    heap, place, keys = queue
    first: int = heap[1]
    last = heap[heap[0]]
    heap[0] -= 1
    place[first] = 0
    if last != first:
        place[last] = 1
        heap[1] = last
        put(queue, last, keys[last])
    return first


@jit
def append(items: Array, item: int) -> None:  # pragma: no cover
    """Add to a list whose length stands at index 0."""
    items[0] += 1
    items[items[0]] = item


@jit
def touch(world: World, link: int) -> None:  # pragma: no cover
    """The flows of a link have changed."""
    if world.link[link].dirty == 0:
        world.link[link].dirty = 1
        append(world.links, link)


@jit
def join(world: World, flow: int) -> None:  # pragma: no cover
    """Put a flow onto the links of its route."""
    node = world.node
    route = world.task[flow].route
    for entry in range(world.route_start[route], world.route_start[route + 1]):
        link = world.route_link[entry]
        new = node[0].more
        node[0].more = node[new].more
        head = world.link[link].head
        node[new].flow, node[new].link, node[new].usage = flow, link, world.route_usage[entry]
        node[new].up, node[new].down, node[new].more = 0, head, world.task[flow].node
        if head > 0:
            node[head].up = new
        world.link[link].head = new
        world.task[flow].node = new
        touch(world, link)


@jit
def leave(world: World, flow: int, moved: float) -> None:  # pragma: no cover
    """Take a flow off its links, which carried the share ``moved`` of its bytes."""
    node = world.node
    peak = world.route_peak[world.task[flow].route]
    at = world.task[flow].node
    while at > 0:
        link, up, down, more = node[at].link, node[at].up, node[at].down, node[at].more
        world.link[link].carried += node[at].usage * peak * moved
        if up > 0:
            node[up].down = down
        else:
            world.link[link].head = down
        if down > 0:
            node[down].up = up
        node[at].more = node[0].more
        node[0].more = at
        touch(world, link)
        at = more
    world.task[flow].node = 0


@jit
def level_of(world: World, link: int) -> float:  # pragma: no cover
    """The common rate at which a link's rising flows fill it; -1 where they cannot."""
    left = world.link[link].capacity
    wanted, weight = 0.0, 0.0
    at = world.link[link].head
    while at > 0:
        flow, usage = world.node[at].flow, world.node[at].usage
        if world.task[flow].mark == FIXED:
            left -= world.levels.key[len(world.link) + flow] * usage
        else:
            weight += usage
            wanted += usage * world.task[flow].cap
        at = world.node[at].down
    if weight == 0 or wanted <= left * (1 + SAME_LEVEL):
        return -1.0
    level: float = max(left, 0.0) / weight
    return level


@jit
def component(world: World) -> None:  # pragma: no cover
    """Extend the dirty links by all that share flows with them, and list those flows."""
    node, links, at = world.node, world.links, 1
    world.flows[0] = 0
    while at <= links[0]:
        here = world.link[links[at]].head
        while here > 0:
            flow = node[here].flow
            if world.task[flow].mark == FREE:
                world.task[flow].mark = RISING
                append(world.flows, flow)
                other = world.task[flow].node
                while other > 0:
                    touch(world, node[other].link)
                    other = node[other].more
            here = node[here].down
        at += 1


@jit
def fill(world: World) -> None:  # pragma: no cover
    """Max-min fair rates of the dirty links' component: all rates rise together, and one stops when a link that it
    uses is full or its own cap is reached (progressive filling; Bertsekas and Gallager, Data Networks, section 6.5.2).

    The rate of flow f is left in ``levels.key[links + f]``.
    """
    component(world)
    levels, count, level = world.levels, len(world.link), 0.0
    for at in range(1, world.links[0] + 1):
        link = world.links[at]
        world.link[link].dirty = 0
        limit = level_of(world, link)
        if limit >= 0:
            put(levels, link, limit)
    for at in range(1, world.flows[0] + 1):
        put(levels, count + world.flows[at], world.task[world.flows[at]].cap)
    while levels.heap[0] > 0:
        item = pop(levels)
        if item >= count:
            world.task[item - count].mark = FIXED
            continue
        limit = level_of(world, item)
        if limit < 0:
            continue
        if limit > levels.key[item] * (1 + SAME_LEVEL):
            put(levels, item, limit)
            continue
        level = max(level, limit)
        at = world.link[item].head
        while at > 0:
            flow = world.node[at].flow
            if world.task[flow].mark == RISING:
                put(levels, count + flow, -1.0)
                pop(levels)
                levels.key[count + flow] = level
                world.task[flow].mark = FIXED
            at = world.node[at].down
    world.links[0] = 0


@jit
def progress(world: World, task: int, rate: float, now: float) -> None:  # pragma: no cover
    """A running task goes on at another rate (share of its speed alone)."""
    row = world.task[task]
    if row.rate == rate:
        return
    row.left = max(row.left - (now - row.since) * row.rate, 0.0)
    row.since, row.rate = now, rate
    put(world.events, task, now + row.left / rate)


@jit
def settle(world: World, slowdown: float, now: float) -> None:  # pragma: no cover
    """New rates, after all that happened at one instant."""
    if world.links[0] > 0:
        fill(world)
        for at in range(1, world.flows[0] + 1):
            flow = world.flows[at]
            world.task[flow].mark = FREE
            share = world.levels.key[len(world.link) + flow] / world.task[flow].cap
            progress(world, flow, share if share < 1 - SAME_LEVEL else 1.0, now)
    for at in range(1, world.actors[0] + 1):
        actor = world.actors[at]
        world.actor[actor].dirty = 0
        task = world.actor[actor].running
        while task >= 0:
            progress(world, task, 1 - slowdown if world.actor[actor].transfers > 0 else 1.0, now)
            task = world.task[task].behind
    world.actors[0] = 0


@jit
def count_members(world: World, task: int, change: int) -> None:  # pragma: no cover
    """A transfer starts or ends moving bytes beside its members' computation."""
    route = world.task[task].route
    for entry in range(world.member_start[route], world.member_start[route + 1]):
        actor = world.member[entry]
        world.actor[actor].transfers += change
        if world.actor[actor].dirty == 0:
            world.actor[actor].dirty = 1
            append(world.actors, actor)


@jit
def move(world: World, task: int, now: float) -> None:  # pragma: no cover
    """A transfer's latency is over."""
    row = world.task[task]
    row.phase, row.left, row.since, row.rate = MOVING, row.seconds, now, 0.0
    if row.route < 0 or row.seconds == 0:
        row.phase = PLAIN
        put(world.events, task, now + row.seconds)
        if row.route >= 0:
            join(world, task)
            leave(world, task, 1.0)
        return
    count_members(world, task, 1)
    if world.route_peak[row.route] > 0:
        join(world, task)
    else:
        progress(world, task, 1.0, now)


@jit
def begin(world: World, task: int, now: float) -> None:  # pragma: no cover
    """A task starts."""
    row = world.task[task]
    row.start, row.phase = now, PLAIN
    if row.kind == TRANSFER and row.latency > 0:
        row.phase = LATENCY
        put(world.events, task, now + row.latency)
    elif row.kind == TRANSFER:
        move(world, task, now)
    else:
        row.left, row.since, row.rate = row.seconds, now, 1.0
        put(world.events, task, now + row.seconds)
        if row.kind == COMPUTE and row.actor >= 0:
            actor = world.actor[row.actor]
            row.ahead, row.behind = -1, actor.running
            if actor.running >= 0:
                world.task[actor.running].ahead = task
            actor.running = task
            if actor.transfers > 0 and actor.dirty == 0:
                actor.dirty = 1
                append(world.actors, row.actor)


@jit
def finish(world: World, task: int, now: float) -> None:  # pragma: no cover
    """A task ends; what waited for it alone starts."""
    row = world.task[task]
    row.end = world.events.key[task]
    if row.phase == MOVING:
        count_members(world, task, -1)
        leave(world, task, 1 - (row.left - (row.end - row.since) * row.rate) / row.seconds)
    elif row.kind == COMPUTE and row.actor >= 0:
        if row.ahead >= 0:
            world.task[row.ahead].behind = row.behind
        else:
            world.actor[row.actor].running = row.behind
        if row.behind >= 0:
            world.task[row.behind].ahead = row.ahead
    row.phase = DONE
    for entry in range(world.after_start[task], world.after_start[task + 1]):
        later = world.after[entry]
        world.task[later].waits -= 1
        if world.task[later].waits == 0:
            begin(world, later, now)
    if row.following >= 0:
        world.task[row.following].waits -= 1
        if world.task[row.following].waits == 0:
            begin(world, row.following, now)


@jit
def run(world: World, slowdown: float) -> int:  # pragma: no cover
    """Run all tasks from time 0; how many have ended when nothing can start any more."""
    now, ended, events = 0.0, 0, world.events
    for task in range(len(world.task)):
        if world.task[task].waits == 0:
            begin(world, task, now)
    while True:
        if events.heap[0] == 0 or events.key[events.heap[1]] > now * (1 + SAME_TIME):
            settle(world, slowdown, now)
            if events.heap[0] == 0:
                return ended
        task = pop(events)
        now = max(now, events.key[task])
        if world.task[task].phase == LATENCY:
            move(world, task, now)
        else:
            finish(world, task, now)
            ended += 1
