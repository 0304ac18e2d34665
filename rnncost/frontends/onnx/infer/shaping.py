"""Operators that rename, reorder or repeat dimensions, and those that read shapes."""

from __future__ import annotations

import math

from rnncost.frontends.onnx.infer import flat, fold, views
from rnncost.frontends.onnx.infer.base import Call, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import (
    UnknownElementError,
    broadcast,
    larger,
    numel,
    shape_text,
)
from rnncost.frontends.onnx.infer.operands import (
    axes_of,
    int_attr,
    ints_attr,
    ints_of,
    is_one,
    known,
    operand,
    unknown,
)
from rnncost.graph.dim import Dim, Shape, hint


@infers("Shape")
def shape(call: Call) -> tuple[Known, ...]:
    """Shape-15 and later may take a part, ``start`` to ``end``."""
    dims = operand(call, 0).shape
    if dims is None:
        return unknown("int64")
    rank = len(dims)
    start, end = int_attr(call, "start", 0), int_attr(call, "end", rank)
    part = dims[_clamped(start, rank) : _clamped(end, rank)]
    return (known("int64", (len(part),), part),)


def _clamped(index: int, rank: int) -> int:
    return min(max(index + rank if index < 0 else index, 0), rank)


@infers("Size")
def size(call: Call) -> tuple[Known, ...]:
    dims = operand(call, 0).shape
    return (known("int64", (), None if dims is None else (numel(dims),)),)


@infers("Reshape")
def reshape(call: Call) -> tuple[Known, ...]:
    """Reshape-5 and later: 0 copies a dimension unless ``allowzero``, -1 takes what is left."""
    x = operand(call, 0)
    target = ints_of(operand(call, 1), "the target shape")
    if target is None:
        return unknown(x.dtype)
    dims = resolve(target, x.shape, bool(int_attr(call, "allowzero", 0)))
    return (_moved(x, dims),) if dims is not None else unknown(x.dtype)


def resolve(target: Shape, source: Shape | None, allow_zero: bool) -> Shape | None:
    """The shape that a Reshape to ``target`` gives, or None where the source decides it.

    Raises:
        InferenceError: the numbers of elements differ, or the target is no shape.
    """
    dims: list[Dim] = []
    rest = -1
    for axis, dim in enumerate(target):
        if dim == 0 and not allow_zero:
            if source is None:
                return None
            if axis >= len(source):
                raise InferenceError(f"0 at {axis} of the target shape has no dimension to copy")
            dims.append(source[axis])
        elif dim == -1:
            if rest >= 0:
                raise InferenceError(f"more than one -1 in the target shape {shape_text(target)}")
            rest = axis
            dims.append(1)
        elif dim < 0:
            raise InferenceError(f"a negative dimension in the target shape {shape_text(target)}")
        else:
            dims.append(dim)
    if source is None:
        return None if rest >= 0 else tuple(dims)
    have, want = numel(source), numel(dims)
    if rest >= 0:
        if not want or hint(have) % hint(want):
            raise InferenceError(_mismatch(source, target))
        dims[rest] = have // want
    elif hint(have) != hint(want):
        raise InferenceError(_mismatch(source, target))
    return tuple(dims)


def _mismatch(source: Shape, target: Shape) -> str:
    return f"{shape_text(source)} cannot be reshaped to {shape_text(target)}"


def _moved(x: Known, dims: Shape) -> Known:
    """The same elements, row-major, under another shape."""
    stored, seen = views.reshaped(x, dims)
    return Known(dtype=x.dtype, shape=dims, value=x.value, stored=stored, views=seen)


@infers("Flatten")
def flatten(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    if x.shape is None:
        return unknown(x.dtype)
    rank = len(x.shape)
    axis = int_attr(call, "axis", 1)
    if not -rank <= axis <= rank:
        raise InferenceError(f"axis {axis} is outside a tensor of {rank} dimensions")
    axis = axis + rank if axis < 0 else axis
    return (_moved(x, (numel(x.shape[:axis]), numel(x.shape[axis:]))),)


def _axes(call: Call) -> tuple[tuple[Dim, ...] | None, bool]:
    """Axes from the second input (opset 13) or the attribute, and whether they are known."""
    given = call.input(1)
    if given is None:
        return ints_attr(call, "axes"), True
    axes = ints_of(given, "axes")
    return axes, axes is not None


@infers("Squeeze")
def squeeze(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    axes, settled = _axes(call)
    if x.shape is None or not settled:
        return unknown(x.dtype)
    if axes is None:
        return (_moved(x, tuple([dim for dim in x.shape if not is_one(dim)])),)
    gone = axes_of(axes, len(x.shape))
    for axis in gone:
        if not is_one(x.shape[axis]):
            raise InferenceError(f"axis {axis} of {shape_text(x.shape)} is not 1")
    return (_moved(x, tuple([dim for axis, dim in enumerate(x.shape) if axis not in gone])),)


@infers("Unsqueeze")
def unsqueeze(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    axes, settled = _axes(call)
    if x.shape is None or not settled:
        return unknown(x.dtype)
    if axes is None:
        raise InferenceError("axes are required and missing")
    rank = len(x.shape) + len(axes)
    new = set(axes_of(axes, rank))
    dims = iter(x.shape)
    return (_moved(x, tuple([1 if axis in new else next(dims) for axis in range(rank)])),)


@infers("Transpose")
def transpose(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    if x.shape is None:
        return unknown(x.dtype)
    rank = len(x.shape)
    given = ints_attr(call, "perm")
    perm = tuple(range(rank - 1, -1, -1)) if given is None else axes_of(given, rank)
    if len(perm) != rank:
        raise InferenceError(f"perm {shape_text(perm)} does not fit {shape_text(x.shape)}")
    dims = tuple([x.shape[axis] for axis in perm])
    value = None if x.value is None else flat.permute(x.value, x.shape, perm)
    stored, seen = views.permuted(x, perm)
    return (Known(dtype=x.dtype, shape=dims, value=value, stored=stored, views=seen),)


@infers("Expand")
def expand(call: Call) -> tuple[Known, ...]:
    """Expand aligns both ways: a target dimension of 1 leaves the source's."""
    x = operand(call, 0)
    target = ints_of(operand(call, 1), "the target shape")
    if target is None or x.shape is None:
        return unknown(x.dtype)
    return (_copied(x, broadcast(x.shape, target)),)


def _copied(x: Known, dims: Shape) -> Known:
    value = None
    if x.value is not None and x.shape is not None:
        value = flat.broadcast(x.value, x.shape, dims)
    stored, seen = views.copied(x, dims)
    return Known(dtype=x.dtype, shape=dims, value=value, stored=stored, views=seen)


@infers("Tile")
def tile(call: Call) -> tuple[Known, ...]:
    """Tile-6 and later: one repeat count an axis."""
    x = operand(call, 0)
    repeats = ints_of(operand(call, 1), "the repeats")
    if x.shape is None or repeats is None:
        return unknown(x.dtype)
    if len(repeats) != len(x.shape):
        raise InferenceError(
            f"{len(repeats)} repeats do not fit the {len(x.shape)} dimensions of the input"
        )
    if any(hint(times) < 0 for times in repeats):
        raise InferenceError(f"the repeats {shape_text(repeats)} must not be negative")
    dims = tuple([dim * times for dim, times in zip(x.shape, repeats, strict=True)])
    stored, seen = views.copied(x, dims)
    value = _tiled(x.value, x.shape, dims)
    return (Known(dtype=x.dtype, shape=dims, value=value, stored=stored, views=seen),)


def _tiled(value: flat.Elements | None, source: Shape, dims: Shape) -> flat.Elements | None:
    total = flat.count(dims)
    own, target = flat.integers(source), flat.integers(dims)
    if value is None or total is None or own is None or target is None:
        return None
    if not total:
        return ()
    for axis, (extent, goal) in enumerate(zip(own, target, strict=True)):
        if value is not None and goal != extent:
            done = (*target[:axis], *own[axis:])
            value = flat.take(value, done, axis, [*range(extent)] * (goal // extent))
    return value


@infers("Range")
def range_(call: Call) -> tuple[Known, ...]:
    """``max(ceil((limit - start) / delta), 0)`` numbers (ONNX operator Range-11)."""
    ends = [operand(call, index) for index in range(3)]
    dtype = ends[0].dtype
    values = [end.value for end in ends]
    if any(value is None for value in values):
        return unknown(dtype)
    start, limit, delta = (value[0] for value in values if value is not None)
    if not delta:
        raise InferenceError("the step of a range must not be 0")
    try:
        first, last, step = fold.whole(start), fold.whole(limit), fold.whole(delta)
    except UnknownElementError:
        plain = [end for end in (start, limit, delta) if isinstance(end, (int, float))]
        if len(plain) < 3:
            return unknown(dtype)
        # The number is certain; the elements depend on how a runtime adds them up.
        length = math.ceil((plain[1] - plain[0]) / plain[2])
        return (known(dtype, (max(length, 0),)),)
    number = larger(-((first - last) // step), 0)
    if not isinstance(first, int) or not isinstance(step, int) or flat.count((number,)) is None:
        return (known(dtype, (number,)),)
    rows: list[flat.Elements] = [(first + step * index,) for index in range(hint(number))]
    return (known(dtype, (number,), fold.fold_rows(lambda row: row[0], dtype, rows)),)
