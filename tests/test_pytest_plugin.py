"""The fixture ``rnncost_check``, in sessions of pytest of their own."""

from __future__ import annotations

import re
import sys
from decimal import Decimal
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budget_support import mystery

import rnncost
from rnncost.errors import BudgetError, RnncostError
from rnncost.pytest_plugin import check_cost

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
MODEL = str(ROOT / "examples" / "keyword_spotter.onnx")
DIMS = {"batch": 1, "frames": 100}
MACS = 10_035_968
"""Of the example, as the README shows it."""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a test file in a process of its own, with this plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def runs(source: str, *args: str) -> pytest.RunResult:
        header = f"MODEL, DIMS = {MODEL!r}, {DIMS!r}\n"
        pytester.makepyfile(header + source)
        return pytester.runpytest_subprocess("-p", "rnncost.pytest_plugin", *args)

    return runs


def test_pytest_finds_the_plugin() -> None:
    found = {point.name: point.value for point in entry_points(group="pytest11")}
    assert found["rnncost"] == "rnncost.pytest_plugin"


def test_a_session_that_does_not_use_it_imports_nothing(run: Any) -> None:
    heavy = ("onnx", "torch", "onnxruntime", "numpy", "yaml", "msgspec", "tabulate", "jsonschema")
    result = run(
        "import sys\n"
        "def test_nothing():\n"
        "    assert 'rnncost.pytest_plugin' in sys.modules\n"
        f"    assert [name for name in {heavy!r} if name in sys.modules] == []\n"
    )
    result.assert_outcomes(passed=1)


def test_a_failure_says_what_is_over_and_nothing_else(run: Any) -> None:
    result = run(
        "def test_cost(rnncost_check):\n"
        "    rnncost_check(MODEL, dims=DIMS, macs='10M', params=200_000, latency_s='1 us',\n"
        "                  profile='raspberry-pi-4')\n"
    )
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    told = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    assert told[0] == f"AssertionError: {MODEL} is over budget"
    assert told[1] == (
        "macs is 10,035,968, over its limit of 10,000,000 by 0.36 %; "
        "the largest part is bilstm (42.9 %)"
    )
    assert re.fullmatch(
        r"latency_s on raspberry-pi-4 is \S+ ms, over its limit of 1 µs by [\d,]+ %; "
        r"the largest part is bilstm \(\S+ %\)",
        told[2],
    )
    assert told[3] == "(counted for batch=1, frames=100)"
    assert len(told) == 4
    assert "pytest_plugin.py" not in text
    assert ">       rnncost_check(MODEL" in text


def test_bad_input_is_one_sentence_without_a_traceback(run: Any) -> None:
    result = run(
        "def test_metric(rnncost_check):\n"
        "    rnncost_check(MODEL, dims=DIMS, mac=1)\n"
        "def test_model(rnncost_check):\n"
        "    rnncost_check('none.onnx', macs=1)\n"
    )
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    assert "BudgetError: there is no metric or argument 'mac', did you mean 'macs'?" in text
    assert re.search(r"ModelFileError: .*none\.onnx", text)
    assert "pytest_plugin.py" not in text
    assert "analysis.py" not in text


def test_the_examples_of_the_guide_run(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    source = example.replace("examples/keyword_spotter.onnx", MODEL)
    run(source).assert_outcomes(passed=2)
    (shown,) = re.findall(r"```text\n(E .*?)```", guide, re.DOTALL)
    monkeypatch.chdir(ROOT)
    with pytest.raises(AssertionError) as caught:
        check_cost("examples/keyword_spotter.onnx", dims=DIMS, macs="10M")
    lines = [line.removeprefix("E ").strip() for line in shown.splitlines()]
    assert lines == [f"AssertionError: {caught.value}".splitlines()[0], *told(caught)[1:]]


def told(caught: pytest.ExceptionInfo[BaseException]) -> list[str]:
    return [line.strip() for line in str(caught.value).splitlines()]


# --- what it takes


@pytest.mark.parametrize(
    ("macs", "passes"),
    [
        *((MACS, True), (MACS - 1, False), (MACS * 1.01, True), (MACS / 1.01, False)),
        *(("10.1M", True), (np.int64(MACS), True), (np.int64(MACS - 1), False)),
        *((np.float64(MACS), True), (np.float32(MACS / 1.01), False)),
    ],
)
def test_a_value_at_its_limit_passes(macs: Any, passes: bool) -> None:
    if passes:
        assert check_cost(MODEL, dims=DIMS, macs=macs).totals.macs == MACS
    else:
        with pytest.raises(AssertionError, match="macs is 10,035,968, over its limit"):
            check_cost(MODEL, dims=DIMS, macs=macs)


def test_the_limit_of_an_estimate_is_that_of_the_profile() -> None:
    known = {"dims": DIMS, "profile": "raspberry-pi-4", "threads": 2}
    report = check_cost(MODEL, **known, latency_s=1)
    (estimate,) = report.estimates
    assert (estimate.profile, estimate.threads) == ("raspberry-pi-4", 2)
    loaded = rnncost.load_profile("raspberry-pi-4")
    assert check_cost(MODEL, **known | {"profile": loaded}, latency_s=estimate.latency_s) == report
    with pytest.raises(AssertionError, match="latency_s on raspberry-pi-4 is"):
        check_cost(MODEL, **known, latency_s=estimate.latency_s * 0.99)


def test_what_must_be_so() -> None:
    with pytest.raises(AssertionError, match="bilstm needs later input"):
        check_cost(MODEL, dims=DIMS, streamable=True)


def test_models_in_memory() -> None:
    import onnx

    with pytest.raises(AssertionError, match=r"^keyword_spotter is over budget"):
        check_cost(onnx.load(MODEL), dims=DIMS, macs=1)


@pytest.mark.torch
def test_modules() -> None:
    torch = pytest.importorskip("torch")
    inputs = (torch.empty(100, 1, 64, device="meta"),)
    module = torch.nn.LSTM(64, 128)
    macs = 100 * 4 * 128 * (64 + 128)
    assert check_cost(module, inputs=inputs, macs=macs).totals.macs == macs
    with pytest.raises(AssertionError, match=r"^LSTM is over budget\n  macs is 9,830,400, over"):
        check_cost(module, inputs=inputs, macs=macs - 1)


def test_a_name_from_a_model_stays_text() -> None:
    import onnx

    model = onnx.load(MODEL)
    model.graph.name = "\x1b[31mred\nsecond line"
    with pytest.raises(AssertionError) as caught:
        check_cost(model, dims=DIMS, macs=1)
    assert str(caught.value).startswith("\\x1b[31mred\\nsecond line is over budget\n")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "there is no limit"),
        ({"dim": {"frames": 1}}, "no metric or argument 'dim', did you mean 'dims'?"),
        ({"latency": 1}, "did you mean 'latency_s'?"),
        ({"macs": "5 ms"}, "'5 ms' is not a count"),
        ({"macs": {"max": 1}}, "takes the largest value alone"),
        ({"macs": -1}, "must not be below 0"),
        ({"macs": float("nan")}, "must be a finite number"),
        ({"macs": None}, "must be a number or text with a unit"),
        ({"macs": Decimal(10)}, "must be a number or text with a unit, got the Decimal 10"),
        ({"macs": np.float64("nan")}, "must be a finite number"),
        ({"latency_s": "5 ms"}, "say of which with profile='NAME'"),
        ({"streamable": False}, "has no limit but streamable=True"),
        ({"macs": 1, "profile": "raspbery-pi-4"}, "raspberry-pi-4"),
        ({"energy_j": 1, "profile": "raspberry-pi-4"}, "has no energy figures"),
    ],
)
def test_limits_that_are_wrong(limits: dict[str, Any], said: str) -> None:
    with pytest.raises(RnncostError, match=re.escape(said)) as caught:
        check_cost(MODEL, dims=DIMS, **limits)
    assert "\n" not in str(caught.value)


def test_operators_that_cannot_be_counted_are_a_warning(tmp_path: Path) -> None:
    model = str(mystery(tmp_path / "mystery.onnx"))
    with pytest.warns(UserWarning, match="mystery") as caught:
        check_cost(model, macs=1)
    assert [str(warning.message) for warning in caught] == [
        f"{model}: the totals miss 1 operator that cannot be counted"
    ]
    assert {warning.filename for warning in caught} == {__file__}


def test_nothing_is_assumed() -> None:
    with pytest.raises(RnncostError, match="'batch', 'frames' of the model is free: give dims"):
        check_cost(MODEL, macs=1)


def test_a_wrong_limit_is_told_with_its_line() -> None:
    line = sys._getframe().f_lineno + 2
    with pytest.raises(BudgetError) as caught:
        check_cost(MODEL, dims=DIMS, macs="x")
    assert re.match(rf"\S*test_pytest_plugin\.py:{line}: macs: ", str(caught.value))
