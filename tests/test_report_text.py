"""Small text helpers: safe, short and readable."""

from __future__ import annotations

import doctest
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncost.report import text as module
from rnncost.report.text import percent, plural, printable, readable_formula, shorten, shorten_all

ANY_TEXT = st.text(st.characters(codec=None), max_size=60)


def test_examples_in_the_docstrings() -> None:
    assert doctest.testmod(module).failed == 0


@given(ANY_TEXT)
def test_printable_text_is_printable_and_stays_as_it_is(text: str) -> None:
    safe = printable(text)
    assert safe.isprintable()
    assert printable(safe) == safe
    safe.encode("utf-8")
    assert (safe == text) == text.isprintable()


@given(st.text(max_size=80), st.integers(1, 40), st.floats(0, 1))
def test_short_names_have_the_width_and_both_ends(text: str, width: int, share: float) -> None:
    short = shorten(text, width, share)
    assert len(short) == min(len(text), width)
    if len(text) > width:
        head, _, tail = short.partition("…") if "…" not in text else (short, "", "")
        assert not tail or text.startswith(head)
        assert text.endswith(tail)
    else:
        assert short == text


@given(st.lists(st.text(max_size=80), max_size=6), st.integers(8, 40))
def test_shortening_together_keeps_order_and_width(names: list[str], width: int) -> None:
    short = shorten_all(names, width)
    assert len(short) == len(names)
    assert all(len(name) <= width for name in short)


@pytest.mark.parametrize(
    "pattern",
    [
        "/model/encoder/layers.{}/wrapper/recurrent/lstm/LSTM",
        "If_0_then_branch__Inline_0__/encoder/{}/reparam_conv/Conv",
        "{}/a/long/tail/that/is/the/same/for/all/of/them/LSTM",
        "/a/long/head/that/is/the/same/for/all/of/them/LSTM/{}",
    ],
)
def test_names_that_differ_stay_different(pattern: str) -> None:
    names = [pattern.format(i) for i in range(10)]
    assert len(set(shorten_all(names, 20))) == 10


def test_long_names_take_no_time() -> None:
    start = time.perf_counter()
    assert len(shorten_all(["x" * 1_000_000, "x" * 999_999 + "y" + "x" * 10] * 20, 20)) == 40
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        ("T*B*D*4*H*(I+H)", "T·B·D·4·H·(I+H)"),
        ("98304*batch*seq^12 - 3", "98304·batch·seq¹² - 3"),
        ("seq^2*x^3", "seq²·x³"),
        ("name^x", "name^x"),
        ("", ""),
    ],
)
def test_formulas(formula: str, text: str) -> None:
    assert readable_formula(formula) == text


@given(st.floats(0, 1))
def test_percentages_hide_neither_nothing_nor_everything(share: float) -> None:
    text = percent(share)
    assert (text == "0.0") == (share == 0)
    assert (text == "100.0") == (share == 1)
    assert abs(float(text.strip("<>")) / 100 - share) <= 0.0011


def test_plural() -> None:
    assert [plural(n, "op") for n in (0, 1, 2000)] == ["0 ops", "1 op", "2,000 ops"]
