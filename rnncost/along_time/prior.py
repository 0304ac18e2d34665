"""What the weights of a layer suggest before any data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnncost.along_time.cells import LETTERS, Cell, log_forget
from rnncost.along_time.model import Prior
from rnncost.along_time.retention import quantiles, times_to

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

MOST_UNITS = 1024
"""Of larger layers the spectral radius of the candidate's block alone is computed."""


def prior(cell: Cell) -> Prior | None:
    """The gate at zero input and state, the half-life that it would give, spectral radii.

    None where a weight is not finite.
    """
    import numpy as np

    if not finite_weights(cell):
        return None
    log = _log_gate(cell)
    letters = LETTERS[cell.kind] if cell.units <= MOST_UNITS else LETTERS[cell.kind][-1]
    return Prior(
        gate=None if log is None else quantiles(np.exp(log)),
        half_life_steps=None if log is None else quantiles(times_to(0.5, log)),
        spectral_radius={letter: _radius(cell, letter) for letter in letters},
    )


def finite_weights(cell: Cell) -> bool:
    """Whether W, R and both biases hold neither NaN nor infinity."""
    import numpy as np

    weights = (cell.w, cell.r, cell.bias_w, cell.bias_r)
    return all(bool(np.isfinite(values).all()) for values in weights)


def _log_gate(cell: Cell) -> Array | None:
    if cell.kind == "rnn":
        return None
    bias = cell.bias_w + cell.bias_r
    if cell.kind == "lstm":
        return log_forget(cell, cell.block(bias, "i"), cell.block(bias, "f"))
    return cell.functions[0].log_magnitude(cell.clipped(cell.block(bias, "z")))


def _radius(cell: Cell, letter: str) -> float:
    """The largest magnitude of an eigenvalue."""
    import numpy as np

    return float(np.abs(np.linalg.eigvals(cell.block(cell.r, letter))).max())
