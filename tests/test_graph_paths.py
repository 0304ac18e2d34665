"""Chains of dependence agree with brute force over every path of small random graphs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncost.graph.dim import ceil_div, evaluate, symbol
from rnncost.graph.paths import (
    cycles,
    gathered,
    larger,
    longest_chain,
    predecessors,
    reuse,
    spread,
)

Preds = list[tuple[int, ...]]


@st.composite
def dags(draw: st.DrawFn, most: int = 9) -> Preds:
    count = draw(st.integers(1, most))
    preds: Preds = []
    for index in range(count):
        chosen = draw(st.sets(st.integers(0, index - 1), max_size=3)) if index else set()
        preds.append(tuple(sorted(chosen)))
    return preds


def all_paths(preds: Preds) -> Iterator[list[int]]:
    """Every chain of dependence, as the operators on it in order."""

    def ending(index: int) -> Iterator[list[int]]:
        yield [index]
        for pred in preds[index]:
            for path in ending(pred):
                yield [*path, index]

    for index in range(len(preds)):
        yield from ending(index)


def depends(preds: Preds) -> list[set[int]]:
    """For each operator itself and all that it depends on."""
    result: list[set[int]] = []
    for index, before in enumerate(preds):
        result.append({index}.union(*(result[p] for p in before)))
    return result


def test_predecessors_follow_names() -> None:
    reads = [("x",), ("a", "w"), ("a", "b", "b"), ()]
    writes = [("a",), ("b", "c"), ("d",), ("e",)]
    preds = predecessors(reads, writes)
    assert [set(p) for p in preds] == [set(), {0}, {0, 1}, set()]


@given(dags(), st.data())
def test_longest_chain_is_the_heaviest_path(preds: Preds, data: st.DataObject) -> None:
    weights = data.draw(st.dictionaries(st.integers(0, len(preds) - 1), st.integers(1, 9)))
    heaviest = max((sum(weights.get(i, 0) for i in path) for path in all_paths(preds)), default=0)
    assert longest_chain(preds, weights) == heaviest


@given(dags(), st.data())
def test_a_region_adds_one_whenever_a_chain_enters_it(preds: Preds, data: st.DataObject) -> None:
    inside = st.tuples(st.integers(0, 1), st.integers(1, 3))
    regions = data.draw(st.dictionaries(st.integers(0, len(preds) - 1), inside))
    weights = data.draw(st.dictionaries(st.integers(0, len(preds) - 1), st.integers(1, 9)))

    def length(path: list[int]) -> int:
        total = sum(weights.get(i, 0) for i in path)
        before = None
        for index in path:
            here = regions.get(index)
            total += here is not None and here != before
            before = here
        return total

    assert longest_chain(preds, weights, regions) == max(map(length, all_paths(preds)))


@given(dags(), st.data())
def test_masks_are_unions_over_dependence(preds: Preds, data: st.DataObject) -> None:
    own = data.draw(st.lists(st.integers(0, 7), min_size=len(preds), max_size=len(preds)))
    back = depends(preds)
    for index, (mask, after) in enumerate(
        zip(gathered(preds, own), spread(preds, own), strict=True)
    ):
        expected = 0
        for other in back[index]:
            expected |= own[other]
        assert mask == expected
        expected = 0
        for other in range(len(preds)):
            if index in back[other]:
                expected |= own[other]
        assert after == expected


@given(dags(), st.data())
def test_reuse_finds_the_keys_that_lie_before_themselves(preds: Preds, data: st.DataObject) -> None:
    key = st.one_of(st.none(), st.integers(0, 3))
    keys = data.draw(st.lists(key, min_size=len(preds), max_size=len(preds)))
    back = depends(preds)

    def precedes(a: int, b: int) -> bool:
        uses = [i for i, k in enumerate(keys) if k == b]
        return any(j != i and keys[j] == a for i in uses for j in back[i])

    found = {c.key: c for c in reuse(preds, keys).chained}
    used = {k for k in keys if k is not None}
    assert set(found) == {k for k in used if precedes(k, k)}
    for a, chained in found.items():
        assert chained.uses == tuple(i for i, k in enumerate(keys) if k == a)
        uses_on = [sum(keys[i] == a for i in path) for path in all_paths(preds)]
        assert chained.length == max(uses_on)
        for b, other in found.items():
            if precedes(a, b) and precedes(b, a):
                assert chained.group == other.group


@given(dags(), st.data())
def test_regions_count_the_uses_so_far(preds: Preds, data: st.DataObject) -> None:
    """With one key the step of an operator is the number of uses on the chain up to it."""
    key = st.one_of(st.none(), st.just(0))
    keys = data.draw(st.lists(key, min_size=len(preds), max_size=len(preds)))
    found = reuse(preds, keys)
    back = depends(preds)
    expected = {}
    if found.chained:
        uses = {i for i, k in enumerate(keys) if k == 0}
        for index in range(len(preds)):
            if back[index] & uses and any(index in back[use] for use in uses):
                chains = (p for p in all_paths(preds) if p[-1] == index)
                expected[index] = (0, max(sum(i in uses for i in p) for p in chains))
    assert dict(found.regions) == expected


@st.composite
def bodies(draw: st.DrawFn) -> tuple[list[list[str]], list[list[str]], list[tuple[str, str]]]:
    """A loop body: the names that each operator reads and writes, and the carried values."""
    entries = [f"e{k}" for k in range(draw(st.integers(1, 3)))]
    count = draw(st.integers(1, 6))
    names = list(entries)
    reads, writes = [], []
    for index in range(count):
        reads.append(draw(st.lists(st.sampled_from(names), max_size=2, unique=True)))
        writes.append([f"t{index}"])
        names.append(f"t{index}")
    exits = [draw(st.sampled_from(names)) for _ in entries]
    return reads, writes, list(zip(entries, exits, strict=True))


@given(bodies())
def test_cycles_are_what_later_trips_wait_for(
    body: tuple[list[list[str]], list[list[str]], list[tuple[str, str]]],
) -> None:
    """An operator is on a cycle if, unrolled, one of its later runs depends on its first."""
    reads, writes, carried = body
    count, trips = len(reads), len(carried) + 2
    current = {entry: f"{entry}@0" for entry, _ in carried}
    flat_reads, flat_writes = [], []
    for trip in range(trips):
        for names, results in zip(reads, writes, strict=True):
            flat_reads.append([current.get(name, f"{name}@{trip}") for name in names])
            flat_writes.append([f"{name}@{trip}" for name in results])
        current = {entry: current.get(leave, f"{leave}@{trip}") for entry, leave in carried}
    back = depends(predecessors(flat_reads, flat_writes))
    expected = [any(i in back[t * count + i] for t in range(1, trips)) for i in range(count)]
    masks = cycles(predecessors(reads, writes), reads, writes, carried)
    assert [mask != 0 for mask in masks] == expected


def test_cycles_name_the_values_on_them() -> None:
    # h -> h', n -> n + 1, and y only collects h.
    reads = [["h", "x"], ["n"], ["y", "h2"]]
    writes = [["h2"], ["n2"], ["y2"]]
    masks = cycles(
        predecessors(reads, writes), reads, writes, [("h", "h2"), ("n", "n2"), ("y", "y2")]
    )
    assert masks == [0b001, 0b010, 0b100]


def test_a_shift_register_shares_the_cycle() -> None:
    """h(t) from h(t-2): the value in between is on the cycle, though no operator makes it."""
    masks = cycles([()], [["older"]], [["new"]], [("old", "new"), ("older", "old")])
    assert masks == [0b11]


SEQ, BATCH = symbol("seq", 50), symbol("batch", 2)


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (3, 5, "5"),
        (0, SEQ, "seq"),
        (2 * SEQ, SEQ, "2*seq"),
        (1, SEQ, "seq"),
        (SEQ + 2, SEQ * BATCH + 1, "max(batch*seq + 1, seq + 2)"),
    ],
)
def test_larger_keeps_max_only_where_dimensions_decide(a: object, b: object, text: str) -> None:
    assert str(larger(a, b)) == text  # type: ignore[arg-type]
    assert str(larger(b, a)) == text  # type: ignore[arg-type]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(-3, 3), st.integers(-3, 3))
def test_larger_is_the_larger(seq: int, batch: int, a: int, b: int) -> None:
    bound = {"seq": seq, "batch": batch}
    one, other = (a + 3) * SEQ + 3 + b, BATCH * (b + 3) + SEQ
    expected = max(evaluate(one, bound), evaluate(other, bound))
    assert evaluate(larger(one, other), bound) == expected


@given(st.integers(1, 60), st.integers(2, 5), st.integers(2, 5), st.integers(0, 9))
def test_larger_of_rounded_parts_is_the_larger(seq: int, part: int, other: int, more: int) -> None:
    """Rounding up is written with a negative quotient: ceil(n/2) is -((-n) // 2)."""
    up, down = ceil_div(SEQ, part), (SEQ + more) // other
    for a, b in ((up, down), (up, SEQ - up), (up, SEQ + more), (SEQ - up, down + more)):
        expected = max(evaluate(a, {"seq": seq}), evaluate(b, {"seq": seq}))
        assert evaluate(larger(a, b), {"seq": seq}) == expected


def test_larger_does_not_nest_without_end() -> None:
    value = SEQ // 3
    for step in range(40):
        value = larger(value + SEQ // (step + 2), BATCH * step + value // 7)
    assert len(str(value)) < 10_000
