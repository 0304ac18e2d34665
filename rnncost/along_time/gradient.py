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
from rnncost.along_time.tails import Tail

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

TRACES = 8
"""Random gradients for each row."""

_TRANSIENT = 0.25
_FEWEST = 8
_BATCHES = 10


def gradient_decay(traces: Sequence[Array]) -> GradientDecay | None:
    """The figures of random gradients that were pulled back; None without any.

    Args:
        traces: for each row and random gradient the logarithm of its norm after 0, 1, … steps
            back, those of one row after another.
    """
    import numpy as np

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


def pulled_back(cell: Cell, tail: Tail, generator: np.random.Generator) -> list[Array]:
    """Random gradients by the last state of each row, pulled back through its last steps.

    Args:
        cell: the layer's direction.
        tail: the last steps.
        generator: of the random gradients.

    Returns:
        the logarithm of the norm after 0, 1, … steps back, for each row that has steps and each
        of its ``TRACES`` gradients.
    """
    import numpy as np

    width = (2 if cell.kind == "lstm" else 1) * cell.units
    v = generator.standard_normal((TRACES, tail.rows, width))
    v /= np.linalg.norm(v, axis=-1, keepdims=True)
    factors, steps = tail.back()
    # A row that has no step left goes on with factors of 0, which is not read.
    logs = np.zeros((int(steps.max(initial=0)) + 1, TRACES, tail.rows))
    for k in range(1, len(logs)):
        v = pull_back(cell, tuple(factor[k - 1] for factor in factors), v)
        norm = np.linalg.norm(v, axis=-1)
        with np.errstate(divide="ignore"):
            logs[k] = logs[k - 1] + np.log(norm)
        v = v / np.where(norm > 0, norm, 1.0)[..., None]
    return [
        logs[: count + 1, number, row]
        for row, count in enumerate(steps)
        if count
        for number in range(TRACES)
    ]


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
