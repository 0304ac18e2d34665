"""Sums, logarithms and powers on arrays with the very bits that Python's own give."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnncost.latency.arrays.layer import Values

_COMPENSATED = sys.version_info >= (3, 12)
"""Whether ``sum`` carries the rounding errors of floats along."""


def mapped(function: Callable[..., float], values: Values, *others: float) -> NDArray[np.float64]:
    """A function of ``math`` at each value, with further arguments that are all the same."""
    flat = np.atleast_1d(values)
    arguments = (repeat(other) for other in others)
    results = map(function, flat.ravel().tolist(), *arguments)
    return np.fromiter(results, np.float64, flat.size).reshape(flat.shape)


def summed(terms: Sequence[Values]) -> Values:
    """``sum(terms)`` at each place, as this version of Python adds floats."""
    total, errors = terms[0], 0.0 * terms[0]
    for term in terms[1:]:
        if _COMPENSATED:
            total, error = _two_sum(total, term)
            errors = errors + error
        else:
            total = total + term
    return total + errors


def fsum(terms: Sequence[Values]) -> Values:
    """``math.fsum(terms)`` at each place: the exact sum, rounded once.

    The rounding errors of the sums are exact floats; their own sum is as good as exact, but where
    its error could decide the last bit, ``math.fsum`` answers.
    """
    total, errors = terms[0], []
    for term in terms[1:]:
        total, error = _two_sum(total, term)
        errors.append(error)
    if len(errors) < 2:
        return total
    rest, doubt = errors[0], 0.0 * errors[0]
    for error in errors[1:]:
        rest, lost = _two_sum(rest, error)
        doubt = doubt + np.abs(lost)
    # Twice the sum of what was lost is more than it, however its own sum was rounded.
    low = total + np.nextafter(rest - 2 * doubt, -math.inf)
    high = total + np.nextafter(rest + 2 * doubt, math.inf)
    unsure = (low != high) & (doubt != 0)
    result = total + rest
    if not np.any(unsure):
        return result
    shape = np.shape(result)
    places: Any = np.nonzero(np.broadcast_to(unsure, shape))
    columns = [np.broadcast_to(term, shape)[places].tolist() for term in terms]
    exact = np.array(result, np.float64)
    exact[places] = [math.fsum(values) for values in zip(*columns, strict=True)]
    return exact


def _two_sum(a: Values, b: Values) -> tuple[Values, Values]:
    """The rounded sum and the exact rounding error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
