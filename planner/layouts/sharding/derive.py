"""Derives a block's communication and saved tensors from the placements of its operators.

Forward: wherever a producer's placement differs from what a consumer needs, a conversion is inserted; consumers with the
same need share it. Backward: gradients arrive in the placement that the consumer yields, are added up per need, and are
converted to the dual of the producer's placement (gather <-> reduce-scatter, replicate <-> partial).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from planner.layouts.sharding.pattern import Pattern
from planner.layouts.sharding.placement import PARTIAL, TOKENS, BlockAxis, Collective, Placement, conversion
from planner.layouts.sharding.rules import Intrinsic, Rule, parameter_placement, rule_for
from planner.models.graph import ONE_MATRIX, Block, Operator

REGATHERED_AXES: tuple[BlockAxis, ...] = ("tp", "ring")


@dataclass(frozen=True)
class Exchange:
    """One communication of one block and micro-batch.

    Args:
        what: the tensor (or parameter) that travels.
        collective, axis: kind and mesh axis.
        pass_: ``forward``, ``backward``, or ``optimizer`` (once per step).
        owner: operator that causes it: the consumer of a gather, the producer of a reduction.
        tensors: names of the tensors that travel together.
        source, target: placements before and after; the larger local size is the size of the call.
        calls: ``one``, ``ring-1`` or ``ring``.
        dtype: overrides the tensors' element type (``fp32``), or None.
        per_token: one element per token travels instead of the whole tensor.
        regather: a saved input is gathered again for the weight gradient.
        replicas: the group is not the whole axis but the tp ranks that hold the same KV head.
    """

    what: str
    collective: Collective
    axis: BlockAxis
    pass_: Literal["forward", "backward", "optimizer"]
    owner: str
    tensors: tuple[str, ...]
    source: Placement
    target: Placement
    calls: str = "one"
    dtype: str | None = None
    per_token: bool = False
    regather: bool = False
    replicas: bool = False


@dataclass(frozen=True)
class Saved:
    """An activation kept for backward in one placement; ``users`` are the operators that need it kept."""

    tensor: str
    placement: Placement
    producer: str | None
    users: tuple[str, ...]


@dataclass(frozen=True)
class Derivation:
    """Placements, communication and saved tensors of one block under one pattern; ``stream`` is the residual stream's."""

    stream: Placement
    rules: Mapping[str, Rule]
    outputs: Mapping[str, Placement]
    exchanges: tuple[Exchange, ...]
    saved: tuple[Saved, ...]
    parameters: Mapping[str, Placement]


@dataclass
class _Use:
    """``layers``: linear layers that an operator stands for, two for gate and up."""

    operator: Operator
    needed: Placement
    gradient: Placement
    layers: int = 1


def derive(block: Block, pattern: Pattern) -> Derivation:
    """Placements of every tensor of the block and the collectives that they imply.

    Args:
        block: operators over named axes.
        pattern: which mesh axes are larger than one, and conventions.

    Returns:
        the derivation; sizes are symbolic (placements), to be evaluated over arrays of degrees.
    """
    placed: dict[str, Placement] = dict.fromkeys((block.input, *block.side_inputs), pattern.stream)
    rules: dict[str, Rule] = {}
    uses: dict[str, list[_Use]] = {}
    producers: dict[str, Operator] = {}
    exchanges: list[Exchange] = []
    for operator in block.operators:
        rule = rule_for(operator, block, pattern, placed)
        rules[operator.name] = rule
        for name, needed, gradient in zip(operator.inputs, rule.inputs, rule.gradients, strict=True):
            if name in block.tensors:
                uses.setdefault(name, []).append(_Use(operator, needed, gradient, _layers(operator, block)))
        exchanges.extend(_own(operator, item) for item in rule.intrinsic)
        placed[operator.output] = rule.output
        producers[operator.output] = operator
    if block.output in producers and block.kind != "head":
        # the next block reads the stream: a partial result is reduced here
        uses.setdefault(block.output, []).append(
            _Use(producers[block.output], pattern.stream, pattern.stream)
        )
    for name, users in uses.items():
        exchanges.extend(_conversions(name, placed[name], users, producers.get(name), pattern))
    exchanges.extend(_gradient_reductions(block, pattern, rules))
    saved = _saved(block, pattern, placed, producers, uses)
    parameters = {name: parameter_placement(p.axis_names, pattern) for name, p in block.parameters.items()}
    return Derivation(pattern.stream, rules, placed, tuple(exchanges), saved, parameters)


def _own(operator: Operator, item: Intrinsic) -> Exchange:
    return Exchange(
        what=item.elements[0] if len(item.elements) == 1 else "+".join(item.elements),
        collective=item.collective,
        axis=item.axis,
        pass_="backward" if item.backward else "forward",
        owner=operator.name,
        tensors=item.elements,
        source=item.placement,
        target=item.placement,
        calls=item.calls,
        dtype=item.dtype,
        per_token=item.per_token,
    )


def _conversions(
    name: str, source: Placement, users: list[_Use], producer: Operator | None, pattern: Pattern
) -> Iterator[Exchange]:
    """Forward conversions, one per distinct need, their re-gathering, and the backward ones."""
    for needed in dict.fromkeys(use.needed for use in users):
        consumers = [use for use in users if use.needed == needed]
        steps = conversion(source, needed)
        for step in steps:
            reduction = step.collective in ("all_reduce", "reduce_scatter")
            owner = producer.name if reduction and producer is not None else consumers[0].operator.name
            if step.collective == "all_to_all":
                owner = _attention_side(consumers, producer)
            forward = Exchange(
                name, step.collective, step.axis, "forward", owner, (name,), step.source, step.target
            )
            yield forward
            saves = any(name in use.operator.saves for use in consumers)
            if step.collective == "all_gather" and _regathered(step.axis, pattern) and saves:
                yield Exchange(
                    name,
                    step.collective,
                    step.axis,
                    "backward",
                    owner,
                    (name,),
                    step.source,
                    step.target,
                    regather=True,
                )
        groups = _backward_groups(consumers, shared=pattern.shared_input_hook or bool(steps))
        for gradient, owner in groups:
            for step in conversion(gradient, source.dual()):
                yield Exchange(
                    name, step.collective, step.axis, "backward", owner, (name,), step.source, step.target
                )


def _layers(operator: Operator, block: Block) -> int:
    gated = operator.kind == "einsum" and "gated" in block.tensors[operator.output].axis_names
    return 2 if gated else 1


def _backward_groups(consumers: list[_Use], *, shared: bool) -> list[tuple[Placement, str]]:
    """(gradient placement, owner) for each separate backward conversion of consumers with the same need.

    Args:
        shared: the consumers read one converted tensor, where their gradients add up before they are converted.
    """
    if shared:
        return [
            (gradient, next(use.operator.name for use in consumers if use.gradient == gradient))
            for gradient in dict.fromkeys(use.gradient for use in consumers)
        ]
    partial = [use for use in consumers if any(state == PARTIAL for _, state in use.gradient.states)]
    whole = dict.fromkeys(use.gradient for use in consumers if use not in partial)
    return [(use.gradient, use.operator.name) for use in partial for _ in range(use.layers)] + [
        (gradient, next(use.operator.name for use in consumers if use.gradient == gradient))
        for gradient in whole
    ]


def _regathered(axis: BlockAxis, pattern: Pattern) -> bool:
    return pattern.regather_inputs and axis in REGATHERED_AXES


def _attention_side(consumers: list[_Use], producer: Operator | None) -> str:
    """All-to-alls around attention belong to it: it is what a recompute of the attention core repeats."""
    for use in consumers:
        if use.operator.kind in ("attention", "scan", "conv"):
            return use.operator.name
    return producer.name if producer is not None else consumers[0].operator.name


def _gradient_reductions(block: Block, pattern: Pattern, rules: Mapping[str, Rule]) -> Iterator[Exchange]:
    """Sums of weight gradients over tp, once per step.

    Weights that are whole on every tp rank but saw only its share of the tokens (sequence parallelism; DTensor sums these where
    backward leaves them) or of the heads (norms of queries and keys), and KV weights that several ranks hold because there are
    fewer KV heads than ranks.
    """
    for operator in block.operators:
        inputs = rules[operator.name].inputs
        sees_share = bool(inputs) and (
            (pattern.tp and pattern.sp and inputs[0].on("tp") == TOKENS)
            or _norm_of_heads(block, operator, pattern)
        )
        for name in operator.parameters:
            axes = block.parameters[name].axis_names
            placement = parameter_placement(axes, pattern)
            if pattern.kv_replicated and "kv_heads" in axes:
                yield Exchange(
                    name,
                    "all_reduce",
                    "tp",
                    "optimizer",
                    operator.name,
                    (name,),
                    placement,
                    placement,
                    replicas=True,
                )
            elif sees_share and placement.on("tp") is None:
                often: Literal["backward", "optimizer"] = (
                    "backward" if pattern.sums_each_pass else "optimizer"
                )
                names = _one_matrix(block, operator, name)
                if names[0] == name:
                    what = "+".join(names)
                    yield Exchange(
                        what, "all_reduce", "tp", often, operator.name, names, placement, placement
                    )


def _norm_of_heads(block: Block, operator: Operator, pattern: Pattern) -> bool:
    """Whether one norm serves heads that tp ranks share out (Megatron-LM, ``finalize_model_grads``: q_layernorm, k_layernorm)."""
    heads = {"heads", "kv_heads"} & set(block.tensors[operator.output].axis_names)
    return pattern.tp and operator.kind == "norm" and bool(heads)


def _one_matrix(block: Block, operator: Operator, name: str) -> tuple[str, ...]:
    """The weights of the graph that are one parameter with this one, in order."""
    if operator.fused_group not in ONE_MATRIX or name != operator.parameters[0]:
        return (name,)
    return tuple(o.parameters[0] for o in block.operators if o.fused_group == operator.fused_group)


def _saved(
    block: Block,
    pattern: Pattern,
    placed: Mapping[str, Placement],
    producers: Mapping[str, Operator],
    uses: Mapping[str, list[_Use]],
) -> tuple[Saved, ...]:
    """Distinct (tensor, placement) pairs that backward needs; a pair kept by several operators is kept once."""
    kept: dict[tuple[str, Placement], list[str]] = {}
    for operator in block.operators:
        for name in operator.saves:
            placement = placed[name]
            use = next((u for u in uses.get(name, []) if u.operator is operator), None)
            if name != operator.output and use is not None:
                placement = _stored(placement, use.needed, pattern)
            kept.setdefault((name, placement), []).append(operator.name)
    return tuple(
        Saved(name, placement, producers[name].name if name in producers else None, tuple(users))
        for (name, placement), users in kept.items()
    )


def _stored(source: Placement, needed: Placement, pattern: Pattern) -> Placement:
    """Where a saved input lives: as the operator needed it, but before a gather that backward repeats."""
    placement = needed
    for step in conversion(source, needed):
        if step.collective == "all_gather" and _regathered(step.axis, pattern):
            placement = placement.with_state(step.axis, source.on(step.axis))
    return placement
