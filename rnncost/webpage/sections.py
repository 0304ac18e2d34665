"""What the page says about the report itself: key figures, totals, operators, notes."""

from __future__ import annotations

from collections.abc import Sequence

from rnncost.budgets.formats.findings import verdict
from rnncost.budgets.model import CheckResult
from rnncost.report import estimates, summary, training
from rnncost.report.model import Estimate, OpEstimate, Report
from rnncost.report.rows import Column, op_columns
from rnncost.report.text import percent, plural, shorten
from rnncost.units import format_bytes, format_count, format_seconds
from rnncost.webpage.markup import (
    Markup,
    bullets,
    escape,
    facts,
    folded,
    paragraph,
    section,
    table,
    titled,
)

_NAME_CHARS = 120
_MOST_ROWS = 2000
"""Rows of a table: a page with more is slow to open, and the CSV has them all."""


def key_figures(report: Report, check: CheckResult | None = None) -> str:
    """The few numbers to see first."""
    totals = report.totals
    figures = [
        ("MACs", format_count(totals.macs), ""),
        ("parameters", format_count(totals.params), format_bytes(totals.weight_bytes)),
    ]
    if totals.sequential_steps:
        share = f"{percent(totals.sequential_share)}% of the MACs"
        figures.append(("sequential steps", f"{totals.sequential_steps:,}", share))
    figures += [(e.profile, format_seconds(e.latency_s), _range(e)) for e in report.estimates]
    if check is not None:
        figures.append(("budgets", "passed" if check.passed else "failed", verdict(check)))
    items = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}"
        f"{f'<small>{escape(more)}</small>' if more else ''}</dd></div>"
        for label, value, more in figures
    )
    return f'<dl class="figures">{items}</dl>'


def summary_section(report: Report) -> str:
    """The model, the totals, and the totals as formulas."""
    formulas = [f"{k} = {v}" for k, v in summary.formula_lines(report, verbose=False)]
    return section(
        "summary",
        "Summary",
        facts(summary.model_lines(report)),
        facts(summary.totals_lines(report)),
        folded("Totals as formulas in the free dimensions", bullets(formulas)),
    )


def estimates_section(report: Report) -> str:
    """The latency on each profile, and what is to be said of it."""
    if not report.estimates:
        return ""
    return section(
        "latency",
        "Latency",
        table("Estimated latency of one run", estimates.estimate_columns(report)),
        bullets(estimates.estimate_sentences(report)),
    )


def training_section(report: Report) -> str:
    """What a training step costs, where that was asked for."""
    columns = [
        Column(c.title, tuple(map(short_name, c.cells)), c.number)
        for c in training.training_columns(report)
    ]
    if not columns:
        return ""
    last = len(columns[0].cells) - 1
    return section(
        "training",
        "Training",
        facts(training.training_lines(report)),
        table("A training step, operator by operator", columns, strong=[last]),
        bullets(training.training_sentences(report, verbose=True)),
    )


def operators_section(report: Report) -> str:
    """The operators' counts, then their times on each profile."""
    short, verbose = op_columns(report), op_columns(report, verbose=True)
    every = _op_table("Counts of every operator", verbose) if short != verbose else ""
    return section(
        "operators",
        "Operators",
        _op_table("Counts", short),
        folded(f"Every operator ({len(report.ops):,})", every),
        *(_times(e) for e in report.estimates if e.latency_s and any(o.latency_s for o in e.ops)),
    )


def notes_section(report: Report) -> str:
    """What is to be known about the counts: notes, operators without a count, warnings."""
    return section(
        "notes",
        "Notes",
        titled("Warnings", bullets(report.warnings)),
        titled("Uncounted", bullets(summary.uncounted_lines(report))),
        titled("How operators were counted", bullets(summary.note_lines(report))),
    )


def bar(share: float, text: str) -> Markup:
    """A share of one as text with a bar beside it."""
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    return Markup(
        f'{escape(text)}<span class="share" aria-hidden="true" style="--part:{width}"></span>'
    )


def short_name(name: str) -> str:
    """A name that does not fill a page."""
    return shorten(name, _NAME_CHARS)


def _range(estimate: Estimate) -> str:
    if estimate.latency_low_s is None or estimate.latency_high_s is None:
        return "" if estimate.calibrated else "uncalibrated"
    low, high = format_seconds(estimate.latency_low_s), format_seconds(estimate.latency_high_s)
    return f"{low} to {high}"


def _op_table(caption: str, columns: Sequence[Column]) -> str:
    """The operator table, cut where a page gets slow; its last rows are the total's."""
    names = columns[0].cells
    ends = 2 if names[-1] != "total" else 1
    kept = list(range(len(names)))
    if len(names) > _MOST_ROWS:
        kept = [*range(_MOST_ROWS), *range(len(names) - ends, len(names))]
    shown = [Column(c.title, tuple([c.cells[row] for row in kept]), c.number) for c in columns]
    named = Column("name", tuple(map(short_name, shown[0].cells)), number=False)
    left = len(names) - len(kept)
    more = paragraph(f"{plural(left, 'row')} are left out; -o csv has all.") if left else ""
    return table(caption, [named, *shown[1:]], strong=[len(kept) - ends]) + more


def _times(estimate: Estimate) -> str:
    """The operators that take time, the costliest first."""
    whole_s = estimate.latency_s
    ops = sorted(estimate.ops, key=lambda op: op.latency_s, reverse=True)
    shown = [op for op in ops if op.latency_s >= 0.001 * whole_s][:_MOST_ROWS]
    rest_s = sum(op.latency_s for op in ops) - sum(op.latency_s for op in shown)
    hidden = sum(1 for op in ops if op.latency_s) - len(shown)
    rows: list[tuple[str, OpEstimate | None, float]] = [
        (short_name(op.name), op, op.latency_s) for op in shown
    ]
    if hidden:
        rows.append((f"other ({plural(hidden, 'op')})", None, rest_s))
    start_s = whole_s - sum(op.latency_s for op in ops)
    if start_s > 1e-6 * whole_s:
        rows.append(("start of the run", None, start_s))

    def seconds(title: str, part: str) -> Column:
        values = [getattr(op, part) if op is not None else None for _, op, _ in rows]
        return Column(title, tuple(format_seconds(v) if v else "" for v in values))

    columns = [
        Column("name", tuple(name for name, _, _ in rows), number=False),
        Column("latency", tuple(format_seconds(s) for _, _, s in rows)),
        Column("share", tuple(bar(s / whole_s, f"{percent(s / whole_s)}%") for _, _, s in rows)),
        seconds("overhead", "overhead_s"),
        seconds("parallel", "parallel_s"),
        seconds("sequential", "sequential_s"),
        seconds("a step", "step_s"),
        Column("bound by", tuple(op.bound_by if op else "" for _, op, _ in rows), number=False),
        Column("DRAM", tuple(format_bytes(op.dram_bytes) if op else "" for _, op, _ in rows)),
    ]
    return table(f"Times on {estimate.profile}, costliest first", columns)
