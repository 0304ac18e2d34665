"""``calibrate``: measure this machine, fit the constants of its kernels, make a profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Literal

import msgspec

from rnncost.calibration.design import (
    MAX_MACS,
    RANDOM_LAYERS,
    SEED,
    THREADED_LAYERS,
    chosen_layers,
    chosen_threaded_layers,
    random_layers,
)
from rnncost.calibration.fitting import Residuals, fit_constants, fit_threads, held_out
from rnncost.calibration.host import Host, host
from rnncost.calibration.measuring import (
    Measured,
    count_of,
    measure_runs,
    prepare_layers,
    prepare_operators,
)
from rnncost.calibration.operator_models import chain_of, operator_model, own_times
from rnncost.calibration.operators_design import operator_cases
from rnncost.calibration.operators_fitting import fit_operators
from rnncost.errors import BindingError, MeasurementError
from rnncost.latency.onnxruntime_cpu.defaults import default_constants
from rnncost.latency.onnxruntime_cpu.layers import Layer
from rnncost.latency.onnxruntime_cpu.predict import RECURRENT
from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
from rnncost.profiles.quantities import Quantity
from rnncost.profiles.schema import (
    Calibration,
    HardwareProfile,
    HeldOut,
    MemoryLevel,
    Peaks,
    Processor,
)
from rnncost.runtime.machine import machine, runtime_version

ROUNDS = 6
ONE_THREAD_S, MORE_THREADS_S = 28.0, 10.0
"""After so long no further round of timing begins."""

MAX_DRIFT = 0.25
MAX_SCATTER = 0.10
"""Noise above which a machine is not trusted."""

MAX_P90_ERROR = 0.4
"""So far off are timings that were disturbed; 0.1 on one thread and 0.2 on more are usual."""

_GUESS = {"clock_hz": 3.0e9, "peak_macs_per_s": 48e9}
_GUESSED_LEVELS = ((4e6, 40e9), (float("inf"), 15e9))
"""Where the fit begins; measurements decide."""


def calibrate(
    *,
    threads: int | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    name: str = "host",
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> HardwareProfile:
    """Measure this machine with micro-benchmarks in ONNX Runtime, and make its profile.

    Takes about a minute and a half on two cores. Other programs should rest meanwhile.

    Args:
        threads: the most threads that the profile is for; by default those that this
            process may use.
        device: "cuda" times cuDNN's layers through PyTorch instead, on the GPU that it uses
            by default, and makes a profile of that GPU.
        name: of the profile.
        force: make a profile even if the machine is too noisy to trust.
        progress: called with a line of text now and then.

    Raises:
        BindingError: ``threads`` is below 1, or more than this process may use, or given for
            a GPU; or the device is unknown.
        MeasurementError: ONNX Runtime or PyTorch fails, or the machine is too noisy.
        RuntimeUnavailableError: PyTorch, its CUDA build or a GPU is missing.
    """
    if device != "cpu":
        return _calibrate_gpu(device, threads, name, force, progress)
    cores = machine().cores
    used = cores if threads is None else threads
    if not 1 <= used <= cores:
        raise BindingError(f"threads must be 1 to {cores}, the cores of this process; got {used}")
    facts = host()
    one = fit_one_thread(facts, progress=progress)
    _check_noise(one.measured, force)
    _check_fit(one.errors, 1, force)
    results, constants = {1: one.errors}, one.constants
    if used > 1:
        more = fit_more_threads(constants, one.measured.reference_s, used, progress=progress)
        _check_noise(more.measured, force)
        _check_fit(more.errors, used, force)
        results[used], constants = more.errors, more.constants
    return profile_of(name, used, facts, constants, one.measured, results)


def _calibrate_gpu(
    device: str, threads: int | None, name: str, force: bool, progress: Callable[[str], None]
) -> HardwareProfile:
    # Here, because a calibration of the CPU needs nothing of it.
    from rnncost.calibration.cuda import calibrate_cuda
    from rnncost.frontends.torch.cuda_timing import open_cuda

    if device != "cuda":
        raise BindingError(f"unknown device {device!r}; choose one of cpu, cuda")
    if threads is not None:
        raise BindingError("threads are those of a CPU: leave them out for the device 'cuda'")

    def check(measured: Measured) -> None:
        _check_noise(measured, force)

    return calibrate_cuda(open_cuda(), name=name, check=check, progress=progress)


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """Constants, their errors on layers that were left out, and the timings.

    ``extra_s`` are the seconds of layers that were timed in the same rounds and not
    fitted to.
    """

    constants: OnnxRuntimeCpu
    errors: Residuals
    measured: Measured
    extra_s: tuple[float, ...]


def fit_one_thread(
    facts: Host,
    *,
    extra: Sequence[Layer] = (),
    rounds: int = ROUNDS,
    max_time_s: float | None = ONE_THREAD_S,
    progress: Callable[[str], None],
) -> Fitted:
    """Time the layers of the design on one thread and fit all constants to them."""
    base = default_constants(
        isa=facts.isa,
        first_cache_bytes=facts.first_cache_bytes,
        second_cache_bytes=facts.second_cache_bytes,
        levels=_GUESSED_LEVELS,
        **_GUESS,
    )
    chosen = chosen_layers(facts.second_cache_bytes)
    layers = [*chosen, *random_layers(RANDOM_LAYERS, SEED, MAX_MACS)]
    cases = operator_cases(facts.second_cache_bytes)
    runs = [*prepare_layers([*layers, *extra], 1, progress), *prepare_operators(cases, progress)]
    measured = measure_runs(
        runs, rounds=rounds, threads=1, progress=progress, max_time_s=max_time_s
    )
    seconds = measured.seconds[: len(layers)]
    extra_s = measured.seconds[len(layers) : len(layers) + len(extra)]
    chains_s = own_times(cases, measured.seconds[len(layers) + len(extra) :])
    channels = base.operators.convolutions.channels
    chains = [
        chain_of(
            operator_model(case),
            optimised=case.optimised,
            channels=channels,
            besides=case.besides,
        )
        for case in cases
    ]
    progress(f"fitting {len(layers)} layers and {len(cases)} chains on 1 thread")
    # Chains of one and of many nodes tell what a run takes, whatever products take.
    _, run_s, _ = fit_operators(base.operators, base, chains, chains_s)
    # Only the random layers are scored: what all fits begin with has seen none of them.
    start = msgspec.structs.replace(base, run_s=run_s)
    start = fit_constants(start, chosen, seconds[: len(chosen)])

    def fit(kept: Sequence[Layer], times: Sequence[float]) -> OnnxRuntimeCpu:
        return fit_constants(start, kept, times)

    constants = fit(layers, seconds)
    operators, _, _ = fit_operators(base.operators, constants, chains, chains_s)
    return Fitted(
        constants=msgspec.structs.replace(constants, operators=operators),
        errors=held_out(fit, layers, seconds, 1, len(layers) - len(chosen)),
        measured=measured,
        extra_s=extra_s,
    )


def fit_more_threads(
    single: OnnxRuntimeCpu,
    reference_s: float,
    threads: int,
    *,
    extra: Sequence[Layer] = (),
    rounds: int = ROUNDS,
    max_time_s: float | None = MORE_THREADS_S,
    progress: Callable[[str], None],
) -> Fitted:
    """Time random layers on several threads, and fit what those change to them.

    ``reference_s`` is what the reference kernel took while ``single``, the constants of one
    thread, were measured.
    """
    drawn = random_layers(THREADED_LAYERS, SEED + 1, MAX_MACS)
    layers = [*chosen_threaded_layers(), *drawn]
    measured = measure_runs(
        prepare_layers([*layers, *extra], threads, progress),
        rounds=rounds,
        threads=threads,
        progress=progress,
        max_time_s=max_time_s,
    )
    # The machine may have been faster or slower than when it ran one thread.
    speed = reference_s / measured.reference_s
    seconds = [speed * value for value in measured.seconds]
    progress(f"fitting {len(layers)} layers on {threads} threads")

    def fit(kept: Sequence[Layer], times: Sequence[float]) -> OnnxRuntimeCpu:
        return fit_threads(single, kept, times, threads)

    return Fitted(
        constants=fit(layers, seconds[: len(layers)]),
        errors=held_out(fit, layers, seconds[: len(layers)], threads, len(drawn)),
        measured=measured,
        extra_s=tuple(seconds[len(layers) :]),
    )


def _check_noise(measured: Measured, force: bool) -> None:
    if not force and (measured.drift > MAX_DRIFT or measured.scatter > MAX_SCATTER):
        raise MeasurementError(
            f"this machine is too noisy to calibrate: its speed drifted by {measured.drift:.0%} "
            f"(at most {MAX_DRIFT:.0%}) and single timings scattered by {measured.scatter:.0%} (at "
            f"most {MAX_SCATTER:.0%}); close other programs and try again, or give --force"
        )


def _check_fit(errors: Residuals, threads: int, force: bool) -> None:
    if not force and errors.p90_error > MAX_P90_ERROR:
        raise MeasurementError(
            f"the timings on {count_of(threads)} fit no constants: of the layers that were left "
            f"out, one in ten is off by more than {errors.p90_error:.0%} (at most "
            f"{MAX_P90_ERROR:.0%}), as when other programs take the cores meanwhile; close them "
            "and try again, or give --force"
        )


def profile_of(
    name: str,
    threads: int,
    facts: Host,
    constants: OnnxRuntimeCpu,
    measured: Measured,
    results: dict[int, Residuals],
) -> HardwareProfile:
    """The profile of this machine from what was measured; ``results`` by number of threads."""
    here = machine()
    source = f"rnncost calibrate with {runtime_version()} on {here}"
    if facts.assumed:
        source += f"; not reported and assumed: {', '.join(facts.assumed)}"
    products = constants.products
    # A call's weights are read once for all its rows.
    int8_mac_s = products.int8_mac_s + products.int8_again_s / products.int8_rows

    def found(value: float, note: str = "") -> Quantity:
        return Quantity(value=value, kind="measured", source=source, note=note)

    def size(value: float, cache: str) -> Quantity:
        if cache in facts.assumed:
            return Quantity(value=value, kind="assumed", source="a common size: none is reported")
        return Quantity(value=value, kind="datasheet", source="as the operating system reports it")

    return HardwareProfile(
        schema_version=1,
        name=name,
        title=f"{here.cpu}, calibrated",
        kind="cpu",
        runtime="onnxruntime-cpu",
        version=date.today().isoformat(),
        threads=threads,
        processor=Processor(isa=facts.isa),
        peak_macs_per_s=Peaks(
            fp32=found(1 / min(products.mac_s), "the fastest product kernel"),
            int8=found(1 / int8_mac_s, "8-bit products of many rows"),
        ),
        memory=_levels(facts, constants, found, size),
        onnxruntime_cpu=msgspec.structs.replace(constants, kind="measured", source=source),
        calibration=Calibration(
            date=date.today().isoformat(),
            host=str(here),
            runtime=runtime_version(),
            reference_s=measured.reference_s,
            drift=measured.drift,
            scatter=measured.scatter,
            held_out=tuple(
                HeldOut(
                    what=RECURRENT,
                    threads=count,
                    cases=found_errors.layers,
                    median_error=found_errors.median_error,
                    p90_error=found_errors.p90_error,
                    low=found_errors.low,
                    high=found_errors.high,
                )
                for count, found_errors in results.items()
            ),
        ),
    )


def _levels(
    facts: Host,
    constants: OnnxRuntimeCpu,
    found: Callable[[float, str], Quantity],
    size: Callable[[float, str], Quantity],
) -> tuple[MemoryLevel, ...]:
    """The second cache, and what lies beyond it, as weights stream from them."""
    products = constants.products
    near = 4 / products.mac_s[0]
    far = min(near, 1 / max(products.far[-1].s_per_byte, 1e-15))
    return (
        MemoryLevel(
            name="L2",
            size_bytes=size(float(facts.second_cache_bytes), "second cache"),
            bandwidth_bytes_per_s=found(near, "weights of a product of one row"),
            per_core=True,
        ),
        MemoryLevel(
            name="memory",
            bandwidth_bytes_per_s=found(far, "weights beyond the second cache, one thread"),
            per_core=True,
        ),
    )
