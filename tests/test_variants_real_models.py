"""Variants of published models: each runs in ONNX Runtime and costs what it should."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from variant_graphs import declared

from rnncost.analysis import analyze
from rnncost.errors import VariantError
from rnncost.report.model import Report
from rnncost.runtime.inputs import make_inputs
from rnncost.runtime.session import create_session
from rnncost.variants import (
    SAME_OUTPUT_WIDTH,
    Change,
    Variant,
    applicable,
    inputs_for,
    load_for_change,
    rewrite,
)

pytestmark = pytest.mark.real_models

CASES: dict[str, dict[str, Any]] = {}
"""The first case of each model, by the name of its file."""
for _case in json.loads(
    (Path(__file__).parent / "data" / "real_models.json").read_text(encoding="utf-8")
)["models"]:
    CASES.setdefault(Path(_case["path"]).stem, _case)


class Subject:
    """A published model with the inputs of its case."""

    def __init__(self, name: str, locate: Callable[[str], Path]) -> None:
        case = CASES[name]
        given = case["inputs"]
        self.model = load_for_change(locate(case["path"]))
        self.shapes = {n: tuple(g["shape"]) for n, g in given.items() if "value" not in g}
        self.values = {n: g["value"] for n, g in given.items() if "value" in g}

    def variant(self, **change: Any) -> Variant:
        return rewrite(self.model, Change(**change), shapes=self.shapes, values=self.values)

    def report(self, model: onnx.ModelProto | None = None) -> Report:
        model = self.model if model is None else model
        shapes, values = inputs_for(model, self.shapes, self.values)
        report = analyze(model, shapes=shapes, values=values, symbolic=False)
        assert report.uncounted == []
        return report

    def run(self, model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
        """The shapes of the outputs of a run, which are finite numbers."""
        shapes, values = inputs_for(model, self.shapes, self.values)
        session = create_session(model.SerializeToString())
        results = session.run(None, make_inputs(session, shapes=shapes, values=values))
        assert all(np.isfinite(result).all() for result in results if result.dtype.kind == "f")
        names = [output.name for output in session.get_outputs()]
        return {name: result.shape for name, result in zip(names, results, strict=True)}


@pytest.fixture
def subject(real_model: Callable[[str], Path]) -> Callable[[str], Subject]:
    return lambda name: Subject(name, real_model)


SILERO = ["silero_vad", "silero_vad_half", "silero_vad_16k_op15", "silero_vad_openvino_16k"]


@pytest.mark.parametrize("name", SILERO)
def test_silero_vad_as_a_gru(name: str, subject: Callable[[str], Subject]) -> None:
    """The layer of 128 in, 128 units: a quarter of its gates goes, and its half of the state."""
    silero = subject(name)
    variant = silero.variant(cell="gru").model
    before, after = silero.report().totals, silero.report(variant).totals
    assert before.macs - after.macs == 128 * (128 + 128)
    layers = 2 if name == "silero_vad" else 1  # one for each sampling rate
    assert before.params - after.params == layers * 128 * (128 + 128 + 2)
    assert after.state_bytes * 2 == before.state_bytes
    (state,) = (info for info in variant.graph.input if info.name == "state")
    assert declared(state)[0] == 1
    assert silero.run(variant) == {"output": (1, 1), "stateN": (1, 1, 128)}


@pytest.mark.parametrize("name", SILERO[1:])
def test_silero_vad_with_fewer_units(name: str, subject: Callable[[str], Subject]) -> None:
    silero = subject(name)
    variant = silero.variant(hidden_size=64).model
    difference = silero.report().totals.macs - silero.report(variant).totals.macs
    assert difference == 4 * 128 * 256 - 4 * 64 * 192 + 64
    assert silero.run(variant) == {"output": (1, 1), "stateN": (2, 1, 64)}


def test_a_branch_that_does_not_run_stays_with_a_note(subject: Callable[[str], Subject]) -> None:
    """The branch for 8 kHz takes windows of another size, which contradict those given."""
    variant = subject("silero_vad").variant(hidden_size=64)
    assert "the else_branch of If 'If_0' never runs here and stays as it is" in variant.notes
    assert subject("silero_vad").run(variant.model)["stateN"] == (2, 1, 64)


def test_silero_vad_with_states_apart(subject: Callable[[str], Subject]) -> None:
    silero = subject("silero_vad_16k_sequence")
    variant = silero.variant(cell="gru")
    assert "the output 'cn' is gone: nothing is left of what it returned" in variant.notes
    assert [info.name for info in variant.model.graph.input] == ["input", "h"]
    assert set(silero.run(variant.model)) == {"speech_probs", "hn"}
    assert silero.report(variant.model).totals.streamable == silero.report().totals.streamable


def test_a_romanizer_in_one_direction(subject: Callable[[str], Subject]) -> None:
    """Two bidirectional GRUs of 128 units on an embedding of 256, and a bridge of 256."""
    romanizer = subject("encoder")
    assert applicable(romanizer.model).stacks == (("/encoder/GRU", "/encoder/GRU_1"),)
    before = romanizer.report().totals
    uni = romanizer.variant(direction="uni").model
    after = romanizer.report(uni).totals
    rows, steps = 3 * 128, 2 * 12
    assert before.macs - after.macs == (
        2 * steps * rows * (256 + 128) * 2 - steps * rows * (256 + 128 + 128 + 128) + 2 * 128 * 256
    )
    assert after.state_bytes * 2 == before.state_bytes
    assert romanizer.run(uni)["memory_out"] == (2, 12, 128)
    assert romanizer.run(uni)["hidden_out"] == (2, 2, 256)
    same = romanizer.variant(direction="uni", policy=SAME_OUTPUT_WIDTH).model
    assert romanizer.run(same)["memory_out"] == (2, 12, 256)
    lstm = romanizer.variant(cell="lstm").model
    assert romanizer.report(lstm).totals.macs - before.macs == (14155776 // 3)
    assert romanizer.run(lstm)["memory_out"] == (2, 12, 256)


def test_a_text_recogniser(subject: Callable[[str], Subject]) -> None:
    """Two bidirectional LSTMs of 64 units whose weights are put together at run time."""
    ocr = subject("ch_PP-OCRv2_rec_infer")
    before = ocr.report().totals
    gru = ocr.variant(cell="gru").model
    uni = ocr.variant(direction="uni").model
    layers = 80 * 2 * 4 * 64 * (512 + 64 + 128 + 64)
    assert before.macs - ocr.report(gru).totals.macs == layers // 4
    kept = 80 * 4 * 64 * (512 + 64 + 64 + 64)
    head = 80 * 64 * 96  # of the layers that read both directions
    assert before.macs - ocr.report(uni).totals.macs == layers - kept + head
    assert ocr.report(gru).totals.params == before.params - 2 * 64 * (512 + 64 + 2 + 128 + 64 + 2)
    for variant in (gru, uni):
        assert ocr.run(variant) == ocr.run(ocr.model)


def test_quantised_diacritics(subject: Callable[[str], Subject]) -> None:
    tashkeel = subject("bilstm.int8")
    before = tashkeel.run(tashkeel.model)
    uni = tashkeel.variant(direction="uni").model
    assert tashkeel.run(uni) == before
    steps, rows = 40, 4 * 256
    widths = [(128, 1), (256, 1), (256, 1)]
    lstm = steps * sum(rows * (size + 256) * directions for size, directions in widths)
    found = [row for row in tashkeel.report(uni).ops if row.op_type.endswith("LSTM")]
    assert sum(row.macs for row in found) == lstm
    assert {row.precision for row in found} == {"int8"}
    with pytest.raises(VariantError, match="has no form as GRU"):
        tashkeel.variant(cell="gru")


@pytest.mark.parametrize(
    ("name", "states"),
    [("df_dec", "h_df_dec"), ("erb_dec", "h_erb_dec"), ("enc", "h_enc")],
)
def test_noise_suppression_as_an_lstm(
    name: str, states: str, subject: Callable[[str], Subject]
) -> None:
    """Its streams stay streams: the cell states come in and go out beside the hidden ones."""
    hush = subject(name)
    variant = hush.variant(cell="lstm").model
    before, after = hush.report(), hush.report(variant)
    gru = sum(row.macs for row in before.ops if row.op_type == "GRU")
    assert after.totals.macs - before.totals.macs == gru // 3
    assert after.totals.state_bytes == 2 * before.totals.state_bytes
    shapes = hush.run(variant)
    assert shapes[f"{states}_out_c"] == shapes[f"{states}_out"]
    assert f"{states}_in_c" in {info.name for info in variant.graph.input}
    narrow = hush.variant(hidden_size=32).model
    assert hush.run(narrow)[f"{states}_out"][-1] == 32


def test_a_stack_of_three_gets_shorter_and_longer(subject: Callable[[str], Subject]) -> None:
    hush = subject("df_dec")
    before = hush.report().totals
    one = 3 * 256 * (256 + 256)
    steps = hush.report().ops[0].dims.get("T") or 100
    for layers in (1, 2, 5):
        variant = hush.variant(layers=layers).model
        assert before.macs - hush.report(variant).totals.macs == (3 - layers) * one * steps
        assert hush.run(variant)["coefs"] == hush.run(hush.model)["coefs"]
        kept = min(layers, 3)
        assert hush.run(variant)["h_df_dec_out"] == (kept, 1, 256)


def test_keras_states_in_one_tensor(subject: Callable[[str], Subject]) -> None:
    """tf2onnx: h and c of two layers in one input [1, 2, 128, 2]."""
    dtln = subject("model_1")
    gru = dtln.variant(cell="gru").model
    assert dtln.run(gru)["tf_op_layer_stack_2"] == (1, 2, 128, 1)
    (state,) = (info for info in gru.graph.input if info.name == "input_3")
    assert declared(state) == [1, 2, 128, 1]
    narrow = dtln.variant(hidden_size=64).model
    assert dtln.run(narrow)["tf_op_layer_stack_2"] == (1, 2, 64, 2)
    single = dtln.variant(layers=1).model
    assert dtln.run(single)["tf_op_layer_stack_2"] == (1, 1, 128, 2)


@pytest.mark.parametrize("name", ["model", "silero_vad_op18_ifless"])
def test_cells_written_out_are_refused(name: str, subject: Callable[[str], Subject]) -> None:
    with pytest.raises(VariantError, match="no LSTM, GRU or RNN operator"):
        subject(name).variant(cell="gru")
