"""One time for each run out of rounds on a machine whose speed drifts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

WINDOW = 31
"""Bursts over which the machine's speed is taken to be the same."""

_PASSES = 8


class Steady(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of each run without the machine's drift, and the noise.

    ``drift`` is the interquartile range of the machine's speed, ``scatter`` the median over
    the runs of the interquartile range that is left; both as ratios minus 1.
    """

    seconds: list[float]
    drift: float
    scatter: float


def steady_s(
    rounds: Sequence[Sequence[float]], orders: Sequence[Sequence[int]] | None = None
) -> Steady:
    """The seconds of each run with the machine's drift taken out.

    ``rounds[q][i]`` is the best time of run i in round q, taken one after the other in the
    order ``orders[q]``. If that is the same in each round (or not given), a drift that comes
    back at the same place of the rounds cannot be told from the runs' own times.

    The logarithm of a time is modelled as that of its run plus that of the machine at that
    moment, which is the median of what is left over in the bursts around it; a run's time
    is the median over the rounds: a median polish (Tukey 1977) with a sliding window. The
    machine is set to its median speed.
    """
    import numpy as np

    logs = np.log(np.asarray(rounds, dtype=np.float64))
    drift = np.zeros_like(logs)
    order = np.asarray(orders if orders is not None else [range(logs.shape[1])] * len(logs))
    back = np.argsort(order, axis=1)
    own = np.median(logs, axis=0)
    window = min(WINDOW, logs.size | 1)
    for _ in range(_PASSES):
        left = np.take_along_axis(logs - own, order, axis=1).ravel()
        padded = np.pad(left, window // 2, mode="edge")
        views = np.lib.stride_tricks.sliding_window_view(padded, window)
        drift = np.median(views[: left.size], axis=1).reshape(logs.shape)
        drift = np.take_along_axis(drift, back, axis=1)
        own = np.median(logs - drift, axis=0)
    lower, middle, upper = np.quantile(drift, (0.25, 0.5, 0.75))
    ends = np.quantile(logs - drift, (0.25, 0.75), axis=0)
    return Steady(
        seconds=[float(value) for value in np.exp(own + middle)],
        drift=float(np.exp(upper - lower) - 1),
        scatter=float(np.exp(np.median(ends[1] - ends[0])) - 1),
    )
