"""Which operators of two reports do the same work: by name, by structure, by sums."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from rnncost.difference.alignment import Pair, aligned, gaps, in_turn, longest_chain
from rnncost.difference.regrouping import Match, summed, unrolled, works
from rnncost.report.model import OpRow

_OF_THE_INPUT = ("T", "B")
"""The letters of a recurrent operator that its weights do not fix."""


def match(base: Sequence[OpRow], head: Sequence[OpRow]) -> list[Match]:
    """Put each operator of both sides into one match, from the surest evidence to the weakest.

    1. All operators have the same structure in the same order: by position.
    2. Same name and same structure.
    3. Same name, or same structure in the same place: by name, unless to read the names as
       moved matches no fewer operators, and at least two of them without a change.
    4. Same structure elsewhere, if there are weights or MACs.
    5. Same parts and sums: an operator that runs several times and several that run once; an
       operator and a run of others with the same params, MACs and elementwise work.
    6. In the same place, the same work with other weights, or the same weights with other work.
    7. An operator and a run of others with the same params and MACs.

    "In the same place" is between the same two neighbours that are matched already. Operators
    that only move data come last, by 2, 3 and the first half of 5. What is left has an empty
    side; no name is left on both sides. Swapping base and head swaps the sides of every match.
    """
    # A tie may fall either way, but must fall the same way when the sides are swapped.
    if _ordering(base) > _ordering(head):
        return [Match(base=m.head, head=m.base) for m in _match(head, base)]
    return _match(base, head)


def structure(op: OpRow) -> tuple[Any, ...]:
    """What two operators must have in common to be the same but for the name.

    Operators that compute nothing and store nothing are told apart by what they move.
    """
    work = (op.params, op.macs, op.elementwise_ops)
    moved = 0 if works(op) else op.streamed_bytes
    return (op.op_type, _sorted(op.dims), _sorted(op.extents), *work, moved)


def _match(base: Sequence[OpRow], head: Sequence[OpRow]) -> list[Match]:
    if [*map(structure, base)] == [*map(structure, head)]:
        return [Match(base=(n,), head=(n,)) for n in range(len(base))]
    rows = _Rows(base, head)
    # What only moves data looks alike everywhere: it must not tell where the others are.
    rows.consider(works)
    _by_name_and_structure(rows)
    rows.pair(rows.by_key(_portable))
    rows.group(unrolled)
    rows.group_in_place(lambda op: (op.params, op.macs, op.elementwise_ops))
    rows.pair(rows.in_place(_same_work))
    rows.pair(rows.in_place(_same_weights))
    rows.group_in_place(lambda op: (op.params, op.macs))
    rows.consider(lambda op: not works(op))
    _by_name_and_structure(rows)
    rows.group(unrolled)
    rows.pair(rows.by_key(lambda op: op.name))
    return rows.matches()


def _by_name_and_structure(rows: _Rows) -> None:
    rows.pair(rows.by_key(lambda op: (op.name, structure(op))))
    named = rows.by_key(lambda op: (op.name, op.op_type))
    named += rows.by_key(lambda op: op.name, without=named)
    rows.pair(_decided(named, rows.in_place(structure)))


class _Rows:
    """Both sides: which rows are considered, and what is matched so far."""

    def __init__(self, base: Sequence[OpRow], head: Sequence[OpRow]) -> None:
        self._base, self._head = base, head
        self._left: list[int] = []
        self._right: list[int] = []
        self._found: list[Match] = []

    def consider(self, which: Callable[[OpRow], bool]) -> None:
        """Let these rows be matched from now on, beside those that still are not."""
        self._left = sorted([*self._left, *(n for n, op in enumerate(self._base) if which(op))])
        self._right = sorted([*self._right, *(n for n, op in enumerate(self._head) if which(op))])

    def by_key(self, key: Callable[[OpRow], Hashable], without: Iterable[Pair] = ()) -> list[Pair]:
        """Pairs with the same key, in turn where several have it; None is no key."""
        left, right, lefts, rights = self._keyed(key)
        here, there = {a for a, _ in without}, {b for _, b in without}
        shared = in_turn(
            [n for n in left if n not in here], [n for n in right if n not in there], lefts, rights
        )
        return [pair for a, b in shared for pair in zip(a, b, strict=False)]

    def in_place(self, key: Callable[[OpRow], Hashable]) -> list[Pair]:
        """Pairs with the same key between the same neighbours."""
        left, right, lefts, rights = self._keyed(key)
        return [
            pair
            for here, there in gaps(left, right, self._chain())
            for pair in aligned(here, there, lefts, rights)
        ]

    def pair(self, pairs: Iterable[Pair]) -> None:
        self._take(Match(base=(a,), head=(b,)) for a, b in pairs)

    def group(self, find: Callable[..., list[Match]]) -> None:
        self._take(find(self._base, self._head, self._left, self._right))

    def group_in_place(self, measure: Callable[[OpRow], tuple[int, ...]]) -> None:
        """Groups whose sums agree, between the same neighbours; first one to many."""
        for flipped in (False, True):
            chain = self._chain()
            for here, there in gaps(self._left, self._right, chain):
                self._take(summed(self._base, self._head, here, there, measure, flipped))

    def matches(self) -> list[Match]:
        return [
            *self._found,
            *(Match(base=(n,), head=()) for n in self._left),
            *(Match(base=(), head=(n,)) for n in self._right),
        ]

    def _take(self, found: Iterable[Match]) -> None:
        new = list(found)
        here, there = {n for m in new for n in m.base}, {n for m in new for n in m.head}
        self._left = [n for n in self._left if n not in here]
        self._right = [n for n in self._right if n not in there]
        self._found += new

    def _chain(self) -> list[Pair]:
        return longest_chain((m.base[0], m.head[0]) for m in self._found)

    def _keyed(
        self, key: Callable[[OpRow], Hashable]
    ) -> tuple[list[int], list[int], dict[int, Hashable], dict[int, Hashable]]:
        lefts = {n: k for n in self._left if (k := key(self._base[n])) is not None}
        rights = {n: k for n in self._right if (k := key(self._head[n])) is not None}
        return [*lefts], [*rights], lefts, rights


def _decided(named: list[Pair], alike: list[Pair]) -> list[Pair]:
    """Between two readings, by name and by structure, for each chain of rows that they share.

    Names that a generator numbers (Relu_1, Relu_2) shift by one when an operator is put in:
    then the reading by structure has as many pairs, all without a change.
    """
    return [
        pair
        for by_name, by_structure in _chains(named, alike)
        for pair in (
            by_structure if not by_name or len(by_structure) >= max(2, len(by_name)) else by_name
        )
    ]


def _chains(named: list[Pair], alike: list[Pair]) -> Iterator[tuple[list[Pair], list[Pair]]]:
    """Pairs that share rows: each row has one pair of a kind at most, so they form chains."""
    links = [*((0, pair) for pair in named), *((1, pair) for pair in alike)]
    touching: dict[tuple[int, int], list[int]] = {}
    for number, (_, pair) in enumerate(links):
        for row in enumerate(pair):
            touching.setdefault(row, []).append(number)
    seen: set[int] = set()
    for start in range(len(links)):
        kinds: tuple[list[Pair], list[Pair]] = ([], [])
        todo = [start]
        while todo:
            number = todo.pop()
            if number not in seen:
                seen.add(number)
                kind, pair = links[number]
                kinds[kind].append(pair)
                todo += [other for row in enumerate(pair) for other in touching[row]]
        if any(kinds):
            yield kinds


def _ordering(ops: Sequence[OpRow]) -> list[tuple[str, tuple[Any, ...]]]:
    return [(op.name, structure(op)) for op in ops]


def _portable(op: OpRow) -> Hashable:
    """Enough to know an operator again in another place."""
    return structure(op) if op.params or op.macs else None


def _same_work(op: OpRow) -> Hashable:
    if not (op.macs or op.elementwise_ops):
        return None
    return (op.op_type, _sorted(op.dims), _sorted(op.extents), op.macs, op.elementwise_ops)


def _same_weights(op: OpRow) -> Hashable:
    if not op.params:
        return None
    dims = {letter: n for letter, n in op.dims.items() if letter not in _OF_THE_INPUT}
    return (op.op_type, op.params, _sorted(dims))


def _sorted(letters: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(letters.items()))
