"""A difference as GitHub-flavoured Markdown that fits in a comment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rnncost.difference import lines
from rnncost.difference.lines import MOST_OPS
from rnncost.difference.model import Difference
from rnncost.report.markdown import escape
from rnncost.report.text import plural, printable, shorten

MARKER = "<!-- rnncost-diff -->"
"""The first line: a bot finds its earlier comment by it, and readers do not see it."""

LIMIT = 65_536
"""The longest comment that GitHub takes, in characters; here also in bytes."""

_CELL, _SENTENCE = 80, 400
_DETAIL = 6  # the column of operators that says what changed


def render_markdown(difference: Difference, *, metric: str = "macs", verbose: bool = False) -> str:
    """Both sides, warnings, totals and operators; cut where it would not fit in a comment.

    Args:
        difference: what to show.
        metric: what the operators are sorted by and shown with.
        verbose: show every total and operator, as far as there is room.

    Raises:
        BindingError: operators have no such metric.
    """
    metric = lines.metric_of(difference, metric)
    most = max(len(difference.ops), len(difference.warnings), 1000) if verbose else MOST_OPS
    while True:
        text = _document(difference, metric, verbose=verbose, most=most)
        if len(text.encode()) < LIMIT or most == 1:
            return text
        most //= 2


def _document(difference: Difference, metric: str, *, verbose: bool, most: int) -> str:
    blocks = [
        f"{MARKER}\n### rnncost: what changed",
        _sentence(lines.verdict(difference)),
        "\n".join(
            f"- **{role}**: {_sentence(lines.side_text(side))}"
            for role, side in (("base", difference.base), ("head", difference.head))
        ),
        _bullets("Warnings", difference.warnings, most),
        *_totals(difference, verbose=verbose, most=most),
        _ops(difference, metric, verbose=verbose, most=most),
        f"<sub>{_sentence(lines.conventions(difference))}</sub>",
    ]
    return "\n\n".join(block for block in blocks if block)


def _totals(difference: Difference, *, verbose: bool, most: int) -> list[str]:
    shown, same = lines.total_changes(difference, verbose=verbose)
    kept = 2 * most
    rows = lines.total_cells(shown)[:kept]
    if len(shown) > kept:
        rows.append([f"({plural(len(shown) - kept, 'total')} more)", "", "", "", ""])
    table = _grid(("total", "base", "head", "change", ""), rows, left=1) if rows else ""
    return [table, f"Unchanged: {_sentence(', '.join(same))}" if same else ""]


def _ops(difference: Difference, metric: str, *, verbose: bool, most: int) -> str:
    rows = [
        [row.status, row.name, row.op_type, *lines.change_cells(metric, row.change), row.detail]
        for row in lines.op_rows(difference, metric, verbose=verbose, most=most)
    ]
    headings = ("ops", "name", "type", f"{metric}, base", "head", "change", "what changed")
    return _grid(headings, rows, left=3) if rows else ""


def _bullets(title: str, sentences: Sequence[str], most: int) -> str:
    shown = [f"- {_sentence(text)}" for text in sentences[:most]]
    if len(sentences) > most:
        shown.append(f"- and {len(sentences) - most:,} more")
    return "\n".join([f"**{title}**", "", *shown]) if shown else ""


def _sentence(text: str) -> str:
    return escape(_cut(text, _SENTENCE, 1.0))


def _cut(text: str, width: int, kept_at_start: float = 0.5) -> str:
    """Short and printable; shortened first, as printing takes longer the longer it is."""
    return shorten(printable(shorten(text, width, kept_at_start)), width, kept_at_start)


def _grid(headings: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """A table whose first ``left`` columns hold text, and the one with what changed."""
    from tabulate import tabulate

    def cell(text: str, width: int) -> str:
        return escape(_cut(text, width))

    return tabulate(
        [
            [
                cell(text, _SENTENCE // 2 if place == _DETAIL else _CELL)
                for place, text in enumerate(row)
            ]
            for row in rows
        ],
        headers=[cell(text, _CELL) for text in headings],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=[
            "left" if place < left or place == _DETAIL else "right"
            for place in range(len(headings))
        ],
    )
