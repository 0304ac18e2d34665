"""``rnncost compare`` passes on what it is given and writes what it is asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
from comparison_models import network

import rnncost
from rnncost.cli.compare import parse_names, parse_numbers
from rnncost.cli.main import main
from rnncost.comparison import Comparison
from rnncost.comparison.text import one_line, render_markdown, render_text
from rnncost.errors import EXIT_ERROR, BindingError, VariantError

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "compare.md"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def sample() -> Comparison:
    model = network([("LSTM", 8, 2)])
    model.graph.node[0].name = "a \x1b[31mlayer"
    return rnncost.compare(model, precisions=["fp16"], profiles=["x86-64-server-core"])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, sample: Comparison) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []

    def compare(model: str, **options: Any) -> Comparison:
        seen.append({"model": model, **options})
        print("printed by a factory")
        return sample

    monkeypatch.setattr(rnncost, "compare", compare, raising=False)
    return seen


NOTHING = {
    "cells": (),
    "directions": (),
    "hidden_sizes": (),
    "layers": (),
    "precisions": (),
    "steps": (),
    "batches": (),
    "policy": None,
    "dims": {},
    "shapes": {},
    "values": {},
    "profiles": None,
    "threads": 1,
    "measure": False,
    "step_period_s": None,
    "chunk": None,
}


def test_defaults(calls: list[dict[str, Any]], sample: Comparison, capsys: Capture) -> None:
    assert main(["compare", "m.onnx"]) == 0
    assert calls == [{"model": "m.onnx", **NOTHING}]
    out, err = capsys.readouterr()
    assert out == f"{render_text(sample)}\n"
    assert "\x1b" not in out
    assert err == "printed by a factory\n"


def test_every_option_arrives(calls: list[dict[str, Any]]) -> None:
    words = "compare m.onnx --cell gru,rnn --direction uni --hidden 64,128 --layers 1,2"
    words += " --precision int8,fp16 --steps 50,200 --batch 4,8 --policy same-width"
    words += " --dim seq=7 --shape x=1x3 --value sr=16000 --profile a100 --profile my.yaml"
    words += " --threads 2 --measure --step-period 10ms --chunk 16"
    assert main(words.split()) == 0
    assert calls == [
        {
            "model": "m.onnx",
            "cells": ("gru", "rnn"),
            "directions": ("uni",),
            "hidden_sizes": (64, 128),
            "layers": (1, 2),
            "precisions": ("int8", "fp16"),
            "steps": (50, 200),
            "batches": (4, 8),
            "policy": "same-width",
            "dims": {"seq": 7},
            "shapes": {"x": (1, 3)},
            "values": {"sr": 16000},
            "profiles": ("a100", "my.yaml"),
            "threads": 2,
            "measure": True,
            "step_period_s": 0.01,
            "chunk": 16,
        }
    ]


@pytest.mark.usefixtures("calls")
def test_outputs(sample: Comparison, tmp_path: Path, capsys: Capture) -> None:
    words = ["compare", "m.onnx", "-o", "json", "-o", f"table:{tmp_path}/t", "-v"]
    assert main([*words, "-o", f"markdown:{tmp_path}/m"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data == {
        "rnncost": rnncost.__version__,
        "comparison": json.loads(json.dumps(sample.to_dict())),
    }
    assert (tmp_path / "t").read_text() == f"{render_text(sample, verbose=True)}\n"
    assert (tmp_path / "m").read_text() == f"{render_markdown(sample, verbose=True)}\n"
    assert main(["compare", "m.onnx", "-q"]) == 0
    assert capsys.readouterr().out == f"{one_line(sample)}\n"
    assert main(["compare", "m.onnx", "--color", "always"]) == 0
    assert capsys.readouterr().out == f"{render_text(sample, color=True)}\n"


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--hidden 64;128", "--hidden 64;128: write whole numbers from 1 on with commas"),
        ("--layers 0", "--layers 0: write whole numbers"),
        ("--steps x", "--steps x: write whole numbers"),
        ("--batch 4,", "--batch 4,: write whole numbers"),
        ("--step-period 10", None),
        ("--step-period 0ms", "--step-period 0ms: give a time above 0, as 10ms"),
        ("--step-period 10kB", "--step-period: '10kB' is not a time"),
        ("--step-period nan", "--step-period: 'nan' is not a time"),
        ("--step-period -1s", "--step-period: '-1s' is below 0"),
        ("--chunk 0", "'--chunk'"),
        ("--policy same", "'--policy'"),
        ("-o csv", "there is no format 'csv'"),
        ("-o json -o table", "two outputs go to stdout"),
    ],
)
def test_odd_options_are_one_sentence(words: str, said: str | None, capsys: Capture) -> None:
    code = main(["compare", "m.onnx", *words.split()])
    err = capsys.readouterr().err
    if said is None:  # seconds are the base unit
        assert code == 0
        return
    assert code == EXIT_ERROR
    assert said in err
    assert err.count("\n") == 1
    assert err.startswith("rnncost: error: ")


def test_faults_are_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail(*_: object, **__: object) -> None:
        raise VariantError("this model has no variant")

    monkeypatch.setattr(rnncost, "compare", fail, raising=False)
    assert main(["compare", "m.onnx"]) == EXIT_ERROR
    assert capsys.readouterr().err == "rnncost: error: this model has no variant\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("no-such.onnx", "no-such.onnx"),
        ("model.onnx --cell gruu", "there is no cell 'gruu', did you mean 'gru'?"),
        ("model.onnx --precision fp12", "there is no precision 'fp12'"),
        ("model.onnx --chunk 3", "a chunk needs the time between two steps too"),
        ("model.onnx --dim length=3", "the model has no free dimension 'length'"),
        ("model.onnx --profile no-such", "no hardware profile is named 'no-such'"),
    ],
)
def test_faults_of_a_real_call(
    words: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    onnx.save(network([("GRU", 4, 1)]), tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    assert main(["compare", *words.split()]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_lists() -> None:
    assert parse_names(None) == ()
    assert parse_names("gru, rnn") == ("gru", "rnn")
    assert parse_numbers("--hidden", None) == ()
    assert parse_numbers("--hidden", "1, 20") == (1, 20)
    for text in ("", "1,,2", "-1", "1.5", "²", "1_0"):
        with pytest.raises(BindingError):
            parse_numbers("--hidden", text)


def documented() -> list[tuple[str, str]]:
    """The commands of the document that have their output under them."""
    text = DOCUMENT.read_text(encoding="utf-8")
    pattern = r"```sh\n(rnncost compare [^\n]*)\n```\n\n```text\n(.*?)```\n"
    return re.findall(pattern, text, flags=re.DOTALL)


def test_the_document_shows_what_its_commands_print() -> None:
    shown = documented()
    assert len(shown) >= 2
    text = DOCUMENT.read_text(encoding="utf-8")
    for command, output in shown:
        done = subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=ROOT,
            capture_output=True,
            check=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "100"},
            timeout=60,
        )
        if os.environ.get("RNNCOST_OVERWRITE_GOLDEN"):
            text = text.replace(output, done.stdout)
            DOCUMENT.write_text(text, encoding="utf-8", newline="\n")
        else:
            assert output == done.stdout, command
