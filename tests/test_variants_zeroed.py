"""A smaller variant computes what its model does whose other units have weights of zero."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from variant_graphs import GATES, Builder, run

from rnncost.variants import Change, rewrite

UNI = Change(direction="uni")


def zeroed(model: onnx.ModelProto, *, uni: bool, hidden: int) -> onnx.ModelProto:
    """The model with the weights of what a variant leaves out at zero: it then gives zeros."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    stored = {tensor.name: tensor for tensor in changed.graph.initializer}
    for node in changed.graph.node:
        gates = GATES.get(node.op_type, 0)
        rows = {1: gates, 2: gates, 3: 2 * gates, 7: 3} if gates else {}
        for index, blocks in rows.items():
            if index >= len(node.input) or not node.input[index]:
                continue
            tensor = stored[node.input[index]]
            array = numpy_helper.to_array(tensor).copy()
            units = array.reshape(array.shape[0], blocks, -1, *array.shape[2:])
            units[:, :, hidden:] = 0
            if index == 2:
                units[..., hidden:] = 0
            if uni:
                array[1:] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return changed


def with_everything(op: str, directions: int) -> onnx.ModelProto:
    """Lengths, states in and out, and for an LSTM peepholes."""
    b = Builder(seed=3)
    x, lengths = b.input("x", ["T", "B", 4]), b.input("lengths", ["B"], TensorProto.INT32)
    states = ["h", "c"] if op == "LSTM" else ["h"]
    extra = [lengths, *(b.input(f"{s}0", [directions, "B", 6]) for s in states)]
    if op == "LSTM":
        extra.append(b.weight(directions, 18))
    outputs = ["Y", *(f"{s}n" for s in states)]
    direction = "bidirectional" if directions == 2 else "forward"
    b.layer(op, x, 4, 6, direction=direction, extra=extra, outputs=outputs)
    b("MatMul", b.flat("Y", directions), b.weight(6 * directions, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    for name in outputs[1:]:
        b.output(name, [directions, "B", 6])
    return b.model()


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    ("directions", "change"),
    [(1, Change(hidden_size=4)), (2, Change(hidden_size=4)), (2, UNI)],
    ids=["units", "units of both", "direction"],
)
def test_what_is_left_out_counts_as_zero(op: str, directions: int, change: Change) -> None:
    """Lengths, peepholes and states are those of the units that stay."""
    model = with_everything(op, directions)
    kept, hidden = 1 if change.direction else directions, change.hidden_size or 6
    rng = np.random.default_rng(0)
    given = {
        "x": rng.standard_normal((7, 2, 4)).astype(np.float32),
        "lengths": np.array([7, 3], np.int32),
    }
    states = ("h0", "c0") if op == "LSTM" else ("h0",)
    full = {name: np.zeros((directions, 2, 6), np.float32) for name in states}
    for state in full.values():
        state[:kept, :, :hidden] = rng.standard_normal((kept, 2, hidden))
    due = run(zeroed(model, uni=kept < directions, hidden=hidden), None, **given, **full)
    cut = {name: state[:kept, :, :hidden] for name, state in full.items()}
    got = run(rewrite(model, change).model, None, **given, **cut)
    np.testing.assert_allclose(got["y"], due["y"], atol=1e-5)
    for name in set(due) - {"y"}:
        np.testing.assert_allclose(got[name], due[name][:kept, :, :hidden], atol=1e-5)
