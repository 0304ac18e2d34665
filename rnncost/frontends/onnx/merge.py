"""Two trips through one body, merged into one when they run alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from rnncost.graph.ir import Graph, Op, Slab, Tensor

MaybeTensor = TypeVar("MaybeTensor", Tensor, "Tensor | None")


class _DifferError(Exception):
    """The trips do not run alike."""


def merge(first: Graph, second: Graph) -> Graph | None:
    """A body that stands for both, with the names of the first.

    Values that differ are unknown in the result; weights that either trip uses are in it.
    None when operators, attributes, element types or shapes differ.
    """
    try:
        return _graph(first, second)
    except _DifferError:
        return None


def forget(body: Graph, changing: set[str]) -> Graph:
    """A body without the values that follow from inputs which change from trip to trip.

    Shapes stay, and with them what is computed from shapes alone.
    """
    changing = set(changing)
    ops = []
    for op in body.ops:
        names = {tensor.name for tensor in op.inputs if tensor is not None}
        if names & changing and op.op_type not in ("Shape", "Size"):
            changing.update([tensor.name for tensor in op.outputs if tensor is not None])
        inner = None if op.body is None else forget(op.body, changing)
        ops.append(
            msgspec.structs.replace(
                op,
                inputs=tuple([_without_value(t, changing) for t in op.inputs]),
                outputs=tuple([_without_value(t, changing) for t in op.outputs]),
                body=inner,
            )
        )
    return Graph(
        inputs=tuple([_without_value(t, changing) for t in body.inputs]),
        outputs=tuple([_without_value(t, changing) for t in body.outputs]),
        ops=tuple(ops),
    )


def _without_value(tensor: MaybeTensor, names: set[str]) -> MaybeTensor:
    if tensor is None or tensor.value is None or tensor.name not in names:
        return tensor
    return Tensor(tensor.name, tensor.dtype, tensor.shape, tensor.stored)


def _graph(first: Graph, second: Graph) -> Graph:
    if len(first.ops) != len(second.ops):
        raise _DifferError
    inputs = _tensors(first.inputs, second.inputs)
    outputs = _tensors(first.outputs, second.outputs)
    ops = tuple([_op(a, b) for a, b in zip(first.ops, second.ops, strict=True)])
    if inputs is first.inputs and outputs is first.outputs and _same(ops, first.ops):
        return first
    return Graph(inputs=inputs, outputs=outputs, ops=ops)


def _op(a: Op, b: Op) -> Op:
    if (a.op_type, a.executions, a.trips) != (b.op_type, b.executions, b.trips):
        raise _DifferError
    if (a.body is None) != (b.body is None) or a.attrs != b.attrs:
        raise _DifferError
    inputs, outputs = _tensors(a.inputs, b.inputs), _tensors(a.outputs, b.outputs)
    body = a.body if a.body is None or b.body is None else _graph(a.body, b.body)
    if inputs is a.inputs and outputs is a.outputs and body is a.body:
        return a
    return msgspec.structs.replace(a, inputs=inputs, outputs=outputs, body=body)


def _tensors(
    first: tuple[MaybeTensor, ...], second: tuple[MaybeTensor, ...]
) -> tuple[MaybeTensor, ...]:
    if len(first) != len(second):
        raise _DifferError
    merged = tuple([_tensor(a, b) for a, b in zip(first, second, strict=True)])
    return first if _same(merged, first) else merged


def _tensor(a: MaybeTensor, b: MaybeTensor) -> MaybeTensor:
    if a is b:
        return a
    if a is None or b is None or (a.dtype, a.shape) != (b.dtype, b.shape):
        raise _DifferError
    value = a.value if a.value == b.value else None
    stored: tuple[Slab, ...] = a.stored
    if b.stored != stored:
        stored = (*stored, *(slab for slab in b.stored if slab not in stored))
    if value is a.value and stored is a.stored:
        return a
    return Tensor(a.name, a.dtype, a.shape, stored, value)


def _same(merged: Sequence[object], first: Sequence[object]) -> bool:
    return all(a is b for a, b in zip(merged, first, strict=True))
