"""``rnncost diff``: its formats, options and exit codes, and what the documentation shows."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from report_samples import lstm, report_of

import rnncost
from rnncost.cli.main import main
from rnncost.difference.markdown import MARKER
from rnncost.errors import EXIT_ERROR, EXIT_OK
from rnncost.report.json_text import render_json

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parent.parent
DOC = ROOT / "docs" / "diff.md"
START, END = "<!-- output of the commands above; a test compares it -->\n```text\n", "```\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the bundled model and two reports."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "keyword_spotter.onnx", tmp_path / "examples")
    for name, hidden in (("base", 8), ("head", 6)):
        report = report_of([lstm("rnn", i=4, h=hidden)], warnings=["odd \x1b[2J"])
        (tmp_path / f"{name}.json").write_text(render_json(report))
    return tmp_path


def test_two_reports(capsys: Capture) -> None:
    assert main(["diff", "base.json", "head.json"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert "changed  rnn" in out
    assert "H 8 → 6" in out
    assert "warning: base and head: odd \\x1b[2J" in out
    assert err == ""


def test_every_format_at_once(folder: Path, capsys: Capture) -> None:
    words = "diff base.json head.json -o json -o markdown:m.md -o table:t.txt -v"
    assert main(words.split()) == EXIT_OK
    out, err = capsys.readouterr()
    data = json.loads(out)
    expected = rnncost.diff("base.json", "head.json")
    assert data == {"rnncost": rnncost.__version__, **expected.to_dict()}
    assert (folder / "m.md").read_text().startswith(MARKER)
    assert "state_bytes" in (folder / "t.txt").read_text()
    assert err == "rnncost: warning: base and head: odd \\x1b[2J\n"


def test_one_line(capsys: Capture) -> None:
    assert main(["diff", "base.json", "head.json", "-q"]) == EXIT_OK
    out, err = capsys.readouterr()
    assert out.startswith("base.json → head.json: MACs ")
    assert out.count("\n") == 1
    assert err == ""


def test_a_diff_is_no_report_that_another_command_takes_for_one(capsys: Capture) -> None:
    assert main("diff base.json head.json -q -o json:d.json".split()) == EXIT_OK
    assert main(["render", "d.json"]) == EXIT_ERROR
    assert "d.json is not a rnncost report" in capsys.readouterr().err


def test_options_reach_the_models(capsys: Capture) -> None:
    words = "diff examples/keyword_spotter.onnx examples/keyword_spotter.onnx --dim frames=30 "
    words += (
        "--dim batch=4 --profile esp32-s3 --profile raspberry-pi-4 --threads 2 --precision fp16"
    )
    assert main([*words.split(), "-o", "json"]) == EXIT_OK
    data = json.loads(capsys.readouterr().out)
    assert data["head"]["bindings"]["dims"] == {"batch": 4, "frames": 30}
    assert [e["profile"] for e in data["estimates"]] == ["esp32-s3", "raspberry-pi-4"]
    report = rnncost.analyze(
        "examples/keyword_spotter.onnx",
        dims={"frames": 30, "batch": 4},
        profiles=("esp32-s3", "raspberry-pi-4"),
        threads=2,
        precision="fp16",
    )
    for found, estimate in zip(data["estimates"], report.estimates, strict=True):
        assert found["metrics"]["latency_s"]["base"] == estimate.latency_s


def test_a_latency_to_sort_by(capsys: Capture) -> None:
    words = "diff examples/keyword_spotter.onnx examples/keyword_spotter.onnx --metric latency_s"
    assert main(words.split()) == EXIT_OK
    assert "by change in latency_s@x86-64-server-core" in capsys.readouterr().out


def test_a_factory_may_print(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    pytest.importorskip("torch")
    (folder / "printing_nets.py").write_text(
        "import torch\ndef build():\n    print('building')\n    return torch.nn.LSTM(4, 8)\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    words = "diff printing_nets:build base.json --shape input=98x1x4 -o json"
    assert main(words.split()) == EXIT_OK
    data = json.loads(capsys.readouterr().out)
    assert [op["status"] for op in data["ops"]] == ["renamed"]
    assert data["totals"]["macs"]["change"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("base.json", "missing argument 'HEAD'"),
        ("base.json absent.json", "cannot read absent.json"),
        ("base.json absent.onnx", "absent.onnx"),
        ("base.json head.json --dim seq=3", "dims (--dim) cannot apply: base and head are both"),
        ("base.json head.json --profile esp32-s3", "profiles (--profile) cannot apply"),
        ("base.json head.json --metric mac", "no metric 'mac', did you mean 'macs'?"),
        ("base.json head.json --metric latency_s -o json", "no profile has an estimate"),
        ("base.json head.json -o csv", "there is no format 'csv'"),
        ("base.json head.json -o json:absent/x", "the folder absent does not exist"),
        ("base.json edited.json", "edited.json contradicts itself: totals.macs"),
        ("base.json later.json", "later.json has schema version '2.0'"),
        ("base.json nan.json", "nan.json has the figure NaN"),
        ("base.json text.json", "text.json is not JSON"),
    ],
)
def test_faults_are_one_sentence_and_leave_nothing(
    words: str, said: str, folder: Path, capsys: Capture
) -> None:
    good = (folder / "base.json").read_text()
    (folder / "edited.json").write_text(good.replace('"macs": 37632', '"macs": 37', 1))
    (folder / "later.json").write_text(good.replace('"1.0"', '"2.0"'))
    (folder / "nan.json").write_text(good.replace('"coverage": 1.0', '"coverage": NaN'))
    (folder / "text.json").write_text("macs: 3")
    before = sorted(os.listdir(folder))
    assert main(["diff", *words.split()]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnncost: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert sorted(os.listdir(folder)) == before


def test_reports_with_estimates_of_other_settings(folder: Path, capsys: Capture) -> None:
    report = rnncost.analyze("examples/keyword_spotter.onnx", profiles="esp32-s3")
    (folder / "a.json").write_text(render_json(report))
    other = msgspec.structs.replace(
        report, estimates=[msgspec.structs.replace(report.estimates[0], profile_version="0")]
    )
    (folder / "b.json").write_text(render_json(other))
    assert main(["diff", "a.json", "b.json"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "warning: estimates on esp32-s3 differ in more than the model: profile version" in out
    assert out.index("warning") < out.index("unchanged:")


def test_the_documentation_shows_what_the_commands_answer(capsys: Capture) -> None:
    model = "examples/keyword_spotter.onnx"
    assert main(["analyze", model, "-q", "-o", "json:base.json"]) == EXIT_OK
    capsys.readouterr()
    assert main(["diff", "base.json", model, "--dim", "frames=120"]) == EXIT_OK
    shown = capsys.readouterr().out
    text = DOC.read_text(encoding="utf-8")
    start = text.index(START) + len(START)
    end = text.index(END, start)
    if os.environ.get("RNNCOST_OVERWRITE_GOLDEN"):
        DOC.write_text(text[:start] + shown + text[end:], encoding="utf-8", newline="\n")
    else:
        assert text[start:end] == shown
