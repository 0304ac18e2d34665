"""``calibrate --device cuda``: time cuDNN's layers, fit the constants of its model.

A GPU that ships as a profile keeps the facts of its data sheets; of another one, peak and
bandwidth are measured. The constants are fitted with the model that uses them, so that a
fitted time is the time that an estimate says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import msgspec

from rnncost.calibration.cuda_design import (
    RANDOM_LAYERS,
    SEED,
    chosen_layers,
    counted_layer,
    random_layers,
)
from rnncost.calibration.cuda_device import (
    Timings,
    base_profile,
    fact_runs,
    shipped_profile,
)
from rnncost.calibration.fit import fit_logs
from rnncost.calibration.fitting import FOLDS, Residuals, residuals_of
from rnncost.calibration.measuring import Measured, steady_of
from rnncost.counting.counted import Counted
from rnncost.frontends.torch.cuda_timing import CudaDevice, CudaPrecision
from rnncost.latency.cudnn import cudnn, model_of
from rnncost.latency.roofline import device_of
from rnncost.profiles.quantities import Duration, Quantity
from rnncost.profiles.runtimes import Cudnn
from rnncost.profiles.schema import Calibration, HardwareProfile, HeldOut, Interval
from rnncost.runtime.machine import machine
from rnncost.runtime.timing import Run, time_interleaved

ROUNDS = 6
MAX_TIME_S = 60.0
"""After so long no further round of timing begins."""

_BURST_S, _BURST_RUNS = 3e-3, 6
"""Least length and number of runs of a burst."""

_TIMES = ("call_s", "startup_s", "floor_s", "persistent_floor_s")
_CONSTANTS = ("call_s", "startup_s", "floor_s", "bandwidth_share", "peak_share")
"""Of the standard algorithm, by their names in the model and in the profile."""

_MOVED, _SEEN = 1.1, 0.01
"""A constant is told by the layers if moving it by 10 % moves the time of one by 1 %."""

_CACHE_BYTES = 4e6
"""Where nothing tells of a cache: weights beyond it are then not few."""

_REFERENCE_ROWS = 1024


class Case(msgspec.Struct, frozen=True):
    """A timed layer: its count, its precision and its seconds."""

    counted: Counted
    precision: CudaPrecision
    measured_s: float


def calibrate_cuda(
    timings: Timings,
    *,
    name: str,
    check: Callable[[Measured], None],
    rounds: int = ROUNDS,
    progress: Callable[[str], None] = lambda _: None,
) -> HardwareProfile:
    """Measure a GPU and make its profile.

    Args:
        timings: what times layers on the GPU.
        name: of the profile.
        check: raises where the timings are too noisy.
        rounds: of timing.
        progress: called with a line of text now and then.

    Raises:
        MeasurementError: a layer cannot be timed, or the timings are too noisy.
    """
    device = timings.device
    known = shipped_profile(device)
    drawn = random_layers(RANDOM_LAYERS, SEED, _timed_precisions(device, known))
    layers = [*chosen_layers(_cache_bytes(device, known)), *drawn]
    facts = fact_runs(timings, measure_peaks=known is None)
    progress(f"building {len(layers)} layers on {device.name}")
    runs = [*facts.values(), *[timings.layer(layer) for layer in layers]]
    progress(f"timing {len(runs)} runs on {device.name}")
    measured = _measure(runs, timings.product(_REFERENCE_ROWS, "fp32"), rounds)
    check(measured)
    source = f"rnncost calibrate with {device.software} on {device.name}"
    seconds = dict(zip(facts, measured.seconds, strict=False))
    base = base_profile(device, known, seconds, source)
    cases = [
        Case(counted_layer(layer), layer.precision, taken_s)
        for layer, taken_s in zip(layers, measured.seconds[len(facts) :], strict=True)
    ]
    progress(f"fitting {len(cases)} layers")
    block = fit_cudnn(base, cases, source)
    errors = held_out_errors(base, cases, scored=RANDOM_LAYERS)
    return _profile_of(name, base, block, errors, measured, device)


def _timed_precisions(
    device: CudaDevice, known: HardwareProfile | None
) -> tuple[CudaPrecision, ...]:
    """The device's precisions whose peak is known, from a data sheet or because it is timed."""
    if known is None:
        return device.precisions
    peaks = known.peak_macs_per_s
    return tuple([p for p in device.precisions if getattr(peaks, p) is not None])


def _cache_bytes(device: CudaDevice, known: HardwareProfile | None) -> float:
    """The size of the cache before the memory, as the model will see it."""
    if known is None:
        return float(device.l2_bytes or _CACHE_BYTES)
    sizes = [level.size_bytes.value for level in known.memory[:-1] if level.size_bytes is not None]
    return max(sizes, default=_CACHE_BYTES)


def _measure(runs: Sequence[Run], reference: Run, rounds: int) -> Measured:
    """Time runs in turns and take the drift of the clocks out."""
    timed = time_interleaved(
        runs,
        rounds=rounds,
        min_time_s=_BURST_S,
        min_runs=_BURST_RUNS,
        max_time_s=MAX_TIME_S,
        reference=reference,
        shuffle=True,
    )
    return steady_of(timed)


def layer_s(profile: HardwareProfile, case: Case) -> float:
    """Seconds of a run of a model that is one layer, as an estimate says it."""
    predicted = cudnn(case.counted, profile, threads=1, precision=case.precision)
    return math.fsum([time.total_s for time in (predicted.run, *predicted.ops)])


def fit_cudnn(base: HardwareProfile, cases: Sequence[Case], source: str) -> Cudnn:
    """The constants that predict the layers best, beginning with those of the model.

    A constant that no layer tells is left out, so that the model's own stays in its place.
    """
    start = _start(base)
    values = _fit(base, start, cases)
    fitted = _with(base, values, source)
    times_s = [layer_s(fitted, case) for case in cases]

    def told(name: str) -> bool:
        moved = _with(base, {**values, name: _MOVED * values[name]}, source)
        pairs = zip(cases, times_s, strict=True)
        return any(abs(layer_s(moved, case) / time_s - 1) >= _SEEN for case, time_s in pairs)

    known = {name: value for name, value in values.items() if told(name)}
    block = _with(base, known, source).cudnn
    assert block is not None
    return block


def held_out_errors(base: HardwareProfile, cases: Sequence[Case], scored: int) -> Residuals:
    """Fit without a quarter of the last ``scored`` layers and predict that, in turns."""
    start = _start(base)
    ratios = []
    first = len(cases) - scored
    for fold in range(FOLDS):
        out = [i for i in range(first, len(cases)) if i % FOLDS == fold]
        kept = [case for i, case in enumerate(cases) if i not in out]
        fitted = _with(base, _fit(base, start, kept), "a fit")
        ratios += [cases[i].measured_s / layer_s(fitted, cases[i]) for i in out]
    return residuals_of(ratios)


def _start(base: HardwareProfile) -> dict[str, float]:
    """The model's own constants, with which every fit begins."""
    model = model_of(base, device_of(base, 1))
    assert model is not None, "base_profile gives the multiprocessors"
    own = {name: float(getattr(model.constants, name)) for name in _CONSTANTS}
    return {**own, "persistent_floor_s": model.persistent.floor_s}


def _fit(
    base: HardwareProfile, start: Mapping[str, float], cases: Sequence[Case]
) -> dict[str, float]:
    def predict(values: Sequence[float]) -> list[float]:
        fitted = _with(base, dict(zip(start, values, strict=True)), "a fit")
        return [layer_s(fitted, case) for case in cases]

    values, _ = fit_logs(predict, list(start.values()), [case.measured_s for case in cases])
    return dict(zip(start, values, strict=True))


def _with(base: HardwareProfile, values: Mapping[str, float], source: str) -> HardwareProfile:
    """The profile with these constants of cuDNN."""
    kernels = base.cudnn.kernels if base.cudnn is not None else None
    constants = {
        name: (Duration if name in _TIMES else Quantity)(
            value=value, kind="measured", source=source
        )
        for name, value in values.items()
    }
    block = msgspec.structs.replace(Cudnn(kernels=kernels, framework="pytorch"), **constants)
    return msgspec.structs.replace(base, cudnn=block)


def _profile_of(
    name: str,
    base: HardwareProfile,
    block: Cudnn,
    errors: Residuals,
    measured: Measured,
    device: CudaDevice,
) -> HardwareProfile:
    today = date.today().isoformat()
    cases = HeldOut(
        what="layers",
        threads=1,
        cases=errors.layers,
        median_error=errors.median_error,
        p90_error=errors.p90_error,
        low=errors.low,
        high=errors.high,
    )
    return msgspec.structs.replace(
        base,
        name=name,
        title=f"{base.title}, calibrated",
        version=today,
        cudnn=block,
        interval=Interval(
            low=errors.low,
            high=errors.high,
            kind="measured",
            source=f"{errors.layers} single layers, left out of the fit in turn",
        ),
        calibration=Calibration(
            date=today,
            host=f"{device.name} in {machine()}",
            runtime=device.software,
            drift=measured.drift,
            scatter=measured.scatter,
            held_out=(cases,),
        ),
    )
