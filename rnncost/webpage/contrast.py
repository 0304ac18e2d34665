"""A model beside its variants: one column a design, one row a metric."""

from __future__ import annotations

from rnncost.comparison.grid import Cell, Row, rows, subtitle
from rnncost.comparison.model import Comparison, Design
from rnncost.report.rows import Column
from rnncost.webpage.markup import Markup, bullets, escape, section, table, titled
from rnncost.webpage.sections import short_name


def contrast_section(comparison: Comparison) -> str:
    """The table, then for each design what it changes and why."""
    shown = rows(comparison)
    columns = [Column("metric", tuple(map(_label, shown)), number=False)]
    for place, design in enumerate(comparison.designs):
        cells = tuple(_cell(row.cells[place]) if row.cells else "" for row in shown)
        columns.append(Column(_heading(design), cells))
    headings = [number for number, row in enumerate(shown) if not row.cells]
    reasons = "".join(
        titled(
            short_name(design.title),
            bullets([*design.reasons, *(f"note: {note}" for note in design.notes)]),
        )
        for design in comparison.designs
    )
    return section(
        "contrast",
        "Contrast",
        table(
            "The model as it is and its variants, with the ratio to the model as it is",
            columns,
            strong=headings,
        ),
        bullets(subtitle(comparison)),
        reasons,
        titled("Skipped", bullets(f"{one.name}: {one.reason}" for one in comparison.skipped)),
        titled("Warnings", bullets(comparison.warnings)),
    )


def _label(row: Row) -> str:
    inside = row.label.startswith(" ")
    return Markup(f"&emsp;{escape(row.label.strip())}") if inside else short_name(row.label)


def _heading(design: Design) -> Markup:
    policy = f"<small>{escape(design.policy)}</small>" if design.policy else ""
    return Markup(f"{escape(short_name(design.name))}{policy}")


def _cell(cell: Cell) -> Markup:
    ratio = f"<small>{escape(cell.ratio)}</small>" if cell.ratio else ""
    return Markup(f"{escape(cell.value)}{ratio}")
