"""What changed between two reports: totals, estimates and operators."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from rnncost.report.model import Bindings, ModelInfo, OpRow, Tool, UncountedOp

Status = Literal[
    "unchanged", "changed", "renamed", "split", "merged", "regrouped", "added", "removed"
]
Value = int | float | bool | str | None

LARGEST = frozenset({"peak_activation_bytes", "lookahead_steps"})
"""Metrics whose total is the largest of the operators'."""

PATHS = frozenset({"sequential_steps", "executed_steps"})
"""Metrics whose total is the longest path through the graph."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A value in base and in head; None on the side that has none.

    ``change`` is head less base, and ``relative`` that over base: 0.1 is 10 % more. Both are
    None where a side has no number; ``relative`` also where base is zero and head is not.
    """

    base: Value
    head: Value
    change: int | float | None = None
    relative: float | None = None

    @property
    def is_zero(self) -> bool:
        """Whether both sides have the same value."""
        return self.base == self.head


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two that are compared. ``source`` is the report's file, ``""`` without one."""

    source: str
    model: ModelInfo
    tool: Tool
    schema_version: str
    bindings: Bindings
    coverage: float
    uncounted: list[UncountedOp]


class EstimateDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What changed in the estimate for one profile, by the estimate's keys."""

    profile: str
    metrics: dict[str, Change]


class OpDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Operators of base and the ones of head that do their work.

    ``status`` is "renamed" where only the name had to be looked past, whether more changed or
    not; "split", "merged" and "regrouped" where one operator does the work of several, several
    that of one, or several that of several others. ``changes`` has what differs: metrics (for
    groups their sums), ``op_type``, ``kind``, ``precision``, ``executions``, ``dims.H``,
    ``extents.K`` and so on. ``latency_s`` is the estimated time by profile, of the profiles
    that both sides have, changed or not.
    """

    status: Status
    base: list[OpRow]
    head: list[OpRow]
    changes: dict[str, Change] = {}
    latency_s: dict[str, Change] = {}

    def to_dict(self) -> dict[str, Any]:
        """The difference as plain JSON values, an operator by its name and type."""
        return {
            "status": self.status,
            "base": [{"name": op.name, "op_type": op.op_type} for op in self.base],
            "head": [{"name": op.name, "op_type": op.op_type} for op in self.head],
            "changes": msgspec.to_builtins(self.changes),
            "latency_s": msgspec.to_builtins(self.latency_s),
        }


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What changed from base to head. ``str(difference)`` is a table, ``to_dict()`` JSON.

    ``estimates`` are those of the profiles that both sides have; ``only_base`` and
    ``only_head`` name the profiles of one side alone. Each operator of either side is in one
    of ``ops``, which follow the order of head.
    """

    base: Side
    head: Side
    totals: dict[str, Change]
    estimates: list[EstimateDifference]
    only_base: list[str]
    only_head: list[str]
    ops: list[OpDifference]
    warnings: list[str]

    def count(self, *statuses: Status) -> int:
        """How many operators, or groups of them, have one of the statuses."""
        return sum(op.status in statuses for op in self.ops)

    def to_dict(self) -> dict[str, Any]:
        """The difference as plain JSON values, in base units."""
        plain: dict[str, Any] = msgspec.to_builtins(
            {key: getattr(self, key) for key in self.__struct_fields__ if key != "ops"}
        )
        plain["ops"] = [op.to_dict() for op in self.ops]
        return {key: plain[key] for key in self.__struct_fields__}

    def __str__(self) -> str:
        from rnncost.difference.text import render_text

        return render_text(self)


def change(base: Value, head: Value) -> Change:
    """The change from one value to another, as a number where both are numbers."""
    if isinstance(base, bool | str | None) or isinstance(head, bool | str | None):
        return Change(base=base, head=head)
    return Change(base=base, head=head, change=head - base, relative=_relative(base, head))


def _relative(base: int | float, head: int | float) -> float | None:
    if base == head:
        return 0.0
    if not base:
        return None
    try:
        share = (head - base) / base
    except OverflowError:
        return None
    return share if math.isfinite(share) else None


def combined(metric: str, ops: list[OpRow]) -> int:
    """A metric of several operators together: the largest where the total is, else the sum."""
    values = [getattr(op, metric) for op in ops]
    return max(values, default=0) if metric in LARGEST else sum(values)
