"""``validate``: an estimate beside a timing of the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rnncost
from rnncost.errors import BindingError, MeasurementError, ModelError, ProfileError
from rnncost.runtime import node_times
from rnncost.validation import Validation, measure, validate
from rnncost.validation.model import judge
from rnncost.validation.text import render_markdown, render_text

QUICK: dict[str, Any] = {"min_time_s": 0.02}
GENERAL = "x86-64-server-core"


@pytest.fixture(autouse=True)
def no_host_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was calibrated on this machine is out of sight."""
    monkeypatch.setattr(measure, "host_profile", lambda: None)


@pytest.fixture
def gru(tmp_path: Path) -> Path:
    """A GRU of 32 units over x [seq, batch, 8]."""
    weights = {
        "w": np.full((1, 96, 8), 0.1, np.float32),
        "r": np.full((1, 96, 32), 0.1, np.float32),
    }
    float_ = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=32)],
        "test",
        [helper.make_tensor_value_info("x", float_, ["seq", "batch", 8])],
        [helper.make_tensor_value_info("y", float_, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = helper.make_opsetid("", 17)
    path = tmp_path / "gru.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def calibrated(name: str = "host") -> rnncost.HardwareProfile:
    data = msgspec.to_builtins(rnncost.load_profile(GENERAL))
    data["calibration"] = {"date": "2030-01-31", "host": "bench-1"}
    return msgspec.convert({**data, "name": name}, rnncost.HardwareProfile)


def test_the_estimate_is_that_of_analyze_for_the_shapes_that_are_timed(gru: Path) -> None:
    profiles = (GENERAL, "cortex-m7")
    result = validate(gru, dims={"seq": 200, "batch": 3}, profiles=profiles, **QUICK)
    report = rnncost.analyze(gru, dims={"seq": 200, "batch": 3}, profiles=profiles)
    assert [c.estimate for c in result.comparisons] == report.estimates
    assert result.bindings == report.bindings
    assert result.bindings.dims == {"seq": 200, "batch": 3}
    for comparison in result.comparisons:
        latency_s = comparison.estimate.latency_s
        assert comparison.ratio_to_min == latency_s / result.timing.min_s
        assert comparison.ratio_to_median == latency_s / result.timing.median_s
        assert comparison.ratio_to_steady == latency_s / result.timing.steady_s
        assert comparison.speed == 1  # nobody calibrated this profile here
        assert comparison.error == comparison.ratio_to_steady - 1


def test_what_is_timed_follows_the_dimensions(gru: Path) -> None:
    short, long = (validate(gru, dims={"seq": n}, **QUICK) for n in (20, 2000))
    assert long.timing.min_s > 10 * short.timing.min_s
    assert long.comparisons[0].estimate.latency_s > 10 * short.comparisons[0].estimate.latency_s
    (line,) = long.nodes
    assert line.op_types == line.node_types == ["GRU"]
    # The node is nearly all of the run, by another clock and another session.
    assert 0.3 < (line.measured_s or 0) / long.timing.min_s < 3


def test_the_text_shows_both_and_says_how_to_calibrate(gru: Path) -> None:
    result = validate(gru, dims={"seq": 50}, **QUICK)
    text = str(result)
    for part in ("measured: minimum", "median", "onnxruntime", "1 thread", GENERAL, "reference"):
        assert part in text
    assert f"{result.comparisons[0].ratio_to_min:.2f}" in text
    assert "'rnncost calibrate' makes one" in text
    assert "seq = 50" in text
    assert "(assumed: batch)" in text
    assert "Node by node" in text
    assert "verdict" not in text
    markdown = render_markdown([result])
    assert "| GRU_0" in markdown or "GRU\\_0" in markdown
    assert "seq = 50" in markdown


def test_the_profile_of_this_machine_is_the_default(
    gru: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "host_profile", calibrated)
    result = validate(gru, dims={"seq": 5, "batch": 1}, **QUICK)
    assert [c.estimate.profile for c in result.comparisons] == ["host"]
    assert result.notes == ["profile host, calibrated on 2030-01-31"]
    assert result.comparisons[0].estimate.calibrated
    chosen = validate(gru, dims={"seq": 5, "batch": 1}, profiles=(GENERAL,), **QUICK)
    assert [c.estimate.profile for c in chosen.comparisons] == [GENERAL]
    assert chosen.notes == []


def test_a_device_of_another_kind_than_the_timed_one_is_pointed_out(gru: Path) -> None:
    profiles = (GENERAL, "cortex-m7")
    result = validate(gru, dims={"seq": 5, "batch": 1}, profiles=profiles, tolerance=1e-9, **QUICK)
    (note,) = (line for line in str(result).split("\n") if "compares two devices" in line)
    assert "cortex-m7" in note
    assert GENERAL not in note
    assert result.comparisons[1].verdict == "not judged"


@pytest.mark.parametrize(
    ("ratio", "noise", "tolerance", "expected"),
    [
        (1.14, 1.0, 0.15, "within"),
        (1.15, 1.0, 0.15, "within"),
        (0.85, 1.0, 0.15, "within"),
        (1.16, 1.0, 0.15, "outside"),
        (0.84, 1.05, 0.15, "outside"),
        (3.0, 1.11, 0.15, "not judged"),
        (1.0, 1.11, 0.15, "not judged"),
        # A narrow tolerance asks for a machine as quiet.
        (1.0, 1.05, 0.02, "not judged"),
        (1.0, 1.01, 0.02, "within"),
        (9.0, 1.0, None, None),
    ],
)
def test_the_verdict_needs_a_quiet_machine(
    ratio: float, noise: float, tolerance: float | None, expected: str | None
) -> None:
    assert judge("cpu", ratio, noise, tolerance) == expected
    other = None if tolerance is None else "not judged"
    assert judge("gpu", ratio, noise, tolerance) == other


def noisy(result: Validation, model: float, reference: float) -> Validation:
    def scaled(timing: Any, noise: float) -> Any:
        rounds = (timing.min_s, noise * timing.min_s, noise * timing.min_s)
        return msgspec.structs.replace(timing, per_round_min_s=rounds)

    return msgspec.structs.replace(
        result,
        timing=scaled(result.timing, model),
        reference=scaled(result.reference, reference),
    )


def test_a_noisy_machine_comes_with_advice(gru: Path) -> None:
    result = validate(gru, dims={"seq": 5, "batch": 1}, **QUICK)
    assert noisy(result, 1.05, 1.02).advice == ""
    assert "the machine was" not in str(noisy(result, 1.05, 1.02))
    assert "50% or more above the minimum (reference kernel: 2%)" in noisy(result, 1.5, 1.02).advice
    assert "close other programs" in str(noisy(result, 1.0, 1.5))
    judged = msgspec.structs.replace(noisy(result, 1.05, 1.0), tolerance=0.04)
    assert "too noisy to judge by" in judged.advice


def test_more_threads_than_cores_are_pointed_out(
    gru: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = msgspec.structs.replace(measure.machine(), cores=1)
    monkeypatch.setattr(measure, "machine", lambda: one)
    result = validate(gru, dims={"seq": 5, "batch": 1}, threads=2, **QUICK)
    assert any("2 threads share the 1 core" in note for note in result.notes)
    assert result.threads == 2


def test_the_dictionary_is_json_and_comes_back(gru: Path) -> None:
    result = validate(str(gru), threads=2, tolerance=0.5, **QUICK)
    data = json.loads(json.dumps(result.to_dict()))
    assert msgspec.convert(data, Validation) == result
    assert data["threads"] == data["comparisons"][0]["estimate"]["threads"] == 2
    assert data["model"] == str(gru)
    assert data["nodes"][0]["op_types"] == ["GRU"]


def test_a_model_that_cannot_be_profiled_is_timed_all_the_same(
    gru: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MeasurementError("too many nodes")

    for place in ("Profile", "node_times"):
        with monkeypatch.context() as patch:
            patch.setattr(node_times, place, refuse)
            result = validate(gru, dims={"seq": 5, "batch": 1}, **QUICK)
        assert result.timing.min_s > 0
        assert result.nodes == []
        assert result.outside_s is None
        assert result.warnings == ["no times of the nodes: too many nodes"]
        assert "no times of the nodes" in render_text(result)


def test_nothing_is_left_behind(gru: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    validate(gru, dims={"seq": 5, "batch": 1}, **QUICK)
    assert list(scratch.iterdir()) == []


def test_the_package_has_the_function_at_every_access() -> None:
    assert rnncost.validate is validate
    assert rnncost.validate is validate


@pytest.mark.parametrize("model", ["module.pt2", "package.module:factory", object()])
def test_only_onnx_files_are_timed(model: Any) -> None:
    with pytest.raises(ModelError, match=r"\.onnx files only; export the model"):
        validate(model)


def test_wrong_arguments_are_refused(gru: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        validate(tmp_path / "none.onnx")
    with pytest.raises(BindingError):
        validate(gru, dims={"sequence": 3})
    with pytest.raises(BindingError, match="at least 1"):
        validate(gru, threads=0)
    with pytest.raises(ProfileError):
        validate(gru, profiles=("no-such-device",))
    with pytest.raises(BindingError, match="at most 1024"):
        validate(gru, threads=1_000_000)
    for seconds in (-1.0, float("nan"), float("inf")):
        for name in ("min_time_s", "max_time_s"):
            with pytest.raises(BindingError, match="must be seconds from 0 on"):
                validate(gru, **{name: seconds})
    for tolerance in (0.0, -0.1, float("nan")):
        with pytest.raises(BindingError, match="tolerance must be above 0"):
            validate(gru, tolerance=tolerance)


def test_a_long_least_time_ends_at_the_largest(gru: Path) -> None:
    result = validate(gru, dims={"seq": 5, "batch": 1}, min_time_s=1e9, max_time_s=0.1)
    assert result.timing.runs > 0


def test_a_model_that_onnx_runtime_cannot_run_is_refused(gru: Path) -> None:
    made = onnx.load(gru)
    made.graph.node[0].attribute.append(helper.make_attribute("layout", 1))
    onnx.save(made, gru)
    with pytest.raises(MeasurementError):
        validate(gru, dims={"seq": 4, "batch": 2}, **QUICK)
