"""Small recurrent ONNX models with every attribute, for the tests of ``rnncost.numerics``."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OPSET = 17


def weights(
    cell: str, inputs: int, units: int, directions: int = 1, *, seed: int = 0, scale: float = 0.5
) -> dict[str, Array]:
    """Random W, R, B and, for an LSTM, P."""
    draw = np.random.default_rng(seed)
    rows = GATES[cell] * units

    def drawn(*shape: int) -> Array:
        return (scale * draw.standard_normal(shape)).astype(np.float32)

    found = {
        "W": drawn(directions, rows, inputs),
        "R": drawn(directions, rows, units),
        "B": drawn(directions, 2 * rows),
    }
    if cell == "LSTM":
        found["P"] = drawn(directions, 3 * units)
    return found


ORDER = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
DTYPES = {"sequence_lens": TensorProto.INT32}


def layer_model(
    cell: str,
    stored: dict[str, Array],
    given: dict[str, tuple[Any, ...]],
    outputs: tuple[str, ...] = ("Y",),
    *,
    domain: str = "",
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one recurrent operator.

    ``stored`` are its inputs that the model stores, ``given`` the shapes of those that are
    inputs of the model, both by ONNX's names.
    """
    lstm = "LSTM" in cell
    names = [name if name in stored or name in given else "" for name in ORDER]
    names = names if lstm else names[:6]
    while not names[-1]:
        names.pop()
    made = [name if name in outputs else "" for name in ("Y", "Y_h", "Y_c")[: 3 if lstm else 2]]
    while not made[-1]:
        made.pop()
    node = helper.make_node(cell, names, made, name="layer", domain=domain, **attributes)
    return model_of(
        [node],
        {name: (DTYPES.get(name, TensorProto.FLOAT), shape) for name, shape in given.items()},
        outputs,
        stored,
    )


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, tuple[Any, ...] | None]],
    outputs: tuple[str, ...],
    stored: dict[str, Array] | None = None,
    functions: tuple[onnx.FunctionProto, ...] = (),
) -> onnx.ModelProto:
    """A checked model of some nodes; outputs are of single precision and any shape."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *info) for name, info in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (stored or {}).items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    opsets += [helper.make_opsetid("own", 1)] if functions else []
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=functions)


def pinned_lstm(forget: float, units: int = 3, inputs: int = 2) -> dict[str, Array]:
    """Weights of an LSTM whose forget gate is the same at every step."""
    found = weights("LSTM", inputs, units, scale=0.3)
    rows = slice(2 * units, 3 * units)  # the gates are i, o, f, c
    found["W"][:, rows] = 0
    found["R"][:, rows] = 0
    found["B"][:, rows] = np.log(forget / (1 - forget))
    found["B"][:, 4 * units + rows.start : 4 * units + rows.stop] = 0
    del found["P"]
    return found


def pinned_gru(update: float, units: int = 3, inputs: int = 2) -> dict[str, Array]:
    """Weights of a GRU whose update gate is the same at every step."""
    found = weights("GRU", inputs, units, scale=0.3)
    found["W"][:, :units] = 0
    found["R"][:, :units] = 0
    found["B"][:, :units] = np.log(update / (1 - update))
    found["B"][:, 3 * units : 4 * units] = 0
    return found


def linear_rnn(radius: float, units: int = 6, inputs: int = 2) -> onnx.ModelProto:
    """h = x·W + R·h with R a rotation times ``radius``: every eigenvalue has that magnitude."""
    found = weights("RNN", inputs, units)
    rotation, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((units, units)))
    found["R"] = (radius * rotation[None]).astype(np.float32)
    return layer_model(
        "RNN",
        found,
        {"X": ("T", 1, inputs)},
        hidden_size=units,
        activations=["Affine"],
        activation_alpha=[1.0],
        activation_beta=[0.0],
    )
