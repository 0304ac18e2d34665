"""A model beside variants of itself."""

from __future__ import annotations

from rnncost.comparison.contrast import compare
from rnncost.comparison.model import (
    Comparison,
    Design,
    Measured,
    RealTime,
    Skipped,
    Timed,
)

__all__ = ["Comparison", "Design", "Measured", "RealTime", "Skipped", "Timed", "compare"]
