"""Which items of two sequences belong together, by key and in order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

Pair = tuple[int, int]
Keys = Mapping[int, Hashable]
Gap = tuple[list[int], list[int]]


def aligned(left: Sequence[int], right: Sequence[int], lefts: Keys, rights: Keys) -> list[Pair]:
    """Pair items with equal keys so that no two pairs cross: patience alignment.

    Keys that are equally often on both sides are anchors, the longest increasing chain of
    which is kept; the parts between two anchors are aligned in the same way. (B. Cohen's
    patience diff, with repeated keys taken in order instead of left out.) For n items this
    takes about n·log(n), where the longest common subsequence takes n².

    Args:
        left: numbers of the items on one side, in order.
        right: those on the other side.
        lefts: the key of each item of ``left``.
        rights: the key of each item of ``right``.
    """
    pairs: list[Pair] = []
    todo: list[Gap] = [(list(left), list(right))]
    while todo:
        here, there = todo.pop()
        start, end = _ends_alike([lefts[item] for item in here], [rights[item] for item in there])
        pairs += zip(here[:start], there[:start], strict=True)
        pairs += zip(here[len(here) - end :], there[len(there) - end :], strict=True)
        here, there = here[start : len(here) - end], there[start : len(there) - end]
        chain = longest_chain(_anchors(here, there, lefts, rights))
        pairs += chain
        if chain:
            todo += gaps(here, there, chain)
    return sorted(pairs)


def longest_chain(pairs: Iterable[Pair]) -> list[Pair]:
    """The most pairs of which no two cross, in order (the longest increasing subsequence)."""
    ordered = sorted(pairs)
    tails: list[int] = []  # the least right number that a chain of each length ends with
    ends: list[int] = []  # the place in `ordered` of the pair that it ends with
    before: list[int | None] = []
    for place, (_, right) in enumerate(ordered):
        length = bisect_left(tails, right)
        before.append(ends[length - 1] if length else None)
        tails[length : length + 1] = [right]
        ends[length : length + 1] = [place]
    chain = []
    at = ends[-1] if ends else None
    while at is not None:
        chain.append(ordered[at])
        at = before[at]
    return chain[::-1]


def gaps(left: Sequence[int], right: Sequence[int], chain: Sequence[Pair]) -> Iterator[Gap]:
    """The items before, between and after the pairs of a chain, where both sides have some."""
    bounds = [*chain, (max(left, default=0) + 1, max(right, default=0) + 1)]
    here = there = 0
    for left_bound, right_bound in bounds:
        here_end = bisect_left(left, left_bound, here)
        there_end = bisect_left(right, right_bound, there)
        if here_end > here and there_end > there:
            yield list(left[here:here_end]), list(right[there:there_end])
        here = here_end + (here_end < len(left) and left[here_end] == left_bound)
        there = there_end + (there_end < len(right) and right[there_end] == right_bound)


def in_turn(
    left: Sequence[int], right: Sequence[int], lefts: Keys, rights: Keys
) -> list[tuple[list[int], list[int]]]:
    """The items of each key that both sides have, in order of its first on the left."""
    here, there = _by_key(left, lefts), _by_key(right, rights)
    return [(items, there[key]) for key, items in here.items() if key in there]


def _anchors(here: list[int], there: list[int], lefts: Keys, rights: Keys) -> list[Pair]:
    shared = in_turn(here, there, lefts, rights)
    alike = [(a, b) for a, b in shared if len(a) == len(b)]
    return [pair for a, b in alike or shared for pair in zip(a, b, strict=False)]


def _by_key(items: Sequence[int], keys: Keys) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = {}
    for item in items:
        found.setdefault(keys[item], []).append(item)
    return found


def _ends_alike(left: Sequence[Hashable], right: Sequence[Hashable]) -> tuple[int, int]:
    """How many keys the two sequences begin with in common, and then how many they end with."""
    most = min(len(left), len(right))
    start = next((n for n in range(most) if left[n] != right[n]), most)
    most -= start
    end = next((n for n in range(most) if left[-1 - n] != right[-1 - n]), most)
    return start, end
