"""``rnncost.check``: which models it holds to which limits, with and without a base."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from budget_support import EXAMPLE, lines_of, mystery, product

import rnncost
from rnncost.budgets.metrics import METRICS, TRUTHS
from rnncost.budgets.model import CheckResult
from rnncost.errors import BindingError, BudgetError, ModelFileError, ProfileError, ReportError
from rnncost.profiles.store import locate_profile
from rnncost.report.json_text import to_json

SPOTTER = """\
models:
  keyword_spotter.onnx:
    dims: {batch: 1, frames: 100}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the example model."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLE, tmp_path)
    return tmp_path


def budget(text: str, name: str = "rnncost.yaml") -> None:
    Path(name).parent.mkdir(exist_ok=True, parents=True)
    Path(name).write_text(text, encoding="utf-8")


def save(result: CheckResult, path: str = "base.json") -> dict[str, Any]:
    text = to_json(result.to_dict())
    Path(path).write_text(text, encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


def refusal(kind: type[Exception], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    return lines_of(caught.value)


def test_what_a_check_finds() -> None:
    budget(
        f"{SPOTTER}    macs: {{max: 10M, level: warn}}\n    params: 1k\n"
        "    latency_s: {max: 10 ms, profile: raspberry-pi-4}\n"
    )
    result = rnncost.check()
    report = rnncost.analyze(EXAMPLE, dims={"batch": 1, "frames": 100}, profiles="raspberry-pi-4")
    (model,) = result.models
    assert model.model == "keyword_spotter.onnx"
    assert model.report.totals == report.totals
    assert model.report.estimates == report.estimates
    assert [(f.metric, f.passed, f.level, f.value) for f in model.findings] == [
        ("macs", False, "warn", report.totals.macs),
        ("params", False, "error", report.totals.params),
        ("latency_s", True, "error", report.estimates[0].latency_s),
    ]
    assert [f.metric for f in result.failures] == ["params"]
    assert not result.passed
    assert result.warnings == []
    text = str(result)
    assert "rnncost.yaml:5: error: keyword_spotter.onnx: params is 102,796, over its limit" in text
    assert "rnncost.yaml:4: warning: keyword_spotter.onnx: macs is 10,035,968, over" in text
    assert "the largest part is bilstm (42.9 %)" in text
    assert text.endswith(
        "1 model: 1 of 3 limits exceeded, 1 warning (keyword_spotter.onnx: params)"
    )


@pytest.mark.parametrize("metric", [m for m in METRICS if m not in TRUTHS])
def test_a_limit_written_as_the_report_shows_it_passes(metric: str) -> None:
    """What the JSON report says can be copied into a budget; 1 % less fails."""
    profile = "x86-64-server-core"
    dims = {"batch": 1, "frames": 100}
    report = rnncost.analyze(EXAMPLE, dims=dims, profiles=profile, symbolic=False)
    known = {**report.to_dict()["estimates"][0], **report.to_dict()["totals"]}
    value = known[metric]
    if value is None:
        pytest.skip("this profile does not know it")
    head = f"{SPOTTER}    profiles: [{profile}]\n"
    budget(f"{head}    {metric}: {json.dumps(value)}\n")
    assert rnncost.check().passed
    if value:
        below = value - max(value // 100, 1) if isinstance(value, int) else value / 1.01
        budget(f"{head}    {metric}: {json.dumps(below)}\n")
        assert not rnncost.check().passed


def test_every_free_dimension_must_be_bound() -> None:
    budget("models:\n  '*.onnx':\n    macs: 1\n")
    said = refusal(BindingError, rnncost.check)
    assert said == (
        "rnncost.yaml:2: keyword_spotter.onnx: dimension 'batch', 'frames' of the model is free: "
        "give dims batch=N"
    )


def test_bindings_that_do_not_fit_say_where_they_stand() -> None:
    budget("models:\n  '*.onnx':\n    dims: {frame: 1}\n    macs: 1\n")
    said = refusal(BindingError, rnncost.check)
    assert said.startswith("rnncost.yaml:2: keyword_spotter.onnx: the model has no free dimension")
    assert "did you mean 'frames'?" in said


def test_shapes_and_values_are_bound() -> None:
    product(Path("p.onnx"), 6, rows="rows")
    budget("models: {p.onnx: {shapes: {x: [7, 10]}, macs: 420}}\n")
    assert rnncost.check().models[0].report.totals.macs == 420
    np.save("x.npy", np.ones((3, 10), np.float32))
    budget("models: {../p.onnx: {values: {x: '@../x.npy'}, macs: 420}}\n", "sub/b.yaml")
    assert rnncost.check(budget="sub/b.yaml").models[0].report.totals.macs == 180
    Path("x.npy").write_bytes(b"no array")
    said = refusal(BindingError, lambda: rnncost.check(budget="sub/b.yaml"))
    assert said.startswith('sub/b.yaml:1: models."../p.onnx".values.x: sub/../x.npy is not a NumPy')


def test_threads_and_precision_are_those_of_the_budget() -> None:
    budget(
        f"{SPOTTER}    threads: 2\n    precision: int8\n"
        "    latency_s: {max: 1, profile: raspberry-pi-4}\n"
    )
    (estimate,) = rnncost.check().models[0].report.estimates
    assert (estimate.threads, estimate.precision) == (2, "int8")


def test_faults_of_models_and_profiles_say_where(folder: Path) -> None:
    (folder / "bad.onnx").write_bytes(b"\x00\x01")
    budget("models: {bad.onnx: {macs: 1}}\n")
    said = refusal(ModelFileError, rnncost.check)
    assert said.startswith("rnncost.yaml:1: bad.onnx")
    assert said.count("bad.onnx") == 1
    budget(f"{SPOTTER}    step_s: {{max: 1, profile: raspbery-pi-4}}\n")
    said = refusal(ProfileError, rnncost.check)
    assert said.startswith("rnncost.yaml:4: no hardware profile is named 'raspbery-pi-4'")
    assert "did you mean 'raspberry-pi-4'?" in said


def test_what_cannot_be_counted_is_told() -> None:
    mystery(Path("mystery.onnx"))
    budget("models: {mystery.onnx: {macs: 1}}\n")
    result = rnncost.check()
    assert "mystery.onnx: the totals miss 1 operator that cannot be counted" in result.warnings
    assert str(result).endswith("1 model: the limit holds; 1 operator not counted")


# Which models, which tables.


def names(result: CheckResult) -> list[tuple[str, list[str]]]:
    return [(m.model, [f"{f.metric}:{f.place.line}" for f in m.findings]) for m in result.models]


def test_all_tables_that_match_hold() -> None:
    for name in ("a/one.onnx", "a/two.onnx", "b/c/three.onnx", "b/x[1].onnx"):
        product(Path(name), 5)
    budget(
        "models:\n  '**/*.onnx': {macs: 1k}\n  a/*.onnx: {params: 1k}\n"
        "  ./a/one.onnx: {macs: 2k}\n  keyword_spotter.onnx: {dims: {batch: 1, frames: 1}}\n"
        "  b/x[1].onnx: {params: 1}\n"
    )
    everything = [
        ("a/one.onnx", ["macs:2", "params:3", "macs:4"]),
        ("a/two.onnx", ["macs:2", "params:3"]),
        ("b/c/three.onnx", ["macs:2"]),
        ("b/x[1].onnx", ["macs:2", "params:6"]),
        ("keyword_spotter.onnx", ["macs:2"]),
    ]
    assert names(rnncost.check()) == everything
    assert names(rnncost.check("a/two.onnx")) == [everything[1]]
    assert names(rnncost.check([Path("b/c/three.onnx"), "./a/one.onnx"])) == [
        everything[2],
        everything[0],
    ]
    assert names(rnncost.check([Path("a/two.onnx").absolute()])) == [everything[1]]
    Path("link.onnx").symlink_to("a/two.onnx")
    budget("models: {a/*.onnx: {macs: 1k}}\n")
    assert names(rnncost.check("link.onnx")) == [("a/two.onnx", ["macs:1"])]


def test_patterns_start_at_the_budget_file(folder: Path) -> None:
    product(folder / "deep" / "m.onnx", 5)
    budget("models: {'*.onnx': {macs: 1}}\n", "deep/b.yaml")
    result = rnncost.check(budget="deep/b.yaml")
    assert names(result) == [("m.onnx", ["macs:1"])]
    assert result.models[0].findings[0].place.file == "deep/b.yaml"
    assert names(rnncost.check("deep/m.onnx", budget=folder / "deep/b.yaml"))[0][0] == "m.onnx"
    said = refusal(BudgetError, lambda: rnncost.check(EXAMPLE.name, budget="deep/b.yaml"))
    assert said == (
        "no budget in deep/b.yaml covers keyword_spotter.onnx (it covers m.onnx); add a table "
        "for it"
    )


def test_a_pattern_must_match() -> None:
    budget(f"{SPOTTER}    macs: 1\n  models/*.onnx: {{macs: 1}}\n")
    said = refusal(BudgetError, rnncost.check)
    assert said == 'rnncost.yaml:5: models."models/*.onnx": no model file matches'
    one = rnncost.check("keyword_spotter.onnx")
    assert names(one) == [("keyword_spotter.onnx", ["macs:4"])]
    assert one.warnings == [said]
    assert refusal(BudgetError, lambda: rnncost.check("nope.onnx")) == (
        "no such model file: nope.onnx"
    )


def test_a_link_that_leads_nowhere_is_not_left_out(folder: Path) -> None:
    """As files that an annex or a cache has not fetched."""
    product(folder / "models" / "a.onnx", 5)
    for pattern in ("models/*.onnx", "models/b.onnx"):
        budget(f"models: {{'{pattern}': {{macs: 1k}}}}\n")
        Path("models/b.onnx").unlink(missing_ok=True)
        Path("models/b.onnx").symlink_to(folder / "not-fetched")
        assert "models/b.onnx: cannot be read" in refusal(ModelFileError, rnncost.check)
    Path("models/b.onnx").unlink()
    Path("models/b.onnx").mkdir()
    budget("models: {'models/*.onnx': {macs: 1k}}\n")
    assert names(rnncost.check()) == [("models/a.onnx", ["macs:1"])]


def test_two_profiles_of_one_name_cannot_be_told_apart(folder: Path) -> None:
    """A base report knows profiles by their names, so that one would stand for the other."""
    for board in ("raspberry-pi-4", "raspberry-pi-5"):
        text = locate_profile(board).read_text(encoding="utf-8")
        (folder / board).mkdir()
        (folder / board / "host.yaml").write_text(text.replace(f"name: {board}\n", "name: host\n"))
    shutil.copytree("raspberry-pi-4", "copy")
    head = f"{SPOTTER}    step_s: 1\n    profiles: [raspberry-pi-4/host.yaml, "
    budget(f"{head}copy/host.yaml]\n")
    assert rnncost.check().passed
    budget(f"{head}raspberry-pi-5/host.yaml]\n")
    assert refusal(BudgetError, rnncost.check) == (
        'rnncost.yaml:4: models."keyword_spotter.onnx".step_s: raspberry-pi-4/host.yaml and '
        "raspberry-pi-5/host.yaml are different profiles with one name, 'host': give one of them "
        "another"
    )


def test_a_model_without_a_limit_is_refused() -> None:
    budget(SPOTTER)
    said = refusal(BudgetError, rnncost.check)
    assert said == (
        'rnncost.yaml:2: models."keyword_spotter.onnx": keyword_spotter.onnx has no limit: add '
        "one, as macs"
    )


def test_factories_are_models_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    (folder / "factory_for_budgets.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Linear(3, 5, bias=False)\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    budget("models: {'factory_for_budgets:build': {shapes: {input: [2, 3]}, macs: 29}}\n")
    for models in ((), ("factory_for_budgets:build",)):
        (finding,) = rnncost.check(models).failures
        assert (finding.model, finding.value) == ("factory_for_budgets:build", 30)
    said = refusal(BudgetError, lambda: rnncost.check("factory_for_budgets:other"))
    assert said.startswith("no budget in rnncost.yaml covers factory_for_budgets:other")


# With a base.


def test_relative_limits_hold_against_an_earlier_check() -> None:
    product(Path("m.onnx"), 100)
    budget("models:\n  m.onnx:\n    macs: {max: 1M, max_increase: 5%}\n")
    save(rnncost.check(absolute_only=True))
    for width, passed in ((105, True), (106, False), (100, True), (50, True)):
        product(Path("m.onnx"), width)
        result = rnncost.check(base="base.json")
        assert result.passed == passed
        absolute, relative = result.models[0].findings
        assert absolute.passed
        assert (relative.limit, relative.base, relative.value) == (4200, 4000, 40 * width)
        assert relative.change == absolute.change == pytest.approx(width / 100 - 1)
        assert relative.place.key == 'models."m.onnx".macs.max_increase'
        assert result.models[0].base is not None
    budget("models:\n  m.onnx:\n    macs: {max_increase: 4.99%}\n")
    product(Path("m.onnx"), 105)
    assert not rnncost.check(base="base.json").passed


def test_relative_limits_of_an_estimate() -> None:
    product(Path("m.onnx"), 4000)
    budget(
        "models:\n  m.onnx:\n    latency_s:\n      - {max_increase: 1%, profile: raspberry-pi-4}\n"
        "      - {max_increase: 300%, profile: raspberry-pi-5}\n"
    )
    made = rnncost.check(absolute_only=True)
    assert made.models[0].findings == []
    save(made)
    assert rnncost.check(base="base.json").passed
    product(Path("m.onnx"), 4400)
    (failure,) = rnncost.check(base="base.json").failures
    assert failure.profile == "raspberry-pi-4"
    assert failure.change is not None
    assert 0.05 < failure.change < 0.15


def test_the_report_of_an_analysis_is_a_base_of_one_model() -> None:
    report = rnncost.analyze("keyword_spotter.onnx", dims={"batch": 1, "frames": 100}, profiles=())
    Path("base.json").write_text(json.dumps(report.to_dict()))
    budget(f"{SPOTTER}    macs: {{max_increase: 0}}\n")
    assert rnncost.check(base="base.json").passed
    assert rnncost.check(base=report).passed
    other = msgspec.structs.replace(
        report, model=msgspec.structs.replace(report.model, path="a/other.onnx")
    )
    assert refusal(ReportError, lambda: rnncost.check(base=other)) == (
        "the base report is the report of a/other.onnx, not of keyword_spotter.onnx"
    )
    product(Path("m.onnx"), 5)
    budget(f"{SPOTTER}    macs: 1\n  m.onnx: {{macs: 1}}\n")
    said = refusal(ReportError, lambda: rnncost.check(base="base.json"))
    assert said.startswith("base.json is the report of one model and 2 are checked: give what")


def test_relative_limits_need_a_base() -> None:
    budget(f"{SPOTTER}    macs:\n      max_increase: 5%\n    params: 1M\n")
    said = refusal(BudgetError, rnncost.check)
    assert said == (
        'rnncost.yaml:5: models."keyword_spotter.onnx".macs.max_increase: needs a base report: '
        "give --base FILE, or leave such limits out with --absolute-only"
    )
    assert names(rnncost.check(absolute_only=True)) == [("keyword_spotter.onnx", ["params:6"])]
    said = refusal(BudgetError, lambda: rnncost.check(base="b.json", absolute_only=True))
    assert said.startswith("--absolute-only leaves out what --base is for")


def test_a_model_that_is_new_has_no_base() -> None:
    product(Path("old.onnx"), 5)
    Path("keyword_spotter.onnx").unlink()
    budget("models: {'*.onnx': {macs: {max_increase: 5%}, params: 1k}}\n")
    save(rnncost.check(absolute_only=True))
    product(Path("new.onnx"), 5)
    result = rnncost.check(base="base.json")
    assert names(result) == [("new.onnx", ["params:1"]), ("old.onnx", ["macs:1", "params:1"])]
    assert result.warnings == [
        "new.onnx: base.json has no report of it, so no relative limit is held"
    ]
    assert result.models[0].base is None
    said = refusal(ReportError, lambda: rnncost.check("new.onnx", base="base.json"))
    assert said == (
        "base.json has no report of new.onnx (its models: old.onnx): make it with the same "
        "budget file"
    )


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("dims: {rows: 3}", "dims: {rows: 4}", "dimension 'rows' is 3 there and 4 here"),
        ("shapes: {x: [3, 10]}", "shapes: {x: [4, 10]}", "dimension 'x.0' is 3 there"),
        ("dims: {rows: 3}, trace: true", "dims: {rows: 3}", "trace is True there and False here"),
        ("values: {x: [[1,1,1,1,1,1,1,1,1,1]]}", "dims: {rows: 1}", "not given here"),
    ],
)
def test_a_base_for_another_run_is_refused(before: str, now: str, said: str) -> None:
    product(Path("m.onnx"), 5, rows="rows" if "rows" in now else "?")
    budget(f"models: {{m.onnx: {{{before}, macs: 1k}}}}\n")
    save(rnncost.check())
    budget(f"models: {{m.onnx: {{{now}, macs: 1k}}}}\n")
    text = refusal(ReportError, lambda: rnncost.check(base="base.json"))
    assert text.startswith("base.json is for another run of m.onnx: ")
    assert said in text
    assert text.endswith("make the base with the same bindings")


def test_a_shape_that_the_budget_gives_must_be_that_of_the_base() -> None:
    product(Path("m.onnx"), 5, rows="?")
    budget("models: {m.onnx: {shapes: {x: [3, 10]}, macs: 1k}}\n")
    data = save(rnncost.check())
    assert rnncost.check(base="base.json").passed
    bindings = data["models"][0]["report"]["bindings"]
    bindings["dims"], bindings["shapes"] = {}, {"x": [4, 10]}
    Path("base.json").write_text(json.dumps(data))
    said = refusal(ReportError, lambda: rnncost.check(base="base.json"))
    assert "the shape of 'x' is 4x10 there and 3x10 here" in said


def test_dimensions_and_inputs_of_other_names(folder: Path) -> None:
    """What was bound must be the same, whatever the model calls it."""

    def renamed(rows: str, dims: str, depth: int = 10) -> None:
        model = onnx.load(product(Path("m.onnx"), 5, rows=rows, depth=depth))
        model.graph.input[0].name = model.graph.node[0].input[0] = f"input of {rows}"
        onnx.save(model, "m.onnx")
        budget(f"models: {{m.onnx: {{{dims} macs: {{max_increase: 0}}}}}}\n")

    renamed("rows", "dims: {rows: 100},")
    save(rnncost.check(absolute_only=True))
    renamed("seq", "dims: {seq: 100},")
    result = rnncost.check(base="base.json")
    assert (result.passed, result.warnings) == (True, [])
    renamed("seq", "dims: {seq: 5},")  # fewer MACs, and nothing that the model has gained
    assert refusal(ReportError, lambda: rnncost.check(base="base.json")) == (
        "base.json is for another run of m.onnx: what binds the free dimensions is rows=100 there "
        "and seq=5 here; make the base with the same bindings"
    )
    renamed("seq", "dims: {seq: 100},", depth=11)
    result = rnncost.check(base="base.json")
    assert not result.passed
    assert result.warnings == [
        "m.onnx: of the inputs, input of rows=100x10 in the base alone and input of seq=100x11 "
        "here alone"
    ]


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("threads: 2", "threads: 1", "threads is 2 there and 1 here"),
        ("precision: int8", "precision: fp32", "precision is 'int8' there and 'fp32' here"),
    ],
)
def test_an_estimate_of_another_run_is_refused(before: str, now: str, said: str) -> None:
    limit = "    latency_s: {max: 1, profile: raspberry-pi-4}\n"
    budget(f"{SPOTTER}    {before}\n{limit}")
    save(rnncost.check())
    budget(f"{SPOTTER}    {now}\n{limit}")
    text = refusal(ReportError, lambda: rnncost.check(base="base.json"))
    assert text.startswith("base.json estimates raspberry-pi-4 for another run: ")
    assert said in text


def test_a_base_without_the_profile_cannot_be_compared_with() -> None:
    budget(f"{SPOTTER}    macs: 1\n")
    save(rnncost.check())
    limit = "step_s: {max: 1, profile: raspberry-pi-4}"
    budget(f"{SPOTTER}    {limit}\n")
    assert rnncost.check(base="base.json").models[0].findings[0].change is None
    budget(f"{SPOTTER}    {limit.replace('max', 'max_increase').replace('1', '1%')}\n")
    said = refusal(BudgetError, lambda: rnncost.check(base="base.json"))
    assert "the base has no step_s on raspberry-pi-4; make the base" in said


def test_a_profile_with_other_figures_is_not_that_of_the_base(folder: Path) -> None:
    """Under the same version: a faster board must not hide a slower model."""
    path = folder / "board.yaml"
    text = locate_profile("raspberry-pi-4").read_text(encoding="utf-8")
    text = text.replace("name: raspberry-pi-4\n", "name: board\n")
    path.write_text(text)
    budget(f"{SPOTTER}    latency_s: {{max_increase: 0, profile: board.yaml}}\n")
    data = save(rnncost.check(absolute_only=True))
    assert "general knowledge" in text  # among the sources of the memory levels
    path.write_text(text.replace("title: ", "title: the same ").replace("general ", "common "))
    assert rnncost.check(base="base.json").passed
    figure = re.search(r"value: ([0-9.e]+)", text)
    assert figure is not None
    path.write_text(text.replace(figure[0], f"value: {float(figure[1]) * 2}"))
    assert refusal(ReportError, lambda: rnncost.check(base="base.json")) == (
        "base.json estimates board for another run: the figures of the profile have changed since "
        "then; make the base anew"
    )
    data["models"][0]["report"]["tool"]["version"] = "0.0.1"
    Path("base.json").write_text(json.dumps(data))
    assert "made by rnncost 0.0.1" in rnncost.check(base="base.json").warnings[0]


def test_a_shape_of_the_models_own_may_change_with_it() -> None:
    product(Path("m.onnx"), 5, depth=10)
    budget("models: {m.onnx: {macs: {max: 1k, max_increase: 0}}}\n")
    data = save(rnncost.check(absolute_only=True))
    product(Path("m.onnx"), 5, depth=11)
    result = rnncost.check(base="base.json")
    assert not result.passed
    assert result.warnings == ["m.onnx: the shape of 'x' is 4x10 in the base and 4x11 here"]
    data["models"][0]["report"]["tool"]["version"] = "0.0.1"
    Path("base.json").write_text(json.dumps(data))
    assert any(
        "the base was made by rnncost 0.0.1" in w for w in rnncost.check(base="base.json").warnings
    )


# Bases that somebody changed, or something broke.


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    """What a check says of a base after a change to the report of its model."""
    budget(f"{SPOTTER}    macs: 1\n    latency_s: {{max: 1, profile: raspberry-pi-4}}\n")
    data = save(rnncost.check())
    change(data)
    Path("base.json").write_text(json.dumps(data))
    return refusal(ReportError, lambda: rnncost.check(base="base.json"))


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        place: Any = data["models"][0]["report"]
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("totals", "macs", value=5), "totals.macs is 5 and its operators make 10035968"),
        (put("totals", "macs", value=-5), "faulty at $.totals.macs: expected int >= 0"),
        (put("totals", "macs", value=1e999), "which JSON does not know"),
        (put("totals", "macs", value="many"), "faulty at $.totals.macs"),
        (put("totals", "macs", value=True), "faulty at $.totals.macs"),
        (put("totals", "macs", value=10**300), "totals.macs is larger than any figure"),
        (put("totals", "peak_activation_bytes", value=1), "totals.peak_activation_bytes is 1 and"),
        (put("totals", "lookahead_steps", value=1), "totals.lookahead_steps is 1 and"),
        (put("totals", "sequential_steps", value=10**6), "totals.sequential_steps is 1000000 and"),
        (put("totals", "sequential_share", value=0.99), "totals.sequential_share is 0.99 and"),
        (put("totals", "parallel_macs", value=1), "totals.parallel_macs is 1 and"),
        (put("ops", value=[]), "and its operators make 0"),
        (put("estimates", 0, "latency_s", value=9.0), "latency_s 9.0 and its parts make"),
        (put("estimates", 0, "dram_bytes", value=1), "dram_bytes 1 and its operators another sum"),
        (put("estimates", 0, "profile_version", value="0"), "profile_version is '0' there"),
        (put("bindings", "dims", value={"batch": 1, "frames": 99}), "'frames' is 99 there and 100"),
        (put("schema_version", value="2.0"), "schema version '2.0' and this rnncost reads 1.x"),
        (put("schema_version", value=1), "it has no schema_version"),
        (lambda data: data.update(schema_version="9.1"), "schema version '9.1' and this rnncost"),
        (lambda data: data.pop("schema_version"), "is not the result of a check"),
        (lambda data: data["models"][0].pop("model"), "there is no model name"),
        (lambda data: data["models"][0].pop("report"), "it is not a JSON object"),
        (lambda data: data["models"].append(data["models"][0]), "is there twice"),
        (lambda data: data["models"].clear(), "(its models: none)"),
        (lambda data: data["models"].append(7), "at $.models[1]: there is no model name"),
        (lambda data: data.update(models=7), "is faulty at"),
        (lambda data: data.update(profiles=7), "is faulty at $.profiles"),
        (lambda data: data.update(profiles={"a": 7}), "is faulty at $.profiles"),
    ],
)
def test_an_edited_base_is_one_sentence(
    change: Callable[[dict[str, Any]], object], said: str
) -> None:
    text = edited(change)
    assert text.startswith("base.json")
    assert said in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "is not a rnncost report"),
        (b"{}", "is not a rnncost report: it has no schema_version"),
        (b'{"models": {}}', "is not a rnncost report"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number too long to read"),
        (b'{"a": NaN}', "which JSON does not know"),
    ],
)
def test_a_base_that_is_no_report(content: bytes, said: str) -> None:
    budget(f"{SPOTTER}    macs: 1\n")
    Path("base.json").write_bytes(content)
    text = refusal(ReportError, lambda: rnncost.check(base="base.json"))
    assert text.startswith("base.json")
    assert said in text


def test_an_infinite_figure_is_refused() -> None:
    """1e999 is JSON, and becomes infinite on reading."""
    budget(f"{SPOTTER}    latency_s: {{max: 1, profile: raspberry-pi-4}}\n")
    save(rnncost.check())
    text = Path("base.json").read_text()
    figure = json.loads(text)["models"][0]["report"]["estimates"][0]["latency_high_s"]
    Path("base.json").write_text(text.replace(repr(figure), "1e999"))
    said = refusal(ReportError, lambda: rnncost.check(base="base.json"))
    assert "estimates[0].latency_high_s is inf" in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_base_may_come_through_a_pipe(folder: Path) -> None:
    """As in ``rnncost check --base <(git show main:base.json)``."""
    budget(f"{SPOTTER}    macs: {{max_increase: 0}}\n")
    text = to_json(rnncost.check(absolute_only=True).to_dict())
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_text, args=(text,), daemon=True)
    writer.start()
    assert rnncost.check(base="pipe").passed
    writer.join()


def test_a_base_that_is_no_file() -> None:
    budget(f"{SPOTTER}    macs: 1\n")
    assert "the base . is a folder" in refusal(ReportError, lambda: rnncost.check(base="."))
    said = refusal(ReportError, lambda: rnncost.check(base="no.json"))
    assert said.startswith("there is no base no.json: 'rnncost check --absolute-only -o json:no")
    if os.path.exists("/dev/zero"):
        said = refusal(ReportError, lambda: rnncost.check(base="/dev/zero"))
        assert said == "the base /dev/zero is a device, not a file"
    assert "there is no base a" in refusal(ReportError, lambda: rnncost.check(base="a\0"))
