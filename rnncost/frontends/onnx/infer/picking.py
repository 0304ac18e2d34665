"""Operators that pick elements by index or put them in place: Gather, Scatter and kin."""

from __future__ import annotations

from collections.abc import Sequence

from rnncost.frontends.onnx.infer import flat, views
from rnncost.frontends.onnx.infer.base import Call, Element, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import shape_text
from rnncost.frontends.onnx.infer.operands import (
    axis_of,
    concrete,
    int_attr,
    ints_of,
    known,
    operand,
    str_attr,
    unknown,
)


@infers("Gather")
def gather(call: Call) -> tuple[Known, ...]:
    x, indices = operand(call, 0), operand(call, 1)
    if x.shape is None or indices.shape is None:
        return unknown(x.dtype)
    axis = axis_of(int_attr(call, "axis", 0), len(x.shape))
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    extent = x.shape[axis]
    picked = concrete(ints_of(indices, "the indices")) if x.value or x.stored else None
    if picked is None or not isinstance(extent, int):
        return (known(x.dtype, shape),)
    for index in picked:
        if not -extent <= index < extent:
            raise InferenceError(f"index {index} is outside the {extent} of axis {axis}")
    places = [index + extent if index < 0 else index for index in picked]
    value = None if x.value is None else flat.take(x.value, x.shape, axis, places)
    # Indices that are known but not the model's own, such as the ids of a given input, pick
    # activations out of a table; a single one that the graph computes picks a weight.
    own = indices.stored or not indices.shape
    stored, seen = views.picked(x, axis, places, len(indices.shape)) if own else views.NOTHING
    return (Known(dtype=x.dtype, shape=shape, value=value, stored=stored, views=seen),)


@infers("GatherElements")
def gather_elements(call: Call) -> tuple[Known, ...]:
    x, indices = operand(call, 0), operand(call, 1)
    if x.shape is not None and indices.shape is not None and len(x.shape) != len(indices.shape):
        raise InferenceError(
            f"indices {shape_text(indices.shape)} must have the rank of {shape_text(x.shape)}"
        )
    return (known(x.dtype, indices.shape),)


@infers("GatherND")
def gather_nd(call: Call) -> tuple[Known, ...]:
    """``indices.shape[:-1] + data.shape[batch_dims + indices.shape[-1]:]`` (GatherND-13)."""
    x, indices = operand(call, 0), operand(call, 1)
    if x.shape is None or not indices.shape:
        return unknown(x.dtype)
    depth, batch = indices.shape[-1], int_attr(call, "batch_dims", 0)
    if not isinstance(depth, int) or not batch >= 0 or batch + depth > len(x.shape):
        raise InferenceError(
            f"indices {shape_text(indices.shape)} do not fit data {shape_text(x.shape)}"
        )
    shape = (*indices.shape[:-1], *x.shape[batch + depth :])
    places = concrete(ints_of(indices, "the indices")) if x.value is not None else None
    own = flat.integers(x.shape)
    if not places or batch or x.value is None or own is None or flat.count(shape) is None:
        return (known(x.dtype, shape),)
    block = flat.numel(own[depth:])
    value: list[Element] = []
    for at in range(0, len(places), depth):
        start = _place(places[at : at + depth], own) * block
        value.extend(x.value[start : start + block])
    return (known(x.dtype, shape, tuple(value)),)


def _place(index: Sequence[int], shape: Sequence[int]) -> int:
    """The row-major position of a (partial) index."""
    place = 0
    for at, dim in zip(index, shape, strict=False):
        if not -dim <= at < dim:
            raise InferenceError(f"index {at} is outside an extent of {dim}")
        place = place * dim + at % dim
    return place


@infers("Scatter", "ScatterElements", "ScatterND", "TensorScatter")
def scatter(call: Call) -> tuple[Known, ...]:
    """The first input's shape; elements where single ones are replaced."""
    x = operand(call, 0)
    if x.value is None or str_attr(call, "reduction", "none") != "none":
        return (known(x.dtype, x.shape),)
    value = None
    if call.op_type in ("Scatter", "ScatterElements"):
        value = _scattered_elements(call, x)
    elif call.op_type == "ScatterND":
        value = _scattered_blocks(call, x)
    return (known(x.dtype, x.shape, value),)


def _scattered_elements(call: Call, x: Known) -> flat.Elements | None:
    indices, updates = operand(call, 1), operand(call, 2)
    places = concrete(ints_of(indices, "the indices"))
    own, spread = flat.integers(x.shape or ()), flat.integers(indices.shape or ())
    if not places or updates.value is None or not own or not spread or x.value is None:
        return x.value if places == () else None
    axis = axis_of(int_attr(call, "axis", 0), len(own))
    steps = flat.strides(own)
    walk = [0 if index == axis else step for index, step in enumerate(steps)]
    result = list(x.value)
    for base, place, update in zip(flat.offsets(spread, walk), places, updates.value, strict=True):
        result[base + _place((place,), (own[axis],)) * steps[axis]] = update
    return tuple(result)


def _scattered_blocks(call: Call, x: Known) -> flat.Elements | None:
    indices, updates = operand(call, 1), operand(call, 2)
    places = concrete(ints_of(indices, "the indices"))
    own = flat.integers(x.shape or ())
    depth = indices.shape[-1] if indices.shape else None
    if not places or updates.value is None or own is None or x.value is None:
        return None
    if not isinstance(depth, int) or not 0 < depth <= len(own):
        raise InferenceError(f"indices {shape_text(indices.shape)} do not fit {shape_text(own)}")
    block = flat.numel(own[depth:])
    result = list(x.value)
    for number, at in enumerate(range(0, len(places), depth)):
        start = _place(places[at : at + depth], own) * block
        result[start : start + block] = updates.value[number * block : (number + 1) * block]
    return tuple(result) if len(result) == len(x.value) else None
