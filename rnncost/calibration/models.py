"""Small ONNX models to time: one operator each, with made-up weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from rnncost.latency.onnxruntime_cpu.layers import Layer

OPSET = 17
IR_VERSION = 8
MICROSOFT = "com.microsoft"

_INT8_DEVIATION = 58.0
"""Standard deviation of whole numbers drawn evenly from -100 to 100."""

_OP_TYPES = {
    "lstm": "LSTM",
    "gru": "GRU",
    "gru_linear": "GRU",
    "rnn": "RNN",
    "lstm_int8": "DynamicQuantizeLSTM",
}


def recurrent_model(layer: Layer) -> bytes:
    """A model of one recurrent node with biases, all steps as its output.

    X [T, B, I]  ->  Y [T, D, B, H], float32.
    """
    import numpy as np
    from onnx import TensorProto, helper

    d, h, n = layer.directions, layer.hidden, layer.columns
    attributes: dict[str, Any] = {
        "hidden_size": h,
        "direction": "bidirectional" if d == 2 else "forward",
    }
    weights = {"B": np.zeros((d, 2 * n), dtype=np.float32)}
    if layer.cell == "lstm_int8":
        weights["W"] = _values((d, layer.inputs, n), np.int8)
        weights["R"] = _values((d, h, n), np.int8)
        for name in ("W", "R"):
            deviation = _INT8_DEVIATION * math.sqrt(weights[name].shape[1])
            weights[f"{name}_scale"] = np.full((d,), 1 / deviation, dtype=np.float32)
            weights[f"{name}_zero"] = np.zeros((d,), dtype=np.int8)
        inputs = ["X", "W", "R", "B", "", "", "", "", "W_scale", "W_zero", "R_scale", "R_zero"]
    else:
        weights["W"] = _values((d, n, layer.inputs), np.float32)
        weights["R"] = _values((d, n, h), np.float32)
        inputs = ["X", "W", "R", "B"]
    if layer.cell == "gru_linear":
        attributes["linear_before_reset"] = 1
    node = helper.make_node(
        _OP_TYPES[layer.cell],
        inputs,
        ["Y"],
        name="layer",
        domain=MICROSOFT if layer.cell == "lstm_int8" else "",
        **attributes,
    )
    shapes = ([layer.steps, layer.rows, layer.inputs], [layer.steps, d, layer.rows, h])
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip("XY", shapes, strict=True)
    )
    return one_graph([node], [x], [y], weights)


def one_graph(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, Any]
) -> bytes:
    """A model of these nodes, as bytes."""
    from onnx import helper, numpy_helper

    stored = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, stored)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(model.SerializeToString())


def _values(shape: tuple[int, ...], dtype: type[Any]) -> np.ndarray[Any, Any]:
    """Random values, repeated from a small block: large weights are made in no time.

    Floats have the deviation 1 / sqrt(depth), as in trained networks: some activation
    functions take longer for large values.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    if dtype is np.int8:
        block: np.ndarray[Any, Any] = generator.integers(-100, 101, 4099, dtype=np.int8)
    else:
        block = generator.standard_normal(4099, dtype=np.float32) / math.sqrt(shape[-1])
    return np.resize(block.astype(dtype), shape)
