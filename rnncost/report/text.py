"""Text helpers that every renderer shares: safe names, short names, readable formulas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_CUTS = (0.5, 0.25, 0.75, 0.0, 1.0)
"""Where to cut a name, best first: ends say more about a layer than beginnings."""

_MOST_WINDOWS = 20

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


def shorten(text: str, width: int, kept_at_start: float = 0.5) -> str:
    """Cut the middle out of a long name; ``kept_at_start`` is the share of it that stays there.

    >>> shorten("/encoder/layers.0/lstm/LSTM", 15)
    '/encode…tm/LSTM'
    """
    if len(text) <= width:
        return text
    kept = max(width - 1, 0)
    head = int(kept * kept_at_start)
    return f"{text[:head]}…{text[len(text) - (kept - head) :]}"


def shorten_all(names: Sequence[str], width: int) -> list[str]:
    """Shorten names alike, cutting where most of the different ones stay different.

    >>> shorten_all(["/encoder/layers.0/lstm/LSTM", "/encoder/layers.1/lstm/LSTM"], 18)
    ['/enc…s.0/lstm/LSTM', '/enc…s.1/lstm/LSTM']
    """
    safe = [printable(name) for name in names]
    best: list[str] = []
    most = 0
    for cut in _ways_to_cut(safe, width):
        different = len(set(cut))
        if different > most:
            best, most = cut, different
        if most == len(set(safe)):
            break
    return best


def _ways_to_cut(names: Sequence[str], width: int) -> Iterator[list[str]]:
    """A few dozen ways: the middle out, then a beginning and a part from further on."""
    for share in _CUTS:
        yield [shorten(name, width, share) for name in names]
    longest = max(map(len, names), default=0)
    step = max(width // 4, longest // _MOST_WINDOWS, 1)
    for head in (0, width // 3):
        for start in range(head + 1, longest, step):
            yield [_window(name, head, start, width) for name in names]


def _window(name: str, head: int, start: int, width: int) -> str:
    if len(name) <= width:
        return name
    return shorten(f"{name[:head]}…{name[start:]}", width, kept_at_start=1.0)


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
