"""Counting distinct elements of slabs agrees with a boolean mask in NumPy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rnncost.counting.slabs import Ranges, Region, numel, union_size


@st.composite
def slabs(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Ranges]]:
    shape = tuple(draw(st.lists(st.integers(1, 9), max_size=3)))
    steps = st.integers(1, 4) if draw(st.booleans()) else st.just(1)
    result: list[Ranges] = []
    for _ in range(draw(st.integers(1, 7))):
        ranges = []
        for extent in shape:
            start, stop = sorted((draw(st.integers(0, extent)), draw(st.integers(0, extent))))
            ranges.append((start, stop, draw(steps)))
        result.append(tuple(ranges))
    return shape, result


@given(slabs())
def test_each_claim_is_what_is_new(case: tuple[tuple[int, ...], list[Ranges]]) -> None:
    shape, claims = case
    mask = np.zeros(shape, dtype=bool)
    region = Region()
    for ranges in claims:
        before = int(mask.sum())
        mask[tuple(slice(*r) for r in ranges)] = True
        assert region.claim(ranges) == mask.sum() - before


@given(slabs())
def test_union_size(case: tuple[tuple[int, ...], list[Ranges]]) -> None:
    shape, claims = case
    mask = np.zeros(shape, dtype=bool)
    filled = [ranges for ranges in claims if numel(ranges)]
    for ranges in filled:
        mask[tuple(slice(*r) for r in ranges)] = True
    assert union_size(filled) == mask.sum()


@given(slabs())
def test_numel(case: tuple[tuple[int, ...], list[Ranges]]) -> None:
    shape, claims = case
    for ranges in claims:
        assert numel(ranges) == np.zeros(shape)[tuple(slice(*r) for r in ranges)].size


def test_size_of_the_tensor_does_not_matter() -> None:
    half = 10**9
    region = Region()
    assert region.claim(((0, 2 * half, 2), (0, half, 1))) == half * half
    assert region.claim(((1, 2 * half, 2), (0, half, 1))) == half * half
    assert region.claim(((0, 2 * half, 1), (0, half, 1))) == 0


def test_thousands_of_slices_of_one_tensor() -> None:
    region = Region()
    parts = [((t, t + 1, 1), (4 * g, 4 * g + 4, 1)) for t in range(2000) for g in range(4)]
    assert sum(region.claim(ranges) for ranges in parts) == 2000 * 16
    assert region.claim(((0, 2000, 1), (0, 20, 1))) == 2000 * 4
