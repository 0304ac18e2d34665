"""The estimates of two reports side by side, for the profiles that both have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rnncost.difference.model import Change, EstimateDifference, change
from rnncost.report.model import Estimate, Report

_FIGURES = (
    *("latency_s", "latency_low_s", "latency_high_s"),
    *("sequential_s", "parallel_s", "overhead_s", "step_s"),
    *("bound_by", "dram_bytes", "energy_j"),
)

Times = list[float | None]
"""The estimated time of each operator of a report, None where there is none, seconds."""


def by_profile(report: Report) -> dict[str, Estimate]:
    """The estimates by profile; a second one for the same profile is ``NAME (2)``."""
    names = _numbered(estimate.profile for estimate in report.estimates)
    return dict(zip(names, report.estimates, strict=True))


def estimate_differences(
    base: Report, head: Report
) -> tuple[list[EstimateDifference], list[str], list[str]]:
    """What changed on the profiles that both have; the profiles of base and of head alone."""
    here, there = by_profile(base), by_profile(head)
    shared = [
        EstimateDifference(profile=name, metrics=_metrics(estimate, there[name]))
        for name, estimate in here.items()
        if name in there
    ]
    return shared, [n for n in here if n not in there], [n for n in there if n not in here]


def latencies(base: Report, head: Report) -> dict[str, tuple[Times, Times]]:
    """For each profile that both have, the time of each operator of base and of head."""
    here, there = by_profile(base), by_profile(head)
    return {
        name: (_times(base, estimate), _times(head, there[name]))
        for name, estimate in here.items()
        if name in there
    }


def total_s(times: Times, rows: Sequence[int]) -> float | None:
    """The time of some operators together; None if there are none or one has none."""
    known = [time for row in rows if (time := times[row]) is not None]
    return math.fsum(known) if rows and len(known) == len(rows) else None


def _metrics(base: Estimate, head: Estimate) -> dict[str, Change]:
    found = {key: change(getattr(base, key), getattr(head, key)) for key in _FIGURES}
    for part in base.fits.__struct_fields__:
        found[f"fits.{part}"] = change(getattr(base.fits, part), getattr(head.fits, part))
    return found


def _times(report: Report, estimate: Estimate) -> Times:
    """By name, and in turn where several operators have one name."""
    names = _numbered(op.name for op in estimate.ops)
    known = {name: op.latency_s for name, op in zip(names, estimate.ops, strict=True)}
    return [known.get(name) for name in _numbered(op.name for op in report.ops)]


def _numbered(names: Iterable[str]) -> list[str]:
    """The names, each with its number from the second time on."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(f"{name} ({seen[name]})" if seen[name] > 1 else name)
    return found
