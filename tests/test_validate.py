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
from rnncost.validation import Validation, validate

QUICK: dict[str, Any] = {"min_runs": 5, "min_time_s": 0.02}


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


def test_the_estimate_is_that_of_analyze_for_the_shapes_that_are_timed(gru: Path) -> None:
    profiles = ("x86-64-server-core", "cortex-m7")
    result = validate(gru, dims={"seq": 200, "batch": 3}, profiles=profiles, **QUICK)
    report = rnncost.analyze(gru, dims={"seq": 200, "batch": 3}, profiles=profiles)
    assert [c.estimate for c in result.comparisons] == report.estimates
    assert result.bindings == report.bindings
    assert result.bindings.dims == {"seq": 200, "batch": 3}
    for comparison in result.comparisons:
        latency_s = comparison.estimate.latency_s
        assert comparison.ratio_to_min == latency_s / result.timing.min_s
        assert comparison.ratio_to_median == latency_s / result.timing.median_s


def test_what_is_timed_follows_the_dimensions(gru: Path) -> None:
    short, long = (validate(gru, dims={"seq": n}, **QUICK) for n in (20, 2000))
    assert long.timing.min_s > 10 * short.timing.min_s
    assert long.comparisons[0].estimate.latency_s > 10 * short.comparisons[0].estimate.latency_s


def test_the_text_shows_both_and_says_that_the_profile_is_uncalibrated(gru: Path) -> None:
    result = validate(gru, dims={"seq": 50}, **QUICK)
    text = str(result)
    for part in ("measured: minimum", "median", "onnxruntime", "1 thread", "x86-64-server-core"):
        assert part in text
    assert f"{result.comparisons[0].ratio_to_min:.2f}" in text
    assert "uncalibrated" in text
    assert "seq = 50" in text
    assert "(assumed: batch)" in text


def test_a_device_of_another_kind_than_the_timed_one_is_pointed_out(gru: Path) -> None:
    profiles = ("x86-64-server-core", "cortex-m7")
    text = str(validate(gru, dims={"seq": 5, "batch": 1}, profiles=profiles, **QUICK))
    (note,) = (line for line in text.split("\n") if "compares two devices" in line)
    assert "cortex-m7" in note
    assert "x86-64-server-core" not in note


def test_a_calibrated_profile_is_not_called_uncalibrated(gru: Path) -> None:
    shipped = rnncost.load_profile("x86-64-server-core")
    data = msgspec.to_builtins(shipped)
    data["calibration"] = {"date": "2030-01-31", "host": "bench-1"}
    profile = msgspec.convert(data, rnncost.HardwareProfile)
    text = str(validate(gru, dims={"seq": 50, "batch": 1}, profiles=(profile,), **QUICK))
    assert "uncalibrated" not in text


def test_the_dictionary_is_json_and_comes_back(gru: Path) -> None:
    result = validate(str(gru), threads=2, **QUICK)
    data = json.loads(json.dumps(result.to_dict()))
    assert msgspec.convert(data, Validation) == result
    assert data["timing"]["threads"] == data["comparisons"][0]["estimate"]["threads"] == 2
    assert data["model"] == str(gru)


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


def test_a_model_that_onnx_runtime_cannot_run_is_refused(gru: Path) -> None:
    made = onnx.load(gru)
    made.graph.node[0].attribute.append(helper.make_attribute("layout", 1))
    onnx.save(made, gru)
    with pytest.raises(MeasurementError):
        validate(gru, dims={"seq": 4, "batch": 2}, **QUICK)
