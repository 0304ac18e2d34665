"""Text helpers that every renderer shares: safe names, short names, readable formulas."""

from __future__ import annotations

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def printable(text: str) -> str:
    r"""Escape what a terminal or a page would obey: control, bidi and unpaired characters.

    Names come from model files, which anybody can write.

    >>> printable("lstm\x1b[2J")
    'lstm\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, width: int) -> str:
    """Cut the middle out of a long name; its end tells layers apart more than its start.

    >>> shorten("/encoder/layers.0/lstm/LSTM", 15)
    '/encod…tm/LSTM'
    """
    if len(text) <= width:
        return text
    kept = max(width - 1, 2)
    head = kept // 2
    return f"{text[:head]}…{text[len(text) - (kept - head) :]}"


def readable_formula(text: str) -> str:
    """Render products as ``·`` and powers as superscripts.

    >>> readable_formula("4*seq^2 + 12*batch*seq")
    '4·seq² + 12·batch·seq'
    """
    head, *powers = text.replace("*", "·").split("^")
    for part in powers:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        head += (digits.translate(_SUPERSCRIPTS) or "^") + part[len(digits) :]
    return head


def percent(share: float) -> str:
    """Render a share of one as a percentage with one decimal.

    Only a whole is printed as 100.0 and only nothing as 0.0, so that rounding hides neither.

    >>> percent(0.99999), percent(1.0), percent(0.0001)
    ('>99.9', '100.0', '<0.1')
    """
    if 0 < share < 0.0005:
        return "<0.1"
    if 0.9995 <= share < 1:
        return ">99.9"
    return f"{100 * share:.1f}"


def plural(count: int, noun: str) -> str:
    """``plural(2, "op")`` is ``"2 ops"``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
