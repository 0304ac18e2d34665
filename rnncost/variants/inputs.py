"""What a caller settled about the inputs of a model, for a variant of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def inputs_for(
    variant: onnx.ModelProto,
    shapes: Mapping[str, Iterable[int]] | None = None,
    values: Mapping[str, Any] | None = None,
) -> tuple[dict[str, tuple[int, ...]], dict[str, Any]]:
    """Shapes and values that were given for a model, as they fit a variant of it.

    Inputs that the variant does not have are left out. Where it declares another extent,
    that holds; a value of another shape becomes its shape.
    """
    import numpy as np

    declared = {info.name: _extents(info) for info in variant.graph.input}
    fitted: dict[str, tuple[int, ...]] = {}
    kept: dict[str, Any] = {}
    for name, shape in (shapes or {}).items():
        if name in declared:
            fitted[name] = _fitted(tuple(shape), declared[name])
    for name, value in (values or {}).items():
        if name not in declared:
            continue
        shape = np.shape(value)
        wanted = _fitted(shape, declared[name])
        if wanted == shape:
            kept[name] = value
        else:
            fitted[name] = wanted
    return fitted, kept


def _extents(info: onnx.ValueInfoProto) -> list[int] | None:
    """The declared extents, 0 where one is free; None without a shape."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [max(dim.dim_value, 0) for dim in tensor.shape.dim]


def _fitted(shape: tuple[int, ...], declared: list[int] | None) -> tuple[int, ...]:
    if declared is None or len(declared) != len(shape):
        return shape
    return tuple([fixed or given for fixed, given in zip(declared, shape, strict=True)])
