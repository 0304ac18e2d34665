"""Small models and budget files for the tests of budgets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

EXAMPLE = Path(__file__).parent.parent / "examples" / "keyword_spotter.onnx"
TOML_HEADER = "[tool.rnncost.models.'*.onnx']\n"


def product(path: Path, width: int, *, rows: int | str = 4, depth: int = 10) -> Path:
    """A product of ``rows`` x ``depth`` by ``depth`` x ``width``: every count is theirs."""
    weight = numpy_helper.from_array(np.ones((depth, width), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, depth])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, width])],
        [weight],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def mystery(path: Path) -> Path:
    """A model with an operator that nobody knows."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    node = helper.make_node("Mystery", ["x"], ["y"], domain="acme")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1)]
    graph = helper.make_graph([node], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def lines_of(error: Exception) -> str:
    """The message of an error, which is one line."""
    text = str(error)
    assert text
    assert "\n" not in text
    return text
