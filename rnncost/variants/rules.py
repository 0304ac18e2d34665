"""The rules of all operators; importing this fills the tables."""

from __future__ import annotations

from rnncost.variants import (  # noqa: F401  (importing registers the rules)
    rules_elementwise,
    rules_picking,
    rules_products,
    rules_reductions,
    rules_views,
)
from rnncost.variants.tables import BACKWARD, FORWARD

__all__ = ["BACKWARD", "FORWARD"]
