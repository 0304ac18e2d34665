"""The suite of layers on a made-up machine: what it times, refuses, and says of itself."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from calibration_machine import FACTS, MadeUpMachine, true_constants

import rnncost
from rnncost.calibration import run
from rnncost.calibration.design import (
    MAX_MACS,
    RANDOM_LAYERS,
    SEED,
    THREADED_LAYERS,
    chosen_layers,
    chosen_threaded_layers,
    random_layers,
)
from rnncost.calibration.fitting import layer_s
from rnncost.errors import BindingError
from rnncost.profiles.schema import HardwareProfile
from rnncost.suites.baselines import ROOFLINE
from rnncost.suites.layers import layers_suite
from rnncost.suites.model import SuiteResult
from rnncost.suites.registry import DEFAULT_CASES, DEFAULT_SEED, Options, run_suite
from rnncost.suites.stats import figures


def quiet(_: str) -> None:
    pass


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> MadeUpMachine:
    """A quiet machine, and calibration without a fit: it knows the constants."""
    made_up = MadeUpMachine(true_constants(), noise=0.01, drift=0.05).take_over(monkeypatch)
    monkeypatch.setattr(run, "fit_constants", lambda *_: made_up.constants)
    monkeypatch.setattr(run, "fit_threads", lambda base, *_: base)
    return made_up


@pytest.fixture
def result(machine: MadeUpMachine) -> SuiteResult:
    return layers_suite(seed=1, cases=200, threads=(1, 2), profile=None, progress=quiet)


def test_two_hundred_layers_for_each_number_of_threads(result: SuiteResult) -> None:
    assert result.suite == "layers"
    assert [c.group for c in result.cases] == ["1 thread"] * 200 + ["2 threads"] * 200
    one, two = result.cases[:200], result.cases[200:]
    assert [c.name for c in one] == [c.name for c in two]
    assert len({c.name for c in one}) == 200
    assert {c.features["cell"] for c in one} == {"lstm", "gru", "gru_linear", "rnn", "lstm_int8"}
    assert {c.features["directions"] for c in one} == {1, 2}
    assert any(a.measured_s != b.measured_s for a, b in zip(one, two, strict=True))


def test_extents_are_those_that_were_promised(result: SuiteResult) -> None:
    bounds = {"steps": (1, 200), "batch": (1, 16), "inputs": (8, 1024), "hidden": (8, 1536)}
    for name, (low, high) in bounds.items():
        values = [int(c.features[name]) for c in result.cases[:200]]
        assert low <= min(values) < max(values) <= high
        # Even on logarithms: the median lies near the geometric mean, not the mean.
        assert math.log(np.median(values)) == pytest.approx(
            (math.log(low) + math.log(high)) / 2, abs=0.25 * math.log(high / low)
        )
    hidden = [int(c.features["hidden"]) for c in result.cases[:200]]
    assert any(h % 8 for h in hidden)


def test_a_machine_that_is_known_is_predicted_to_its_noise(result: SuiteResult) -> None:
    for group in ("1 thread", "2 threads"):
        cases = [c for c in result.cases if c.group == group]
        model, roofline = figures(cases, group)
        assert model.median < 0.07  # the speed at which it was timed, and the noise
        assert model.spearman is not None
        assert model.spearman > 0.99
        assert roofline.estimator == ROOFLINE
        assert roofline.median > 2 * model.median


def test_each_case_has_its_interval_and_its_baseline(result: SuiteResult) -> None:
    for case in result.cases:
        assert case.low_s is not None
        assert case.high_s is not None
        assert 0 < case.low_s <= case.predicted_s <= case.high_s
        assert set(case.baselines) == {ROOFLINE}
    covered = [c for c in result.cases if c.low_s <= c.measured_s <= c.high_s]
    assert len(covered) > 0.75 * len(result.cases)


def test_the_baseline_is_macs_or_bytes(
    machine: MadeUpMachine, given_profile: HardwareProfile
) -> None:
    result = layers_suite(seed=3, cases=40, threads=(1,), profile=given_profile, progress=quiet)
    for case in result.cases:
        t, b, i, h, d = (
            int(case.features[name])
            for name in ("steps", "batch", "inputs", "hidden", "directions")
        )
        cell = str(case.features["cell"])
        gates = {"lstm": 4, "lstm_int8": 4, "rnn": 1}.get(cell, 3)
        macs = d * t * b * gates * h * (i + h)
        size = 1 if cell == "lstm_int8" else 4
        moved = d * gates * h * (i + h) * size + 4 * t * b * (i + d * h)
        peak = 2e11 if cell == "lstm_int8" else 5e10
        assert case.baselines[ROOFLINE] == pytest.approx(max(macs / peak, moved / 2e10))


@pytest.fixture
def given_profile() -> HardwareProfile:
    def number(value: float) -> dict[str, object]:
        return {"value": value, "kind": "assumed", "source": "a test"}

    return msgspec.convert(
        {
            "schema_version": 1,
            "name": "mine",
            "title": "Mine",
            "kind": "cpu",
            "runtime": "onnxruntime-cpu",
            "version": "7",
            "threads": 2,
            "peak_macs_per_s": {"fp32": number(5e10), "int8": number(2e11)},
            "memory": [
                {"name": "L2", "size_bytes": number(5e5), "bandwidth_bytes_per_s": number(2e11)},
                {"name": "memory", "bandwidth_bytes_per_s": number(2e10)},
            ],
            "onnxruntime_cpu": msgspec.to_builtins(true_constants()),
        },
        HardwareProfile,
    )


def test_a_given_profile_is_not_calibrated_again(
    machine: MadeUpMachine, given_profile: HardwareProfile
) -> None:
    result = layers_suite(seed=5, cases=20, threads=(2,), profile=given_profile, progress=quiet)
    assert machine.timed == [(2, random_layers(20, 5))]
    assert result.facts["profile"] == "mine 7"
    layers = random_layers(20, 5)
    for layer, case in zip(layers, result.cases, strict=True):
        assert case.predicted_s == layer_s(layer, true_constants(), 2)
        assert case.low_s is None  # nothing was ever held out


def test_calibration_and_suite_are_timed_in_the_same_rounds(
    machine: MadeUpMachine, result: SuiteResult
) -> None:
    ours = random_layers(200, 1)
    for (threads, timed), drawn in zip(
        machine.timed, (RANDOM_LAYERS, THREADED_LAYERS), strict=True
    ):
        assert timed[-200:] == ours
        own = timed[:-200]
        chosen = (
            chosen_layers(FACTS.second_cache_bytes) if threads == 1 else chosen_threaded_layers()
        )
        assert own == chosen + random_layers(drawn, SEED + threads - 1, MAX_MACS)
    assert [threads for threads, _ in machine.timed] == [1, 2]


def test_no_layer_of_the_suite_is_fitted_to(machine: MadeUpMachine, result: SuiteResult) -> None:
    fitted = {layer for _, timed in machine.timed for layer in timed[:-200]}
    assert fitted
    assert not fitted & set(random_layers(200, 1))


@pytest.mark.parametrize("seed", [DEFAULT_SEED, 2, 3, 7, 42, 123, 2024])
def test_other_seeds_draw_other_layers(seed: int) -> None:
    fitted = {
        *chosen_layers(FACTS.second_cache_bytes),
        *chosen_threaded_layers(),
        *random_layers(RANDOM_LAYERS, SEED, MAX_MACS),
        *random_layers(THREADED_LAYERS, SEED + 1, MAX_MACS),
    }
    drawn = random_layers(DEFAULT_CASES, seed)
    assert len(drawn) == len(set(drawn)) == DEFAULT_CASES
    assert not fitted & set(drawn)
    assert drawn == random_layers(DEFAULT_CASES, seed)
    assert drawn[:50] == random_layers(50, seed)


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_the_calibration_s_own_seeds_are_refused(machine: MadeUpMachine, seed: int) -> None:
    with pytest.raises(BindingError, match=f"seed {seed} draws layers that calibration"):
        layers_suite(seed=seed, cases=5, threads=(1,), profile=None, progress=quiet)
    assert machine.timed == []


def test_facts_say_where_the_figures_come_from(result: SuiteResult) -> None:
    assert result.facts["machine"] == "Made-up CPU, 2 cores, Test 1"
    assert result.facts["runtime"].startswith("onnxruntime ")
    assert result.facts["seed"] == "1"
    assert result.facts["profile"].startswith("host 2")


@pytest.mark.parametrize("threads", [(0,), (3,), (1, 64), (-1,)])
def test_threads_that_are_not_there_are_refused(
    machine: MadeUpMachine, threads: tuple[int, ...]
) -> None:
    with pytest.raises(BindingError, match="2 usable cores"):
        layers_suite(seed=1, cases=5, threads=threads, profile=None, progress=quiet)
    assert machine.timed == []


@pytest.mark.parametrize("name", ["t4", "cortex-m4"])
def test_a_profile_of_something_else_is_refused(machine: MadeUpMachine, name: str) -> None:
    names = [p.name for p in rnncost.list_profiles() if p.name.startswith(name)]
    with pytest.raises(BindingError, match=f"the profile {names[0]} is for"):
        run_suite("layers", Options(profile=names[0], cases=5), quiet)
    assert machine.timed == []


def test_the_registry_s_defaults(machine: MadeUpMachine) -> None:
    result = run_suite("layers", Options(), quiet)
    assert len(result.cases) == DEFAULT_CASES == 200
    assert {c.group for c in result.cases} == {"1 thread"}
    assert result.facts["seed"] == str(DEFAULT_SEED)


def test_two_threads_alone_still_begin_with_one(machine: MadeUpMachine) -> None:
    result = layers_suite(seed=1, cases=10, threads=(2,), profile=None, progress=quiet)
    assert {c.group for c in result.cases} == {"2 threads"}
    assert [threads for threads, _ in machine.timed] == [1, 2]
    assert machine.timed[0][1][-1] != random_layers(10, 1)[-1]  # not timed on one thread
