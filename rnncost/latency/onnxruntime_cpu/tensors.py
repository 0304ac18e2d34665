"""Extents of an operator's tensors as plain integers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rnncost.graph.dim import hint
from rnncost.units import DTYPE_BITS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rnncost.graph.ir import Op, Tensor


def shape_of(tensor: Tensor | None) -> tuple[int, ...]:
    """The shape, empty for a scalar, an omitted tensor and one whose shape is not known."""
    if tensor is None or tensor.shape is None:
        return ()
    return tuple([hint(dim) for dim in tensor.shape])


def output_of(op: Op) -> Tensor | None:
    """The first output."""
    return op.outputs[0] if op.outputs else None


def elements_of(tensor: Tensor | None) -> int:
    """The elements; none of a tensor that is omitted or of unknown shape."""
    if tensor is None or tensor.shape is None:
        return 0
    return math.prod(shape_of(tensor))


def element_bytes(tensor: Tensor | None) -> float:
    """The size of an element."""
    return 4.0 if tensor is None else max(1, DTYPE_BITS.get(tensor.dtype, 32)) / 8


def size_of(tensors: Iterable[Tensor | None]) -> int:
    """The bytes of tensors together."""
    return round(sum(elements_of(tensor) * element_bytes(tensor) for tensor in tensors))


def names_of(tensors: Iterable[Tensor | None]) -> tuple[str, ...]:
    """The names, empty for an omitted one."""
    return tuple(["" if tensor is None else tensor.name for tensor in tensors])


def scalar_of(tensor: Tensor | None) -> float | None:
    """The one number of a tensor whose elements are known and alike, or None."""
    if tensor is None or not tensor.value:
        return None
    first = tensor.value[0]
    if isinstance(first, str) or any(value != first for value in tensor.value):
        return None
    return float(first if isinstance(first, (int, float)) else hint(first))


def integers_of(tensor: Tensor | None) -> tuple[int, ...] | None:
    """The elements of a tensor of known integers, or None."""
    if tensor is None or tensor.value is None:
        return None
    return tuple(
        [
            int(v) if isinstance(v, float) else hint(v)
            for v in tensor.value
            if not isinstance(v, str)
        ]
    )
