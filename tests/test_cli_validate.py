"""``rnncost validate`` passes on what it is given and writes what it is asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from report_samples import spotter

import rnncost
from rnncost.cli.main import main
from rnncost.cli.validate import _SUITES, parse_threads, parse_tolerance
from rnncost.errors import EXIT_ERROR, EXIT_OVER_BUDGET, BindingError, MeasurementError
from rnncost.runtime.machine import Machine
from rnncost.runtime.timing import Timing
from rnncost.suites import registry
from rnncost.suites.model import Case, SuiteResult
from rnncost.suites.registry import Options
from rnncost.validation import Comparison, NodeLine, Validation
from rnncost.validation.model import judge

Capture = pytest.CaptureFixture[str]

TIMING = Timing(
    min_s=1.5e-3, median_s=1.6e-3, p90_s=1.7e-3, iqr_s=5e-5, runs=300, per_round_min_s=(1.5e-3,)
)


def sample(model: str = "spotter\x1b[2J.onnx", tolerance: float | None = None) -> Validation:
    report = spotter()
    kinds = ("cpu", "mcu")
    ratios = [estimate.latency_s / 1.5e-3 for estimate in report.estimates]
    return Validation(
        model=model,
        threads=1,
        bindings=report.bindings,
        runtime="onnxruntime 1.20",
        machine=Machine(cpu="a \x1b[31mCPU", cores=2, system="Linux 6"),
        timing=TIMING,
        reference=TIMING,
        drift=1.0,
        comparisons=[
            Comparison(
                kind=kind,
                estimate=estimate,
                ratio_to_min=ratio,
                ratio_to_steady=ratio,
                ratio_to_median=1.0,
                speed=1.0,
                verdict=judge(kind, ratio, 1.0, tolerance),
            )
            for kind, estimate, ratio in zip(kinds, report.estimates, ratios, strict=True)
        ],
        nodes=[
            NodeLine(
                rows=["con\x1b[2Jv", "relu"],
                op_types=["Conv", "Relu"],
                nodes=["fused conv"],
                node_types=["FusedConv"],
                kinds=["product", "elementwise"],
                measured_s=1e-3,
                estimated_s={report.estimates[0].profile: 2e-3},
                bound_by={report.estimates[0].profile: "compute"},
            )
        ],
        outside_s=5e-4,
        tolerance=tolerance,
        warnings=["a \x1b[31mwarning"],
    )


def plain(result: Validation) -> Any:
    return json.loads(json.dumps(result.to_dict()))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []

    def validate(model: str, **options: Any) -> Validation:
        seen.append({"model": model, **options})
        return sample(model, options["tolerance"])

    monkeypatch.setattr(rnncost, "validate", validate, raising=False)
    return seen


def suite_result() -> SuiteResult:
    cases = [
        Case(
            name=f"case {number}",
            group="one",
            features={"cell": "LSTM" if number % 2 else "GRU"},
            measured_s=1e-3 * (number + 1),
            predicted_s=1.1e-3 * (number + 1),
            baselines={"bare roofline": 2e-3 * (number + 1)},
        )
        for number in range(4)
    ]
    return SuiteResult(suite="layers", cases=cases, facts={"seed": "7"}, notes=["a note"])


@pytest.fixture
def suites(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Options]]:
    seen: list[tuple[str, Options]] = []

    def run_suite(name: str, options: Options, progress: Any) -> SuiteResult:
        seen.append((name, options))
        progress("1/4 under way")
        return suite_result()

    monkeypatch.setattr(registry, "run_suite", run_suite)
    return seen


def test_every_option_arrives(calls: list[dict[str, Any]], capsys: Capture) -> None:
    words = "validate m.onnx --dim seq=7 --shape x=1x3 --value sr=16000 --trace --profile a100"
    words += " --threads 2 --min-time 0.1 --max-time 3 --tolerance 30%"
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
            "tolerance": 0.3,
            "min_time_s": 0.1,
            "max_time_s": 3.0,
        }
    ]
    out, err = capsys.readouterr()
    assert "\x1b" not in out
    assert "con\\x1b[2Jv + relu (FusedConv)" in out
    assert "verdict (±30 %)" in out
    assert err == ""


def test_each_model_is_timed_with_each_number_of_threads(
    calls: list[dict[str, Any]], capsys: Capture
) -> None:
    assert main("validate a.onnx b.onnx --threads 1,2 -o json".split()) == 0
    turns = [(call["model"], call["threads"]) for call in calls]
    assert turns == [("a.onnx", 1), ("a.onnx", 2), ("b.onnx", 1), ("b.onnx", 2)]
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert data["rnncost"] == rnncost.__version__
    assert [v["model"] for v in data["validations"]] == ["a.onnx", "a.onnx", "b.onnx", "b.onnx"]
    assert data["validations"][0] == plain(sample("a.onnx"))
    assert "timing b.onnx, threads=2" in err
    assert err.count("a \\x1b[31mwarning") == 1


@pytest.mark.usefixtures("calls")
def test_the_exit_code_is_the_verdict(capsys: Capture) -> None:
    """The sample's estimate is 1.93 ms, 29 % above the minimum."""
    assert main("validate m.onnx --tolerance 28% -q".split()) == EXIT_OVER_BUDGET
    assert "(+29%, outside)" in capsys.readouterr().out
    assert main("validate m.onnx --tolerance 0.3 -q".split()) == 0
    assert "(+29%, within)" in capsys.readouterr().out
    assert main("validate m.onnx -q".split()) == 0
    assert "(+29%)" in capsys.readouterr().out


@pytest.mark.usefixtures("calls")
def test_json_goes_out_alone(tmp_path: Path, capsys: Capture) -> None:
    words = ["validate", "m.onnx", "-o", "json", "-o", f"table:{tmp_path}/t"]
    assert main([*words, "-o", f"markdown:{tmp_path}/m"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["validations"] == [plain(sample("m.onnx"))]
    assert err == "rnncost: warning: a \\x1b[31mwarning\n"
    assert "measured" in (tmp_path / "t").read_text()
    markdown = (tmp_path / "m").read_text()
    assert markdown.startswith("### m.onnx, 1 thread\n")
    assert "\x1b" not in markdown


@pytest.mark.usefixtures("calls")
def test_quiet_prints_a_line_for_each(capsys: Capture) -> None:
    assert main(["validate", "a\x1b.onnx", "b.onnx", "-q"]) == 0
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first.startswith("a\\x1b.onnx, 1 thread: minimum 1.5 ms, steady 1.5 ms; ")
    assert "x86-64-server-core estimates 1.93 ms (+29%)" in first
    assert second.startswith("b.onnx")
    assert err == ""


def test_faults_are_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MeasurementError("ONNX Runtime cannot run the model: no memory")

    monkeypatch.setattr(rnncost, "validate", fail, raising=False)
    assert main(["validate", "m.onnx"]) == EXIT_ERROR
    assert capsys.readouterr().err == (
        "rnncost: error: ONNX Runtime cannot run the model: no memory\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "nothing to validate: give one or more .onnx files, or --suite"),
        ("m.onnx -o csv", "there is no format 'csv'"),
        ("m.onnx -o svg", "-o svg is the plot of a --suite"),
        ("m.onnx --suite layers", "give either models or --suite, not both"),
        ("m.onnx --seed 3", "--seed goes with --suite, not with MODEL"),
        ("m.onnx --models folder", "--models goes with --suite, not with MODEL"),
        ("--suite layers --dim a=1", "--dim goes with MODEL, not with --suite"),
        ("--suite layers --tolerance 15%", "--tolerance goes with MODEL, not with --suite"),
        ("--suite layers --min-time 1", "--min-time goes with MODEL, not with --suite"),
        ("--suite models --seed 3", "--seed has no meaning for --suite models, only for layers"),
        ("--suite published --threads 2", "only for layers and models"),
        ("--suite layers --profile a --profile b", "--suite takes one --profile"),
        ("--suite nonsense", "'nonsense' is not one of 'layers', 'models', 'published'"),
        ("m.onnx --threads two", "write whole numbers from 1 on"),
        ("m.onnx --tolerance 15", "would be 1500 %: write 15% or 0.15"),
    ],
)
@pytest.mark.usefixtures("calls")
def test_what_does_not_go_together_is_refused(words: str, said: str, capsys: Capture) -> None:
    assert main(["validate", *words.split()]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert out == ""


def test_a_suite_is_run_with_its_options(
    suites: list[tuple[str, Options]], tmp_path: Path, capsys: Capture
) -> None:
    words = (
        f"validate --suite layers --seed 7 --cases 4 --threads 1,2 --profile p -o json:{tmp_path}/j"
    )
    assert main(words.split()) == 0
    options = Options(profile="p", threads=(1, 2), seed=7, cases=4)
    assert suites == [("layers", options)]
    out, err = capsys.readouterr()
    assert out == ""
    assert "rnncost: 1/4 under way\n" in err
    data = json.loads((tmp_path / "j").read_text())
    assert data["suite"] == "layers"
    assert data["figures"][0]["median"] == pytest.approx(0.1)
    assert len(data["cases"]) == 4


@pytest.mark.usefixtures("suites")
def test_a_suite_has_every_format(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("matplotlib")
    words = f"validate --suite published -o table -o markdown:{tmp_path}/m -o svg:{tmp_path}/s"
    assert main(words.split()) == 0
    out, _ = capsys.readouterr()
    assert "accuracy suite layers\nseed: 7" in out
    assert "note: a note" in out
    assert (tmp_path / "m").read_text().startswith("### Accuracy suite layers\n")
    assert "</svg>" in (tmp_path / "s").read_text()
    assert main("validate --suite published -q".split()) == 0
    assert capsys.readouterr() == (
        "suite layers: one (4): median 10.0 %, p90 10.0 %\n",
        "",
    )


def test_a_plot_without_matplotlib_is_refused_before_anything_is_measured(
    suites: list[tuple[str, Options]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: Capture,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(f"validate --suite published -o svg:{tmp_path}/s".split()) == EXIT_ERROR
    assert suites == []
    err = capsys.readouterr().err
    assert "pip install 'rnncost[plots]'" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_suites_that_the_option_names_are_those_there_are() -> None:
    assert _SUITES == registry.SUITES == tuple(registry.TAKES)


@pytest.mark.parametrize("text", ["", "0", "1,", "1,1", "1;2", "-1", "1.5", "²", "a"])
def test_odd_thread_counts_are_refused(text: str) -> None:
    with pytest.raises(BindingError):
        parse_threads(text)
    assert parse_threads("1, 2,8") == (1, 2, 8)


@pytest.mark.parametrize(
    "text", ["", "%", "0", "-1%", "nan", "inf%", "1", "15", "a", "1_5", "15%%"]
)
def test_odd_tolerances_are_refused(text: str) -> None:
    with pytest.raises(BindingError):
        parse_tolerance(text)


def test_tolerances_are_shares() -> None:
    assert parse_tolerance("15%") == parse_tolerance("0.15") == pytest.approx(0.15)
    assert parse_tolerance(" 7.5 % ") == pytest.approx(0.075)
    assert parse_tolerance("150%") == pytest.approx(1.5)
