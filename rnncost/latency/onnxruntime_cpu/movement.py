"""What operators that copy or rearrange elements ask of their kernels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rnncost.latency.onnxruntime_cpu.kernels import Linear
from rnncost.latency.onnxruntime_cpu.tensors import (
    elements_of,
    integers_of,
    output_of,
    shape_of,
    size_of,
)

if TYPE_CHECKING:
    from rnncost.graph.ir import Op

TRANSPOSED_PIECES = 3.0
"""Pieces of an ordinary copy that a piece of a transposition takes as long as."""

MATRIX = 3.0
"""Simple operations that an element of a transposed matrix takes as long as."""

JOINED = 0.7
"""A piece of a concatenation, in pieces of other copies."""


def view(op: Op) -> Linear:
    """The same elements under another name or shape: the runtime copies nothing."""
    return Linear(node="view")


def fill(op: Op) -> Linear:
    """Elements that follow from the shape."""
    return Linear(node="view", bytes=size_of(op.outputs))


def transposition(op: Op) -> Linear:
    """As the kernel sees it: axes of one element dropped, those that stay together merged."""
    source, out = op.inputs[0], output_of(op)
    elements = elements_of(source)
    moved = size_of((source, out))
    shape, order = merged_axes(shape_of(source), op.ints_attr("perm"))
    if order == tuple(range(len(order))):
        return Linear(node="view", bytes=moved)
    if order[-1] == len(order) - 1:
        pieces = elements / shape[-1]
        units = (("piece", TRANSPOSED_PIECES * pieces),)
    elif len(order) == 2 or (len(order) == 3 and order == (0, 2, 1)):
        units = (("simple", MATRIX * elements),)
    else:
        units = (("shuffled", float(elements)),)
    return Linear(node="transpose", units=units, bytes=moved)


def merged_axes(
    shape: tuple[int, ...], perm: tuple[int, ...] | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape and the order of axes without those of one element, neighbours merged."""
    order = list(perm) if perm is not None else list(range(len(shape)))[::-1]
    order = [axis for axis in order if axis < len(shape) and shape[axis] != 1]
    if not order:
        return (1,), (0,)
    runs: list[list[int]] = [[order[0]]]
    for axis in order[1:]:
        between = shape[runs[-1][-1] + 1 : axis]
        if axis > runs[-1][-1] and all(size == 1 for size in between):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    firsts = sorted(run[0] for run in runs)
    sizes = {run[0]: math.prod(shape[axis] for axis in run) for run in runs}
    rank = {first: at for at, first in enumerate(firsts)}
    return tuple([sizes[f] for f in firsts]), tuple([rank[run[0]] for run in runs])


def slicing(op: Op) -> Linear:
    """Stretches of the output that are contiguous in the input; steps copy one by one."""
    source, out = op.inputs[0], output_of(op)
    shape, kept = shape_of(source), shape_of(out)
    elements = elements_of(out)
    steps = integers_of(op.tensor(4)) or (1,)
    axes = integers_of(op.tensor(3)) or op.ints_attr("axes") or tuple(range(len(steps)))
    last = len(shape) - 1
    stepped = any(
        step != 1 and axis % len(shape) == last for axis, step in zip(axes, steps, strict=False)
    )
    if stepped:
        units = (("strided", float(elements)),)
    else:
        units = (("piece", elements / max(1, contiguous(shape, kept))),)
    return Linear(node="slice", units=units, bytes=2 * size_of((out,)))


def contiguous(shape: tuple[int, ...], kept: tuple[int, ...]) -> int:
    """How many elements lie together in both a tensor and a part of it."""
    run = 1
    for whole, part in zip(reversed(shape), reversed(kept), strict=False):
        run *= part
        if whole != part:
            break
    return run


def splitting(op: Op) -> Linear:
    """Each output is a part of the input along one axis."""
    source = op.inputs[0]
    shape = shape_of(source)
    axis = op.int_attr("axis", 0) % len(shape) if shape else 0
    pieces = len(op.outputs) * math.prod(shape[:axis])
    return Linear(node="split", units=(("piece", float(pieces)),), bytes=2 * size_of(op.outputs))


def concatenation(op: Op) -> Linear:
    """Each input is a part of the output along one axis."""
    shape = shape_of(output_of(op))
    axis = op.int_attr("axis", 0) % len(shape) if shape else 0
    pieces = len(op.inputs) * math.prod(shape[:axis])
    return Linear(node="copy", units=(("piece", JOINED * pieces),), bytes=2 * size_of(op.outputs))


def padding(op: Op) -> Linear:
    """Each innermost row is copied, and its two ends are filled."""
    out = output_of(op)
    shape, source = shape_of(out), shape_of(op.inputs[0])
    axis = len(shape) - 1
    while axis > 0 and shape[axis] == source[axis]:
        axis -= 1
    pieces = 3 * math.prod(shape[:axis])
    return Linear(node="pad", units=(("piece", float(pieces)),), bytes=2 * size_of((out,)))


def gathering(op: Op) -> Linear:
    """One row of the table for each index."""
    table, out = shape_of(op.inputs[0]), output_of(op)
    axis = op.int_attr("axis", 0) % len(table) if table else 0
    inner = max(1, math.prod(table[axis + 1 :]))
    elements = elements_of(out)
    units = (("row", elements / inner),)
    if op.op_type == "GatherElements":
        units = (("strided", float(elements)),)
    return Linear(node="gather", units=units, bytes=2 * size_of((out,)))


def expansion(op: Op) -> Linear:
    """The input repeated; where the innermost axis repeats, one element at a time."""
    source, out = shape_of(op.inputs[0]), output_of(op)
    shape = shape_of(out)
    run = contiguous((1,) * (len(shape) - len(source)) + source, shape) if shape else 1
    elements = elements_of(out)
    if source and shape and source[-1] == shape[-1]:
        units = (("piece", elements / max(1, min(run, source[-1]))),)
    else:
        units = (("strided", 0.3 * elements),)
    return Linear(node="copy", units=units, bytes=size_of((op.inputs[0], out)))


def alone(op: Op) -> Linear:
    """Elements that are each fetched or placed on their own."""
    out = output_of(op)
    return Linear(
        node="copy",
        units=(("strided", float(elements_of(out))),),
        bytes=size_of((*op.inputs[:1], out)),
    )


def scan(op: Op) -> Linear:
    """A walk along an axis in which each element waits for the one before, or a selection."""
    source = op.inputs[0]
    passes = 4.0 if op.op_type == "TopK" else 2.0
    return Linear(
        node="reduce",
        units=(("scan", passes * elements_of(source)),),
        bytes=size_of((source, *op.outputs)),
    )
