"""``diff``: what changed between two models or two reports."""

from __future__ import annotations

from rnncost.difference.build import diff
from rnncost.difference.model import Change, Difference, EstimateDifference, OpDifference, Side

__all__ = ["Change", "Difference", "EstimateDifference", "OpDifference", "Side", "diff"]
