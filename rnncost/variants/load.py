"""A model as an ``onnx.ModelProto`` with its weights, ready to be changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Union

from rnncost.errors import ModelFileError, VariantError
from rnncost.frontends.onnx.read import read_model

if TYPE_CHECKING:
    import onnx


def load_for_change(model: Union[str, Path, onnx.ModelProto]) -> onnx.ModelProto:
    """Load a model with its weights, those in external files too.

    Raises:
        ModelFileError: the file is missing, damaged or not an ONNX model, or the files of
            its weights are missing.
        VariantError: it is a PyTorch module or export, which has to become ONNX first.
    """
    if not isinstance(model, (str, Path)):
        if not hasattr(model, "SerializeToString"):
            raise VariantError(
                f"variants are made of ONNX models, not of {type(model).__name__}: "
                "export it with torch.onnx.export first"
            )
        return model
    path = os.fspath(model)
    if path.endswith((".pt2", ".pt", ".pth")):
        raise VariantError(
            f"variants are made of ONNX models: export {path} with torch.onnx.export first"
        )
    read_model(path)  # its messages say what is wrong with a file
    import onnx

    try:
        return onnx.load(path)
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelFileError(f"{path}: its weights cannot be read: {reason}") from None


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its local functions put in the place of their calls."""
    if not model.functions:
        return model
    from onnx import inliner

    return inliner.inline_local_functions(model)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ai.onnx that a model is written in."""
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    return int(versions[0]) if versions else 1
