"""The model that is looked at, as ONNX: what PyTorch has is exported first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time.nodes import bodies
from rnncost.analysis import is_factory, request_of
from rnncost.errors import BindingError, ModelError, ModelFileError

if TYPE_CHECKING:
    import numpy as np
    import onnx


_MOST_IN_MEMORY = 1 << 30
"""Bytes of weights outside the model's file that are read into it."""


class OnnxModel(msgspec.Struct, frozen=True, kw_only=True):
    """An ONNX model, what it is called, and what of it is settled.

    ``proto`` may keep its weights in files in ``folder``. ``path`` is that of its file, None
    for a model in memory. ``dims``, ``shapes`` and ``values`` are still to be bound; ``given``
    are elements of inputs that came with a PyTorch module, by input, and ``sizes`` the free
    dimensions that each input of such a module has.
    """

    proto: onnx.ModelProto
    path: Path | None
    folder: Path | None
    name: str
    dims: Mapping[str, int]
    shapes: Mapping[str, Iterable[int]]
    values: Mapping[str, Any]
    given: Mapping[str, np.ndarray[Any, Any]] = {}
    sizes: Mapping[str, Mapping[str, int]] = {}
    warnings: tuple[str, ...] = ()


def as_onnx(
    model: Any,
    inputs: Any,
    *,
    dims: Mapping[str, int] | None,
    shapes: Mapping[str, Iterable[int]] | None,
    values: Mapping[str, Any] | None,
) -> OnnxModel:
    """A model as ONNX.

    Raises:
        BindingError: inputs or dimensions are given for what takes none.
        ModelError: it is no model, or PyTorch cannot export it.
        ModelFileError: the file is missing, damaged or not an ONNX model.
        RuntimeUnavailableError: PyTorch is not installed.
    """
    if _is_torch(model):
        return _exported(model, inputs, dims, shapes, values)
    if len(inputs):
        raise BindingError("inputs are those of a torch.nn.Module: give data by name")
    path = Path(model) if isinstance(model, (str, Path)) else None
    if path is not None:
        proto = _read(path)
    elif hasattr(model, "SerializeToString"):
        proto = model
    else:
        raise ModelError(
            f"cannot look at an object of type {type(model).__name__}: give the path of an .onnx "
            "file, 'package.module:factory', an onnx.ModelProto, a torch.nn.Module or an "
            "ExportedProgram"
        )
    return OnnxModel(
        proto=_prepared(proto),
        path=path,
        folder=None if path is None else path.resolve().parent,
        name=str(path) if path is not None else proto.graph.name or "model",
        dims=dims or {},
        shapes=shapes or {},
        values=values or {},
    )


def _is_torch(model: Any) -> bool:
    if isinstance(model, (str, Path)):
        return str(model).endswith((".pt2", ".pt", ".pth")) or is_factory(str(model))
    return any(base.__module__.partition(".")[0] == "torch" for base in type(model).__mro__)


def _read(path: Path) -> onnx.ModelProto:
    from rnncost.frontends.onnx.read import read_model

    read_model(path)  # its messages say what is wrong with a file
    import onnx

    try:
        proto = onnx.load(path, load_external_data=False)
        # In memory they are found by every version of ONNX Runtime.
        if _external_bytes(proto.graph) <= _MOST_IN_MEMORY:
            onnx.load_external_data_for_model(proto, str(path.resolve().parent))
        return proto
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelFileError(f"{path}: its weights cannot be read: {reason}") from None


def _external_bytes(graph: onnx.GraphProto) -> int:
    """The size of the weights that lie in files of their own."""
    from onnx import TensorProto, helper

    total = 0
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            total += (
                math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            )
    return total + sum(_external_bytes(body) for node in graph.node for _, body in bodies(node))


def _prepared(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A model without functions of its own, whose recurrent operators have time first."""
    from rnncost.along_time.layout import time_first

    if proto.functions:
        from onnx import inliner

        proto = inliner.inline_local_functions(proto)
    return time_first(proto)


def _exported(
    model: Any,
    inputs: Any,
    dims: Mapping[str, int] | None,
    shapes: Mapping[str, Iterable[int]] | None,
    values: Mapping[str, Any] | None,
) -> OnnxModel:
    import onnx

    from rnncost.frontends.torch.export import export_onnx
    from rnncost.frontends.torch.load import made_by_factory

    given = str(model) if isinstance(model, Path) else model
    name = given if isinstance(given, str) else type(given).__name__
    request = request_of(dims, shapes, values)
    if isinstance(given, str) and is_factory(given):
        given, inputs = made_by_factory(given)
    _check_weights(given, name)
    exported = export_onnx(given, inputs, request)
    proto = onnx.load_model_from_string(exported.model)
    sizes: dict[str, dict[str, int]] = {}
    for dim, size in exported.dims.items():  # named after their input and axis
        sizes.setdefault(dim.rpartition(".")[0], {})[dim] = size
    return OnnxModel(
        proto=_prepared(proto),
        path=None,
        folder=None,
        name=name,
        dims={},
        shapes={},
        values={},
        given=_tensors(given, inputs, request, proto),
        sizes=sizes,
        warnings=(
            f"{name} was exported to ONNX with PyTorch's exporter: figures are those of the "
            "exported model",
        ),
    )


def _check_weights(model: Any, name: str) -> None:
    """Make sure that a module has weights: what is exported of a meta module is accidental.

    Raises:
        ModelError: it is on the meta device.
    """
    parameters = getattr(model, "parameters", None)
    if parameters is not None and any(one.is_meta for one in parameters()):
        raise ModelError(
            f"{name} is on the meta device, so it has no weights to look at: give one on the CPU"
        )


def _tensors(
    model: Any, inputs: Any, request: Any, proto: onnx.ModelProto
) -> dict[str, np.ndarray[Any, Any]]:
    """The elements that came with a module, by the name of the exported model's input."""
    import torch

    from rnncost.frontends.torch.inputs import arguments
    from rnncost.frontends.torch.load import followable

    names = {info.name for info in proto.graph.input}
    if isinstance(model, torch.export.ExportedProgram):
        return {}
    found: dict[str, np.ndarray[Any, Any]] = {}

    def note(label: str, value: Any) -> Any:
        if isinstance(value, torch.Tensor) and not value.is_meta and label in names:
            found[label] = value.detach().cpu().numpy()
        return value

    arguments(followable(model), inputs, request).mapped(note)
    return found
