"""The latency estimates as text cells and sentences, before any format lays them out."""

from __future__ import annotations

from rnncost.report.model import Estimate, Report
from rnncost.report.rows import Column
from rnncost.report.text import percent, plural
from rnncost.units import format_bytes, format_seconds


def estimate_columns(report: Report) -> list[Column]:
    """The columns of the estimates table, a row for each profile."""

    def seconds(title: str, *values: float | None) -> Column:
        return Column(title, tuple("" if v is None else format_seconds(v) for v in values))

    estimates = report.estimates
    return [
        Column("profile", tuple(e.profile for e in estimates), number=False),
        seconds("latency", *(e.latency_s for e in estimates)),
        seconds("a step", *(e.step_s for e in estimates)),
        seconds("sequential", *(e.sequential_s for e in estimates)),
        seconds("parallel", *(e.parallel_s for e in estimates)),
        seconds("overhead", *(e.overhead_s for e in estimates)),
        Column("bound by", tuple(e.bound_by for e in estimates), number=False),
        Column("DRAM", tuple(format_bytes(e.dram_bytes) for e in estimates)),
        Column("fits", tuple(_fits(e) for e in estimates), number=False),
    ]


def estimate_sentences(report: Report) -> list[str]:
    """For each profile: how it runs the model, how far to trust it, and what costs most."""
    return [_sentence(estimate) for estimate in report.estimates]


def _sentence(estimate: Estimate) -> str:
    parts = [f"{estimate.runtime}, {plural(estimate.threads, 'thread')}, {estimate.precision}"]
    if estimate.latency_low_s is not None and estimate.latency_high_s is not None:
        low, high = format_seconds(estimate.latency_low_s), format_seconds(estimate.latency_high_s)
        parts.append(f"between {low} and {high}")
    if estimate.energy_j is not None:
        parts.append(f"{estimate.energy_j:.3g} J")
    slowest = max(estimate.ops, key=lambda op: op.latency_s, default=None)
    if slowest is not None and estimate.latency_s:
        share = percent(slowest.latency_s / estimate.latency_s)
        parts.append(f"costliest {slowest.name} ({share}%, {slowest.bound_by} bound)")
    if missing := _missing(estimate):
        parts.append(f"the {missing} do not fit")
    if not (estimate.calibrated or any("uncalibrated" in note for note in estimate.notes)):
        parts.append("uncalibrated: made from data-sheet figures, expect factors of 2 or more")
    return f"{estimate.profile}: {'; '.join([*parts, *estimate.notes])}"


def _fits(estimate: Estimate) -> str:
    known = (estimate.fits.weights, estimate.fits.activations)
    if False in known:
        return "no"
    return "?" if None in known else "yes"


def _missing(estimate: Estimate) -> str:
    facts = {"weights": estimate.fits.weights, "activations": estimate.fits.activations}
    return " and ".join(name for name, fits in facts.items() if fits is False)
