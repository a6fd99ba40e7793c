"""What each kind of operator needs of its inputs and what it yields, given the pattern of a layout.

Einsums follow from the axes of their weight; operators that are no einsum register a rule here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from planner.layouts.sharding.pattern import Pattern
from planner.layouts.sharding.placement import PARTIAL, TOKENS, BlockAxis, Collective, Placement
from planner.models.graph import Block, Operator

PARAMETER_AXES: Mapping[str, BlockAxis] = {
    "heads": "tp",
    "kv_heads": "tp",
    "ffn": "tp",
    "shared_ffn": "tp",
    "vocab": "tp",
    "inner": "tp",
    "experts": "ep",
    "expert_ffn": "etp",
}
"""Which mesh axis shards which axis of a parameter. MLA's latent has no head axis: it stays whole."""

ACTIVATION_AXES: Mapping[str, BlockAxis] = {
    name: axis for name, axis in PARAMETER_AXES.items() if name != "experts"
}


@dataclass(frozen=True)
class Intrinsic:
    """A communication that belongs to the operator itself.

    ``calls``: ``one``; ``ring-1`` or ``ring``: as many as the ring has hops (less one). ``elements``: names of the
    tensors that travel together; ``dtype``: overrides theirs; ``per_token``: only one element per token travels.
    """

    axis: BlockAxis
    collective: Collective
    elements: tuple[str, ...]
    placement: Placement
    backward: bool
    calls: str = "one"
    dtype: str | None = None
    per_token: bool = False


@dataclass(frozen=True)
class Rule:
    """Outcome for one operator: placements of inputs, of their gradients, of the output, and own communication."""

    inputs: tuple[Placement, ...]
    gradients: tuple[Placement, ...]
    output: Placement
    intrinsic: tuple[Intrinsic, ...] = ()


RuleFunction = Callable[[Operator, Block, Pattern, Mapping[str, Placement]], Rule]


def rule_for(operator: Operator, block: Block, pattern: Pattern, placed: Mapping[str, Placement]) -> Rule:
    """The rule of an operator; ``placed`` holds the placements in which its inputs were produced."""
    return _RULES.get(operator.kind, _pointwise)(operator, block, pattern, placed)


def parameter_placement(axes: tuple[str, ...], pattern: Pattern) -> Placement:
    """How a parameter with these axes is cut over tp, ep and etp."""
    states: dict[BlockAxis, str] = {}
    for name in axes:
        axis = PARAMETER_AXES.get(name)
        if axis is not None and pattern.has(axis) and axis not in states:
            states[axis] = name
    return Placement.of(states)


def _natural(axes: tuple[str, ...], pattern: Pattern) -> Placement:
    """Placement of an activation that was made by sharded weights: its own sharded axis, tokens over cp."""
    if "expert_tokens" in axes:
        base = pattern.expert_stream
        if "expert_ffn" in axes and pattern.etp:
            base = base.with_state("etp", "expert_ffn")
        return base
    base = pattern.stream
    for name in axes:
        axis = ACTIVATION_AXES.get(name)
        if axis is not None and pattern.has(axis):
            return base.with_state(axis, name)
    return base


def _einsum(operator: Operator, block: Block, pattern: Pattern, placed: Mapping[str, Placement]) -> Rule:
    weight = block.parameters[operator.parameters[0]]
    source, target = block.tensors[operator.inputs[0]], block.tensors[operator.output]
    expert = "expert_tokens" in source.axis_names
    needed = pattern.expert_stream if expert else pattern.stream
    gradient = output = needed
    for name in weight.axis_names:
        axis = PARAMETER_AXES.get(name)
        if axis is None or not pattern.has(axis) or name == "experts":
            continue
        if name in target.axis_names:  # the output is sharded: every rank needs all of the input
            needed, gradient = needed.with_state(axis, None), gradient.with_state(axis, PARTIAL)
            output = output.with_state(axis, name)
        else:  # a sharded axis is contracted: what is left is partial
            needed, gradient = needed.with_state(axis, name), gradient.with_state(axis, name)
            output = output.with_state(axis, PARTIAL)
        if not expert:
            break
    return Rule((needed,), (gradient,), output)


def _attention(operator: Operator, block: Block, pattern: Pattern, placed: Mapping[str, Placement]) -> Rule:
    names = operator.inputs[:3]
    inputs = []
    for name in names:
        axes = block.tensors[name].axis_names
        placement = _natural(axes, pattern)
        head_axis = "kv_heads" if "kv_heads" in axes else "heads"
        if pattern.ulysses:
            placement = placement.with_state("ulysses", head_axis)
        inputs.append(placement)
    gradients = list(inputs)
    output = inputs[0]
    intrinsic: tuple[Intrinsic, ...] = ()
    if pattern.ring and pattern.cp_gather:
        for i in (1, 2):
            inputs[i] = inputs[i].with_state("ring", None)
            gradients[i] = gradients[i].with_state("ring", PARTIAL)
    elif pattern.ring:
        keys_values = (names[1], names[2])
        intrinsic = (
            Intrinsic("ring", "send_recv", keys_values, inputs[1], backward=False, calls="ring-1"),
            Intrinsic("ring", "send_recv", keys_values, inputs[1], backward=True, calls="ring-1"),
            # the gradients of K and V travel with their block and need one hop more to come home
            Intrinsic("ring", "send_recv", keys_values, inputs[1], backward=True, calls="ring"),
        )
    rest = tuple(placed[name] for name in operator.inputs[3:])
    return Rule((*inputs, *rest), (*gradients, *(p.dual() for p in rest)), output, intrinsic)


def _dispatch(operator: Operator, block: Block, pattern: Pattern, placed: Mapping[str, Placement]) -> Rule:
    target = pattern.expert_stream
    sources = tuple(pattern.stream for _ in operator.inputs)
    return Rule(sources, sources, target, _to_experts(operator.inputs[0], operator.output, pattern))


def _combine(operator: Operator, block: Block, pattern: Pattern, placed: Mapping[str, Placement]) -> Rule:
    inputs = tuple(
        pattern.expert_stream if "expert_tokens" in block.tensors[name].axis_names else pattern.stream
        for name in operator.inputs
    )
    exchanges = _to_experts(operator.output, operator.inputs[0], pattern)
    if pattern.gathers_tokens:  # the way back is the adjoint of the way there
        exchanges = tuple(replace(item, backward=not item.backward) for item in exchanges)
    return Rule(inputs, inputs, pattern.stream, exchanges)


def _to_experts(tokens: str, rows: str, pattern: Pattern) -> tuple[Intrinsic, ...]:
    """How a dispatch reaches the experts, forward and backward: the routed rows travel, or the tokens are gathered once and
    partial sums of their gradients scattered (MoEAllGatherTokenDispatcher of NVIDIA/Megatron-LM)."""
    if not pattern.ep:
        return ()
    if pattern.gathers_tokens:
        gathered = Intrinsic("ep", "all_gather", (tokens,), pattern.stream, backward=False)
        return gathered, replace(gathered, collective="reduce_scatter", backward=True)
    placement = pattern.expert_stream
    return tuple(Intrinsic("ep", "all_to_all", (rows,), placement, backward) for backward in (False, True))


def _embedding(operator: Operator, block: Block, pattern: Pattern, placed: Mapping[str, Placement]) -> Rule:
    table = block.parameters[operator.parameters[0]]
    sharded = pattern.tp and "vocab" in table.axis_names
    output = pattern.stream.with_state("tp", PARTIAL) if sharded else pattern.stream
    inputs = tuple(placed.get(name, Placement()) for name in operator.inputs)
    return Rule(inputs, inputs, output)


def _loss(operator: Operator, block: Block, pattern: Pattern, placed: Mapping[str, Placement]) -> Rule:
    logits = operator.inputs[0]
    axes = block.tensors[logits].axis_names
    if "vocab" not in axes:
        return _pointwise(operator, block, pattern, placed)
    whole = pattern.stream.with_state("tp", None)
    sharded = whole.with_state("tp", "vocab") if pattern.tp else whole
    others = tuple(placed.get(name, whole) for name in operator.inputs[1:])
    if not pattern.tp or not pattern.vocab_parallel_loss:
        return Rule((whole, *others), (whole, *others), whole)
    # maximum, sum of exponentials and the target's logit: one fp32 number per token each (Megatron-LM cross_entropy.py)
    reductions = tuple(
        Intrinsic("tp", "all_reduce", (logits,), sharded, backward=False, dtype="fp32", per_token=True)
        for _ in range(3)
    )
    return Rule((sharded, *others), (sharded, *others), whole, reductions)


def _add(operator: Operator, block: Block, pattern: Pattern, placed: Mapping[str, Placement]) -> Rule:
    given = [placed[name] for name in operator.inputs]
    same = given[0] if all(placement == given[0] for placement in given) else pattern.stream
    inputs = tuple(same for _ in given)
    return Rule(inputs, tuple(p.dual() for p in inputs), same)


def _pointwise(operator: Operator, block: Block, pattern: Pattern, placed: Mapping[str, Placement]) -> Rule:
    """Norms, activations, products, rotary embeddings, dropouts, residuals: every operand where its axes put it."""
    output = _natural(block.tensors[operator.output].axis_names, pattern)
    if not _is_stream(block, operator.output):
        output = pattern.stream.with_state("tp", None)
    inputs, gradients = [], []
    for name in operator.inputs:
        placement = (
            _natural(block.tensors[name].axis_names, pattern) if _is_stream(block, name) else Placement()
        )
        gradient = placement
        if output.on("tp") not in (None, TOKENS) and placement.on("tp") in (None, TOKENS) and pattern.tp:
            # an operand without the sharded axis (MLA's shared rotary key) is needed whole by every head's rank
            placement, gradient = placement.with_state("tp", None), placement.with_state("tp", PARTIAL)
        inputs.append(placement)
        gradients.append(gradient)
    return Rule(tuple(inputs), tuple(gradients), output)


def _is_stream(block: Block, name: str) -> bool:
    tensor = block.tensors.get(name)
    return tensor is not None and any(
        a in tensor.axis_names for a in ("sequence", "sequence_kv", "expert_tokens")
    )


def _sequential(operator: Operator, block: Block, pattern: Pattern, placed: Mapping[str, Placement]) -> Rule:
    """A recurrence along the sequence: heads are independent, so Ulysses swaps axes; a ring hands its state on."""
    sharded = _pointwise(operator, block, pattern, placed)
    inputs, output = sharded.inputs, sharded.output
    if pattern.ulysses:
        inputs = tuple(
            placement.with_state("ulysses", _head_axis(block, name))
            for placement, name in zip(inputs, operator.inputs, strict=True)
        )
        output = output.with_state("ulysses", _head_axis(block, operator.output))
    intrinsic: tuple[Intrinsic, ...] = ()
    if pattern.ring:
        state = (operator.inputs[0],)
        intrinsic = tuple(
            Intrinsic("ring", "send_recv", state, output, backward, dtype="fp32", per_token=True)
            for backward in (False, True)
        )
    return Rule(inputs, inputs, output, intrinsic)


def _head_axis(block: Block, name: str) -> str | None:
    axes = block.tensors[name].axis_names
    for head in ("heads", "inner", "kv_heads", "groups"):
        if head in axes:
            return head
    return TOKENS


_RULES: Mapping[str, RuleFunction] = {
    "einsum": _einsum,
    "attention": _attention,
    "dispatch": _dispatch,
    "combine": _combine,
    "embedding": _embedding,
    "vocabulary_loss": _loss,
    "add": _add,
    "scan": _sequential,
    "conv": _sequential,
}
