"""A PyTorch module, factory or exported program as an ONNX model in memory.

Exporting runs the module, so a .pt2 file, which anybody can write, is not exported.

PyTorch's TorchScript-based exporter is used, because it needs no further package and
writes each recurrent layer as one LSTM, GRU or RNN operator. Torch is imported by the
functions, not by this module.
"""

from __future__ import annotations

import inspect
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.errors import BindingError, ModelError, ModuleError
from rnncost.frontends.torch.archive import refuse_pickle
from rnncost.frontends.torch.factory import describe
from rnncost.frontends.torch.load import (
    followable,
    import_torch,
    load_module,
    made_by_factory,
)
from rnncost.graph.source import Request

if TYPE_CHECKING:
    from rnncost.frontends.torch.inputs import Fed, Feed

OPSET = 17


class Exported(msgspec.Struct, frozen=True):
    """A serialised ONNX model, and the values of its free dimensions, named ``input.axis``."""

    model: bytes
    dims: Mapping[str, int]


def export_onnx(model: Any, inputs: Any, request: Request) -> Exported:
    """One call of a module as an ONNX model.

    The axes of inputs stay free, but for the last one of floating-point inputs (features);
    none do where PyTorch cannot export the module so, or of a program.

    Args:
        model: a ``torch.nn.Module``, ``"package.module:factory"`` or an ``ExportedProgram``.
        inputs: as for ``load_module``; of a program, its own example inputs are taken.
        request: shapes and values of inputs that ``inputs`` does not give.

    Raises:
        ModelError: the model is a file, which would have to be run.
        BindingError: the request binds dimensions, which an export has none of.
        ModuleError: inputs are missing, or PyTorch cannot export the module.
        RuntimeUnavailableError: PyTorch is not installed.
    """
    name = model if isinstance(model, str) else type(model).__name__
    if name.endswith((".pt", ".pth")):
        raise refuse_pickle(name)
    if name.endswith(".pt2"):
        raise ModelError(
            f"{name} would have to be run to become ONNX, and files of others are not run: "
            "export the module with torch.onnx.export and give the .onnx file"
        )
    if request.dims:
        raise BindingError(
            f"{name} is exported to ONNX with the shapes of its inputs, so no dimension "
            f"{next(iter(request.dims))!r} is free: give --shape in place of --dim"
        )
    import_torch()
    import torch

    if isinstance(model, torch.export.ExportedProgram):
        if model.example_inputs is None:
            raise ModuleError("the program has no example inputs: export the module with some")
        args, kwargs = model.example_inputs
        return Exported(_exported(model.module(), args, kwargs, {}), {})
    if isinstance(model, str):
        model, inputs = made_by_factory(model)
    module = followable(model)
    fed = _fed(module, inputs, request)
    if any(parameter.is_meta for parameter in module.parameters()):
        import copy

        module = copy.deepcopy(module).to_empty(device="cpu")
    named: dict[str, Any] = {"input_names": [one.label for one in fed.feeds]}
    axes = {one.label: _free_axes(one) for one in fed.feeds}
    try:
        free = _exported(module, fed.args, fed.kwargs, {**named, "dynamic_axes": axes})
    except ModuleError:
        return Exported(_exported(module, fed.args, fed.kwargs, named), {})
    sizes = {name: one.tensor.shape[n] for one in fed.feeds for n, name in _free_axes(one).items()}
    return Exported(free, sizes)


def _free_axes(one: Feed) -> dict[int, str]:
    """The axes of an input that stay free, each with its name."""
    rank = one.tensor.dim()
    kept = rank - 1 if one.tensor.is_floating_point() and rank > 1 else rank
    return {axis: f"{one.label}.{axis}" for axis in range(kept)}


def _fed(module: Any, inputs: Any, request: Request) -> Fed:
    """Real tensors for a call of the module, indices where it needs them."""
    from rnncost.frontends.torch.inputs import arguments, feed

    # Following the module settles which inputs hold indices, and whether it runs at all.
    graph = load_module(module, inputs, request).graph
    integers = {tensor.name for tensor in graph.inputs if tensor.dtype.startswith("int")}
    given = arguments(module, inputs, request)
    return feed(given, real=True, integers=integers, device="cpu")


def _exported(
    module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], named: Mapping[str, Any]
) -> bytes:
    import torch

    stream = io.BytesIO()
    options: dict[str, Any] = {"opset_version": OPSET, **named}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False
    # The last argument stands for those by keyword; a program's module refuses train().
    options["training"] = torch.onnx.TrainingMode.PRESERVE
    try:
        with _quiet(), _evaluating(module), torch.no_grad():
            torch.onnx.export(module, (*args, dict(kwargs)), stream, **options)
    except Exception as error:  # the exporter raises whatever the module or an operator does
        raise ModuleError(
            f"PyTorch cannot export {type(module).__name__} to ONNX, which its variants are made "
            f"of: {describe(error)}; export it yourself and compare the .onnx file"
        ) from error
    return stream.getvalue()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings and logs away from the user.

    It writes the graph of what it cannot export to the process's stdout, past Python's.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    stdout = os.dup(1)
    try:
        with warnings.catch_warnings(), open(os.devnull, "wb") as nowhere:
            warnings.simplefilter("ignore")
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        logging.disable(before)


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Evaluation mode for a block; then every submodule as it was."""
    before = [(one, one.training) for one in module.modules()]
    for one, _ in before:
        one.__dict__["training"] = False
    try:
        yield
    finally:
        for one, training in before:
            one.__dict__["training"] = training
