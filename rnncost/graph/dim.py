"""Dimensions: plain integers, or integer polynomials in named free dimensions.

A rule written with ``+``, ``-``, ``*`` and ``//`` works on both. A polynomial carries
a *hint*, its value at a sample point, which decides comparisons (``seq < 3``); a result
reached that way holds where the comparison holds, so callers check it against a run
with plain integers before they show it.

>>> seq = symbol("seq", hint=97)
>>> str(4 * (seq + 2) - 8)
'4*seq'
>>> evaluate((seq + 1) // 2, {"seq": 9})
5
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Union

Dim = Union[int, "Expr"]
Shape = tuple[Dim, ...]


class Symbol:
    """A free dimension: its name, and a sample value for comparisons."""

    __slots__ = ("hint", "name")
    size = 1

    def __init__(self, name: str, hint: int) -> None:
        self.name = name
        self.hint = hint

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Symbol) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def evaluate(self, bindings: Mapping[str, int]) -> int:
        return bindings[self.name]

    def symbols(self) -> frozenset[str]:
        return frozenset((self.name,))


class Call:
    """An operation that leaves the polynomials: floor division, modulo, min, max."""

    __slots__ = ("args", "fn", "hint", "size", "text")

    def __init__(self, fn: str, args: tuple[Dim, ...]) -> None:
        self.fn = fn
        self.args = args
        self.size = 1 + sum(a.size for a in args if isinstance(a, Expr))
        self.hint = _FUNCTIONS[fn](*(hint(a) for a in args))
        # Kept, since it is the hash and the sort key of the monomials it stands in.
        if fn in ("//", "%"):
            left, right = map(_operand, args)
            self.text = f"({left} {fn} {right})"
        else:
            self.text = f"{fn}({', '.join(map(str, args))})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __str__(self) -> str:
        return self.text

    def evaluate(self, bindings: Mapping[str, int]) -> int:
        return _FUNCTIONS[self.fn](*(evaluate(a, bindings) for a in self.args))

    def symbols(self) -> frozenset[str]:
        return frozenset().union(*(symbols(a) for a in self.args))


_FUNCTIONS: dict[str, Callable[..., int]] = {
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "min": min,
    "max": max,
}

Atom = Union[Symbol, Call]
Monomial = tuple[tuple[Atom, int], ...]
"""Atoms with their powers, sorted by text; the empty monomial is the constant."""


class Expr:
    """An integer polynomial in atoms; immutable, always with at least one atom.

    ``size`` counts the terms and atoms it is written with, nested ones included: whoever
    builds expressions from a file bounds it, since doubling is one operator away.
    """

    __slots__ = ("_hint", "_text", "size", "terms")
    size: int

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = dict(terms)
        self._text = ""
        total = 0
        size = len(self.terms)
        for monomial, coefficient in self.terms.items():
            value = coefficient
            for atom, power in monomial:
                value *= atom.hint**power
                size += atom.size * power
            total += value
        self._hint = total
        self.size = size

    @property
    def hint(self) -> int:
        return self._hint

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and other.terms == self.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __add__(self, other: Dim) -> Dim:
        if not isinstance(other, (int, Expr)):
            return NotImplemented
        terms = dict(self.terms)
        for monomial, coefficient in _terms(other).items():
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return _normal(terms)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        if not isinstance(other, (int, Expr)):
            return NotImplemented
        return self + other * -1

    def __rsub__(self, other: Dim) -> Dim:
        return other + self * -1

    def __mul__(self, other: Dim) -> Dim:
        if not isinstance(other, (int, Expr)):
            return NotImplemented
        terms: dict[Monomial, int] = {}
        for left, a in self.terms.items():
            for right, b in _terms(other).items():
                monomial = _product(left, right)
                terms[monomial] = terms.get(monomial, 0) + a * b
        return _normal(terms)

    __rmul__ = __mul__

    def __pow__(self, power: int) -> Dim:
        result: Dim = 1
        for _ in range(power):
            result = result * self
        return result

    def __floordiv__(self, other: Dim) -> Dim:
        if not isinstance(other, (int, Expr)):
            return NotImplemented
        if other == 1:
            return self
        quotient, rest = _divide(self, other)
        if isinstance(rest, int) and isinstance(other, int):
            return quotient + rest // other
        if rest == 0:
            return quotient
        return quotient + _atom(Call("//", (rest, other)))

    def __rfloordiv__(self, other: int) -> Dim:
        return 0 if other == 0 else _atom(Call("//", (other, self)))

    def __mod__(self, other: Dim) -> Dim:
        if not isinstance(other, (int, Expr)):
            return NotImplemented
        _, rest = _divide(self, other)
        if isinstance(rest, int) and isinstance(other, int):
            return rest % other
        return 0 if rest == 0 else _atom(Call("%", (rest, other)))

    def __rmod__(self, other: int) -> Dim:
        return 0 if other == 0 else _atom(Call("%", (other, self)))

    def __lt__(self, other: Dim) -> bool:
        return self._hint < hint(other)

    def __le__(self, other: Dim) -> bool:
        return self._hint <= hint(other)

    def __gt__(self, other: Dim) -> bool:
        return self._hint > hint(other)

    def __ge__(self, other: Dim) -> bool:
        return self._hint >= hint(other)

    def __bool__(self) -> bool:
        return self._hint != 0

    def __str__(self) -> str:
        if not self._text:
            self._text = _text(self.terms)
        return self._text

    __repr__ = __str__


def symbol(name: str, hint: int) -> Expr:
    """A free dimension as an expression; ``hint`` is a sample value (at least 1)."""
    return Expr({((Symbol(name, hint), 1),): 1})


def hint(dim: Dim) -> int:
    """The value of a dimension at the sample point."""
    return dim if isinstance(dim, int) else dim.hint


def evaluate(dim: Dim, bindings: Mapping[str, int]) -> int:
    """The value of a dimension where each free dimension has the bound value.

    Raises:
        KeyError: a free dimension is not in ``bindings``.
    """
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, coefficient in dim.terms.items():
        value = coefficient
        for atom, power in monomial:
            value *= atom.evaluate(bindings) ** power
        total += value
    return total


def symbols(dim: Dim) -> frozenset[str]:
    """The names of the free dimensions in an expression."""
    if isinstance(dim, int):
        return frozenset()
    return frozenset().union(*(atom.symbols() for m in dim.terms for atom, _ in m))


def maximum(a: Dim, b: Dim) -> Dim:
    """The larger of two dimensions, kept as ``max(a, b)`` where free dimensions decide."""
    return _pick("max", a, b)


def minimum(a: Dim, b: Dim) -> Dim:
    """The smaller of two dimensions, kept as ``min(a, b)`` where free dimensions decide."""
    return _pick("min", a, b)


def product(dims: Iterable[Dim]) -> Dim:
    """The product of dimensions; 1 for none."""
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def ceil_div(a: Dim, b: Dim) -> Dim:
    """``a / b`` rounded up."""
    return -(-a // b)


def _pick(fn: str, a: Dim, b: Dim) -> Dim:
    difference = a - b
    if _never_negative(difference):
        return a if fn == "max" else b
    if _never_negative(-difference):
        return b if fn == "max" else a
    first, second = sorted((a, b), key=str)
    return _atom(Call(fn, (first, second)))


def _never_negative(dim: Dim) -> bool:
    """Whether a value is at least 0 for all sizes (free dimensions are never negative)."""
    if isinstance(dim, int):
        return dim >= 0
    return all(
        coefficient > 0 and all(isinstance(atom, Symbol) for atom, _ in monomial)
        for monomial, coefficient in dim.terms.items()
    )


def _atom(atom: Atom) -> Expr:
    return Expr({((atom, 1),): 1})


def _terms(dim: Dim) -> Mapping[Monomial, int]:
    return {(): dim} if isinstance(dim, int) else dim.terms


def _normal(terms: Mapping[Monomial, int]) -> Dim:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if len(kept) == 1 and () in kept:
        return kept[()]
    return Expr(kept)


def _product(left: Monomial, right: Monomial) -> Monomial:
    powers: dict[Atom, int] = dict(left)
    for atom, power in right:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: str(item[0])))


def _divide(a: Expr, b: Dim) -> tuple[Dim, Dim]:
    """Split ``a`` into ``q*b + rest``, taking into q each term that b divides."""
    divisor = _terms(b)
    if len(divisor) == 1:
        ((by, factor),) = divisor.items()
        quotient: dict[Monomial, int] = {}
        rest: dict[Monomial, int] = {}
        for monomial, coefficient in a.terms.items():
            lower = _quotient(monomial, by)
            if lower is None or coefficient % factor:
                rest[monomial] = coefficient
            else:
                quotient[lower] = coefficient // factor
        return _normal(quotient), _normal(rest)
    if a == b:
        return 1, 0
    # a = k*b for an integer k is the one multi-term case that shapes produce.
    monomial, coefficient = next(iter(a.terms.items()))
    base = divisor.get(monomial, 0)
    if base and coefficient % base == 0 and a == b * (coefficient // base):
        return coefficient // base, 0
    return 0, a


def _quotient(monomial: Monomial, by: Monomial) -> Monomial | None:
    powers = dict(monomial)
    for atom, power in by:
        left = powers.get(atom, 0) - power
        if left < 0:
            return None
        powers[atom] = left
    return tuple((a, p) for a, p in powers.items() if p)


def _operand(dim: Dim) -> str:
    """A dimension as an operand of a division: in parentheses unless it is a single atom."""
    if isinstance(dim, int):
        return str(dim)
    ((monomial, coefficient), *others) = dim.terms.items()
    alone = not others and coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1
    return str(dim) if alone else f"({dim})"


def _text(terms: Mapping[Monomial, int]) -> str:
    texts = [(_monomial_text(m), -sum(p for _, p in m), c) for m, c in terms.items()]
    parts: list[str] = []
    for body, _, coefficient in sorted(texts, key=lambda item: (item[1], item[0])):
        size = abs(coefficient)
        text = body if body and size == 1 else f"{size}*{body}" if body else str(size)
        sign = "-" if coefficient < 0 else "+"
        parts.append(f"{sign} {text}" if parts else f"-{text}" if sign == "-" else text)
    return " ".join(parts)


def _monomial_text(monomial: Monomial) -> str:
    return "*".join(f"{a}^{p}" if p > 1 else str(a) for a, p in monomial)
