"""Operators that do the work of several others: found where their sums agree."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from itertools import accumulate

import msgspec

from rnncost.report.model import OpRow


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Operators of base and of head, by their numbers, that do the same work."""

    base: tuple[int, ...]
    head: tuple[int, ...]


def unrolled(
    base: Sequence[OpRow], head: Sequence[OpRow], left: Sequence[int], right: Sequence[int]
) -> list[Match]:
    """Operators of one kind that run equally often in all, in fewer rows on one side.

    A module that PyTorch calls at every step is one row; its export has a node for each step.
    One execution must have the same type, dimensions and work, and the sums of params agree.
    """
    here, there = _by_execution(base, left), _by_execution(head, right)
    found = []
    for key, rows in here.items():
        others = there.get(key, [])
        ours, theirs = [base[n] for n in rows], [head[n] for n in others]
        if (
            others
            and len(others) != len(rows)
            and all(
                sum(getattr(op, metric) for op in ours) == sum(getattr(op, metric) for op in theirs)
                for metric in ("executions", "params")
            )
        ):
            found.append(Match(base=tuple(rows), head=tuple(others)))
    return found


def summed(
    base: Sequence[OpRow],
    head: Sequence[OpRow],
    left: Sequence[int],
    right: Sequence[int],
    measure: Callable[[OpRow], tuple[int, ...]],
    flipped: bool,
) -> list[Match]:
    """Operators of ``left``, each with the run of ``right`` that measures the same, in order.

    Args:
        base: the operators that ``left`` counts.
        head: those that ``right`` counts.
        left: numbers of operators, in order.
        right: those of the other side, in order.
        measure: what must agree, params and MACs first.
        flipped: look for the operators of ``right`` in runs of ``left`` instead.
    """
    if flipped:
        found = summed(head, base, right, left, measure, False)
        return [Match(base=m.head, head=m.base) for m in found]
    run = [n for n in right if works(head[n])]
    parts = [measure(head[n]) for n in run]
    targets = {n: wanted for n in left if any((wanted := measure(base[n]))[:2])}
    # Each measure as one number whose digits are its parts: no sum carries over.
    radix = 1 + sum(map(sum, parts)) + sum(map(sum, targets.values()))
    sums = [*accumulate((_number(part, radix) for part in parts), initial=0)]
    last = {total: place for place, total in enumerate(sums)}
    matches = []
    start = 0
    for one, wanted in targets.items():
        size = _number(wanted, radix)
        ends = {total + size for total in sums[start:]} & last.keys()
        if ends:
            end = min(ends)
            first, start = last[end - size], bisect_left(sums, end)
            matches.append(Match(base=(one,), head=tuple(run[first:start])))
    return matches


def _by_execution(ops: Sequence[OpRow], rows: Sequence[int]) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = {}
    for n in rows:
        op = ops[n]
        if op.executions:
            work = (op.macs, op.elementwise_ops, 0 if works(op) else op.streamed_bytes)
            letters = (*sorted(op.dims.items()), *sorted(op.extents.items()))
            key = (op.op_type, letters, *(Fraction(part, op.executions) for part in work))
            found.setdefault(key, []).append(n)
    return found


def works(op: OpRow) -> bool:
    """Whether an operator computes or stores anything; else it only moves data."""
    return bool(op.params or op.macs or op.elementwise_ops)


def _number(digits: tuple[int, ...], radix: int) -> int:
    return sum(digit * radix**place for place, digit in enumerate(digits))
