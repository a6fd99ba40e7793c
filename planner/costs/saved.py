"""Memory of one block: what backward needs kept, what one layer needs for a moment, and its parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from planner.costs.kept_outputs import kept_outputs
from planner.costs.kernels import CAST_BYTES
from planner.costs.low_precision import multiplied_low
from planner.costs.operator_cost import fused, one_softmax
from planner.costs.sizes import FloatArray, Sizes, local_parameter, routed_copies
from planner.jobs.types import Job
from planner.layouts.layout import Recompute
from planner.layouts.layouts import Layouts
from planner.layouts.sharding import Derivation, Saved
from planner.models.graph import Block, Operator

DENSE_DISPATCH_BYTES = 27.0
"""Bytes per element of the tokens x experts x capacity tensors of dense dispatch (masks, combine weights, gradients):
half of the 53 to 56 bytes x tokens^2 at top-2 between the published sizes of Tutel's table 4 (arXiv 2206.03382)."""


@dataclass(frozen=True)
class BlockMemory:
    """Bytes (or elements) on one rank, shape (rows,).

    Args:
        saved_bytes: kept from forward to backward, per micro-batch.
        again_bytes: what recompute brings back while this block runs backward.
        moment_bytes: gradients alive at the worst moment of the block's backward, saved tensors apart.
        logits_bytes: logits and their gradient at the loss (head only).
        stream_bytes: the residual stream of one micro-batch, what a pipeline hop carries.
        dense_parameters, expert_parameters: local elements that this block stores (tied ones are stored elsewhere).
    """

    saved_bytes: FloatArray
    again_bytes: FloatArray
    moment_bytes: FloatArray
    logits_bytes: FloatArray
    stream_bytes: FloatArray
    dense_parameters: FloatArray
    expert_parameters: FloatArray


def fixed_memory(block: Block, derivation: Derivation, sizes: Sizes) -> BlockMemory:
    """Memory of a block whose operators all run once."""
    dense, expert = _parameters(block, sizes)
    stream = _stream(block, derivation, sizes)
    return BlockMemory(
        saved_bytes=_saved_bytes(block, derivation, sizes, derivation.saved, set()),
        again_bytes=np.zeros(len(sizes.layouts)),
        moment_bytes=_moment(block, derivation, sizes, stream),
        logits_bytes=_logits(block, derivation, sizes),
        stream_bytes=_hop_bytes(stream, sizes),
        dense_parameters=dense,
        expert_parameters=expert,
    )


def block_memory(
    block: Block,
    derivation: Derivation,
    sizes: Sizes,
    again: Iterable[str],
    policy: Recompute,
    fixed: BlockMemory,
) -> BlockMemory:
    """Memory of a block whose operators ``again`` run twice.

    A tensor made inside the recomputed part is dropped unless an operator outside needs it; what enters the part is
    kept. Full recompute keeps the layer's input only (Korthikanti et al., arXiv 2205.05198, section 5).

    Args:
        fixed: its ``fixed_memory``.
    """
    repeated = set(again)
    everything = fixed.saved_bytes
    if policy.mode == "full" and block.kind == "layer":
        kept = _input_bytes(block, derivation, sizes)
    elif repeated and sizes.job.framework.selective_outputs is not None:
        outputs = _output_bytes(block, derivation, sizes, repeated, sizes.job.framework.selective_outputs)
        kept = np.minimum(_input_bytes(block, derivation, sizes) + outputs, everything)
    elif repeated:
        kept = _saved_bytes(block, derivation, sizes, derivation.saved, repeated)
    else:
        return fixed
    return replace(fixed, saved_bytes=kept, again_bytes=np.maximum(everything - kept, 0.0))


def _hop_bytes(stream: FloatArray, sizes: Sizes) -> FloatArray:
    """What a rank sends to the next pipeline rank: where tp ranks hold the same residual stream, all of it or its own part,
    which the receivers gather inside their node (scatter/gather, arXiv 2104.04473 section 4.1).
    """
    if not sizes.job.framework.scatters_hops:
        return stream
    return np.where(sizes.layouts.columns["sp"] > 0, stream, stream / sizes.degrees["tp"])


def _saved_bytes(
    block: Block, derivation: Derivation, sizes: Sizes, saved: Iterable[Saved], repeated: set[str]
) -> FloatArray:
    total = np.zeros(len(sizes.layouts))
    for item in saved:
        if block.kind == "head" and "vocab" in block.tensors[item.tensor].axis_names:
            continue  # logits are counted apart, see _logits
        made_again = item.producer in repeated
        if made_again and all(user in repeated for user in item.users):
            continue
        total = total + sizes.elements(block.tensors[item.tensor], item.placement) * _width(
            item, block, sizes
        )
    for operator in block.operators:
        if operator.name not in repeated:
            total = total + _extra(operator, block, derivation, sizes)
    return total


def _width(item: Saved, block: Block, sizes: Sizes) -> float:
    """Bytes per element of a kept tensor: its own, or those of the cast copy when only such matmuls keep it, or both."""
    whole = sizes.element_bytes(block.tensors[item.tensor])
    users = [operator for operator in block.operators if operator.name in item.users]
    casts = [operator for operator in users if multiplied_low(operator, sizes)]
    if not casts or not sizes.job.framework.buffers.keeps_low_precision:
        return whole
    return CAST_BYTES[sizes.job.training.precision] + (whole if len(casts) < len(users) else 0.0)


def _output_bytes(
    block: Block, derivation: Derivation, sizes: Sizes, repeated: set[str], share: float
) -> FloatArray:
    """Outputs that a policy over the whole layer keeps: of attention cores, a share of those of matmuls, and what experts
    answered where it is combined only once."""
    total = np.zeros(len(sizes.layouts))
    makers = {operator.output: operator.name for operator in block.operators}
    kept = kept_outputs(block, repeated, share)
    for operator in block.operators:
        if operator.kind == "combine" and operator.name not in repeated:
            name = operator.inputs[0]
            if makers[name] in repeated:
                total = total + sizes.bytes(block.tensors[name], derivation.outputs[name])
        if operator.name in repeated or operator.kind not in ("einsum", "attention", "scan"):
            continue
        output = sizes.bytes(block.tensors[operator.output], derivation.rules[operator.name].output)
        total = total + kept.get(operator.name, 1.0) * output + _extra(operator, block, derivation, sizes)
    return total


def _extra(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> FloatArray:
    """What an operator keeps besides whole activations: dropout masks, scores or the softmax statistics of attention."""
    zero = np.zeros(len(sizes.layouts))
    output = derivation.rules[operator.name].output
    dropout = sizes.job.training.dropout > 0
    if operator.kind == "dropout":
        return sizes.elements(block.tensors[operator.output], output) if dropout else zero
    if operator.kind == "activation" and operator.attributes.get("gated") and not fused(sizes, "activation"):
        # apart from gate and up, an unfused product keeps the activated gate
        return sizes.bytes(block.tensors[operator.output], output)
    if operator.kind == "norm" and operator.attributes.get("norm") == "rms" and _written_out(sizes):
        # two fp32 tensors, of which one stands in the place of the 16-bit input that is counted already
        return 6.0 * sizes.elements(block.tensors[operator.output], output)
    if operator.kind == "dispatch" and sizes.job.training.moe.dispatcher == "dense":
        copies = routed_copies(sizes.job.model, sizes.job)
        return DENSE_DISPATCH_BYTES * copies * sizes.stream_tokens**2
    if operator.kind == "attention":
        if sizes.job.training.attention != "unfused":
            return 4.0 * _score_rows(operator, block, derivation, sizes)  # log-sum-exp in fp32
        # probabilities (2 bytes); with dropout also the mask (1) and the dropped probabilities (2)
        return _scores(operator, block, derivation, sizes) * (2.0 + (3.0 if dropout else 0.0))
    return zero


def _score_rows(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> FloatArray:
    """Rows of the attention scores of one rank: batch x tokens x heads."""
    axes = [a for a in block.tensors[operator.inputs[0]].axes if a.name != "head_dim"]
    return sizes.local(axes, derivation.rules[operator.name].inputs[0])


def _scores(operator: Operator, block: Block, derivation: Derivation, sizes: Sizes) -> FloatArray:
    """Elements of the attention scores of one rank."""
    keys = [a for a in block.tensors[operator.inputs[1]].axes if "sequence" in a.name]
    return _score_rows(operator, block, derivation, sizes) * float(np.max([sizes.axis(a) for a in keys]))


def _score_gradient_bytes(
    operator: Operator, block: Block, derivation: Derivation, sizes: Sizes
) -> FloatArray:
    """Bytes per score by which gradients exceed what is freed while unfused attention runs backward.

    One 16-bit tensor enters the softmax, whose fused kernel writes its own gradient over it; written out, softmax and
    scaling each make another. Dropout's backward has its input and its output alive together, but by then the product
    with the values has let go of the dropped probabilities (autograd releases what a node saved once it has run).
    """
    query = block.tensors[operator.inputs[0]]
    axes = [a for a in query.axes if a.name != "head_dim" and "sequence" not in a.name]
    matrices = sizes.local(axes, derivation.rules[operator.name].inputs[0])
    return np.where(one_softmax(sizes, matrices), 2.0, 4.0)


def _written_out(sizes: Sizes) -> bool:
    """Whether an RMSNorm runs as separate operators that keep what they need."""
    copies = sizes.job.framework.buffers.norm_copies and not sizes.job.training.compile
    return copies or not fused(sizes, "norm")


def _input_bytes(block: Block, derivation: Derivation, sizes: Sizes) -> FloatArray:
    total = np.zeros(len(sizes.layouts))
    for name in (block.input, *block.side_inputs):
        if name in block.tensors:
            total = total + sizes.bytes(block.tensors[name], derivation.outputs[name])
    return total


def _stream(block: Block, derivation: Derivation, sizes: Sizes) -> FloatArray:
    name = block.output if block.kind != "head" else block.input
    if name not in block.tensors:
        return np.zeros(len(sizes.layouts))
    return sizes.bytes(block.tensors[name], derivation.stream)


def _moment(block: Block, derivation: Derivation, sizes: Sizes, stream: FloatArray) -> FloatArray:
    """Gradients alive while the block's most demanding operator runs backward.

    The gradient of that operator's input, the gradient that entered the branch, and the gradient of the residual stream
    (for a gated MLP: 4 T f / t + 2 T h + 2 T h).
    """
    if block.kind == "embedding":
        return stream
    largest = entered = np.zeros(len(sizes.layouts))
    for operator in block.operators:
        rule = derivation.rules[operator.name]
        for name, placement in zip(operator.inputs, rule.inputs, strict=True):
            if name in block.tensors and operator.kind != "vocabulary_loss":
                largest = np.maximum(largest, sizes.bytes(block.tensors[name], placement))
        if operator.kind == "einsum":
            tensor = block.tensors[operator.output]
            if "hidden" in tensor.axis_names:
                entered = np.maximum(entered, sizes.bytes(tensor, rule.output.dual()))
        if operator.kind == "attention" and sizes.job.training.attention == "unfused":
            scores = _scores(operator, block, derivation, sizes)
            largest = np.maximum(largest, _score_gradient_bytes(operator, block, derivation, sizes) * scores)
    return largest + entered + stream


def _logits(block: Block, derivation: Derivation, sizes: Sizes) -> FloatArray:
    """Logits at the loss: one copy in place when fused, else the framework's number of bytes per logit."""
    total = np.zeros(len(sizes.layouts))
    job: Job = sizes.job
    for operator in block.operators:
        if operator.kind != "vocabulary_loss":
            continue
        elements = sizes.elements(
            block.tensors[operator.inputs[0]], derivation.rules[operator.name].inputs[0]
        )
        if job.training.loss.chunk is not None:
            tokens = sizes.stream_tokens * np.where(sizes.layouts.columns["sp"] > 0, sizes.degrees["tp"], 1.0)
            elements = elements * np.minimum(1.0, job.training.loss.chunk / tokens)
        total = total + elements * logit_bytes(job, sizes.layouts)
    return total


def logit_bytes(job: Job, layouts: Layouts) -> FloatArray:
    """Bytes per logit alive at the loss, shape (rows,): fused by the framework or by a compiler, or written out.

    A compiler does not fuse the loss of a cut vocabulary, which its runtime takes apart around collectives.
    """
    buffers = job.framework.buffers
    whole = buffers.loss_logit_bytes if job.training.loss.fused else buffers.loss_logit_bytes_unfused
    compiled = buffers.loss_logit_bytes_compiled
    if job.training.loss.fused and job.training.compile and compiled is not None:
        whole = compiled
    cut = (layouts.columns["tp"] > 1) & job.training.loss.vocab_parallel
    return np.where(cut, buffers.loss_logit_bytes_cut or whole, whole)


def _parameters(block: Block, sizes: Sizes) -> tuple[FloatArray, FloatArray]:
    """Local elements of the block's own parameters: (dense, routed experts)."""
    dense = expert = np.zeros(len(sizes.layouts))
    for parameter in block.parameters.values():
        if parameter.tied_to is not None:
            continue
        elements = local_parameter(parameter.axes, sizes.layouts)
        if "experts" in parameter.axis_names:
            expert = expert + elements
        else:
            dense = dense + elements
    return dense, expert
