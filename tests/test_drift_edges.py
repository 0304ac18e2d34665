"""Drift where it is easily told wrong: names, sizes, infinities, outputs without time, notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numerics_models import layer_model, model_of, weights
from onnx import TensorProto, helper, numpy_helper
from test_drift import all_states, drift_in, sigmoid, states_of
from test_drift_emulated import run

import rnncost
from rnncost.along_time.drift.growth import growth
from rnncost.along_time.drift.model import Drift, LayerDrift, PrecisionDrift, StateDrift
from rnncost.along_time.drift.panels import alone, panels
from rnncost.along_time.drift.plot import render_plot
from rnncost.along_time.drift.rounding import round_bf16, round_to, rounded
from rnncost.along_time.drift.series import Series
from rnncost.along_time.drift.tables import drift_figures, drift_tables
from rnncost.along_time.drift.timing import time_models
from rnncost.along_time.text import one_line
from rnncost.runtime.timing import Interleaved, Timing


def lstm(outputs: tuple[str, ...] = ("Y", "Y_h", "Y_c"), **attributes: Any) -> onnx.ModelProto:
    stored = weights("LSTM", 4, 8)
    del stored["P"]
    shape = (1, "T", 4) if attributes.get("layout") else ("T", 1, 4)
    return layer_model("LSTM", stored, {"X": shape}, outputs, hidden_size=8, **attributes)


@pytest.mark.parametrize("precision", ["fp32", "int8", "qdq", "fp16", "fp16-emulated", "bf16"])
def test_a_layer_without_a_name_is_found(precision: str) -> None:
    """The conversion to float16 gives a graph's outputs other names inside."""
    model = lstm()
    model.graph.node[0].name = ""
    found = drift_in(precision, model, dims={"T": 12})
    assert states_of(found)["h"].length == 12
    assert found.layers[0].name == "Y"


def test_a_final_state_has_no_axis_of_time() -> None:
    """Here it is as long as the sequence by chance."""
    found = drift_in("bf16", lstm(), dims={"T": 8})
    assert {output.name: output.state for output in found.outputs} == {
        "Y": False,
        "Y_h": True,
        "Y_c": True,
    }
    for output in found.outputs:
        assert output.by_step is None


@pytest.mark.parametrize("layout", [0, 1])
def test_the_size_is_that_of_the_file(tmp_path: Path, layout: int) -> None:
    model = lstm(("Y",), layout=layout)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    one = rnncost.numerics(path, dims={"T": 9}, precisions=("fp32",)).drift
    assert one is not None
    assert one.bytes == one.precisions[0].bytes == path.stat().st_size
    onnx.save(model, path, save_as_external_data=True, location="w.data", size_threshold=0)
    two = rnncost.numerics(path, dims={"T": 9}, precisions=("fp32",)).drift
    assert two is not None
    assert two.bytes == path.stat().st_size + (tmp_path / "w.data").stat().st_size


def test_an_infinity_that_both_have_is_no_error() -> None:
    """The logarithm of what a ReLU has cut off."""
    nodes = [
        helper.make_node("GRU", ["X", "W", "R", "B"], ["Y0"], name="g", hidden_size=8),
        helper.make_node("Relu", ["Y0"], ["Z"]),
        helper.make_node("Log", ["Z"], ["Y"]),
    ]
    inputs = {"X": (TensorProto.FLOAT, ("T", 1, 4))}
    model = model_of(nodes, inputs, ("Y",), weights("GRU", 4, 8))
    (same,) = drift_in("fp32", model, dims={"T": 12}).outputs
    assert (same.exact, same.rms_error, same.differing) == (True, 0.0, 0.0)
    assert same.by_step is not None
    assert same.by_step.exact
    (other,) = drift_in("bf16", model, dims={"T": 12}).outputs
    assert other.snr_db is not None
    assert 20 < other.snr_db < 80


def test_an_infinity_of_one_alone_is_told() -> None:
    reference, other = np.full((4, 1, 2), -np.inf), np.full((4, 1, 2), -np.inf)
    reference[:, :, 1] = other[:, :, 1] = 1.0
    other[2, 0, 0] = -5.0
    series = Series("h")
    series.add(0, reference, other, np.ones((4, 1), bool))
    found = series.drift(20.0, None)
    assert found.curve_rms_error == [0.0, 0.0, None, 0.0]
    assert (found.first_not_finite, found.exact, found.snr_db) == (3, False, None)


def test_results_that_cannot_be_rounded_are_told() -> None:
    """Types are inferred by onnx, which does not know ONNX Runtime's own operators."""
    stored = weights("GRU", 4, 8)
    nodes = [
        helper.make_node("Gelu", ["X"], ["G"], name="gelu", domain="com.microsoft"),
        helper.make_node("GRU", ["G", "W", "R", "B"], ["Y"], name="g", hidden_size=8),
    ]
    graph = helper.make_graph(
        nodes,
        "contrib",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ("T", 1, 4))],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=8)
    told = "not rounded, as their types cannot be inferred: results of gelu (Gelu)"
    assert told in drift_in("bf16", model, dims={"T": 12}).notes
    assert not any("not rounded" in n for n in drift_in("bf16", lstm(), dims={"T": 9}).notes)


def test_what_the_estimate_falls_back_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU without a bfloat16 kernel is estimated to take as long as in 32 bits."""
    from rnncost.profiles.folders import shipped_files

    name = "x86-64-server-core"
    text = shipped_files()[name].read_text(encoding="utf-8").replace(f"name: {name}", "name: host")
    (tmp_path / "host.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("RNNCOST_PROFILES", str(tmp_path))
    result = rnncost.numerics(lstm(), dims={"T": 9}, precisions=("bf16",))
    assert result.drift is not None
    assert result.drift.profile == "host"
    (one,) = result.drift.precisions
    report = rnncost.analyze(lstm(), dims={"T": 9}, profiles=("host",), precision="bf16")
    base = rnncost.analyze(lstm(), dims={"T": 9}, profiles=("host",))
    expected = set(report.estimates[0].notes) - set(base.estimates[0].notes)
    assert expected
    assert {f"estimated latency: {note}" for note in expected} <= set(one.notes)


def test_without_a_profile_of_the_machine_no_latency_is_estimated_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNCOST_PROFILES", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    result = rnncost.numerics(lstm(), dims={"T": 9}, precisions=("fp32",))
    assert result.drift is not None
    assert result.drift.latency_s is None
    assert "no latency is estimated, as there is no profile of this machine" in str(result)
    assert "estimated (" not in str(result)


def timing(rounds: tuple[float, ...]) -> Timing:
    return Timing(min_s=min(rounds), median_s=1, p90_s=1, iqr_s=0, runs=9, per_round_min_s=rounds)


def test_each_model_gets_its_own_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also where two of them are one file; and models that jump show in the sentence."""
    from rnncost.along_time.drift import timing as module

    asked: list[int] = []

    def time(runs: list[Any], **_: Any) -> Interleaved:
        asked.append(len(runs))
        timings = (timing((1.0, 1.0, 1.0)), timing((2.0, 3.0, 3.0)), timing((4.0, 4.0, 4.0)))
        return Interleaved(timings=timings, reference=timing((1.0, 1.0, 1.0)))

    class Nothing:
        def first(self, *_: Any) -> dict[str, Any]:
            return {}

    monkeypatch.setattr(module, "create_session", lambda path: path)
    monkeypatch.setattr(module, "prepare", lambda session, inputs: session)
    monkeypatch.setattr(module, "time_interleaved", time)
    paths = [tmp_path, None, tmp_path, tmp_path / "other"]
    seconds, told = time_models(paths, Nothing())  # type: ignore[arg-type]
    assert asked == [3]
    assert seconds == [1.0, None, 3.0, 4.0]
    assert "the models up to 1.50 times theirs, so the machine is too noisy to judge" in told


def test_measured_times_are_those_of_the_runtime() -> None:
    """A model with eight times the steps takes longer, in every precision that is run."""
    found = {}
    for steps in (50, 400):
        result = rnncost.numerics(
            lstm(), dims={"T": steps}, precisions=("int8", "bf16", "fp32"), measure=True
        )
        assert result.drift is not None
        int8, bf16, same = (one.measured_s for one in result.drift.precisions)
        assert bf16 is None
        assert int8 is not None
        assert same == pytest.approx(result.drift.measured_s, rel=0.5)
        found[steps] = (result.drift.measured_s, int8)
        assert "measured" in str(result)
    for short, long in zip(found[50], found[400], strict=True):
        assert 2 < long / short < 16


def test_the_curves_of_h_and_c_are_those_of_numpy() -> None:
    """An LSTM that runs backwards over rows of other lengths, its states rounded to bfloat16."""
    stored = weights("LSTM", 4, 8, seed=5)
    del stored["P"]
    lengths = np.array([30, 17], np.int32)
    x = np.random.default_rng(1).standard_normal((30, 2, 4)).astype(np.float32)
    shapes: dict[str, tuple[Any, ...]] = {"X": x.shape, "sequence_lens": (2,)}
    model = layer_model("LSTM", stored, shapes, direction="reverse", hidden_size=8)
    found = drift_in("bf16", model, data={"X": x, "sequence_lens": lengths})
    states = states_of(found)

    def near(values: Any) -> np.ndarray:
        return round_bf16(np.float32(values)).astype(np.float64)

    def run(narrow: Any, row: int) -> dict[str, np.ndarray]:
        w, r, b = (narrow(stored[name][0]).astype(np.float64) for name in "WRB")
        h, c = np.zeros(8), np.zeros(8)
        series: dict[str, list[np.ndarray]] = {"h": [], "c": []}
        for step in reversed(range(lengths[row])):
            a = w @ narrow(x[step, row]).astype(np.float64) + r @ h + b[:32] + b[32:]
            i, o, f, g = np.split(a, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h, c = narrow(sigmoid(o) * np.tanh(c)), narrow(c)
            series["h"].append(h)
            series["c"].append(c)
        return {name: np.array(values) for name, values in series.items()}

    for name, state in states.items():
        signal, error = np.zeros(30), np.zeros(30)
        for row in range(2):
            exact, rounded = run(np.asarray, row)[name], run(near, row)[name]
            signal[: lengths[row]] += (exact**2).sum(1)
            error[: lengths[row]] += ((rounded - exact) ** 2).sum(1)
        expected = 10 * np.log10(signal / error)
        assert state.length == 30
        assert np.median(np.abs(expected - np.array(state.curve_snr_db))) < 0.05
        total = 10 * np.log10(signal.sum() / error.sum())
        assert state.snr_db == pytest.approx(total, abs=0.3)


@pytest.mark.parametrize("steps", [64, 300, 2000])
def test_errors_that_add_up_at_random_grow_like_a_root(steps: int) -> None:
    """Nothing bounds them, and a line is not what they follow."""
    draw = np.random.default_rng(steps)
    walks = np.cumsum(draw.standard_normal((steps, 256)), axis=0)
    found = growth(1e-3 * np.sqrt((walks**2).mean(axis=1)))
    assert found is not None
    assert found.kind == "square root"
    assert found.parameters["a"] == pytest.approx(1e-3, rel=0.15)


def curves(layer: str, ratio: float | None) -> LayerDrift:
    values = [ratio, None, ratio]
    state = StateDrift(state="h", length=3, steps=[1, 2, 3], curve_snr_db=values)
    return LayerDrift(name=layer, op_type="GRU", direction="forward", states=[state])


def test_layers_with_long_or_equal_names_are_plotted_apart() -> None:
    names = ["a" * 20 + "end" * 12, "b" * 20 + "end" * 12, "same", "same"]
    compared = [
        PrecisionDrift(
            precision=precision, layers=[curves(name, n) for n, name in enumerate(names)]
        )
        for precision in ("int8", "bf16")
    ]
    drift = Drift(
        limit_db=20, bytes=1, latency_s=None, measured_s=None, profile="", precisions=compared
    )
    found = panels(drift)
    assert [panel.layer for panel in found] == names
    for number, panel in enumerate(found):
        assert list(panel.curves) == ["int8", "bf16"]
        for state in panel.curves.values():
            assert state.curve_snr_db[0] == number
    text = render_plot(drift, "svg").decode()
    assert text.count("signal to noise (dB)") == 4
    assert "aaa" in text
    assert "bbb" in text


def test_values_without_neighbours_are_marked() -> None:
    assert alone([1.0, None, 2.0, 3.0, None, 4.0]) == [0, 5]
    assert alone([1.0, 2.0]) == []
    assert alone([1.0]) == [0]
    assert alone([]) == []


def test_every_state_of_a_result_has_a_panel() -> None:
    result = rnncost.numerics(lstm(), dims={"T": 12}, precisions=("int8", "bf16", "fp32"))
    assert result.drift is not None
    found = panels(result.drift)
    assert [panel.state for panel in found] == ["h", "c"]
    assert sum(len(panel.curves) for panel in found) == len(all_states(result)) == 6


def test_layers_that_stay_in_32_bits_show_in_the_line_of_their_precision() -> None:
    """Else a precision that leaves them alone looks like one without loss."""
    first, second = weights("LSTM", 4, 8), weights("GRU", 8, 6)
    stored = {f"{n}{k}": w[n] for k, w in enumerate((first, second)) for n in "WRB"}
    nodes = [
        helper.make_node("LSTM", ["X", "W0", "R0", "B0"], ["Y0"], name="one", hidden_size=8),
        helper.make_node("Squeeze", ["Y0", "axes"], ["Z"]),
        helper.make_node("GRU", ["Z", "W1", "R1", "B1"], ["Y"], name="two", hidden_size=6),
    ]
    stored["axes"] = np.array([1], np.int64)
    model = model_of(nodes, {"X": (TensorProto.FLOAT, ("T", 1, 4))}, ("Y",), stored)
    result = rnncost.numerics(model, dims={"T": 9}, precisions=("int8", "qdq", "bf16"))
    lines = {line.split()[0]: line for line in str(result).splitlines() if line.strip()}
    assert result.drift is not None
    table = next(drift_tables(result.drift))
    made_by = {row[0]: row[1] for row in table.rows}
    assert made_by == {
        "as it is": "",
        "int8": "ONNX Runtime, 1 of 2 recurrent layers in 32 bits",
        "int8-emulated": "emulated",
        "qdq": "ONNX Runtime, recurrent layers in 32 bits",
        "bf16": "emulated",
    }
    assert "recurrent layers in 32 bits" in lines["qdq"]
    figures = [more for _, _, more in drift_figures(result.drift)]
    assert figures[0].startswith("1 of 2 recurrent layers in 32 bits, ")
    assert "32 bits" not in figures[1]
    assert figures[2].startswith("recurrent layers in 32 bits, ")


@pytest.mark.parametrize("narrow", ["fp16", "bf16"])
def test_rounding_keeps_shapes(narrow: Any) -> None:
    """A stored scalar must not become a vector: conditions of loops are scalars."""
    for shape in ((), (1,), (0, 3), (2, 3)):
        assert round_to(np.full(shape, 1.1, np.float32), narrow).shape == shape
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T * np.float32(1.01)
    assert np.array_equal(round_to(turned, narrow), round_to(turned.copy(), narrow))


def loop_of(steps: int) -> onnx.ModelProto:
    """Counts its trips; its counter is compared as a float, as some exporters write it."""

    def info(name: str, kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ())

    body = helper.make_graph(
        [
            helper.make_node("Add", ["done", "one"], ["more"]),
            helper.make_node("Cast", ["n"], ["as_float"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["last"], ["end"], to=TensorProto.FLOAT),
            helper.make_node("Less", ["as_float", "end"], ["go"]),
        ],
        "body",
        [
            info("n", TensorProto.INT64),
            info("go_on", TensorProto.BOOL),
            info("done", TensorProto.INT64),
        ],
        [info("go", TensorProto.BOOL), info("more", TensorProto.INT64)],
    )
    nodes = [
        helper.make_node("Loop", ["trips", "start", "none"], ["count"], body=body),
        helper.make_node("Cast", ["count"], ["Y"], to=TensorProto.FLOAT),
    ]
    stored = {
        "trips": np.array(10**6),
        "start": np.array(True),
        "none": np.array(0),
        "one": np.array(1),
        "last": np.array(steps),
    }
    return model_of(nodes, {"X": (TensorProto.FLOAT, (1,))}, ("Y",), stored)


def test_counters_are_not_rounded() -> None:
    """In bfloat16 301 is 300: a loop would end early, or never."""
    model = loop_of(301)
    feed = {"X": np.zeros(1, np.float32)}
    assert round_bf16(np.float32(301)) == 300
    for one in (model, rounded(model, "bf16").model, rounded(model, "fp16").model):
        (count,) = run(one, feed)
        assert count == 302


def test_the_one_line_has_the_drift() -> None:
    result = rnncost.numerics(lstm(), dims={"T": 12}, precisions=("int8", "fp32"))
    line = one_line(result)
    assert line.count("\n") == 0
    assert "; fp32, h at T: no error" in line
    assert result.drift is not None
    h = result.drift.precisions[0].layers[0].states[0]
    assert f"; int8, h at T: {h.last_snr_db:.1f} dB;" in line
