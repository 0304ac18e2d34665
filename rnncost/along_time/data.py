"""Data for a run: read from files, held against the inputs of the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.errors import BindingError, nearest

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, Any]


class Input(msgspec.Struct, frozen=True):
    """An input of a model: ``shape`` has None for a free dimension, and is None itself if open."""

    name: str
    dtype: Any
    shape: tuple[int | None, ...] | None


def model_inputs(model: onnx.ModelProto) -> list[Input]:
    """The inputs that a caller gives."""
    from onnx import helper

    stored = {tensor.name for tensor in model.graph.initializer}
    found = []
    for info in model.graph.input:
        if info.name in stored:
            continue
        tensor = info.type.tensor_type
        shape = None
        if tensor.HasField("shape"):
            # Some exporters write 0 or -1 for a dimension that is free.
            shape = tuple([d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim])
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type) if tensor.elem_type else None
        found.append(Input(info.name, dtype, shape))
    return found


def read_data(data: Any, inputs: list[Input], settled: set[str]) -> dict[str, Array]:
    """Arrays by the names of inputs.

    Args:
        data: path of an .npy or .npz file, one array, or arrays by name.
        inputs: those of the model.
        settled: inputs that are states or have a value: an array without a name is not for them.

    Raises:
        BindingError: the file cannot be read, or an array fits no input.
    """
    import numpy as np

    where = f"{data}: " if isinstance(data, (str, Path)) else ""
    loaded = _load(Path(data)) if isinstance(data, (str, Path)) else data
    if not isinstance(loaded, Mapping):
        loaded = {_only(inputs, settled, where): loaded}
    known = {one.name: one for one in inputs}
    found = {}
    for name, values in loaded.items():
        if name not in known:
            raise BindingError(
                f"{where}the model has no input {name!r}{nearest(name, known)}; its inputs are "
                f"{', '.join(known)}"
            )
        try:
            array = np.asarray(values)
        except (RuntimeError, TypeError, ValueError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise BindingError(f"{where}input {name!r}: the data is no array: {reason}") from None
        found[name] = _fitting(known[name], array, where)
    if not found:
        raise BindingError(f"{where}the data holds no array; the inputs are {', '.join(known)}")
    return found


def _only(inputs: list[Input], settled: set[str], where: str) -> str:
    names = [one.name for one in inputs if one.name not in settled]
    if len(names) != 1:
        raise BindingError(
            f"{where}the model has {len(names)} inputs that are no states and have no value "
            f"({', '.join(names)}): give an .npz file with an array for each by its name"
        )
    return names[0]


def _load(path: Path) -> Any:
    from zipfile import BadZipFile

    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                return dict(loaded)
        return loaded
    except FileNotFoundError:
        raise BindingError(f"there is no data file {path}") from None
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        reason = getattr(error, "strerror", None) or "Not a NumPy file of plain numbers"
        raise BindingError(
            f"{path}: {reason[0].lower()}{reason[1:]}; write one with numpy.save or numpy.savez"
        ) from None


def _fitting(one: Input, values: Array, where: str) -> Array:
    """An array in the type of its input.

    Raises:
        BindingError: it holds nothing, no real numbers, NaN, infinity, or other numbers than its
            type has.
    """
    import numpy as np

    name = f"{where}input {one.name!r}"
    if values.dtype.kind not in "fiub":
        raise BindingError(f"{name}: the array holds {values.dtype}, not real numbers")
    if not values.size:
        raise BindingError(f"{name}: the array of shape {list(values.shape)} holds nothing")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BindingError(f"{name}: the array holds NaN or infinity")
    if one.dtype is None:
        return values
    dtype = np.dtype(one.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is found below
        result: Array = values.astype(dtype)
    if dtype.kind in "iub" and not np.array_equal(values, result):
        raise BindingError(f"{name} is {dtype}, and the array holds other numbers")
    if dtype.kind == "f" and not np.isfinite(result).all():
        raise BindingError(f"{name} is {dtype}, and the array holds numbers beyond its range")
    return result


def per_chunk(one: Input, values: Array, chunks: int) -> tuple[Array, bool]:
    """An array, and whether its first axis counts chunks.

    Raises:
        BindingError: its shape is neither that of the input nor that with chunks in front.
    """
    shape = one.shape
    if shape is None or (values.ndim == len(shape) and _matches(values.shape, shape)):
        return values, False
    if values.ndim == len(shape) + 1 and _matches(values.shape[1:], shape):
        if values.shape[0] == chunks:
            return values, True
        raise BindingError(
            f"input {one.name!r}: the array has {values.shape[0]} chunks of shape "
            f"{list(values.shape[1:])}, not {chunks}: give --chunks {values.shape[0]}"
        )
    wanted = ", ".join("any" if d is None else str(d) for d in shape)
    raise BindingError(
        f"input {one.name!r} is [{wanted}] (with --chunks, one axis more in front), and the array "
        f"is {list(values.shape)}"
    )


def _matches(given: tuple[int, ...], shape: tuple[int | None, ...]) -> bool:
    return all(d is None or d == g for g, d in zip(given, shape, strict=True))
