"""Timing the layers of a design in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from rnncost.calibration.models import recurrent_model
from rnncost.calibration.steady import steady_s
from rnncost.latency.onnxruntime_cpu.layers import Layer
from rnncost.runtime.inputs import make_inputs
from rnncost.runtime.session import create_session
from rnncost.runtime.timing import Run, prepare, time_interleaved

BURST_S = 3e-3
MIN_RUNS = 6
"""Least length and number of runs of a burst."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Steady seconds of each run, and the noise that was seen.

    ``drift`` is the interquartile range of the machine's speed, ``scatter`` the median over
    the runs of the spread that is left between rounds; both as ratios minus 1.
    """

    seconds: tuple[float, ...]
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
            progress(f"building models for {_threads(threads)}: {number} of {len(layers)}")
        session = create_session(recurrent_model(layer), threads=threads)
        runs.append(prepare(session, make_inputs(session)))
    return runs


def measure_runs(
    runs: Sequence[Run],
    *,
    rounds: int,
    what: str,
    progress: Callable[[str], None],
    max_time_s: float | None = None,
) -> Measured:
    """Time runs in turns and take the machine's drift out."""
    progress(f"timing {len(runs)} {what}")
    timed = time_interleaved(
        runs, rounds=rounds, min_time_s=BURST_S, min_runs=MIN_RUNS, max_time_s=max_time_s
    )
    return steady_of([timing.per_round_min_s for timing in timed.timings])


def steady_of(minima_s: Sequence[Sequence[float]]) -> Measured:
    """From the minima of each run's rounds to its steady time."""
    rounds = list(zip(*minima_s, strict=True))
    steady = steady_s(rounds)
    return Measured(seconds=tuple(steady.seconds), drift=steady.drift, scatter=steady.scatter)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
