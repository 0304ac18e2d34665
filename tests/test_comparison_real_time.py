"""Real-time figures of a comparison, each held against analyses of the model itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from comparison_models import network
from hypothesis import given
from hypothesis import strategies as st

import rnncost
from rnncost.comparison import Comparison, real_time
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
    of_numpy = compare(model, step_period_s=np.float32(0.25), chunk=np.int64(5))
    assert (of_numpy.step_period_s, of_numpy.chunk) == (0.25, 5)
    assert (type(of_numpy.step_period_s), type(of_numpy.chunk)) == (float, int)
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


def test_a_single_step_that_looks_nowhere_ahead_is_no_chunk_of_a_bidirectional_model() -> None:
    """With one step there is no later one, with a chunk of more there are."""
    base = compare(network(BI, steps=1, rows=1), step_period_s=0.01, chunk=10).base
    (found,) = base.real_time
    assert (found.steps, found.signal_s, found.algorithmic_latency_s) == (1, 0.01, 0.01)
    assert found.latency_s == latency_s(network(BI, steps=1, rows=1))
    assert any("as an output needs up to 9 later steps" in reason for reason in base.reasons)
    assert not any("carried over" in reason for reason in base.reasons)


def test_steps_are_those_of_the_recurrent_layers() -> None:
    """Of 100 steps of the input a stride leaves 50, and a period is that of those."""
    comparison = compare(network(UNI, stride=2), step_period_s=0.02)
    (found,) = comparison.base.real_time
    assert (found.steps, found.signal_s) == (50, 1.0)
    said = "a time step of the recurrent layers arrives every 20 ms, and a run handles the whole"
    assert said in " ".join(str(comparison).split())


def test_the_end_of_the_search_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "no batch of more than 4 is tried: larger ones may keep up"
    assert said not in compare(network(UNI), step_period_s=1.0).base.reasons
    monkeypatch.setattr(real_time, "MOST_ROWS", 4)
    base = compare(network(UNI), step_period_s=1.0).base
    assert base.real_time[0].batch == 4
    assert said in base.reasons


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
    assert len(seen) < 17


def test_a_whole_tile_may_cost_less_than_a_part_of_one() -> None:
    """As on Arm, where kernels take four rows together: no larger batch that keeps up is missed."""

    def cost(rows: int) -> float:
        return 5.0 + 3.0 * (rows // 4) + 1.2 * (rows % 4)

    for limit in np.linspace(cost(1), cost(290), 700).tolist():
        expected = max(rows for rows in range(1, 301) if cost(rows) <= limit)
        assert largest_within(cost, limit, 300) == expected
