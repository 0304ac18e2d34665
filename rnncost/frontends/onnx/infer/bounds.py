"""Dimensions that two operands must share, and bounds on free dimensions.

Whatever depends on a free dimension is decided at its sample value, as everywhere in
``rnncost.graph.dim``; what follows from a free dimension being at least 1 is settled for
every value. The caller checks a result against one with plain integers.
"""

from __future__ import annotations

from collections.abc import Iterable

from rnncost.frontends.onnx.infer.base import InferenceError
from rnncost.graph.bounds import lower_bound
from rnncost.graph.dim import Dim, Expr, Shape, hint, maximum, minimum

SIZE_LIMIT = 128
"""The largest expression that is followed; real models stay far below it."""

_PRODUCT_LIMIT = 4096
_MAGNITUDE_LIMIT = 1 << 63


class UnknownElementError(Exception):
    """The elements of a result cannot be told exactly, so they are left unknown."""


def within_limits(expr: Expr) -> bool:
    """Whether an expression is small enough to be worked with further."""
    return expr.size <= SIZE_LIMIT and abs(expr.hint) < _MAGNITUDE_LIMIT


def times(a: Dim, b: Dim) -> Dim:
    """The product of two dimensions.

    Raises:
        UnknownElementError: the product would be too large an expression.
    """
    if isinstance(a, Expr) and isinstance(b, Expr) and a.size * b.size > _PRODUCT_LIMIT:
        raise UnknownElementError
    return a * b


def numel(shape: Iterable[Dim]) -> Dim:
    """The number of elements of a shape.

    Raises:
        InferenceError: the product of free dimensions is too large an expression.
    """
    total: Dim = 1
    try:
        for dim in shape:
            total = times(total, dim)
    except UnknownElementError:
        raise InferenceError("the product of the free dimensions is too long") from None
    return total


def shape_text(shape: Iterable[Dim] | None) -> str:
    """A shape as messages show it: ``[2, seq, 256]``."""
    return "unknown" if shape is None else f"[{', '.join(map(str, shape))}]"


def same(a: Dim, b: Dim, what: str) -> Dim:
    """The one dimension that two operands must share; an integer says more than a free one.

    Raises:
        InferenceError: they differ (at the sample values, where free dimensions decide).
    """
    if a is b or a == b:
        return a
    if hint(a) != hint(b):
        raise InferenceError(f"{what} differ: {a} and {b}")
    return b if isinstance(b, int) else a


def broadcast_dim(a: Dim, b: Dim) -> Dim | None:
    """The dimension that two align to, or None where they contradict each other.

    A free dimension against an integer above 1 gives that integer: the free one can only
    be it or 1. Two different free dimensions with equal sample values give the first.
    """
    if a is b or b in (1, a):
        return a
    if a == 1:
        return b
    left, right = hint(a), hint(b)
    if left == right:
        return b if isinstance(b, int) else a
    if right == 1:
        return a
    return b if left == 1 else None


def broadcast(*shapes: Shape) -> Shape:
    """The shape that numpy's rule aligns shapes to.

    Raises:
        InferenceError: two dimensions differ and neither is 1.
    """
    result = shapes[0]
    for shape in shapes[1:]:
        result = _broadcast_two(result, shape)
    return result


def _broadcast_two(a: Shape, b: Shape) -> Shape:
    if a == b:
        return a
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    lead = len(longer) - len(shorter)
    dims = list(longer[:lead])
    for left, right in zip(longer[lead:], shorter, strict=True):
        dim = broadcast_dim(left, right)
        if dim is None:
            raise InferenceError(
                f"shapes {shape_text(a)} and {shape_text(b)} cannot be broadcast together"
            )
        dims.append(dim)
    return tuple(dims)


def larger(a: Dim, b: Dim) -> Dim:
    """The larger of two dimensions, settled where free dimensions of at least 1 allow."""
    if isinstance(a, int) and isinstance(b, int):
        return a if a >= b else b
    if _never_below(a, b):
        return a
    return b if _never_below(b, a) else maximum(a, b)


def smaller(a: Dim, b: Dim) -> Dim:
    """The smaller of two dimensions, settled where free dimensions of at least 1 allow."""
    if isinstance(a, int) and isinstance(b, int):
        return a if a <= b else b
    if _never_below(a, b):
        return b
    return a if _never_below(b, a) else minimum(a, b)


def at_least(dim: Dim, least: int) -> bool:
    """Whether a dimension reaches ``least``, for all free dimensions alike.

    Raises:
        UnknownElementError: free dimensions decide.
    """
    if _never_below(dim, least):
        return True
    if _never_below(least - 1, dim):
        return False
    raise UnknownElementError


def clamp(dim: Dim, low: Dim, high: Dim) -> Dim:
    """The dimension moved into ``low`` to ``high``."""
    return smaller(larger(dim, low), high)


def _never_below(a: Dim, b: Dim) -> bool:
    low = lower_bound(a - b)
    return low is not None and low >= 0
