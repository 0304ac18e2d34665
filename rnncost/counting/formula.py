"""Dimensions that remember the letters they were computed from.

A rule writes its count once, in letters; the number and the formula that the report
shows come from that one expression and cannot disagree.

>>> M, K, N = letter("M", 4), letter("K", 3), letter("N", 5)
>>> macs = M * (K + 1) * N
>>> macs.value, macs.text
(80, 'M*(K+1)*N')
"""

from __future__ import annotations

from typing import Union

from rnncost.graph.dim import Dim

_SUM, _PRODUCT, _ATOM = 0, 1, 2


class Term:
    """A dimension and its formula; immutable. ``+``, ``-``, ``*`` and ``//`` keep both.

    The text is a Python expression in the letters.
    """

    __slots__ = ("_rank", "text", "value")

    def __init__(self, text: str, value: Dim, rank: int = _ATOM) -> None:
        self.text = text
        self.value = value
        self._rank = rank

    def __add__(self, other: Operand) -> Term:
        right = term(other)
        if right.text == "0":
            return self
        if self.text == "0":
            return right
        return Term(f"{self.text}+{right.text}", self.value + right.value, _SUM)

    def __radd__(self, other: int) -> Term:
        return term(other) + self

    def __sub__(self, other: Operand) -> Term:
        right = term(other)
        if right.text == "0":
            return self
        return Term(f"{self.text}-{right._at_least(_PRODUCT)}", self.value - right.value, _SUM)

    def __rsub__(self, other: int) -> Term:
        return term(other) - self

    def __mul__(self, other: Operand) -> Term:
        right = term(other)
        if "0" in (self.text, right.text):
            return ZERO
        if right.text == "1":
            return self
        if self.text == "1":
            return right
        text = f"{self._at_least(_PRODUCT)}*{right._at_least(_PRODUCT)}"
        return Term(text, self.value * right.value, _PRODUCT)

    def __rmul__(self, other: int) -> Term:
        return term(other) * self

    def __floordiv__(self, other: Operand) -> Term:
        right = term(other)
        if right.text == "1":
            return self
        text = f"({self._at_least(_PRODUCT)}//{right._at_least(_ATOM)})"
        return Term(text, self.value // right.value)

    def __repr__(self) -> str:
        return f"Term({self.text!r}, {self.value})"

    def _at_least(self, rank: int) -> str:
        return self.text if self._rank >= rank else f"({self.text})"


Operand = Union[Term, int]

ZERO = Term("0", 0)


def letter(name: str, value: Dim) -> Term:
    """A dimension under the letter that formulas use for it."""
    return Term(name, value)


def term(value: Operand) -> Term:
    """An operand as a term; an integer is its own text."""
    return value if isinstance(value, Term) else Term(str(value), value)


def values(**letters: Term) -> dict[str, Dim]:
    """The letters of a formula with their values, for ``dims`` or ``extents``."""
    return {name: each.value for name, each in letters.items()}


def formulas(**counts: Term) -> dict[str, str]:
    """The formula texts of the counts that are not zero by definition."""
    return {name: each.text for name, each in counts.items() if each.text != "0"}
