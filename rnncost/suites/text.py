"""The report of an accuracy suite as text and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rnncost.report.markdown import escape
from rnncost.report.text import printable, shorten
from rnncost.suites.model import Case, SuiteResult
from rnncost.suites.stats import Figures, all_figures, breakdown, by_group, error, worst
from rnncost.units import format_seconds

WORST = 10
"""How many of the worst cases are shown."""

_WIDTH = 50

_FIGURES = ("group", "estimator", "cases", "median", "p90", "maximum", "Spearman", "in interval")
_PARTS = ("group", "feature", "value", "cases", "median", "p90", "maximum", "in interval")
_CASES = ("case", "group", "measured", "predicted", "pred / meas")

Grid = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def render_text(result: SuiteResult) -> str:
    """Figures, where the errors sit, and the worst cases, for a terminal."""
    from tabulate import tabulate

    def grid(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        cells = [[printable(cell) for cell in row] for row in rows]
        return tabulate(cells, headers=headers, disable_numparse=True, colalign=_sides(headers))

    facts = [f"{key}: {value}" for key, value in result.facts.items()]
    notes = [f"note: {note}" for note in result.notes]
    blocks = [
        "\n".join([f"accuracy suite {result.suite}", *map(printable, facts)]),
        "Error = |predicted / measured - 1|",
        *_tables(result, grid),
        "\n".join(map(printable, notes)),
    ]
    return "\n\n".join(block for block in blocks if block)


def render_markdown(result: SuiteResult) -> str:
    """The same as Markdown."""
    from tabulate import tabulate

    def grid(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        cells = [[escape(cell) for cell in row] for row in rows]
        return tabulate(
            cells,
            headers=headers,
            tablefmt="pipe",
            disable_numparse=True,
            colalign=_sides(headers),
        )

    blocks = [
        f"### Accuracy suite {escape(result.suite)}",
        "\n".join(f"- {escape(key)}: {escape(value)}" for key, value in result.facts.items()),
        "Error = \\|predicted / measured - 1\\|",
        *_tables(result, grid),
        "\n".join(f"- {escape(note)}" for note in result.notes),
    ]
    return "\n\n".join(block for block in blocks if block)


def one_line(result: SuiteResult) -> str:
    """The model's median and 90th percentile in each group."""
    parts = [
        f"{f.group} ({f.cases}): median {_percent(f.median)}, p90 {_percent(f.p90)}"
        for f in all_figures(result)
        if f.estimator == all_figures(result)[0].estimator
    ]
    return printable(f"suite {result.suite}: {'; '.join(parts)}")


def _tables(result: SuiteResult, grid: Grid) -> list[str]:
    rows = [[f.group, f.estimator, *_cells(f, rank=True)] for f in all_figures(result)]
    parts = [
        [part.group, part.feature, shorten(part.value, _WIDTH), *_cells(part.figures, rank=False)]
        for group, cases in by_group(result).items()
        for part in breakdown(cases, group)
    ]
    bad = [_case(case) for case in worst(result.cases, WORST)]
    tables = [grid(_FIGURES, rows)]
    if parts:
        tables += ["Where the errors sit:", grid(_PARTS, parts)]
    return [*tables, "Worst cases:", grid(_CASES, bad)]


def _sides(headers: Sequence[str]) -> tuple[str, ...]:
    names = ("group", "estimator", "feature", "value", "case")
    return tuple("left" if header in names else "right" for header in headers)


def _cells(figures: Figures, *, rank: bool) -> list[str]:
    correlation = "" if figures.spearman is None else f"{figures.spearman:.3f}"
    return [
        str(figures.cases),
        _percent(figures.median),
        _percent(figures.p90),
        _percent(figures.maximum),
        *([correlation] if rank else []),
        "" if figures.coverage is None else _percent(figures.coverage),
    ]


def _case(case: Case) -> list[str]:
    return [
        shorten(case.name, _WIDTH),
        case.group,
        format_seconds(case.measured_s),
        format_seconds(case.predicted_s),
        f"{case.predicted_s / case.measured_s:.2f} ({_percent(error(case))})",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
