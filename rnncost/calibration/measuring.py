"""Timing the layers of a design in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from rnncost.calibration.models import recurrent_model
from rnncost.calibration.operator_models import Case, operator_model
from rnncost.calibration.steady import steady_s
from rnncost.latency.onnxruntime_cpu.layers import Layer
from rnncost.runtime.inputs import make_inputs
from rnncost.runtime.session import create_session
from rnncost.runtime.timing import Interleaved, Run, prepare, time_interleaved

BURST_S, THREADED_BURST_S = 8e-3, 15e-3
MIN_RUNS, THREADED_MIN_RUNS = 6, 12
"""Least length and number of runs of a burst. After wide vector work a core runs some percent
slower for milliseconds, and threads that slept need as long until they are back on cores of
their own."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Steady seconds of each run, and the noise that was seen.

    ``drift`` is the interquartile range of the machine's speed, ``scatter`` the median over
    the runs of the spread that is left between rounds; both as ratios minus 1.
    ``reference_s`` is the median of the reference kernel meanwhile.
    """

    seconds: tuple[float, ...]
    reference_s: float
    drift: float
    scatter: float


def prepare_layers(
    layers: Sequence[Layer], threads: int, progress: Callable[[str], None]
) -> list[Run]:
    """A session for each layer, ready to run.

    Raises:
        MeasurementError: ONNX Runtime cannot load or run a model.
    """
    runs = []
    for number, layer in enumerate(layers):
        if number % 20 == 0:
            progress(f"building models for {count_of(threads)}: {number} of {len(layers)}")
        session = create_session(recurrent_model(layer), threads=threads)
        runs.append(prepare(session, make_inputs(session)))
    return runs


def prepare_operators(cases: Sequence[Case], progress: Callable[[str], None]) -> list[Run]:
    """A session on one thread for each chain of operators, ready to run.

    Raises:
        MeasurementError: ONNX Runtime cannot load or run a model.
    """
    progress(f"building {len(cases)} chains of operators")
    runs = []
    for case in cases:
        session = create_session(operator_model(case), optimization=case.optimization)
        runs.append(prepare(session, make_inputs(session)))
    return runs


def measure_runs(
    runs: Sequence[Run],
    *,
    rounds: int,
    threads: int,
    progress: Callable[[str], None],
    max_time_s: float | None = None,
) -> Measured:
    """Time models in turns and take the machine's drift out."""
    progress(f"timing {len(runs)} models on {count_of(threads)}")
    timed = time_interleaved(
        runs,
        rounds=rounds,
        min_time_s=BURST_S if threads == 1 else THREADED_BURST_S,
        min_runs=MIN_RUNS if threads == 1 else THREADED_MIN_RUNS,
        max_time_s=max_time_s,
        shuffle=True,
    )
    return steady_of(timed)


def steady_of(timed: Interleaved) -> Measured:
    """The steady seconds of runs that were timed in shuffled rounds, and the noise."""
    minima_s = [timing.per_round_min_s for timing in timed.timings]
    steady = steady_s(list(zip(*minima_s, strict=True)), timed.orders)
    return Measured(
        seconds=tuple(steady.seconds),
        reference_s=timed.reference.median_s,
        drift=steady.drift,
        scatter=steady.scatter,
    )


def count_of(count: int) -> str:
    """A number of threads in words."""
    return "1 thread" if count == 1 else f"{count} threads"
