"""The drift of one layer: its states in two runs, held against each other step by step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rnncost.along_time.calls import Call
from rnncost.along_time.drift.capture import Trace, Traces
from rnncost.along_time.drift.model import StateDrift
from rnncost.along_time.drift.series import Series
from rnncost.along_time.running import NotRunError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


def states_drift(
    reference: Traces,
    other: Traces,
    ways: Sequence[str],
    limit_db: float,
    step_period_s: float | None,
) -> list[list[StateDrift]]:
    """The figures of each direction's states.

    Calls of which the reference goes on from one to the next are one sequence.

    Raises:
        MeasurementError: ONNX Runtime cannot run a model.
        NotRunError: the layer is not run in both, or not alike.
    """
    gathered = [_Direction() for _ in ways]
    for ours, theirs in zip_longest(reference, other):
        if ours is None or theirs is None:
            raise NotRunError("it runs more often in one of the two models than in the other")
        for direction, one, two in zip(gathered, ours, theirs, strict=True):
            direction.add(one, two)
    return [
        [series.drift(limit_db, step_period_s) for series in direction.series()]
        for direction in gathered
    ]


class _Direction:
    """What is gathered of one direction."""

    def __init__(self) -> None:
        self._h = Series("h")
        self._c: Series | None = None
        self._last: Call | None = None
        self._done = 0

    def add(self, ours: Trace, theirs: Trace) -> None:
        import numpy as np

        call, other = ours.call, theirs.call
        if call.y.shape != other.y.shape or not np.array_equal(call.lengths, other.lengths):
            raise NotRunError("its sequences have another length or shape in the quantised model")
        if self._last is None or not call.continues(self._last):
            self._done = 0
        active = np.arange(len(call.y))[:, None] < call.lengths
        self._h.add(self._done, call.y, other.y, active)
        if call.c is not None:
            self._c = self._c or Series("c")
            for trace, whose in ((ours, "the model as it is"), (theirs, "the quantised model")):
                if trace.c is None:
                    self._c.withheld = self._c.withheld or f"of {whose}: {trace.why}"
            if ours.c is not None and theirs.c is not None:
                self._c.add(self._done, ours.c, theirs.c, active)
        self._done += len(call.y)
        self._last = call

    def series(self) -> list[Series]:
        return [self._h] if self._c is None else [self._h, self._c]
