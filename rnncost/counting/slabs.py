"""The number of distinct elements in slabs of one stored tensor."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import gcd, lcm

Range = tuple[int, int, int]
Ranges = tuple[Range, ...]


class Region:
    """The elements of one stored tensor that have been claimed so far."""

    def __init__(self) -> None:
        self._claimed: list[Ranges] = []
        self._seen: set[Ranges] = set()
        self._strided = False
        self._tree: _Segments | None = None

    def claim(self, ranges: Ranges) -> int:
        """Claim a slab; the number of its elements that nobody had claimed before."""
        if ranges in self._seen:
            return 0
        self._seen.add(ranges)
        if any(step != 1 for _, _, step in ranges):
            ranges = tuple([_normal(*r) for r in ranges])
            self._strided = self._strided or any(step != 1 for _, _, step in ranges)
        size = numel(ranges)
        if size == 0:
            return 0
        if not self._claimed:
            new = size
        elif self._strided:
            shared = (_common(slab, ranges) for slab in self._claimed)
            new = size - union_size([slab for slab in shared if slab is not None])
        else:
            if self._tree is None:
                self._tree = _Segments()
                self._tree.claim(self._claimed[0], 0)
            new = self._tree.claim(ranges, 0)
        self._claimed.append(ranges)
        return new


class _Segments:
    """Disjoint intervals of one axis in order, each with what is claimed of the next axes."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._inner: list[_Segments] = []

    def claim(self, ranges: Ranges, axis: int) -> int:
        """Claim ``ranges`` from ``axis`` on (all steps 1); the number of new elements."""
        if axis == len(ranges):
            return 0
        start, stop, _ = ranges[axis]
        self._cut(start)
        self._cut(stop)
        rest = numel(ranges[axis + 1 :])
        new = 0
        at = bisect_right(self._starts, start - 1)
        while start < stop:
            if at == len(self._starts) or self._starts[at] > start:
                # A gap: nothing of the next axes is claimed here yet.
                end = stop if at == len(self._starts) else min(stop, self._starts[at])
                inner = _Segments()
                inner.claim(ranges, axis + 1)
                self._insert(at, start, end, inner)
                new += (end - start) * rest
            else:
                end = self._stops[at]
                new += (end - start) * self._inner[at].claim(ranges, axis + 1)
            start = end
            at += 1
        return new

    def _cut(self, point: int) -> None:
        """Split the interval that has ``point`` inside, if one has."""
        at = bisect_right(self._starts, point) - 1
        if at >= 0 and self._starts[at] < point < self._stops[at]:
            self._insert(at + 1, point, self._stops[at], self._inner[at]._copy())
            self._stops[at] = point

    def _insert(self, at: int, start: int, stop: int, inner: _Segments) -> None:
        self._starts.insert(at, start)
        self._stops.insert(at, stop)
        self._inner.insert(at, inner)

    def _copy(self) -> _Segments:
        copy = _Segments()
        copy._starts = self._starts.copy()
        copy._stops = self._stops.copy()
        copy._inner = [inner._copy() for inner in self._inner]
        return copy


def numel(ranges: Ranges) -> int:
    """The number of elements of a slab."""
    total = 1
    for start, stop, step in ranges:
        total *= max(0, -(-(stop - start) // step))
    return total


def union_size(slabs: Sequence[Ranges]) -> int:
    """The number of elements in at least one of the slabs (all of one rank)."""
    return _union(list(dict.fromkeys(slabs)), 0)


def _union(slabs: Sequence[Ranges], axis: int) -> int:
    if len(slabs) < 2:
        return sum(numel(slab[axis:]) for slab in slabs)
    if axis == len(slabs[0]):
        return 1
    counts: dict[tuple[int, ...], int] = {}
    for members, count in _signatures([slab[axis] for slab in slabs]):
        counts[members] = counts.get(members, 0) + count
    return sum(count * _union([slabs[m] for m in ms], axis + 1) for ms, count in counts.items())


def _signatures(ranges: Sequence[Range]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Which ranges hold a coordinate, and how many coordinates are held by just those."""
    cuts = sorted({point for start, stop, _ in ranges for point in (start, stop)})
    for low, high in pairwise(cuts):
        active = [i for i, (start, stop, _) in enumerate(ranges) if start <= low and stop >= high]
        period = lcm(*(ranges[i][2] for i in active)) if active else 1
        for offset in range(min(period, high - low)):
            at = low + offset
            members = tuple([i for i in active if (at - ranges[i][0]) % ranges[i][2] == 0])
            yield members, -(-(high - at) // period)


def _common(a: Ranges, b: Ranges) -> Ranges | None:
    """The elements in both slabs, which are a slab again; None if there are none."""
    shared: list[Range] = []
    for one, other in zip(a, b, strict=True):
        both = _progression(*one, *other)
        if both is None:
            return None
        shared.append(both)
    return tuple(shared)


def _progression(s1: int, e1: int, p1: int, s2: int, e2: int, p2: int) -> Range | None:
    """The integers in both of two arithmetic progressions (Chinese remainder theorem)."""
    divisor = gcd(p1, p2)
    if (s2 - s1) % divisor:
        return None
    turns = (s2 - s1) // divisor * pow(p1 // divisor, -1, p2 // divisor)
    step = lcm(p1, p2)
    start = s1 + p1 * (turns % (p2 // divisor))
    low, stop = max(s1, s2), min(e1, e2)
    start += -(-(low - start) // step) * step
    return _normal(start, stop, step) if start < stop else None


def _normal(start: int, stop: int, step: int) -> Range:
    """The same range with its stop just after its last element, and step 1 if it has one."""
    count = -(-(stop - start) // step)
    if count <= 1:
        return start, start + max(0, count), 1
    return start, start + (count - 1) * step + 1, step
