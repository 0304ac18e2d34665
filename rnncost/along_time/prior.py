"""What the weights of a layer suggest before any data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rnncost.along_time.cells import LETTERS, Cell
from rnncost.along_time.model import Prior
from rnncost.along_time.retention import quantiles, times_to

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

MOST_UNITS = 1024
"""Of larger layers the spectral radius of the candidate's block alone is computed."""


def prior(cell: Cell) -> Prior:
    """The gate at zero input and state, the half-life that it would give, spectral radii."""
    log = _log_gate(cell)
    letters = LETTERS[cell.kind] if cell.units <= MOST_UNITS else LETTERS[cell.kind][-1]
    import numpy as np

    return Prior(
        gate=None if log is None else quantiles(np.exp(log)),
        half_life_steps=None if log is None else quantiles(times_to(0.5, log)),
        spectral_radius={
            letter: radius for letter in letters if math.isfinite(radius := _radius(cell, letter))
        },
    )


def _log_gate(cell: Cell) -> Array | None:
    import numpy as np

    if cell.kind == "rnn":
        return None
    bias = cell.bias_w + cell.bias_r
    gate = cell.functions[0]
    if cell.kind == "gru":
        return gate.log_magnitude(cell.clipped(cell.block(bias, "z")))
    if not cell.coupled:
        return gate.log_magnitude(cell.clipped(cell.block(bias, "f")))
    with np.errstate(divide="ignore"):
        return np.log(np.abs(1.0 - gate(cell.clipped(cell.block(bias, "i")))))


def _radius(cell: Cell, letter: str) -> float:
    """The largest magnitude of an eigenvalue, NaN where the weights are not finite."""
    import numpy as np

    matrix = cell.block(cell.r, letter)
    if not np.isfinite(matrix).all():
        return math.nan
    return float(np.abs(np.linalg.eigvals(matrix)).max())
