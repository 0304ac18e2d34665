"""Reductions, ArgMax and ArgMin, and running sums and products."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce as combine

from rnncost.frontends.onnx.infer import flat, fold
from rnncost.frontends.onnx.infer.base import Call, Element, Known, infers
from rnncost.frontends.onnx.infer.bounds import UnknownElementError
from rnncost.frontends.onnx.infer.operands import (
    axes_of,
    axis_of,
    int_attr,
    int_of,
    ints_attr,
    ints_of,
    known,
    operand,
    unknown,
)
from rnncost.graph.dim import Shape


def _whole_mean(row: flat.Elements) -> Element:
    return fold.divide_integers(combine(fold.add, row), len(row))


def _mean(row: flat.Elements) -> Element:
    return fold.divide_floats(combine(fold.add, row), float(len(row)))


_ZERO: Element = 0
_ONE: Element = 1
_FOLDS: dict[str, Callable[[flat.Elements], Element]] = {
    "ReduceSum": lambda row: combine(fold.add, row, _ZERO),
    "ReduceProd": lambda row: combine(fold.multiply, row, _ONE),
    "ReduceMax": lambda row: combine(fold.maximum, row),
    "ReduceMin": lambda row: combine(fold.minimum, row),
    "ReduceMean": _mean,
}


@infers(
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "com.microsoft::ReduceSumInteger",
)
def reduce(call: Call) -> tuple[Known, ...]:
    """Axes come as an attribute or as the second input; none means all of them."""
    x = operand(call, 0)
    dtype = "int32" if call.op_type == "com.microsoft::ReduceSumInteger" else x.dtype
    given = call.input(1)
    axes = ints_attr(call, "axes") if given is None else ints_of(given, "axes")
    keep = bool(int_attr(call, "keepdims", 1))
    if x.shape is None or (given is not None and axes is None):
        return unknown(dtype)
    if not axes and int_attr(call, "noop_with_empty_axes", 0):
        return (known(dtype, x.shape, x.value if dtype == x.dtype else None),)
    rank = len(x.shape)
    gone = axes_of(axes, rank) if axes else tuple(range(rank))
    shape = _reduced(x.shape, gone, keep)
    fn = _FOLDS.get(call.op_type)
    if fn is _mean and fold.is_integer(dtype):
        fn = _whole_mean
    if fn is None or x.value is None:
        return (known(dtype, shape),)
    return (known(dtype, shape, fold.fold_rows(fn, dtype, flat.rows(x.value, x.shape, gone))),)


def _reduced(shape: Shape, gone: tuple[int, ...], keep: bool) -> Shape:
    if keep:
        return tuple([1 if axis in gone else dim for axis, dim in enumerate(shape)])
    return tuple([dim for axis, dim in enumerate(shape) if axis not in gone])


@infers("ArgMax", "ArgMin")
def arg_extreme(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    if x.shape is None:
        return unknown("int64")
    axis = axis_of(int_attr(call, "axis", 0), len(x.shape))
    shape = _reduced(x.shape, (axis,), bool(int_attr(call, "keepdims", 1)))
    if x.value is None:
        return (known("int64", shape),)
    best = max if call.op_type == "ArgMax" else min
    last = bool(int_attr(call, "select_last_index", 0))

    def place(row: flat.Elements) -> Element:
        keys = [fold.comparable(element) for element in row]
        at = best(keys)
        return len(keys) - 1 - keys[::-1].index(at) if last else keys.index(at)

    rows = flat.rows(x.value, x.shape, (axis,))
    return (known("int64", shape, fold.fold_rows(place, "int64", rows)),)


@infers("CumSum", "CumProd")
def running(call: Call) -> tuple[Known, ...]:
    x, axis = operand(call, 0), int_of(operand(call, 1), "the axis")
    if x.value is None or x.shape is None or axis is None:
        return (known(x.dtype, x.shape),)
    at = axis_of(axis, len(x.shape))
    rows = flat.rows(x.value, x.shape, (at,))
    if rows is None:
        return (known(x.dtype, x.shape),)
    fn, start = (fold.add, 0) if call.op_type == "CumSum" else (fold.multiply, 1)
    backwards = bool(int_attr(call, "reverse", 0))
    exclusive = bool(int_attr(call, "exclusive", 0))
    try:
        totals = [_totals(row, fn, start, backwards, exclusive) for row in rows]
        fit = fold.fitted(x.dtype)
        value = flat.unrow(tuple([fit(e) for row in totals for e in row]), x.shape, (at,))
    except UnknownElementError:
        value = None
    return (known(x.dtype, x.shape, value),)


def _totals(
    row: flat.Elements, fn: fold.Scalar, start: int, backwards: bool, exclusive: bool
) -> list[Element]:
    total: Element = start
    made: list[Element] = []
    for element in row[::-1] if backwards else row:
        following = fn(total, element)
        made.append(total if exclusive else following)
        total = following
    return made[::-1] if backwards else made
