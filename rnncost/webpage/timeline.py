"""The estimate as a path in time: one operator after another, one step after another.

The report gives the times at its own number of steps T. At another number they are a
projection: what an operator computes is in proportion to T, unless it multiplies no more
rows than the batch has, and what it costs to start it is not, unless a loop of the model
starts it in every trip.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from rnncost.report.model import Estimate, OpEstimate, OpRow, Report
from rnncost.report.text import plural

Kind = Literal["overhead", "parallel", "steps", "backward"]
KINDS: tuple[Kind, ...] = ("overhead", "parallel", "steps", "backward")

LARGEST_T = 1_000_000
"""The most steps that a slider offers twice of."""

START = "start of the run"
_OWN_ROWS = 12
_OWN_ROW_SHARE = 0.03
_TOLERANCE = 1e-6


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Time of one kind; ``scales`` says that it grows with T."""

    kind: Kind
    seconds: float
    scales: bool


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One operator, or several that follow one another.

    ``steps`` are those of one direction, 0 for an operator without. ``turns`` is 2 where
    the directions run one after the other. ``step_s`` is the time of one step.
    """

    name: str
    parts: tuple[Part, ...]
    steps: int = 0
    turns: int = 1
    step_s: float | None = None

    @property
    def seconds(self) -> float:
        """The whole time of the row."""
        return math.fsum(part.seconds for part in self.parts)


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """The rows in the order of execution, which add up to ``latency_s``.

    ``steps`` is T, the most steps of any operator; 0 where the model has none.
    """

    steps: int
    latency_s: float
    rows: tuple[Row, ...]

    def latency_at(self, steps: int) -> float:
        """The projected latency in seconds at another number of steps."""
        if steps == self.steps:
            return self.latency_s
        parts = [part for row in self.rows for part in row.parts]
        factor = steps / self.steps
        return math.fsum(p.seconds * (factor if p.scales else 1.0) for p in parts)


class Omitted(msgspec.Struct, frozen=True):
    """A chart that cannot be drawn, and why."""

    reason: str


def timeline_of(report: Report, estimate: Estimate) -> Timeline | Omitted:
    """Lay the operators of an estimate end to end."""
    if not estimate.latency_s:
        return Omitted("the estimate has no time")
    rest = _rest(estimate)
    if min(part.seconds for part in rest) < -_TOLERANCE * estimate.latency_s:
        return Omitted("the times of the operators exceed those of the estimate")
    start, *others = [
        Row(name=name, parts=(part,))
        for name, part in zip((START, "other work", "other steps"), rest, strict=True)
    ]
    batch = once_rows(report)
    rows = [start, *(_row(op, time, batch) for op, time in paired(report, estimate))]
    whole = _folded([row for row in rows if row.seconds > 0], estimate.latency_s)
    whole += [row for row in others if row.seconds > _TOLERANCE * estimate.latency_s]
    total_s = math.fsum(row.seconds for row in whole)
    if not math.isclose(total_s, estimate.latency_s, rel_tol=_TOLERANCE):
        return Omitted("the parts of the estimate do not add up to its latency")
    return Timeline(
        steps=max((_steps(op) for op in report.ops), default=0),
        latency_s=estimate.latency_s,
        rows=tuple(whole),
    )


def paired(report: Report, estimate: Estimate) -> list[tuple[OpRow | None, OpEstimate]]:
    """Each operator's estimate with its counts; None where the report does not count it."""
    if [op.name for op in report.ops] == [op.name for op in estimate.ops]:
        return list(zip(report.ops, estimate.ops, strict=True))
    known = {op.name: op for op in report.ops}
    return [(known.get(time.name), time) for time in estimate.ops]


def once_rows(report: Report) -> int:
    """The rows of a product that runs once a sequence, as a layer on the last step does.

    That is the batch of the recurrent operators; 0 where T is 1, which tells nothing.
    """
    recurrent = [op for op in report.ops if op.kind == "recurrent"]
    if max(map(_steps, recurrent), default=0) < 2:
        return 0
    return max(op.dims.get("B", 0) for op in recurrent)


def _row(op: OpRow | None, time: OpEstimate, batch: int) -> Row:
    steps = _steps(op) if op is not None and time.sequential_s else 0
    turns = _turns(op, time) if op and steps else 1
    again = op is not None and (
        op.executions > 1 or (op.kind == "control" and op.sequential_steps > 1)
    )
    once = op is not None and not again and 0 < _weighted_rows(op) <= batch
    parts = [
        Part(kind="overhead", seconds=time.overhead_s, scales=again),
        Part(kind="parallel", seconds=time.parallel_s, scales=not once),
        Part(kind="steps", seconds=time.sequential_s / turns, scales=True),
    ]
    if turns == 2:
        parts.append(Part(kind="backward", seconds=time.sequential_s / turns, scales=True))
    return Row(
        name=time.name,
        parts=tuple([part for part in parts if part.seconds]),
        steps=steps,
        turns=turns,
        step_s=time.step_s if steps else None,
    )


def _weighted_rows(op: OpRow) -> int:
    """The rows that a product [batch, M, K]·[K, N] with stored weights multiplies, else 0."""
    extents = dict(op.extents)
    batch = extents.pop("batch", 1)
    return batch * extents["M"] if op.params and extents.keys() == {"M", "K", "N"} else 0


def _steps(op: OpRow) -> int:
    """The steps of one direction in a run: those of a layer, or the trips around a cell."""
    if op.kind != "recurrent":
        return 0
    if op.executions > 1:
        return op.sequential_steps
    return op.dims.get("T") or op.sequential_steps


def _turns(op: OpRow, time: OpEstimate) -> int:
    """2 where the two directions of a layer take turns, as their number of steps tells."""
    if op.dims.get("D") != 2 or not time.step_s:
        return 1
    executed = time.sequential_s / time.step_s
    return 2 if math.isclose(executed, op.executed_steps, rel_tol=0.01) else 1


def _rest(estimate: Estimate) -> tuple[Part, Part, Part]:
    """What the estimate has beyond its operators: starting the run, above all."""

    def rest(part: str) -> float:
        own = math.fsum(getattr(op, part) for op in estimate.ops)
        whole: float = getattr(estimate, part)
        return 0.0 if math.isclose(own, whole, rel_tol=1e-9) else whole - own

    return (
        Part(kind="overhead", seconds=rest("overhead_s"), scales=False),
        Part(kind="parallel", seconds=rest("parallel_s"), scales=True),
        Part(kind="steps", seconds=rest("sequential_s"), scales=True),
    )


def _folded(rows: Sequence[Row], latency_s: float) -> list[Row]:
    """Rows that cost little are summed up with their neighbours, or at the end with the rest."""

    def matters(seconds: float) -> bool:
        return seconds >= _OWN_ROW_SHARE * latency_s

    costly = sorted(rows, key=lambda row: (row.steps > 0, row.seconds), reverse=True)[:_OWN_ROWS]
    own = {id(row) for row in costly if row.steps or matters(row.seconds)}
    result: list[Row] = []
    rest: list[Row] = []
    for kept, group in itertools.groupby(rows, key=lambda row: id(row) in own):
        neighbours = list(group)
        if kept:
            result += neighbours
        elif matters(math.fsum(row.seconds for row in neighbours)):
            result.append(_sum(neighbours))
        else:
            rest += neighbours
    return [*result, _sum(rest)] if rest else result


def _sum(rows: Sequence[Row]) -> Row:
    if len(rows) == 1:
        return rows[0]
    operators = [row for row in rows if row.name != START]
    name = plural(len(operators), "other op")
    if len(operators) < len(rows):
        name = f"{name}, run start"
    return Row(name=name, parts=_sum_parts(rows))


def _sum_parts(rows: Iterable[Row]) -> tuple[Part, ...]:
    seconds: dict[tuple[Kind, bool], float] = {}
    for row in rows:
        for part in row.parts:
            key = (part.kind, part.scales)
            seconds[key] = seconds.get(key, 0.0) + part.seconds
    order = sorted(seconds, key=lambda key: (KINDS.index(key[0]), key[1]))
    return tuple([Part(kind=k, seconds=seconds[k, scales], scales=scales) for k, scales in order])
