"""Fitting the constants of cuDNN's kernels to measured times, with the model's own functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from rnncost.latency.cudnn_kernels import Constants, Work, standard_s

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Vector = NDArray[np.float64]
    _Errors = Callable[[_Vector], _Vector]

_ROBUST = 0.1
"""Errors above about this share count by their size, not by its square."""
_ROUNDS = 40
_KERNELS = 4


class Sample(msgspec.Struct, frozen=True):
    """A layer's work on a GPU, and how long it took."""

    work: Work
    measured_s: float


def fit(
    samples: Sequence[Sample], start: Constants, *, pull: float, keep_floor: bool = False
) -> Constants:
    """The constants whose relative errors on the samples are least, near ``start``.

    Levenberg-Marquardt on the logarithms of the constants and of the times, with the loss
    ``2·f²·(√(1 + (e/f)²) - 1)`` of an error e, f = 0.1. ``pull`` is the error that moving a
    constant by a factor of e counts for: it holds what the samples do not tell at its start.
    """
    import numpy as np

    origin = np.array(_logs(start))
    free = np.array([not (keep_floor and i == 2) for i in range(len(origin))])
    targets = np.array([math.log(sample.measured_s) for sample in samples])

    def errors(logs: _Vector) -> _Vector:
        constants = _with_logs(start, logs.tolist())
        times = [math.log(standard_s(sample.work, constants)) for sample in samples]
        differences: _Vector = np.array(times) - targets
        return differences

    def loss(error: _Vector, logs: _Vector) -> float:
        robust = 2 * _ROBUST**2 * (np.sqrt(1 + (error / _ROBUST) ** 2) - 1)
        return float(robust.sum() + pull**2 * ((logs - origin) ** 2).sum())

    logs, damping = origin, 1e-2
    error = errors(logs)
    best = loss(error, logs)
    for _ in range(_ROUNDS):
        slopes = _slopes(errors, logs, error)[:, free]
        weights = 1 / np.sqrt(1 + (error / _ROBUST) ** 2)
        curvature = slopes.T @ (weights[:, None] * slopes) + pull**2 * np.eye(slopes.shape[1])
        gradient = slopes.T @ (weights * error) + pull**2 * (logs - origin)[free]
        gained = 0.0
        while damping < 1e6:
            step = np.zeros_like(logs)
            step[free] = -np.linalg.solve(
                curvature + damping * np.diag(np.diag(curvature)), gradient
            )
            tried = errors(logs + step)
            value = loss(tried, logs + step)
            if value < best:
                gained, best = best - value, value
                logs, error, damping = logs + step, tried, damping / 5
                break
            damping *= 4
        if gained < 1e-7 * best:
            break
    return _with_logs(start, logs.tolist())


def _slopes(errors: _Errors, logs: _Vector, base: _Vector) -> _Vector:
    """The change of each error with each logarithm, by differences."""
    import numpy as np

    small = 1e-4
    steps = np.eye(len(logs)) * small
    return np.stack([(errors(logs + step) - base) / small for step in steps], axis=1)


def _logs(constants: Constants) -> list[float]:
    values = (
        constants.call_s,
        constants.startup_s,
        constants.floor_s,
        constants.bandwidth_share,
        *constants.depth_s,
        *constants.tile_share,
    )
    return [math.log(value) for value in values]


def _with_logs(constants: Constants, logs: Sequence[float]) -> Constants:
    values = [math.exp(value) for value in logs]
    call_s, startup_s, floor_s, bandwidth_share = values[:4]
    first, second, third, fourth = values[4 : 4 + _KERNELS]
    a, b, c, d = values[4 + _KERNELS :]
    return msgspec.structs.replace(
        constants,
        call_s=call_s,
        startup_s=startup_s,
        floor_s=floor_s,
        bandwidth_share=bandwidth_share,
        depth_s=(first, second, third, fourth),
        tile_share=(a, b, c, d),
    )
