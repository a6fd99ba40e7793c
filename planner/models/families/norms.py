"""Normalisation and what surrounds a branch: the norm before it, the one after it, dropout and the residual addition."""

from __future__ import annotations

from planner.models.builder import BlockBuilder
from planner.models.graph import Axis
from planner.models.spec import ModelSpec


def norm(block: BlockBuilder, spec: ModelSpec, name: str, source: str, over: tuple[Axis, ...]) -> str:
    """Normalises ``source`` over its last axis, with trained weights of shape ``over``; saves its input.

    RMSNorm has a weight, LayerNorm also a bias unless the model drops it. With ``norm: none`` nothing is added.
    """
    if spec.norm == "none":
        return source
    parameters = [block.parameter(f"{name}_weight", over)]
    if spec.norm == "layer" and spec.norm_bias:
        parameters.append(block.parameter(f"{name}_bias", over))
    return block.operator(
        name,
        "norm",
        (source,),
        block.tensors[source].axes,
        module="norm",
        parameters=parameters,
        saves=(source,),
        attributes={"norm": spec.norm},
    )


def before_branch(block: BlockBuilder, spec: ModelSpec, name: str, stream: str) -> str:
    """What a branch reads: the normalised stream, or the stream itself when norms only follow branches."""
    if spec.norm_placement in ("branch", "post"):
        return stream
    return norm(block, spec, f"{name}_norm", stream, _hidden(block, stream))


def after_branch(block: BlockBuilder, spec: ModelSpec, name: str, stream: str, branch: str) -> str:
    """Dropout of a branch, its own norm if there is one, the residual addition and a norm behind it if there is one."""
    branch = block.pointwise(f"{name}_dropout", "dropout", branch, module="residual")
    if spec.norm_placement in ("branch", "sandwich"):
        branch = norm(block, spec, f"{name}_post_norm", branch, _hidden(block, stream))
    stream = block.pointwise(f"{name}_residual", "residual", stream, branch, module="residual")
    if spec.norm_placement == "post":
        stream = norm(block, spec, f"{name}_post_norm", stream, _hidden(block, stream))
    return stream


def _hidden(block: BlockBuilder, stream: str) -> tuple[Axis, ...]:
    return block.tensors[stream].axes[-1:]
