"""Errors and signal per step, gathered call by call."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rnncost.along_time.drift.growth import growth
from rnncost.along_time.drift.model import StateDrift

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

MOST_POINTS = 512
"""Of a longer curve so many steps are kept, evenly spaced, with the first and the last."""


class Series:
    """Sums of squares of a reference and of an error, by the step they belong to."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.withheld = ""
        self._parts: list[tuple[int, Array]] = []

    def add(self, start: int, reference: Array, other: Array, active: Array) -> None:
        """Add some steps.

        Args:
            start: the number of steps before them.
            reference, other: the state [t, B, H].
            active: whether a row has not ended [t, B].
        """
        import numpy as np

        live = active[:, :, None]
        signal, error = signal_and_error(np.where(live, reference, 0.0), np.where(live, other, 0.0))
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.stack(
                [
                    (signal * signal).sum((1, 2)),
                    (error * error).sum((1, 2)),
                    active.sum(1) * float(reference.shape[2]),
                ]
            )
        self._parts.append((start, sums))

    def drift(self, limit_db: float, step_period_s: float | None) -> StateDrift:
        """The figures of all steps together."""
        import numpy as np

        if self.withheld:
            return StateDrift(state=self.state, withheld=self.withheld)
        signal, error, count = self._sums()
        if not count.any():
            return StateDrift(state=self.state, withheld="no step was run")
        signal, error, count = (
            values[: np.flatnonzero(count)[-1] + 1] for values in (signal, error, count)
        )
        length = len(count)
        finite = np.isfinite(error)
        rms = np.sqrt(error / np.maximum(count, 1.0))
        ratios = [snr_db(float(s), float(e)) for s, e in zip(signal, error, strict=True)]
        below = [
            _below(r, float(s), float(e), limit_db)
            for r, s, e in zip(ratios, signal, error, strict=True)
        ]
        first = below.index(True) + 1 if any(below) else None
        kept = _kept(length)
        return StateDrift(
            state=self.state,
            length=length,
            exact=not error.any(),
            snr_db=snr_db(float(signal.sum()), float(error.sum())),
            rms_error=_number(math.sqrt(error.sum() / count.sum())),
            last_snr_db=ratios[-1],
            last_rms_error=_number(float(rms[-1])),
            first_below=first,
            first_below_s=None if first is None or step_period_s is None else first * step_period_s,
            first_not_finite=None if finite.all() else int(np.argmin(finite)) + 1,
            growth=growth(rms),
            steps=[n + 1 for n in kept],
            curve_snr_db=[ratios[n] for n in kept],
            curve_rms_error=[_number(float(rms[n])) for n in kept],
        )

    def _sums(self) -> Array:
        import numpy as np

        length = max((start + sums.shape[1] for start, sums in self._parts), default=0)
        total = np.zeros((3, length))
        for start, sums in self._parts:
            total[:, start : start + sums.shape[1]] += sums
        return total


def signal_and_error(reference: Array, other: Array) -> tuple[Array, Array]:
    """A reference and what another differs from it, of the same shape, in float64.

    Where both are the same infinity, or both no number, there is no error and no signal.
    """
    import numpy as np

    one, two = reference.astype(np.float64), other.astype(np.float64)
    same = ~np.isfinite(one) & ((one == two) | (np.isnan(one) & np.isnan(two)))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(same, 0.0, one), np.where(same, 0.0, two - one)


def snr_db(signal: float, error: float) -> float | None:
    """10·log10(signal / error) of sums of squares; None where that is no finite number."""
    if not (0 < signal < math.inf and 0 < error < math.inf):
        return None
    return 10 * (math.log10(signal) - math.log10(error))


def _below(ratio: float | None, signal: float, error: float, limit_db: float) -> bool:
    if ratio is not None:
        return ratio < limit_db
    return not math.isfinite(error) or (error > 0 and signal == 0)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _kept(length: int) -> list[int]:
    if length <= MOST_POINTS:
        return list(range(length))
    return [round(n * (length - 1) / (MOST_POINTS - 1)) for n in range(MOST_POINTS)]
