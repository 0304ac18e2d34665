"""``rnncost numerics`` passes on what it is given and writes what it is asked."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numerics_models import layer_model, pinned_lstm, weights
from test_imports import HELP, imported, main_of

import rnncost
from rnncost.cli import numerics as cli
from rnncost.cli.main import main
from rnncost.errors import EXIT_ERROR, EXIT_OK

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "pinned.onnx"
    stored = pinned_lstm(0.99)
    shapes = {"X": ("T", 1, 2), "initial_h": (1, 1, 3), "initial_c": (1, 1, 3)}
    made = layer_model("LSTM", stored, shapes, ("Y", "Y_h", "Y_c"), hidden_size=3)
    made.graph.node[0].name = "evil\x1b[2J"
    onnx.save(made, path)
    return str(path)


def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def numerics(name: str, **options: Any) -> Any:
        seen.append({"model": name, **options})
        raise rnncost.RnncostError("enough")

    monkeypatch.setattr(rnncost, "numerics", numerics, raising=False)
    words = (
        "numerics m.onnx --dim T=7 --shape x=1x3 --value sr=16000 --data d.npz --chunks 5 "
        "--state h=h_out --state c=c_out --step-period 10ms --seed 3"
    )
    assert main(words.split()) == EXIT_ERROR
    (options,) = seen
    assert callable(options.pop("progress"))
    assert options == {
        "model": "m.onnx",
        "data": "d.npz",
        "dims": {"T": 7},
        "shapes": {"x": (1, 3)},
        "values": {"sr": 16000},
        "chunks": 5,
        "states": {"h": "h_out", "c": "c_out"},
        "step_period_s": 0.01,
        "seed": 3,
        "weights_only": False,
    }


def test_the_table(model: str, capsys: Capture) -> None:
    assert main(["numerics", model, "--dim", "T=500", "--step-period", "10ms"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert err == ""
    for text in ("69 (69 to 69)", "458 (458 to 458)", "0.0066", "689.7 ms", "100.0 %", "Prior"):
        assert text in out, text
    assert "\x1b" not in out
    assert "seed 0: not real data" in out


def test_machine_formats_and_files(model: str, tmp_path: Path, capsys: Capture) -> None:
    place = tmp_path / "out.md"
    words = ["numerics", model, "--dim", "T=500", "-o", "json", "-o", f"markdown:{place}"]
    assert main(words) == EXIT_OK
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)["numerics"]
    (layer,) = found["layers"]
    assert layer["memory"]["half_life_steps"]["p50"] == pytest.approx(68.97, abs=0.005)
    assert layer["memory"]["retention"][-1]["share"]["p50"] == pytest.approx(0.0066, abs=5e-5)
    expected = rnncost.numerics(model, dims={"T": 500}).to_dict()
    assert found == json.loads(json.dumps(expected))
    text = place.read_text(encoding="utf-8")
    assert text.startswith("### ")
    assert re.search(r"\|\s+k=500 \|", text)
    assert "\x1b" not in text


def test_one_line(model: str, capsys: Capture) -> None:
    assert main(["numerics", model, "--dim", "T=50", "-q"]) == EXIT_OK
    (line,) = capsys.readouterr().out.splitlines()
    assert "half-life 69 steps" in line
    assert "gradient exponent" in line
    assert main(["numerics", model, "-q", "--weights-only"]) == EXIT_OK
    assert "half-life 69 steps by its biases" in capsys.readouterr().out


def test_data_and_chunks(model: str, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "x.npz"
    np.savez(data, X=np.ones((4, 25, 1, 2), np.float32))
    assert main(["numerics", model, "--data", str(data), "--chunks", "4", "-v"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "handed on  initial_h from Y_h, initial_c from Y_c" in out
    assert "1, joined" in out
    assert "4 chunks" in out


def test_warnings_go_to_stderr_where_no_table_shows_them(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "stateless.onnx"
    onnx.save(layer_model("GRU", weights("GRU", 2, 3), {"X": (5, 1, 2)}, hidden_size=3), path)
    assert main(["numerics", str(path), "--chunks", "2", "-o", "json"]) == EXIT_OK
    out, err = capsys.readouterr()
    json.loads(out)
    assert "rnncost: warning: the model has no states as inputs" in err
    assert main(["numerics", str(path), "--chunks", "2"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert "the model has no states as inputs" in out
    assert err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "none.npy"], "there is no data file none.npy"),
        (["--state", "h"], "--state h: write an input and an output, as in h_in=h_out"),
        (["--state", "a=b", "--state", "a=c"], "--state a is given twice"),
        (["--state", "X=Y_x"], "the model has no output 'Y_x', did you mean 'Y_h'"),
        (["--step-period", "0s"], "--step-period 0s: give a time above 0"),
        (["--step-period", "soon"], "--step-period: 'soon' is not a time"),
        (["--weights-only", "--chunks", "2"], "--chunks is for a run of the model"),
        (["--weights-only", "--data", "x"], "--data is for a run of the model"),
        (["--weights-only", "--state", "a=b"], "--state is for a run of the model"),
        (["--weights-only", "--step-period", "1s"], "--step-period is for a run of the model"),
        (["--chunks", "0"], "(see rnncost numerics --help)"),
        (["-o", "pdf"], "there is no format 'pdf'"),
        (["--shape", "X=3"], "input 'X'"),
    ],
)
def test_faults_are_one_sentence(
    words: list[str], message: str, model: str, capsys: Capture
) -> None:
    assert main(["numerics", model, *words]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("rnncost: error: ")
    assert message in line


def test_a_model_without_recurrence(tmp_path: Path, capsys: Capture) -> None:
    from numerics_models import model_of
    from onnx import TensorProto, helper

    path = tmp_path / "relu.onnx"
    node = helper.make_node("Relu", ["x"], ["y"])
    onnx.save(model_of([node], {"x": (TensorProto.FLOAT, (2, 3))}, ("y",)), path)
    assert main(["numerics", str(path)]) == EXIT_ERROR
    assert "has no recurrent layer" in capsys.readouterr().err


def test_progress_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    clock = iter([0.0, 1.0, 3.0, 3.5])
    monkeypatch.setattr(cli.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    tell = cli._progress(quiet=False)
    for text in ("early", "late", "soon after"):
        tell(text)
    assert capsys.readouterr().err == "rnncost: late\n"
    cli._progress(quiet=True)("quiet")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    cli._progress(quiet=False)("no terminal")
    assert capsys.readouterr().err == ""


def test_progress_is_told() -> None:
    lines: list[str] = []
    made = layer_model("GRU", weights("GRU", 2, 3), {"X": (5, 1, 2)}, hidden_size=3)
    rnncost.numerics(made, chunks=2, progress=lines.append)
    assert any("layer 1 of 1" in line for line in lines)
    assert any("chunk 2 of 2" in line for line in lines)


def test_progress_of_a_long_sequence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnncost.along_time.calls.BLOCK_VALUES", 900)
    lines: list[str] = []
    made = layer_model("GRU", weights("GRU", 2, 3), {"X": (250, 1, 2)}, hidden_size=3)
    rnncost.numerics(made, progress=lines.append)
    told = [line.rpartition(", ")[2] for line in lines if ", step " in line]
    assert told == ["step 100 of 250", "step 200 of 250", "step 250 of 250"]


def test_help_imports_nothing_heavy() -> None:
    assert imported(main_of("numerics", "--help")) <= HELP | {"msgspec", "typing_extensions"}
