"""``rnncost validate`` passes on what it is given and writes what it is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from report_samples import spotter

import rnncost
from rnncost.cli.main import main
from rnncost.errors import EXIT_ERROR, MeasurementError
from rnncost.runtime.timing import Machine, Timing
from rnncost.validation import Comparison, Validation

Capture = pytest.CaptureFixture[str]


def sample() -> Validation:
    report = spotter()
    return Validation(
        model="spotter\x1b[2J.onnx",
        bindings=report.bindings,
        timing=Timing(
            min_s=1.5e-3,
            median_s=1.6e-3,
            p90_s=1.7e-3,
            iqr_s=5e-5,
            runs=300,
            threads=1,
            runtime="onnxruntime 1.20",
            machine=Machine(cpu="a \x1b[31mCPU", cores=2, system="Linux 6"),
        ),
        comparisons=[
            Comparison(
                kind=kind, estimate=e, ratio_to_min=e.latency_s / 1.5e-3, ratio_to_median=1.0
            )
            for kind, e in zip(("cpu", "mcu"), report.estimates, strict=True)
        ],
        warnings=["a \x1b[31mwarning"],
    )


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []

    def validate(model: str, **options: Any) -> Validation:
        seen.append({"model": model, **options})
        return sample()

    monkeypatch.setattr(rnncost, "validate", validate, raising=False)
    return seen


def test_every_option_arrives(calls: list[dict[str, Any]], capsys: Capture) -> None:
    words = "validate m.onnx --dim seq=7 --shape x=1x3 --value sr=16000 --trace --profile a100"
    words += " --threads 2 --min-time 0.1 --max-time 3"
    assert main(words.split()) == 0
    assert calls == [
        {
            "model": "m.onnx",
            "dims": {"seq": 7},
            "shapes": {"x": (1, 3)},
            "values": {"sr": 16000},
            "trace": True,
            "profiles": ("a100",),
            "threads": 2,
            "min_time_s": 0.1,
            "max_time_s": 3.0,
        }
    ]
    out, err = capsys.readouterr()
    assert out == str(sample()).replace("\x1b", "\\x1b") + "\n"
    assert "uncalibrated" in out
    assert err == ""


@pytest.mark.usefixtures("calls")
def test_json_goes_out_alone(tmp_path: Path, capsys: Capture) -> None:
    assert main(["validate", "m.onnx", "-o", "json", "-o", f"table:{tmp_path}/t"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == sample().to_dict()
    assert err == "rnncost: warning: a \\x1b[31mwarning\n"
    assert "measured" in (tmp_path / "t").read_text()


@pytest.mark.usefixtures("calls")
def test_quiet_prints_one_line(capsys: Capture) -> None:
    assert main(["validate", "m.onnx", "-q"]) == 0
    out, err = capsys.readouterr()
    assert out == (
        "spotter\\x1b[2J.onnx: minimum 1.5 ms, median 1.6 ms; "
        "x86-64-server-core estimates 1.93 ms; cortex-m7-480mhz-microcontroller estimates 410 ms\n"
    )
    assert err == ""


def test_faults_are_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MeasurementError("ONNX Runtime cannot run the model: no memory")

    monkeypatch.setattr(rnncost, "validate", fail, raising=False)
    assert main(["validate", "m.onnx"]) == EXIT_ERROR
    assert capsys.readouterr().err == (
        "rnncost: error: ONNX Runtime cannot run the model: no memory\n"
    )
    assert main(["validate", "m.onnx", "-o", "csv"]) == EXIT_ERROR
    assert "there is no format 'csv'" in capsys.readouterr().err
