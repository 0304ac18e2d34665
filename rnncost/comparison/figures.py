"""What is compared of a report, by the metric's name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction

from rnncost.latency.assembly import PRECISION_BITS
from rnncost.report.model import Report, UncountedOp
from rnncost.report.text import plural

COUNTS = (
    "params",
    "macs",
    "sequential_macs",
    "elementwise_ops",
    "weight_bytes",
    "state_bytes",
    "streamed_bytes",
    "sequential_steps",
    "executed_steps",
    "lookahead_steps",
)
_SIZES = ("weight_bytes", "state_bytes", "streamed_bytes")
_LISTED = 3
ESTIMATED = ("latency_s", "dram_bytes", "energy_j")


def figures_of(report: Report, precision: str | None = None) -> dict[str, int | float]:
    """The counts and estimates of a report; those of a profile are named ``metric@profile``.

    With a precision, an element of an operator takes the bits of that precision in place of
    those of its own, as in the estimates; scales and zero points are not added.
    """
    figures: dict[str, int | float] = {name: getattr(report.totals, name) for name in COUNTS}
    if precision is not None:
        figures |= {name: _scaled(report, name, precision) for name in _SIZES}
    for estimate in report.estimates:
        for name in ESTIMATED:
            value = getattr(estimate, name)
            if value is not None:
                figures[f"{name}@{estimate.profile}"] = value
    return figures


def ratios_of(
    figures: Mapping[str, int | float], base: Mapping[str, int | float]
) -> dict[str, float]:
    """Each figure over that of the base, where the base's is not zero."""
    return {name: value / base[name] for name, value in figures.items() if base.get(name)}


def not_counted(report: Report, known: Collection[UncountedOp] = ()) -> list[str]:
    """That figures miss operators, besides those that are known already; empty if they do not."""
    names = {op.name for op in known}
    missed = [op for op in report.uncounted if op.name not in names]
    if not missed:
        return []
    shown = "; ".join(f"{op.name} ({op.op_type}): {op.reason}" for op in missed[:_LISTED])
    more = f"; and {len(missed) - _LISTED:,} more" if len(missed) > _LISTED else ""
    return [f"the figures miss {plural(len(missed), 'operator')}: {shown}{more}"]


def _scaled(report: Report, name: str, precision: str) -> int:
    """The sum over operators of a size, each in another precision."""
    bits = PRECISION_BITS[precision]
    sizes = (
        getattr(op, name) * Fraction(bits, PRECISION_BITS.get(op.precision, bits))
        for op in report.ops
    )
    return round(sum(sizes, Fraction(0)))
