"""Bounds that hold for every value of the free dimensions, which are at least 1."""

from __future__ import annotations

from rnncost.graph.dim import Atom, Call, Dim, Monomial, Symbol


def lower_bound(dim: Dim | Atom) -> int | None:
    """The least value of a dimension, or None where that is not clear."""
    if isinstance(dim, int):
        return dim
    if isinstance(dim, Symbol):
        return 1
    if isinstance(dim, Call):
        return _call_lower_bound(dim)
    total = 0
    for monomial, coefficient in dim.terms.items():
        low = coefficient if not monomial else _term_lower_bound(monomial, coefficient)
        if low is None:
            return None
        total += low
    return total


def _term_lower_bound(monomial: Monomial, coefficient: int) -> int | None:
    if coefficient < 0:
        # One rounded term alone has an upper bound: ceil(n/2) is written -((-n) // 2).
        ((atom, power), *others) = monomial
        high = _upper_bound(atom) if power == 1 and not others else None
        return None if high is None else coefficient * high
    value = coefficient
    for atom, power in monomial:
        low = lower_bound(atom)
        if low is None or low < 0:
            return None
        value *= low**power
    return value


def _call_lower_bound(call: Call) -> int | None:
    lows = [lower_bound(arg) for arg in call.args]
    known = [low for low in lows if low is not None]
    if call.fn == "max":
        return max(known, default=None)
    if call.fn == "min":
        return min(known) if len(known) == len(lows) else None
    divisor = call.args[1]
    if not isinstance(divisor, int) or divisor < 1:
        return None
    if call.fn == "%":
        return 0
    return None if lows[0] is None else lows[0] // divisor


def _upper_bound(atom: Atom) -> int | None:
    if isinstance(atom, Symbol) or atom.fn not in ("//", "%"):
        return None
    divisor = atom.args[1]
    if not isinstance(divisor, int) or divisor < 1:
        return None
    if atom.fn == "%":
        return divisor - 1
    low = lower_bound(-atom.args[0])
    return None if low is None else -low // divisor
