"""The report as an HTML fragment for notebooks: inline style, readable on light and dark."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from rnncost.report import estimates, summary, training
from rnncost.report.model import Report
from rnncost.report.rows import Column, op_columns
from rnncost.report.text import printable

# Colours are inherited, and lines are a translucent grey, so any notebook theme works.
_BOX = "font-family:inherit;color:inherit;background:transparent;overflow-x:auto"
_TABLE = "border-collapse:collapse;font-size:0.9em;margin:0.6em 0;color:inherit"
_CELL = "padding:0.15em 0.6em;border-bottom:1px solid rgba(128,128,128,0.35);text-align:{}"


def render_html_fragment(report: Report) -> str:
    """One ``<div>`` with the verdict, the totals and the tables; no script, no style sheet."""
    parts = [
        f"<p><strong>{_escape(summary.verdict(report))}</strong></p>",
        _grid(op_columns(report)),
        _list(f"{k.strip()}: {v}" for k, v in summary.model_lines(report)),
        _list(f"{k.strip()}: {v}" for k, v in summary.totals_lines(report)),
        _titled(
            "As formulas", (f"{k} = {v}" for k, v in summary.formula_lines(report, verbose=False))
        ),
    ]
    if report.estimates:
        parts += [
            _grid(estimates.estimate_columns(report)),
            _list(estimates.estimate_sentences(report)),
        ]
    if report.training is not None:
        parts += [
            _titled("Training step", (f"{k}: {v}" for k, v in training.training_lines(report))),
            _grid(training.training_columns(report)),
            _list(training.training_sentences(report)),
        ]
    parts += [
        _titled("Notes", summary.note_lines(report)),
        _titled("Uncounted", summary.uncounted_lines(report)),
        _titled("Warnings", report.warnings),
        f"<p><small>{_escape(summary.conventions(report))}</small></p>",
    ]
    return f'<div class="rnncost" style="{_BOX}">{"".join(parts)}</div>'


def _escape(text: str) -> str:
    return html.escape(printable(text))


def _titled(title: str, lines: Iterable[str]) -> str:
    body = _list(lines)
    return f"<p><strong>{title}</strong></p>{body}" if body else ""


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{_escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _grid(columns: Sequence[Column]) -> str:
    styles = [_CELL.format("right" if c.number else "left") for c in columns]
    head = "".join(
        f'<th style="{style}">{_escape(c.title)}</th>'
        for style, c in zip(styles, columns, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td style="{style}">{_escape(cell)}</td>'
            for style, cell in zip(styles, row, strict=True)
        )
        + "</tr>"
        for row in zip(*(c.cells for c in columns), strict=True)
    )
    return f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
