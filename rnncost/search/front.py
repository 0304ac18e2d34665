"""What is kept of a space as it streams by: the best designs, and those that none beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

MOST_ON_FRONT = 5_000
_PROBES = 64
_CHUNK = 512


class Best:
    """The first designs by some columns, smaller being better, then by number."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.numbers: Numbers = np.empty(0, np.int64)
        self._points: Floats | None = None

    def add(self, numbers: Numbers, points: Floats) -> None:
        """Take in more designs; ``points`` is [designs, columns]."""
        if self._points is not None:
            if len(self.numbers) == self._most:
                near = points[:, 0] <= self._points[-1, 0]
                numbers, points = numbers[near], points[near]
            numbers = np.concatenate((self.numbers, numbers))
            points = np.concatenate((self._points, points))
        order = np.lexsort((numbers, *points.T[::-1]))[: self._most]
        self.numbers, self._points = numbers[order], points[order]


class Front:
    """The designs that no other one beats: as good in every column, and better in one.

    It is given up where it grows beyond ``MOST_ON_FRONT``.
    """

    def __init__(self) -> None:
        self.numbers: Numbers = np.empty(0, np.int64)
        self.given_up = False
        self._points: Floats | None = None

    def add(self, numbers: Numbers, points: Floats) -> None:
        """Take in more designs; ``points`` is [designs, columns], smaller being better."""
        if self.given_up or not len(numbers):
            return
        for beaters in () if self._points is None else (self._points[:: self._step], self._points):
            left = _unbeaten_by(beaters, points)
            numbers, points = numbers[left], points[left]
        new = unbeaten(points)
        numbers, points = numbers[new], points[new]
        if self._points is not None and len(new):
            old = _unbeaten_by(points, self._points)
            numbers = np.concatenate((self.numbers[old], numbers))
            points = np.concatenate((self._points[old], points))
        elif self._points is not None:
            return
        self.numbers, self._points = numbers, points
        if len(numbers) > MOST_ON_FRONT:
            self.given_up = True
            self.numbers, self._points = self.numbers[:0], None

    @property
    def _step(self) -> int:
        """Between points that are tried first, as most designs are beaten by one of a few."""
        return max(1, len(self.numbers) // _PROBES)


def unbeaten(points: Floats) -> Numbers:
    """The places of the points that no other one beats, in the order of their columns.

    Equal points do not beat each other. ``points`` is [points, columns], smaller being better.
    """
    order = np.lexsort(points.T[::-1])
    ordered = points[order]
    if points.shape[1] <= 2:
        return order[_unbeaten_in_order(ordered)]
    # A point comes before those that it beats, so that one pass over the points is enough.
    kept: list[int] = []
    for start in range(0, len(ordered), _CHUNK):
        chunk = ordered[start : start + _CHUNK]
        places = (
            np.flatnonzero(_unbeaten_by(ordered[kept], chunk)) if kept else np.arange(len(chunk))
        )
        inside = places[_unbeaten_by(chunk[places], chunk[places])]
        kept += (inside + start).tolist()
    return order[kept]


def _unbeaten_in_order(ordered: Floats) -> NDArray[np.bool_]:
    """For points of one or two columns in order: which have a smaller last value than all before,
    or are equal to one that has."""
    last = ordered[:, -1]
    lowest = np.minimum.accumulate(last)
    new = np.ones(len(ordered), np.bool_)
    new[1:] = last[1:] < lowest[:-1]
    same = np.zeros(len(ordered), np.bool_)
    same[1:] = np.all(ordered[1:] == ordered[:-1], axis=1)
    result: NDArray[np.bool_] = new[~same][np.cumsum(~same) - 1]
    return result


def _unbeaten_by(beaters: Floats, points: Floats) -> NDArray[np.bool_]:
    """Which points none of the beaters beats."""
    result = np.ones(len(points), np.bool_)
    for start in range(0, len(beaters), _CHUNK):
        some = beaters[start : start + _CHUNK]
        as_good = np.ones((len(some), len(points)), np.bool_)
        better = np.zeros_like(as_good)
        for column in range(points.shape[1]):
            one, other = some[:, column, None], points[None, :, column]
            as_good &= one <= other
            better |= one < other
        result &= ~(as_good & better).any(axis=0)
    return result


def points_of(
    columns: Mapping[str, NDArray[np.float64]], most: str, least: Sequence[str]
) -> Floats:
    """Columns to minimise: one that is to be large, then others."""
    return np.stack([-columns[most], *(columns[name] for name in least)], axis=1)
