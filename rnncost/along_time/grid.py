"""Numbers of steps at which something is told: 1, 2, 5, 10, … and the last."""

from __future__ import annotations


def step_grid(longest: int) -> list[int]:
    """1, 2 and 5 times the powers of ten up to ``longest``, and ``longest`` itself."""
    found = []
    power = 1
    while power <= longest:
        found += [digit * power for digit in (1, 2, 5) if digit * power <= longest]
        power *= 10
    return found if not longest or longest in found else [*found, longest]
