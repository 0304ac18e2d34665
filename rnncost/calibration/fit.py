"""Fitting the constants of an execution model to measured times.

A damped Gauss-Newton method (Levenberg 1944, Marquardt 1963) on logarithms: of the
constants, which keeps them above zero, and of the times, which makes errors relative. Errors
beyond a few percent weigh less (Huber 1964), so that one bad timing pulls no constant away;
a weak pull towards the start values settles constants that no timing tells apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

HUBER = 0.05
PULL = 0.02
_STEP = 1e-4
_ROUNDS = 25


def fit_logs(
    predict: Callable[[Sequence[float]], Sequence[float]],
    start: Sequence[float],
    measured_s: Sequence[float],
) -> tuple[list[float], list[float]]:
    """Constants above zero whose predictions come closest, and the errors that remain.

    Args:
        predict: seconds of each case from the constants.
        start: the constants to begin with, above zero.
        measured_s: seconds of each case.

    The errors are logarithms of predicted over measured time.
    """
    import numpy as np

    goal = np.log(np.asarray(measured_s, dtype=np.float64))
    begin = np.log(np.asarray(start, dtype=np.float64))

    def errors(logs: Any) -> Any:
        return np.log(np.asarray(predict([math.exp(v) for v in logs]))) - goal

    def cost(left: Any, logs: Any) -> float:
        size = np.abs(left) / HUBER
        return float(np.where(size <= 1, size**2, 2 * size - 1).sum()) + PULL * float(
            ((logs - begin) ** 2).sum()
        )

    logs, damping = begin.copy(), 1e-2
    left = errors(logs)
    best = cost(left, logs)
    for _ in range(_ROUNDS):
        slopes = np.empty((goal.size, logs.size))
        for j in range(logs.size):
            moved = logs.copy()
            moved[j] += _STEP
            slopes[:, j] = (errors(moved) - left) / _STEP
        weights = np.minimum(1, HUBER / np.maximum(np.abs(left), 1e-12)) / HUBER**2
        curve = (slopes * weights[:, None]).T @ slopes + PULL * np.eye(logs.size)
        slope = (slopes * weights[:, None]).T @ left + PULL * (logs - begin)
        for _ in range(8):
            ridge = damping * np.diag(np.diag(curve) + 1e-3)
            trial = logs - np.clip(np.linalg.solve(curve + ridge, slope), -1, 1)
            trial_left = errors(trial)
            trial_cost = cost(trial_left, trial)
            if trial_cost < best:
                break
            damping *= 4
        else:
            break
        gain, best = best - trial_cost, trial_cost
        logs, left, damping = trial, trial_left, damping / 3
        if gain < 1e-3 * best:
            break
    return [math.exp(v) for v in logs], [float(v) for v in left]
