"""Timing the designs of a comparison in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from comparison_models import network

import rnncost
from rnncost.comparison import measuring
from rnncost.comparison.measuring import judged_profile
from rnncost.errors import MeasurementError
from rnncost.profiles.store import load_profile
from rnncost.runtime.quantize import quantize_dynamic
from rnncost.runtime.timing import Interleaved, Run, time_interleaved
from rnncost.units import format_bytes

LAYERS = [("LSTM", 32, 1), ("GRU", 16, 1)]


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Short timings, and how many runs each had."""
    seen: list[int] = []

    def timed(runs: list[Run], **options: Any) -> Interleaved:
        seen.append(len(runs))
        return time_interleaved(runs, **{**options, "rounds": 3, "min_time_s": 1e-3})

    monkeypatch.setattr(measuring, "time_interleaved", timed)
    return seen


def test_all_designs_are_timed_in_one_go(tmp_path: Path, few_rounds: list[int]) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(network(LAYERS), path)
    comparison = rnncost.compare(
        path,
        hidden_sizes=[256],
        precisions=["int8", "bf16"],
        steps=[400],
        dims={"frames": 100, "batch": 1},
        measure=True,
    )
    assert comparison.skipped == []
    assert few_rounds == [4]
    designs = {design.name: design for design in comparison.designs}
    timed = {name: design.measured for name, design in designs.items()}
    base = timed["as it is"]
    assert base is not None
    assert base.ratio == 1
    assert timed["bf16"] is None
    assert designs["bf16"].notes == [
        "not timed: ONNX Runtime has no bf16 kernels of recurrent operators for a CPU"
    ]
    for name, least in (("256 hidden units", 3), ("400 steps", 2)):
        measured = timed[name]
        assert measured is not None
        assert measured.ratio == measured.seconds / base.seconds
        assert measured.ratio > least  # many times the work
    assert timed["int8"] is not None
    assert comparison.timed is not None
    assert comparison.timed.rounds == 3
    assert comparison.timed.profile == "x86-64-server-core"
    assert "estimated ratio off by" in str(comparison)


def test_int8_is_what_onnxruntime_quantises(tmp_path: Path) -> None:
    model = network(LAYERS)
    comparison = rnncost.compare(model, precisions=["int8"], measure=True)
    source, result = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(model, source)
    quantize_dynamic(source, result)
    kinds = {node.op_type for node in onnx.load(result).graph.node}
    assert {"DynamicQuantizeLSTM", "GRU", "MatMulInteger"} <= kinds
    size = rnncost.analyze(result).totals.weight_bytes
    assert comparison.variants[0].notes == [
        "timed as ONNX Runtime quantises the model dynamically: its weights take "
        f"{format_bytes(size)}, as 1 GRU stays fp32"
    ]


def test_a_quantised_model_has_no_other_precision_to_time(tmp_path: Path) -> None:
    onnx.save(network(LAYERS), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    (design,) = rnncost.compare(tmp_path / "int8.onnx", precisions=["fp32"], measure=True).variants
    assert design.measured is None
    assert design.notes == ["not timed: of other precisions int8 alone is built, not fp32"]


def test_variants_are_timed_with_the_values_that_fit_them() -> None:
    states = {f"layer0.{kind}": np.full((1, 1, 32), 0.5, np.float32) for kind in "hc"}
    values = {**states, "layer1.h": np.full((1, 1, 16), 0.5, np.float32)}
    comparison = rnncost.compare(
        network(LAYERS, states=True), values=values, hidden_sizes=8, cells="gru", measure=True
    )
    assert comparison.skipped == []
    assert all(design.measured is not None for design in comparison.designs)


def test_a_model_that_cannot_be_quantised_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(MeasurementError, match="ONNX Runtime cannot quantise the model") as caught:
        quantize_dynamic(path, tmp_path / "result.onnx")
    assert "\n" not in str(caught.value)


def test_a_model_that_does_not_run_is_a_fault() -> None:
    model = network(LAYERS)
    model.opset_import[0].version = 3  # older than ONNX Runtime knows LSTMs with such inputs
    with pytest.raises(MeasurementError, match="ONNX Runtime"):
        rnncost.compare(model, batches=[2], measure=True)


def test_ratios_are_held_against_the_profile_of_this_machine() -> None:
    gpu, cpu = load_profile("h100-sxm"), load_profile("raspberry-pi-4")
    assert judged_profile([gpu]) is None
    assert judged_profile([gpu, cpu]) == cpu
    other = msgspec.structs.replace(cpu, runtime="pytorch-cpu")
    assert judged_profile([gpu, other]) is None  # the timings are those of ONNX Runtime
    assert judged_profile([msgspec.structs.replace(other, name="host"), cpu]) == cpu
    host = msgspec.structs.replace(load_profile("epyc-7763"), name="host")
    assert judged_profile([cpu, host]) == host
