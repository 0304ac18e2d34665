"""Reports that rnncost makes agree with themselves; what is changed in them is found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from budget_support import EXAMPLE

import rnncost
from rnncost.errors import ReportError
from rnncost.report.consistency import require_consistent
from rnncost.report.model import Metrics, Report

PROFILES = ("x86-64-server-core", "cortex-m7", "h100-sxm")


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    made = rnncost.analyze(EXAMPLE, dims={"batch": 3, "frames": 50}, profiles=PROFILES)
    data: dict[str, Any] = json.loads(json.dumps(made.to_dict()))
    return data


def test_what_rnncost_makes_is_consistent(report: dict[str, Any]) -> None:
    require_consistent(Report.from_dict(report), "it")


def test_what_rnncost_makes_of_a_module_is_consistent() -> None:
    torch = pytest.importorskip("torch")
    layers = (
        torch.nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True),
        torch.nn.GRU(6, 5),
        torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2)),
    )
    for layer in layers:
        made = rnncost.analyze(layer, (torch.zeros(4, 3, 6),), profiles=PROFILES)
        require_consistent(made, "it")


@pytest.mark.parametrize("key", Metrics.__struct_fields__)
def test_any_total_that_is_changed_is_found(report: dict[str, Any], key: str) -> None:
    value = report["totals"][key]
    # A longest path may be shorter than the sum of all steps, but not longer.
    path = key in ("sequential_steps", "executed_steps")
    for changed in (10**6,) if path else (value + 1, value - 1, 0):
        if changed in (value, -1):
            continue
        totals = {**report["totals"], key: changed}
        with pytest.raises(
            ReportError, match=rf"^it contradicts itself: totals.{key} is {changed} and"
        ):
            require_consistent(Report.from_dict({**report, "totals": totals}), "it")


@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.parametrize("key", ["latency_s", "sequential_s", "parallel_s"])
def test_any_time_that_is_changed_is_found(report: dict[str, Any], key: str, factor: float) -> None:
    estimate = report["estimates"][0]
    changed = {**estimate, key: estimate[key] * factor}
    with pytest.raises(ReportError, match="the estimate of x86-64-server-core has latency_s"):
        require_consistent(Report.from_dict({**report, "estimates": [changed]}), "it")


def test_parts_that_take_longer_than_the_whole_are_found(report: dict[str, Any]) -> None:
    estimate = report["estimates"][0]
    ops = [{**op, "latency_s": 2 * op["latency_s"]} for op in estimate["ops"]]
    changed = {**report, "estimates": [{**estimate, "ops": ops}]}
    with pytest.raises(ReportError, match="and its operators more"):
        require_consistent(Report.from_dict(changed), "it")


def test_operators_may_take_all_of_the_time(report: dict[str, Any]) -> None:
    estimate = report["estimates"][0]
    whole_s = sum(op["latency_s"] for op in estimate["ops"])
    overhead_s = whole_s - estimate["parallel_s"] - estimate["sequential_s"]
    changed = {**estimate, "latency_s": whole_s, "overhead_s": overhead_s}
    require_consistent(Report.from_dict({**report, "estimates": [changed]}), "it")
