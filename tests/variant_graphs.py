"""Small ONNX graphs with recurrent layers, written node by node, for the tests of variants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rnncost.analysis import analyze
from rnncost.report.model import Totals
from rnncost.runtime.inputs import make_inputs
from rnncost.runtime.session import create_session

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
Shape = Sequence[int | str]


class Builder:
    """A graph under construction: ``builder("Relu", "x")`` adds a node and names its output."""

    def __init__(self, opset: int = 17, seed: int = 0, prefix: str = "") -> None:
        self.prefix = prefix
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.random = np.random.default_rng(seed)

    def input(self, name: str, shape: Shape, dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, list(shape)))
        return name

    def output(self, name: str, shape: Shape, dtype: int = TensorProto.FLOAT) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def weight(self, *shape: int) -> str:
        array = self.random.standard_normal(shape).astype(np.float32) / 4
        return self.tensor(array)

    def ints(self, *values: int) -> str:
        return self.tensor(np.array(values, np.int64))

    def tensor(self, array: np.ndarray[Any, Any]) -> str:
        name = f"{self.prefix}k{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(array, name))
        return name

    def __call__(self, op: str, *inputs: str, outputs: Sequence[str] = (), **attrs: Any) -> str:
        made = list(outputs) or [f"{self.prefix}v{len(self.nodes)}"]
        name = f"{self.prefix}{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, made, name=name, **attrs))
        return made[0]

    def layer(
        self,
        op: str,
        x: str,
        size: int,
        hidden: int,
        *,
        direction: str = "forward",
        extra: Sequence[str] = (),
        outputs: Sequence[str] = (),
        **attrs: Any,
    ) -> str:
        """A recurrent node; ``extra`` are its inputs from sequence_lens on."""
        both = 2 if direction == "bidirectional" else 1
        rows = GATES[op] * hidden
        weights = (self.weight(both, rows, size), self.weight(both, rows, hidden))
        bias = self.weight(both, 2 * rows)
        if op == "GRU":
            attrs.setdefault("linear_before_reset", 1)
        return self(
            op, x, *weights, bias, *extra, outputs=outputs, hidden_size=hidden,
            direction=direction, **attrs,
        )  # fmt: skip

    def flat(self, y: str, directions: int) -> str:
        """Y [T, D, B, H] as [T, B, D·H], as exporters write it."""
        if directions == 1:
            return self("Squeeze", y, self.ints(1))
        return self("Reshape", self("Transpose", y, perm=[0, 2, 1, 3]), self.ints(0, 0, -1))

    def model(self, ir_version: int = 9) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "g", self.inputs, self.outputs, self.stored)
        opset = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=ir_version)
        onnx.checker.check_model(model)
        return model


def run(
    model: onnx.ModelProto, dims: dict[str, int] | None = None, **values: Any
) -> dict[str, np.ndarray[Any, Any]]:
    """The outputs of a run in ONNX Runtime, with inputs made up where none is given."""
    session = create_session(model.SerializeToString())
    inputs = make_inputs(session, dims=dims, values=values)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def shapes(
    model: onnx.ModelProto, dims: dict[str, int] | None = None
) -> dict[str, tuple[int, ...]]:
    """The shapes of the outputs of a run, each of finite numbers."""
    results = run(model, dims)
    assert all(np.isfinite(result).all() for result in results.values())
    return {name: result.shape for name, result in results.items()}


def totals(model: onnx.ModelProto, dims: dict[str, int] | None = None) -> Totals:
    report = analyze(model, dims=dims, symbolic=False)
    assert report.uncounted == []
    return report.totals


def op_types(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def declared(info: onnx.ValueInfoProto) -> list[int | str]:
    """The declared shape of an input or output."""
    return [d.dim_param or d.dim_value for d in info.type.tensor_type.shape.dim]
