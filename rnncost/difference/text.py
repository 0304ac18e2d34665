"""A difference as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rnncost.difference import lines
from rnncost.difference.lines import MOST_OPS, Row
from rnncost.difference.model import Difference
from rnncost.report.text import printable, shorten, shorten_all

WIDTH = 100
_GAP = 2
_NAME_WIDTH, _TYPE_WIDTH, _METRIC_WIDTH = 12, 18, 36
_INDENT = " " * 11


def render_text(difference: Difference, *, metric: str = "macs", verbose: bool = False) -> str:
    """Both sides, warnings, totals and operators, 100 columns wide.

    Args:
        difference: what to show.
        metric: what the operators are sorted by and shown with.
        verbose: show every total and operator, and what changed in each.

    Raises:
        BindingError: operators have no such metric.
    """
    metric = lines.metric_of(difference, metric)
    sides = [("base", difference.base), ("head", difference.head)]
    blocks = [
        [line for role, side in sides for line in _wrapped(lines.side_text(side), f"{role}  ")],
        [line for text in difference.warnings for line in _wrapped(text, "warning: ")],
        _totals(difference, verbose=verbose),
        _ops(difference, metric, verbose=verbose),
        _wrapped(lines.conventions(difference), ""),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _totals(difference: Difference, *, verbose: bool) -> list[str]:
    shown, same = lines.total_changes(difference, verbose=verbose)
    cells = lines.total_cells(shown)
    names = shorten_all([row[0] for row in cells], _METRIC_WIDTH)
    table = _grid(
        ("total", "base", "head", "change", ""),
        [[name, *row[1:]] for name, row in zip(names, cells, strict=True)],
        left=1,
    )
    return [*(table if cells else []), *_wrapped(", ".join(same), "unchanged: ") * bool(same)]


def _ops(difference: Difference, metric: str, *, verbose: bool) -> list[str]:
    """The table of operators; what else changed stands below each."""
    most = len(difference.ops) if verbose else MOST_OPS
    rows = lines.op_rows(difference, metric, verbose=verbose, most=most)
    if not rows:
        return []
    types = [shorten(printable(row.op_type), _TYPE_WIDTH) for row in rows]
    figures = [lines.change_cells(metric, row.change) for row in rows]
    fixed = [
        (row.status, kind, *figure) for row, kind, figure in zip(rows, types, figures, strict=True)
    ]
    headings = ("", "name", "type", "base", "head", "change")
    columns = zip((headings[0], *headings[2:]), *fixed, strict=True)
    others = sum(max(map(len, column)) + _GAP for column in columns)
    names = shorten_all([row.name for row in rows], max(WIDTH - others, _NAME_WIDTH))
    cells = [[row[0], name, *row[1:]] for row, name in zip(fixed, names, strict=True)]
    heading, rule, *body = _grid(headings, cells, left=3)
    below = [(text, *_detail(row)) for row, text in zip(rows, body, strict=True)]
    title = _wrapped(f"operators, by change in {metric}", "")
    return [*title, heading, rule, *(line for group in below for line in group)]


def _detail(row: Row) -> list[str]:
    return _wrapped(row.detail, _INDENT) if row.detail else []


def _wrapped(text: str, start: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_on_hyphens=False,
    )


def _grid(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """The lines of a table whose first ``left`` columns hold text."""
    from tabulate import tabulate

    safe = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *safe, strict=True)]
    # The rule is a row: tabulate pads its own headings by two, too wide for a terminal.
    text = tabulate(
        [headings, ["-" * width for width in widths], *safe],
        tablefmt="plain",
        disable_numparse=True,
        colalign=["left"] * left + ["right"] * (len(headings) - left),
    )
    return [line.rstrip() for line in text.split("\n")]
