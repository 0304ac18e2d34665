"""``rnncost fit`` passes on what it is given and writes what it is asked."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rnncost
from rnncost.cli.fit import parse_extents, parse_maxima
from rnncost.cli.main import main
from rnncost.errors import EXIT_ERROR, EXIT_OVER_BUDGET, BindingError
from rnncost.search.counts import COUNTS

Capture = pytest.CaptureFixture[str]

DOCS = Path(__file__).parent.parent / "docs" / "fit.md"
SMALL = "--hidden 16-64:16 --input 40"
LIMITED = f"fit {SMALL} --dim seq=20 --max latency_s=100us@raspberry-pi-4"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    real = rnncost.fit

    def fit(**options: Any) -> Any:
        seen.append(options)
        return real(inputs=8, hidden_sizes=8)

    monkeypatch.setattr(rnncost, "fit", fit, raising=False)
    return seen


def test_every_option_arrives(calls: list[dict[str, Any]], capsys: Capture) -> None:
    words = "fit --cell lstm,gru --layers 1-4 --hidden 32-1024 --direction uni,bi --input 80"
    words += " --dim seq=100 --dim batch=1-4 --precision fp32,int8 --fits esp32 --fits cortex-m7"
    words += " --max latency_s=5ms@raspberry-pi-4 --max params=1e6 --profile t4 --threads 2"
    words += " --max energy_j=1@a=b.yaml --maximize macs --top 3"
    assert main(words.split()) == 0
    assert calls == [
        {
            "cells": "lstm,gru",
            "layers": "1-4",
            "hidden_sizes": "32-1024",
            "directions": "uni,bi",
            "inputs": "80",
            "dims": {"seq": "100", "batch": "1-4"},
            "precisions": "fp32,int8",
            "maximum": {
                "latency_s@raspberry-pi-4": "5ms",
                "params": "1e6",
                "energy_j@a=b.yaml": "1",
            },
            "fits": ("esp32", "cortex-m7"),
            "profiles": ("t4",),
            "threads": 2,
            "maximize": "macs",
            "top": 3,
        }
    ]
    assert capsys.readouterr().err == ""


def test_the_defaults_are_those_of_the_function(calls: list[dict[str, Any]]) -> None:
    import inspect

    assert main(f"fit {SMALL}".split()) == 0
    (given,) = calls
    for name, parameter in inspect.signature(rnncost.search.fit).parameters.items():
        if name not in ("inputs", "hidden_sizes", "dims", "maximum"):
            assert str(given[name]) == str(parameter.default), name


def test_the_table_is_the_result(capsys: Capture) -> None:
    assert main(LIMITED.split()) == 0
    out, err = capsys.readouterr()
    limits = {"latency_s@raspberry-pi-4": "100us"}
    assert (
        out
        == f"{rnncost.fit(inputs=40, hidden_sizes='16-64:16', dims={'seq': 20}, maximum=limits)}\n"
    )
    assert err == ""


def test_every_format(tmp_path: Path, capsys: Capture) -> None:
    words = f"{LIMITED} -o json -o csv:{tmp_path}/c -o table:{tmp_path}/t"
    assert main(words.split()) == 0
    out, _ = capsys.readouterr()
    data = json.loads(out)
    assert data["rnncost"] == rnncost.__version__
    found = data["fit"]
    assert found["designs"] == 4
    rows = list(csv.DictReader(io.StringIO((tmp_path / "c").read_text())))
    assert [int(row["hidden"]) for row in rows] == [row["hidden"] for row in found["table"]]
    assert (tmp_path / "t").read_text().startswith("4 designs: cell lstm; direction uni")


def test_where_nothing_meets_the_limits_the_exit_code_is_1(capsys: Capture) -> None:
    words = f"fit {SMALL} --max params=100 --max lookahead_steps=0"
    assert main(words.split()) == EXIT_OVER_BUDGET
    out, err = capsys.readouterr()
    assert "every limit is met by none" in out
    assert "the nearest is lstm uni 1x16, which misses params by 3,612 %" in out
    assert err == ""
    assert main([*words.split(), "-q"]) == EXIT_OVER_BUDGET
    out = capsys.readouterr().out
    assert out == (
        "every limit is met by none of 4 designs; the nearest is lstm uni 1x16, which misses "
        "params by 3,612 %\n"
    )
    assert main([*words.split(), "-o", "json"]) == EXIT_OVER_BUDGET
    found = json.loads(capsys.readouterr().out)["fit"]
    assert (found["meeting"], found["nearest"]["hidden"]) == (0, 16)


def test_quiet_prints_one_line(capsys: Capture) -> None:
    assert main([*LIMITED.split(), "-q"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "every limit is met by 2 of 4 designs; the best is lstm uni 1x32: params "
    )
    assert out.count("\n") == 1


def test_a_note_goes_to_stderr_where_no_table_shows_it(capsys: Capture) -> None:
    words = "fit --hidden 1-500 --input 1-20 --max macs=1e12 -o json"
    assert main(words.split()) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["fit"]["front"] is None
    assert err.startswith("rnncost: warning: the front is left out")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--input 8", "missing option '--hidden'"),
        ("--hidden 8", "missing option '--input'"),
        ("--hidden 8-4 --input 8", "hidden: the range 8-4 is empty"),
        ("--hidden 0 --input 8", "hidden: '0' is not within 1 to"),
        ("--hidden 1-2000000000 --input 1-9", "narrow it"),
        (f"{SMALL} --dim seq", "--dim seq: write it as --dim seq=100"),
        (f"{SMALL} --dim sec=3", "no dimension 'sec', did you mean 'seq'?"),
        (f"{SMALL} --dim seq=3 --dim seq=4", "--dim seq is given twice"),
        (f"{SMALL} --max params", "--max params: write it as --max params=1e6"),
        (f"{SMALL} --max params=1 --max params=2", "--max params is given twice"),
        (f"{SMALL} --max params=nan", "'nan' is not a count"),
        (f"{SMALL} --max parms=1", "there is no metric 'parms', did you mean 'params'?"),
        (f"{SMALL} --max latency_s=5ms", "latency_s needs a profile"),
        (f"{SMALL} --max latency_s=5MB@raspberry-pi-4", "'5MB' is not a time"),
        (f"{SMALL} --max latency_s=1s@raspbery-pi-4", "did you mean 'raspberry-pi-4'?"),
        (f"{SMALL} --max latency_s=1s@no/such.yaml", "no such profile file"),
        (f"{SMALL} --max fits=true@esp32", "give --fits PROFILE"),
        (f"{SMALL} --cell ltsm", "did you mean 'lstm'?"),
        (f"{SMALL} -o markdown", "there is no format 'markdown'"),
        (f"{SMALL} --top 0", "0 is not in the range"),
    ],
)
def test_odd_input_is_one_sentence(words: str, said: str, capsys: Capture) -> None:
    assert main(["fit", *words.split()]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


def test_extents_and_limits_are_read_from_text() -> None:
    assert parse_extents(["seq=1-9:2"]) == {"seq": "1-9:2"}
    assert parse_maxima(["macs=1e6", "latency_s= 5 ms@a@b.yaml"]) == {
        "macs": "1e6",
        "latency_s@a@b.yaml": " 5 ms",
    }
    for item in ("", "=", "x=", "=3"):
        with pytest.raises(BindingError):
            parse_extents([item])
        with pytest.raises(BindingError):
            parse_maxima([item])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom rnncost.cli.main import main\nmain(['fit', '--help'])\n"
        "print(*sorted({'numpy', 'onnx', 'torch', 'tabulate', 'yaml'} & set(sys.modules)), sep='!')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n\n")
    assert "--hidden" in done.stdout


# -- the documentation --------------------------------------------------------------------


def transcript() -> tuple[str, str]:
    """The command of docs/fit.md and what stands under it."""
    text = DOCS.read_text(encoding="utf-8")
    match = re.search(r"```text\n\$ (.*?)\n(.*?)```", text, re.DOTALL)
    assert match is not None
    return match[1], match[2]


def test_the_transcript_is_that_of_the_command() -> None:
    line, shown = transcript()
    program, *words = shlex.split(line)
    assert program == "rnncost"
    done = subprocess.run(
        [sys.executable, "-m", "rnncost", *words],
        capture_output=True,
        check=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "100"},
        timeout=60,
    )
    if os.environ.get("RNNCOST_OVERWRITE_GOLDEN"):
        text = DOCS.read_text(encoding="utf-8")
        before, after = f"$ {line}\n{shown}", f"$ {line}\n{done.stdout}"
        DOCS.write_text(text.replace(before, after, 1), encoding="utf-8", newline="\n")
        shown = transcript()[1]
    assert shown == done.stdout


def test_the_documentation_lists_every_total() -> None:
    text = DOCS.read_text(encoding="utf-8")
    listed = re.search(r"- Totals: (.*?)\.\n", text, re.DOTALL)
    assert listed is not None
    assert re.findall(r"`(\w+)`", listed[1]) == list(COUNTS)
