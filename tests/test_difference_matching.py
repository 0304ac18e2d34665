"""Operators are matched by name, by structure and by sums, each once, alike both ways."""

from __future__ import annotations

import time
from typing import Any

import pytest
from difference_samples import MODELS, add, changed, gemm, move
from hypothesis import given
from hypothesis import strategies as st
from report_samples import lstm, matmul, relu

from rnncost.difference.matching import match, structure
from rnncost.report.model import OpRow


def pairs(base: list[OpRow], head: list[OpRow]) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    return {
        (tuple(base[n].name for n in m.base), tuple(head[n].name for n in m.head))
        for m in match(base, head)
    }


@given(MODELS, MODELS)
def test_each_operator_is_in_one_match_and_sides_can_be_swapped(
    base: list[OpRow], head: list[OpRow]
) -> None:
    found = match(base, head)
    assert sorted(n for m in found for n in m.base) == [*range(len(base))]
    assert sorted(n for m in found for n in m.head) == [*range(len(head))]
    assert all(m.base or m.head for m in found)
    assert {(m.head, m.base) for m in match(head, base)} == {(m.base, m.head) for m in found}


@given(MODELS, MODELS)
def test_groups_agree_in_params_and_macs(base: list[OpRow], head: list[OpRow]) -> None:
    for found in match(base, head):
        if found.base and found.head and len(found.base) + len(found.head) > 2:
            for metric in ("params", "macs"):
                ours = sum(getattr(base[n], metric) for n in found.base)
                theirs = sum(getattr(head[n], metric) for n in found.head)
                assert ours == theirs


@given(MODELS, MODELS)
def test_one_name_is_never_both_added_and_removed(base: list[OpRow], head: list[OpRow]) -> None:
    found = match(base, head)
    left = {base[n].name for m in found if not m.head for n in m.base}
    new = {head[n].name for m in found if not m.base for n in m.head}
    assert not left & new


@given(MODELS, st.randoms())
def test_permuted_and_new_names_are_seen_through(ops: list[OpRow], random: Any) -> None:
    names = [op.name for op in ops]
    random.shuffle(names)
    for others in (names, [f"other {n}" for n in range(len(ops))]):
        renamed = [changed(op, name=name) for op, name in zip(ops, others, strict=True)]
        assert {(m.base, m.head) for m in match(ops, renamed)} == {
            ((n,), (n,)) for n in range(len(ops))
        }


@given(MODELS, st.integers(0, 12))
def test_one_operator_put_in_is_the_only_one_added(ops: list[OpRow], place: int) -> None:
    renamed = [changed(op, name=f"other {n}") for n, op in enumerate(ops)]
    renamed.insert(place, lstm("new", i=7, h=9))
    found = match(ops, renamed)
    assert [renamed[n].name for m in found if not m.base for n in m.head] == ["new"]
    assert all(structure(ops[m.base[0]]) == structure(renamed[m.head[0]]) for m in found if m.base)


def test_a_name_stays_with_an_operator_that_changes() -> None:
    base = [lstm("enc", i=4, h=8), lstm("dec", i=8, h=6), matmul("out", 1, 6, 2)]
    head = [lstm("enc", i=4, h=6), lstm("dec", i=6, h=8), matmul("out", 1, 8, 2)]
    assert pairs(base, head) == {((name,), (name,)) for name in ("enc", "dec", "out")}
    swapped = [lstm("enc", i=8, h=6), lstm("dec", i=4, h=8), base[2]]
    assert pairs(base, swapped) == {((name,), (name,)) for name in ("enc", "dec", "out")}


def test_another_cell_of_the_same_name_is_the_same_operator() -> None:
    other = changed(lstm("rnn", i=4, h=8), op_type="GRU", macs=1)
    assert pairs([lstm("rnn", i=4, h=8)], [other]) == {(("rnn",), ("rnn",))}


def test_numbered_names_that_shift_are_read_by_structure() -> None:
    """An exporter numbers the operators of a type: one more at the front shifts the others."""
    sizes = [40, 30, 20, 10]
    base = [relu(f"Relu_{n}", size) for n, size in enumerate(sizes)]
    head = [relu(f"Relu_{n}", size) for n, size in enumerate([50, *sizes])]
    assert pairs(base, head) == {
        *(((f"Relu_{n}",), (f"Relu_{n + 1}",)) for n in range(4)),
        ((), ("Relu_0",)),
    }
    # One that fits another's new size by chance is not enough to give its name away.
    assert pairs(base[:1], [relu("Relu_0", 20), relu("Relu_1", 40)]) == {
        (("Relu_0",), ("Relu_0",)),
        ((), ("Relu_1",)),
    }


def test_names_that_several_operators_have() -> None:
    base = [relu("x", 3), lstm("x", i=2, h=2), relu("x", 5), move("x")]
    head = [lstm("x", i=2, h=2), relu("x", 5), move("x"), relu("x", 7)]
    found = {(m.base, m.head) for m in match(base, head)}
    assert found == {((0,), (3,)), ((1,), (0,)), ((2,), (1,)), ((3,), (2,))}


def test_a_name_that_two_readings_by_structure_leave_over() -> None:
    """One row named "a" on each side loses its partner to names that moved."""
    sizes = zip("abcad", (1, 2, 3, 4, 5), strict=True), zip("abade", (2, 3, 6, 4, 5), strict=True)
    base, head = ([move(name, size) for name, size in side] for side in sizes)
    found = {(m.base, m.head) for m in match(base, head)}
    assert found == {((0,), (2,)), ((1,), (0,)), ((2,), (1,)), ((3,), (3,)), ((4,), (4,))}


def test_a_product_and_its_bias_are_one_operator_or_two() -> None:
    base = [lstm("lstm.l0", i=2, h=4), gemm("head", 5, 4, 3), relu("act", 15)]
    head = [
        lstm("/lstm/LSTM", i=2, h=4),
        matmul("/head/MatMul", 5, 4, 3),
        move("/head/Reshape"),
        add("/head/Add", 3, 5),
        relu("/Relu", 15),
    ]
    expected = {
        (("lstm.l0",), ("/lstm/LSTM",)),
        (("head",), ("/head/MatMul", "/head/Add")),
        (("act",), ("/Relu",)),
        ((), ("/head/Reshape",)),
    }
    assert pairs(base, head) == expected
    assert pairs(head, base) == {(b, a) for a, b in expected}


def test_sums_do_not_reach_across_a_matched_operator() -> None:
    base = [gemm("head", 5, 4, 3), lstm("lstm", i=2, h=4)]
    head = [matmul("/MatMul", 5, 4, 3), lstm("/LSTM", i=2, h=4), add("/Add", 3, 5)]
    assert (("head",), ("/MatMul", "/Add")) not in pairs(base, head)
    assert (("lstm",), ("/LSTM",)) in pairs(base, head)


def test_a_cell_that_is_called_at_each_step_and_its_unrolled_export() -> None:
    steps, one = 3, gemm("", 2, 4, 3)
    called = changed(
        one,
        name="cell",
        executions=steps,
        macs=steps * one.macs,
        elementwise_ops=steps * one.elementwise_ops,
    )
    unrolled = [changed(one, name="/cell/Gemm")]
    unrolled += [changed(one, name=f"/cell_{n}/Gemm", params=0) for n in range(1, steps)]
    head = [op for step in unrolled for op in (step, relu(f"{step.name}/act", 9))]
    found = pairs([called, lstm("x", i=1, h=1)], [*head, lstm("y", i=1, h=1)])
    assert (("cell",), ("/cell/Gemm", "/cell_1/Gemm", "/cell_2/Gemm")) in found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # weights that an exporter stores once for two operators
        (add("norm", 4, 5), changed(add("/norm/Add", 4, 5), params=0)),
        # the same layer over more steps
        (lstm("rnn", i=4, h=8, t=10), lstm("/rnn/LSTM", i=4, h=8, t=20)),
    ],
)
def test_other_weights_or_other_work_in_the_same_place(one: OpRow, other: OpRow) -> None:
    first, last = matmul("first", 5, 2, 2), matmul("last", 5, 3, 3)
    ends = [changed(first, name="a"), changed(last, name="b")]
    found = pairs([first, one, last], [ends[0], other, ends[1]])
    assert ((one.name,), (other.name,)) in found
    assert ((), (other.name,)) in pairs([one, first, last], [*ends, other])


def test_weights_are_known_again_in_another_place_but_mere_work_is_not() -> None:
    cell, act = lstm("lstm", i=4, h=8), relu("act", 9)
    rest = [matmul("first", 5, 2, 2), matmul("last", 5, 3, 3)]
    later = [*rest, changed(cell, name="late lstm"), changed(act, name="late act")]
    assert pairs([cell, act, *rest], later) == {
        (("lstm",), ("late lstm",)),
        (("first",), ("first",)),
        (("last",), ("last",)),
        (("act",), ()),
        ((), ("late act",)),
    }


def test_what_only_moves_data_does_not_hide_where_the_others_are() -> None:
    attention = changed(matmul("attention", 8, 8, 8), params=0, elementwise_ops=7)
    half = changed(matmul("", 8, 8, 4), params=0)
    base = [move("in", 5), attention, move("out", 6)]
    head = [
        move("p", 6),
        changed(half, name="scores"),
        relu("softmax", 3),
        changed(half, name="mix"),
        move("q", 6),
    ]
    assert (("attention",), ("scores", "softmax", "mix")) in pairs(base, head)


def test_nothing_on_one_side() -> None:
    assert match([], []) == []
    assert pairs([], [relu("act", 3)]) == {((), ("act",))}


def test_large_models_without_anything_in_common_are_matched_soon() -> None:
    base = [gemm(f"a{n}", 5, n % 97 + 1, 3) for n in range(1500)]
    head = [add(f"b{n}", n % 89 + 1, 7) for n in range(3000)]
    start = time.process_time()
    assert len(match(base, head)) > 0
    same = [changed(op, name=f"c{n}") for n, op in enumerate(reversed(base))]
    assert len(match(base, same)) == len(base)
    assert time.process_time() - start < 8
