"""Stored tensors seen through data movement: which part of which root a value shows.

Each function takes a value and returns the slabs and views of a value derived from it.
Where a view cannot be followed axis by axis any more (dimensions merged, indices out of
order), the slab stays as it is and loses that axis: a later cut then keeps more of the
root than is used, never less.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rnncost.frontends.onnx.infer.base import Known, View
from rnncost.graph.dim import Dim, Shape
from rnncost.graph.ir import Slab

Seen = tuple[tuple[Slab, ...], tuple[View, ...]]

NOTHING: Seen = ((), ())
_MOST_RUNS = 8
_MOST_SLABS = 512


def seen(source: Known) -> Seen:
    """The slabs of a value with one view each."""
    if not source.stored or source.shape is None:
        return NOTHING
    if source.views:
        return source.stored, source.views
    rank = len(source.shape)
    if len(source.stored) == 1 and len(source.stored[0].ranges) == rank:
        return source.stored, (View(tuple(range(rank)), (None,) * rank),)
    return source.stored, (_blurred(rank),) * len(source.stored)


def copied(source: Known, shape: Shape) -> Seen:
    """The slabs behind Expand or Tile: axes that keep their extent keep their root axis."""
    if not source.stored or source.shape is None:
        return NOTHING
    stored, views = seen(source)
    lead = len(shape) - len(source.shape)
    kept = [old == new for old, new in zip(source.shape, shape[lead:], strict=True)]
    return stored, tuple(
        View(
            (None,) * lead + tuple(a if k else None for a, k in zip(view.axes, kept, strict=True)),
            (None,) * lead + tuple(b if k else None for b, k in zip(view.box, kept, strict=True)),
        )
        for view in views
    )


def permuted(source: Known, axes: Sequence[int]) -> Seen:
    """The slabs behind Transpose."""
    if not source.stored:
        return NOTHING
    stored, views = seen(source)
    return stored, tuple(
        View(tuple(view.axes[a] for a in axes), tuple(view.box[a] for a in axes)) for view in views
    )


def reshaped(source: Known, shape: Shape) -> Seen:
    """The slabs behind Reshape, Squeeze, Unsqueeze and Flatten."""
    if not source.stored or source.shape is None:
        return NOTHING
    stored, views = seen(source)
    origin = _origins(source.shape, shape)
    return stored, tuple(
        View(
            tuple(None if o is None else view.axes[o] for o in origin),
            tuple(None if o is None else view.box[o] for o in origin),
        )
        for view in views
    )


def narrowed(source: Known, axis: int, start: int, stop: int, step: int) -> Seen:
    """The slabs behind a slice ``start:stop:step`` (step >= 1) along one axis."""
    if not source.stored or source.shape is None:
        return NOTHING
    extent = source.shape[axis]
    if not isinstance(extent, int):
        return without(seen(source), axis)
    slabs, views = [], []
    for slab, view in zip(*seen(source), strict=True):
        low, high = view.box[axis] or (0, extent)
        first = start if start >= low else start + -(-(low - start) // step) * step
        number = -(-(min(stop, high) - first) // step)
        if number <= 0:
            continue
        place = (first - start) // step
        slabs.append(_cut(slab, view.axes[axis], first - low, number, step))
        views.append(View(view.axes, _with(view.box, axis, (place, place + number))))
    return tuple(slabs), tuple(views)


def picked(source: Known, axis: int, indices: Sequence[int], rank: int) -> Seen:
    """The slabs behind Gather: ``indices`` along one axis become ``rank`` axes."""
    if not source.stored or source.shape is None or not indices:
        return NOTHING
    runs = _runs(indices)
    in_order = len(runs) == 1 and list(indices) == list(range(*runs[0]))
    slabs: tuple[Slab, ...] = ()
    views: list[View] = []
    for start, stop, step in runs:
        cut = narrowed(source, axis, start, stop, step)
        slabs += cut[0]
        views += cut[1]
    if not (in_order and rank == 1):
        views = [
            View(
                view.axes[:axis] + (None,) * rank + view.axes[axis + 1 :],
                view.box[:axis] + (None,) * rank + view.box[axis + 1 :],
            )
            for view in views
        ]
    return slabs, tuple(views)


def joined(sources: Sequence[Known], axis: int) -> Seen:
    """The slabs behind Concat.

    The result is stored when every part is: a stored tensor, one without elements, or
    floating-point constants that the graph computes (such as a bias filled up with zeros).
    """
    slabs: list[Slab] = []
    views: list[View] = []
    offset: Dim = 0
    for source in sources:
        if source.shape is None:
            return NOTHING
        extent = source.shape[axis]
        if not source.stored and not _is_constant(source):
            return NOTHING
        stored, parts = seen(source)
        for slab, view in zip(stored, parts, strict=True):
            slabs.append(slab)
            if isinstance(extent, int) and isinstance(offset, int):
                low, high = view.box[axis] or (0, extent)
                box = _with(view.box, axis, (low + offset, high + offset))
                views.append(View(view.axes, box))
            else:
                views.append(_blurred(len(view.axes)))
        offset = offset + extent
    return _bounded(slabs, views)


def _bounded(slabs: list[Slab], views: list[View]) -> Seen:
    """At most one slab a root once there are very many: joining a value to itself doubles them."""
    if len(slabs) <= _MOST_SLABS:
        return tuple(slabs), tuple(views)
    spans: dict[str, Slab] = {}
    for slab in slabs:
        span = spans.setdefault(slab.root, slab)
        if span is not slab:
            ranges = tuple(
                (min(a[0], b[0]), max(a[1], b[1]), a[2] if a == b else 1)
                for a, b in zip(span.ranges, slab.ranges, strict=True)
            )
            spans[slab.root] = Slab(slab.root, slab.dtype, ranges)
    return tuple(spans.values()), (_blurred(len(views[0].axes)),) * len(spans)


def _is_constant(source: Known) -> bool:
    if source.value is None:
        return source.shape is not None and 0 in source.shape
    return not source.value or "float" in source.dtype


def _blurred(rank: int) -> View:
    return View((None,) * rank, (None,) * rank)


def _with(
    box: tuple[tuple[int, int] | None, ...], axis: int, interval: tuple[int, int] | None
) -> tuple[tuple[int, int] | None, ...]:
    return (*box[:axis], interval, *box[axis + 1 :])


def without(source: Seen, axis: int) -> Seen:
    """The same slabs, with one axis no longer followed."""
    stored, views = source
    return stored, tuple(
        View((*view.axes[:axis], None, *view.axes[axis + 1 :]), _with(view.box, axis, None))
        for view in views
    )


def _cut(slab: Slab, axis: int | None, first: int, number: int, step: int) -> Slab:
    """Keep ``number`` indices of a slab's axis, from its index ``first`` on."""
    if axis is None:
        return slab
    start, _, stride = slab.ranges[axis]
    begin = start + first * stride
    end = begin + (number - 1) * step * stride + 1
    ranges = (*slab.ranges[:axis], (begin, end, stride * step), *slab.ranges[axis + 1 :])
    return Slab(slab.root, slab.dtype, ranges)


def _runs(indices: Sequence[int]) -> list[tuple[int, int, int]]:
    """The set of indices as few ranges ``(start, stop, step)``: exact, or one that spans all."""
    ordered = sorted(set(indices))
    gaps = {b - a for a, b in pairwise(ordered)}
    if len(gaps) <= 1:
        step = gaps.pop() if gaps else 1
        return [(ordered[0], ordered[-1] + 1, step)]
    runs: list[tuple[int, int, int]] = []
    start = previous = ordered[0]
    for index in ordered[1:]:
        if index != previous + 1:
            runs.append((start, previous + 1, 1))
            start = index
        previous = index
    runs.append((start, previous + 1, 1))
    return runs if len(runs) <= _MOST_RUNS else [(ordered[0], ordered[-1] + 1, 1)]


def _origins(old: Shape, new: Shape) -> list[int | None]:
    """For each axis of a reshaped value, the axis that it is unchanged, or None.

    Axes of extent 1 come and go; otherwise groups of axes with equal products match, and a
    group of one axis on either side is that axis unchanged.
    """
    origins: list[int | None] = [None] * len(new)
    if any(not isinstance(dim, int) or dim < 1 for dim in (*old, *new)):
        return (
            [axis if dim == new[axis] else None for axis, dim in enumerate(old)]
            if (old == new)
            else origins
        )
    left = [axis for axis, dim in enumerate(old) if dim != 1]
    right = [axis for axis, dim in enumerate(new) if dim != 1]
    i = j = 0
    while i < len(left) and j < len(right):
        if old[left[i]] == new[right[j]]:
            origins[right[j]] = left[i]
            i, j = i + 1, j + 1
            continue
        a, b = old[left[i]], new[right[j]]
        i, j = i + 1, j + 1
        while a != b:
            if a < b and i < len(left):
                a, i = a * old[left[i]], i + 1
            elif b < a and j < len(right):
                b, j = b * new[right[j]], j + 1
            else:
                return origins
    return origins
