"""The last steps of a sequence: what a gradient is pulled back through."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from rnncost.along_time.calls import Part

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

STEPS_BACK = 1000
"""Gradients are followed over at most so many steps."""

ROWS = 4
"""Gradients are followed through so many rows of a sequence."""

_Piece = tuple[Any, ...]
"""The factors of some steps of one row, each [t, H]."""


class Tail:
    """The factors of the last ``STEPS_BACK`` steps of the first rows of a sequence.

    Each row has its own end, so that a short row does not make a long one be kept whole.
    """

    def __init__(self, batch: int) -> None:
        self._pieces: list[deque[_Piece]] = [deque() for _ in range(min(ROWS, batch))]

    @property
    def rows(self) -> int:
        """How many rows are followed."""
        return len(self._pieces)

    def add(self, part: Part) -> None:
        """Go on with a block of steps."""
        for row, pieces in enumerate(self._pieces):
            live = int(part.active[:, row].sum())
            if not live:
                continue
            if not part.block.factors:
                pieces.clear()  # steps without factors lie too far back, and so do those before
                continue
            first = max(0, live - STEPS_BACK)
            # Copies: a view would keep the whole block.
            pieces.append(tuple(f[first:live, row].copy() for f in part.block.factors))
            held = sum(len(piece[0]) for piece in pieces)
            while held - len(pieces[0][0]) >= STEPS_BACK:
                held -= len(pieces.popleft()[0])

    def back(self) -> tuple[tuple[Array, ...], Array]:
        """The factors from the last step back, each [k, rows, H], and how many steps each row has.

        Rows that have fewer than k steps are filled up with 0.
        """
        import numpy as np

        steps = np.array([min(STEPS_BACK, sum(len(p[0]) for p in own)) for own in self._pieces])
        longest = int(steps.max(initial=0))
        whole = next((own for own in self._pieces if own), None)
        if whole is None:
            return (), steps
        factors = []
        for number, like in enumerate(whole[0]):
            table = np.zeros((longest, self.rows, like.shape[-1]))
            for row, own in enumerate(self._pieces):
                if own:
                    values = np.concatenate([piece[number] for piece in own])
                    table[: steps[row], row] = values[::-1][: steps[row]]
            factors.append(table)
        return tuple(factors), steps
