"""Growth curves of errors whose law is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnncost.along_time.drift.growth import MARGIN, growth
from rnncost.along_time.drift.series import MOST_POINTS, Series, snr_db

T = np.arange(1, 301, dtype=float)

EXACT = {
    "linear from 0": (2e-3 * T, "linear", {"a": 0.0, "b": 2e-3}),
    "linear": (0.05 + 1e-3 * T, "linear", {"a": 0.05, "b": 1e-3}),
    "geometric": (1e-6 * 1.05**T, "geometric", {"a": 1e-6, "g": 1.05}),
    "constant": (0.1 + 0 * T, "bounded", {"a": 0.1}),
    "saturating": (0.1 * (1 - np.exp(-T / 15)), "bounded", {"a": 0.1, "tau": 15.0}),
    "decaying": (0.1 * 0.97**T, "bounded", {"a": 0.1, "g": 0.97}),
}


@pytest.mark.parametrize(
    ("name", "steps"),
    [(name, n) for name in EXACT for n in (12, 64, 300) if (name, n) != ("saturating", 12)],
)
def test_a_law_is_found_with_its_parameters(name: str, steps: int) -> None:
    errors, kind, parameters = EXACT[name]
    found = growth(errors[:steps])
    assert found is not None
    assert found.kind == kind
    assert found.parameters == pytest.approx(parameters, rel=1e-3, abs=1e-9)
    assert found.residual < 1e-3
    assert found.points == min(steps, 64)


@pytest.mark.parametrize("name", [name for name in EXACT if name != "linear"])
def test_laws_under_noise(name: str) -> None:
    """A line that rises by 7 only is, under this noise, as near to a geometric curve."""
    errors, kind, parameters = EXACT[name]
    noise = np.exp(0.1 * np.random.default_rng(1).standard_normal(len(T)))
    found = growth(errors * noise)
    assert found is not None
    assert found.kind == kind
    last = list(parameters)[-1]
    assert found.parameters[last] == pytest.approx(parameters[last], rel=0.15)


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_a_level_that_wanders_seldom_grows(memory: float) -> None:
    """Neighbouring errors are alike; a trend that this alone makes is none."""
    growing = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        log = np.zeros(400)
        for t in range(1, 400):
            log[t] = memory * log[t - 1] + 0.2 * draw.standard_normal()
        found = growth(np.exp(log))
        assert found is not None
        growing += found.kind != "bounded"
    assert growing <= 2


def test_what_grows_must_be_clearly_nearer() -> None:
    found = growth(0.05 + 1e-3 * T)
    assert found is not None
    bounded = min(found.aicc["a"], found.aicc["a*(1 - exp(-t/tau))"])
    assert found.aicc["a + b*t"] < bounded - MARGIN
    flat = growth(1.0 + 1e-7 * T * np.exp(np.random.default_rng(0).standard_normal(len(T))))
    assert flat is not None
    assert flat.kind == "bounded"


def test_too_few_errors_and_none() -> None:
    assert growth(np.array([0.1] * 7)) is None
    assert growth(np.zeros(100)) is None
    assert growth(np.array([math.nan] * 100)) is None


def test_long_runs_are_thinned() -> None:
    t = np.arange(1, 100_001, dtype=float)
    found = growth(1e-5 * t)
    assert found is not None
    assert (found.kind, found.points) == ("linear", 64)
    assert found.parameters["b"] == pytest.approx(1e-5, rel=1e-3)


def series(reference: np.ndarray, other: np.ndarray, start: int = 0) -> Series:
    found = Series("h")
    found.add(start, reference, other, np.ones(reference.shape[:2], bool))
    return found


def test_ratios_by_hand() -> None:
    reference = np.full((3, 2, 2), 2.0)
    other = reference + np.array([0.02, 0.1, 2.0])[:, None, None]
    found = series(reference, other).drift(20.0, 0.5)
    assert found.curve_snr_db == pytest.approx([40, 20 * math.log10(20), 0])
    assert found.curve_rms_error == pytest.approx([0.02, 0.1, 2.0])
    assert found.snr_db == pytest.approx(10 * math.log10(3 * 4 / (0.02**2 + 0.1**2 + 4)))
    assert (found.first_below, found.first_below_s) == (3, 1.5)
    assert found.last_snr_db == pytest.approx(0)
    assert found.first_not_finite is None
    assert not found.exact


def test_no_error_no_signal_and_no_number() -> None:
    reference = np.ones((4, 1, 1))
    reference[1] = 0
    other = np.array([1.0, 0.5, math.inf, math.nan]).reshape(4, 1, 1)
    found = series(reference, other).drift(20.0, None)
    assert found.curve_snr_db == [None] * 4
    assert found.curve_rms_error == [0.0, 0.5, None, None]
    assert (found.first_below, found.first_not_finite) == (2, 3)
    assert found.snr_db is None
    same = series(reference, reference).drift(20.0, None)
    assert same.exact
    assert (same.rms_error, same.first_below, same.growth) == (0.0, None, None)
    assert snr_db(0.0, 0.0) is None


def test_rows_that_end_count_no_more() -> None:
    reference = np.ones((4, 2, 3))
    other = reference.copy()
    other[2:, 1] = 99.0
    active = np.array([[1, 1], [1, 1], [1, 0], [1, 0]], bool)
    found = Series("h")
    found.add(0, reference, other, active)
    drift = found.drift(20.0, None)
    assert drift.exact
    assert drift.length == 4


def test_parts_are_put_where_they_belong() -> None:
    draw = np.random.default_rng(0)
    reference = draw.standard_normal((50, 2, 3))
    other = reference + 0.1 * draw.standard_normal((50, 2, 3))
    whole = series(reference, other).drift(20.0, None)
    parts = Series("h")
    for start in range(0, 50, 7):
        at = slice(start, start + 7)
        parts.add(start, reference[at], other[at], np.ones((len(reference[at]), 2), bool))
    assert parts.drift(20.0, None).curve_snr_db == whole.curve_snr_db


def test_long_curves_keep_their_ends() -> None:
    reference = np.ones((5000, 1, 1))
    found = series(reference, reference + 1e-3).drift(20.0, None)
    assert len(found.steps) == len(found.curve_snr_db) == MOST_POINTS
    assert (found.steps[0], found.steps[-1], found.length) == (1, 5000, 5000)
