"""New stored tensors: cut from old ones, drawn at random, or literal; made only at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Union

import msgspec

from rnncost.errors import VariantError
from rnncost.variants.known import NUMBER_BY_DTYPE
from rnncost.variants.parts import Layout

if TYPE_CHECKING:
    import numpy as np
    import onnx


class Cut(msgspec.Struct, frozen=True):
    """Parts of a stored tensor, repeated where they grow."""

    tensor: onnx.TensorProto
    layout: Layout


class Drawn(msgspec.Struct, frozen=True):
    """Uniform random numbers within ``bound`` on either side of zero."""

    dtype: str
    shape: tuple[int, ...]
    bound: float


class Literal(msgspec.Struct, frozen=True):
    """The elements of a tensor of one axis, or of a scalar."""

    dtype: str
    elements: tuple[int, ...]
    scalar: bool = False


Recipe = Union[Cut, Drawn, Literal]


def make(recipe: Recipe, name: str, generator: np.random.Generator) -> onnx.TensorProto:
    """The tensor of a recipe.

    Raises:
        VariantError: its element type cannot be cut.
    """
    from onnx import helper, numpy_helper

    if isinstance(recipe, Cut):
        return _cut(recipe, name)
    number = NUMBER_BY_DTYPE[recipe.dtype]
    if isinstance(recipe, Literal):
        dims = () if recipe.scalar else (len(recipe.elements),)
        return helper.make_tensor(name, number, dims, list(recipe.elements))
    array = generator.random(recipe.shape, dtype="float32")
    array *= 2 * recipe.bound
    array -= recipe.bound
    if recipe.dtype == "float32":
        return numpy_helper.from_array(array, name)
    if recipe.dtype in ("float16", "float64"):
        return numpy_helper.from_array(array.astype(recipe.dtype), name)
    return helper.make_tensor(name, number, recipe.shape, array.reshape(-1).tolist())


def _cut(recipe: Cut, name: str) -> onnx.TensorProto:
    from onnx import numpy_helper

    try:
        array = numpy_helper.to_array(recipe.tensor)
    except (TypeError, ValueError) as error:
        raise VariantError(
            f"the stored tensor {recipe.tensor.name!r} cannot be read: {error}"
        ) from None
    for axis, parts in enumerate(recipe.layout):
        if parts is not None:
            array = array.take(_indices([(part.old, part.new) for part in parts]), axis=axis)
    made = numpy_helper.from_array(array, name)
    if made.data_type != recipe.tensor.data_type:
        raise VariantError(f"the stored tensor {recipe.tensor.name!r} has a type that is not cut")
    return made


def _indices(parts: Sequence[tuple[Any, Any]]) -> list[int]:
    """Which old elements stand at the new places: each part from its start, again and again."""
    indices: list[int] = []
    at = 0
    for old, new in parts:
        indices.extend(at + place % old for place in range(new))
        at += old
    return indices


def drawn(dtype: str, shape: Sequence[int]) -> Drawn:
    """Weights within 1/sqrt(n) for n inputs, the last axis, as PyTorch initialises layers."""
    return Drawn(dtype, tuple(shape), 1.0 / max(1, shape[-1] if shape else 1) ** 0.5)
