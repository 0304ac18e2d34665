"""The execution models' closed forms of recurrent layers on arrays of extents.

``estimate`` answers for many stacks of layers at once what ``rnncost.latency.estimate`` answers
for one counted graph, with the same numbers to the last bit: the same operations on floats in the
same order. Whole numbers are held as floats, so they must stay below 2**53. Logarithms and powers
of NumPy may differ from those of ``math`` in the last bit, so those of ``math`` are mapped over
the values that need one. A test compares both ways on every runtime.
"""

from __future__ import annotations

from rnncost.latency.arrays.estimate import ESTIMATED, Estimator, Sizes, estimator_of
from rnncost.latency.arrays.layer import CELLS, Cell, Layer, Stack, Values

__all__ = [
    "CELLS",
    "ESTIMATED",
    "Cell",
    "Estimator",
    "Layer",
    "Sizes",
    "Stack",
    "Values",
    "estimator_of",
]
