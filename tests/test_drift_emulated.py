"""The rounding that is put into a model: equations beside ONNX Runtime's, values beside NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numerics_models import layer_model, model_of, weights
from onnx import TensorProto, helper

import rnncost
from rnncost.along_time.drift import rounding
from rnncost.along_time.drift.rounding import round_bf16, round_to, rounded

STEPS, ROWS, INPUTS, UNITS = 9, 3, 4, 5
OUTPUTS = {"LSTM": ("Y", "Y_h", "Y_c"), "GRU": ("Y", "Y_h"), "RNN": ("Y", "Y_h")}
ATTRIBUTES: dict[str, list[dict[str, Any]]] = {
    "LSTM": [
        {},
        {"clip": 0.5},
        {"input_forget": 1},
        {
            "activations": ["HardSigmoid", "ScaledTanh", "Softsign"],
            "activation_alpha": [0.3, 1.2],
            "activation_beta": [0.4, 0.7],
        },
    ],
    "GRU": [
        {},
        {"linear_before_reset": 1},
        {"clip": 0.5, "linear_before_reset": 1},
        {"activations": ["Sigmoid", "LeakyRelu"], "activation_alpha": [0.1]},
    ],
    "RNN": [
        {},
        {"activations": ["Relu"]},
        {"activations": ["Elu"], "activation_alpha": [0.5]},
        {"activations": ["ThresholdedRelu"], "activation_alpha": [0.2]},
        {"activations": ["Affine"], "activation_alpha": [0.5], "activation_beta": [0.1]},
        {"activations": ["Softplus"], "clip": 1.0},
    ],
}
CASES = [(cell, one) for cell, found in ATTRIBUTES.items() for one in found]


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, feed)
    return found


@pytest.fixture
def nothing_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(self: Any, value: str, result: str) -> list[onnx.NodeProto]:
        return [helper.make_node("Identity", [value], [result])]

    monkeypatch.setattr(rounding, "round_to", lambda values, narrow: values)
    monkeypatch.setattr(rounding._Work, "casts", same)


@pytest.mark.usefixtures("nothing_rounded")
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("cell", "attributes"), CASES)
@pytest.mark.parametrize("more", [(), ("sequence_lens",), ("initial_h", "initial_c", "P")])
def test_without_rounding_the_scans_are_the_operator(
    cell: str, attributes: dict[str, Any], direction: str, more: tuple[str, ...]
) -> None:
    both = 2 if direction == "bidirectional" else 1
    attributes = dict(attributes)
    for name in ("activations", "activation_alpha", "activation_beta"):
        if name in attributes:
            attributes[name] = list(attributes[name]) * both
    stored = weights(cell, INPUTS, UNITS, both)
    if "P" not in more:
        stored.pop("P", None)
    draw = np.random.default_rng(0)
    feed: dict[str, np.ndarray] = {
        "X": draw.standard_normal((STEPS, ROWS, INPUTS)).astype(np.float32)
    }
    if "sequence_lens" in more:
        feed["sequence_lens"] = np.array([9, 4, 1], np.int32)
    for name in ("initial_h", "initial_c")[: 2 if cell == "LSTM" else 1]:
        if name in more:
            feed[name] = draw.standard_normal((both, ROWS, UNITS)).astype(np.float32)
    model = layer_model(
        cell,
        stored,
        {name: value.shape for name, value in feed.items()},
        OUTPUTS[cell],
        direction=direction,
        hidden_size=UNITS,
        **attributes,
    )
    after = rounded(model, "bf16").model
    assert "Scan" in {node.op_type for node in after.graph.node}
    for ours, theirs in zip(run(after, feed), run(model, feed), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("narrow", ["fp16", "bf16"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_states_are_rounded_at_each_step(cell: str, narrow: Any) -> None:
    """The equations written out in NumPy, all that is stored rounded."""

    def near(values: np.ndarray) -> np.ndarray:
        return round_to(values.astype(np.float32), narrow).astype(np.float64)

    stored = weights(cell, INPUTS, UNITS)
    stored.pop("P", None)
    x = np.random.default_rng(2).standard_normal((60, 1, INPUTS)).astype(np.float32)
    w, r, b = (near(stored[name][0]) for name in "WRB")
    b_w, b_r = np.split(b, 2)
    h, c = np.zeros(UNITS), np.zeros(UNITS)
    expected = []
    for t in range(len(x)):
        fed, back = w @ near(x[t, 0]) + b_w, r @ h + b_r
        if cell == "LSTM":
            i, o, f, g = np.split(fed + back, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h, c = near(sigmoid(o) * np.tanh(c)), near(c)
        elif cell == "GRU":
            z, reset = (sigmoid(v) for v in np.split((fed + back)[: 2 * UNITS], 2))
            inner = r[2 * UNITS :] @ near(reset * h) + b_r[2 * UNITS :]
            h = near((1 - z) * np.tanh(fed[2 * UNITS :] + inner) + z * h)
        else:
            h = near(np.tanh(fed + back))
        expected.append(h)
    model = layer_model(cell, stored, {"X": (60, 1, INPUTS)}, hidden_size=UNITS)
    (y,) = run(rounded(model, narrow).model, {"X": x})
    got = y[:, 0, 0]
    assert np.array_equal(got, round_to(got, narrow))
    # A last bit may fall the other way where the order of a sum decides; it dies away again.
    same = np.isclose(got, np.array(expected), rtol=0, atol=1e-9)
    assert same.mean() > 0.9
    np.testing.assert_allclose(got, np.array(expected), atol=2e-2 if narrow == "bf16" else 2e-3)


@pytest.mark.parametrize("narrow", ["fp16", "bf16"])
def test_values_between_operators_are_rounded(narrow: Any) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["a"]),
        helper.make_node("Add", ["a", "x"], ["y"]),
    ]
    model = model_of(nodes, {"x": (TensorProto.FLOAT, (500,))}, ("y",), {"k": np.float32([1.234])})
    x = np.random.default_rng(0).standard_normal(500).astype(np.float32)

    def near(values: np.ndarray) -> np.ndarray:
        return round_to(values.astype(np.float32), narrow)

    (y,) = run(rounded(model, narrow).model, {"x": x})
    expected = near(near(near(x) * near(np.float32([1.234]))) + near(x))
    assert np.array_equal(y, expected)


def test_an_older_model_is_brought_to_a_version_with_bfloat16() -> None:
    model = layer_model("GRU", weights("GRU", 2, 3), {"X": ("T", 1, 2)}, hidden_size=3)
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 11))
    result = rnncost.numerics(model, dims={"T": 20}, precisions=("bf16", "fp16-emulated"))
    assert result.drift is not None
    coarse, fine = result.drift.precisions
    assert (coarse.reason, fine.reason) == ("", "")
    assert coarse.layers[0].states[0].snr_db < fine.layers[0].states[0].snr_db


SPECIAL = np.float32(
    [0, -0.0, 1, -1, 1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 3.4e38, 1e-40, -1e-45, 65520]
)


def test_bfloat16_by_hand() -> None:
    """Ties go to the even last bit of seven."""
    ties = np.float32([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, np.inf, -np.inf])
    expected = np.float32([1, 1 + 2**-6, 1 + 2**-7, np.inf, -np.inf])
    assert np.array_equal(round_bf16(ties), expected)
    assert np.isnan(round_bf16(np.float32([np.nan]))).all()
    assert np.isinf(round_bf16(np.float32([3.4e38]))).all()


@pytest.mark.torch
def test_bfloat16_is_that_of_torch() -> None:
    import torch

    draw = np.random.default_rng(0)
    bits = draw.integers(0, 1 << 32, 200_000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([bits[~np.isnan(bits)], SPECIAL])
    expected = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
    assert np.array_equal(round_bf16(values).view(np.uint32), expected.view(np.uint32))


@pytest.mark.torch
def test_an_exported_lstm_in_bfloat16_is_near_torch_in_bfloat16() -> None:
    """Torch's own kernel rounds in other places, so errors are only alike."""
    import torch

    torch.manual_seed(0)
    module = torch.nn.LSTM(4, 16)
    x = torch.randn(80, 1, 4)
    with torch.no_grad():
        exact = module(x)[0].numpy()
        other = module.bfloat16()(x.bfloat16())[0].float().numpy()
    module.float()
    torch.manual_seed(0)
    fresh = torch.nn.LSTM(4, 16)
    result = rnncost.numerics(fresh, (x,), precisions=("bf16",))
    assert result.drift is not None
    (state, _) = result.drift.precisions[0].layers[0].states
    expected = 10 * np.log10((exact**2).sum() / ((other - exact) ** 2).sum())
    assert state.snr_db == pytest.approx(expected, abs=6)
