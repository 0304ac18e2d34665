"""``rnncost.numerics`` with precisions: networks whose drift is known beforehand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import onnx
import pytest
from numerics_models import layer_model, linear_rnn, model_of, weights
from onnx import TensorProto, helper, numpy_helper

import rnncost
from rnncost.along_time import Numerics
from rnncost.along_time.drift.model import LayerDrift, PrecisionDrift, StateDrift
from rnncost.errors import BindingError

AFFINE = {"activations": ["Affine"], "activation_alpha": [1.0], "activation_beta": [0.0]}


def drift_in(precision: str, model: Any, **options: Any) -> PrecisionDrift:
    result = rnncost.numerics(model, precisions=(precision,), **options)
    json.dumps(result.to_dict(), allow_nan=False)
    assert str(result)
    assert result.drift is not None
    found = {one.precision: one for one in result.drift.precisions}
    assert [one.reason for one in found.values()] == [""] * len(found)
    return found[precision]


def states_of(found: PrecisionDrift, number: int = 0) -> dict[str, StateDrift]:
    layer = found.layers[number]
    assert layer.reason == ""
    return {state.state: state for state in layer.states}


def all_states(result: Numerics) -> list[tuple[LayerDrift, StateDrift]]:
    assert result.drift is not None
    return [
        (layer, state)
        for one in result.drift.precisions
        for layer in one.layers
        for state in layer.states
    ]


def random_layer(cell: str, direction: str = "forward", **attributes: Any) -> onnx.ModelProto:
    directions = 2 if direction == "bidirectional" else 1
    stored = weights(cell, 4, 8, directions)
    stored.pop("P", None)
    return layer_model(
        cell, stored, {"X": ("T", 2, 4)}, direction=direction, hidden_size=8, **attributes
    )


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_a_model_beside_itself_does_not_drift(cell: str, direction: str) -> None:
    found = drift_in("fp32", random_layer(cell, direction), dims={"T": 40})
    ways = ["forward", "reverse"] if direction == "bidirectional" else [direction]
    assert [layer.direction for layer in found.layers] == ways
    for layer in found.layers:
        assert [state.state for state in layer.states] == ["h", "c"][: 1 + (cell == "LSTM")]
        for state in layer.states:
            assert state.exact
            assert state.withheld == ""
            assert state.length == 40
            assert (state.snr_db, state.rms_error, state.growth) == (None, 0.0, None)
            assert (state.first_below, state.first_not_finite) == (None, None)
            assert state.curve_rms_error == [0.0] * 40
    assert all(output.exact and output.max_error == 0 for output in found.outputs)


@pytest.mark.parametrize("precision", ["int8", "qdq"])
def test_a_layer_that_stays_in_float_is_told_and_does_not_drift(precision: str) -> None:
    """ONNX Runtime quantises no GRU."""
    found = drift_in(precision, random_layer("GRU"), dims={"T": 20})
    assert states_of(found)["h"].exact
    assert found.in_float == ["layer (GRU)"]
    assert found.layers[0].runs_as == "GRU"


def counter(step: float, radius: float = 1.0) -> onnx.ModelProto:
    """h(t) = radius·h(t - 1) + step·x, of one unit."""
    stored = {
        "W": np.full((1, 1, 1), step, np.float32),
        "R": np.full((1, 1, 1), radius, np.float32),
    }
    return layer_model("RNN", stored, {"X": ("T", 1, 1)}, hidden_size=1, **AFFINE)


def test_a_counter_that_leaks_is_linear() -> None:
    """Its weight 0.1 becomes 0.0999755859375 in float16: an error of so much more each step."""
    x = np.ones((300, 1, 1), np.float32)
    found = drift_in("fp16", counter(0.1), data=x)
    h = states_of(found)["h"]
    leak = 0.1 - float(np.float16(0.1))
    assert found.method == "ONNX Runtime"
    assert h.growth is not None
    assert h.growth.kind == "linear"
    # What is returned is rounded to float16 too: at most half a unit in the last place of 30.
    assert h.growth.parameters["b"] == pytest.approx(leak, rel=0.1)
    assert h.last_rms_error == pytest.approx(300 * leak, abs=2**-7 + 1e-6)


def lstm_counter() -> onnx.ModelProto:
    """c(t) = c(t - 1) + W·x and h = c: gates are open wide, functions of the state linear.

    Another unit has a weight that sets the scale of the 8 bits.
    """
    stored = {
        "W": np.zeros((1, 8, 1), np.float32),
        "R": np.zeros((1, 8, 2), np.float32),
        "B": np.zeros((1, 16), np.float32),
    }
    stored["W"][0, 6:, 0] = (0.1, 1.0)
    stored["R"][0, 7, 1] = 1e-3
    stored["B"][0, :6] = 40.0
    functions = {
        "activations": ["Sigmoid", "Affine", "Affine"],
        "activation_alpha": [1.0, 1.0],
        "activation_beta": [0.0, 0.0],
    }
    return layer_model("LSTM", stored, {"X": ("T", 1, 1)}, hidden_size=2, **functions)


def test_an_lstm_that_counts_leaks_linearly_in_8_bits() -> None:
    """0.1 is 12.7 or 12.75 steps of the weights' scale, and the rounding is added each step."""
    found = drift_in("int8", lstm_counter(), data=np.ones((200, 1, 1), np.float32))
    assert found.layers[0].runs_as == "DynamicQuantizeLSTM"
    for state in states_of(found).values():
        assert state.growth is not None
        assert state.growth.kind == "linear"
        assert state.growth.parameters["b"] > 1e-4


def test_the_error_of_a_contracting_network_is_bounded() -> None:
    """e(t) = 0.9·e(t - 1) + leak goes to 10 leaks, with a time constant of -1 / ln 0.9."""
    x = np.ones((200, 1, 1), np.float32)
    found = drift_in("fp16", counter(0.1, 0.75), data=x)
    h = states_of(found)["h"]
    radius = 0.75
    leak = 0.1 - float(np.float16(0.1))
    assert h.growth is not None
    assert h.growth.kind == "bounded"
    assert h.growth.parameters["a"] == pytest.approx(leak / (1 - radius), rel=0.2)


@pytest.mark.parametrize(("precision", "radius"), [("fp16", 1.0625), ("fp16", 1.25), ("bf16", 2.0)])
def test_the_error_of_an_expanding_network_is_geometric(precision: str, radius: float) -> None:
    """An error at the first step is multiplied by the radius, which 16 bits hold exactly.

    bf16 is rounded at each step: only doubling adds no further error.
    """
    x = np.zeros((40, 1, 1), np.float32)
    x[0] = 1.0
    found = drift_in(precision, counter(0.1, radius), data=x)
    h = states_of(found)["h"]
    assert h.growth is not None
    assert h.growth.kind == "geometric"
    assert h.growth.parameters["g"] == pytest.approx(radius, rel=0.04)
    assert h.first_below is None


def test_the_first_step_below_a_limit() -> None:
    """The reference decays and the quantised unit is stuck at a step of its own format."""
    x = np.zeros((60, 1, 1), np.float32)
    x[0] = 1.0
    found = drift_in("bf16", counter(0.1, 0.9), data=x, limit_db=30.0, step_period_s=0.01, seed=1)
    h = states_of(found)["h"]
    by_hand = next(
        (
            n
            for n, ratio in zip(h.steps, h.curve_snr_db, strict=True)
            if ratio is not None and ratio < 30
        ),
        None,
    )
    assert by_hand is not None
    assert h.first_below == by_hand
    assert h.first_below_s == pytest.approx(0.01 * by_hand)


def test_a_state_that_overflows_is_told() -> None:
    found = drift_in("fp16-emulated", counter(1.0, 2.0), data=np.ones((40, 1, 1), np.float32))
    h = states_of(found)["h"]
    assert h.first_not_finite == 16  # 2^16 - 1 is beyond 65504
    assert h.first_below == 16
    assert h.snr_db is None
    assert h.last_rms_error is None


def dynamic_bytes(x: np.ndarray) -> np.ndarray:
    low, high = np.float32(min(x.min(), 0)), np.float32(max(x.max(), 0))
    scale = (high - low) / np.float32(255)
    zero = np.rint(-low / scale)
    return ((np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale).astype(np.float64)


def test_int8_is_what_dynamic_quantisation_does() -> None:
    """Held against the definition in NumPy: weights symmetric by tensor, x and h as they come."""
    units, inputs, steps = 8, 4, 60
    stored = weights("LSTM", inputs, units, scale=0.6)
    del stored["P"]
    model = layer_model("LSTM", stored, {"X": (steps, 1, inputs)}, hidden_size=units)
    x = np.random.default_rng(3).standard_normal((steps, 1, inputs)).astype(np.float32)
    states = states_of(drift_in("int8", model, data=x))

    def bits(w: np.ndarray) -> np.ndarray:
        scale = np.float32(np.abs(w).max() / 127)
        return np.rint(w / scale) * scale.astype(np.float64)

    def run(quantised: bool) -> dict[str, np.ndarray]:
        w, r, b = (stored[name][0].astype(np.float64) for name in "WRB")
        xs = x[:, 0].astype(np.float64)
        if quantised:
            w, r, xs = bits(stored["W"][0]), bits(stored["R"][0]), dynamic_bytes(x[:, 0])
        h, c = np.zeros(units), np.zeros(units)
        found: dict[str, list[np.ndarray]] = {"h": [], "c": []}
        for t in range(steps):
            before = h
            if quantised and h.any():
                before = dynamic_bytes(h.astype(np.float32))
            a = w @ xs[t] + r @ before + b[: 4 * units] + b[4 * units :]
            i, o, f, g = np.split(a, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            found["h"].append(h)
            found["c"].append(c)
        return {name: np.array(values) for name, values in found.items()}

    ours, theirs = run(False), run(True)
    for name, state in states.items():
        signal = (ours[name] ** 2).sum(1)
        error = ((theirs[name] - ours[name]) ** 2).sum(1)
        expected = 10 * np.log10(signal / error)
        assert np.median(np.abs(expected - np.array(state.curve_snr_db))) < 0.1
        assert state.snr_db == pytest.approx(10 * math.log10(signal.sum() / error.sum()), abs=0.3)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def streaming(cell: str = "LSTM") -> onnx.ModelProto:
    stored = weights(cell, 4, 8)
    stored.pop("P", None)
    shapes: dict[str, tuple[Any, ...]] = {"X": ("T", 1, 4), "initial_h": (1, 1, 8)}
    outputs: tuple[str, ...] = ("Y", "Y_h")
    if cell == "LSTM":
        shapes["initial_c"] = (1, 1, 8)
        outputs += ("Y_c",)
    return layer_model(cell, stored, shapes, outputs, hidden_size=8)


@pytest.mark.parametrize("precision", ["fp16-emulated", "bf16"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_chunks_drift_as_the_whole_does(cell: str, precision: str) -> None:
    """Each model goes on from its own states, which are rounded already."""
    x = np.random.default_rng(0).standard_normal((60, 1, 4)).astype(np.float32)
    whole = states_of(drift_in(precision, streaming(cell), data={"X": x}))
    parts = drift_in(precision, streaming(cell), data={"X": x.reshape(12, 5, 1, 4)}, chunks=12)
    for name, state in states_of(parts).items():
        assert state.length == 60
        assert state.curve_snr_db == pytest.approx(whole[name].curve_snr_db, abs=0.05)
    assert [output.state for output in parts.outputs] == [False, True, True][: len(parts.outputs)]
    for output in parts.outputs:
        assert output.along == "chunk"
        assert output.by_step is not None
        assert len(output.by_step.curve_snr_db) == 12


def test_outputs_along_their_axis_of_time() -> None:
    """The output is h itself, so its figures are those of the layer."""
    found = drift_in("bf16", random_layer("GRU"), dims={"T": 30})
    (output,) = found.outputs
    h = states_of(found)["h"]
    assert output.along == "axis 0"
    assert output.by_step is not None
    assert output.by_step.curve_snr_db == pytest.approx(h.curve_snr_db, abs=1e-3)
    assert output.snr_db == pytest.approx(h.snr_db, abs=1e-3)
    # Of two axes of the same length none is taken.
    (same,) = drift_in("bf16", random_layer("GRU"), dims={"T": 8}).outputs
    assert (same.along, same.by_step) == ("", None)


def in_a_branch(cell: str = "LSTM", *, weights_inside: bool = True) -> onnx.ModelProto:
    stored = weights(cell, 4, 8)
    names = ["X", "W", "R", "B"]
    layer = helper.make_node(cell, names, ["inner"], name="layer", hidden_size=8)
    other = helper.make_node("Neg", ["else_in"], ["outer"])
    tensors = [numpy_helper.from_array(stored[name], name) for name in names[1:]]
    start = helper.make_node("Constant", [], ["else_in"], value_float=1.0)
    infos = {
        n: helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("inner", "outer")
    }
    node = helper.make_node(
        "If",
        ["flag"],
        ["Y"],
        name="choice",
        then_branch=helper.make_graph(
            [layer], "then", [], [infos["inner"]], tensors if weights_inside else []
        ),
        else_branch=helper.make_graph([start, other], "else", [], [infos["outer"]]),
    )
    inputs = {"flag": (TensorProto.BOOL, ()), "X": (TensorProto.FLOAT, ("T", 1, 4))}
    outside = {} if weights_inside else {name: stored[name] for name in names[1:]}
    return model_of([node], inputs, ("Y",), outside)


@pytest.mark.parametrize("precision", ["int8", "qdq", "fp16", "fp16-emulated", "bf16"])
def test_a_layer_in_a_branch_drifts_as_outside(precision: str) -> None:
    x = np.random.default_rng(0).standard_normal((30, 1, 4)).astype(np.float32)
    stored = weights("LSTM", 4, 8)
    del stored["P"]
    plain = layer_model("LSTM", stored, {"X": ("T", 1, 4)}, hidden_size=8)
    outside = states_of(drift_in(precision, plain, data={"X": x}))
    inside = states_of(drift_in(precision, in_a_branch(), data={"X": x, "flag": np.array(True)}))
    for name, state in inside.items():
        assert state.withheld == outside[name].withheld
        if not state.withheld:
            assert state.length == 30
            # In float16, values that go into and come out of the branch are rounded once more.
            near = 6.0 if precision == "fp16" else 0.5
            assert state.snr_db == pytest.approx(outside[name].snr_db, abs=near)


def test_what_is_left_in_float_in_a_branch_is_told() -> None:
    """ONNX Runtime's tool does not look for the weights in the graph around it."""
    x = np.random.default_rng(0).standard_normal((30, 1, 4)).astype(np.float32)
    data = {"X": x, "flag": np.array(True)}
    found = drift_in("int8", in_a_branch(weights_inside=False), data=data)
    assert states_of(found)["h"].exact
    assert found.in_float == ["layer (LSTM)"]


def test_a_branch_that_is_not_taken_is_told() -> None:
    x = np.zeros((3, 1, 4), np.float32)
    found = drift_in("bf16", in_a_branch(), data={"X": x, "flag": np.array(False)})
    assert "was not run" in found.layers[0].reason


def test_stacked_layers_and_every_precision_in_one_result() -> None:
    first, second = weights("LSTM", 4, 8, seed=0), weights("LSTM", 8, 6, seed=1)
    stored = {f"{n}{k}": w[n] for k, w in enumerate((first, second)) for n in "WRB"}
    squeezed = np.array([1], np.int64)
    nodes = [
        helper.make_node("LSTM", ["X", "W0", "R0", "B0"], ["Y0"], name="one", hidden_size=8),
        helper.make_node("Squeeze", ["Y0", "axes"], ["Z"]),
        helper.make_node("LSTM", ["Z", "W1", "R1", "B1"], ["Y"], name="two", hidden_size=6),
    ]
    model = model_of(
        nodes, {"X": (TensorProto.FLOAT, ("T", 2, 4))}, ("Y",), {**stored, "axes": squeezed}
    )
    names = ("int8", "qdq", "fp16", "fp16-emulated", "bf16", "fp32")
    result = rnncost.numerics(model, dims={"T": 50}, precisions=names)
    assert result.drift is not None
    assert [one.precision for one in result.drift.precisions] == list(names)
    by_name = {one.precision: one for one in result.drift.precisions}
    for one in by_name.values():
        assert [layer.name for layer in one.layers] == ["one", "two"]
        assert one.reason == ""
    assert by_name["int8"].in_float == []
    assert by_name["qdq"].in_float == ["one (LSTM)", "two (LSTM)"]
    ratios = {name: states_of(one, 1)["h"].snr_db for name, one in by_name.items()}
    assert ratios["fp32"] is None
    assert ratios["qdq"] is None  # nothing else could be quantised
    assert ratios["int8"] < ratios["bf16"] < ratios["fp16-emulated"]
    sizes = {name: one.bytes for name, one in by_name.items()}
    assert sizes["fp32"] == result.drift.bytes
    assert sizes["bf16"] == sizes["fp16-emulated"]
    floats = sum(tensor.size for name, tensor in stored.items())
    assert sizes["fp32"] - sizes["bf16"] == 2 * floats
    for layer, state in all_states(result):
        assert state.length == 50, layer


def test_what_is_wrong_is_refused() -> None:
    model = linear_rnn(0.5)
    with pytest.raises(BindingError, match=r"no precision 'int9'.*int8"):
        rnncost.numerics(model, dims={"T": 5}, precisions=("int9",))
    with pytest.raises(BindingError, match="must be dB"):
        rnncost.numerics(model, dims={"T": 5}, precisions=("int8",), limit_db=math.nan)
    with pytest.raises(BindingError, match="weights_only"):
        rnncost.numerics(model, dims={"T": 5}, precisions=("int8",), weights_only=True)


def test_a_precision_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnncost.along_time.drift import precisions
    from rnncost.errors import MeasurementError

    def refuse(*_: Any, **__: Any) -> None:
        raise MeasurementError("no such luck")

    monkeypatch.setattr(precisions, "quantize_dynamic", refuse)
    monkeypatch.setattr(precisions, "to_float16", refuse)
    result = rnncost.numerics(random_layer("LSTM"), dims={"T": 9}, precisions=("int8", "fp16"))
    assert result.drift is not None
    failed, emulated = result.drift.precisions
    assert failed.reason == "no such luck"
    assert emulated.method == "emulated"
    assert any("no such luck" in note for note in emulated.notes)
    assert "int8: no such luck" in str(result)


def test_a_crash_of_the_runtime_ends_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnncost.runtime import quantize

    monkeypatch.setattr(quantize, "_LOAD", "import os; os.abort()")
    found = drift_in("fp16", random_layer("GRU"), dims={"T": 9})
    assert found.method == "emulated"
    assert any("crashes while it loads the model (signal 6)" in note for note in found.notes)


def test_a_layer_without_a_counterpart_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnncost.along_time.drift import measure

    monkeypatch.setattr(measure, "matching", lambda before, after: {})
    found = drift_in("int8", random_layer("LSTM"), dims={"T": 9})
    assert "only the outputs of the model are compared" in found.layers[0].reason
    assert found.outputs[0].snr_db is not None
