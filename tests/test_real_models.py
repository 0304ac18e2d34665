"""Published recurrent models: the counts are those of what ONNX Runtime executes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import executed
import onnx
import pytest

from rnncost.analysis import analyze, input_value
from rnncost.frontends.onnx import load
from rnncost.graph.source import Request

pytestmark = pytest.mark.real_models

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "real_models.json").read_text(encoding="utf-8")
)["models"]
IDS = [f"{Path(c['path']).parent.name}-{Path(c['path']).stem}-{c['case']}" for c in CASES]


def shapes_of(case: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {n: tuple(g["shape"]) for n, g in case["inputs"].items() if "value" not in g}


def values_of(case: dict[str, Any]) -> dict[str, Any]:
    return {n: g["value"] for n, g in case["inputs"].items() if "value" in g}


def test_there_are_all_the_cases() -> None:
    assert len(CASES) == 23


@pytest.mark.parametrize("trace", [False, True], ids=["static", "traced"])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_counts_are_those_of_a_run(
    case: dict[str, Any], trace: bool, real_model: Callable[[str], Path]
) -> None:
    report = analyze(
        real_model(case["path"]),
        shapes=shapes_of(case),
        values=values_of(case),
        trace=trace,
        assume=False,
    )
    assert report.totals.macs == case["macs"]
    by_type: Counter[str] = Counter()
    executions: Counter[str] = Counter()
    for row in report.ops:
        kind = row.op_type.split("::")[-1]
        by_type[kind] += row.macs
        executions[kind] += row.executions
    assert {kind: macs for kind, macs in by_type.items() if macs} == case["macs_by_op"]
    for kind, count in case["executed"].items():
        assert executions[kind] == count, kind
    assert report.uncounted == []
    assert report.coverage == 1.0


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_operator_is_the_one_that_runs(
    case: dict[str, Any], real_model: Callable[[str], Path]
) -> None:
    """Types and output shapes of all operators, static, against the profile of a run."""
    file = real_model(case["path"])
    shapes, values = shapes_of(case), values_of(case)
    given = {name: input_value(name, value) for name, value in values.items()}
    source = load(file, Request(shapes=shapes, values=given, assume=False))
    assert executed.counted(source.graph) == executed.run(onnx.load(file), shapes, values)
