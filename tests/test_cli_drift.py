"""``rnncost numerics --drift``: options, tables, files and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numerics_models import layer_model, weights

import rnncost
from rnncost.cli.main import main
from rnncost.errors import EXIT_ERROR, EXIT_OK

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "m.onnx"
    stored = weights("LSTM", 4, 8)
    del stored["P"]
    onnx.save(layer_model("LSTM", stored, {"X": ("T", 1, 4)}, hidden_size=8), path)
    return str(path)


def options_of(monkeypatch: pytest.MonkeyPatch, words: str) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []

    def numerics(name: str, **options: Any) -> Any:
        seen.append(options)
        raise rnncost.RnncostError("enough")

    monkeypatch.setattr(rnncost, "numerics", numerics, raising=False)
    assert main(f"numerics m.onnx {words}".split()) == EXIT_ERROR
    return seen[0]


def test_options_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = options_of(monkeypatch, "--drift")
    assert usual["precisions"] == ("int8", "qdq", "fp16", "bf16")
    assert "limit_db" not in usual
    assert not usual["measure"]
    words = "--drift --precision int8,fp16-emulated --limit-db 12.5 --measure"
    chosen = options_of(monkeypatch, words)
    assert chosen["precisions"] == ("int8", "fp16-emulated")
    assert (chosen["limit_db"], chosen["measure"]) == (12.5, True)
    assert "precisions" not in options_of(monkeypatch, "--dim T=3")


def test_tables_and_json(model: str, tmp_path: Path, capsys: Capture) -> None:
    place = tmp_path / "d.json"
    words = ["numerics", model, "--dim", "T=30", "--drift", "--precision", "fp32,int8,bf16"]
    assert main([*words, "--step-period", "10ms", "-o", "table", "-o", f"json:{place}"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert err == ""
    for text in ("as it is", "no error", "emulated", "growth", "below"):
        assert text in out, text
    drift = json.loads(place.read_text(encoding="utf-8"))["numerics"]["drift"]
    assert [one["precision"] for one in drift["precisions"]] == ["fp32", "int8", "bf16"]
    same = drift["precisions"][0]["layers"][0]["states"][0]
    assert same["exact"]
    assert same["curve_snr_db"] == [None] * 30
    assert drift["precisions"][1]["layers"][0]["runs_as"] == "DynamicQuantizeLSTM"


def test_markdown(model: str, capsys: Capture) -> None:
    words = ["numerics", model, "--dim", "T=30", "--drift", "--precision", "int8"]
    assert main([*words, "-o", "markdown"]) == EXIT_OK
    assert "| int8" in capsys.readouterr().out


def test_measured_latency(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from rnncost.along_time.drift import timing

    monkeypatch.setattr(timing, "_ROUNDS", 1)
    monkeypatch.setattr(timing, "_BURST_S", 1e-4)
    found = rnncost.numerics(model, dims={"T": 5}, precisions=("int8", "bf16"), measure=True).drift
    assert found is not None
    assert found.measured_s is not None
    timed, emulated = found.precisions
    assert timed.measured_s is not None
    assert 0 < timed.measured_s < 1
    assert emulated.measured_s is None
    assert any("measured with one thread" in note for note in found.notes)


def test_plots(model: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    svg, png = tmp_path / "d.svg", tmp_path / "d.png"
    words = ["numerics", model, "--dim", "T=30", "--drift", "--precision", "int8,fp32"]
    for _ in range(2):
        before = svg.read_bytes() if svg.exists() else b""
        assert main([*words, "-o", f"svg:{svg}", "-o", f"png:{png}"]) == EXIT_OK
    assert svg.read_bytes() == before
    text = svg.read_text(encoding="utf-8")
    for label in ("h of layer", "c of layer", "fp32: no error", "limit 20 dB", ">int8<"):
        assert label in text, label
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--precision int8", "--precision is about other precisions: give --drift too"),
        ("--limit-db 3", "--limit-db is about other precisions"),
        ("--measure", "--measure is about other precisions"),
        ("-o svg", "-o svg is about other precisions"),
        ("--drift --precision int9", "no precision 'int9'"),
        ("--drift --limit-db nan", "must be dB"),
        ("--drift --weights-only", "--drift is for a run of the model"),
        ("--drift --precision fp32 -o png", "-o png is no text: give it a file"),
    ],
)
def test_what_is_refused(model: str, words: str, text: str, capsys: Capture) -> None:
    assert main(["numerics", model, "--dim", "T=3", *words.split()]) == EXIT_ERROR
    err = capsys.readouterr().err
    assert text in err
    assert len(err.strip().splitlines()) == 1


def test_without_matplotlib_nothing_is_run(
    model: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(rnncost, "numerics", None, raising=False)
    assert main(["numerics", model, "--drift", "-o", "svg"]) == EXIT_ERROR
    assert "pip install 'rnncost[plots]'" in capsys.readouterr().err


def test_progress_names_what_is_done(model: str) -> None:
    lines: list[str] = []
    data = np.zeros((4, 1, 4), np.float32)
    rnncost.numerics(model, data=data, precisions=("int8",), progress=lines.append)
    assert "drift in int8: making the model" in lines
    assert any(line.startswith("drift in int8: layer 1 of 1") for line in lines)
