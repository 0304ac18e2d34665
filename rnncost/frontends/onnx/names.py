"""Names that are unique within a graph and its bodies."""

from __future__ import annotations

Given = tuple[str, str, int]
"""A name that was handed out, the name that was wanted, and the last suffix before it."""


class Names:
    """Hands out names; a wanted name that is taken gets a suffix: ``x``, ``x#2``, ``x#3``.

    Names handed out since a mark can be given back, for passes that are thrown away.
    """

    def __init__(self) -> None:
        self._number: dict[str, int] = {}  # the names taken, and the last suffix tried of each
        self._given: list[Given] = []

    def unique(self, wanted: str) -> str:
        """A name that nobody has yet."""
        name, last = wanted, self._number.get(wanted, 0)
        if last:
            number = last
            while name in self._number:
                number += 1
                name = f"{wanted}#{number}"
            self._number[wanted] = number
        self._number[name] = 1
        self._given.append((name, wanted, last))
        return name

    def permanent(self, wanted: str) -> str:
        """A name that is never given back."""
        name = self.unique(wanted)
        self._given.pop()
        return name

    def mark(self) -> int:
        return len(self._given)

    def rollback(self, mark: int) -> list[Given]:
        """Give back every name since ``mark``; what ``restore`` takes them again with."""
        given = self._given[mark:]
        for name, wanted, last in reversed(given):
            del self._number[name]
            if name != wanted:
                self._number[wanted] = last
        del self._given[mark:]
        return given

    def restore(self, given: list[Given]) -> None:
        """Take names again that were given back at the same mark."""
        for name, wanted, _ in given:
            self._number[name] = 1
            if name != wanted:
                self._number[wanted] = int(name[len(wanted) + 1 :])
        self._given += given
