"""Free-dimension polynomials agree with integer arithmetic at every binding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncost.graph.bounds import lower_bound
from rnncost.graph.dim import (
    Dim,
    Expr,
    ceil_div,
    evaluate,
    hint,
    maximum,
    minimum,
    product,
    symbol,
    symbols,
)

SEQ, BATCH = symbol("seq", 97), symbol("batch", 7)

Pair = tuple[Dim, Callable[[dict[str, int]], int]]


def _leaf() -> st.SearchStrategy[Pair]:
    return st.one_of(
        st.integers(-9, 9).map(lambda n: (n, lambda b: n)),
        st.sampled_from(["seq", "batch"]).map(
            lambda name: (SEQ if name == "seq" else BATCH, lambda b: b[name])
        ),
    )


def _grow(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    def add(p: Pair, q: Pair) -> Pair:
        return p[0] + q[0], lambda b: p[1](b) + q[1](b)

    def subtract(p: Pair, q: Pair) -> Pair:
        return p[0] - q[0], lambda b: p[1](b) - q[1](b)

    def multiply(p: Pair, q: Pair) -> Pair:
        return p[0] * q[0], lambda b: p[1](b) * q[1](b)

    def largest(p: Pair, q: Pair) -> Pair:
        return maximum(p[0], q[0]), lambda b: max(p[1](b), q[1](b))

    def smallest(p: Pair, q: Pair) -> Pair:
        return minimum(p[0], q[0]), lambda b: min(p[1](b), q[1](b))

    binary = st.sampled_from([add, subtract, multiply, largest, smallest])
    divided = st.tuples(inner, st.integers(1, 6)).map(
        lambda t: (t[0][0] // t[1], lambda b: t[0][1](b) // t[1])
    )
    rest = st.tuples(inner, st.integers(1, 6)).map(
        lambda t: (t[0][0] % t[1], lambda b: t[0][1](b) % t[1])
    )
    rounded_up = st.tuples(inner, st.integers(1, 6)).map(
        lambda t: (ceil_div(t[0][0], t[1]), lambda b: -(-t[0][1](b) // t[1]))
    )
    combined = st.tuples(binary, inner, inner).map(lambda t: t[0](t[1], t[2]))
    return st.one_of(combined, divided, rest, rounded_up)


EXPRESSIONS = st.recursive(_leaf(), _grow, max_leaves=8)


@given(EXPRESSIONS, st.integers(1, 50), st.integers(1, 50))
def test_every_operation_agrees_with_integers(pair: Pair, seq: int, batch: int) -> None:
    expression, truth = pair
    bindings = {"seq": seq, "batch": batch}
    assert evaluate(expression, bindings) == truth(bindings)


@given(EXPRESSIONS)
def test_the_hint_is_the_value_at_the_sample_point(pair: Pair) -> None:
    expression, truth = pair
    assert hint(expression) == truth({"seq": 97, "batch": 7})


@given(EXPRESSIONS)
def test_the_text_evaluates_to_the_same_number(pair: Pair) -> None:
    expression, truth = pair
    bindings = {"seq": 13, "batch": 3}
    text = str(expression).replace("^", "**")
    assert eval(text, {"min": min, "max": max}, dict(bindings)) == truth(bindings)


@given(EXPRESSIONS, st.integers(1, 50), st.integers(1, 50))
def test_no_value_is_below_the_lower_bound(pair: Pair, seq: int, batch: int) -> None:
    expression, truth = pair
    low = lower_bound(expression)
    assert low is None or low <= truth({"seq": seq, "batch": batch})


@pytest.mark.parametrize(
    ("expression", "low"),
    [
        (SEQ * BATCH + 2, 3),
        (SEQ - 1, 0),
        (SEQ - BATCH, None),
        (ceil_div(SEQ + 3, 2), 2),
        (ceil_div(SEQ, 2) - 1, 0),
        (5 - SEQ % 4, 2),
        (minimum(SEQ, BATCH + 1), 1),
        (maximum(SEQ - BATCH, 4), 4),
    ],
)
def test_lower_bounds(expression: Dim, low: int | None) -> None:
    assert lower_bound(expression) == low


@given(EXPRESSIONS, EXPRESSIONS)
def test_equal_expressions_have_equal_hashes(p: Pair, q: Pair) -> None:
    total, reverse = p[0] + q[0], q[0] + p[0]
    assert total == reverse
    assert hash(total) == hash(reverse)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (SEQ - SEQ, "0"),
        (SEQ * 0 + 5, "5"),
        (4 * (SEQ + 2) - 8, "4*seq"),
        ((4 * SEQ) // 2, "2*seq"),
        ((4 * SEQ * BATCH) // (2 * BATCH), "2*seq"),
        ((SEQ + 3) // 2, "((seq + 3) // 2)"),
        (SEQ // 2 // 2, "((seq // 2) // 2)"),
        ((2 * SEQ) // 3, "((2*seq) // 3)"),
        ((4 * SEQ + 7) // 4, "seq + 1"),
        (SEQ * SEQ * 3 - BATCH, "3*seq^2 - batch"),
        (98304 * BATCH * SEQ + 4096 * BATCH, "98304*batch*seq + 4096*batch"),
        (minimum(SEQ, SEQ + 3), "seq"),
        (maximum(SEQ, SEQ + 3), "seq + 3"),
        (minimum(SEQ, 64), "min(64, seq)"),
        (maximum(3 * SEQ, maximum(2 * SEQ, SEQ + BATCH * 0)), "3*seq"),
        (minimum(2 * SEQ, SEQ), "seq"),
        (maximum(2 * SEQ, SEQ + BATCH), "max(2*seq, batch + seq)"),
        ((SEQ + BATCH) // (SEQ + BATCH), "1"),
        ((6 * SEQ + 6 * BATCH) // (2 * SEQ + 2 * BATCH), "3"),
    ],
)
def test_normal_forms(expression: Dim, text: str) -> None:
    assert str(expression) == text


def test_products_and_free_symbols() -> None:
    assert product(()) == 1
    volume = product((2, SEQ, BATCH // 2))
    assert symbols(volume) == {"seq", "batch"}
    assert symbols(12) == frozenset()
    with pytest.raises(KeyError):
        evaluate(volume, {"seq": 1})


def test_comparisons_follow_the_hint() -> None:
    assert isinstance(SEQ, Expr)
    assert SEQ > 96
    assert SEQ >= 97
    assert SEQ < 98
    assert bool(SEQ - 96)
    assert not (SEQ - BATCH) < 0
