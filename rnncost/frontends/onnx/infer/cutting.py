"""Operators that cut tensors apart, join them and pad them: Slice, Split, Concat, Pad."""

from __future__ import annotations

from collections.abc import Sequence

from rnncost.frontends.onnx.infer import flat, views
from rnncost.frontends.onnx.infer.base import Call, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import clamp, larger, same, shape_text
from rnncost.frontends.onnx.infer.operands import (
    axes_of,
    axis_of,
    int_attr,
    ints_attr,
    ints_of,
    known,
    operand,
    required_int,
    str_attr,
    unknown,
)
from rnncost.graph.dim import Dim, Shape, ceil_div, hint

_FAR = (1 << 31) - 1
"""Ends at or beyond this mean "to the end", whatever a free dimension is."""

_ZEROS = {"bool": False, "float16": 0.0, "bfloat16": 0.0, "float32": 0.0, "float64": 0.0}


@infers("Slice")
def slice_(call: Call) -> tuple[Known, ...]:
    """Slice-1 has attributes, Slice-10 and later inputs; ends are clamped to the extent."""
    x = operand(call, 0)
    if "starts" in call.attrs:
        starts: tuple[Dim, ...] | None = ints_attr(call, "starts")
        ends: tuple[Dim, ...] | None = ints_attr(call, "ends")
        axes: tuple[Dim, ...] | None = ints_attr(call, "axes")
        steps: tuple[Dim, ...] | None = None
    else:
        starts, ends = ints_of(operand(call, 1), "starts"), ints_of(operand(call, 2), "ends")
        axes, steps = ints_of(call.input(3), "axes"), ints_of(call.input(4), "steps")
        if (call.input(3) and axes is None) or (call.input(4) and steps is None):
            return unknown(x.dtype)
    if starts is None or ends is None or x.shape is None:
        return unknown(x.dtype)
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise InferenceError("starts, ends, axes and steps must have equal lengths")
    where = axes_of(axes, len(x.shape))
    for axis, start, end, step in zip(where, starts, ends, steps, strict=True):
        x = _sliced(x, axis, start, end, step)
    return (x,)


def _sliced(x: Known, axis: int, start: Dim, end: Dim, step: Dim) -> Known:
    assert x.shape is not None
    dim = x.shape[axis]
    if step == 0 or not isinstance(step, int):
        raise InferenceError(f"the step of a slice must be an integer other than 0, not {step}")
    if step > 0:
        first, last = _bound(start, dim, 0, dim), _bound(end, dim, 0, dim)
        number = larger(ceil_div(last - first, step), 0)
    else:
        first, last = _bound(start, dim, 0, dim - 1), _bound(end, dim, -1, dim - 1)
        number = larger(ceil_div(first - last, -step), 0)
    return _part(x, axis, first, number, step)


def _bound(index: Dim, dim: Dim, low: Dim, high: Dim) -> Dim:
    """An index counted from the front and clamped."""
    if isinstance(index, int) and not isinstance(dim, int) and not -_FAR <= index < _FAR:
        return high if index > 0 else low
    return clamp(index + dim if index < 0 else index, low, high)


def _part(x: Known, axis: int, first: Dim, number: Dim, step: int) -> Known:
    """The indices ``first``, ``first + step``, ... of one axis, ``number`` of them."""
    assert x.shape is not None
    if step == 1 and number == x.shape[axis]:
        return x
    shape = (*x.shape[:axis], number, *x.shape[axis + 1 :])
    value, seen = None, views.NOTHING
    if isinstance(first, int) and isinstance(number, int):
        indices = range(first, first + number * step, step)
        if x.value is not None:
            value = flat.take(x.value, x.shape, axis, indices)
        if x.stored and number:
            low, high = sorted((indices[0], indices[-1]))
            seen = views.narrowed(x, axis, low, high + 1, abs(step))
            seen = seen if step > 0 else views.without(seen, axis)
    else:
        seen = views.without(views.seen(x), axis)
    return Known(dtype=x.dtype, shape=shape, value=value, stored=seen[0], views=seen[1])


@infers("Split")
def split(call: Call) -> tuple[Known, ...]:
    """Parts from the input (opset 13), the attribute, ``num_outputs`` (18), or equal ones."""
    x = operand(call, 0)
    if x.shape is None:
        return unknown(*(x.dtype,) * call.outputs)
    axis = axis_of(int_attr(call, "axis", 0), len(x.shape))
    sizes = _split_sizes(call, x.shape[axis])
    if sizes is None:
        return unknown(*(x.dtype,) * call.outputs)
    if len(sizes) != call.outputs:
        raise InferenceError(f"{len(sizes)} parts do not fit {call.outputs} outputs")
    return parts(x, axis, sizes)


def parts(x: Known, axis: int, sizes: Shape) -> tuple[Known, ...]:
    """Consecutive parts of a tensor along one axis.

    Raises:
        InferenceError: the sizes do not add up to the extent.
    """
    assert x.shape is not None
    made: list[Known] = []
    start: Dim = 0
    for size in sizes:
        if size < 0:
            raise InferenceError(f"a negative size among the parts {shape_text(sizes)}")
        made.append(_part(x, axis, start, size, 1))
        start = start + size
    if hint(start) != hint(x.shape[axis]):
        raise InferenceError(f"parts of {shape_text(sizes)} do not make up {x.shape[axis]}")
    return tuple(made)


def _split_sizes(call: Call, extent: Dim) -> Shape | None:
    given = call.input(1)
    if given is not None:
        return ints_of(given, "the split")
    listed = ints_attr(call, "split")
    if listed is not None:
        return listed
    number = int_attr(call, "num_outputs", 0) or call.outputs
    if number < 1:
        raise InferenceError("a split needs at least one output")
    if "num_outputs" not in call.attrs and hint(extent) % number:
        raise InferenceError(f"{extent} cannot be split into {number} equal parts")
    if number != call.outputs:
        raise InferenceError(f"num_outputs {number} does not fit {call.outputs} outputs")
    chunk = ceil_div(extent, number)
    return (chunk,) * (number - 1) + (extent - chunk * (number - 1),)


@infers("Concat")
def concat(call: Call) -> tuple[Known, ...]:
    if not call.inputs:
        raise InferenceError("there is nothing to concatenate")
    sources = [operand(call, index) for index in range(len(call.inputs))]
    return (joined(sources, required_int(call, "axis")),)


def joined(sources: Sequence[Known], axis: int) -> Known:
    """Tensors joined along an axis.

    Raises:
        InferenceError: their ranks or their other dimensions differ.
    """
    shapes = [source.shape for source in sources if source.shape is not None]
    dtype = sources[0].dtype
    if len(shapes) != len(sources):
        return known(dtype, None)
    dims = list(shapes[0])
    axis = axis_of(axis, len(dims))
    total: Dim = 0
    for shape in shapes:
        if len(shape) != len(dims):
            raise InferenceError(
                f"{shape_text(shapes[0])} and {shape_text(shape)} cannot be joined: ranks differ"
            )
        for index, dim in enumerate(shape):
            if index != axis:
                what = f"dimensions {index} of {shape_text(shapes[0])} and {shape_text(shape)}"
                dims[index] = same(dims[index], dim, what)
        total = total + shape[axis]
    dims[axis] = total
    values = [source.value for source in sources if source.value is not None]
    value = None
    if len(values) == len(sources):
        value = flat.concat(list(zip(values, shapes, strict=True)), axis)
    stored, seen = views.joined(sources, axis)
    return Known(dtype=dtype, shape=tuple(dims), value=value, stored=stored, views=seen)


@infers("Pad")
def pad(call: Call) -> tuple[Known, ...]:
    """Pad-2 has the attribute ``pads``, Pad-11 an input, Pad-18 also axes."""
    x = operand(call, 0)
    amounts: tuple[Dim, ...] | None = ints_attr(call, "pads")
    if amounts is None:
        amounts = ints_of(operand(call, 1), "the pads")
    axes = ints_of(call.input(3), "axes")
    if x.shape is None or amounts is None or (call.input(3) is not None and axes is None):
        return unknown(x.dtype)
    rank = len(x.shape)
    where = tuple(range(rank)) if axes is None else axes_of(axes, rank)
    if len(amounts) != 2 * len(where):
        raise InferenceError(f"{len(amounts)} pads do not fit {len(where)} axes")
    dims = list(x.shape)
    edges = list(zip(where, amounts[: len(where)], amounts[len(where) :], strict=True))
    for axis, before, after in edges:
        dims[axis] = dims[axis] + before + after
    value = _padded(call, x, edges) if x.value is not None else None
    return (known(x.dtype, tuple(dims), value),)


def _padded(call: Call, x: Known, edges: Sequence[tuple[int, Dim, Dim]]) -> flat.Elements | None:
    """The elements after constant padding, axis by axis."""
    if str_attr(call, "mode", "constant") != "constant" or "value" in call.attrs:
        return None
    fill = call.input(2)
    filler = known(x.dtype, (), (_ZEROS.get(x.dtype, 0),)) if fill is None else fill
    for axis, before, after in edges:
        if before < 0 or after < 0:
            return None
        x = joined([_edge(x, axis, before, filler), x, _edge(x, axis, after, filler)], axis)
    return x.value


def _edge(x: Known, axis: int, size: Dim, filler: Known) -> Known:
    assert x.shape is not None
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    value = None if filler.value is None else flat.broadcast(filler.value[:1], (), shape)
    return known(x.dtype, shape, value)
