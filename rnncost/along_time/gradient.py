"""How the norm of a gradient changes on its way back through time.

A random gradient by the last state is pulled back through the recurrent equations, step by
step (a product of its vector with each step's Jacobian), and set to norm 1 after each step;
the logarithms of what that took off are its norm. The mean change a step is the estimate of
the largest Lyapunov exponent of the layer's own recurrence (Benettin et al. 1980; for
recurrent networks Engelken et al. 2023), its standard error that of batch means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnncost.along_time.cells import Cell, pull_back
from rnncost.along_time.grid import step_grid
from rnncost.along_time.model import GradientDecay, GradientNorm
from rnncost.along_time.sequences import STEPS_BACK, Tail

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

TRACES = 8
"""Random gradients for each row."""

_TRANSIENT = 0.25
_FEWEST = 8
_BATCHES = 10


def gradient_decay(cell: Cell, tails: Sequence[Sequence[Tail]], seed: int) -> GradientDecay | None:
    """Pull random gradients back through the last steps of each sequence; None without steps.

    Args:
        cell: the layer's direction.
        tails: the factors of the last steps of each sequence.
        seed: of the random gradients.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    traces = [trace for tail in tails for trace in _traces(cell, tail, generator)]
    if not traces:
        return None
    longest = max(map(len, traces)) - 1
    table = np.full((len(traces), longest + 1), np.nan)
    for trace, line in zip(traces, table, strict=True):
        line[: len(trace)] = trace
    vanished = np.isneginf(table).any(axis=1)
    skipped = int(_TRANSIENT * longest)
    exponent, error = _rate(table, skipped)
    shrinks = exponent is not None and exponent < 0
    return GradientDecay(
        rows=len(traces) // TRACES,
        traces=len(traces),
        steps_back=longest,
        transient_steps=skipped,
        exponent=exponent,
        standard_error=error,
        half_life_steps=math.log(0.5) / exponent if exponent and shrinks else None,
        vanished=int(vanished.sum()),
        norms=[norm for steps in step_grid(longest) if (norm := _norm(table[:, steps], steps))],
    )


def _traces(cell: Cell, tail: Sequence[Tail], generator: np.random.Generator) -> list[Array]:
    """The logarithm of the norm after 0, 1, … steps back, for each row and random gradient."""
    import numpy as np

    rows = tail[-1].active.shape[1]
    width = (2 if cell.kind == "lstm" else 1) * cell.units
    v = generator.standard_normal((TRACES, rows, width))
    v /= np.linalg.norm(v, axis=-1, keepdims=True)
    total = np.zeros((TRACES, rows))
    found: list[list[Array]] = [[total[:, row].copy()] for row in range(rows)]
    for part in reversed(tail):
        for t in reversed(range(len(part.active))):
            live = part.active[t] & np.array([len(own) <= STEPS_BACK for own in found])
            if not live.any():
                continue
            back = pull_back(cell, tuple(factor[t] for factor in part.factors), v)
            norm = np.linalg.norm(back, axis=-1)
            with np.errstate(divide="ignore"):
                total = np.where(live, total + np.log(norm), total)
            scale = np.where(norm > 0, norm, 1.0)[..., None]
            v = np.where(live[:, None], back / scale, v)
            for row in np.flatnonzero(live):
                found[row].append(total[:, row])
    return [np.array(own)[:, number] for own in found if len(own) > 1 for number in range(TRACES)]


def _rate(table: Array, skipped: int) -> tuple[float | None, float | None]:
    """The mean change of a logarithm a step, and its standard error, after some steps.

    Neighbouring steps are alike, so the error is taken from the means of up to ten stretches
    of steps, not from the steps.
    """
    import numpy as np

    finite = np.where(np.isfinite(table), table, np.nan)
    change = np.diff(finite, axis=1)[:, skipped:]
    used = ~np.isnan(change).all(axis=0)
    change = change[:, used]
    if change.shape[1] < _FEWEST:
        return None, None
    each = np.nanmean(change, axis=0)
    count = min(_BATCHES, len(each) // 2)
    means = [float(part.mean()) for part in np.array_split(each, count)]
    error = float(np.std(means, ddof=1)) / math.sqrt(count)
    return float(each.mean()), error


def _norm(values: Array, steps: int) -> GradientNorm | None:
    """The norms so many steps back of the traces that are so long and have not vanished."""
    import numpy as np

    finite = values[np.isfinite(values)] / math.log(10)
    if not finite.size:
        return None
    return GradientNorm(
        steps=steps,
        log10_mean=float(finite.mean()),
        log10_min=float(finite.min()),
        log10_max=float(finite.max()),
        traces=int(finite.size),
    )
