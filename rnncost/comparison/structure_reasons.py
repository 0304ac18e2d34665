"""What a change does to the structure of a model, in words that come from two reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from rnncost.comparison.words import changed_bytes, changed_macs, listed, wait
from rnncost.report.model import OpRow, Report
from rnncost.report.text import plural

_CELLS = {1: "an RNN", 3: "a GRU", 4: "an LSTM"}


class Pair(msgspec.Struct, frozen=True):
    """A recurrent operator before and after."""

    before: OpRow
    after: OpRow


def base_structure(report: Report, step_period_s: float | None) -> list[str]:
    """What the structure of the model as it is means for streaming."""
    totals = report.totals
    if totals.lookahead_steps:
        names = [op.name for op in report.ops if op.lookahead_steps]
        read = "reads" if len(names) == 1 else "read"
        return [
            f"no output can leave before the sequence ends: {listed(names)} {read} it from its end "
            f"too, so that an output needs up to {wait(totals.lookahead_steps, step_period_s)}"
        ]
    if totals.sequential_steps and totals.streamable:
        return ["its recurrent layers need no later input, and their state can be carried over"]
    return []


def structure_reasons(base: Report, other: Report, step_period_s: float | None) -> list[str]:
    """What a variant's structure buys and costs."""
    pairs = matched(base, other)
    return [
        *_lookahead(base, other, step_period_s),
        *_gates(pairs),
        *_widths(pairs),
        *_readers(base, other, pairs),
        *_layers(base, other),
        *_steps(base, other),
    ]


def length_reasons(base: Report, other: Report, step_period_s: float | None) -> list[str]:
    """What another length of the sequence does to the structure."""
    return [*_lookahead(base, other, step_period_s), *_steps(base, other)]


def matched(base: Report, other: Report) -> list[Pair]:
    """Recurrent operators of both reports by name; in their order where names do not fit."""
    before, after = _recurrent(base), _recurrent(other)
    named = {op.name: op for op in after}
    if len(before) == len(after) and not all(op.name in named for op in before):
        return [Pair(a, b) for a, b in zip(before, after, strict=True)]
    return [Pair(op, named[op.name]) for op in before if op.name in named]


def _recurrent(report: Report) -> list[OpRow]:
    return [op for op in report.ops if {"G", "H", "D", "I"} <= op.dims.keys()]


def _lookahead(base: Report, other: Report, step_period_s: float | None) -> Iterator[str]:
    before, after = base.totals.lookahead_steps, other.totals.lookahead_steps
    if before and not after:
        yield (
            "its recurrent layers need no later input; as it is, an output needs up to "
            f"{wait(before, step_period_s)}"
        )
        if not other.totals.streamable:
            yield (
                "to run step by step its state has to be carried over: make the state an input "
                "and an output"
            )
    elif after and not before:
        yield (
            "no output can leave before the sequence ends, as one needs up to "
            f"{wait(after, step_period_s)}"
        )
    elif after != before:
        yield (
            f"an output needs up to {wait(after, step_period_s)} in place of "
            f"{wait(before, step_period_s)}"
        )


def _gates(pairs: Sequence[Pair]) -> Iterator[str]:
    """What another cell does, by the cells before and after."""
    for (before, after), group in _grouped(pairs, "G"):
        states = _sum(group, "state_bytes")
        state = "" if states[0] == states[1] else f", with {changed_bytes(*states[::-1])} of state"
        yield (
            f"{_CELLS.get(after, 'the cell')} has {plural(after, 'gate product')} a step where "
            f"{_CELLS.get(before, 'the cell')} has {before}: {_names(group)} "
            f"{_verb(group, 'take')} {_macs(group, 'macs')}{state}"
        )


def _widths(pairs: Sequence[Pair]) -> Iterator[str]:
    """What another direction or hidden size does, by those before and after."""
    squares: dict[str, None] = {}
    for (d0, h0, d1, h1), group in _grouped(pairs, "D", "H"):
        has = "has" if len(group) == 1 else "have"
        yield (
            f"{_names(group)} {has} {_layout(d1, h1)} in place of {_layout(d0, h0)}: "
            f"{_macs(group, 'sequential_macs')} wait for the step before, "
            f"{_macs(group, 'parallel_macs')} do not"
        )
        if h0 != h1:
            squares[f"{h1}² = {h1 * h1:,} in place of {h0}² = {h0 * h0:,}"] = None
    if squares:
        yield (
            "the recurrent weights of a gate are the square of the units of a direction: "
            f"{listed(list(squares))}"
        )


def _readers(base: Report, other: Report, pairs: Sequence[Pair]) -> Iterator[str]:
    """What reads a layer whose output is of another width, and so changes with it."""
    for (before, after), group in _grouped(pairs, "I"):
        if all(_same(pair, "D", "H", "G") for pair in group):
            yield (
                f"{_names(group)} {_verb(group, 'read')} {plural(after, 'number')} a step in place "
                f"of {before:,}, so that the input product takes {_macs(group, 'parallel_macs')}"
            )
    named = {op.name: op for op in other.ops if op.kind == "product"}
    others = [
        Pair(op, named[op.name])
        for op in base.ops
        if op.kind == "product" and op.name in named and named[op.name].macs != op.macs
    ]
    if others:
        yield f"{_names(others)} {_verb(others, 'take')} {_macs(others, 'macs')}"


def _layers(base: Report, other: Report) -> Iterator[str]:
    before, after = len(_recurrent(base)), len(_recurrent(other))
    if before != after:
        yield (
            f"it has {plural(after, 'recurrent operator')} in place of {before}, "
            f"with {_macs_of(_recurrent(other), _recurrent(base))}"
        )


def _steps(base: Report, other: Report) -> Iterator[str]:
    a, b = base.totals, other.totals
    if a.sequential_steps != b.sequential_steps:
        yield (
            f"the longest chain has {plural(b.sequential_steps, 'step')} in place of "
            f"{a.sequential_steps:,}"
        )
    elif a.executed_steps != b.executed_steps:
        yield (
            f"the longest chain keeps its {plural(a.sequential_steps, 'step')}, as the directions "
            f"of a layer do not wait for each other; a runtime that runs them in turn executes "
            f"{b.executed_steps:,} in place of {a.executed_steps:,}"
        )


def _grouped(pairs: Sequence[Pair], *letters: str) -> Iterator[tuple[tuple[int, ...], list[Pair]]]:
    """Operators some of whose extents change, by what these are before and then after."""
    groups: dict[tuple[int, ...], list[Pair]] = {}
    for pair in pairs:
        if not _same(pair, *letters):
            extents = [op.dims[letter] for op in (pair.before, pair.after) for letter in letters]
            groups.setdefault(tuple(extents), []).append(pair)
    yield from groups.items()


def _same(pair: Pair, *letters: str) -> bool:
    return all(pair.before.dims[letter] == pair.after.dims[letter] for letter in letters)


def _layout(directions: int, units: int) -> str:
    return f"{'two directions' if directions == 2 else 'one direction'} of {plural(units, 'unit')}"


def _names(pairs: Sequence[Pair]) -> str:
    return listed([pair.after.name for pair in pairs])


def _verb(pairs: Sequence[Pair], verb: str) -> str:
    return f"{verb}s" if len(pairs) == 1 else verb


def _sum(pairs: Sequence[Pair], metric: str) -> tuple[int, int]:
    before = sum(getattr(pair.before, metric) for pair in pairs)
    return before, sum(getattr(pair.after, metric) for pair in pairs)


def _macs(pairs: Sequence[Pair], metric: str) -> str:
    before, after = _sum(pairs, metric)
    return changed_macs(after, before)


def _macs_of(after: Sequence[OpRow], before: Sequence[OpRow]) -> str:
    return changed_macs(sum(op.macs for op in after), sum(op.macs for op in before))
