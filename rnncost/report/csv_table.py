"""The report's operators as CSV: one row an operator, every metric in base units."""

from __future__ import annotations

from collections.abc import Iterator

from rnncost.report.model import Metrics, OpRow, Report, UncountedOp
from rnncost.report.rows import LETTERS
from rnncost.report.text import printable

_IDENTITY = ("name", "op_type", "kind", "executions", "precision")
_FORMULA_START = ("=", "+", "-", "@", "'")
Cell = str | int | float | None


def render_csv(report: Report) -> str:
    """One row an operator; uncounted operators follow, with their reason and no counts.

    The columns ``latency_s`` and ``bound_by`` come once for each profile, with its name.
    """
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, _header(report), restval="", lineterminator="\n")
    writer.writeheader()
    for row in _rows(report):
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return text.getvalue()


def _header(report: Report) -> list[str]:
    per_profile = [name for index in range(len(report.estimates)) for name in _keys(report, index)]
    return [
        *_IDENTITY,
        *LETTERS,
        *Metrics.__struct_fields__,
        "textbook_params",
        *per_profile,
        "notes",
        "uncounted_reason",
    ]


def _rows(report: Report) -> Iterator[dict[str, Cell]]:
    estimated = [{op.name: op for op in estimate.ops} for estimate in report.estimates]
    for op in report.ops:
        row = _counts(op)
        for index, by_name in enumerate(estimated):
            latency, bound = _keys(report, index)
            if op.name in by_name:
                row |= {latency: by_name[op.name].latency_s, bound: by_name[op.name].bound_by}
        yield row
    yield from map(_uncounted, report.uncounted)


def _counts(op: OpRow) -> dict[str, Cell]:
    plain = (*_IDENTITY, *Metrics.__struct_fields__, "textbook_params")
    row: dict[str, Cell] = {key: getattr(op, key) for key in plain}
    row |= {letter: op.dims.get(letter) for letter in LETTERS}
    return row | {"notes": "; ".join(op.notes)}


def _uncounted(op: UncountedOp) -> dict[str, Cell]:
    return {"name": op.name, "op_type": op.op_type, "uncounted_reason": op.reason}


def _keys(report: Report, index: int) -> tuple[str, str]:
    profile = printable(report.estimates[index].profile)
    return f"latency_s ({profile})", f"bound_by ({profile})"


def _cell(value: Cell) -> Cell:
    """Text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA_START) else text
