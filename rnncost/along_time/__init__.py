"""What the length of a sequence does to a recurrent network: its memory horizon."""

from __future__ import annotations

from rnncost.along_time.measure import numerics
from rnncost.along_time.model import (
    GateMemory,
    GradientDecay,
    GradientNorm,
    InputsUsed,
    LayerMemory,
    NotAnalysed,
    Numerics,
    Prior,
    Quantiles,
    Retention,
)

__all__ = [
    "GateMemory",
    "GradientDecay",
    "GradientNorm",
    "InputsUsed",
    "LayerMemory",
    "NotAnalysed",
    "Numerics",
    "Prior",
    "Quantiles",
    "Retention",
    "numerics",
]
