"""All counting rules: importing this module fills the registry."""

from __future__ import annotations

from rnncost.counting import (
    attention,
    control,
    conv,
    dense,
    einsum,
    elementwise,
    movement,
    normalisation,
    quantised,
    recurrent,
    reduction,
    signal,
)

MODULES = (
    recurrent,
    dense,
    conv,
    einsum,
    attention,
    elementwise,
    reduction,
    normalisation,
    quantised,
    movement,
    signal,
    control,
)
"""The modules of rules, each for one family of operators."""
