"""What a difference says, as text cells and sentences, before any format lays them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from rnncost.difference.model import Change, Difference, OpDifference, Side, Value, change, combined
from rnncost.errors import BindingError, nearest
from rnncost.report.model import Metrics
from rnncost.report.rows import is_shown
from rnncost.report.text import plural, printable
from rnncost.units import format_bytes, format_count, format_joules, format_seconds

METRICS = (
    *(key for key in Metrics.__struct_fields__ if key != "peak_activation_bytes"),
    "latency_s",
)
"""What operators can be sorted by; ``latency_s`` also as ``latency_s@PROFILE``."""

MOST_OPS = 20
"""Operators that the short table lists; the others are summed up in one line."""

_NAMED = 3
_EXACT = 10**12  # larger counts are rounded
_BRIEF = ("latency_s", "energy_j", "dram_bytes", "fits.weights", "fits.activations")
_FACTS = ("op_type", "precision", "executions", "kind", "params")
_ORDER = ("removed", "added", "changed", "regrouped", "split", "merged", "renamed", "unchanged")
_PAST = {"renamed": "now", "split": "split into", "merged": "merged into", "regrouped": "now"}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One operator, a group, or the sum of several: its cells, and what else changed."""

    status: str
    name: str
    op_type: str
    change: Change
    detail: str = ""


def check_metric(metric: str) -> None:
    """Refuse a metric that operators do not have.

    Raises:
        BindingError: there is none of this name.
    """
    name, at, profile = metric.partition("@")
    if name not in METRICS or (at and (name != "latency_s" or not profile)):
        raise BindingError(
            f"operators have no metric {metric!r}{nearest(metric, METRICS)}; choose one of "
            f"{', '.join(METRICS)}, or latency_s@PROFILE"
        )


def metric_of(difference: Difference, metric: str) -> str:
    """The metric with its profile, where it is a latency.

    Raises:
        BindingError: there is no such metric, or no estimate for it on both sides.
    """
    check_metric(metric)
    name, _, profile = metric.partition("@")
    if name != "latency_s":
        return metric
    shared = [estimate.profile for estimate in difference.estimates]
    if not shared:
        raise BindingError(f"{metric} cannot be compared: no profile has an estimate on both sides")
    if profile and profile not in shared:
        raise BindingError(f"{metric} cannot be compared: both sides have {', '.join(shared)}")
    return f"latency_s@{profile or shared[0]}"


def side_text(side: Side) -> str:
    """The model, its report's file, and what it is counted for."""
    facts = [side.model.path or "(in memory)", f"({side.model.format})"]
    if side.source:
        facts.append(f"from {side.source}")
    bindings = side.bindings
    dims = [
        f"{name}={value}{' (assumed)' if name in bindings.assumed else ''}"
        for name, value in bindings.dims.items()
    ]
    bound = dims or [
        f"{name}={'x'.join(map(str, shape)) or 'scalar'}" for name, shape in bindings.shapes.items()
    ]
    return " ".join(facts) + (f", for {', '.join(bound)}" if bound else "")


def verdict(difference: Difference) -> str:
    """The difference in one line."""
    totals = difference.totals
    base, head = (
        side.source or side.model.path or "model" for side in (difference.base, difference.head)
    )
    parts = [
        f"{text} {_from_to(key, totals[key])}"
        for key, text in (("macs", "MACs"), ("params", "params"))
    ]
    parts += [
        f"latency on {estimate.profile} {_from_to('latency_s', estimate.metrics['latency_s'])}"
        for estimate in difference.estimates
    ]
    parts.append(ops_text(difference.ops))
    if difference.warnings:
        parts.append(plural(len(difference.warnings), "warning"))
    return printable(f"{base} → {head}: {', '.join(parts)}")


def ops_text(ops: Sequence[OpDifference]) -> str:
    """How many operators have each status, or that all are unchanged."""
    counts = {status: sum(op.status == status for op in ops) for status in _ORDER}
    if counts["unchanged"] == len(ops):
        return f"all {plural(len(ops), 'op')} unchanged" if ops else "no ops"
    return f"ops: {', '.join(f'{n:,} {status}' for status, n in counts.items() if n)}"


def total_changes(difference: Difference, *, verbose: bool) -> tuple[dict[str, Change], list[str]]:
    """The totals and estimates that a table shows, and the names of those that are unchanged.

    Without ``verbose``, what is unchanged is named alone, and of an estimate only the figures
    that are limits of a budget are shown.
    """
    known = dict(difference.totals)
    for estimate in difference.estimates:
        known |= {
            f"{key}@{estimate.profile}": one
            for key, one in estimate.metrics.items()
            if (verbose or key in _BRIEF) and (one.base, one.head) != (None, None)
        }
    if verbose:
        return known, []
    changed = {key: one for key, one in known.items() if not one.is_zero}
    return changed, [key for key in known if key not in changed]


def total_cells(changes: dict[str, Change]) -> list[list[str]]:
    """A row for each total: its name, base, head, and both changes."""
    return [
        [
            name,
            value_text(name, one.base),
            value_text(name, one.head),
            change_text(name, one),
            relative_text(one),
        ]
        for name, one in changes.items()
    ]


def op_rows(difference: Difference, metric: str, *, verbose: bool, most: int) -> list[Row]:
    """The operators, what changed most in the metric first.

    Operators without weights, MACs or steps, unchanged ones, and what follows the first
    ``most`` are summed up in a line each; ``verbose`` sums up nothing but the last.
    """
    own = [op for op in difference.ops if verbose or _carries(op)]
    listed = [op for op in own if verbose or op.status != "unchanged"]
    ordered = sorted(listed, key=lambda op: (-abs(_grown(op, metric)), _ORDER.index(op.status)))
    rows = [_row(op, metric, verbose=verbose) for op in ordered[:most]]
    for title, ops in (
        ("more", ordered[most:]),
        ("unchanged", [op for op in own if op.status == "unchanged" and not verbose]),
        ("other", [op for op in difference.ops if not (verbose or _carries(op))]),
    ):
        if ops:
            rows.append(_sum_row(title, ops, metric))
    return rows


def op_change(op: OpDifference, metric: str) -> Change:
    """An operator's figure on both sides; None on the side where it is missing."""
    name, _, profile = metric.partition("@")
    if name == "latency_s":
        return op.latency_s[profile]
    return change(*(combined(name, ops) if ops else None for ops in (op.base, op.head)))


def value_text(metric: str, value: Value) -> str:
    """A value in the unit that the end of the metric's name gives."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    name = metric.partition("@")[0]
    if name.endswith("_bytes"):
        return format_bytes(value)
    if name.endswith("_s"):
        return format_seconds(value)
    if name.endswith("_j"):
        return format_joules(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if abs(value) < _EXACT else format_count(value)


def change_text(metric: str, one: Change) -> str:
    """The absolute change with its sign."""
    if one.change is None:
        return ""
    return f"{'+' if one.change > 0 else ''}{value_text(metric, one.change)}"


def change_cells(metric: str, one: Change) -> tuple[str, str, str]:
    """An operator's figure in base and in head, and what it changed by."""
    base, head = ("" if v is None else value_text(metric, v) for v in (one.base, one.head))
    return base, head, relative_text(one)


def conventions(difference: Difference) -> str:
    """How to read the numbers."""
    tools = dict.fromkeys(
        f"{side.tool.name} {side.tool.version}" for side in (difference.base, difference.head)
    )
    return (
        "changes are head less base, and their share of base; 1 MAC = one multiply and one add = "
        f"2 FLOPs, matrix work alone; 1 kB = 1000 bytes; {', '.join(tools)}"
    )


def relative_text(one: Change) -> str:
    """The relative change, rounded so that only no change at all reads 0 %.

    >>> relative_text(change(1000, 1123)), relative_text(change(10**6, 10**6 - 1))
    ('+12.3 %', '-<0.1 %')
    """
    if one.relative is None:
        return "" if one.change is None else "new"
    if not one.relative:
        return "0 %"
    sign = "+" if one.relative > 0 else "-"
    size = 100 * abs(one.relative)
    if size >= 10_000:
        return f"x {one.relative + 1:.4g}"
    return f"{sign}<0.1 %" if size < 0.05 else f"{sign}{size:.1f} %"


def _from_to(metric: str, one: Change) -> str:
    relative = relative_text(one)
    if relative == "0 %":
        return f"{value_text(metric, one.base)} (0 %)"
    values = f"{value_text(metric, one.base)} → {value_text(metric, one.head)}"
    return f"{values} ({relative})" if relative else values


def _carries(op: OpDifference) -> bool:
    return any(map(is_shown, (*op.base, *op.head)))


def _grown(op: OpDifference, metric: str) -> float:
    one = op_change(op, metric)
    base, head = (0 if v is None or isinstance(v, str) else v for v in (one.base, one.head))
    return float(head - base)


def _row(op: OpDifference, metric: str, *, verbose: bool) -> Row:
    rows = op.base or op.head
    return Row(
        status=op.status,
        name=_joined(row.name for row in rows),
        op_type=_joined(row.op_type for row in rows),
        change=op_change(op, metric),
        detail="; ".join(_details(op, metric, verbose=verbose)),
    )


def _sum_row(title: str, ops: Sequence[OpDifference], metric: str) -> Row:
    changes = [op_change(op, metric) for op in ops]
    base, head = (
        sum(value for value in values if isinstance(value, int | float))
        for values in ([one.base for one in changes], [one.head for one in changes])
    )
    same = all(op.status == "unchanged" for op in ops)
    return Row(
        status="",
        name=f"{title} ({plural(len(ops), 'op')})",
        op_type="",
        change=change(base, head),
        detail="" if same else ops_text(ops).removeprefix("ops: "),
    )


def _details(op: OpDifference, metric: str, *, verbose: bool) -> Iterator[str]:
    if op.status in _PAST:
        yield f"{_PAST[op.status]} {_joined(row.name for row in op.head)}"
    changes = dict(op.changes)
    changes.pop(metric, None)
    told = [key for key in changes if verbose or key in _FACTS or "." in key]
    for key in told:
        one = changes[key]
        name = "" if key == "op_type" else f"{key.rpartition('.')[2]} "
        yield f"{name}{value_text(key, one.base)} → {value_text(key, one.head)}"
    rest = [key for key in changes if key not in told]
    if rest:
        yield ("and " if told else "") + (
            ", ".join(rest) if len(rest) <= _NAMED else plural(len(rest), "more metric")
        )


def _joined(names: Iterable[str]) -> str:
    """Names with plus signs between; of many the first few."""
    known = list(names)
    shown = known[:_NAMED]
    more = f" + {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return " + ".join(shown) + more
