"""Fitting: constants come back from made-up times, drift goes, and nothing scored is fitted to."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncost.calibration.design import chosen_layers, random_layers
from rnncost.calibration.fit import fit_logs
from rnncost.calibration.fitting import (
    THREAD_CONSTANTS,
    fit_constants,
    fit_threads,
    held_out,
    layer_s,
)
from rnncost.calibration.steady import steady_s
from rnncost.calibration.vector import constants_of, numbers_of
from rnncost.latency.onnxruntime_cpu.defaults import default_constants
from rnncost.latency.onnxruntime_cpu.layers import Layer
from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
from rnncost.runtime.timing import Interleaved, Run, time_interleaved

SECOND_CACHE = 1024 * 1024


def base(isa: str = "avx2") -> OnnxRuntimeCpu:
    return default_constants(
        isa=isa,
        clock_hz=3e9,
        peak_macs_per_s=48e9,
        first_cache_bytes=32768,
        second_cache_bytes=SECOND_CACHE,
        levels=((4e6, 40e9), (float("inf"), 15e9)),
    )


def shaken(constants: OnnxRuntimeCpu, spread: float, seed: int) -> OnnxRuntimeCpu:
    """Each constant times a random factor; fractions stay below 1."""
    draw = np.random.default_rng(seed)
    values = [v * math.exp(draw.uniform(-spread, spread)) for v in numbers_of(constants).values()]
    return constants_of(constants, values)


def times_of(
    layers: Sequence[Layer], constants: OnnxRuntimeCpu, threads: int = 1, noise: float = 0.0
) -> list[float]:
    draw = np.random.default_rng(7)
    return [layer_s(x, constants, threads) * math.exp(draw.normal(0, noise)) for x in layers]


def errors_of(found: OnnxRuntimeCpu, true: OnnxRuntimeCpu, layers: Sequence[Layer]) -> list[float]:
    return [abs(layer_s(x, found, 1) / layer_s(x, true, 1) - 1) for x in layers]


# The method, on a model of four constants whose answer is known.
GRID = [(a, b, c) for a in (0, 1, 5) for b in (1, 10, 100) for c in (0, 30, 900)]
TRUE = (3e-6, 2e-7, 5e-9)


def seconds(constants: Sequence[float]) -> list[float]:
    fixed, step, mac = constants
    return [fixed * (1 + a) + step * b + mac * b * c for a, b, c in GRID]


@pytest.mark.parametrize("factor", [0.2, 0.7, 1.0, 4.0])
def test_known_constants_come_back_from_far_away(factor: float) -> None:
    found, left = fit_logs(seconds, [factor * v for v in TRUE], seconds(TRUE))
    # The pull towards the start values leaves a trace, of less than a part in a thousand.
    assert found == pytest.approx(TRUE, rel=1e-3)
    assert max(map(abs, left)) < 1e-3


def test_outliers_pull_no_constant_away() -> None:
    measured = seconds(TRUE)
    for bad in (2, 11, 19):
        measured[bad] *= 3
    found, left = fit_logs(seconds, [1.5 * v for v in TRUE], measured)
    assert found == pytest.approx(TRUE, rel=0.02)
    assert left[11] == pytest.approx(-math.log(3), rel=0.05)
    # Least squares on the same logarithms would be led astray.
    logs = np.log(measured) - np.log(seconds(TRUE))
    assert np.mean(logs) > 0.1


def test_a_constant_that_nothing_shows_stays_where_it_was() -> None:
    found, _ = fit_logs(lambda v: seconds(v[:3]), [*TRUE, 42.0], seconds(TRUE))
    assert found[3] == pytest.approx(42.0)


def test_layers_of_a_known_machine_are_predicted_again() -> None:
    layers = [*chosen_layers(SECOND_CACHE)[::2], *random_layers(60, 11, 400_000_000)]
    fresh = random_layers(40, 12, 400_000_000)
    true = shaken(base(), 0.4, seed=3)
    found = fit_constants(base(), layers, times_of(layers, true, noise=0.01))
    assert np.median(errors_of(base(), true, fresh)) > 0.05
    errors = errors_of(found, true, fresh)
    assert np.median(errors) < 0.01
    assert np.quantile(errors, 0.9) < 0.04


def test_a_machine_ten_times_slower_than_the_guess_is_found() -> None:
    layers = [*chosen_layers(SECOND_CACHE)[::2], *random_layers(40, 11, 400_000_000)]
    true = constants_of(
        base(),
        [
            v if path.endswith(("overlap", "gain")) else 10 * v
            for path, v in numbers_of(base()).items()
        ],
    )
    found = fit_constants(base(), layers, times_of(layers, true))
    fresh = random_layers(40, 12, 400_000_000)
    assert np.quantile(errors_of(found, true, fresh), 0.9) < 0.05


def test_more_threads_move_their_own_constants_alone() -> None:
    single = shaken(base(), 0.3, seed=5)
    numbers = numbers_of(single)
    moved = {path: 1.7 * numbers[path] for path in THREAD_CONSTANTS}
    true = constants_of(single, list({**numbers, **moved}.values()))
    layers = random_layers(60, 13, 400_000_000)
    found = fit_threads(single, layers, times_of(layers, true, threads=2), 2)
    kept = {path: v for path, v in numbers_of(found).items() if path not in THREAD_CONSTANTS}
    assert kept == {path: numbers[path] for path in kept}
    assert layer_s(layers[0], found, 2) == pytest.approx(layer_s(layers[0], true, 2), rel=0.01)
    errors = [abs(layer_s(x, found, 2) / layer_s(x, true, 2) - 1) for x in layers]
    assert max(errors) < 0.02


def test_what_is_scored_was_never_fitted_to() -> None:
    layers = random_layers(33, 1, 1_000_000)
    calls: list[list[Layer]] = []

    def fit(kept: Sequence[Layer], measured: Sequence[float]) -> OnnxRuntimeCpu:
        assert [by_layer[x] for x in kept] == list(measured)
        calls.append(list(kept))
        return base()

    by_layer = dict(zip(layers, times_of(layers, base()), strict=True))
    found = held_out(fit, layers, list(by_layer.values()), 1, 23)
    assert found.layers == 23
    scored = [[x for x in layers if x not in kept] for kept in calls]
    # Each of the last 23 is left out exactly once, the first ten never.
    assert sorted(layers.index(x) for out in scored for x in out) == list(range(10, 33))
    assert all(len(kept) + len(out) == 33 for kept, out in zip(calls, scored, strict=True))
    assert (found.median_error, found.p90_error, found.low, found.high) == (0, 0, 1, 1)


def test_a_fit_that_only_remembers_is_found_out() -> None:
    """Predictions that are right where they were fitted and half elsewhere: an error of 50 %."""
    layers = random_layers(20, 1, 1_000_000)
    measured = times_of(layers, base())

    def remember(kept: Sequence[Layer], times: Sequence[float]) -> OnnxRuntimeCpu:
        halved = [
            v if "overlap" in p or "gain" in p else v / 2 for p, v in numbers_of(base()).items()
        ]
        if len(kept) == len(layers):
            return base()
        half = constants_of(base(), halved)
        return msgspec.structs.replace(half, run_s=half.run_s / 2)  # no constant of the layers

    found = held_out(remember, layers, measured, 1, 20)
    assert found.median_error == pytest.approx(0.5)
    assert found.high == pytest.approx(2.0)
    assert found.low == 1.0


@settings(max_examples=40, deadline=None)
@given(isa=st.sampled_from(["avx512f", "avx2", "neon"]), data=st.data())
def test_constants_and_their_numbers_are_the_same_thing(isa: str, data: st.DataObject) -> None:
    constants = base(isa)
    paths = list(numbers_of(constants))
    assert len(set(paths)) == len(paths)
    factors = data.draw(
        st.lists(st.floats(0.01, 1.0), min_size=len(paths), max_size=len(paths)), label="factors"
    )
    values = [f * v for f, v in zip(factors, numbers_of(constants).values(), strict=True)]
    changed = constants_of(constants, values)
    assert list(numbers_of(changed)) == paths
    assert list(numbers_of(changed).values()) == values
    assert changed.products.row_tiles == constants.products.row_tiles
    assert changed.products.first_cache_bytes == constants.products.first_cache_bytes
    assert changed.kind == constants.kind
    assert constants_of(constants, list(numbers_of(constants).values())) == constants


def test_a_fraction_ends_at_one() -> None:
    numbers = numbers_of(base())
    fractions = [p for p in numbers if p.endswith(("overlap", "_gain"))]
    assert "products.first_cache_gain" in fractions
    assert "repeat_gain" in fractions
    changed = numbers_of(constants_of(base(), [9.0 * v for v in numbers.values()]))
    for path in numbers:
        expected = min(1.0, 9 * numbers[path]) if path in fractions else 9 * numbers[path]
        assert changed[path] == pytest.approx(expected), path


def test_too_few_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        constants_of(base(), [1.0])


@pytest.mark.parametrize("drift", ["waves", "steps", "walk", "ever slower"])
def test_drift_goes_and_times_stay(drift: str) -> None:
    draw = np.random.default_rng(4)
    runs, rounds = 150, 6
    true = np.exp(draw.uniform(math.log(5e-6), math.log(5e-3), runs))
    moment = np.arange(rounds * runs)
    speed = {
        "waves": 0.15 * np.sin(moment / 40),
        "steps": np.where(moment % 220 > 110, 0.3, 0.0),
        "walk": np.cumsum(draw.normal(0, 0.015, moment.size)),
        "ever slower": moment / moment.size,
    }[drift].reshape(rounds, runs)
    noise = draw.normal(0, 0.01, speed.shape)
    orders = [draw.permutation(runs) for _ in range(rounds)]
    timed = np.empty((rounds, runs))
    for number, order in enumerate(orders):
        timed[number, order] = true[order] * np.exp(speed[number] + noise[number])
    found = steady_s(timed.tolist(), [order.tolist() for order in orders])

    def spread(seconds: Sequence[float]) -> float:
        """Of the errors, up to one factor for all: no speed is the machine's own."""
        ratios = np.log(np.asarray(seconds) / true)
        return float(np.quantile(np.abs(ratios - np.median(ratios)), 0.9))

    assert spread(found.seconds) < 0.02
    assert spread(np.median(timed, axis=0).tolist()) > 0.04  # what a plain median leaves
    level = math.log(np.median(np.asarray(found.seconds) / true))
    assert level == pytest.approx(np.median(speed), abs=0.06)
    assert found.drift == pytest.approx(
        math.exp(np.subtract(*np.quantile(speed, (0.75, 0.25)))) - 1, rel=0.25
    )
    assert 0.005 < found.scatter < 0.03


def test_without_orders_the_runs_were_timed_as_they_stand() -> None:
    draw = np.random.default_rng(6)
    timed = np.exp(draw.normal(0, 0.1, (4, 30))).tolist()
    assert steady_s(timed) == steady_s(timed, [list(range(30))] * 4)
    backwards = steady_s([times[::-1] for times in timed], [list(range(29, -1, -1))] * 4)
    assert backwards.seconds == pytest.approx(steady_s(timed).seconds[::-1])


def test_shuffled_timings_find_their_way_back() -> None:
    runs = [Run(lambda seconds=seconds: seconds) for seconds in (1.0, 2.0, 3.0, 4.0, 5.0)]

    def timed(**options: bool) -> Interleaved:
        return time_interleaved(
            runs, rounds=4, min_time_s=0.0, reference=Run(lambda: 1e-3), **options
        )

    first, second = timed(shuffle=True), timed(shuffle=True)
    assert [t.per_round_min_s for t in first.timings] == [(s,) * 4 for s in (1, 2, 3, 4, 5)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in first.orders)
    assert len(set(first.orders)) > 1
    assert first.orders == second.orders
    assert timed().orders == ((0, 1, 2, 3, 4),) * 4


def test_a_disturbed_burst_does_not_count() -> None:
    rounds = [[1e-3 * (i + 1) for i in range(40)] for _ in range(5)]
    rounds[2][7] *= 20
    found = steady_s(rounds)
    assert found.seconds == pytest.approx([1e-3 * (i + 1) for i in range(40)])
    assert (found.drift, found.scatter) == (0, 0)


def test_scatter_and_drift_are_told_apart() -> None:
    draw = np.random.default_rng(9)
    quiet = np.full((6, 100), 1e-4)
    scattered = steady_s((quiet * np.exp(draw.normal(0, 0.2, quiet.shape))).tolist())
    assert scattered.scatter > 0.12
    assert scattered.drift < scattered.scatter
    slower = steady_s((quiet * np.linspace(1, 2, quiet.size).reshape(quiet.shape)).tolist())
    assert slower.drift > 0.3
    assert slower.scatter < 0.02


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 1), (3, 2)])
def test_few_timings_are_enough_for_an_answer(shape: tuple[int, int]) -> None:
    found = steady_s(np.full(shape, 2e-3).tolist())
    assert found.seconds == pytest.approx([2e-3] * shape[1])
