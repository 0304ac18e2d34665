"""The report as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rnncost.report import estimates, summary, training
from rnncost.report.model import Report
from rnncost.report.rows import Column, op_columns
from rnncost.report.text import printable, shorten_all

DEFAULT_WIDTH = 100
_GAP = 2
_NAME_WIDTH = 18
_MIN_NAME_WIDTH = 8
_TYPE_WIDTH = 20
_DROPPABLE = (
    *("precision", "elementwise", "streamed", "runs", "seq %", "textbook", "steps"),
    *("MACs %", "D", "B", "runs as", "kept"),
)
_BOLD, _YELLOW, _RED = "1", "33", "31"


def render_table(
    report: Report, *, verbose: bool = False, width: int = DEFAULT_WIDTH, color: bool = False
) -> str:
    """Lay the report out for a terminal of ``width`` columns.

    Long names lose their middle, and the least telling columns are left out where they do
    not fit; ``verbose`` keeps all of them, shows every operator, and adds the formulas.
    """

    def section(title: str, lines: Iterable[str], code: str = _BOLD) -> list[str]:
        body = [text for line in lines for text in _wrapped(line, "  ", width)]
        heading = f"\x1b[{code}m{title}\x1b[0m" if color else title
        return ["", heading, *body] if body else []

    columns = op_columns(report, verbose=verbose)
    lines = [
        *_labelled(summary.model_lines(report), width),
        "",
        *_grid(columns if verbose else _fit(columns, width), totals=1 + bool(report.uncounted)),
        "",
        *_labelled(summary.totals_lines(report), width),
        *section("as formulas", _equations(summary.formula_lines(report, verbose=verbose))),
    ]
    if report.estimates:
        table = _grid(_fit(estimates.estimate_columns(report), width - _GAP))
        heading, *sentences = section("estimates", estimates.estimate_sentences(report))[1:]
        lines += ["", heading, *(f"  {row}" for row in table), *sentences]
    if report.training is not None:
        table = _grid(_fit(training.training_columns(report), width - _GAP), totals=1)
        totals = _labelled(training.training_lines(report), width - _GAP)
        heading, *sentences = section(
            "training step", training.training_sentences(report, verbose=verbose)
        )[1:]
        lines += ["", heading, *(f"  {row}" for row in (*totals, *table)), *sentences]
    if verbose:
        formulas = [f"{name}: {text}" for name, text in summary.op_formula_lines(report)]
        lines += section("formulas of one execution", formulas)
    lines += section("notes", summary.note_lines(report))
    lines += section("uncounted", summary.uncounted_lines(report), _RED)
    lines += section("warnings", report.warnings, _YELLOW)
    lines += ["", *_wrapped(summary.conventions(report), "", width)]
    return "\n".join(line.rstrip() for line in lines)


def _labelled(lines: Sequence[summary.Label], width: int) -> list[str]:
    indent = max(len(label) for label, _ in lines) + _GAP
    return [
        f"{label if first else '':<{indent}}{text}"
        for label, sentence in lines
        for first, text in _first(_wrapped(sentence, "", width - indent))
    ]


def _first(lines: Sequence[str]) -> Iterable[tuple[bool, str]]:
    return ((index == 0, line) for index, line in enumerate(lines))


def _wrapped(text: str, indent: str, width: int) -> list[str]:
    import textwrap

    return textwrap.wrap(
        printable(text),
        width,
        initial_indent=indent,
        subsequent_indent=indent * 2,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _equations(lines: Sequence[summary.Label]) -> list[str]:
    width = max((len(label) for label, _ in lines), default=0)
    return [f"{label:<{width}} = {text}" for label, text in lines]


def _grid(columns: Sequence[Column], totals: int = 0) -> list[str]:
    """The lines of a table, with a rule above the last ``totals`` rows."""
    from tabulate import tabulate

    cells = zip(*(c.cells for c in columns), strict=True)
    rows = [[printable(cell) for cell in row] for row in cells]
    # The rules are rows: tabulate pads its own headings by two, too wide for a terminal.
    split = len(rows) - totals
    rule = ["-" * _width(c) for c in columns]
    body = [*rows[:split], *([rule] if totals else []), *rows[split:]]
    text = tabulate(
        [[c.title for c in columns], rule, *body],
        tablefmt="plain",
        disable_numparse=True,
        colalign=["right" if c.number else "left" for c in columns],
    )
    return text.split("\n")


def _fit(columns: Sequence[Column], width: int) -> list[Column]:
    """Drop columns, then shorten the names, until the table fits."""
    kept = [_short_types(c) if c.title == "type" else c for c in columns]
    wanted = min(_width(kept[0]), _NAME_WIDTH)
    for title in ("", *_DROPPABLE):
        kept = [c for c in kept if c.title != title]
        room = width - sum(_width(c) + _GAP for c in kept[1:])
        if room >= wanted:
            break
    return [_cut(kept[0], max(room, _MIN_NAME_WIDTH)), *kept[1:]]


def _short_types(column: Column) -> Column:
    """Leave out the domain of long operator types; the other formats have it."""
    cells = [c if len(c) <= _TYPE_WIDTH else c.rpartition("::")[2] for c in column.cells]
    return _cut(Column(column.title, tuple(cells), column.number), _TYPE_WIDTH)


def _cut(column: Column, width: int) -> Column:
    return Column(column.title, tuple(shorten_all(column.cells, width)), column.number)


def _width(column: Column) -> int:
    return max(len(column.title), *(len(printable(cell)) for cell in column.cells))
