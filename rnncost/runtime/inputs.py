"""Inputs for a run: the values that were given, and stand-ins for the others.

Floats are drawn from a normal distribution with a fixed seed, integers are 1, booleans
true and texts empty: token ids, lengths and masks that every model accepts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnncost.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

_NUMPY_NAMES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "int64": "int64",
    "int32": "int32",
    "int16": "int16",
    "int8": "int8",
    "uint64": "uint64",
    "uint32": "uint32",
    "uint16": "uint16",
    "uint8": "uint8",
    "bool": "bool",
    "string": "object",
}
"""Names in ONNX Runtime's ``tensor(...)``, as numpy calls them."""

MAX_INPUT_BYTES = 1 << 33


def make_inputs(
    session: onnxruntime.InferenceSession,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    values: Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray[Any, Any]]:
    """Make an array for every input of a session.

    A value decides; else a shape; else the model's own shape with its free dimensions
    taken from ``dims``. A value is a number, a nested list, an array, or the mapping
    ``{"shape": …, "elements": …}`` of a report's bindings.

    Raises:
        MeasurementError: an input has no shape, is no tensor, or its value does not fit.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for spec in session.get_inputs():
        dtype = _dtype(spec.name, spec.type)
        if values is not None and spec.name in values:
            arrays[spec.name] = _given(spec.name, values[spec.name], dtype)
            continue
        shape = (shapes or {}).get(spec.name)
        if shape is None:
            shape = [_extent(spec.name, dim, dims or {}) for dim in spec.shape or ()]
        arrays[spec.name] = _stand_in(spec.name, tuple(shape), dtype, generator)
    return arrays


def _dtype(name: str, ort_type: str) -> str:
    inner = ort_type.removeprefix("tensor(").removesuffix(")")
    if not ort_type.startswith("tensor(") or inner not in _NUMPY_NAMES:
        raise MeasurementError(
            f"input {name!r} is {ort_type}, which cannot be made up: the model cannot be run here"
        )
    return _NUMPY_NAMES[inner]


def _extent(name: str, dim: Any, dims: Mapping[str, int]) -> int:
    if isinstance(dim, int):
        return dim
    if dim in dims:
        return dims[dim]
    free = f"dimension {dim!r}" if dim else "a dimension without a name"
    flag = f"--dim {dim}=N or " if dim else ""
    raise MeasurementError(f"{free} of input {name!r} is free: give {flag}--shape {name}=...")


def _given(name: str, value: Any, dtype: str) -> np.ndarray[Any, Any]:
    import numpy as np

    try:
        if isinstance(value, Mapping):
            return np.array(value["elements"], dtype=dtype).reshape(tuple(value["shape"]))
        return np.array(value, dtype=dtype)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise MeasurementError(f"the value of input {name!r} is no {dtype}: {error}") from None


def _stand_in(
    name: str, shape: tuple[int, ...], dtype: str, generator: np.random.Generator
) -> np.ndarray[Any, Any]:
    import math

    import numpy as np

    size = math.prod(shape) * (8 if dtype == "object" else np.dtype(dtype).itemsize)
    if any(extent < 0 for extent in shape) or size > MAX_INPUT_BYTES:
        raise MeasurementError(f"input {name!r} of shape {list(shape)} cannot be made")
    if dtype == "object":
        return np.full(shape, "", dtype=object)
    if dtype.startswith("float"):
        return generator.standard_normal(shape, dtype=np.float32).astype(dtype)
    return np.ones(shape, dtype=dtype)
