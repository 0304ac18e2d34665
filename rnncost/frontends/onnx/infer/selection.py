"""Operators whose result is chosen by the data: TopK, NonZero, Unique, Compress, OneHot."""

from __future__ import annotations

from rnncost.frontends.onnx.infer import flat, fold
from rnncost.frontends.onnx.infer.base import Call, Element, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import UnknownElementError
from rnncost.frontends.onnx.infer.operands import (
    axis_of,
    int_attr,
    int_of,
    known,
    operand,
    required_int,
    unknown,
)
from rnncost.graph.dim import Dim, Shape, hint


@infers("TopK")
def top_k(call: Call) -> tuple[Known, ...]:
    """TopK-10 and later take k as an input, TopK-1 as an attribute."""
    x = operand(call, 0)
    k: Dim | None = int_attr(call, "k", 0) if "k" in call.attrs else int_of(operand(call, 1), "k")
    if x.shape is None or k is None:
        return unknown(x.dtype, "int64")
    axis = axis_of(int_attr(call, "axis", -1), len(x.shape))
    if not 0 <= k <= x.shape[axis]:
        raise InferenceError(f"k {k} is outside the {x.shape[axis]} of axis {axis}")
    shape = (*x.shape[:axis], k, *x.shape[axis + 1 :])
    rows = None if x.value is None else flat.rows(x.value, x.shape, (axis,))
    if rows is None or not isinstance(k, int):
        return (known(x.dtype, shape), known("int64", shape))
    try:
        places = [_best(row, k, bool(int_attr(call, "largest", 1))) for row in rows]
    except UnknownElementError:
        return (known(x.dtype, shape), known("int64", shape))
    best = tuple([row[place] for row, chosen in zip(rows, places, strict=True) for place in chosen])
    indices = tuple([place for chosen in places for place in chosen])
    return (
        known(x.dtype, shape, flat.unrow(best, shape, (axis,))),
        known("int64", shape, flat.unrow(indices, shape, (axis,))),
    )


def _best(row: flat.Elements, k: int, largest: bool) -> list[int]:
    """The places of the k best elements; of equal ones, the lower place comes first."""
    keys = [fold.comparable(element) for element in row]
    return sorted(range(len(row)), key=lambda place: -keys[place] if largest else keys[place])[:k]


@infers("NonZero")
def non_zero(call: Call) -> tuple[Known, ...]:
    """[rank, number of non-zero elements]: the number is in the data."""
    x = operand(call, 0)
    own = None if x.shape is None else flat.integers(x.shape)
    if x.value is None or own is None:
        return unknown("int64")
    steps = flat.strides(own)
    places = [place for place, element in enumerate(x.value) if element]
    value = tuple(
        place // step % dim for dim, step in zip(own, steps, strict=True) for place in places
    )
    return (known("int64", (len(own), len(places)), value),)


@infers("Compress")
def compress(call: Call) -> tuple[Known, ...]:
    x, condition = operand(call, 0), operand(call, 1)
    if x.shape is None or condition.value is None:
        return unknown(x.dtype)
    number = sum(1 for element in condition.value if element)
    if call.attrs.get("axis") is None:
        return (known(x.dtype, (number,)),)
    axis = axis_of(required_int(call, "axis"), len(x.shape))
    return (known(x.dtype, (*x.shape[:axis], number, *x.shape[axis + 1 :])),)


@infers("Unique")
def unique(call: Call) -> tuple[Known, ...]:
    """Y, indices, inverse_indices, counts; how many are distinct is in the data."""
    x = operand(call, 0)
    if x.value is None or x.shape is None:
        return unknown(x.dtype, "int64", "int64", "int64")
    if call.attrs.get("axis") is None:
        number, extent = len(set(x.value)), len(x.value)
        shape: Shape = (number,)
    else:
        axis = axis_of(required_int(call, "axis"), len(x.shape))
        others = tuple(index for index in range(len(x.shape)) if index != axis)
        rows = flat.rows(x.value, x.shape, others)
        if rows is None:
            return unknown(x.dtype, "int64", "int64", "int64")
        number, extent = len(set(rows)), len(rows)
        shape = (*x.shape[:axis], number, *x.shape[axis + 1 :])
    return (
        known(x.dtype, shape),
        known("int64", (number,)),
        known("int64", (extent,)),
        known("int64", (number,)),
    )


@infers("OneHot")
def one_hot(call: Call) -> tuple[Known, ...]:
    indices, depth, values = operand(call, 0), operand(call, 1), operand(call, 2)
    size = None if depth.value is None else fold.whole(depth.value[0])
    if indices.shape is None or size is None:
        return unknown(values.dtype)
    axis = axis_of(int_attr(call, "axis", -1), len(indices.shape) + 1)
    shape = (*indices.shape[:axis], size, *indices.shape[axis:])
    if indices.value is None or values.value is None or flat.count(shape) is None or not shape:
        return (known(values.dtype, shape),)
    off, on = values.value
    hot: list[Element] = []
    for place in indices.value:
        at = fold.sample(place)
        hot.extend(
            [on if at in (index, index - hint(size)) else off for index in range(hint(size))]
        )
    return (known(values.dtype, shape, flat.unrow(tuple(hot), shape, (axis,))),)
