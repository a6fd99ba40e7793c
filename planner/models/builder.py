"""Writes one block operator by operator, deriving the axes of every activation from its inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from planner.models.graph import (
    Axis,
    Block,
    BlockKind,
    DType,
    Operator,
    OperatorKind,
    Parameter,
    Tensor,
)

Attribute = bool | int | float | str | None


class BlockBuilder:
    """Collects the operators, activations and parameters of one block; ``build`` freezes them.

    Methods that add an operator return the name of the activation that it writes.
    """

    def __init__(self, name: str, kind: BlockKind, source: str, axes: tuple[Axis, ...]) -> None:
        self.name = name
        self.kind: BlockKind = kind
        self.source = source
        self.operators: list[Operator] = []
        self.tensors: dict[str, Tensor] = {}
        self.parameters: dict[str, Parameter] = {}
        self.side_inputs: list[str] = []
        self.tensor(source, axes)

    def tensor(self, name: str, axes: tuple[Axis, ...], dtype: DType = "compute") -> str:
        """Declares an activation."""
        self._unique(name, self.tensors)
        self.tensors[name] = Tensor(name, axes, dtype)
        return name

    def side_input(self, name: str, axes: tuple[Axis, ...]) -> str:
        """Declares an activation that another block writes."""
        self.side_inputs.append(name)
        return self.tensor(name, axes)

    def parameter(self, name: str, axes: tuple[Axis, ...], tied_to: str | None = None) -> str:
        """Declares a trained array."""
        self._unique(name, self.parameters)
        self.parameters[name] = Parameter(name, axes, tied_to)
        return name

    def operator(
        self,
        name: str,
        kind: OperatorKind,
        inputs: tuple[str, ...],
        axes: tuple[Axis, ...],
        *,
        module: str,
        parameters: Iterable[str] = (),
        saves: tuple[str, ...] = (),
        fused_group: str | None = None,
        dtype: DType = "compute",
        attributes: Mapping[str, Attribute] | None = None,
        output: str | None = None,
    ) -> str:
        """Adds an operator that writes a new activation with ``axes`` (named ``{name}_out`` unless ``output`` is given)."""
        written = self.tensor(output or f"{name}_out", axes, dtype)
        self.operators.append(
            Operator(
                name=name,
                kind=kind,
                inputs=inputs,
                output=written,
                parameters=tuple(parameters),
                saves=saves,
                module=module,
                fused_group=fused_group,
                attributes=dict(attributes or {}),
            )
        )
        return written

    def einsum(
        self,
        name: str,
        source: str,
        weight: tuple[Axis, ...],
        *,
        module: str,
        bias: bool = False,
        fused_group: str | None = None,
        dtype: DType = "compute",
        tied_to: str | None = None,
        output: str | None = None,
    ) -> str:
        """Adds a contraction of ``source`` with a weight over the axes that both have; saves ``source``.

        The output keeps the other axes of ``source`` and gains those of the weight, except ``experts``: each expert
        serves its own rows of ``expert_tokens``.
        """
        axes = self.tensors[source].axes
        shared = {axis.name for axis in weight} & {axis.name for axis in axes}
        new = tuple(axis for axis in weight if axis.name not in shared)
        written = tuple(axis for axis in axes if axis.name not in shared)
        written += tuple(axis for axis in new if axis.name != "experts")
        parameters = [self.parameter(f"{name}_weight", weight, tied_to)]
        if bias:
            parameters.append(self.parameter(f"{name}_bias", new))
        return self.operator(
            name,
            "einsum",
            (source,),
            written,
            module=module,
            parameters=parameters,
            saves=(source,),
            fused_group=fused_group,
            dtype=dtype,
            output=output,
        )

    def pointwise(
        self,
        name: str,
        kind: OperatorKind,
        *inputs: str,
        module: str,
        saves: tuple[str, ...] = (),
        attributes: Mapping[str, Attribute] | None = None,
        output: str | None = None,
    ) -> str:
        """Adds an operator whose output has the axes of its first input."""
        axes = self.tensors[inputs[0]].axes
        return self.operator(
            name, kind, inputs, axes, module=module, saves=saves, attributes=attributes, output=output
        )

    def build(self, output: str, *, sequence_scale: float = 1.0, kv_sequence_scale: float = 1.0) -> Block:
        """The finished block, whose stream leaves as ``output``."""
        return Block(
            name=self.name,
            kind=self.kind,
            input=self.source,
            output=output,
            operators=tuple(self.operators),
            tensors=self.tensors,
            parameters=self.parameters,
            side_inputs=tuple(self.side_inputs),
            sequence_scale=sequence_scale,
            kv_sequence_scale=kv_sequence_scale,
        )

    def _unique(self, name: str, known: Mapping[str, object]) -> None:
        if name in known:
            raise ValueError(f"block {self.name}: '{name}' is declared twice")
