"""The sequences that a layer ran over: calls joined where one goes on from another's state."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time.calls import Call, Part, difference, run
from rnncost.along_time.cells import Cell

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

STEPS_BACK = 1000
"""Gradients are followed over at most so many steps."""

ROWS = 4
"""Gradients are followed through so many rows of a sequence."""

FOLLOWED = 16
"""Gradients are followed through the first so many sequences that are not joined."""

TOLERANCE = 1e-5
"""The largest difference from ONNX Runtime's outputs at which gates are taken as its own."""


class Tail(msgspec.Struct, frozen=True):
    """Factors of the last steps of some rows, and which of these rows were live: [t, rows, …]."""

    factors: tuple[Array, ...]
    active: Array


class Sequences:
    """What is kept of the calls of one direction: gates, and the factors of the last steps.

    ``logs`` holds an array [steps, H] for each row of each sequence, the natural logarithm of
    its gate's magnitude in single precision; none for an RNN. ``tails`` are the parts of the
    last steps of each sequence, in order.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.logs: list[Array] = []
        self.lengths: list[int] = []
        self.tails: list[list[Tail]] = []
        self.largest_difference = 0.0
        self.negative = False
        self.calls = 0
        self.carried = False
        self._last: Call | None = None
        self._open_logs: list[list[Array]] = []
        self._open_lengths: list[int] = []
        self._open_tail: deque[Tail] = deque()

    def add(self, call: Call) -> None:
        """Run one more call. After a difference beyond the tolerance nothing more is run."""
        import numpy as np

        joined = self._last is not None and call.continues(self._last)
        if joined:
            self.carried = True
        else:
            self.close()
            batch = call.x.shape[1]
            self._open_logs = [[] for _ in range(batch)]
            self._open_lengths = [0] * batch
        self.calls += 1
        # All that the next call is held against is how this one ended.
        self._last = msgspec.structs.replace(call, y=call.y[:0])
        rows = ROWS if len(self.tails) < FOLLOWED else 0
        with np.errstate(over="ignore", invalid="ignore"):  # the difference shows them
            for part in run(self.cell, call, rows, STEPS_BACK):
                found = difference(call, part)
                self.largest_difference = float(np.maximum(self.largest_difference, found))
                if not self.matches:
                    return
                self._keep(part, rows)
        for row, length in enumerate(call.lengths):
            self._open_lengths[row] += int(length)

    @property
    def matches(self) -> bool:
        """Whether all outputs so far are the runtime's, within the tolerance."""
        return self.largest_difference <= TOLERANCE

    def close(self) -> None:
        """End the sequences that are open."""
        import numpy as np

        for logs, length in zip(self._open_logs, self._open_lengths, strict=True):
            if length:
                self.lengths.append(length)
                if logs:
                    self.logs.append(np.concatenate(logs))
        if self._open_tail:
            self.tails.append(list(self._open_tail))
        self._open_logs, self._open_lengths = [], []
        self._open_tail = deque()
        self._last = None

    def _keep(self, part: Part, rows: int) -> None:
        import numpy as np

        block = part.block
        self.negative = self.negative or block.negative
        if block.log_gate is not None:
            kept = block.log_gate.astype(np.float32)
            for row, logs in enumerate(self._open_logs):
                live = int(part.active[:, row].sum())
                if live:
                    logs.append(kept[:live, row])
        if not rows:
            return
        if not block.factors:
            self._open_tail.clear()  # steps without factors lie too far back
            return
        self._open_tail.append(Tail(block.factors, part.active[:, :rows]))
        held = sum(len(tail.active) for tail in self._open_tail)
        while held - len(self._open_tail[0].active) >= STEPS_BACK and not _ragged(self._open_tail):
            held -= len(self._open_tail.popleft().active)


def _ragged(tails: deque[Tail]) -> bool:
    """Whether some row ends before the others: its last steps may lie far back."""
    return not all(tail.active.all() for tail in tails)
