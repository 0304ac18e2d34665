"""What a budget may limit: the value of each metric in a report, and who costs most of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Union

import msgspec

from rnncost.report.model import Estimate, Metrics, OpEstimate, Report, Totals

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile

Value = Union[int, float, bool]
Costliest = tuple[Union[str, None], Union[float, None]]

ESTIMATED = (
    *("latency_s", "latency_high_s", "sequential_s", "step_s"),
    *("energy_j", "dram_bytes", "fits"),
)
"""The metrics of an estimate, which need a profile."""

TRUTHS = ("fits", "streamable")
"""The metrics that are true or false, and must be true."""

_SUFFIXES = {"_bytes": "bytes", "_s": "seconds", "_j": "joules", "_share": "share"}
_INTENSITY = "_arithmetic_intensity"
_LARGEST = frozenset(
    ("peak_activation_bytes", "lookahead_steps", "streamable", "wavefront_steps", "step_s")
)
"""Not sums: the largest of any operator, or a path on which operators overlap."""

_PART = {
    "streamable": "lookahead_steps",
    "sequential_share": "sequential_macs",
    "wavefront_steps": "sequential_steps",
    "latency_high_s": "latency_s",
}
"""What of an operator makes a metric that it has not itself."""


class Metric(msgspec.Struct, frozen=True):
    """A metric: its name, a kind of ``rnncost.units.UNITS``, and whether its values are whole."""

    name: str
    kind: str
    whole: bool

    @property
    def estimated(self) -> bool:
        """Whether it belongs to an estimate and so to a profile."""
        return self.name in ESTIMATED

    @property
    def is_truth(self) -> bool:
        """Whether it is true or false and has no limit but that."""
        return self.name in TRUTHS


def _metric(name: str) -> Metric:
    kind = next((k for suffix, k in _SUFFIXES.items() if name.endswith(suffix)), "count")
    return Metric(name, kind, kind in ("bytes", "count") and not name.endswith(_INTENSITY))


METRICS: dict[str, Metric] = {
    name: _metric(name) for name in (*Totals.__struct_fields__, *ESTIMATED)
}
"""Every metric by its name: the totals of a report, then those of an estimate."""


def value_of(metric: str, report: Report, estimate: Estimate | None) -> Value | None:
    """The value of a metric; None where the estimate does not know it."""
    if estimate is None:
        total: Value = getattr(report.totals, metric)
        return total
    if metric == "fits":
        parts = (estimate.fits.weights, estimate.fits.activations)
        return False if False in parts else None if None in parts else True
    value: Value | None = getattr(estimate, metric)
    return value


def costliest(
    metric: str, report: Report, estimate: Estimate | None, profile: HardwareProfile | None
) -> Costliest:
    """The operator with the largest part of a metric, and its share where it is a sum."""
    if metric == "fits" and estimate is not None:
        metric, estimate = (
            "peak_activation_bytes" if estimate.fits.weights else "weight_bytes",
            None,
        )
    part = _PART.get(metric, metric)
    if estimate is None:
        if part not in Metrics.__struct_fields__:  # a ratio of two totals has no parts
            return None, None
        whole = None if metric in _LARGEST else getattr(report.totals, part)
        return _largest(((op.name, getattr(op, part)) for op in report.ops), whole)
    if metric == "energy_j":
        amounts = _energies(report, estimate, profile)
        return _largest(amounts, estimate.energy_j)
    whole = None if metric in _LARGEST else getattr(estimate, part)
    return _largest(((op.name, _amount(op, part)) for op in estimate.ops), whole)


def _energies(
    report: Report, estimate: Estimate, profile: HardwareProfile | None
) -> Iterable[tuple[str, float]]:
    """Each operator's MACs and DRAM bytes at what one of each takes, as estimates sum them."""
    if profile is None or profile.energy is None:
        return ()
    mac_j, byte_j = profile.energy.mac_j.value, profile.energy.byte_j.value
    return [
        (op.name, op.dense_macs * mac_j + part.dram_bytes * byte_j)
        for op, part in zip(report.ops, estimate.ops, strict=True)
    ]


def _amount(op: OpEstimate, part: str) -> float:
    amount: float | None = getattr(op, part)
    return amount or 0


def _largest(amounts: Iterable[tuple[str, float]], whole: float | None) -> Costliest:
    name, amount = max(amounts, key=lambda item: item[1], default=("", 0))
    if not amount:
        return None, None
    return name, min(1.0, amount / whole) if whole else None
