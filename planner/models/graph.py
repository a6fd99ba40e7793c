"""A model as blocks of operators over named axes.

An operator is an einsum over named axes, or one of a few kinds that are none (attention, norm, dispatch, ...).
Nothing here knows about devices: sharding rules read the axis names and derive what must be communicated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import networkx

AxisName = Literal[
    "batch",  # sequences of one micro-batch
    "sequence",  # tokens of one sequence (of this block's stream, see Block.sequence_scale)
    "sequence_kv",  # tokens of the stream that attention looks at, when it is another one (cross-attention)
    "hidden",  # width of the residual stream
    "heads",  # query heads
    "kv_heads",  # key/value heads
    "head_dim",  # width of one query/key head
    "value_dim",  # width of one value head
    "latent",  # MLA's compressed query or key/value
    "rope_dim",  # MLA's shared rotary part of the key
    "gated",  # 2 for the fused gate and up projections
    "ffn",  # inner width of a dense MLP
    "vocab",
    "positions",
    "router_experts",  # the router's outputs: always whole
    "experts",  # routed experts
    "expert_tokens",  # tokens sent to experts (tokens x top-k)
    "expert_ffn",  # inner width of one routed expert
    "shared_ffn",  # inner width of the shared experts together
    "state",  # state size of a state-space block
    "groups",  # B/C groups of a state-space block
    "conv",  # kernel width of a short convolution
    "inner",  # inner width of a state-space block, split by heads
    "patch",  # pixels of a patch x channels
    "classes",
]

DType = Literal["compute", "fp32", "mask"]
"""``compute``: the job's activation dtype; ``fp32``: four bytes; ``mask``: one byte."""

OperatorKind = Literal[
    "einsum",  # contraction of one input with one parameter
    "attention",  # softmax(q k^T) v; inputs q, k, v
    "norm",  # over hidden (or head_dim): RMSNorm / LayerNorm
    "activation",  # pointwise nonlinearity; halves the gated axis when gated
    "multiply",  # pointwise product of two inputs (scaling, gates)
    "add",  # sum of its inputs; linear, so it accepts partial values and passes them on
    "residual",  # adds a branch to the residual stream (needs whole values)
    "dropout",
    "rope",
    "embedding",  # table look-up
    "router",  # softmax / sigmoid and top-k over router_experts
    "dispatch",  # tokens -> expert_tokens (data dependent)
    "combine",  # expert_tokens -> tokens, weighted
    "scan",  # state-space recurrence along the sequence
    "conv",  # short causal convolution along the sequence
    "vocabulary_loss",  # softmax cross entropy over vocab
    "pool",  # picks one token of a sequence
]


@dataclass(frozen=True)
class Axis:
    """A named axis and its global size; ``None`` for batch, sequence(_kv) and expert_tokens, which the job sets."""

    name: AxisName
    size: int | None = None


BATCH = Axis("batch")
SEQUENCE = Axis("sequence")
SEQUENCE_KV = Axis("sequence_kv")
EXPERT_TOKENS = Axis("expert_tokens")


@dataclass(frozen=True)
class Tensor:
    """An activation: named axes and the kind of its elements."""

    name: str
    axes: tuple[Axis, ...]
    dtype: DType = "compute"

    @cached_property
    def axis_names(self) -> tuple[AxisName, ...]:
        return tuple(axis.name for axis in self.axes)


@dataclass(frozen=True)
class Parameter:
    """A trained array. ``tied_to``: name of the parameter of another block that holds the storage (counted there)."""

    name: str
    axes: tuple[Axis, ...]
    tied_to: str | None = None

    @cached_property
    def count(self) -> int:
        """Elements of the whole (unsharded) array."""
        count = 1
        for axis in self.axes:
            if axis.size is None:
                raise ValueError(f"parameter {self.name}: axis {axis.name} has no size")
            count *= axis.size
        return count

    @cached_property
    def axis_names(self) -> tuple[AxisName, ...]:
        return tuple(axis.name for axis in self.axes)


ONE_MATRIX = frozenset({"kv_down", "kv_up"})
"""Fused groups whose weights are one parameter in every framework: MLA's compression and rebuilding of keys and values
(``linear_kv_down_proj`` and ``linear_kv_up_proj`` of Megatron-Core, ``kv_a_proj_with_mqa`` of DeepSeek's own code)."""

PARTS: Mapping[str, tuple[str, ...]] = {
    "mlp": ("activation",),
    "moe": ("router", "moe_activation", "moe_combine", "shared_experts"),
}
"""Recompute unit -> the finer units that lie inside of it and repeat with it (``custom_forward`` of Megatron-Core's
moe_layer.py repeats routing, exchanges, all experts and the weighted sum)."""


@dataclass(frozen=True)
class Operator:
    """One step of a block.

    Args:
        name: unique in its block.
        kind: see ``OperatorKind``.
        inputs: names of activations read, in the order that the kind expects (attention: q, k, v).
        output: name of the activation written.
        parameters: names of parameters used (einsum: exactly one weight, optionally its bias).
        saves: names of activations kept for backward. A tensor that several operators save is kept once.
        module: recompute unit, one of ``core_attention``, ``attention``, ``norm``, ``mlp``, ``activation``, ``moe``,
            ``moe_activation``, ``moe_combine``, ``shared_experts``, ``mla_up_proj``, ``embedding``, ``head``, ``loss``,
            ``ssm``, ``residual``, ``router``. An operator belongs to exactly one (the finest that fits).
        fused_group: einsums with the same group and input run as one matmul (q, k, v).
        attributes: ``causal`` (bool), ``window`` (tokens, None = all), ``soft_cap`` (bool), ``top_k``, ``gated`` (bool),
            ``function`` ("gelu", "silu", "relu2", ...), ``norm`` ("rms" | "layer" | "none"), ``score`` for routers.
    """

    name: str
    kind: OperatorKind
    inputs: tuple[str, ...]
    output: str
    parameters: tuple[str, ...] = ()
    saves: tuple[str, ...] = ()
    module: str = "mlp"
    fused_group: str | None = None
    attributes: Mapping[str, bool | int | float | str | None] = field(default_factory=dict)


BlockKind = Literal["embedding", "layer", "head", "bridge"]


@dataclass(frozen=True)
class Block:
    """A subgraph that the model repeats: an embedding, one kind of layer, a bridge (encoder output), the head with its loss.

    Args:
        name: unique in the model, for example ``dense``, ``moe``, ``local_attention``, ``mtp``.
        kind: its role. ``bridge`` blocks are cheap glue between streams (for example the encoder's final norm).
        input: name of the residual stream entering (``tokens`` for an embedding).
        output: name of the activation (or loss) leaving.
        side_inputs: other activations read that come from elsewhere in the model (``encoder_output``, ``tokens``).
        operators: in execution order.
        tensors: every activation by name, inputs included.
        parameters: every parameter by name.
        sequence_scale: tokens of this block's stream per token of the job's seq_len (T5 decoder: 114/512).
        kv_sequence_scale: the same for the stream that cross-attention reads.
    """

    name: str
    kind: BlockKind
    input: str
    output: str
    operators: tuple[Operator, ...]
    tensors: Mapping[str, Tensor]
    parameters: Mapping[str, Parameter]
    side_inputs: tuple[str, ...] = ()
    sequence_scale: float = 1.0
    kv_sequence_scale: float = 1.0

    @cached_property
    def parameter_count(self) -> int:
        """Trained elements stored by this block (tied ones are counted where they are stored)."""
        return sum(p.count for p in self.parameters.values() if p.tied_to is None)

    def graph(self) -> networkx.DiGraph[str]:
        """The operators as nodes (attribute ``operator``), an edge per activation passed (attribute ``tensor``)."""
        import networkx

        graph: networkx.DiGraph[str] = networkx.DiGraph(name=self.name)
        writer: dict[str, str] = {}
        for operator in self.operators:
            graph.add_node(operator.name, operator=operator)
            for name in operator.inputs:
                if name in writer:
                    graph.add_edge(writer[name], operator.name, tensor=self.tensors[name])
            writer[operator.output] = operator.name
        return graph


@dataclass(frozen=True)
class ModelGraph:
    """A whole model: distinct blocks and the order in which they run.

    Args:
        name: preset or file name.
        blocks: distinct blocks by name.
        order: block names from input to loss, one entry per instance (an 80-layer Llama: embedding, dense x 80, head).
        heads, kv_heads, head_dim: of the main attention, for divisibility rules (None without attention).
        hidden: width of the residual stream.
        vocab: size of the vocabulary used by the head (padded if the preset pads).
        seq_len: default sequence length.
        tied_embeddings: the head shares the embedding's storage.
        experts, top_k: routed experts of MoE layers (0 when there are none).
    """

    name: str
    blocks: Mapping[str, Block]
    order: tuple[str, ...]
    hidden: int
    vocab: int
    seq_len: int
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    tied_embeddings: bool = False
    experts: int = 0
    top_k: int = 0

    @cached_property
    def layer_order(self) -> tuple[str, ...]:
        """Names of the ``layer`` blocks in order: what pipeline stages share out."""
        return tuple(name for name in self.order if self.blocks[name].kind == "layer")

    @cached_property
    def layers(self) -> int:
        return len(self.layer_order)

    @cached_property
    def modules(self) -> frozenset[str]:
        """Recompute units that the model has."""
        return frozenset(operator.module for block in self.blocks.values() for operator in block.operators)

    @cached_property
    def parameter_count(self) -> int:
        """All trained elements."""
        return sum(self.blocks[name].parameter_count for name in self.order)

    @cached_property
    def active_parameter_count(self) -> int:
        """Trained elements that one token uses: routed experts count top_k of experts."""
        total = 0
        for name in self.order:
            for parameter in self.blocks[name].parameters.values():
                if parameter.tied_to is not None:
                    continue
                routed = "experts" in parameter.axis_names
                total += parameter.count * self.top_k // self.experts if routed else parameter.count
        return total

    def graph(self) -> networkx.DiGraph[tuple[int, str]]:
        """Block instances as nodes ``(position, name)`` in a DiGraph; edges follow the residual stream and side inputs."""
        import networkx

        graph: networkx.DiGraph[tuple[int, str]] = networkx.DiGraph(name=self.name)
        previous: tuple[int, str] | None = None
        writers: dict[str, tuple[int, str]] = {}
        for position, name in enumerate(self.order):
            node = (position, name)
            graph.add_node(node, block=self.blocks[name])
            if previous is not None and self.blocks[name].input != "tokens":
                graph.add_edge(previous, node)
            for side in self.blocks[name].side_inputs:
                if side in writers:
                    graph.add_edge(writers[side], node)
            writers[self.blocks[name].output] = node
            previous = node
        return graph
