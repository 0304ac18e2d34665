"""The sequences that a layer ran over: calls joined where one goes on from another's state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time.calls import Call, Part, difference, run
from rnncost.along_time.cells import Cell
from rnncost.along_time.gradient import pulled_back
from rnncost.along_time.tails import STEPS_BACK, Tail

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

FOLLOWED = 16
"""Gradients are followed through the first so many sequences that are not joined."""

TOLERANCE = 1e-5
"""The largest difference from ONNX Runtime's outputs at which gates are taken as its own."""


class Sequences:
    """What is kept of the calls of one direction: gates, and norms of gradients.

    ``logs`` holds an array [steps, H] for each row of each sequence, the natural logarithm of
    its gate's magnitude in single precision; none for an RNN. ``traces`` are those of
    ``pulled_back``. ``half`` says that outputs beyond the tolerance are float16 numbers.
    """

    def __init__(self, cell: Cell, seed: int) -> None:
        import numpy as np

        self.cell = cell
        self.logs: list[Array] = []
        self.lengths: list[int] = []
        self.traces: list[Array] = []
        self.largest_difference = 0.0
        self.half = False
        self.negative = False
        self.calls = 0
        self.carried = False
        self._generator = np.random.default_rng(seed)
        self._followed = 0
        self._last: Call | None = None
        self._open_logs: list[list[Array]] = []
        self._open_lengths: list[int] = []
        self._open_tail: Tail | None = None

    def add(self, call: Call) -> Iterator[int]:
        """Run one more call, and give now and then how many of its steps are done.

        After a difference beyond the tolerance nothing more is run.
        """
        import numpy as np

        if self._last is not None and call.continues(self._last):
            self.carried = True
        else:
            self.close()
            batch = call.x.shape[1]
            self._open_logs = [[] for _ in range(batch)]
            self._open_lengths = [0] * batch
            self._open_tail = Tail(batch) if self._followed < FOLLOWED else None
        self.calls += 1
        # All that the next call is held against is how this one ended.
        nothing = np.empty((len(call.x), 0, 0))
        self._last = msgspec.structs.replace(call, x=nothing, y=nothing)
        logs: list[Array] = []
        if self.cell.kind != "rnn":
            units = self.cell.units
            logs = [np.empty((int(length), units), np.float32) for length in call.lengths]
        rows = 0 if self._open_tail is None else self._open_tail.rows
        with np.errstate(over="ignore", invalid="ignore"):  # the difference shows them
            for part in run(self.cell, call, rows, STEPS_BACK):
                found = difference(call, part)
                self.largest_difference = float(np.maximum(self.largest_difference, found))
                if not self.matches:
                    self.half = _half(call)
                    return
                self._keep(part, logs)
                yield part.start + len(part.active)
        for row, length in enumerate(call.lengths):
            self._open_lengths[row] += int(length)
            if length and logs:
                self._open_logs[row].append(logs[row])

    @property
    def matches(self) -> bool:
        """Whether all outputs so far are the runtime's, within the tolerance."""
        return self.largest_difference <= TOLERANCE

    def close(self) -> None:
        """End the sequences that are open, and pull gradients back through them."""
        import numpy as np

        for row, length in enumerate(self._open_lengths):
            if length:
                self.lengths.append(length)
            logs, self._open_logs[row] = self._open_logs[row], []
            if logs:
                self.logs.append(logs[0] if len(logs) == 1 else np.concatenate(logs))
        if self._open_tail is not None and self.matches:
            self.traces += pulled_back(self.cell, self._open_tail, self._generator)
            self._followed += 1
        self._open_logs, self._open_lengths = [], []
        self._open_tail = None
        self._last = None

    def _keep(self, part: Part, logs: list[Array]) -> None:
        block = part.block
        self.negative = self.negative or block.negative
        if block.log_gate is not None:
            for row, log in enumerate(logs):
                live = int(part.active[:, row].sum())
                log[part.start : part.start + live] = block.log_gate[:live, row]
        if self._open_tail is not None:
            self._open_tail.add(part)


def _half(call: Call) -> bool:
    """Whether all outputs are float16 numbers: the model rounds them after the layer."""
    import numpy as np

    with np.errstate(over="ignore"):
        return bool(np.array_equal(call.y.astype(np.float16).astype(np.float32), call.y))
