"""The suite of layers: single recurrent nodes of random extents, timed on this machine.

Without a profile the machine is calibrated in the same rounds in which the layers are
timed, so that a drift of its speed touches both alike; no layer of the suite is fitted to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from rnncost.calibration.design import SEED, random_layers
from rnncost.calibration.fitting import Residuals, layer_s
from rnncost.calibration.host import host
from rnncost.calibration.measuring import Measured, measure_runs, prepare_layers
from rnncost.calibration.run import fit_more_threads, fit_one_thread, profile_of
from rnncost.errors import BindingError
from rnncost.latency.onnxruntime_cpu.layers import Layer
from rnncost.latency.onnxruntime_cpu.predict import constants_for, interval_of
from rnncost.profiles.schema import HardwareProfile
from rnncost.runtime.machine import machine, runtime_version
from rnncost.suites.baselines import ROOFLINE
from rnncost.suites.model import Case, SuiteResult

ROUNDS = 10


def layers_suite(
    *,
    seed: int,
    cases: int,
    threads: tuple[int, ...],
    profile: HardwareProfile | None,
    progress: Callable[[str], None],
) -> SuiteResult:
    """Time random layers in ONNX Runtime beside their estimates, for each number of threads.

    Args:
        seed: of the layers; calibration draws with another.
        cases: how many layers for each number of threads.
        threads: numbers of threads.
        profile: a CPU's profile for the estimates; by default this machine is calibrated.
        progress: called with a line of text now and then.

    Raises:
        BindingError: a number of threads is not to be had here, the seed is one of the
            calibration's, or the profile is no CPU's for ONNX Runtime.
        MeasurementError: ONNX Runtime fails.
    """
    cores = machine().cores
    for count in threads:
        if not 1 <= count <= cores:
            raise BindingError(f"{count} threads cannot be timed with {cores} usable cores")
    if seed in (SEED, SEED + 1):
        raise BindingError(f"seed {seed} draws layers that calibration is fitted to: give another")
    if profile is not None and profile.runtime != "onnxruntime-cpu":
        raise BindingError(
            f"the layers run in ONNX Runtime on this CPU: the profile {profile.name} is for "
            f"{profile.runtime}"
        )
    layers = random_layers(cases, seed)
    if profile is None:
        profile, timed = _calibrated(layers, threads, progress)
    else:
        timed = {count: _timed(layers, count, progress) for count in threads}
    found = [
        _case(layer, seconds, profile, count)
        for count in threads
        for layer, seconds in zip(layers, timed[count], strict=True)
    ]
    return SuiteResult(
        suite="layers",
        cases=found,
        facts={
            "machine": str(machine()),
            "runtime": runtime_version(),
            "date": date.today().isoformat(),
            "seed": str(seed),
            "profile": f"{profile.name} {profile.version}",
        },
    )


def _calibrated(
    layers: Sequence[Layer], threads: tuple[int, ...], progress: Callable[[str], None]
) -> tuple[HardwareProfile, dict[int, tuple[float, ...]]]:
    facts = host()
    one = fit_one_thread(
        facts,
        extra=layers if 1 in threads else (),
        rounds=ROUNDS,
        max_time_s=None,
        progress=progress,
    )
    timed: dict[int, tuple[float, ...]] = {1: one.extra_s}
    results: dict[int, Residuals] = {1: one.errors}
    constants, measured = one.constants, one.measured
    for count in threads:
        if count > 1:
            more = fit_more_threads(
                one.constants,
                one.measured.reference_s,
                count,
                extra=layers,
                rounds=ROUNDS,
                max_time_s=None,
                progress=progress,
            )
            timed[count], results[count] = more.extra_s, more.errors
            constants = more.constants
    return profile_of("host", max(threads), facts, constants, measured, results), timed


def _timed(
    layers: Sequence[Layer], threads: int, progress: Callable[[str], None]
) -> tuple[float, ...]:
    runs = prepare_layers(layers, threads, progress)
    measured: Measured = measure_runs(runs, rounds=ROUNDS, threads=threads, progress=progress)
    return measured.seconds


def _case(layer: Layer, seconds: float, profile: HardwareProfile, threads: int) -> Case:
    constants, _ = constants_for(profile)
    predicted = layer_s(layer, constants, threads)
    interval = interval_of(profile, threads)
    return Case(
        name=(
            f"{layer.cell} T={layer.steps} B={layer.rows} I={layer.inputs} H={layer.hidden} "
            f"D={layer.directions}"
        ),
        group="1 thread" if threads == 1 else f"{threads} threads",
        features={
            "cell": layer.cell,
            "steps": layer.steps,
            "batch": layer.rows,
            "inputs": layer.inputs,
            "hidden": layer.hidden,
            "directions": layer.directions,
            "recurrent_bytes": layer.recurrent_bytes,
        },
        measured_s=seconds,
        predicted_s=predicted,
        low_s=None if interval is None else predicted * interval[0],
        high_s=None if interval is None else predicted * interval[1],
        baselines={ROOFLINE: _roofline_s(layer, profile, threads)},
    )


def _roofline_s(layer: Layer, profile: HardwareProfile, threads: int) -> float:
    """The longer of MACs / peak and bytes / bandwidth, as in ``suites.baselines``."""
    peaks = profile.peak_macs_per_s
    peak = peaks.int8 if layer.cell == "lstm_int8" and peaks.int8 is not None else peaks.fp32
    far = profile.memory[-1]
    used = min(threads, profile.threads)
    bandwidth = far.bandwidth_bytes_per_s.value * (used if far.per_core else 1)
    values = layer.steps * layer.rows * (layer.inputs + layer.directions * layer.hidden)
    size = layer.directions * (layer.recurrent_bytes + layer.input_bytes) + 4 * values
    return max(layer.macs / (peak.value * used), size / bandwidth)
