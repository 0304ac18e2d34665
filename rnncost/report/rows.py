"""The operator table as text cells, before any format lays it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from rnncost.report.model import OpRow, Report
from rnncost.report.text import percent, plural
from rnncost.units import format_bytes

LETTERS = ("T", "B", "I", "H", "P", "D")


class Column(msgspec.Struct, frozen=True):
    """A column: its heading, its cells, and whether they are numbers (right-aligned)."""

    title: str
    cells: tuple[str, ...]
    number: bool = True


class Line(msgspec.Struct, frozen=True):
    """A row to show: one operator, or the sum of several that carry no matrix work."""

    name: str
    op: OpRow | None
    params: int
    macs: int
    elementwise_ops: int
    streamed_bytes: int


_Cell = Callable[[Line], str]


def op_columns(report: Report, *, verbose: bool = False) -> list[Column]:
    """The columns of the operator table, total row and uncounted row included.

    Operators without weights, MACs or recurrence are folded into one row, or shown one by
    one with ``verbose``. A column that would say the same in every row is left out. The
    cells of params, MACs and elementwise work are exact integers that sum to the total.
    """
    lines = _lines(report.ops, verbose)
    totals = report.totals
    uncounted = [f"uncounted ({plural(len(report.uncounted), 'op')})"] if report.uncounted else []

    def column(title: str, cell: _Cell, total: str = "", number: bool = True) -> None:
        unknown = "?" if total else ""
        cells = (*map(cell, lines), total, *(unknown for _ in uncounted))
        columns.append(Column(title, cells, number))

    names = (*(line.name for line in lines), "total", *uncounted)
    columns = [Column("name", names, number=False)]
    column("type", _op_type, number=False)
    if any(op.executions != 1 for op in report.ops):
        column("runs", _executions)
    for letter in LETTERS:
        if _tells(letter, report.ops):
            column(letter, _extent(letter))
    column("params", lambda line: f"{line.params:,}", f"{totals.params:,}")
    if any(textbook_params(op) not in (None, op.params) for op in report.ops):
        column("textbook", _textbook)
    column("MACs", lambda line: f"{line.macs:,}", f"{totals.macs:,}")
    if totals.macs:
        column("MACs %", lambda line: percent(line.macs / totals.macs), "100.0")
    if totals.sequential_steps:
        column("steps", _steps, f"{totals.sequential_steps:,}")
        column("seq %", _sequential, percent(totals.sequential_share))
    column("elementwise", lambda line: f"{line.elementwise_ops:,}", f"{totals.elementwise_ops:,}")
    if len({op.precision for op in report.ops if op.macs}) > 1:
        column("precision", _precision, number=False)
    streamed = format_bytes(totals.streamed_bytes)
    column("streamed", lambda line: format_bytes(line.streamed_bytes), streamed)
    return columns


def is_shown(op: OpRow) -> bool:
    """Whether an operator has a row of its own in the short table."""
    return bool(op.macs or op.dense_macs or op.params or op.sequential_steps)


def textbook_params(op: OpRow) -> int | None:
    """The textbook's count for a recurrent layer that stores its own weights, else None."""
    return op.textbook_params if op.params else None


def _textbook(line: Line) -> str:
    books = textbook_params(line.op) if line.op else None
    return "" if books is None else f"{books:,}"


def _lines(ops: Sequence[OpRow], verbose: bool) -> list[Line]:
    shown = [op for op in ops if verbose or is_shown(op)]
    lines = [_line(op) for op in shown]
    folded = [op for op in ops if not (verbose or is_shown(op))]
    if folded:
        lines.append(
            Line(
                name=f"other ({plural(len(folded), 'op')})",
                op=None,
                params=0,
                macs=0,
                elementwise_ops=sum(op.elementwise_ops for op in folded),
                streamed_bytes=sum(op.streamed_bytes for op in folded),
            )
        )
    return lines


def _line(op: OpRow) -> Line:
    return Line(op.name, op, op.params, op.macs, op.elementwise_ops, op.streamed_bytes)


def _tells(letter: str, ops: Sequence[OpRow]) -> bool:
    values = {op.dims[letter] for op in ops if letter in op.dims}
    return bool(values - {1}) if letter == "D" else bool(values)


def _extent(letter: str) -> _Cell:
    def cell(line: Line) -> str:
        value = line.op.dims.get(letter) if line.op else None
        return "" if value is None else str(value)

    return cell


def _op_type(line: Line) -> str:
    return line.op.op_type if line.op else ""


def _precision(line: Line) -> str:
    return line.op.precision if line.op and line.macs else ""


def _executions(line: Line) -> str:
    return f"{line.op.executions:,}" if line.op else ""


def _steps(line: Line) -> str:
    return f"{line.op.sequential_steps:,}" if line.op and line.op.sequential_steps else ""


def _sequential(line: Line) -> str:
    if line.op is None or not line.macs:
        return ""
    return percent(line.op.sequential_macs / line.macs)
