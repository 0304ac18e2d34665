"""A value at its limit passes and one above fails, for every metric and every kind of limit."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
from budget_support import EXAMPLE, lines_of
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import rnncost
from rnncost.budgets.judge import judge
from rnncost.budgets.metrics import ESTIMATED, METRICS, TRUTHS
from rnncost.budgets.model import Finding, Limit, Place
from rnncost.errors import BudgetError
from rnncost.profiles.quantities import Quantity
from rnncost.profiles.schema import Energy, HardwareProfile
from rnncost.report.model import Estimate, Fits, Report

PLACE = Place(file="rnncost.yaml", line=7, key="models.m.macs.max")
DIMS = {"batch": 1, "frames": 100}
NUMBERS = [name for name in METRICS if name not in TRUTHS]
WHOLE = [name for name in NUMBERS if METRICS[name].whole]


def profile() -> HardwareProfile:
    """A profile with everything: memory sizes and the energy of an operation."""
    known = rnncost.load_profile("cortex-m7")
    energy = Energy(
        mac_j=Quantity(value=2e-12, kind="assumed", source="a test"),
        byte_j=Quantity(value=3e-11, kind="assumed", source="a test"),
    )
    return msgspec.structs.replace(known, energy=energy)


PROFILE = profile()
REPORT = rnncost.analyze(EXAMPLE, dims=DIMS, profiles=[PROFILE], symbolic=False)
(ESTIMATE,) = REPORT.estimates


def with_value(metric: str, value: Any) -> tuple[Report, Estimate | None]:
    """The example's report with another value in one place."""
    if metric in ESTIMATED:
        return REPORT, msgspec.structs.replace(ESTIMATE, **{metric: value})
    totals = msgspec.structs.replace(REPORT.totals, **{metric: value})
    return msgspec.structs.replace(REPORT, totals=totals), None


def held(metric: str, value: Any, base: Any = None, **bounds: Any) -> Finding:
    report, estimate = with_value(metric, value)
    before, estimate_before = with_value(metric, base) if base is not None else (None, None)
    limit = Limit(
        metric=metric, profile="p" if metric in ESTIMATED else None, place=PLACE, **bounds
    )
    return judge(
        "m.onnx",
        limit,
        report,
        estimate,
        base=before,
        base_estimate=estimate_before,
        profile=PROFILE,
    )


@pytest.mark.parametrize("metric", NUMBERS)
def test_one_percent_over_fails_at_and_under_pass(metric: str) -> None:
    limit: Any = 100_000 if metric in WHOLE else 0.5
    step: Any = limit // 100 if metric in WHOLE else limit / 100
    assert held(metric, limit, maximum=limit).passed
    assert held(metric, limit - step, maximum=limit).passed
    over = held(metric, limit + step, maximum=limit)
    assert not over.passed
    assert (over.value, over.limit, over.metric, over.place) == (limit + step, limit, metric, PLACE)
    assert "over its limit of" in over.message
    assert "by 1 %" in over.message


@pytest.mark.parametrize("metric", NUMBERS)
def test_one_percent_over_an_allowed_increase_fails(metric: str) -> None:
    base: Any = 100_000 if metric in WHOLE else 0.5
    at: Any = 105_000 if metric in WHOLE else 0.525
    step: Any = 1_050 if metric in WHOLE else 0.00525
    assert held(metric, at, base, max_increase=0.05).passed
    assert held(metric, at - step, base, max_increase=0.05).passed
    over = held(metric, at + step, base, max_increase=0.05)
    assert not over.passed
    assert over.limit == at
    assert over.base == base
    assert over.change == pytest.approx(0.0605)
    assert "(5 % above the base)" in over.message
    assert "+6.05 % from" in over.message


@pytest.mark.parametrize("metric", NUMBERS)
def test_the_smallest_step_over_a_limit_fails(metric: str) -> None:
    limit: Any = 10**40 if metric in WHOLE else 0.1
    next_up = limit + 1 if metric in WHOLE else math.nextafter(limit, 1)
    assert held(metric, limit, maximum=limit).passed
    over = held(metric, next_up, maximum=limit)
    assert not over.passed
    assert str(next_up) in over.message.replace(",", "")


@pytest.mark.parametrize("metric", WHOLE)
def test_zero_is_a_limit(metric: str) -> None:
    assert held(metric, 0, maximum=0).passed
    assert not held(metric, 1, maximum=0).passed
    assert held(metric, 0, 0, max_increase=0.5).passed
    above = held(metric, 1, 0, max_increase=0.5)
    assert (above.passed, above.limit, above.change) == (False, 0, None)


def test_what_must_be_true() -> None:
    fits = {
        (True, True): (True, "the model fits cortex-m7"),
        (False, True): (False, "weights do not fit cortex-m7; the largest part is bilstm (42.6 %)"),
        (True, False): (False, "activations do not fit cortex-m7; the largest part is"),
        (False, None): (False, "weights do not fit cortex-m7"),
        (False, False): (False, "weights and activations do not fit cortex-m7"),
    }
    for parts, (passed, said) in fits.items():
        finding = held("fits", Fits(*parts))
        assert (finding.passed, finding.value, finding.limit) == (passed, passed, True)
        assert said in finding.message
    assert held("streamable", True).passed
    assert held("streamable", False).message == (
        "the model cannot run step by step on a stream: bilstm needs later input"
    )


def test_a_state_that_comes_in_and_does_not_go_out_is_not_called_hidden() -> None:
    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))

    w, r = (
        numpy_helper.from_array(np.ones((1, 6, n), np.float32), name)
        for n, name in ((3, "w"), (2, "r"))
    )
    node = helper.make_node("GRU", ["x", "w", "r", "", "", "h"], ["y"], hidden_size=2)
    scale = helper.make_node("ReduceSum", ["y"], ["z"], keepdims=0)
    graph = helper.make_graph(
        [node, scale], "g", [value("x", 5, 1, 3), value("h", 1, 1, 2)], [value("z")], [w, r]
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    report = rnncost.analyze(model, profiles=(), symbolic=False)
    finding = judge("m", Limit(metric="streamable", place=PLACE), report)
    assert finding.message == (
        "the model cannot run step by step on a stream: not every state of it is both an input "
        "and an output"
    )


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("fits", Fits(None, None), "cortex-m7 does not say how much memory it has"),
        ("fits", Fits(True, None), "cortex-m7 does not say how much memory it has"),
        ("energy_j", None, "cortex-m7 has no energy figures"),
        ("latency_high_s", None, "nothing is known of how far estimates on cortex-m7 are off"),
        ("step_s", None, "the model has no recurrent operator"),
    ],
)
def test_what_is_not_known_is_not_judged(metric: str, value: Any, said: str) -> None:
    with pytest.raises(BudgetError) as caught:
        held(metric, value, maximum=None if metric == "fits" else 1.0)
    text = lines_of(caught.value)
    assert text.startswith("rnncost.yaml:7: models.m.macs.max: m.onnx: ")
    assert said in text


def test_a_relative_limit_needs_the_figure_of_the_base() -> None:
    with pytest.raises(BudgetError) as caught:
        held("macs", 1, max_increase=0.05)
    assert "m.onnx: the base has no macs; make the base" in lines_of(caught.value)


def shares(metric: str) -> tuple[str | None, float | None]:
    estimate = ESTIMATE if metric in ESTIMATED else None
    report = REPORT
    limit = Limit(metric=metric, maximum=0, place=PLACE)
    finding = judge("m", limit, report, estimate, profile=PROFILE)
    return finding.costliest_op, finding.costliest_share


def test_the_costliest_operator() -> None:
    totals, ops = REPORT.totals, {op.name: op for op in REPORT.ops}
    assert shares("macs") == ("bilstm", ops["bilstm"].macs / totals.macs)
    assert shares("weight_bytes") == ("bilstm", ops["bilstm"].weight_bytes / totals.weight_bytes)
    assert shares("sequential_steps") == ("lstm", pytest.approx(1 / 3))
    assert shares("lookahead_steps") == ("bilstm", None)
    peak = max(REPORT.ops, key=lambda op: op.peak_activation_bytes).name
    assert shares("peak_activation_bytes") == (peak, None)
    assert shares("wavefront_steps") == ("lstm", None)
    sequential = max(REPORT.ops, key=lambda op: op.sequential_macs)
    assert shares("sequential_share") == (
        sequential.name,
        sequential.sequential_macs / totals.sequential_macs,
    )
    assert shares("quantization_params") == (None, None)
    assert shares("streamed_arithmetic_intensity") == (None, None)
    slowest = max(ESTIMATE.ops, key=lambda op: op.latency_s)
    share = slowest.latency_s / ESTIMATE.latency_s
    assert shares("latency_s") == shares("latency_high_s") == (slowest.name, share)
    assert shares("step_s")[0] == max(ESTIMATE.ops, key=lambda op: op.step_s or 0).name
    assert shares("step_s")[1] is None


def test_the_energy_of_an_operator_is_its_part_of_the_whole() -> None:
    parts = {
        op.name: op.dense_macs * 2e-12 + part.dram_bytes * 3e-11
        for op, part in zip(REPORT.ops, ESTIMATE.ops, strict=True)
    }
    assert sum(parts.values()) == pytest.approx(ESTIMATE.energy_j)
    name = max(parts, key=lambda name: parts[name])
    assert shares("energy_j") == (name, pytest.approx(parts[name] / sum(parts.values())))


@given(
    base=st.integers(1, 10**30),
    digits=st.integers(0, 10**6),
    places=st.integers(0, 6),
    offset=st.integers(-2, 2),
)
def test_relative_limits_of_whole_numbers_are_exact(
    base: int, digits: int, places: int, offset: int
) -> None:
    share = Decimal(digits).scaleb(-places)
    allowed = Fraction(base) * (1 + Fraction(share))
    value = max(0, math.floor(allowed) + offset)
    finding = held("macs", value, base, max_increase=float(share))
    assert finding.passed == (value <= allowed)


@given(st.integers(1, 10**9), st.integers(1, 10**4))
def test_decimals_multiply_as_they_are_written(digits: int, permille: int) -> None:
    """1.05 times 0.002 is 0.0021, whatever the binary digits of the three are."""
    base = float(Decimal(digits).scaleb(-9))
    product = Decimal(digits).scaleb(-9) * (1 + Decimal(permille).scaleb(-3))
    limit = held("latency_s", base, base, max_increase=permille / 1000).limit
    assert limit == float(product)
