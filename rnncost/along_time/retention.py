"""How long the gate that keeps a state keeps it: its values, and their products along time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time.grid import step_grid
from rnncost.along_time.model import LEVELS, GateMemory, Quantiles, Retention

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

HORIZON = 0.01
"""What is left of a state at its horizon."""

_MOST_VALUES = 1 << 22
_MOST_STARTS = 1024
_GOLDEN = (math.sqrt(5) - 1) / 2
_GATES = {"lstm": "forget gate", "gru": "update gate"}


def gate_memory(
    kind: str, logs: Sequence[Array], *, monotone: bool, step_period_s: float | None
) -> GateMemory:
    """The memory of a layer by its gate.

    Args:
        kind: ``"lstm"`` or ``"gru"``.
        logs: for each sequence [steps, H] the natural logarithm of the gate.
        monotone: the gate is between 0 and 1 everywhere, so that what it keeps only shrinks.
        step_period_s: the time between two steps.
    """
    import numpy as np

    steps = sum(map(len, logs))
    total = np.sum([log.sum(axis=0, dtype=np.float64) for log in logs], axis=0)
    rate = total / steps
    half_life = times_to(0.5, rate)
    horizon = times_to(HORIZON, rate)
    longest = max(map(len, logs))
    grid = step_grid(longest)
    shares = (0.5, HORIZON) if monotone else ()
    times: list[list[Array]] = [[] for _ in shares]
    products: list[list[_Products]] = [[] for _ in grid]
    for units in _unit_blocks(len(rate), len(logs)):
        runs = [Run(log[:, units], len(logs), number) for number, log in enumerate(logs)]
        for found, share in zip(times, shares, strict=True):
            found.append(_median_steps(runs, share))
        for kept, k in zip(products, grid, strict=True):
            kept.append(_products(runs, k))
    measured = [quantiles(np.concatenate(found)) for found in times]

    def seconds(values: Array) -> Quantiles | None:
        return None if step_period_s is None else quantiles(values * step_period_s)

    return GateMemory(
        gate=_GATES[kind],
        values=_values(logs),
        half_life_steps=quantiles(half_life),
        horizon_steps=quantiles(horizon),
        measured_half_life_steps=measured[0] if monotone else None,
        measured_horizon_steps=measured[1] if monotone else None,
        half_life_s=seconds(half_life),
        horizon_s=seconds(horizon),
        share_shorter=float(np.mean(horizon < longest)),
        retention=[_retention(kept, k) for kept, k in zip(products, grid, strict=True)],
    )


def _unit_blocks(units: int, sequences: int) -> list[slice]:
    """A part of the units at a time, as sums along time take twice the memory of their terms.

    Of many sequences, each of which takes its time, the parts are fewer.
    """
    width = -(-units // max(1, min(16, 64 // sequences)))
    return [slice(first, first + width) for first in range(0, units, width)]


def times_to(share: float, rate: Array) -> Array:
    """Steps after which ``share`` is left at a mean logarithm of ``rate`` a step.

    Infinite where nothing is lost.
    """
    import numpy as np

    with np.errstate(divide="ignore"):
        steps = math.log(share) / np.where(rate < 0, rate, 1.0)
    return np.where(rate < 0, steps, np.inf)


def quantiles(values: Array) -> Quantiles:
    """The quantiles of some values; those that are infinite become None.

    A quantile is the smallest value that at least so many do not exceed, so that it is a
    value itself even where its neighbour is infinite.
    """
    import numpy as np

    ordered = np.sort(values)
    found = [ordered[_place(level, len(ordered))] for level in LEVELS]
    return Quantiles(
        **{
            f"p{level}": float(value) if np.isfinite(value) else None
            for level, value in zip(LEVELS, found, strict=True)
        }
    )


def _place(level: int, count: int) -> int:
    """The number of the value that ``level`` percent of ``count`` sorted ones do not exceed."""
    return max(0, -(-level * count // 100) - 1)


def _values(logs: Sequence[Array]) -> Quantiles:
    """The quantiles of the gate itself, over every step or, of many, evenly spaced ones."""
    import numpy as np

    stride = 1 + sum(log.size for log in logs) // _MOST_VALUES
    picked, done = [], 0
    for log in logs:
        picked.append(log[-done % stride :: stride].ravel())
        done += len(log)
    return quantiles(np.exp(np.concatenate(picked)))


class Run:
    """One sequence: sums of its gate's logarithm, and how often the gate was 0.

    Args:
        log: the logarithms [steps, H].
        sequences: how many sequences there are. Only some starting points are looked at, evenly
            spaced, the fewer the more sequences there are.
        number: which of them this is.
    """

    def __init__(self, log: Array, sequences: int, number: int) -> None:
        import numpy as np

        zero = np.isneginf(log)
        self.steps = len(log)
        self._starts = max(1, _MOST_STARTS // sequences)
        self._at = (number * _GOLDEN) % 1
        self._sums = _cumulated(np.where(zero, 0.0, log), np.float64)
        self._zeros = _cumulated(zero, np.int64) if zero.any() else None

    def starts(self, steps: int) -> Array:
        """Points from which so many steps are left.

        A single point is another one in each sequence, so that together they are spread.
        """
        import numpy as np

        last = self.steps - steps
        if self._starts == 1:
            return np.array([int(self._at * (last + 1))])
        return np.unique(np.linspace(0, last, min(self._starts, last + 1)).astype(np.int64))

    def products(self, starts: Array, ends: Array) -> Array:
        """Logarithms of the products from some points to others, [n, H]; ends [n] or [n, H]."""
        import numpy as np

        found = _at(self._sums, ends) - self._sums[starts]
        if self._zeros is not None:
            found = np.where(_at(self._zeros, ends) > self._zeros[starts], -np.inf, found)
        return found

    def first_below(self, share: float) -> tuple[Array, Array]:
        """Steps from each point until the product is ``share`` or less, and whether it is, [n, H].

        Where it is not, the steps are those to the end of the sequence.
        """
        import numpy as np

        starts = self.starts(1)
        low = np.repeat(starts[:, None], self._sums.shape[1], axis=1)  # above the share still
        high = np.full_like(low, self.steps + 1)
        # A little more than the share counts as it: the logarithms are in single precision.
        limit = math.log(share) + 1e-6
        while (high - low > 1).any():
            middle = (low + high) // 2
            below = self.products(starts, np.minimum(middle, self.steps)) <= limit
            below |= middle > self.steps
            low, high = np.where(below, low, middle), np.where(below, middle, high)
        return np.minimum(high, self.steps) - starts[:, None], high <= self.steps


def _cumulated(values: Array, dtype: Any) -> Array:
    import numpy as np

    sums = np.zeros((len(values) + 1, values.shape[1]), dtype)
    np.cumsum(values, axis=0, out=sums[1:], dtype=dtype)
    return sums


def _at(sums: Array, ends: Array) -> Array:
    import numpy as np

    return sums[ends] if ends.ndim == 1 else np.take_along_axis(sums, ends, axis=0)


def _median_steps(runs: Sequence[Run], share: float) -> Array:
    """For each unit the median of the steps that it takes, over all starting points."""
    import numpy as np

    found = [run.first_below(share) for run in runs]
    steps, reached = (np.concatenate(part) for part in zip(*found, strict=True))
    return median_time(steps, reached)


def median_time(steps: Array, reached: Array) -> Array:
    """The median of times [n, H] some of which are cut short, by the Kaplan-Meier estimate.

    Of those that are not ``reached`` it is only known that they are longer; infinite where
    too few are reached. Source: Kaplan and Meier 1958.
    """
    import numpy as np

    # Of equal times those that are reached come first.
    order = np.argsort(2 * steps + ~reached, axis=0, kind="stable")
    times = np.take_along_axis(steps, order, axis=0)
    events = np.take_along_axis(reached, order, axis=0)
    left = np.arange(len(times), 0, -1)[:, None]
    survival = np.cumprod(1.0 - events / left, axis=0)
    half = survival <= 0.5 + 1e-12
    at = half.argmax(axis=0)
    return np.where(half.any(axis=0), np.take_along_axis(times, at[None], axis=0)[0], np.inf)


class _Products(msgspec.Struct, frozen=True):
    """For some units the median logarithm [H] of the product over a stretch of steps."""

    median: Array
    windows: int
    sequences: int


def _products(runs: Sequence[Run], steps: int) -> _Products:
    import numpy as np

    found = []
    for run in runs:
        if run.steps >= steps:
            starts = run.starts(steps)
            found.append(run.products(starts, starts + steps))
    windows = np.concatenate(found)
    middle = _place(50, len(windows))
    median = np.partition(windows, middle, axis=0)[middle]
    return _Products(median, len(windows), len(found))


def _retention(parts: Sequence[_Products], steps: int) -> Retention:
    import numpy as np

    median = np.concatenate([part.median for part in parts])
    return Retention(
        steps=steps,
        windows=parts[0].windows,
        sequences=parts[0].sequences,
        share=quantiles(np.exp(median)),
        log10=quantiles(median / math.log(10)),
    )
