"""State-space block of Mamba-2 (arXiv 2405.21060, section 7): projections, short convolution, scan, gate, output.

Inner width, heads and groups split alike: head ``i`` owns ``head_dim`` neighbouring channels of ``inner``.
"""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.families.axes import ModelAxes
from planner.models.families.layer import STREAM, mlp_part
from planner.models.families.norms import after_branch, before_branch
from planner.models.graph import Axis, Block
from planner.models.parts import Mamba2
from planner.models.spec import ModelSpec


def mamba2_layer(spec: ModelSpec, part: Mamba2, name: str, *, routed: bool) -> Block:
    """Norm, state-space block, residual; then the model's MLP or experts when ``part.mlp`` says so."""
    block = BlockBuilder(name, "layer", STREAM, ModelAxes(spec).stream)
    source = before_branch(block, spec, "ssm", STREAM)
    stream = after_branch(block, spec, "ssm", STREAM, _mixer(block, spec, part, source))
    if part.mlp:
        stream = mlp_part(block, spec, stream, routed=routed)
    return block.build(stream)


def _mixer(block: BlockBuilder, spec: ModelSpec, part: Mamba2, source: str) -> str:
    hidden = ModelAxes(spec).hidden
    inner = Axis("inner", int(part.expand * spec.hidden))
    heads = Axis("heads", int(part.expand * spec.hidden) // part.head_dim)
    shared = (Axis("groups", part.groups), Axis("state", part.state))
    gate = _project(block, part, "z", source, (hidden, inner))
    values = _convolved(block, part, "x", _project(block, part, "x", source, (hidden, inner)))
    write = _convolved(block, part, "b", _project(block, part, "b", source, (hidden, *shared)))
    read = _convolved(block, part, "c", _project(block, part, "c", source, (hidden, *shared)))
    step = _project(block, part, "dt", source, (hidden, heads))
    scanned = block.operator(
        "scan",
        "scan",
        (values, write, read, step),
        block.tensors[values].axes,
        module="ssm",
        parameters=[block.parameter(name, (heads,)) for name in ("decay", "skip", "dt_bias")],
        saves=(values, write, read, step),
        attributes={"state": part.state, "groups": part.groups, "head_dim": part.head_dim},
    )
    gated = block.pointwise(
        "gate",
        "multiply",
        scanned,
        gate,
        module="ssm",
        saves=(scanned, gate),
        attributes={"function": "silu"},
    )
    normed = block.operator(
        "ssm_inner_norm",
        "norm",
        (gated,),
        block.tensors[gated].axes,
        module="ssm",
        parameters=[block.parameter("ssm_inner_norm_weight", (inner,))],
        saves=(gated,),
        attributes={"norm": "rms"},
    )
    return block.einsum("ssm_output", normed, (inner, hidden), module="ssm", bias=part.biases)


def _project(block: BlockBuilder, part: Mamba2, name: str, source: str, weight: tuple[Axis, ...]) -> str:
    return block.einsum(
        f"{name}_projection", source, weight, module="ssm", bias=part.biases, fused_group="ssm_input"
    )


def _convolved(block: BlockBuilder, part: Mamba2, name: str, source: str) -> str:
    """Causal depthwise convolution over the sequence and SiLU, which one kernel does; saves its input."""
    channels = block.tensors[source].axes[2:]
    parameters = [block.parameter(f"{name}_conv_weight", (*channels, Axis("conv", part.conv)))]
    if part.conv_bias:
        parameters.append(block.parameter(f"{name}_conv_bias", channels))
    return block.operator(
        f"{name}_conv",
        "conv",
        (source,),
        block.tensors[source].axes,
        module="ssm",
        parameters=parameters,
        saves=(source,),
        attributes={"width": part.conv, "function": "silu"},
    )
