"""Build keyword_spotter.onnx, the model that the README analyses.

A recogniser of twelve spoken commands, of a usual size for its task, with one layer of
each kind that rnncost contrasts: an LSTM, a bidirectional LSTM and a GRU over 40 mel
features a frame. Its weights are random from a fixed seed: it shows costs, not accuracy.

    python examples/build_keyword_spotter.py [OUTPUT.onnx]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES, LSTM_HIDDEN, BILSTM_HIDDEN, GRU_HIDDEN, COMMANDS = 40, 64, 48, 64, 12


def build() -> onnx.ModelProto:
    """Return the model: features [batch, frames, 40] -> probabilities [batch, 12]."""
    rng = np.random.default_rng(20240501)
    initializers: list[TensorProto] = []

    def weight(name: str, *shape: int) -> str:
        bound = 1.0 / np.sqrt(shape[-1])
        values = rng.uniform(-bound, bound, shape).astype(np.float32)
        initializers.append(numpy_helper.from_array(values, name))
        return name

    def constant(name: str, values: list[int]) -> str:
        initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def recurrent(op: str, name: str, x: str, inputs: int, hidden: int, directions: int) -> str:
        gates = {"LSTM": 4, "GRU": 3}[op]
        attributes = {"linear_before_reset": 1} if op == "GRU" else {}
        nodes.append(
            helper.make_node(
                op,
                [
                    x,
                    weight(f"{name}.W", directions, gates * hidden, inputs),
                    weight(f"{name}.R", directions, gates * hidden, hidden),
                    weight(f"{name}.B", directions, 2 * gates * hidden),
                ],
                [f"{name}.Y"],
                name=name,
                hidden_size=hidden,
                direction="bidirectional" if directions == 2 else "forward",
                **attributes,
            )
        )
        return f"{name}.Y"

    nodes: list[onnx.NodeProto] = []
    first_axis = constant("first_axis", [1])
    both = constant("frames_batch_features", [0, 0, -1])

    nodes.append(helper.make_node("Transpose", ["features"], ["time_major"], perm=[1, 0, 2]))
    y = recurrent("LSTM", "lstm", "time_major", FEATURES, LSTM_HIDDEN, 1)
    nodes.append(helper.make_node("Squeeze", [y, first_axis], ["lstm.out"]))
    y = recurrent("LSTM", "bilstm", "lstm.out", LSTM_HIDDEN, BILSTM_HIDDEN, 2)
    nodes.append(helper.make_node("Transpose", [y], ["bilstm.swapped"], perm=[0, 2, 1, 3]))
    nodes.append(helper.make_node("Reshape", ["bilstm.swapped", both], ["bilstm.out"]))
    y = recurrent("GRU", "gru", "bilstm.out", 2 * BILSTM_HIDDEN, GRU_HIDDEN, 1)
    nodes.append(helper.make_node("Squeeze", [y, first_axis], ["gru.out"]))
    last = numpy_helper.from_array(np.array(-1, np.int64), "last_frame")
    initializers.append(last)
    nodes.append(helper.make_node("Gather", ["gru.out", "last_frame"], ["summary"], axis=0))
    nodes.append(
        helper.make_node(
            "Gemm",
            ["summary", weight("head.weight", COMMANDS, GRU_HIDDEN), weight("head.bias", COMMANDS)],
            ["logits"],
            name="head",
            transB=1,
        )
    )
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=1))

    graph = helper.make_graph(
        nodes,
        "keyword_spotter",
        [
            helper.make_tensor_value_info(
                "features", TensorProto.FLOAT, ["batch", "frames", FEATURES]
            )
        ],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", COMMANDS])],
        initializers,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="rnncost-examples"
    )
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    default = Path(__file__).with_name("keyword_spotter.onnx")
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    path.write_bytes(build().SerializeToString(deterministic=True))
    print(f"{path} ({path.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
