"""Accuracy suites: their figures, tables and plots."""

from __future__ import annotations

import json
import math
import random
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncost.errors import BindingError, RuntimeUnavailableError
from rnncost.suites import registry
from rnncost.suites.model import Case, SuiteResult
from rnncost.suites.plot import render_svg
from rnncost.suites.registry import Options, run_suite
from rnncost.suites.stats import (
    MODEL,
    all_figures,
    breakdown,
    by_group,
    figures,
    spearman,
    to_dict,
    worst,
)
from rnncost.suites.text import one_line, render_markdown, render_text


def case(measured_s: float, ratio: float, group: str = "one", **more: Any) -> Case:
    return Case(
        name=more.pop("name", f"{measured_s} {ratio}"),
        group=group,
        features=more.pop("features", {}),
        measured_s=measured_s,
        predicted_s=measured_s * ratio,
        **more,
    )


def result_of(cases: Sequence[Case]) -> SuiteResult:
    return SuiteResult(suite="layers", cases=list(cases), facts={"seed": "7"}, notes=["a [n]ote"])


def test_errors_by_hand() -> None:
    """Errors 0, 10, 20, 30 and 50 %; three of four intervals hold the measured time."""
    cases = [
        case(1.0, 1.0, low_s=0.9, high_s=1.1),
        case(2.0, 0.9, low_s=1.7, high_s=1.9),
        case(3.0, 1.2, low_s=3.0, high_s=4.0),
        case(4.0, 1.3),
        case(5.0, 0.5, low_s=1.0, high_s=5.0),
    ]
    (found,) = figures(cases, "one")
    assert (found.group, found.estimator, found.cases) == ("one", MODEL, 5)
    assert found.median == pytest.approx(0.2)
    assert found.p90 == pytest.approx(0.3 + 0.6 * 0.2)
    assert found.maximum == pytest.approx(0.5)
    assert found.coverage == 0.75
    # Predicted 1, 1.8, 3.6, 5.2, 2.5 rank 1, 2, 4, 5, 3: 1 - 6 * (1 + 1 + 4) / (5 * 24).
    assert found.spearman == pytest.approx(0.7)


def test_baselines_stand_beside_the_model() -> None:
    cases = [
        case(1.0, 1.1, baselines={"flat": 2.0, "copy": 1.0}),
        case(2.0, 1.1, baselines={"flat": 2.0}),
        case(4.0, 1.1, baselines={"flat": 2.0}),
    ]
    model, flat, copy = figures(cases, "one")
    assert [f.estimator for f in (model, flat, copy)] == [MODEL, "flat", "copy"]
    assert (model.cases, flat.cases, copy.cases) == (3, 3, 1)
    assert model.spearman == pytest.approx(1.0)
    assert flat.spearman is None  # all predictions are equal
    assert flat.median == pytest.approx(0.5)
    assert copy.maximum == 0.0
    assert model.coverage is flat.coverage is None


def reference_spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's correlation of ranks that are counted one by one."""

    def ranks(values: Sequence[float]) -> list[float]:
        return [
            sum(other < value for other in values) + (values.count(value) + 1) / 2
            for value in values
        ]

    first, second = ranks(list(a)), ranks(list(b))
    mean = (len(a) + 1) / 2
    top = sum((x - mean) * (y - mean) for x, y in zip(first, second, strict=True))
    bottom = math.sqrt(sum((x - mean) ** 2 for x in first) * sum((y - mean) ** 2 for y in second))
    return top / bottom


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=3, max_size=20))
def test_rank_correlation_with_ties(pairs: list[tuple[int, int]]) -> None:
    a, b = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    found = spearman(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(reference_spearman(a, b), abs=1e-12)


def test_too_few_cases_have_no_rank_correlation() -> None:
    assert spearman([1.0, 2.0], [1.0, 2.0]) is None
    with pytest.raises(ValueError, match="'none' has no cases"):
        figures([], "none")


def test_groups_keep_their_order_and_their_cases() -> None:
    cases = [case(1, 1.5, "b"), case(1, 1.1, "a"), case(2, 1.3, "b")]
    result = result_of(cases)
    assert {g: [c.measured_s for c in cs] for g, cs in by_group(result).items()} == {
        "b": [1, 2],
        "a": [1],
    }
    assert [(f.group, f.cases) for f in all_figures(result)] == [("b", 2), ("a", 1)]


def test_features_tell_where_errors_sit() -> None:
    cases = [
        case(1.0, 1 + 0.01 * n, features={"H": h, "cell": cell, "same": 1, "id": f"n{n}"})
        for n, (h, cell) in enumerate(
            (h, cell) for h in (8, 15, 16, 31, 64, 100, 127, 1000, 1536) for cell in ("LSTM", "GRU")
        )
    ]
    parts = breakdown(cases, "one")
    found = {(p.feature, p.value): p.figures.cases for p in parts}
    assert found == {
        ("H", "8 to 15"): 4,
        ("H", "16 to 31"): 4,
        ("H", "64 to 127"): 6,
        ("H", "512 to 1023"): 2,
        ("H", "1024 to 2047"): 2,
        ("cell", "GRU"): 9,
        ("cell", "LSTM"): 9,
    }
    assert [p.value for p in parts][:3] == ["8 to 15", "16 to 31", "64 to 127"]
    first = parts[0].figures
    assert (first.median, first.maximum) == (pytest.approx(0.015), pytest.approx(0.03))


def test_few_numbers_are_not_cut_into_ranges() -> None:
    cases = [case(1.0, 1.1, features={"threads": t, "share": 0.5}) for t in (1, 2, 10, 1)]
    assert [p.value for p in breakdown(cases, "one")] == ["1", "2", "10"]


def test_the_worst_cases_come_first() -> None:
    cases = [case(1, 1.1), case(2, 0.3), case(3, 1.5)]
    assert [c.measured_s for c in worst(cases, 2)] == [2, 3]


def many(seed: int = 1) -> SuiteResult:
    draw = random.Random(seed)
    cases = []
    for number in range(60):
        measured_s = 10 ** draw.uniform(-5, -2)
        predicted_s = measured_s * draw.lognormvariate(0, 0.1)
        cases.append(
            Case(
                name=f"case_{number} $x$ \x1b[2J",
                group=draw.choice(["1 thread", "2 threads"]),
                features={"cell": draw.choice(["LSTM", "_GRU$"]), "H": draw.randint(8, 1536)},
                measured_s=measured_s,
                predicted_s=predicted_s,
                low_s=predicted_s * 0.8,
                high_s=predicted_s * 1.2,
                baselines={"bare roofline": measured_s * 2},
            )
        )
    return result_of(cases)


def test_tables_hold_the_figures() -> None:
    result = many()
    text, markdown = render_text(result), render_markdown(result)
    for found in all_figures(result):
        (row,) = re.findall(rf"^{found.group} +{found.estimator} .*$", text, re.MULTILINE)
        median = f"{100 * found.median:.1f} %"
        assert re.split(r"\s{2,}", row)[2:4] == [str(found.cases), median]
        assert any(
            found.group in line and found.estimator in line and median in line
            for line in markdown.splitlines()
        )
    assert "seed: 7" in text
    assert "note: a [n]ote" in text
    assert "Where the errors sit:" in text
    assert "\x1b" not in text + markdown
    assert worst(result.cases, 1)[0].name.split()[0] in text.split("Worst cases:")[1]
    assert one_line(result).startswith("suite layers: ")
    assert one_line(result).count("median") == 2


def test_the_dictionary_is_json() -> None:
    result = many()
    data = json.loads(json.dumps(to_dict(result)))
    assert data["suite"] == "layers"
    assert [f["estimator"] for f in data["figures"]] == [MODEL, "bare roofline"] * 2
    assert len(data["cases"]) == 60
    assert data["breakdown"][0]["feature"] == "cell"
    assert data["facts"] == {"seed": "7"}


def test_the_plot_is_the_same_each_time_and_well_formed() -> None:
    pytest.importorskip("matplotlib")
    svg = render_svg(many())
    assert svg == render_svg(many())
    assert svg != render_svg(many(2))
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    words = " ".join("".join(text.itertext()) for text in root.iter() if text.tag.endswith("text"))
    for part in ("measured (s)", "predicted (s)", "1 thread", "2 threads", "±10 %", "factor 2"):
        assert part in words
    assert "cell LSTM" in words
    assert "60 cases" in words
    assert not re.search(r"\d{4}-\d\d-\d\d", svg), "no date"


@pytest.mark.parametrize("groups", [1, 3, 4, 5])
def test_each_group_has_a_panel(groups: int) -> None:
    pytest.importorskip("matplotlib")
    cases = [case(1e-3 * (n + 1), 1.1, f"group {n % groups}") for n in range(10)]
    svg = render_svg(result_of(cases))
    assert svg.count("measured (s)") >= groups
    panels = set(re.findall(r'id="(axes_\d+)"', svg))
    assert len(panels) == groups


def test_a_plot_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'rnncost\[plots\]'"):
        render_svg(many())


@pytest.mark.parametrize(
    ("suite", "option"),
    [
        (suite, option)
        for suite in registry.SUITES
        for option in Options.__struct_fields__
        if option not in registry.TAKES[suite]
    ],
)
def test_options_without_meaning_are_refused(suite: str, option: str) -> None:
    values: dict[str, Any] = {
        "profile": "p",
        "threads": (1,),
        "seed": 0,
        "cases": 5,
        "models": "f",
    }
    with pytest.raises(BindingError, match=f"--{option} has no meaning for --suite {suite}"):
        run_suite(suite, Options(**{option: values[option]}), lambda _: None)


def test_suites_get_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suites themselves are stand-ins here."""
    from types import ModuleType

    seen: list[dict[str, Any]] = []
    for name in registry.SUITES:
        module = ModuleType(f"rnncost.suites.{name}")

        def run(*args: Any, _name: str = name, **given: Any) -> SuiteResult:
            seen.append({"suite": _name, "args": args, **given})
            return many()

        setattr(module, f"{name}_suite", run)
        monkeypatch.setitem(sys.modules, f"rnncost.suites.{name}", module)

    def progress(_: str) -> None:
        pass

    run_suite("layers", Options(seed=0, cases=3, threads=(1, 2)), progress)
    run_suite("layers", Options(profile="x86-64-server-core"), progress)
    run_suite("models", Options(models="folder"), progress)
    run_suite("published", Options(), progress)
    assert seen[0] == {
        "suite": "layers",
        "args": (),
        "seed": 0,
        "cases": 3,
        "profile": None,
        "threads": (1, 2),
        "progress": progress,
    }
    assert seen[1]["profile"].name == "x86-64-server-core"
    assert (seen[1]["threads"], seen[1]["cases"]) == ((1,), registry.DEFAULT_CASES)
    assert seen[2]["args"] == ("folder",)
    assert seen[3] == {"suite": "published", "args": ()}
