"""Reading an operator's inputs and attributes, and writing what is known of its outputs."""

from __future__ import annotations

from rnncost.frontends.onnx.elements import DTYPE_BY_NUMBER
from rnncost.frontends.onnx.infer.base import Call, Element, InferenceError, Known
from rnncost.frontends.onnx.infer.bounds import shape_text
from rnncost.graph.dim import Dim, Expr, Shape, hint

_QUOTED_CHARS = 60  # of a text from the file, what a message shows


def operand(call: Call, index: int) -> Known:
    """The input at ``index``.

    Raises:
        InferenceError: the input is required and omitted.
    """
    known = call.inputs[index] if index < len(call.inputs) else None
    if known is None:
        raise InferenceError(f"input {index} is required and missing")
    return known


def known(dtype: str, shape: Shape | None, value: tuple[Element, ...] | None = None) -> Known:
    """A tensor that is no view of a stored one."""
    return Known(dtype=dtype, shape=shape, value=value)


def like(source: Known) -> Known:
    """A computed tensor with the element type and shape of another."""
    return Known(dtype=source.dtype, shape=source.shape)


def unknown(*dtypes: str) -> tuple[Known, ...]:
    """Outputs of which only the element types are known."""
    return tuple(Known(dtype=dtype, shape=None) for dtype in dtypes)


def expect_rank(shape: Shape, rank: int, what: str) -> None:
    """Refuse a shape that has not ``rank`` dimensions."""
    if len(shape) != rank:
        raise InferenceError(f"{what} must have {rank} dimensions, not {shape_text(shape)}")


def int_attr(call: Call, name: str, default: int) -> int:
    value = call.attrs.get(name)
    if value is None:
        return default
    if not isinstance(value, int):
        raise InferenceError(f"attribute {name} must be an integer")
    return value


def required_int(call: Call, name: str) -> int:
    if call.attrs.get(name) is None:
        raise InferenceError(f"attribute {name} is required and missing")
    return int_attr(call, name, 0)


def ints_attr(call: Call, name: str) -> tuple[int, ...] | None:
    value = call.attrs.get(name)
    if value is None:
        return None
    if not isinstance(value, tuple):
        raise InferenceError(f"attribute {name} must be a list of integers")
    ints = tuple(v for v in value if isinstance(v, int))
    if len(ints) != len(value):
        raise InferenceError(f"attribute {name} must be a list of integers")
    return ints


def str_attr(call: Call, name: str, default: str) -> str:
    value = call.attrs.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise InferenceError(f"attribute {name} must be text")
    return value


def dtype_attr(call: Call, name: str, default: str) -> str:
    """The element type that an attribute names by its ONNX number; 0 stands for none."""
    number = int_attr(call, name, 0)
    if not number:
        return default
    if number not in DTYPE_BY_NUMBER:
        raise InferenceError(f"attribute {name} names no element type: {number}")
    return DTYPE_BY_NUMBER[number]


def axis_of(axis: Dim, rank: int) -> int:
    """An axis counted from the front, given one that may count from the back.

    Raises:
        InferenceError: there is no such axis, or a free dimension decides it.
    """
    if not isinstance(axis, int):
        raise InferenceError(f"axis {axis} depends on a free dimension")
    if not -rank <= axis < rank:
        raise InferenceError(f"axis {axis} is outside a tensor of {rank} dimensions")
    return axis + rank if axis < 0 else axis


def axes_of(axes: tuple[Dim, ...], rank: int) -> tuple[int, ...]:
    """Axes counted from the front.

    Raises:
        InferenceError: an axis does not exist or is named twice.
    """
    found = tuple(axis_of(axis, rank) for axis in axes)
    if len(set(found)) != len(found):
        raise InferenceError(f"an axis is named twice in {shape_text(axes)}")
    return found


def ints_of(source: Known | None, what: str) -> tuple[Dim, ...] | None:
    """The integer elements of a tensor, or None where they are unknown.

    Raises:
        InferenceError: the elements are not integers.
    """
    if source is None or source.value is None:
        return None
    ints = tuple(e for e in source.value if isinstance(e, (int, Expr)))
    if len(ints) != len(source.value):
        raise InferenceError(f"{what} must hold integers")
    return ints


def int_of(source: Known | None, what: str) -> Dim | None:
    """The one integer in a scalar or one-element tensor, or None where it is unknown.

    Raises:
        InferenceError: there is not exactly one element, or it is not an integer.
    """
    values = ints_of(source, what)
    if values is None:
        return None
    if len(values) != 1:
        raise InferenceError(f"{what} must hold one element, not {len(values)}")
    return values[0]


def concrete(values: tuple[Dim, ...] | None) -> tuple[int, ...] | None:
    """The values when all of them are plain integers, else None."""
    if values is None:
        return None
    ints = tuple(v for v in values if isinstance(v, int))
    return ints if len(ints) == len(values) else None


def is_one(dim: Dim) -> bool:
    """Whether a dimension is 1, at the sample values where free ones decide."""
    return hint(dim) == 1


def quoted(text: str) -> str:
    """Text of a file for a message, cut, because a file may make it as long as it likes."""
    return repr(text if len(text) <= _QUOTED_CHARS else f"{text[:_QUOTED_CHARS]}…")
