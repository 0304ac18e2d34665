"""``rnncost analyze`` and ``render`` pass on what they are given and write what they are asked."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from report_samples import hostile, spotter

import rnncost
from rnncost.cli.main import main
from rnncost.errors import EXIT_ERROR, ShapeError
from rnncost.report.json_text import render_json
from rnncost.report.summary import verdict
from rnncost.report.table import render_table

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand-in for ``rnncost.analyze``: records its arguments, returns the sample report."""
    seen: list[dict[str, Any]] = []

    def analyze(model: str, **options: Any) -> rnncost.Report:
        seen.append({"model": model, **options})
        print("printed by a factory")
        return spotter()

    monkeypatch.setattr(rnncost, "analyze", analyze, raising=False)
    return seen


def test_defaults(calls: list[dict[str, Any]], capsys: Capture) -> None:
    assert main(["analyze", "m.onnx"]) == 0
    assert calls == [
        {
            "model": "m.onnx",
            "dims": {},
            "shapes": {},
            "values": {},
            "trace": False,
            "symbolic": True,
            "profiles": ("x86-64-server-core",),
            "precision": None,
            "threads": 1,
            "sha256": False,
        }
    ]
    out, err = capsys.readouterr()
    assert out == f"{render_table(spotter())}\n"
    assert err == "printed by a factory\n"


def test_every_option_arrives(calls: list[dict[str, Any]], tmp_path: Path) -> None:
    words = "analyze pkg.mod:make --dim seq=7 --dim batch=2 --shape a:0=b=1x3 --value sr=16000"
    words += (
        " --trace --no-symbolic --profile a100 --profile ./my.yaml --precision int8 --threads 4"
    )
    assert main([*words.split(), "-o", f"json:{tmp_path}/r.json"]) == 0
    assert calls == [
        {
            "model": "pkg.mod:make",
            "dims": {"seq": 7, "batch": 2},
            "shapes": {"a:0=b": (1, 3)},
            "values": {"sr": 16000},
            "trace": True,
            "symbolic": False,
            "profiles": ("a100", "./my.yaml"),
            "precision": "int8",
            "threads": 4,
            "sha256": True,
        }
    ]


@pytest.mark.usefixtures("calls")
def test_several_outputs_of_one_run(tmp_path: Path, capsys: Capture) -> None:
    args = ["analyze", "m.onnx", "-o", "json"]
    for name in ("table", "csv", "markdown"):
        args += ["-o", f"{name}:{tmp_path / name}"]
    assert main(args) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == spotter().to_dict()
    assert err.splitlines() == [
        "printed by a factory",
        f"rnncost: warning: {spotter().warnings[0]}",
    ]
    assert (tmp_path / "table").read_text() == f"{render_table(spotter())}\n"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "csv").read_text())))
    assert sum(int(row["macs"] or 0) for row in rows) == spotter().totals.macs
    assert (tmp_path / "markdown").read_text().startswith("### keyword_spotter.onnx")


@pytest.mark.usefixtures("calls")
def test_quiet_prints_one_line(tmp_path: Path, capsys: Capture) -> None:
    for more in ([], ["-o", f"json:{tmp_path}/r.json"]):
        assert main(["analyze", "m.onnx", "-q", *more]) == 0
        out, err = capsys.readouterr()
        assert out == f"{verdict(spotter())}\n"
        assert err == "printed by a factory\n"
    assert main(["analyze", "m.onnx", "-q", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == spotter().to_dict()


@pytest.mark.usefixtures("calls")
def test_verbose_and_colour(capsys: Capture) -> None:
    assert main(["analyze", "m.onnx", "-v", "--color", "always"]) == 0
    out = capsys.readouterr().out
    assert out == f"{render_table(spotter(), verbose=True, color=True)}\n"


@pytest.mark.usefixtures("calls")
def test_options_are_checked_before_the_work(calls: list[dict[str, Any]], capsys: Capture) -> None:
    for args in (
        ["--dim", "seq"],
        ["--shape", "x=1xN"],
        ["--value", "x=@/absent.npy"],
        ["--threads", "0"],
        ["--precision", "fp31"],
        ["-o", "xml"],
        ["-o", "json:/absent/folder/r.json"],
    ):
        assert main(["analyze", "m.onnx", *args]) == EXIT_ERROR
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("rnncost: error: ")
        assert err.count("\n") == 1
    assert calls == []


def test_a_failed_analysis_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ShapeError("dimension 'seq\x1b[2J' of input 'x' is not known: give --dim seq=N")

    monkeypatch.setattr(rnncost, "analyze", fail, raising=False)
    assert main(["analyze", "m.onnx", "-o", f"json:{tmp_path}/r.json"]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "rnncost: error: dimension 'seq\\x1b[2J' of input 'x' is not known: give --dim seq=N\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_render_gives_what_analyze_gave(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "r.json"
    for report in (spotter(), hostile()):
        path.write_text(render_json(report), encoding="utf-8")
        assert main(["render", str(path)]) == 0
        assert capsys.readouterr().out == f"{render_table(report)}\n"
        assert main(["render", str(path), "-o", "json"]) == 0
        assert capsys.readouterr().out == path.read_text(encoding="utf-8") + "\n"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without end")
def test_render_does_not_read_a_device_without_end(capsys: Capture) -> None:
    assert main(["render", "/dev/zero"]) == 2
    assert "/dev/zero is a device, not a report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("", "is not JSON"),
        ("{}", "not a rnncost report"),
        ('{"schema_version": "9.0"}', "schema version '9.0' and this rnncost reads 1.x"),
        ('{"schema_version": "1.0"}', "missing required field tool"),
    ],
)
def test_render_refuses_what_is_no_report(
    content: str | None, message: str, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "r.json"
    if content is not None:
        path.write_text(content)
    assert main(["render", str(path)]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnncost: error: ")
    assert message in err
    assert "r.json" in err
    assert err.count("\n") == 1


def test_the_machines_own_profile_is_the_default_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(Path(__file__).parent.parent / "examples" / "keyword_spotter.onnx")
    monkeypatch.setenv("RNNCOST_PROFILES", str(tmp_path))
    assert main(["analyze", model, "-q", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["estimates"][0]["profile"] == "x86-64-server-core"
    (tmp_path / "host.yaml").write_text(
        "schema_version: 1\nname: host\nextends: xeon-platinum-8480\n", encoding="utf-8"
    )
    assert main(["analyze", model, "-q", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["estimates"][0]["profile"] == "host"
