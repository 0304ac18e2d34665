"""Measured latencies of a model and its quantised selves, in turns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rnncost.along_time.feeds import Feeds
from rnncost.report.text import plural
from rnncost.runtime.session import create_session
from rnncost.runtime.timing import NOISY, prepare, time_interleaved

_ROUNDS = 20
_BURST_S = 0.02
_MIN_RUNS = 5
_MAX_TIME_S = 60.0


def time_models(paths: Sequence[Path | None], feeds: Feeds) -> tuple[list[float | None], str]:
    """The seconds of one run of each model (one chunk, one thread), and how they were taken.

    Raises:
        MeasurementError: ONNX Runtime cannot run a model.
    """
    known = [path for path in paths if path is not None]
    runs = []
    for path in known:
        session = create_session(path)
        runs.append(prepare(session, feeds.first(session, 0)))
    timed = time_interleaved(
        runs,
        rounds=_ROUNDS,
        min_time_s=_BURST_S,
        min_runs=_MIN_RUNS,
        max_time_s=_MAX_TIME_S,
        shuffle=True,
    )
    found = iter(timed.timings)
    noise, own = timed.reference.noise, max(timing.noise for timing in timed.timings)
    noisy = ", so the machine is too noisy to judge" if max(noise, own) > NOISY else ""
    return (
        [None if path is None else next(found).steady_s for path in paths],
        f"measured with one thread in {plural(timed.rounds, 'round')} in turns; in the median of "
        f"the rounds a reference kernel took {noise:.2f} times its best time, the models up to "
        f"{own:.2f} times theirs{noisy}",
    )
