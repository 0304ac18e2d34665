"""The table and the Markdown of a difference: complete, within their widths, and inert."""

from __future__ import annotations

import doctest
import re
from typing import Any

import msgspec
import pytest
from difference_samples import MODELS, add, changed, gemm, move
from hypothesis import given
from hypothesis import strategies as st
from report_samples import HOSTILE, hostile, lstm, matmul, plain, relu, report_of, spotter

import rnncost
from rnncost.difference import Difference, lines
from rnncost.difference.markdown import LIMIT, MARKER, render_markdown
from rnncost.difference.model import change
from rnncost.difference.text import WIDTH, render_text
from rnncost.errors import BindingError
from rnncost.report.model import Bindings, ModelInfo, OpRow, Report


def example() -> Difference:
    base = [
        lstm("enc", i=40, h=64),
        matmul("old", 9, 64, 8),
        gemm("head", 5, 64, 3),
        relu("act", 9),
        move("reshape"),
    ]
    head = [
        lstm("enc", i=40, h=32),
        matmul("new", 9, 32, 20),
        matmul("/head/MatMul", 5, 64, 3),
        add("/head/Add", 3, 5),
        relu("relu", 9),
    ]
    return rnncost.diff(report_of(base), report_of(head))


def table_rows(text: str) -> dict[str, str]:
    """The lines of the operators' table by the name in the second column."""
    body = text.split("operators, by change in ")[1].split("\n")[3:]
    rows = [re.split(r"  +", line.strip()) for line in body if line and not line[:11].isspace()]
    return {row[1] if row[0] in lines._ORDER else row[0]: " ".join(row) for row in rows}


def test_examples_in_the_docstrings() -> None:
    found = doctest.testmod(lines, extraglobs={"change": change})
    assert (found.attempted, found.failed) == (1, 0)


def test_the_table_says_what_changed() -> None:
    text = str(example())
    rows = table_rows(text)
    assert rows["enc"].startswith("changed enc LSTM 2,609,152 903,168 -65.4 %")
    assert "H 64 → 32; params 27,136 → 9,472; and " in text
    assert rows["old"] == "removed old MatMul 4,608"
    assert rows["new"] == "added new MatMul 5,760"
    assert rows["head"] == "split head Gemm 960 960 0 %"
    assert "split into /head/MatMul + /head/Add" in text
    assert rows["other (2 ops)"] == "other (2 ops) 0 0 0 %"
    assert "1 removed, 1 renamed" in text
    assert "reshape" not in text
    assert re.search(r"macs +2,614,720 +909,888 +-1,704,832 +-65\.2 %\n", text)
    assert re.search(r"unchanged: .*sequential_steps", text.replace("\n", " "))


def test_verbose_shows_every_operator_and_total() -> None:
    text = render_text(example(), verbose=True)
    assert {"enc", "old", "new", "head", "act", "reshape"} <= set(table_rows(text))
    assert "other (" not in text
    assert "now relu" in text
    assert "unchanged:" not in text
    assert re.search(r"sequential_steps +98 +98 +0 +0 %\n", text)
    assert "state_bytes 512 B → 256 B" in text


def test_operators_are_sorted_by_the_metric_asked_for() -> None:
    base = report_of([lstm("a", i=9, h=9, t=2), matmul("b", 90, 9, 9), relu("c", 3)])
    head = report_of([lstm("a", i=9, h=10, t=2), matmul("b", 90, 9, 10), relu("c", 3)])
    difference = rnncost.diff(base, head)
    assert list(table_rows(render_text(difference)))[:2] == ["b", "a"]
    assert list(table_rows(render_text(difference, metric="params")))[:2] == ["a", "b"]
    back = rnncost.diff(head, base)
    assert list(table_rows(render_text(back)))[:2] == ["b", "a"]
    rows = [row.name for row in lines.op_rows(difference, "params", verbose=True, most=1)]
    assert rows == ["a", "more (2 ops)"]


@pytest.mark.parametrize("metric", ["maks", "peak_activation_bytes", "macs@x", "latency_s@", ""])
def test_a_metric_that_operators_do_not_have(metric: str) -> None:
    with pytest.raises(BindingError, match="operators have no metric"):
        render_text(example(), metric=metric)


def test_latencies_need_a_profile_that_both_have() -> None:
    with pytest.raises(BindingError, match="no profile has an estimate on both sides"):
        render_text(example(), metric="latency_s")
    both = rnncost.diff(_estimated(plain()), _estimated(plain()))
    assert "latency_s@a board" in render_text(both, metric="latency_s")
    with pytest.raises(BindingError, match="both sides have a board"):
        render_markdown(both, metric="latency_s@other")


def _estimated(report: Report) -> Report:
    estimate = spotter().estimates[0]
    estimate = msgspec.structs.replace(
        estimate, profile="a board", ops=[], latency_s=sum((1.4e-3, 5e-4, 3e-5))
    )
    return msgspec.structs.replace(report, estimates=[estimate])


def test_one_line() -> None:
    assert lines.verdict(example()) == (
        "model.onnx → model.onnx: MACs 2,614,720 → 909,888 (-65.2 %), params 27,843 → 10,307 "
        "(-63.0 %), ops: 2 removed, 1 added, 1 changed, 1 split, 1 renamed"
    )
    same = rnncost.diff(plain(), plain())
    assert lines.verdict(same).endswith("MACs 32 (0 %), params 32 (0 %), all 2 ops unchanged")
    empty = rnncost.diff(report_of([]), report_of([]))
    assert lines.verdict(empty).endswith("MACs 0 (0 %), params 0 (0 %), no ops")
    assert "no ops" not in str(empty)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((1000, 1000), "0 %"),
        ((10**9, 10**9 + 1), "+<0.1 %"),
        ((10**9, 10**9 - 1), "-<0.1 %"),
        ((1000, 1123), "+12.3 %"),
        ((1000, 0), "-100.0 %"),
        ((0, 1), "new"),
        ((1, 400), "x 400"),
        (("a", "b"), ""),
        ((None, 1), ""),
    ],
)
def test_relative_changes_hide_none(values: tuple[Any, Any], text: str) -> None:
    assert lines.relative_text(change(*values)) == text


@given(MODELS, MODELS, st.booleans(), st.sampled_from(lines.METRICS[:-1]))
def test_tables_keep_their_width_and_sum_up(
    base: list[OpRow], head: list[OpRow], verbose: bool, metric: str
) -> None:
    difference = rnncost.diff(report_of(base), report_of(head))
    text = render_text(difference, metric=metric, verbose=verbose)
    assert max(map(len, text.split("\n"))) <= WIDTH
    rows = lines.op_rows(difference, metric, verbose=verbose, most=3)
    if metric not in ("sequential_steps", "executed_steps", "lookahead_steps"):
        for side in ("base", "head"):
            shown = sum(getattr(row.change, side) or 0 for row in rows)
            assert shown == getattr(difference.totals[metric], side)


def many(name: str, count: int, size: int = 3) -> Report:
    """A report with many operators and warnings of the same name, and facts of that name."""
    return report_of(
        [
            msgspec.structs.replace(
                lstm(f"{name}{n}", i=size, h=2 + n % 5, t=2**60), op_type=name or "LSTM"
            )
            for n in range(count)
        ],
        model=ModelInfo(path=name, format="onnx"),
        bindings=Bindings(dims={f"{name}{n}": size for n in range(count)}),
        warnings=[f"{name}{n}" for n in range(count)],
    )


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("name", ["op", "#" * 900, "|" * 900, "\x1b" * 900, "\U0001f600" * 900])
def test_markdown_fits_in_a_comment(name: str, verbose: bool) -> None:
    text = render_markdown(rnncost.diff(many(name, 700), many(f"{name}x", 700, 4)), verbose=verbose)
    assert len(text.encode()) < LIMIT
    assert text.startswith(f"{MARKER}\n")
    assert "more (" in text
    assert text.rstrip().endswith("</sub>")
    assert max(map(len, str(rnncost.diff(many(name, 30), many(name, 30, 4))).split("\n"))) <= WIDTH


def hostile_difference(verbose: bool) -> tuple[Difference, str]:
    other = msgspec.structs.replace(
        hostile(), ops=[changed(op, name=f"{op.name}@team |`#1") for op in hostile().ops]
    )
    bound = msgspec.structs.replace(other.bindings, dims={" ".join(HOSTILE): 2})
    difference = rnncost.diff(hostile(), msgspec.structs.replace(other, bindings=bound))
    return difference, render_markdown(difference, verbose=verbose)


@pytest.mark.parametrize("verbose", [False, True])
def test_names_of_a_model_do_nothing(verbose: bool) -> None:
    difference, text = hostile_difference(verbose)
    inside = text.removeprefix(MARKER)
    assert not re.search(r"<(?!/?sub>)", inside)
    assert not re.search(r"(?<!&)#\d|@\w", inside)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`~$\[]", inside)
    table: list[str] = []
    for line in [*inside.split("\n"), ""]:
        if line.startswith("|"):
            table.append(line)
        elif table:
            # A cell ends at a pipe that no backslash escapes; a backslash may be escaped itself.
            assert len({len(re.findall(r"(?:\\.|[^|\\])+", row)) for row in table}) == 1
            table = []
    assert all(line.isprintable() for line in render_text(difference, verbose=verbose).split("\n"))
    assert lines.verdict(difference).isprintable()
