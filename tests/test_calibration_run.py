"""``calibrate`` on a made-up machine whose constants are known: no clock, no ONNX Runtime."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from calibration_machine import CORES, FACTS, MadeUpMachine, true_constants

import rnncost
from rnncost.calibration import run
from rnncost.calibration.design import random_layers
from rnncost.calibration.fitting import layer_s
from rnncost.cli.main import main
from rnncost.errors import BindingError, MeasurementError
from rnncost.latency.onnxruntime_cpu.predict import interval_of
from rnncost.profiles.schema import HardwareProfile
from rnncost.profiles.writer import profile_text

FRESH = random_layers(100, 321, 400_000_000)
"""Layers that no calibration draws."""


@pytest.fixture(scope="module")
def machine() -> MadeUpMachine:
    """Half as fast while two threads are timed: not the threads' fault, the machine's."""
    return MadeUpMachine(true_constants(), pace={2: 2.0})


@pytest.fixture(scope="module")
def profile(machine: MadeUpMachine) -> HardwareProfile:
    with pytest.MonkeyPatch.context() as patch:
        machine.take_over(patch)
        return rnncost.calibrate()


def errors(machine: MadeUpMachine, profile: HardwareProfile, threads: int) -> np.ndarray:
    """Of predictions, up to one factor for all: the speed at which the machine was timed."""
    found = profile.onnxruntime_cpu
    assert found is not None
    ratios = [layer_s(x, found, threads) / layer_s(x, machine.constants, threads) for x in FRESH]
    return np.abs(np.asarray(ratios) / np.median(ratios) - 1)


@pytest.mark.parametrize(("threads", "median", "p90"), [(1, 0.015, 0.04), (2, 0.02, 0.05)])
def test_layers_that_were_never_timed_are_predicted(
    machine: MadeUpMachine, profile: HardwareProfile, threads: int, median: float, p90: float
) -> None:
    left = errors(machine, profile, threads)
    assert np.median(left) < median
    assert np.quantile(left, 0.9) < p90


@pytest.mark.parametrize("threads", [1, 2])
def test_the_speed_is_the_one_that_the_machine_had_on_one_thread(
    machine: MadeUpMachine, profile: HardwareProfile, threads: int
) -> None:
    found = profile.onnxruntime_cpu
    assert found is not None
    ratios = [layer_s(x, found, threads) / layer_s(x, machine.constants, threads) for x in FRESH]
    assert np.median(ratios) == pytest.approx(1, abs=0.06)


def test_each_round_is_timed_in_another_order(
    machine: MadeUpMachine, profile: HardwareProfile
) -> None:
    """The same order each time would make the machine's drift look like the layers' own."""
    assert profile.calibrated
    assert [options["shuffle"] for options in machine.options] == [True, True]


def test_the_profile_says_where_it_comes_from(profile: HardwareProfile) -> None:
    assert (profile.name, profile.kind, profile.runtime) == ("host", "cpu", "onnxruntime-cpu")
    assert profile.title == "Made-up CPU, calibrated"
    assert profile.threads == CORES
    assert profile.processor.isa == FACTS.isa
    assert profile.calibrated
    found = profile.calibration
    assert found is not None
    assert found.host == "Made-up CPU, 2 cores, Test 1"
    assert found.runtime.startswith("onnxruntime ")
    assert found.date == profile.version
    assert found.drift == pytest.approx(0.15, abs=0.06)  # a sine of 0.1: 0.14 between quartiles
    assert found.scatter is not None
    assert 0 < found.scatter < 0.02
    constants = profile.onnxruntime_cpu
    assert constants is not None
    assert constants.kind == "measured"
    assert "Made-up CPU" in constants.source
    assert profile.memory[0].size_bytes is not None
    assert profile.memory[0].size_bytes.value == FACTS.second_cache_bytes


def test_the_held_out_errors_tell_the_truth(
    machine: MadeUpMachine, profile: HardwareProfile
) -> None:
    assert profile.calibration is not None
    assert [x.threads for x in profile.calibration.held_out] == [1, 2]
    for found in profile.calibration.held_out:
        assert found.what == "layers"
        assert found.median_error < 0.03
        assert found.median_error < found.p90_error < 0.08
        assert 0.9 < found.low <= 1 <= found.high < 1.1
        interval = interval_of(profile, found.threads)
        assert interval is not None
        low, high = interval
        assert (1 - low, high - 1) == pytest.approx((1.2 * (1 - found.low), 1.2 * (found.high - 1)))
    one, two = profile.calibration.held_out
    assert (one.cases, two.cases) == (run.RANDOM_LAYERS, run.THREADED_LAYERS)


def test_a_layer_s_memory_is_its_own(profile: HardwareProfile) -> None:
    names = [level.name for level in profile.memory]
    near, far = (level.bandwidth_bytes_per_s.value for level in profile.memory)
    assert names == ["L2", "memory"]
    assert near > far
    assert far == pytest.approx(20e9, rel=0.5)  # what the made-up machine streams from memory


def test_the_file_reads_back_as_the_same_profile(
    profile: HardwareProfile, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "host.yaml"
    path.write_text(profile_text(profile), encoding="utf-8")
    assert rnncost.load_profile(path) == profile
    assert main(["profiles", "check", str(path)]) == 0
    assert "right" in capsys.readouterr().out


def test_analyze_takes_the_host_s_profile_and_says_so(
    profile: HardwareProfile, profile_folder: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    from rnncost.calibration.models import recurrent_model

    (profile_folder / "host.yaml").write_text(profile_text(profile), encoding="utf-8")
    (found,) = rnncost.analyze(onnx.load_from_string(recurrent_model(FRESH[0]))).estimates
    assert found.profile == "host"
    assert found.calibrated
    assert found.latency_low_s is not None
    assert found.latency_high_s is not None
    assert found.latency_low_s <= found.latency_s <= found.latency_high_s
    assert profile.calibration is not None
    assert any(profile.calibration.date in note for note in found.notes)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short design."""
    monkeypatch.setattr(run, "RANDOM_LAYERS", 10)
    monkeypatch.setattr(run, "THREADED_LAYERS", 10)
    monkeypatch.setattr(run, "chosen_layers", lambda _: random_layers(10, 4, 10_000_000))
    monkeypatch.setattr(run, "MAX_P90_ERROR", math.inf)


@pytest.fixture
def unfitted(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no fit, where the figures do not matter."""
    monkeypatch.setattr(run, "fit_constants", lambda base, *_: base)
    monkeypatch.setattr(run, "fit_threads", lambda base, *_: base)


@pytest.mark.usefixtures("small")
def test_two_calibrations_of_the_same_timings_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = (MadeUpMachine(true_constants(), drift=0) for _ in range(2))
    profiles = []
    for machine in (first, second):
        machine.take_over(monkeypatch)
        profiles.append(rnncost.calibrate(name="one", threads=2))
    assert profiles[0] == profiles[1]
    assert first.timed == second.timed
    assert [threads for threads, _ in first.timed] == [1, 2]


@pytest.mark.usefixtures("unfitted")
def test_one_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = MadeUpMachine(true_constants(), drift=0).take_over(monkeypatch)
    said: list[str] = []
    profile = rnncost.calibrate(threads=1, name="single", progress=said.append)
    assert (profile.name, profile.threads) == ("single", 1)
    assert profile.calibration is not None
    assert [x.threads for x in profile.calibration.held_out] == [1]
    assert [threads for threads, _ in machine.timed] == [1]
    assert any(text.startswith("timing 204 models") for text in said)
    assert any(text.startswith("fitting") for text in said)
    assert all("\n" not in text for text in said)


@pytest.mark.parametrize("threads", [0, -1, CORES + 1, 10**9])
def test_threads_that_are_not_there_are_refused_before_timing(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    machine = MadeUpMachine(true_constants()).take_over(monkeypatch)
    with pytest.raises(BindingError, match=f"1 to {CORES}.*got {threads}"):
        rnncost.calibrate(threads=threads)
    assert machine.timed == []


@pytest.mark.usefixtures("unfitted")
@pytest.mark.parametrize("what", ["scatter", "drift"])
def test_a_noisy_machine_is_refused_unless_forced(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    noise, drift = {"scatter": (1.0, 0.0), "drift": (0.01, 0.5)}[what]
    monkeypatch.setattr(run, "RANDOM_LAYERS", 150)
    machine = MadeUpMachine(true_constants(), noise=noise, drift=drift).take_over(monkeypatch)
    with pytest.raises(MeasurementError, match=r"drifted by \d+%.*scattered by \d+%") as refused:
        rnncost.calibrate()
    assert "--force" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [threads for threads, _ in machine.timed] == [1]  # no time is lost on more threads
    calibration = rnncost.calibrate(threads=1, force=True).calibration
    assert calibration is not None
    assert calibration.drift is not None
    assert calibration.scatter is not None
    assert (calibration.drift > run.MAX_DRIFT) == (what == "drift")
    assert (calibration.scatter > run.MAX_SCATTER) == (what == "scatter")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("unfitted")
def test_timings_that_fit_nothing_are_refused_unless_forced(
    monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(run, "MAX_P90_ERROR", 0.4)
    far_off, base = true_constants(3.0), true_constants(0.01)
    fitted = {1: base, 2: base, threads: far_off}
    monkeypatch.setattr(run, "fit_constants", lambda *_: fitted[1])
    monkeypatch.setattr(run, "fit_threads", lambda *_: fitted[2])
    MadeUpMachine(base, noise=0.01, drift=0.0).take_over(monkeypatch)
    words = {1: "1 thread fit", 2: "2 threads fit"}[threads]
    with pytest.raises(MeasurementError, match=rf"{words}.*more than \d+% .*--force") as refused:
        rnncost.calibrate()
    assert "\n" not in str(refused.value)
    assert rnncost.calibrate(force=True).calibrated


@pytest.mark.usefixtures("unfitted")
def test_a_quiet_machine_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    MadeUpMachine(true_constants(), noise=0.02, drift=0.02).take_over(monkeypatch)
    assert rnncost.calibrate(threads=1).calibrated


@pytest.mark.usefixtures("unfitted")
def test_what_is_assumed_of_a_machine_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import msgspec

    MadeUpMachine(true_constants(), drift=0).take_over(monkeypatch)
    guessed = msgspec.structs.replace(FACTS, assumed=("second cache", "vector extension"))
    monkeypatch.setattr(run, "host", lambda: guessed)
    profile = rnncost.calibrate(threads=1)
    size = profile.memory[0].size_bytes
    assert size is not None
    assert size.kind == "assumed"
    assert "reports" not in size.source
    assert profile.onnxruntime_cpu is not None
    assert "assumed: second cache, vector extension" in profile.onnxruntime_cpu.source
