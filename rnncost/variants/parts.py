"""How an axis of a tensor changes: the parts that it is made of, before and after.

An axis that a change reaches is a tuple of parts in order, each with its extent before and
after: the halves of a bidirectional layer's output that loses its second direction are
``(Part(H, H), Part(H, 0))``. None stands for an axis that stays as it is. Extents are
integers or expressions in free dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Union

import msgspec

from rnncost.graph.dim import Dim, Shape, product

MOST_PARTS = 64
"""An axis of more parts becomes one, so that long axes stay cheap."""


class Part(msgspec.Struct, frozen=True):
    """A stretch of an axis, and its extent after the change."""

    old: Dim
    new: Dim


Axis = tuple[Part, ...]
Layout = tuple[Union[Axis, None], ...]
"""One entry an axis of a tensor."""


class UnevenError(Exception):
    """A place on an axis has no counterpart after the change."""


def old_extent(axis: Axis) -> Dim:
    return _sum([part.old for part in axis])


def new_extent(axis: Axis) -> Dim:
    return _sum([part.new for part in axis])


def resized(old: Dim, new: Dim) -> Axis | None:
    """An axis that changes as one part; None if it does not."""
    return None if old == new else (Part(old, new),)


def tidy(parts: Sequence[Part]) -> Axis | None:
    """Neighbouring unchanged parts joined, empty ones dropped; None if nothing changes."""
    joined: list[Part] = []
    for part in parts:
        if part.old == 0 and part.new == 0:
            continue
        if joined and part.old == part.new and joined[-1].old == joined[-1].new:
            joined[-1] = Part(joined[-1].old + part.old, joined[-1].new + part.new)
        else:
            joined.append(part)
    if all(part.old == part.new for part in joined):
        return None
    if len(joined) > MOST_PARTS:
        return (Part(old_extent(tuple(joined)), new_extent(tuple(joined))),)
    return tuple(joined)


def whole(axis: Axis | None, extent: Dim) -> Axis:
    """The parts of an axis, changed or not."""
    return (Part(extent, extent),) if axis is None else axis


def repeated(axis: Axis, times: int) -> Axis:
    """The same parts again and again, as gates that each have H rows."""
    return axis * times


def place(axis: Axis, position: Dim) -> Dim:
    """Where a position of the old axis lies on the new one.

    Raises:
        UnevenError: it lies inside a part that changes, not at an even fraction of it.
    """
    old: Dim = 0
    new: Dim = 0
    for part in axis:
        inside = position - old
        if inside == 0:
            return new
        if inside < part.old:
            if part.old == part.new:
                return new + inside
            scaled = part.new * inside
            if scaled % part.old != 0:
                raise UnevenError
            return new + scaled // part.old
        old, new = old + part.old, new + part.new
    if position == old:
        return new
    raise UnevenError


def between(axis: Axis, start: Dim, stop: Dim) -> Axis | None:
    """The stretch of an axis from ``start`` to ``stop``, both in old positions.

    Raises:
        UnevenError: an end lies inside a part that changes, not at an even fraction of it.
    """
    parts: list[Part] = []
    old: Dim = 0
    for part in axis:
        low = start if start > old else old
        high = stop if stop < old + part.old else old + part.old
        if low < high:
            parts.append(Part(high - low, place(axis, high) - place(axis, low)))
        old = old + part.old
    return tidy(parts)


def replaced(axis: Axis | None, extent: Dim, start: Dim, inner: Axis) -> Axis | None:
    """An axis of ``extent`` whose stretch from ``start`` on becomes ``inner``."""
    stop = start + old_extent(inner)
    full = whole(axis, extent)
    before = between(full, 0, start) or _same(start)
    after = between(full, stop, extent) or _same(extent - stop)
    return tidy((*before, *inner, *after))


def merged(axes: Sequence[Axis | None], extents: Sequence[Dim]) -> Axis | None:
    """Neighbouring axes flattened into one."""
    if all(axis is None for axis in axes):
        return None
    inner: Axis = _same(1)
    for axis, extent in zip(reversed(axes), reversed(extents), strict=True):
        inner = tuple(_times(whole(axis, extent), inner))
    return tidy(inner)


def unmerged(axis: Axis, outer: Dim, inner: Dim, *, strict: bool) -> Axis | None:
    """The axis between ``outer`` and ``inner`` unchanged ones, which all were flattened.

    A strict answer keeps every part where it is; otherwise the whole may change as one.

    Raises:
        UnevenError: the parts do not divide so.
    """
    parts = []
    for part in axis:
        if part.old % inner != 0 or part.new % inner != 0:
            raise UnevenError
        parts.append(Part(part.old // inner, part.new // inner))
    if outer == 1:
        return tidy(parts)
    if isinstance(outer, int) and len(parts) % outer == 0:
        period = parts[: len(parts) // outer]
        if parts == period * outer:
            return tidy(period)
    old, new = old_extent(tuple(parts)), new_extent(tuple(parts))
    if strict and len(parts) > 1:
        raise UnevenError
    if old % outer != 0 or new % outer != 0:
        raise UnevenError
    return resized(old // outer, new // outer)


def new_shape(layout: Layout | None, old: Shape) -> Shape:
    """The extents after the change of a tensor of the shape ``old``."""
    if layout is None:
        return old
    return tuple(
        [dim if axis is None else new_extent(axis) for axis, dim in zip(layout, old, strict=True)]
    )


def changed(layout: Layout | None) -> bool:
    return layout is not None and any(axis is not None for axis in layout)


def is_gone(layout: Layout | None) -> bool:
    """Whether nothing is left of a tensor."""
    return layout is not None and any(a is not None and new_extent(a) == 0 for a in layout)


def fits(layout: Layout | None, wanted: Layout, old: Shape) -> bool:
    """Whether a tensor has the extents that a layout gives it."""
    return new_shape(layout, old) == new_shape(wanted, old)


def overlaid(first: Layout, second: Layout, old: Shape) -> Layout:
    """Both changes at once, where they touch different axes or different stretches of one.

    Raises:
        UnevenError: they contradict each other.
    """
    axes: list[Axis | None] = []
    for a, b, extent in zip(first, second, old, strict=True):
        if a is None or b is None or a == b:
            axes.append(b if a is None else a)
        else:
            axes.append(_overlaid(a, b, extent))
    return tuple(axes)


def _overlaid(first: Axis, second: Axis, extent: Dim) -> Axis | None:
    bounds = {0: 0, extent: 0}
    for axis in (first, second):
        at: Dim = 0
        for part in axis:
            at = at + part.old
            bounds[at] = 0
    ordered = sorted(bounds, key=lambda dim: dim if isinstance(dim, int) else dim.hint)
    parts: list[Part] = []
    for low, high in pairwise(ordered):
        a = between(first, low, high) or _same(high - low)
        b = between(second, low, high) or _same(high - low)
        if a != b and a != _same(high - low) and b != _same(high - low):
            raise UnevenError
        parts.extend(b if a == _same(high - low) else a)
    return tidy(parts)


def grouped(old_in: Shape, old_out: Shape) -> Iterator[tuple[range, range]]:
    """The axes of a reshape that belong together: runs of equal products.

    Raises:
        UnevenError: the products do not match.
    """
    i = j = 0
    while i < len(old_in) and j < len(old_out):
        start_i, start_j = i, j
        left, right = old_in[i], old_out[j]
        i, j = i + 1, j + 1
        while left != right:
            if left < right and i < len(old_in):
                left, i = left * old_in[i], i + 1
            elif j < len(old_out):
                right, j = right * old_out[j], j + 1
            elif i < len(old_in):
                left, i = left * old_in[i], i + 1
            else:
                raise UnevenError
        yield range(start_i, i), range(start_j, j)
    if product(old_in[i:]) != 1 or product(old_out[j:]) != 1:
        raise UnevenError
    yield range(i, len(old_in)), range(j, len(old_out))


def _same(extent: Dim) -> Axis:
    return (Part(extent, extent),)


def _times(outer: Axis, inner: Axis) -> Iterator[Part]:
    inner_old, inner_new = old_extent(inner), new_extent(inner)
    for part in outer:
        if all(p.old == p.new for p in inner):
            yield Part(part.old * inner_old, part.new * inner_new)
        elif part.old == part.new and isinstance(part.old, int) and part.old <= MOST_PARTS:
            yield from inner * part.old
        else:
            yield Part(part.old * inner_old, part.new * inner_new)


def _sum(dims: Sequence[Dim]) -> Dim:
    total: Dim = 0
    for dim in dims:
        total = total + dim
    return total
