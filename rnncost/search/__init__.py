"""Designs of recurrent networks that meet limits."""

from __future__ import annotations

from rnncost.search.evaluate import evaluate
from rnncost.search.model import FitResult, Miss
from rnncost.search.run import fit

__all__ = ["FitResult", "Miss", "evaluate", "fit"]
