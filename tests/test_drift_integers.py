"""``int8-emulated``: 8-bit products of GRU and RNN, as ONNX Runtime has them for LSTM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numerics_models import layer_model, model_of, weights
from onnx import TensorProto, helper, numpy_helper
from test_drift import drift_in, in_a_branch, states_of

import rnncost
from rnncost.along_time.drift import precisions
from rnncost.along_time.drift.integers import as_bytes, in_integers
from rnncost.along_time.drift.model import PRECISIONS, PrecisionDrift
from rnncost.errors import MeasurementError
from rnncost.runtime.quantize import quantize_dynamic

STEPS, ROWS, INPUTS, UNITS = 120, 3, 6, 10
DIRECTIONS = ["forward", "reverse", "bidirectional"]
Feed = dict[str, np.ndarray]


def run(model: onnx.ModelProto, feed: Feed) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found: list[np.ndarray] = session.run(None, feed)
    return found


def calm_weights(cell: str, directions: int = 1) -> Feed:
    """Weights whose 8-bit products never exceed 16 bits two by two.

    ONNX Runtime's kernels for x86 CPUs without VNNI lose what does.
    """
    stored = weights(cell, INPUTS, UNITS, directions)
    stored.pop("P", None)
    for name in "WR":
        stored[name] = stored[name].clip(-0.5, 0.5)
        stored[name][:, 0, :2] = (1.0, 0.0)
    return stored


def layer(
    cell: str,
    stored: Feed,
    direction: str,
    more: tuple[str, ...] = (),
    *,
    seed: int = 4,
    **attributes: Any,
) -> tuple[onnx.ModelProto, Feed]:
    """A model, and what it is fed."""
    both = len(stored["W"])
    draw = np.random.default_rng(seed)
    feed = {"X": draw.standard_normal((STEPS, ROWS, INPUTS)).astype(np.float32)}
    if "sequence_lens" in more:
        feed["sequence_lens"] = np.array([STEPS - 20, 50, 1], np.int32)
        feed["X"][50:, 1] *= 2  # padding of one row counts for the range of X
        feed["X"][-20:] *= 10  # but not that of all
    for name in ("initial_h", "initial_c"):
        if name in more:
            feed[name] = draw.standard_normal((both, ROWS, UNITS)).astype(np.float32)
    model = layer_model(
        cell,
        stored,
        {name: value.shape for name, value in feed.items()},
        ("Y", "Y_h", "Y_c")[: 3 if cell == "LSTM" else 2],
        direction=direction,
        hidden_size=UNITS,
        **attributes,
    )
    return model, feed


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("more", [(), ("sequence_lens",), ("initial_h", "initial_c")])
def test_an_lstm_so_emulated_is_the_one_that_onnxruntime_quantises(
    direction: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    """At every step, also after rows have ended: ONNX Runtime's own kernel is the judge.

    A value between two bytes may fall the other way, and the difference dies away again.
    """
    stored = weights("LSTM", INPUTS, UNITS, 1 + (direction == "bidirectional"))
    del stored["P"]
    model, _ = layer("LSTM", stored, direction, more)
    onnx.save(model, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    real = onnx.load(tmp_path / "int8.onnx")
    assert [node.op_type for node in real.graph.node] == ["DynamicQuantizeLSTM"]
    emulated = in_integers(model).model
    near = []
    for seed in range(4):
        _, feed = layer("LSTM", stored, direction, more, seed=seed)
        expected = run(real, feed)
        for ours, theirs in zip(run(emulated, feed), expected, strict=True):
            near.append(np.abs(ours - theirs) < 1e-6)
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-2)
        y = near[-3]
        assert y[:10].all()
        assert np.mean(np.abs(run(model, feed)[0] - expected[0]) < 1e-6) < 0.7
    assert np.mean(np.concatenate([one.ravel() for one in near])) > 0.97


def test_weights_are_quantised_as_by_onnxruntime(tmp_path: Path) -> None:
    stored = weights("LSTM", INPUTS, UNITS, 2)
    stored["R"][1] = 0
    del stored["P"]
    model, _ = layer("LSTM", stored, "bidirectional")
    onnx.save(model, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    graph = onnx.load(tmp_path / "int8.onnx").graph
    found = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    node = graph.node[0]
    for name, at in (("W", 1), ("R", 2)):
        for number in range(2):
            whole, scale = as_bytes(stored[name][number])
            assert np.array_equal(whole, found[node.input[at]][number].T)
            if whole.any():
                assert scale == found[node.input[8 + 2 * (at - 1)]].reshape(2)[number]


def as_uint8(x: np.ndarray) -> np.ndarray:
    """DynamicQuantizeLinear of ONNX and back: one range for all values, with 0 in it."""
    low, high = np.float32(min(x.min(), 0)), np.float32(max(x.max(), 0))
    if low == high:
        return np.zeros_like(x, dtype=np.float64)
    scale = np.float32((high - low) / np.float32(255))
    zero = np.clip(np.rint(-low / scale), 0, 255)
    whole = np.clip(np.rint(x.astype(np.float32) / scale) + zero, 0, 255) - zero
    return whole * np.float64(scale)


def as_int8(w: np.ndarray) -> np.ndarray:
    scale = np.float32(np.abs(w).max() / np.float32(127))
    return np.rint(w / scale).astype(np.float64) * np.float64(scale)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(
    cell: str, stored: Feed, number: int, x: np.ndarray, h: np.ndarray, linear: bool
) -> np.ndarray:
    """One direction in float64, x [T, B, I] in the order of its steps."""
    w, r = as_int8(stored["W"][number]), as_int8(stored["R"][number])
    b_w, b_r = np.split(stored["B"][number].astype(np.float64), 2)
    fed = as_uint8(x) @ w.T + b_w
    last = slice(2 * UNITS, None)
    found = []
    for now in fed:
        back = as_uint8(h) @ r.T + b_r
        if cell == "GRU":
            z, reset = np.split(sigmoid((now + back)[:, : 2 * UNITS]), 2, axis=1)
            through = as_uint8(reset * h) @ r[last].T + b_r[last]
            inner = reset * back[:, last] if linear else through
            h = (1 - z) * np.tanh(now[:, last] + inner) + z * h
        else:
            h = np.tanh(now + back)
        found.append(h)
    return np.array(found)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("start", [(), ("initial_h",)])
@pytest.mark.parametrize(
    ("cell", "attributes"),
    [("GRU", {"linear_before_reset": 0}), ("GRU", {"linear_before_reset": 1}), ("RNN", {})],
)
def test_gru_and_rnn_beside_their_equations(
    cell: str, attributes: dict[str, int], start: tuple[str, ...], direction: str
) -> None:
    stored = calm_weights(cell, 1 + (direction == "bidirectional"))
    model, feed = layer(cell, stored, direction, start, **attributes)
    made = in_integers(model).model
    assert "MatMulInteger" in str(made.graph)
    y, y_h = run(made, feed)
    for number, way in enumerate(DIRECTIONS[:2] if len(stored["W"]) == 2 else [direction]):
        turn = slice(None, None, -1 if way == "reverse" else 1)
        h = feed["initial_h"][number] if start else np.zeros((ROWS, UNITS))
        linear = bool(attributes.get("linear_before_reset"))
        expected = by_hand(cell, stored, number, feed["X"][turn], h.astype(np.float64), linear)
        # A value between two bytes may fall the other way, and the difference dies away again.
        near = np.isclose(y[turn, number], expected, rtol=0, atol=2e-6)
        assert near.mean() > 0.9
        assert near[:3].all()
        np.testing.assert_allclose(y[turn, number], expected, rtol=0, atol=2e-2)
        assert np.array_equal(y_h[number], y[turn, number][-1])


def test_what_8_bits_hold_does_not_drift() -> None:
    """A GRU of one unit: its weights, x and the only state are whole multiples of their scales."""
    stored = {
        "W": np.float32([[[0.5], [-0.25], [1.27]]]) / np.float32(1.27),
        "R": np.float32([[[0.6], [-0.3], [0.6]]]),
        "B": np.zeros((1, 6), np.float32),
    }
    stored["W"] = np.rint(stored["W"] * 127).astype(np.float32) / np.float32(127)
    stored["R"] = np.float32([[[127], [-64], [127]]]) / np.float32(127)
    x = np.random.default_rng(0).integers(-128, 128, (80, 1, 1)).astype(np.float32)
    x[:2, 0, 0] = (-128, 127)
    for linear in (0, 1):
        model = layer_model(
            "GRU", stored, {"X": x.shape}, hidden_size=1, linear_before_reset=linear
        )
        h = states_of(drift_in("int8-emulated", model, data=x / np.float32(128)))["h"]
        assert h.exact or h.snr_db > 110


def test_a_ring_of_ones_and_zeros_does_not_drift() -> None:
    """R shifts the units by one: the state has values 0 and 1 alone."""
    stored = {
        "W": np.eye(8, dtype=np.float32)[None],
        "R": np.roll(np.eye(8, dtype=np.float32), 1, axis=0)[None],
    }
    x = np.zeros((100, 1, 8), np.float32)
    x[0, 0, :3] = 1
    model = layer_model("RNN", stored, {"X": x.shape}, hidden_size=8, activations=["Relu"])
    h = states_of(drift_in("int8-emulated", model, data=x))["h"]
    assert h.length == 100
    assert h.exact or h.snr_db > 110


def plain(cell: str, **attributes: Any) -> onnx.ModelProto:
    stored = weights(cell, 4, 8)
    stored.pop("P", None)
    return layer_model(cell, stored, {"X": ("T", 1, 4)}, hidden_size=8, **attributes)


def compared(model: Any, names: tuple[str, ...], **options: Any) -> dict[str, PrecisionDrift]:
    result = rnncost.numerics(model, precisions=names, **options)
    assert result.drift is not None
    return {one.precision: one for one in result.drift.precisions}


@pytest.mark.parametrize("cell", ["GRU", "RNN"])
def test_it_comes_with_int8_and_says_what_it_is(cell: str) -> None:
    result = rnncost.numerics(plain(cell), dims={"T": 30}, precisions=("bf16", "int8", "qdq"))
    assert result.drift is not None
    found = {one.precision: one for one in result.drift.precisions}
    assert list(found) == ["bf16", "int8", "int8-emulated", "qdq"]
    real, emulated = found["int8"], found["int8-emulated"]
    assert (real.method, emulated.method) == ("ONNX Runtime", "emulated")
    assert states_of(real)["h"].exact
    assert 15 < states_of(emulated)["h"].snr_db < 60
    assert emulated.layers[0].runs_as == f"{cell}, emulated"
    assert (real.in_float, emulated.in_float) == ([f"layer ({cell})"], [])
    assert "emulated in 8 bits, as DynamicQuantizeLSTM does" in emulated.notes[0]
    assert f"the products of 1 {cell}" in emulated.notes[0]
    # W and R with a byte a weight.
    gates = {"GRU": 3, "RNN": 1}[cell]
    assert real.bytes - emulated.bytes == 3 * gates * 8 * (4 + 8)
    rows = [line.split() for line in str(result).splitlines() if "int8-emulated" in line]
    assert rows[0][:2] == ["int8-emulated", "emulated"]
    told = json.loads(json.dumps(result.to_dict()))["drift"]["precisions"][2]
    assert (told["precision"], told["method"]) == ("int8-emulated", "emulated")


def test_every_precision_has_a_colour_of_its_own() -> None:
    pytest.importorskip("bokeh")
    from rnncost.webpage.drift_chart import COLOURS

    assert list(COLOURS) == list(PRECISIONS)
    assert len(set(COLOURS.values())) == len(PRECISIONS)


def test_it_comes_once_and_only_where_it_is_needed() -> None:
    gru = compared(plain("GRU"), ("int8-emulated", "int8"), dims={"T": 9})
    assert list(gru) == ["int8-emulated", "int8"]
    assert list(compared(plain("GRU"), ("int8-emulated",), dims={"T": 9})) == ["int8-emulated"]
    assert list(compared(plain("GRU"), ("qdq",), dims={"T": 9})) == ["qdq"]
    assert list(compared(plain("LSTM"), ("int8",), dims={"T": 9})) == ["int8"]
    asked = compared(plain("LSTM"), ("int8-emulated",), dims={"T": 9})["int8-emulated"]
    assert "quantises all of its recurrent layers" in asked.reason


def test_without_an_int8_model_nothing_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MeasurementError("no such tool")

    monkeypatch.setattr(precisions, "quantize_dynamic", refuse)
    found = compared(plain("GRU"), ("int8", "fp32"), dims={"T": 9})
    assert {name: one.reason for name, one in found.items()} == {"int8": "no such tool", "fp32": ""}
    asked = compared(plain("GRU"), ("int8-emulated",), dims={"T": 9})["int8-emulated"]
    assert asked.reason == "no such tool"


def test_a_quantised_lstm_before_a_gru_is_the_real_one() -> None:
    """The GRU reads what DynamicQuantizeLSTM gives."""
    first, second = weights("LSTM", 4, 8), weights("GRU", 8, 8, seed=1)
    stored = {f"{name}1": first[name] for name in "WRB"}
    stored |= {f"{name}2": second[name] for name in "WRB"}
    nodes = [
        helper.make_node("LSTM", ["X", "W1", "R1", "B1"], ["a"], name="low", hidden_size=8),
        helper.make_node("Squeeze", ["a", "axis"], ["b"]),
        helper.make_node("GRU", ["b", "W2", "R2", "B2"], ["Y"], name="high", hidden_size=8),
    ]
    stored["axis"] = np.array([1])
    model = model_of(nodes, {"X": (TensorProto.FLOAT, ("T", 1, 4))}, ("Y",), stored)
    found = compared(model, ("int8",), dims={"T": 60})
    real, emulated = found["int8"].layers, found["int8-emulated"].layers
    assert [one.runs_as for one in real] == ["DynamicQuantizeLSTM", "GRU"]
    assert [one.runs_as for one in emulated] == ["DynamicQuantizeLSTM", "GRU, emulated"]
    assert emulated[0].states == real[0].states
    assert emulated[1].states[0].snr_db < real[1].states[0].snr_db - 1


@pytest.mark.parametrize("weights_inside", [True, False])
@pytest.mark.parametrize("cell", ["GRU", "LSTM"])
def test_in_a_branch_it_drifts_as_outside(cell: str, weights_inside: bool) -> None:
    """An LSTM whose weights stand outside the branch is left in 32 bits, and emulated too."""
    x = np.random.default_rng(0).standard_normal((30, 1, 4)).astype(np.float32)
    outside = compared(plain(cell), ("int8",), data={"X": x})
    branch = in_a_branch(cell, weights_inside=weights_inside)
    inside = compared(branch, ("int8",), data={"X": x, "flag": np.array(True)})
    assert ("int8-emulated" in inside) == (cell == "GRU" or not weights_inside)
    for name, state in states_of(list(inside.values())[-1]).items():
        expected = states_of(list(outside.values())[-1])[name]
        assert state.withheld == ""
        assert state.curve_snr_db == pytest.approx(expected.curve_snr_db, abs=0.05)


@pytest.mark.parametrize("linear", [0, 1])
def test_chunk_after_chunk_is_the_whole(linear: int) -> None:
    """With the same range of X in every chunk; states go on in 32 bits."""
    stored = weights("GRU", 4, 8)
    shapes: dict[str, tuple[Any, ...]] = {"X": ("T", 1, 4), "initial_h": (1, 1, 8)}
    model = layer_model(
        "GRU", stored, shapes, ("Y", "Y_h"), hidden_size=8, linear_before_reset=linear
    )
    x = np.random.default_rng(0).uniform(-1, 1, (12, 5, 1, 4)).astype(np.float32)
    x[:, 0, 0, :2] = (-1, 1)
    whole = states_of(drift_in("int8-emulated", model, data={"X": x.reshape(60, 1, 4)}))["h"]
    found = drift_in("int8-emulated", model, data={"X": x}, chunks=12)
    parts = states_of(found)["h"]
    assert parts.length == 60
    assert parts.curve_snr_db == pytest.approx(whole.curve_snr_db, abs=0.01)
    assert [(output.name, output.along) for output in found.outputs] == [
        ("Y", "chunk"),
        ("Y_h", "chunk"),
    ]


def test_an_older_model_is_brought_to_a_version_that_quantises() -> None:
    model = plain("GRU")
    expected = states_of(drift_in("int8-emulated", model, dims={"T": 20}))["h"]
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 10))
    assert states_of(drift_in("int8-emulated", model, dims={"T": 20}))["h"] == expected


def test_its_latency_is_that_of_8_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnncost.profiles.folders import shipped_files

    name = "x86-64-server-core"
    text = shipped_files()[name].read_text(encoding="utf-8").replace(f"name: {name}", "name: host")
    (tmp_path / "host.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("RNNCOST_PROFILES", str(tmp_path))
    found = drift_in("int8-emulated", plain("GRU"), dims={"T": 30})
    report = rnncost.analyze(plain("GRU"), dims={"T": 30}, profiles=("host",), precision="int8")
    assert found.latency_s == report.estimates[0].latency_s


def test_both_reasons_are_told_where_float16_and_its_emulation_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MeasurementError("the tool gives up")

    def cannot(*_: Any, **__: Any) -> None:
        raise MeasurementError("types are unknown")

    monkeypatch.setattr(precisions, "to_float16", refuse)
    monkeypatch.setattr(precisions, "rounded", cannot)
    found = compared(plain("GRU"), ("fp16",), dims={"T": 9})["fp16"]
    assert "fails: the tool gives up; and it cannot be emulated: types are unknown" in found.reason
