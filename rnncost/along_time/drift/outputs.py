"""The drift of a model's outputs, over one run or a chain of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rnncost.along_time.drift.model import OutputDrift
from rnncost.along_time.drift.series import Series, signal_and_error, snr_db
from rnncost.along_time.feeds import Feeds
from rnncost.along_time.source import OnnxModel
from rnncost.errors import MeasurementError
from rnncost.runtime.session import create_session, reason

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


def outputs_drift(
    reference: OnnxModel,
    other: OnnxModel,
    feeds: Feeds,
    *,
    states: Collection[str] = (),
    length: int | None = None,
    limit_db: float = 0.0,
) -> list[OutputDrift]:
    """The figures of each output; each model goes on from its own states.

    Args:
        reference, other: the models.
        feeds: what they are fed.
        states: outputs that are final states of a layer.
        length: of the layers' sequences, where it is the same of all.
        limit_db: see ``StateDrift.first_below``.

    Raises:
        MeasurementError: ONNX Runtime cannot run a model.
    """
    found: dict[str, _Output] = {}
    axis_length = length if feeds.chunks == 1 else None
    runs = zip(_runs(reference, feeds), _runs(other, feeds), strict=True)
    for chunk, (ours, theirs) in enumerate(runs):
        for (name, one), two in zip(ours.items(), theirs.values(), strict=True):
            # A final state has no axis of time.
            output = _Output(None if name in states else axis_length, feeds.chunks)
            found.setdefault(name, output).add(chunk, one, two)
    return [one.drift(name, limit_db, state=name in states) for name, one in found.items()]


def _runs(source: OnnxModel, feeds: Feeds) -> Iterator[Mapping[str, Any]]:
    session = create_session(source.proto.SerializeToString(), external_data_folder=source.folder)
    names = [output.name for output in session.get_outputs()]
    handed: dict[str, Any] = {}
    for chunk in range(feeds.chunks):
        feed = feeds.first(session, chunk) | handed
        try:
            values = dict(zip(names, session.run(names, feed), strict=True))
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise MeasurementError(f"ONNX Runtime cannot run the model: {reason(error)}") from None
        handed = {name: values[output] for name, output in feeds.states.items()}
        yield values


class _Output:
    """Sums over the runs."""

    def __init__(self, length: int | None, chunks: int) -> None:
        self._length = length
        self._chunks = chunks
        self._series = Series("output")
        self._along = ""
        self._signal = 0.0
        self._error = 0.0
        self._largest = 0.0
        self._count = 0
        self._differing = 0
        self._reason = ""

    def add(self, chunk: int, ours: Any, theirs: Any) -> None:
        import numpy as np

        if not isinstance(ours, np.ndarray) or ours.dtype.kind not in "fiub":
            self._reason = "it is no array of numbers"
            return
        if ours.shape != theirs.shape:
            self._reason = f"its shape is {list(theirs.shape)} in place of {list(ours.shape)}"
            return
        signal, error = signal_and_error(ours, theirs)
        with np.errstate(invalid="ignore", over="ignore"):
            both = float((signal * signal).sum()), float((error * error).sum())
        self._follow(chunk, ours, theirs)
        self._signal += both[0]
        self._error += both[1]
        self._largest = float(np.maximum(self._largest, np.abs(error).max(initial=0.0)))
        self._count += error.size
        self._differing += int((error != 0).sum())

    def _follow(self, chunk: int, ours: Array, theirs: Array) -> None:
        """Add to the figures along time, where it is known what a step is."""
        import numpy as np

        axes = [n for n, size in enumerate(ours.shape) if size == self._length]
        if self._chunks > 1:
            self._along = "chunk"
            shape = (1, 1, -1)
        elif len(axes) == 1 and ours.shape[axes[0]] > 1:
            self._along = f"axis {axes[0]}"
            ours, theirs = (np.moveaxis(values, axes[0], 0) for values in (ours, theirs))
            shape = (len(ours), 1, -1)
        else:
            return
        if ours.size:
            one, two = ours.reshape(shape), theirs.reshape(shape)
            self._series.add(chunk, one, two, np.ones(one.shape[:2], bool))

    def drift(self, name: str, limit_db: float, *, state: bool) -> OutputDrift:
        reason = self._reason or ("" if self._count else "it is empty")
        if reason:
            return OutputDrift(name=name, state=state, reason=reason)
        rms = math.sqrt(self._error / self._count) if self._error >= 0 else math.nan
        return OutputDrift(
            name=name,
            state=state,
            exact=not self._differing,
            snr_db=snr_db(self._signal, self._error),
            rms_error=rms if math.isfinite(rms) else None,
            max_error=self._largest if math.isfinite(self._largest) else None,
            differing=self._differing / self._count,
            along=self._along,
            by_step=self._series.drift(limit_db, None) if self._along else None,
        )
