"""The report as GitHub-flavoured Markdown, fit for a pull-request comment or a README."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rnncost.report import estimates, summary, training
from rnncost.report.model import Report
from rnncost.report.rows import Column, op_columns
from rnncost.report.text import printable

_ACTIVE = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "@&#8203;", "#": "#&#8203;"}


def render_markdown(report: Report, *, verbose: bool = False) -> str:
    """Lay the report out as headings, bullet lists and tables."""
    blocks = [
        f"### {escape(summary.verdict(report))}",
        _bullets(_labelled([*summary.model_lines(report), *summary.totals_lines(report)])),
        _grid(op_columns(report, verbose=verbose)),
    ]
    if report.estimates:
        blocks += [_grid(estimates.estimate_columns(report))]
        blocks += [_bullets(map(escape, estimates.estimate_sentences(report)))]
    if report.training is not None:
        blocks += ["**Training step**", _bullets(_labelled(training.training_lines(report)))]
        blocks += [_grid(training.training_columns(report))]
        sentences = training.training_sentences(report, verbose=verbose)
        blocks += [_bullets(map(escape, sentences))] if sentences else []
    formulas = [f"{key} = {text}" for key, text in summary.formula_lines(report, verbose=verbose)]
    blocks += _section("As formulas", map(escape, formulas))
    if verbose:
        op_formulas = [f"{key}: {text}" for key, text in summary.op_formula_lines(report)]
        blocks += _section("Formulas of one execution", map(escape, op_formulas))
    blocks += _section("Notes", map(escape, summary.note_lines(report)))
    blocks += _section("Uncounted", map(escape, summary.uncounted_lines(report)))
    blocks += _section("Warnings", map(escape, report.warnings))
    return "\n\n".join([*blocks, f"<sub>{escape(summary.conventions(report))}</sub>"])


def escape(text: str) -> str:
    """Keep text from acting as markup, as a mention or as an issue reference."""
    active = _ACTIVE.sub(lambda match: f"\\{match.group()}", printable(text))
    return "".join(_ENTITIES.get(c, c) for c in active)


def _labelled(lines: Iterable[summary.Label]) -> list[str]:
    return [f"**{label.strip()}**: {escape(text)}" for label, text in lines]


def _section(title: str, lines: Iterable[str]) -> list[str]:
    body = _bullets(lines)
    return [f"**{title}**", body] if body else []


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _grid(columns: Sequence[Column]) -> str:
    from tabulate import tabulate

    return tabulate(
        [[escape(cell) for cell in row] for row in zip(*(c.cells for c in columns), strict=True)],
        headers=[c.title for c in columns],
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["right" if c.number else "left" for c in columns],
    )
