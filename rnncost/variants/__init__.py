"""Models rewritten: another cell, direction, hidden size or number of layers."""

from __future__ import annotations

from rnncost.variants.inputs import inputs_for
from rnncost.variants.load import load_for_change
from rnncost.variants.model import (
    SAME_HIDDEN_SIZE,
    SAME_OUTPUT_WIDTH,
    Cell,
    Change,
    Direction,
    Layer,
    Policy,
    Structure,
    Variant,
)
from rnncost.variants.rewriting import rewrite
from rnncost.variants.structure import applicable

__all__ = [
    "SAME_HIDDEN_SIZE",
    "SAME_OUTPUT_WIDTH",
    "Cell",
    "Change",
    "Direction",
    "Layer",
    "Policy",
    "Structure",
    "Variant",
    "applicable",
    "inputs_for",
    "load_for_change",
    "rewrite",
]
