"""Alignment in order: pairs have equal keys, never cross, and are as many as they can be."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rnncost.difference.alignment import Pair, aligned, gaps, longest_chain

KEYS = st.lists(st.sampled_from("abcd"), max_size=12)


def align(left: str | list[str], right: str | list[str]) -> list[Pair]:
    here, there = dict(enumerate(left)), dict(enumerate(right))
    return aligned([*here], [*there], here, there)


def common(left: list[str], right: list[str]) -> int:
    """The length of the longest common subsequence, from its textbook recurrence."""
    row = [0] * (len(right) + 1)
    for a in left:
        before = row
        row = [0]
        for n, b in enumerate(right):
            row.append(before[n] + 1 if a == b else max(before[n + 1], row[n]))
    return row[-1]


def in_order(pairs: list[Pair]) -> bool:
    return all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))


@given(KEYS, KEYS)
def test_pairs_have_equal_keys_and_never_cross(left: list[str], right: list[str]) -> None:
    pairs = align(left, right)
    assert in_order(pairs)
    assert all(left[a] == right[b] for a, b in pairs)
    assert len(pairs) <= common(left, right)
    assert bool(pairs) == bool(set(left) & set(right))


@given(st.permutations(range(9)), st.sets(st.integers(0, 8)))
def test_keys_of_their_own_are_aligned_as_well_as_can_be(
    order: list[int], dropped: set[int]
) -> None:
    left = [str(n) for n in range(9)]
    right = [str(n) for n in order if n not in dropped]
    assert len(align(left, right)) == common(left, right)


def test_rare_keys_and_equal_ends_go_first() -> None:
    assert align("ab", "babc") == [(0, 1), (1, 2)]
    assert align("ab", "baab") == [(0, 2), (1, 3)]


@given(KEYS, KEYS, KEYS)
def test_what_is_put_in_leaves_the_rest_aligned(
    start: list[str], end: list[str], new: list[str]
) -> None:
    assert len(align(start + end, start + [f"new {key}" for key in new] + end)) == len(start + end)
    assert align(start, start) == [(n, n) for n in range(len(start))]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=10))
def test_the_longest_chain(pairs: list[Pair]) -> None:
    unique = [(a, b) for b, a in {b: a for a, b in dict(pairs).items()}.items()]
    chain = longest_chain(unique)
    assert in_order(chain)
    assert set(chain) <= set(unique)
    lengths: dict[Pair, int] = {}
    for a, b in sorted(unique):
        lengths[a, b] = 1 + max((n for (c, d), n in lengths.items() if c < a and d < b), default=0)
    assert len(chain) == max(lengths.values(), default=0)


def test_gaps_lie_between_the_pairs_of_a_chain() -> None:
    assert list(gaps([0, 2, 3, 7], [1, 4, 5], [(1, 3), (3, 4)])) == [([0], [1]), ([7], [5])]
    assert list(gaps([0, 1], [0], [])) == [([0, 1], [0])]
    assert list(gaps([], [0], [])) == []


def test_thousands_of_operators_are_aligned_at_once() -> None:
    start = time.process_time()
    many = ["a", "b"] * 3000
    assert len(align(many, many[1:])) == len(many) - 1
    assert len(align(["a"] * 5000, ["a"] * 4000)) == 4000
    assert len(align([str(n) for n in range(5000)], [str(-n) for n in range(5000)])) == 1
    assert time.process_time() - start < 2
