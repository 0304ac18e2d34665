"""Arithmetic on the elements of small tensors, as ONNX defines it for each element type.

Integers wrap at their width, floating-point results are rounded to their format, integer
division truncates. An integer element may be a free-dimension expression; in a
floating-point tensor it stays exact through Cast, Add, Sub, Mul and rounding, and what
would leave the integers (a quotient that is not whole, a root) is unknown, never wrong.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from rnncost.frontends.onnx.infer import flat
from rnncost.frontends.onnx.infer.base import Element, Known
from rnncost.frontends.onnx.infer.bounds import (
    UnknownElementError,
    at_least,
    larger,
    smaller,
    times,
    within_limits,
)
from rnncost.graph.dim import Dim, Expr, Shape
from rnncost.units import DTYPE_BITS

Scalar = Callable[..., Element]
"""A function of the elements of one position; raises UnknownElementError where it has no answer."""

Number = Any  # an int, a float, or an expression, which acts like an int
_UNTOLD = (UnknownElementError, TypeError, ValueError, ArithmeticError, struct.error)
_EXPONENT_LIMIT = 16
_FLOAT32 = struct.Struct("<f")
_FLOAT16 = struct.Struct("<e")
_WORD = struct.Struct("<I")


def is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))


def is_float(dtype: str) -> bool:
    return dtype in ("float32", "float64", "float16", "bfloat16")


def fold(fn: Scalar, dtype: str, shape: Shape | None, *sources: Known) -> flat.Elements | None:
    """Apply ``fn`` at every position of the sources broadcast to ``shape``.

    The results are fitted to ``dtype``. None where an element cannot be told.
    """
    if shape is None:
        return None
    columns: list[flat.Elements] = []
    for source in sources:
        if source.value is None or source.shape is None:
            return None
        column = flat.broadcast(source.value, source.shape, shape)
        if column is None:
            return None
        columns.append(column)
    try:
        fit = fitted(dtype)
        return tuple([fit(fn(*row)) for row in zip(*columns, strict=True)])
    except _UNTOLD:
        return None


def fold_rows(
    fn: Callable[[flat.Elements], Element], dtype: str, rows: list[flat.Elements] | None
) -> flat.Elements | None:
    """Apply ``fn`` to each group of elements, fitted to ``dtype``; None where untold."""
    if rows is None:
        return None
    try:
        fit = fitted(dtype)
        return tuple([fit(fn(row)) for row in rows])
    except _UNTOLD:
        return None


def fitted(dtype: str) -> Scalar:
    """A function that brings a computed element into an element type.

    Raises:
        UnknownElementError: elements of this type are not followed.
    """
    if is_integer(dtype):
        return _integer_fit(dtype)
    fit = _FITS.get(dtype)
    if fit is None:
        raise UnknownElementError
    return fit


def cast_to(dtype: str) -> Scalar:
    """Conversion as Cast does it: floats truncate, integers wrap, bool is != 0.

    What the standard leaves open (a float outside the integer's range) and text are unknown.
    """
    if dtype == "bool":
        return lambda element: bool(_order(element))
    if not is_integer(dtype):
        return lambda element: element
    fit = _integer_fit(dtype)

    def truncated(element: Element) -> Element:
        if not isinstance(element, float):
            return element
        number = math.trunc(element)
        if fit(number) != number:
            raise UnknownElementError
        return number

    return truncated


def add(a: Element, b: Element) -> Element:
    x, y = _numbers(a, b)
    total: Element = x + y
    return total


def subtract(a: Element, b: Element) -> Element:
    x, y = _numbers(a, b)
    difference: Element = x - y
    return difference


def multiply(a: Element, b: Element) -> Element:
    x, y = _numbers(a, b)
    if isinstance(x, Expr) and isinstance(y, Expr):
        return times(x, y)
    result: Element = x * y
    return result


def divide_integers(a: Element, b: Element) -> Element:
    """The quotient truncated towards zero (ONNX operator Div-14, as its runtimes compute)."""
    x, y = _dims(a, b)
    if not sample(y):
        raise UnknownElementError
    if (x >= 0) == (y > 0):
        return x // y if x >= 0 else -x // -y
    return -(x // -y) if x >= 0 else -(-x // y)


def divide_floats(a: Element, b: Element) -> Element:
    x, y = _numbers(a, b)
    if isinstance(x, float) and isinstance(y, float):
        return x / y
    p, q = _dims(x, y)
    quotient = p // q
    if quotient * q != p:
        raise UnknownElementError
    return quotient


def modulo(a: Element, b: Element) -> Element:
    """The remainder with the sign of the divisor (Mod with fmod = 0)."""
    if isinstance(a, float) and isinstance(b, float):
        return a % b
    x, y = _dims(a, b)
    if not sample(y):
        raise UnknownElementError
    return x % y


def remainder(a: Element, b: Element) -> Element:
    """The remainder with the sign of the dividend (Mod with fmod = 1, and C's %)."""
    if isinstance(a, float) and isinstance(b, float):
        return math.fmod(a, b)
    x, y = _dims(a, b)
    if not sample(y):
        raise UnknownElementError
    divisor = y if y > 0 else -y
    return x % divisor if x >= 0 else -(-x % divisor)


def power(a: Element, b: Element) -> Element:
    if not isinstance(a, Expr) and not isinstance(b, Expr) and float in (type(a), type(b)):
        return _real(float(a) ** float(b))
    base, exponent = whole(a), whole(b)
    if not isinstance(exponent, int) or exponent < 0:
        raise UnknownElementError
    if isinstance(base, int):
        # Two's complement, since that is what every width keeps of the result.
        return pow(base, exponent, 1 << 64)
    if exponent > _EXPONENT_LIMIT:
        raise UnknownElementError
    result: Dim = 1
    for _ in range(exponent):
        result = times(result, base)
    return result


def maximum(a: Element, b: Element) -> Element:
    x, y = _numbers(a, b)
    if isinstance(x, float) and isinstance(y, float):
        return _real(x) if x >= _real(y) else y
    return larger(*_dims(x, y))


def minimum(a: Element, b: Element) -> Element:
    x, y = _numbers(a, b)
    if isinstance(x, float) and isinstance(y, float):
        return _real(x) if x <= _real(y) else y
    return smaller(*_dims(x, y))


def equal(a: Element, b: Element) -> Element:
    """Whether two elements are equal.

    Raises:
        UnknownElementError: free dimensions decide.
    """
    if isinstance(a, Expr) or isinstance(b, Expr):
        one, other = _dims(a, b)
        return at_least(one - other, 0) and at_least(other - one, 0)
    return a == b


def less(a: Element, b: Element) -> Element:
    """Whether ``a`` is below ``b``.

    Raises:
        UnknownElementError: free dimensions decide, or an element is text.
    """
    if isinstance(a, Expr) or isinstance(b, Expr):
        low, high = _dims(a, b)
        return at_least(high - low, 1)
    return bool(_order(a) < _order(b))


def less_or_equal(a: Element, b: Element) -> Element:
    if isinstance(a, Expr) or isinstance(b, Expr):
        low, high = _dims(a, b)
        return at_least(high - low, 0)
    return bool(_order(a) <= _order(b))


def negate(a: Element) -> Element:
    return subtract(0, a)


def absolute(a: Element) -> Element:
    if isinstance(a, Expr):
        return larger(a, -a)
    return a if _order(a) >= 0 else negate(a)


def sign(a: Element) -> Element:
    return bool(less(0, a)) - bool(less(a, 0))


def rounded(fn: Callable[[float], int]) -> Scalar:
    """Floor, Ceil or Round, which leave an integer as it is."""

    def apply(a: Element) -> Element:
        return float(fn(a)) if isinstance(a, float) and math.isfinite(a) else a

    return apply


def root(a: Element) -> Element:
    if not isinstance(a, float):
        raise UnknownElementError
    return math.sqrt(a)


def sample(element: Element) -> float | str:
    """The element, or its value at the sample point where it is free."""
    return element.hint if isinstance(element, Expr) else element


def comparable(element: Element) -> float:
    """An element whose order among others is certain.

    Raises:
        UnknownElementError: it is text, not a number, or a free dimension.
    """
    if isinstance(element, (str, Expr)) or math.isnan(element):
        raise UnknownElementError
    return element


def _order(element: Element) -> float:
    value = sample(element)
    if isinstance(value, str):
        raise UnknownElementError
    return value


def _numbers(a: Element, b: Element) -> tuple[Number, Number]:
    """Both elements as numbers that Python combines exactly: floats, or dimensions."""
    if isinstance(a, str) or isinstance(b, str):
        raise UnknownElementError
    if isinstance(a, Expr) or isinstance(b, Expr):
        return _dims(a, b)
    return a, b


def _dims(a: Element, b: Element) -> tuple[Dim, Dim]:
    return whole(a), whole(b)


def whole(element: Element) -> Dim:
    """The element as an integer dimension.

    Raises:
        UnknownElementError: it is text, or a number that is not whole.
    """
    if isinstance(element, float):
        if not element.is_integer():
            raise UnknownElementError
        return int(element)
    if isinstance(element, str):
        raise UnknownElementError
    return element


def _real(value: float | complex) -> float:
    if isinstance(value, complex) or math.isnan(value):
        raise UnknownElementError
    return value


def _integer_fit(dtype: str) -> Scalar:
    bits = DTYPE_BITS[dtype]
    signed = dtype.startswith("int")
    low = -(1 << (bits - 1)) if signed else 0
    high = low + (1 << bits) - 1
    mask = (1 << bits) - 1

    def fit(element: Element) -> Element:
        if isinstance(element, Expr):
            return _followed(element)
        if isinstance(element, (float, str)):
            raise UnknownElementError
        number = int(element)
        if low <= number <= high:
            return number
        number &= mask
        return number - (1 << bits) if number > high else number

    return fit


def _followed(element: Expr) -> Expr:
    if not within_limits(element):
        raise UnknownElementError
    return element


def _float_fit(round_to: Callable[[float], float]) -> Scalar:
    def fit(element: Element) -> Element:
        if isinstance(element, Expr):
            return _followed(element)
        if isinstance(element, str):
            raise UnknownElementError
        number = float(element)
        return round_to(number) if math.isfinite(number) else number

    return fit


def to_float32(number: float) -> float:
    """The nearest float32."""
    return float(_FLOAT32.unpack(_FLOAT32.pack(number))[0])


def _to_float16(number: float) -> float:
    return float(_FLOAT16.unpack(_FLOAT16.pack(number))[0])


def _to_bfloat16(number: float) -> float:
    (word,) = _WORD.unpack(_FLOAT32.pack(number))
    nearest = (word + 0x7FFF + (word >> 16 & 1)) & 0xFFFF0000
    return float(_FLOAT32.unpack(_WORD.pack(nearest))[0])


def _as_bool(element: Element) -> Element:
    return bool(element)


def _as_text(element: Element) -> Element:
    if not isinstance(element, str):
        raise UnknownElementError
    return element


_FITS: dict[str, Scalar] = {
    "bool": _as_bool,
    "float32": _float_fit(to_float32),
    "float64": _float_fit(lambda number: number),
    "float16": _float_fit(_to_float16),
    "bfloat16": _float_fit(_to_bfloat16),
    "string": _as_text,
}
