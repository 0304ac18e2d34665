"""One call of a recurrent layer: what went in and came out, each direction as if forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time.cells import Block, Cell, forward

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

BLOCK_VALUES = 1 << 19
"""Values of pre-activations that are held at a time: 4 MiB, and some ten arrays like them."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of one call, in the order in which its steps are run.

    ``x`` [T, B, I], ``y`` [T, B, H], ``lengths`` [B]; the states before (``h``, ``c``) and
    after (``y_h``, ``y_c``) [B, H]. ``c`` and ``y_c`` are None but for an LSTM.
    """

    x: Array
    y: Array
    lengths: Array
    h: Array
    c: Array | None
    y_h: Array
    y_c: Array | None

    def continues(self, before: Call) -> bool:
        """Whether this call's states are those that another ended with."""
        pairs = [(before.y_h, self.h), (before.y_c, self.c)]
        same = all(a is None or b is None or _equal(a, b) for a, b in pairs)
        return same and bool(before.y_h.any()) and bool((before.lengths == len(before.x)).all())


def _equal(a: Array, b: Array) -> bool:
    import numpy as np

    return bool(np.array_equal(a, b))


def make_call(values: Mapping[str, Array], direction: int, reverse: bool, lstm: bool) -> Call:
    """One direction of a call.

    Args:
        values: X [T, B, I], Y [T, D, B, H], Y_h and Y_c [D, B, H], and, where there are any,
            sequence_lens [B], initial_h and initial_c [D, B, H].
        direction: its number.
        reverse: it runs from each row's end to its start.
        lstm: it has a cell state.
    """
    import numpy as np

    x, y = values["X"], values["Y"][:, direction]
    steps, batch = x.shape[:2]
    lengths = np.full(batch, steps)
    if "sequence_lens" in values:
        lengths = values["sequence_lens"].astype(np.int64)
    if reverse:
        x, y = _reversed(x, lengths), _reversed(y, lengths)

    def state(name: str) -> Array:
        return values[name][direction] if name in values else np.zeros_like(values["Y_h"][0])

    return Call(
        x=x,
        y=y,
        lengths=lengths,
        h=state("initial_h"),
        c=state("initial_c") if lstm else None,
        y_h=values["Y_h"][direction],
        y_c=values["Y_c"][direction] if lstm else None,
    )


def _reversed(values: Array, lengths: Array) -> Array:
    """Each row's steps turned round, up to its length."""
    import numpy as np

    steps = len(values)
    if (lengths == steps).all():
        return values[::-1]
    t = np.arange(steps)[:, None]
    order = np.where(t < lengths, lengths - 1 - t, t)
    return np.take_along_axis(values, order[:, :, None], axis=0)


class Part(msgspec.Struct, frozen=True):
    """A block of a call's steps: where it starts, which rows are live [t, B], what it gives."""

    start: int
    active: Array
    block: Block


def run(cell: Cell, call: Call, rows: int, last: int) -> Iterator[Part]:
    """Run a call block by block; factors are given for the last steps alone.

    Args:
        cell: the layer's direction.
        call: what it is run on.
        rows: how many rows get factors.
        last: how many of the last steps of each of these rows get factors at least.
    """
    import numpy as np

    steps, batch = call.x.shape[:2]
    width = max(len(cell.w) * batch, 1)
    size = max(1, BLOCK_VALUES // width)
    c = None if call.c is None else call.c.astype(np.float64)
    ranges = _ranges(call) if cell.quantised else None
    for start in range(0, steps, size):
        t = np.arange(start, min(start + size, steps))
        x = call.x[start : t[-1] + 1].astype(np.float64)
        before = call.y[t - 1].astype(np.float64)
        if start == 0:
            before[0] = call.h
        if ranges is not None:
            x = _as_bytes(x, *ranges)
            before = _as_bytes(before, before.min((1, 2)), before.max((1, 2)))
        active = t[:, None] < call.lengths
        ends = call.lengths[:rows]
        near = bool(((t[-1] >= ends - last) & (start < ends)).any())
        block = forward(cell, x, before, c, active, rows if near else 0)
        if block.c is not None:
            c = block.c[-1]
        yield Part(start, active, block)


def _ranges(call: Call) -> tuple[Array, Array]:
    """The least and the largest input of a call; all its steps are quantised alike."""
    import numpy as np

    used = call.x[: int(call.lengths.max(initial=0))]
    return np.array([used.min(initial=0.0)]), np.array([used.max(initial=0.0)])


def _as_bytes(values: Array, low: Array, high: Array) -> Array:
    """Values as they come back from 8 bits, with one scale for each range.

    The range is made to hold 0; scale, zero point and rounding to even are those of ONNX
    Runtime's DynamicQuantizeLSTM, in single precision.
    """
    import numpy as np

    low, high = np.minimum(low, 0).astype(np.float32), np.maximum(high, 0).astype(np.float32)
    scale = np.where(high > low, (high - low) / np.float32(255), np.float32(1))
    zero = np.rint(np.clip(-low / scale, 0, 255))
    scale, zero = scale[:, None, None], zero[:, None, None]
    steps = np.clip(np.rint(values.astype(np.float32) / scale) + zero, 0, 255) - zero
    result: Array = (steps * scale).astype(np.float64)
    return result


def difference(call: Call, part: Part) -> float:
    """The largest difference of a block's states from the runtime's, NaN if one is none.

    It is a share of the largest value that the runtime gave, where that is above 1.
    """
    import numpy as np

    end = part.start + len(part.active)
    pairs = [(part.block.h[part.active], call.y[part.start : end][part.active])]
    ends = (call.lengths > part.start) & (call.lengths <= end)
    if ends.any():
        at = call.lengths[ends] - 1 - part.start
        pairs.append((part.block.h[at, ends], call.y_h[ends]))
        if part.block.c is not None and call.y_c is not None:
            pairs.append((part.block.c[at, ends], call.y_c[ends]))
    found = [
        np.max(np.abs(ours - theirs)) / max(1.0, np.max(np.abs(theirs)))
        for ours, theirs in pairs
        if ours.size
    ]
    return float(np.max(found)) if found else 0.0
