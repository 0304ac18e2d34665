"""Recurrent ONNX models of a given shape, built node by node for the tests of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def network(
    layers: Sequence[tuple[str, int, int]],
    *,
    inputs: int = 20,
    steps: int | str = "frames",
    rows: int | str = "batch",
    classes: int = 5,
    states: bool = False,
    stride: int = 1,
    half: bool = False,
) -> onnx.ModelProto:
    """A stack of ``(cell, hidden size, directions)`` over x [steps, rows, inputs] and a Gemm.

    With ``states``, the states of each layer are inputs and outputs of the model; with
    ``stride``, only every so many steps of x reach the layers; ``half`` is all in float16.
    """
    dtype, element = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
    rng = np.random.default_rng(7)
    nodes: list[Any] = []
    weights: list[Any] = []
    ends: list[Any] = [helper.make_tensor_value_info("x", element, [steps, rows, inputs])]
    results: list[Any] = []

    def weight(name: str, *shape: int) -> str:
        values = rng.uniform(-0.1, 0.1, shape).astype(dtype)
        weights.append(numpy_helper.from_array(values, name))
        return name

    weights.append(numpy_helper.from_array(np.array([0, 0, -1], np.int64), "flat"))
    weights.append(numpy_helper.from_array(np.array(-1, np.int64), "last"))
    x, width = "x", inputs
    if stride > 1:
        for name, value in (("start", 0), ("end", 1 << 30), ("axis", 0), ("stride", stride)):
            weights.append(numpy_helper.from_array(np.array([value], np.int64), name))
        cut = ["x", "start", "end", "axis", "stride"]
        nodes.append(helper.make_node("Slice", cut, ["strided"], name="strided"))
        x = "strided"
    for number, (cell, hidden, directions) in enumerate(layers):
        name, gates = f"layer{number}", GATES[cell]
        arguments = [
            x,
            weight(f"{name}.W", directions, gates * hidden, width),
            weight(f"{name}.R", directions, gates * hidden, hidden),
            weight(f"{name}.B", directions, 2 * gates * hidden),
        ]
        outputs = [f"{name}.Y"]
        if states:
            kinds = ("h", "c") if cell == "LSTM" else ("h",)
            shape = [directions, rows, hidden]
            befores = [f"{name}.{kind}" for kind in kinds]
            afters = [f"{name}.{kind}.next" for kind in kinds]
            ends += [helper.make_tensor_value_info(n, element, shape) for n in befores]
            results += [helper.make_tensor_value_info(n, element, shape) for n in afters]
            arguments += ["", *befores]
            outputs += afters
        nodes.append(
            helper.make_node(
                cell,
                arguments,
                outputs,
                name=name,
                hidden_size=hidden,
                direction="bidirectional" if directions == 2 else "forward",
                **({"linear_before_reset": 1} if cell == "GRU" else {}),
            )
        )
        nodes.append(helper.make_node("Transpose", [outputs[0]], [f"{name}.t"], perm=[0, 2, 1, 3]))
        nodes.append(helper.make_node("Reshape", [f"{name}.t", "flat"], [f"{name}.out"]))
        x, width = f"{name}.out", directions * hidden
    nodes.append(helper.make_node("Gather", [x, "last"], ["summary"], axis=0))
    head = [weight("head.W", classes, width), weight("head.B", classes)]
    nodes.append(helper.make_node("Gemm", ["summary", *head], ["y"], name="head", transB=1))
    results.append(helper.make_tensor_value_info("y", element, [rows, classes]))
    graph = helper.make_graph(nodes, "network", ends, results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model
