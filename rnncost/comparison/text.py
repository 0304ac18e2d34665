"""A comparison as text for a terminal, as Markdown and as HTML."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from rnncost.comparison.grid import Cell, Row, rows, subtitle
from rnncost.comparison.model import Comparison, Design
from rnncost.comparison.words import times
from rnncost.report import summary
from rnncost.report.markdown import escape
from rnncost.report.table import DEFAULT_WIDTH
from rnncost.report.text import plural, printable, shorten
from rnncost.runtime.timing import NOISY
from rnncost.units import format_seconds

_GAP = 2
_LABEL_WIDTH = 26
_TITLE_WIDTH = 15
_BOLD = "\x1b[1m{}\x1b[0m"
_CONVENTION = "0.75x is the ratio to the model as it is"


def render_text(
    comparison: Comparison,
    *,
    verbose: bool = False,
    width: int = DEFAULT_WIDTH,
    color: bool = False,
) -> str:
    """Lay a comparison out for a terminal of ``width`` columns.

    Designs are columns; those that do not fit beside each other come in further tables.
    """

    def titled(title: str, sentences: Iterable[str]) -> list[str]:
        body = [line for sentence in sentences for line in _wrapped(sentence, width)]
        shown = printable(title)
        return ["", _BOLD.format(shown) if color else shown, *body] if body else []

    lines = _header(comparison, width)
    for table in _tables(comparison, rows(comparison, verbose=verbose), width):
        lines += ["", *table]
    lines += titled("real time and timing", subtitle(comparison))
    for title, sentences in _sections(comparison):
        lines += titled(title, sentences)
    lines += ["", *textwrap.wrap(_conventions(comparison), width)]
    return "\n".join(line.rstrip() for line in lines)


def render_markdown(comparison: Comparison, *, verbose: bool = False) -> str:
    """The same as GitHub-flavoured Markdown."""
    blocks = [
        f"### {escape(one_line(comparison))}",
        _bullets(f"{label}: {text}" for label, text in summary.model_lines(comparison.base.report)),
        _whole_table(comparison, verbose=verbose, markdown=True),
        _bullets(subtitle(comparison)),
    ]
    for title, sentences in _sections(comparison):
        if body := _bullets(sentences):
            blocks += [f"**{escape(title)}**", body]
    blocks.append(f"<sub>{escape(_conventions(comparison))}</sub>")
    return "\n\n".join(block for block in blocks if block)


def render_html(comparison: Comparison) -> str:
    """One ``<div>`` for a notebook, without script or style sheet."""

    def listed(sentences: Iterable[str]) -> str:
        items = "".join(f"<li>{html.escape(printable(text))}</li>" for text in sentences)
        return f"<ul>{items}</ul>" if items else ""

    parts = [
        f"<p><strong>{html.escape(one_line(comparison))}</strong></p>",
        _whole_table(comparison, verbose=False, markdown=False),
        listed(subtitle(comparison)),
    ]
    for title, sentences in _sections(comparison):
        if body := listed(sentences):
            parts.append(f"<p><strong>{html.escape(printable(title))}</strong></p>{body}")
    parts.append(f"<p><small>{html.escape(_conventions(comparison))}</small></p>")
    return f'<div class="rnncost">{"".join(parts)}</div>'


def one_line(comparison: Comparison) -> str:
    """The model, and for each variant the ratios of its MACs and latencies."""
    report = comparison.base.report
    latencies = [f"{format_seconds(e.latency_s)} on {e.profile}" for e in report.estimates]
    parts = [", ".join([report.model.path or "model", *latencies])]
    parts += [f"{design.title}: {_short(design)}" for design in comparison.variants]
    if comparison.skipped:
        parts.append(f"{plural(len(comparison.skipped), 'variant')} skipped")
    return printable("; ".join(parts))


def _short(design: Design) -> str:
    ratios = {"MACs": design.ratios.get("macs")}
    for estimate in design.report.estimates:
        ratios[f"latency on {estimate.profile}"] = design.ratios.get(
            f"latency_s@{estimate.profile}"
        )
    parts = [f"{what} {times(ratio)}" for what, ratio in ratios.items() if ratio is not None]
    if design.measured is not None:
        parts.append(f"timed {times(design.measured.ratio)}")
    return ", ".join(parts)


def _sections(comparison: Comparison) -> Iterator[tuple[str, list[str]]]:
    """What stands beside the table: the reasons and notes of each design, and the rest."""
    for design in comparison.designs:
        yield design.title, [*design.reasons, *(f"note: {note}" for note in design.notes)]
    yield "skipped", [f"{one.name}: {one.reason}" for one in comparison.skipped]
    yield "notes", list(_estimate_notes(comparison))
    yield "warnings", [*comparison.warnings, *_noise(comparison)]


def _estimate_notes(comparison: Comparison) -> Iterator[str]:
    for estimate in comparison.base.report.estimates:
        parts = [f"{estimate.runtime}, {plural(estimate.threads, 'thread')}, {estimate.precision}"]
        yield f"{estimate.profile}: {'; '.join([*parts, *estimate.notes])}"


def _noise(comparison: Comparison) -> Iterator[str]:
    timed = comparison.timed
    if timed is None:
        return
    own = [design.measured.noise for design in comparison.designs if design.measured is not None]
    if max(timed.noise, *own) > NOISY:
        yield (
            "the machine was noisy while the designs were timed, so do not trust small "
            "differences: close other programs, and use no more threads than free cores"
        )


def _conventions(comparison: Comparison) -> str:
    return f"{_CONVENTION}; {printable(summary.conventions(comparison.base.report))}"


def _header(comparison: Comparison, width: int) -> list[str]:
    lines = summary.model_lines(comparison.base.report)
    indent = max(len(label) for label, _ in lines) + _GAP
    return [
        line
        for label, text in lines
        for line in textwrap.wrap(
            printable(text),
            width,
            initial_indent=f"{label:<{indent}}",
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
    ]


class _Column(msgspec.Struct, frozen=True):
    """A column of equally wide lines: those of its heading, then one a row."""

    heading: list[str]
    lines: list[str]

    @property
    def width(self) -> int:
        return len(self.lines[0])


def _tables(comparison: Comparison, table: Sequence[Row], width: int) -> Iterator[list[str]]:
    """The table, cut into as many as the width needs; each has the model as it is."""
    labels = [shorten(printable(row.label), _LABEL_WIDTH) for row in table]
    first = _Column([""], _padded(labels))
    designs = [
        _column(design.title, [row.cells[number] if row.cells else Cell() for row in table])
        for number, design in enumerate(comparison.designs)
    ]
    base, rest = designs[0], designs[1:]
    while True:
        room = width - first.width - _GAP - base.width
        shown = 0
        while shown < len(rest) and room >= rest[shown].width + _GAP:
            room -= rest[shown].width + _GAP
            shown += 1
        shown = max(shown, min(1, len(rest)))
        yield _joined([first, base, *rest[:shown]])
        rest = rest[shown:]
        if not rest:
            return


def _column(title: str, cells: Sequence[Cell]) -> _Column:
    values = [cell.value for cell in cells]
    ratios = [cell.ratio for cell in cells]
    wide, narrow = max(map(len, values)), max(map(len, ratios))
    lines = [
        f"{value:>{wide}} {ratio:>{narrow}}" if narrow else f"{value:>{wide}}"
        for value, ratio in zip(values, ratios, strict=True)
    ]
    longest = max(map(len, title.split()))
    width = max(len(lines[0]), longest, min(len(title), _TITLE_WIDTH))
    heading = textwrap.wrap(printable(title), width, break_on_hyphens=False)
    return _Column([f"{part:>{width}}" for part in heading], [f"{li:>{width}}" for li in lines])


def _joined(columns: Sequence[_Column]) -> list[str]:
    height = max(len(column.heading) for column in columns)
    blocks = [
        [
            *[" " * column.width] * (height - len(column.heading)),
            *(f"{line:<{column.width}}" for line in column.heading),
            "-" * column.width,
            *column.lines,
        ]
        for column in columns
    ]
    return [(" " * _GAP).join(parts) for parts in zip(*blocks, strict=True)]


def _padded(lines: Sequence[str]) -> list[str]:
    width = max(map(len, lines))
    return [f"{line:<{width}}" for line in lines]


def _whole_table(comparison: Comparison, *, verbose: bool, markdown: bool) -> str:
    from tabulate import tabulate

    table = rows(comparison, verbose=verbose)
    designs = comparison.designs
    clean = escape if markdown else printable
    return str(
        tabulate(
            [
                [clean(row.label.strip()), *(map(str, row.cells or [""] * len(designs)))]
                for row in table
            ],
            headers=["", *(clean(design.title) for design in designs)],
            tablefmt="pipe" if markdown else "html",
            disable_numparse=True,
            colalign=["left", *["right"] * len(designs)],
        )
    )


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        printable(text),
        width,
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escape(line)}" for line in lines)
