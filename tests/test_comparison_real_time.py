"""Real-time figures of a comparison, each held against analyses of the model itself."""

from __future__ import annotations

import math
from typing import Any

from comparison_models import network
from hypothesis import given
from hypothesis import strategies as st

import rnncost
from rnncost.comparison import Comparison
from rnncost.comparison.real_time import largest_within

CPU = "x86-64-server-core"
MCU = "cortex-m7"
UNI = [("LSTM", 24, 1), ("GRU", 12, 1)]
BI = [("LSTM", 24, 2), ("GRU", 12, 1)]


def compare(model: Any, **asked: Any) -> Comparison:
    return rnncost.compare(model, **{"profiles": [CPU], "precisions": ["fp16"], **asked})


def latency_s(model: Any, profile: str = CPU, **dims: int) -> float:
    return rnncost.analyze(model, profiles=[profile], dims=dims).estimates[0].latency_s


def test_a_whole_sequence() -> None:
    model = network(BI)
    base = compare(model, step_period_s=0.01, dims={"frames": 50, "batch": 2}).base
    (found,) = base.real_time
    run_s = latency_s(model, frames=50, batch=2)
    assert (found.profile, found.steps, found.latency_s) == (CPU, 50, run_s)
    assert found.signal_s == 0.5
    assert found.real_time_factor == run_s / 0.5
    assert found.algorithmic_latency_s == 0.5  # 49 steps of look-ahead and the step itself
    assert found.streams == 2 * math.floor(0.5 / run_s)
    assert found.batch is not None
    assert latency_s(model, frames=50, batch=found.batch) <= 0.5
    assert latency_s(model, frames=50, batch=found.batch + 1) > 0.5
    assert "49 later steps (490 ms at 10 ms a step)" in base.reasons[0]


def test_chunks_of_a_model_that_can_stream() -> None:
    model = network(UNI, states=True)
    comparison = compare(model, step_period_s=0.01, chunk=5)
    (found,) = comparison.base.real_time
    run_s = latency_s(model, frames=5)
    assert (found.steps, found.latency_s, found.signal_s) == (5, run_s, 0.05)
    assert found.real_time_factor == run_s / 0.05
    assert found.algorithmic_latency_s == 0.05
    assert found.streams == math.floor(0.05 / run_s)
    assert found.batch is not None
    assert latency_s(model, frames=5, batch=found.batch) <= 0.05
    assert latency_s(model, frames=5, batch=found.batch + 1) > 0.05
    assert not any("has to be carried over" in reason for reason in comparison.base.reasons)
    assert comparison.base.figures[f"latency_s@{CPU}"] == latency_s(model)  # of 100 steps
    whole = compare(model, step_period_s=0.01).base.real_time[0]
    assert whole.algorithmic_latency_s == 0.01  # causal: one step


def test_chunks_of_a_model_whose_state_is_hidden() -> None:
    base = compare(network(UNI), step_period_s=0.01, chunk=5).base
    assert base.real_time[0].latency_s == latency_s(network(UNI), frames=5)
    assert (
        "to run 5 steps at a time its state has to be carried over: make the state an input and "
        "an output"
    ) in base.reasons


def test_a_bidirectional_model_has_no_chunks() -> None:
    base = compare(network(BI), step_period_s=0.01, chunk=5).base
    (found,) = base.real_time
    assert (found.steps, found.algorithmic_latency_s) == (100, 1.0)
    assert (
        "it cannot be run 5 steps at a time, as an output needs up to 99 later steps: its "
        "real-time figures are for the whole sequence"
    ) in base.reasons


def test_fixed_axes_are_set_to_the_chunk() -> None:
    base = compare(network(UNI, steps=30, rows=3), step_period_s=0.01, chunk=6).base
    (found,) = base.real_time
    assert found.latency_s == latency_s(network(UNI, steps=6, rows=3))
    assert found.batch is not None
    assert latency_s(network(UNI, steps=6, rows=found.batch)) <= 0.06
    assert latency_s(network(UNI, steps=6, rows=found.batch + 1)) > 0.06


def test_the_chunk_that_a_model_has_needs_no_free_dimension() -> None:
    model = network(UNI, steps=6, rows=1, states=True)
    base = compare(model, step_period_s=0.01, chunk=6).base
    assert base.real_time[0].latency_s == latency_s(model)


def test_a_device_that_cannot_keep_up() -> None:
    base = compare(network(UNI), step_period_s=1e-9, profiles=[MCU]).base
    (found,) = base.real_time
    assert found.real_time_factor > 1
    assert (found.streams, found.batch) == (0, 0)


def test_a_device_that_the_batch_does_not_fit() -> None:
    """A microcontroller's memory ends a batch before its speed does."""
    model = network(UNI)
    base = compare(model, step_period_s=10.0, profiles=[MCU]).base
    rows = base.real_time[0].batch
    assert rows

    def fits(batch: int) -> bool:
        report = rnncost.analyze(model, profiles=[MCU], dims={"batch": batch})
        return report.estimates[0].fits.activations is True

    assert fits(rows)
    assert not fits(rows + 1)


@given(
    st.lists(st.floats(0.01, 100), min_size=1, max_size=200), st.floats(0, 3000), st.integers(1, 5)
)
def test_the_largest_number_within_a_limit(
    increases: list[float], limit: float, asked: int
) -> None:
    costs = [math.fsum(increases[: n + 1]) for n in range(len(increases))]
    seen: list[int] = []

    def cost(number: int) -> float:
        seen.append(number)
        return asked * costs[number - 1]

    expected = sum(asked * one <= limit for one in costs)
    assert largest_within(cost, limit, len(costs)) == expected
    assert all(1 <= number <= len(costs) for number in seen)


def test_the_search_asks_seldom_where_the_cost_is_near_a_line() -> None:
    seen: set[int] = set()

    def cost(number: int) -> float:
        seen.add(number)
        return 3.0 + 0.7 * number

    assert largest_within(cost, 40_000.0, 1 << 20) == 57138
    assert len(seen) < 14
