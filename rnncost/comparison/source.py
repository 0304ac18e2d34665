"""The model that is compared, as ONNX: its variants are rewritten ONNX models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rnncost.analysis import is_factory, request_of
from rnncost.errors import BindingError, ModelError


class OnnxModel(msgspec.Struct, frozen=True, kw_only=True):
    """An ONNX model (the path of its file, or an ``onnx.ModelProto``) and what it is called.

    ``dims``, ``shapes`` and ``values`` are what is still to be bound. ``name`` is empty for a
    model that is called after its file.
    """

    model: Any
    dims: Mapping[str, int]
    shapes: Mapping[str, Iterable[int]]
    values: Mapping[str, Any]
    name: str = ""
    warnings: tuple[str, ...] = ()


def as_onnx(
    model: Any,
    inputs: Any,
    *,
    dims: Mapping[str, int],
    shapes: Mapping[str, Iterable[int]],
    values: Mapping[str, Any],
    folder: str,
) -> OnnxModel:
    """A model as ONNX; what PyTorch has is exported to a file in ``folder``.

    Raises:
        BindingError: inputs are given for what takes none.
        ModelError: it is no model, or PyTorch cannot export it.
        RuntimeUnavailableError: PyTorch is not installed.
    """
    if not _is_torch(model):
        if inputs:
            raise BindingError("inputs are those of a torch.nn.Module: give shapes or values")
        if not isinstance(model, (str, Path)) and not hasattr(model, "SerializeToString"):
            raise ModelError(
                f"cannot compare an object of type {type(model).__name__}: give the path of an "
                ".onnx or .pt2 file, 'package.module:factory', an onnx.ModelProto, a "
                "torch.nn.Module or an ExportedProgram"
            )
        return OnnxModel(model=model, dims=dims, shapes=shapes, values=values)
    from rnncost.frontends.torch.export import export_onnx

    path = Path(folder, "exported.onnx")
    given = str(model) if isinstance(model, Path) else model
    name = given if isinstance(given, str) else type(given).__name__
    request = request_of(dims, shapes, values)
    exported = export_onnx(given, inputs, request)
    path.write_bytes(exported.model)
    return OnnxModel(
        model=path,
        dims=exported.dims,
        shapes={},
        values=values,
        name=name,
        warnings=(
            f"{name} was exported to ONNX with PyTorch's exporter, as its variants are rewritten "
            "ONNX models: figures are those of the exported model",
        ),
    )


def _is_torch(model: Any) -> bool:
    if isinstance(model, (str, Path)):
        return str(model).endswith((".pt2", ".pt", ".pth")) or is_factory(str(model))
    return any(base.__module__.partition(".")[0] == "torch" for base in type(model).__mro__)
