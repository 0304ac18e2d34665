"""Timing a model in ONNX Runtime."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.errors import MeasurementError
from rnncost.runtime.session import reason

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

NOISY_SPREAD = 0.1
"""Interquartile range over median above which a timing is called noisy."""

NOISY_TAIL = 1.3
"""Median over minimum above which a timing is called noisy."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where a timing was taken. ``cores`` are those that this process may use."""

    cpu: str
    cores: int
    system: str


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The times of repeated runs of one model with the same inputs, in seconds.

    ``min_s`` is the machine at its best; ``median_s`` is what it did most of the time.
    ``iqr_s`` is the range of the middle half of the runs.
    """

    min_s: float
    median_s: float
    p90_s: float
    iqr_s: float
    runs: int
    threads: int
    runtime: str
    machine: Machine

    @property
    def advice(self) -> str:
        """What to do about a noisy timing, or ``""`` for a steady one."""
        if self.iqr_s <= NOISY_SPREAD * self.median_s and self.median_s <= (
            NOISY_TAIL * self.min_s
        ):
            return ""
        return (
            f"noisy timing (median {self.median_s / self.min_s:.2f} x minimum, middle half spread "
            f"over {self.iqr_s / self.median_s:.0%}): close other programs, use no more threads "
            f"than free cores, or time for longer; the minimum is the steadier figure"
        )


def time_session(
    session: onnxruntime.InferenceSession,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    *,
    min_runs: int = 20,
    min_time_s: float = 0.5,
    max_time_s: float = 10.0,
) -> Timing:
    """Time runs of a session with its inputs and outputs bound beforehand.

    Warm-up runs (a tenth of ``min_time_s``, at least two runs) are not counted. Then the
    model runs until both ``min_runs`` and ``min_time_s`` are reached, or ``max_time_s``
    is over; at least one run is always timed.

    Raises:
        MeasurementError: ONNX Runtime refuses the inputs or fails in a run.
    """
    import onnxruntime as ort

    options = ort.RunOptions()
    options.log_severity_level = 4
    try:
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
        outputs = [output.name for output in session.get_outputs()]

        def run() -> float:
            # A bound output is a buffer for the next run, which ONNX Runtime refuses where
            # a model declares a wrong shape for it. Binding again is not timed.
            binding.clear_binding_outputs()
            for name in outputs:
                binding.bind_output(name)
            start = time.perf_counter()
            session.run_with_iobinding(binding, options)
            return time.perf_counter() - start

        begin = time.perf_counter()
        _repeat(run, min_runs=2, min_time_s=min_time_s / 10, max_time_s=max_time_s / 2)
        spent = time.perf_counter() - begin
        times = _repeat(
            run, min_runs=min_runs, min_time_s=min_time_s, max_time_s=max_time_s - spent
        )
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise MeasurementError(f"ONNX Runtime cannot run the model: {reason(error)}") from None
    lower, median, upper, p90 = (_quantile(times, q) for q in (0.25, 0.5, 0.75, 0.9))
    return Timing(
        min_s=times[0],
        median_s=median,
        p90_s=p90,
        iqr_s=upper - lower,
        runs=len(times),
        threads=session.get_session_options().intra_op_num_threads,
        runtime=f"onnxruntime {ort.__version__}",
        machine=machine(),
    )


def machine() -> Machine:
    """The processor, the usable cores and the system of this machine."""
    import os
    import platform

    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        cpu=_cpu_name() or platform.processor() or platform.machine(),
        cores=len(affinity(0)) if affinity is not None else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
    )


def _repeat(
    run: Callable[[], float], *, min_runs: int, min_time_s: float, max_time_s: float
) -> list[float]:
    """The times of runs, sorted."""
    times: list[float] = []
    begin = time.perf_counter()
    while True:
        times.append(run())
        spent = time.perf_counter() - begin
        if (len(times) >= min_runs and spent >= min_time_s) or spent >= max_time_s:
            return sorted(times)


def _quantile(ordered: list[float], q: float) -> float:
    """The q-quantile of sorted values, interpolated between neighbours."""
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Model"):
                    return value.strip()
    except OSError:
        pass
    return ""
