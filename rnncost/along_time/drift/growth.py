"""How an error grows with the number of steps: bounded, like √t, linear or geometric.

Each curve is fitted by least squares to the natural logarithm of the error, so that all steps
weigh alike however small the error is. Curves are chosen by Akaike's information criterion
with the correction for few points (Hurvich and Tsai 1989): n·ln(RSS/n) + 2k + 2k(k+1)/(n-k-1)
for n points and k parameters, the variance among them. Errors of neighbouring steps are alike, so n
is the effective number n·(1-r)/(1+r), with r the correlation of neighbouring residuals of the curve
that is nearest (Bayley and Hammersley 1946). A curve that grows is only taken where its criterion
is at least ``MARGIN`` below the best bounded one's: such a difference leaves the other essentially
no support (Burnham and Anderson 2002).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time.drift.model import Growth

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

MOST_STRETCHES = 64
"""Means over so many stretches of steps at most are fitted."""

FEWEST = 8
_FEWEST_EFFECTIVE = 10.0
"""The correction for few points would outweigh all else below."""
MARGIN = 10.0
_SMALLEST_VARIANCE = 1e-6
"""Of residuals: curves that are within 0.1 % of the error are alike."""

_GRID = 40
_MOST_STEPS = 4096
"""Of a longer run so many steps are looked at, evenly spaced."""

_FAR = 10.0
"""A line whose start is so many times its rise over the run is a constant."""


class _Fit(msgspec.Struct, frozen=True, kw_only=True):
    formula: str
    kind: str
    parameters: dict[str, float]
    residuals: Array

    @property
    def variance(self) -> float:
        return float((self.residuals**2).mean())

    def aicc(self, points: float) -> float:
        import math

        k = len(self.parameters) + 1
        variance = max(self.variance, _SMALLEST_VARIANCE)
        return points * math.log(variance) + 2 * k + 2 * k * (k + 1) / (points - k - 1)

    def effective(self) -> float:
        """How many independent points the residuals are worth."""
        points = len(self.residuals)
        whole = float((self.residuals**2).sum())
        if not whole:
            return float(points)
        r = float((self.residuals[1:] * self.residuals[:-1]).sum()) / whole
        return min(max(points * (1 - r) / (1 + r), _FEWEST_EFFECTIVE), float(points))


def growth(errors: Array) -> Growth | None:
    """The curve that an error per step follows, None for fewer than ``FEWEST`` errors above 0.

    Args:
        errors: of each step from the first on; steps without an error are left out.
    """
    import numpy as np

    t = np.arange(1, len(errors) + 1, dtype=np.float64)
    used = np.isfinite(errors) & (errors > 0)
    t, logs = t[used], np.log(errors[used])
    if len(t) < FEWEST:
        return None
    if len(t) > _MOST_STEPS:
        thinned = np.linspace(0, len(t) - 1, _MOST_STEPS).round().astype(np.int64)
        t, logs = t[thinned], logs[thinned]
    points = min(len(t), MOST_STRETCHES)
    starts = np.linspace(0, len(t), points, endpoint=False).astype(np.int64)
    widths = np.diff(np.append(starts, len(t)))

    def mean(values: Array) -> Array:
        result: Array = np.add.reduceat(values, starts) / widths
        return result

    target = mean(logs)
    fits = [
        _constant(target),
        _saturating(t, target, mean),
        _root(t, target, mean),
        _line(t, target, mean),
        _power(mean(t), target),
    ]
    effective = min(fits, key=lambda f: f.variance).effective()
    scores = {fit.formula: fit.aicc(effective) for fit in fits}
    bounded = min((f for f in fits if f.kind == "bounded"), key=lambda f: scores[f.formula])
    growing = [f for f in fits if f.kind != "bounded"]
    best = min(growing, key=lambda f: scores[f.formula], default=bounded)
    if scores[best.formula] > scores[bounded.formula] - MARGIN:
        best = bounded
    return Growth(
        kind=best.kind,
        formula=best.formula,
        parameters=best.parameters,
        aicc=scores,
        residual=float(np.sqrt(best.variance)),
        points=points,
        effective_points=effective,
    )


def _constant(target: Array) -> _Fit:
    import numpy as np

    level = float(target.mean())
    return _Fit(
        formula="a",
        kind="bounded",
        parameters={"a": float(np.exp(level))},
        residuals=target - level,
    )


def _saturating(t: Array, target: Array, mean: Callable[[Array], Array]) -> _Fit:
    """a·(1 - exp(-t/tau)), with tau at most a third of the run, so that its bound is seen."""
    import numpy as np

    def shape(tau: float) -> Array:
        return mean(np.log(-np.expm1(-t / tau)))

    tau, level = _search(shape, target, 0.2, max(t[-1] / 3, 0.5))
    return _Fit(
        formula="a*(1 - exp(-t/tau))",
        kind="bounded",
        parameters={"a": float(np.exp(level)), "tau": tau},
        residuals=target - shape(tau) - level,
    )


def _root(t: Array, target: Array, mean: Callable[[Array], Array]) -> _Fit:
    """a·√t: errors of steps that add up and are independent of one another."""
    import numpy as np

    shape = mean(np.log(t)) / 2
    level = float((target - shape).mean())
    return _Fit(
        formula="a*sqrt(t)",
        kind="square root",
        parameters={"a": float(np.exp(level))},
        residuals=target - shape - level,
    )


def _line(t: Array, target: Array, mean: Callable[[Array], Array]) -> _Fit:
    """a + b·t = b·(r + t), with r from 0 on."""
    import numpy as np

    def shape(r: float) -> Array:
        return mean(np.log(r + t))

    tried = [(0.0, float((target - shape(0.0)).mean())), _search(shape, target, 1e-3, _FAR * t[-1])]
    curves = [(r, level, target - shape(r) - level) for r, level in tried]
    r, level, residuals = min(curves, key=lambda curve: float((curve[2] ** 2).sum()))
    b = float(np.exp(level))
    return _Fit(
        formula="a + b*t", kind="linear", parameters={"a": b * r, "b": b}, residuals=residuals
    )


def _power(t: Array, target: Array) -> _Fit:
    """a·g^t; with g up to 1 it is bounded."""
    import numpy as np

    slope, level = (float(v) for v in np.polyfit(t, target, 1))
    return _Fit(
        formula="a*g^t",
        kind="geometric" if slope > 0 else "bounded",
        parameters={"a": float(np.exp(level)), "g": float(np.exp(slope))},
        residuals=target - level - slope * t,
    )


def _search(
    shape: Callable[[float], Array], target: Array, low: float, high: float
) -> tuple[float, float]:
    """The parameter of a shape, and its level, nearest to the target on a logarithmic grid."""
    import numpy as np

    def distance(value: float) -> float:
        return float((target - shape(value)).var())

    found = low
    for _ in range(5):
        grid = np.geomspace(low, high, _GRID)
        at = int(np.argmin([distance(float(value)) for value in grid]))
        found = float(grid[at])
        low, high = float(grid[max(at - 1, 0)]), float(grid[min(at + 1, _GRID - 1)])
    return found, float((target - shape(found)).mean())
