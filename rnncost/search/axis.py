"""One extent of a design space: the whole numbers that it takes."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from typing import Any, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnncost.errors import BindingError

LARGEST = 2**31 - 1
MOST_LISTED = 1_000_000
"""Numbers that are held one by one; a single range may have more."""

_LONGEST = 60
_RANGE = re.compile(r"([0-9]{1,40})(?:-([0-9]{1,40})(?::([0-9]{1,40}))?)?")


class Axis(msgspec.Struct, frozen=True, eq=False):
    """Ascending whole numbers from 1 on, each once: a range, or a list."""

    values: Union[range, tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def largest(self) -> int:
        return self.values[-1]

    def at(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The numbers at some places."""
        if isinstance(self.values, range):
            return (self.values.start + self.values.step * places).astype(np.float64)
        return np.array(self.values, np.float64)[places]

    def __str__(self) -> str:
        values = self.values
        if isinstance(values, range) and len(values) > 2:
            step = f":{values.step}" if values.step > 1 else ""
            return f"{values[0]}-{values[-1]}{step}"
        shown = [str(number) for number in values[:8]]
        rest = len(values) - len(shown)
        return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def axis_of(what: str, given: Any) -> Axis:
    """The numbers of an axis.

    Args:
        what: what the numbers are, for messages.
        given: a whole number, several, a ``range``, or text as ``"64,128"`` or ``"32-1024:32"``.

    Raises:
        BindingError: there is no number, one below 1, or something else.
    """
    if isinstance(given, str):
        pieces = [_piece(what, part.strip(), given) for part in given.split(",")]
    elif isinstance(given, range):
        ordered = given if given.step > 0 else given[::-1]
        pieces = [ordered]
    elif isinstance(given, Iterable):
        numbers = [_number(what, item) for item in given]
        pieces = [range(number, number + 1) for number in numbers]
    else:
        number = _number(what, given)
        pieces = [range(number, number + 1)]
    pieces = [piece for piece in pieces if piece]
    if not pieces:
        raise BindingError(f"{what}: there is no number in {_shown(given)}")
    if min(piece[0] for piece in pieces) < 1 or max(piece[-1] for piece in pieces) > LARGEST:
        raise BindingError(f"{what}: {_shown(given)} is not within 1 to {LARGEST:,}")
    if len(pieces) == 1:
        return Axis(pieces[0])
    if sum(map(len, pieces)) > MOST_LISTED:
        raise BindingError(
            f"{what}: a list may have {MOST_LISTED:,} numbers: give one range, as 32-1024:32"
        )
    return Axis(tuple(sorted({number for piece in pieces for number in piece})))


def whole_number(what: str, number: Any, most: int) -> int:
    """One whole number from 1 on.

    Raises:
        BindingError: it is none, or larger than ``most``.
    """
    try:
        whole = operator.index(number)
    except TypeError:
        whole = 0
    if not 1 <= whole <= most or isinstance(number, bool):
        raise BindingError(f"{what} must be a whole number from 1 to {most:,}, not {number!r}")
    return whole


def _piece(what: str, part: str, whole: str) -> range:
    match = _RANGE.fullmatch(part) if part.isascii() else None
    if match is None:
        raise BindingError(
            f"{what}: {_shown(whole)} is neither a number nor a range: write 64, or 64,128, or "
            "32-1024, or 32-1024:32"
        )
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    step = 1 if match[3] is None else int(match[3])
    if last < first:
        raise BindingError(f"{what}: the range {part} is empty: write the smaller number first")
    if step < 1:
        raise BindingError(f"{what}: the step of {part} must be 1 or more")
    return range(first, last + 1, step)


def _number(what: str, item: Any) -> int:
    try:
        number = operator.index(item)
    except TypeError:
        raise BindingError(f"{what} must be whole numbers, not {_shown(item)}") from None
    if isinstance(item, bool):
        raise BindingError(f"{what} must be whole numbers, not {item}")
    return number


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
