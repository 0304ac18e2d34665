"""Sequences of tensors, and optional values."""

from __future__ import annotations

from collections.abc import Sequence

from rnncost.frontends.onnx.infer.base import VALUE_LIMIT, Call, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.cutting import joined, parts
from rnncost.frontends.onnx.infer.operands import (
    axis_of,
    dtype_attr,
    int_attr,
    int_of,
    ints_of,
    known,
    operand,
    required_int,
    unknown,
)
from rnncost.frontends.onnx.proto import ValueType
from rnncost.graph.dim import Dim, Shape


def sequence(dtype: str, items: Sequence[Known] | None) -> Known:
    """A sequence with the given elements, or of unknown length."""
    if items is None or len(items) > VALUE_LIMIT:
        return Known(dtype=dtype, shape=None, is_sequence=True)
    shape = items[0].shape if items else None
    if any(item.shape != shape for item in items):
        shape = None
    return Known(dtype=dtype, shape=shape, is_sequence=True, items=tuple(items))


@infers("SequenceEmpty")
def sequence_empty(call: Call) -> tuple[Known, ...]:
    return (sequence(dtype_attr(call, "dtype", "float32"), ()),)


@infers("SequenceConstruct")
def sequence_construct(call: Call) -> tuple[Known, ...]:
    items = [operand(call, index) for index in range(len(call.inputs))]
    if not items:
        raise InferenceError("a sequence is constructed from at least one tensor")
    return (sequence(items[0].dtype, items),)


@infers("SequenceLength")
def sequence_length(call: Call) -> tuple[Known, ...]:
    items = operand(call, 0).items
    return (known("int64", (), None if items is None else (len(items),)),)


@infers("SequenceAt")
def sequence_at(call: Call) -> tuple[Known, ...]:
    """The element when its position is known, else what all elements share."""
    source = operand(call, 0)
    place = int_of(operand(call, 1), "the position")
    if source.items is not None and isinstance(place, int):
        return (source.items[_position(place, len(source.items), len(source.items) - 1)],)
    return (known(source.dtype, source.shape),)


@infers("SequenceInsert")
def sequence_insert(call: Call) -> tuple[Known, ...]:
    """Without a position the element goes to the end."""
    source, item = operand(call, 0), operand(call, 1)
    items = source.items
    if items is None:
        shape = item.shape if item.shape == source.shape else None
        return (Known(dtype=source.dtype, shape=shape, is_sequence=True),)
    end = len(items)
    place = end if call.input(2) is None else int_of(call.input(2), "the position")
    if not isinstance(place, int):
        return (sequence(source.dtype, None),)
    at = _position(place, end, end)
    return (sequence(source.dtype, (*items[:at], item, *items[at:])),)


@infers("SequenceErase")
def sequence_erase(call: Call) -> tuple[Known, ...]:
    """Without a position the last element goes."""
    source = operand(call, 0)
    items = source.items
    place = -1 if call.input(1) is None else int_of(call.input(1), "the position")
    if items is None or not isinstance(place, int):
        return (Known(dtype=source.dtype, shape=source.shape, is_sequence=True),)
    at = _position(place, len(items), len(items) - 1)
    return (sequence(source.dtype, items[:at] + items[at + 1 :]),)


def _position(place: int, length: int, last: int) -> int:
    """A position counted from the front.

    Raises:
        InferenceError: it is outside the sequence.
    """
    if not -length <= place <= last:
        raise InferenceError(f"position {place} is outside a sequence of {length}")
    return place + length if place < 0 else place


@infers("SplitToSequence")
def split_to_sequence(call: Call) -> tuple[Known, ...]:
    """Parts of 1 (the axis dropped with keepdims 0), of one size, or of the sizes listed."""
    x, given = operand(call, 0), call.input(1)
    if x.shape is None:
        return (sequence(x.dtype, None),)
    axis = axis_of(int_attr(call, "axis", 0), len(x.shape))
    sizes = (1,) if given is None else ints_of(given, "the split")
    if sizes is not None and (given is None or given.shape == ()):
        sizes = _equal_parts(x.shape[axis], sizes[0])
    if sizes is None:
        return (sequence(x.dtype, None),)
    items = parts(x, axis, sizes)
    if given is None and not int_attr(call, "keepdims", 1):
        shape = (*x.shape[:axis], *x.shape[axis + 1 :])
        items = tuple([known(x.dtype, shape, item.value) for item in items])
    return (sequence(x.dtype, items),)


def _equal_parts(extent: Dim, size: Dim) -> Shape | None:
    """Parts of one size and a rest, when their number is known and not too large."""
    if not isinstance(extent, int) or not isinstance(size, int):
        return None
    if size < 1:
        raise InferenceError(f"the size of a part is {size}")
    whole, rest = divmod(extent, size)
    if whole > VALUE_LIMIT:
        return None
    return (size,) * whole + ((rest,) if rest else ())


@infers("ConcatFromSequence")
def concat_from_sequence(call: Call) -> tuple[Known, ...]:
    source, axis = operand(call, 0), required_int(call, "axis")
    if not source.items:
        return unknown(source.dtype)
    if not int_attr(call, "new_axis", 0):
        return (joined(source.items, axis),)
    stacked = []
    for item in source.items:
        if item.shape is None:
            return unknown(source.dtype)
        at = axis_of(axis, len(item.shape) + 1)
        stacked.append(known(item.dtype, (*item.shape[:at], 1, *item.shape[at:]), item.value))
    return (joined(stacked, axis),)


@infers("Optional")
def optional(call: Call) -> tuple[Known, ...]:
    """An optional with an element is that element; one without is marked absent."""
    source = call.input(0)
    if source is not None:
        return (source,)
    declared = call.attrs.get("type")
    dtype = declared.dtype if isinstance(declared, ValueType) else ""
    return (Known(dtype=dtype, shape=None, absent=True),)


@infers("OptionalHasElement")
def optional_has_element(call: Call) -> tuple[Known, ...]:
    source = call.input(0)
    return (known("bool", (), (source is not None and not source.absent,)),)


@infers("OptionalGetElement")
def optional_get_element(call: Call) -> tuple[Known, ...]:
    source = operand(call, 0)
    if source.absent:
        raise InferenceError("the optional has no element")
    return (source,)


@infers("SequenceMap")
def sequence_map(call: Call) -> tuple[Known, ...]:
    """Sequences of what the body makes, which is not followed here."""
    return (Known(dtype="", shape=None, is_sequence=True),) * call.outputs
