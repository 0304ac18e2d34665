"""Every format shows the same numbers, and no name from a model can act in any of them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser

import msgspec
import pytest
from golden_files import check_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import HOSTILE, hostile, lstm, plain, relu, report_of, spotter

from rnncost.errors import ReportError
from rnncost.report.csv_table import render_csv
from rnncost.report.html import render_html_fragment
from rnncost.report.json_text import render_json
from rnncost.report.markdown import render_markdown
from rnncost.report.model import Metrics, Report
from rnncost.report.rows import op_columns
from rnncost.report.summary import verdict
from rnncost.report.table import DEFAULT_WIDTH, render_table


def verbose_table(report: Report) -> str:
    return render_table(report, verbose=True)


RENDERERS: dict[str, Callable[[Report], str]] = {
    "table.txt": render_table,
    "verbose.txt": verbose_table,
    "verdict.txt": verdict,
    "report.md": render_markdown,
    "ops.csv": render_csv,
    "report.json": render_json,
    "fragment.html": render_html_fragment,
}
SAMPLES = {"spotter": spotter, "plain": plain}


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("name", RENDERERS)
def test_golden(sample: str, name: str) -> None:
    check_golden(f"{sample}.{name}", RENDERERS[name](SAMPLES[sample]()))


@pytest.mark.parametrize("sample", [spotter, plain, hostile])
def test_totals_of_samples_are_sums(sample: Callable[[], Report]) -> None:
    report = sample()
    for key in ("params", "macs", "dense_macs", "elementwise_ops", "weight_bytes"):
        assert getattr(report.totals, key) == sum(getattr(op, key) for op in report.ops)


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("sample", [spotter, plain, hostile])
def test_rendered_columns_sum_to_rendered_totals(
    sample: Callable[[], Report], verbose: bool
) -> None:
    columns = {c.title: c.cells for c in op_columns(sample(), verbose=verbose)}
    at = columns["name"].index("total")
    for title in ("params", "MACs", "elementwise"):
        exact = [int(cell.replace(",", "")) for cell in columns[title][: at + 1]]
        assert sum(exact[:-1]) == exact[-1]
        assert exact[-1] > 0


def test_totals_in_the_table_text_are_the_sums_of_its_rows() -> None:
    lines = render_table(spotter()).split("\n")
    start = next(i for i, line in enumerate(lines) if line.startswith("name"))
    rules = [i for i, line in enumerate(lines) if line.startswith("---")]
    end = lines[start].index("MACs") + len("MACs")
    begin = lines[start].index("textbook") + len("textbook")

    def macs(line: str) -> int:
        return int(line[begin:end].strip().replace(",", ""))

    rows = lines[rules[0] + 1 : rules[1]]
    assert len(rows) == 5  # two products, two layers, and the others as one row
    assert sum(map(macs, rows)) == macs(lines[rules[1] + 1]) == spotter().totals.macs


def test_the_table_folds_operators_without_weights_or_macs() -> None:
    short, full = render_table(spotter()), render_table(spotter(), verbose=True)
    assert "other (2 ops)" in short
    assert "/head/Relu" not in short
    assert "\nother (" not in full
    assert "/head/Relu" in full


def test_an_unrecognised_row_is_never_folded() -> None:
    steps_only = msgspec.structs.replace(relu("scan", 1), sequential_steps=7)
    stored_only = msgspec.structs.replace(relu("branch", 1), params=3, executions=0)
    text = render_table(report_of([steps_only, stored_only]))
    assert "scan" in text
    assert "branch" in text
    assert "\nother (" not in text


@pytest.mark.parametrize("name", [n for n in RENDERERS if n not in ("ops.csv", "verdict.txt")])
def test_uncounted_assumed_and_warnings_are_in_every_format(name: str) -> None:
    text = RENDERERS[name](spotter())
    assert "acme::Mystery" in text
    assert "no rule for this operator" in text
    assert "the declared shape of output" in " ".join(text.split())
    assert '"assumed": [' in text if name.endswith("json") else "--dim seq=N" in text


def test_verdict_is_one_line_that_names_doubts() -> None:
    text = verdict(spotter())
    assert "\n" not in text
    assert "1 op uncounted, assuming batch=1, seq=98" in text
    assert "x86-64-server-core (uncalibrated)" in text
    assert "microcontroller (uncalibrated)" not in text


def test_an_uncalibrated_profile_is_said_in_plain_words() -> None:
    for name in ("table.txt", "report.md", "fragment.html"):
        text = " ".join(RENDERERS[name](spotter()).split())
        assert text.count("uncalibrated: made from data-sheet figures") == 1


def test_layers_stay_distinct_when_names_are_shortened() -> None:
    names = [f"/model/encoder/layers.{i}/wrapper/recurrent/lstm/LSTM" for i in range(12)]
    text = render_table(report_of([lstm(name, i=512, h=512, d=2) for name in names]))
    cells = [line.split()[0] for line in text.split("\n") if " LSTM " in line]
    assert len(set(cells)) == len(names)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.text(max_size=300), min_size=1, max_size=4),
    steps=st.integers(1, 10**5),
    size=st.integers(1, 2048),
    width=st.integers(80, 160),
)
def test_the_operator_table_fits_the_terminal(
    names: list[str], steps: int, size: int, width: int
) -> None:
    report = report_of([lstm(name, i=size, h=size, t=steps, b=8, d=2) for name in names])
    lines = render_table(report, width=width).split("\n")
    rules = [i for i, line in enumerate(lines) if line.startswith("---")]
    assert len(rules) == 2
    assert all(len(line) <= width for line in lines[rules[0] - 1 : rules[1] + 2])


@pytest.mark.parametrize("name", RENDERERS)
def test_nothing_that_acts_on_a_terminal_gets_through(name: str) -> None:
    text = RENDERERS[name](hostile())
    assert all(c.isprintable() or c == "\n" for c in text)
    text.encode("utf-8")


def test_only_our_own_colours_are_in_a_coloured_table() -> None:
    text = render_table(hostile(), color=True)
    found = re.findall("\x1b\\[([0-9]+)m", text)
    assert {"1", "0", "33", "31"} == set(found)
    assert re.sub("\x1b\\[[0-9]+m", "", text) == render_table(hostile())


def test_json_gives_every_text_and_integer_back() -> None:
    for sample in (spotter, plain, hostile):
        report = sample()
        assert json.loads(render_json(report)) == report.to_dict()
    big = hostile().ops[-1].macs
    assert big > 2**70
    assert f'"macs": {big},' in render_json(hostile())


def test_json_refuses_what_is_not_a_number() -> None:
    totals = msgspec.structs.replace(plain().totals, sequential_share=float("inf"))
    with pytest.raises(ReportError, match="infinite or not a number"):
        render_json(msgspec.structs.replace(plain(), totals=totals))


def test_csv_has_every_metric_and_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv(spotter()))))
    report = spotter()
    assert [row["name"] for row in rows] == [op.name for op in report.ops] + ["/frontend/Mystery"]
    for row, op in zip(rows, report.ops, strict=False):
        assert all(row[key] == str(getattr(op, key)) for key in Metrics.__struct_fields__)
        assert row["uncounted_reason"] == ""
    assert rows[-1]["uncounted_reason"] == "no rule for this operator"
    assert rows[-1]["macs"] == ""
    assert rows[3]["latency_s (x86-64-server-core)"] == "0.0011"

    for row in csv.reader(io.StringIO(render_csv(hostile()))):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_csv_rows_keep_their_width_whatever_the_names() -> None:
    rows = list(csv.reader(io.StringIO(render_csv(hostile()))))
    assert len(rows) == 1 + len(HOSTILE) + 1 + 1
    assert len({len(row) for row in rows}) == 1


def test_markdown_tables_keep_their_width_whatever_the_names() -> None:
    tables = [line for line in render_markdown(hostile()).split("\n") if line.startswith("|")]
    # A cell ends at a pipe that no backslash escapes; a backslash may itself be escaped.
    widths = {len(re.findall(r"(?:\\.|[^|\\])+", line)) for line in tables}
    assert len(widths) == 1


def test_markdown_holds_no_markup_of_the_model() -> None:
    text = render_markdown(hostile())
    assert not re.search(r"<(?!/?sub>)", text)
    assert not re.search(r"(?<!&)#\d|@\w", text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`~$\[]", text)


class Elements(HTMLParser):
    """Collects the tags and the text of a fragment, and holds that tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.open.append(tag)
        assert {key for key, _ in attrs} <= {"style", "class"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_is_well_formed_and_inert() -> None:
    elements = Elements()
    elements.feed(hostile()._repr_html_())
    elements.close()
    allowed = {"div", "p", "strong", "small", "ul", "li", "table", "thead", "tbody", "tr"}
    assert elements.tags <= allowed | {"th", "td"}
    assert elements.open == []
    assert "<script>alert(1)</script>" in elements.text


def test_str_is_the_table() -> None:
    assert str(spotter()) == render_table(spotter(), width=DEFAULT_WIDTH)
    assert max(map(len, str(spotter()).split("\n"))) <= DEFAULT_WIDTH
