"""Timing models in ONNX Runtime, in turns, with a reference kernel between them.

The speed of a shared machine drifts by tens of percent. Models that are to be compared are
therefore timed in short bursts, one after the other, round after round; a reference kernel
before each burst shows how fast the machine is at that moment. The minimum over all rounds
is the machine at its best. How well it was reached shows in the minima of the rounds.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Union

import msgspec

from rnncost.errors import MeasurementError
from rnncost.runtime.reference import reference_inputs, reference_model
from rnncost.runtime.session import create_session, reason

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

NOISY = 1.1
"""Noise (see ``Timing``) above which a machine is called too noisy to judge."""

REFERENCE_TIME_S = 2e-3
"""Length of a burst of the reference kernel: some twenty runs."""


LONG_BURST_S = 0.05
"""A burst that lasts longer needs no more than two runs."""


class Run(msgspec.Struct, frozen=True):
    """Something that can be timed: ``run()`` does it once and returns its seconds.

    ``burst_s`` is the least length of its bursts, where it is not that of all.
    """

    run: Callable[[], float]
    burst_s: Union[float, None] = None


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The times of repeated runs of one model with the same inputs, in seconds.

    ``min_s`` is the machine at its best; ``median_s`` is what it did most of the time;
    ``iqr_s`` is the range of the middle half of the runs; ``per_round_min_s`` are the
    minima of the rounds, in their order.
    """

    min_s: float
    median_s: float
    p90_s: float
    iqr_s: float
    runs: int
    per_round_min_s: tuple[float, ...]

    @property
    def steady_s(self) -> float:
        """The median of the rounds at their best: what the machine can repeat."""
        return _quantile(sorted(self.per_round_min_s), 0.5)

    @property
    def noise(self) -> float:
        """How many times its minimum the model took in the median of the rounds at their best.

        1 says that at least half of the rounds reached the minimum, which then is the
        machine's, not luck.
        """
        return self.steady_s / self.min_s


class Interleaved(msgspec.Struct, frozen=True, kw_only=True):
    """Timings that were taken in turns, in the order of the runs, and the reference's.

    ``orders`` are the numbers of the runs as each round timed them.
    """

    timings: tuple[Timing, ...]
    reference: Timing
    orders: tuple[tuple[int, ...], ...] = ()

    @property
    def rounds(self) -> int:
        """How many rounds were timed."""
        return len(self.reference.per_round_min_s)

    @property
    def drift(self) -> float:
        """The slowest round's minimum of the reference over the fastest round's."""
        return max(self.reference.per_round_min_s) / min(self.reference.per_round_min_s)

    @property
    def noisy(self) -> bool:
        """Whether the reference shows a machine too noisy to judge what was timed."""
        return self.reference.noise > NOISY


def prepare(
    session: onnxruntime.InferenceSession, inputs: Mapping[str, np.ndarray[Any, Any]]
) -> Run:
    """Bind the inputs of a session, so that its runs copy nothing.

    The run raises MeasurementError where ONNX Runtime fails.

    Raises:
        MeasurementError: ONNX Runtime refuses the inputs.
    """
    outputs = [output.name for output in session.get_outputs()]
    try:
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_cpu_input(name, array)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise MeasurementError(f"ONNX Runtime refuses the inputs: {reason(error)}") from None

    def run() -> float:
        try:
            # A bound output is a buffer for the next run, which ONNX Runtime refuses where
            # a model declares a wrong shape for it. Binding again is not timed.
            binding.clear_binding_outputs()
            for name in outputs:
                binding.bind_output(name)
            start = time.perf_counter()
            # No options: ONNX Runtime 1.32 takes 26 µs more for a run that is given any.
            session.run_with_iobinding(binding)
            return time.perf_counter() - start
        except Exception as error:
            raise MeasurementError(f"ONNX Runtime cannot run the model: {reason(error)}") from None

    return Run(run)


def time_interleaved(
    runs: Sequence[Run],
    *,
    rounds: int,
    min_time_s: float,
    max_time_s: Union[float, None] = None,
    min_runs: int = 1,
    reference: Union[Run, None] = None,
    shuffle: bool = False,
) -> Interleaved:
    """Time several runs in turns: each round gives each run one burst, in the order given.

    A burst is one run that is not counted, then runs for ``min_time_s``, at least
    ``min_runs`` (of a model that takes long: for ``LONG_BURST_S``, at least two). Its
    first third is not counted either: large weights need a few runs to settle in the
    caches. The reference kernel runs before each burst.

    Args:
        runs: what to time; see ``prepare``.
        rounds: how many rounds, at least 1.
        min_time_s: least length of a burst.
        min_runs: least number of runs of a burst.
        max_time_s: after so long no further round begins; the first round is always whole.
        reference: what to run between the bursts in place of the reference kernel.
        shuffle: take another order in each round, always the same ones, so that what is
            left of a drift does not fall on the same runs each time.

    Raises:
        MeasurementError: a run fails.
        ValueError: there is nothing to time.
    """
    if rounds < 1 or not runs:
        raise ValueError("time_interleaved needs at least one run and one round")
    reference = reference or prepare(create_session(reference_model()), reference_inputs())
    begin = time.perf_counter()
    times: list[list[list[float]]] = [[] for _ in runs]
    between: list[list[float]] = []
    orders: list[tuple[int, ...]] = []
    draw = random.Random(0)
    with _no_collection():
        for _ in range(rounds):
            start = time.perf_counter()
            between.append([])
            numbers = range(len(runs))
            orders.append(tuple(draw.sample(numbers, len(runs)) if shuffle else numbers))
            for number in orders[-1]:
                run = runs[number]
                between[-1] += _burst(reference, REFERENCE_TIME_S, 1)
                burst_s = min_time_s if run.burst_s is None else run.burst_s
                times[number].append(_burst(run, burst_s, min_runs))
            now = time.perf_counter()
            over = max_time_s is not None and now - begin + (now - start) > max_time_s
            if over:
                break
    return Interleaved(
        timings=tuple(_timing(own) for own in times),
        reference=_timing(between),
        orders=tuple(orders),
    )


def _burst(run: Run, min_time_s: float, min_runs: int) -> list[float]:
    run.run()
    times: list[float] = []
    begin = time.perf_counter()
    while True:
        times.append(run.run())
        spent = time.perf_counter() - begin
        enough = min_runs if spent < LONG_BURST_S else min(min_runs, 2)
        if spent >= min_time_s and len(times) >= enough:
            return times[len(times) // 3 :]


def _timing(rounds: Sequence[Sequence[float]]) -> Timing:
    ordered = sorted(seconds for times in rounds for seconds in times)
    lower, median, upper, p90 = (_quantile(ordered, q) for q in (0.25, 0.5, 0.75, 0.9))
    return Timing(
        min_s=ordered[0],
        median_s=median,
        p90_s=p90,
        iqr_s=upper - lower,
        runs=len(ordered),
        per_round_min_s=tuple(min(times) for times in rounds),
    )


def _quantile(ordered: Sequence[float], q: float) -> float:
    """The q-quantile of sorted values, interpolated between neighbours."""
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the timings."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
