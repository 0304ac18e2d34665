"""Whether the figures of a report that was read back agree with each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec

from rnncost.errors import ReportError
from rnncost.report.model import Estimate, Metrics, Report
from rnncost.units import LARGEST_QUANTITY

_LARGEST_OF_ANY = ("lookahead_steps", "peak_activation_bytes")
_PATHS = ("sequential_steps", "executed_steps")
_SPLITS = {
    "macs": ("parallel_macs", "sequential_macs"),
    "elementwise_ops": ("multiplies", "adds", "bias_adds", "activations"),
}
_TOLERANCE = 1e-6  # of sums of floating-point numbers


def require_consistent(report: Report, where: str) -> None:
    """Refuse a report whose totals are not those of its operators.

    Holds the totals to the sums of the operators' counts (for peaks the largest, for steps
    at most the sum), the latencies to the sums of their parts, and every number to be
    finite. ``where`` names the report in the message.

    Raises:
        ReportError: the report contradicts itself.
    """
    for fault in _faults(report):
        raise ReportError(
            f"{where} contradicts itself: {fault}; it was changed after rnncost wrote it, "
            "so write it anew"
        )


def _faults(report: Report) -> Iterator[str]:
    yield from _unbounded(msgspec.to_builtins(report), "")
    totals = report.totals
    for key in Metrics.__struct_fields__:
        total = getattr(totals, key)
        parts = [getattr(op, key) for op in report.ops]
        if key in _LARGEST_OF_ANY:
            expected = max(parts, default=0)
        elif key in _PATHS:
            expected = min(total, sum(parts))
        else:
            expected = sum(parts)
        if total != expected:
            yield f"totals.{key} is {total} and its operators make {expected}"
    for key, names in _SPLITS.items():
        if getattr(totals, key) != sum(getattr(totals, name) for name in names):
            yield f"totals.{key} is not the sum of {', '.join(names)}"
    share = totals.sequential_macs / totals.macs if totals.macs else 0.0
    if not math.isclose(totals.sequential_share, share, rel_tol=_TOLERANCE):
        yield f"totals.sequential_share is {totals.sequential_share} and its MACs make {share}"
    for estimate in report.estimates:
        yield from (f"the estimate of {estimate.profile} has {f}" for f in _of_times(estimate))


def _of_times(estimate: Estimate) -> Iterator[str]:
    latency_s = estimate.latency_s
    parts_s = estimate.overhead_s + estimate.parallel_s + estimate.sequential_s
    if not math.isclose(latency_s, parts_s, rel_tol=_TOLERANCE):
        yield f"latency_s {latency_s} and its parts make {parts_s}"
    slack = 1 + _TOLERANCE
    if sum(op.latency_s for op in estimate.ops) > latency_s * slack:
        yield f"latency_s {latency_s} and its operators more"
    if estimate.ops and estimate.dram_bytes != sum(op.dram_bytes for op in estimate.ops):
        yield f"dram_bytes {estimate.dram_bytes} and its operators another sum"


def _unbounded(value: Any, path: str) -> Iterator[str]:
    """The numbers that no report has."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _unbounded(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unbounded(inner, f"{path}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path} is {value}"
    elif isinstance(value, int) and not -LARGEST_QUANTITY <= value <= LARGEST_QUANTITY:
        yield f"{path} is larger than any figure of a report"
