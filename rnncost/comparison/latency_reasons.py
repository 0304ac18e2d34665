"""Why a variant is faster or slower, in words that come from two estimates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rnncost.comparison.words import changed_seconds, listed, times
from rnncost.report.model import Estimate, Report, Totals
from rnncost.report.text import percent, plural
from rnncost.units import format_seconds

_SAME = 0.05
"""Ratios of latency and of MACs that differ by less are not explained."""

_TOLD = 0.001
"""Parts of the latency that change by a smaller share of it are not told."""

_ROUNDED = 0.005
"""Ratios that differ from 1 by less are printed as 1.00x."""

_BOUNDS = {
    "compute": "arithmetic",
    "memory": "reading and writing memory",
    "latency": "the fixed cost of steps",
    "overhead": "starting the run and its operators",
}
"""What ``bound_by`` of an estimate means."""


def base_latency(report: Report, one_more_step_s: Mapping[str, float]) -> list[str]:
    """What the latency of the model as it is consists of, on each profile."""
    texts: list[str] = []
    for estimate in report.estimates:
        step_s = one_more_step_s.get(estimate.profile)
        sentences = [*_parts(estimate)]
        if step_s is not None:
            sentences.append(f"one more time step costs {format_seconds(step_s)}")
        texts += _placed(report, estimate, sentences)
    return texts


def latency_reasons(
    base: Report,
    other: Report,
    steps_s: Mapping[str, float],
    other_steps_s: Mapping[str, float],
) -> list[str]:
    """What changes the latency on each profile; ``steps_s`` is what one more step costs."""
    texts: list[str] = []
    for before, after in zip(base.estimates, other.estimates, strict=True):
        sentences = [
            *_change(before, after),
            *_against_macs(before, after, base.totals, other.totals),
            *_bound(before, after),
            *_one_more(steps_s.get(after.profile), other_steps_s.get(after.profile)),
            *(note for note in after.notes if note not in before.notes),
        ]
        texts += _placed(other, after, sentences)
    return texts


def row_reasons(base: Report, other: Report, before: int, after: int) -> list[str]:
    """What another batch does to the time of a row, on each profile."""
    return [
        text
        for a, b in zip(base.estimates, other.estimates, strict=True)
        for text in _placed(
            other,
            b,
            [
                f"{plural(after, 'row')} a run in place of {before:,}, so that a row takes "
                f"{changed_seconds(b.latency_s / after, a.latency_s / before)}"
            ],
        )
    ]


def step_reasons(base: Report, other: Report, before: int, after: int) -> list[str]:
    """What a time step costs between two lengths of the sequence, on each profile."""
    low, high = sorted((before, after))
    return [
        text
        for a, b in zip(base.estimates, other.estimates, strict=True)
        for text in _placed(
            other,
            b,
            [
                f"between {low:,} and {high:,} time steps, each costs "
                f"{format_seconds((b.latency_s - a.latency_s) / (after - before))}"
            ],
        )
    ]


def _placed(report: Report, estimate: Estimate, sentences: Iterable[str]) -> list[str]:
    """Sentences with the profile that they hold for, where there are several."""
    if len(report.estimates) == 1:
        return list(sentences)
    return [f"{estimate.profile}: {sentence}" for sentence in sentences]


def _parts(estimate: Estimate) -> Iterator[str]:
    whole = estimate.latency_s
    if not whole:
        return
    named = {
        "in sequential steps": estimate.sequential_s,
        "in work that waits for no step": estimate.parallel_s,
        "in starting the run and its operators": estimate.overhead_s,
    }
    parts = [
        f"{format_seconds(seconds)} ({percent(seconds / whole)}%) {what}"
        for what, seconds in named.items()
        if seconds
    ]
    yield f"of {format_seconds(whole)}, it spends {listed(parts)}"


def _change(before: Estimate, after: Estimate) -> Iterator[str]:
    if before.latency_s == after.latency_s:
        yield "the latency is the same"
        return
    named = {
        "sequential steps": after.sequential_s - before.sequential_s,
        "work that waits for no step": after.parallel_s - before.parallel_s,
        "overheads": after.overhead_s - before.overhead_s,
    }
    floor_s = _TOLD * before.latency_s
    parts = [
        f"{format_seconds(abs(seconds))} {'more' if seconds > 0 else 'less'} in {what}"
        for what, seconds in named.items()
        if abs(seconds) >= floor_s
    ]
    text = f"latency {changed_seconds(after.latency_s, before.latency_s)}"
    yield f"{text}: {', '.join(parts)}" if parts else text


def _against_macs(before: Estimate, after: Estimate, a: Totals, b: Totals) -> Iterator[str]:
    """Where latency and MACs change by different ratios: which part of the time does so."""
    if not (a.macs and before.latency_s):
        return
    macs, latency = b.macs / a.macs, after.latency_s / before.latency_s
    if abs(latency - macs) < _SAME:
        return
    parts = []
    if a.sequential_macs and before.sequential_s and after.sequential_s:
        parts.append(
            f"the steps take {times(after.sequential_s / before.sequential_s)} the time for "
            f"{times(b.sequential_macs / a.sequential_macs)} the MACs"
        )
    if a.parallel_macs and before.parallel_s and after.parallel_s:
        parts.append(
            f"the other work takes {times(after.parallel_s / before.parallel_s)} the time for "
            f"{times(b.parallel_macs / a.parallel_macs)} the MACs"
        )
    if before.overhead_s and after.overhead_s:
        share = percent(after.overhead_s / after.latency_s)
        parts.append(
            f"{format_seconds(after.overhead_s)} ({share}%) are overheads, which do not depend on "
            "MACs"
        )
    if not parts:
        return
    yield (
        f"the latency changes to {times(latency)} where the MACs change to {times(macs)}: "
        f"{', '.join(parts)}"
    )


def _bound(before: Estimate, after: Estimate) -> Iterator[str]:
    """What most of the time goes to, where that is not arithmetic or was something else."""
    if before.bound_by != after.bound_by:
        yield (
            f"most of the time goes to {_BOUNDS[after.bound_by]}, as it is to "
            f"{_BOUNDS[before.bound_by]}"
        )
    for bound in ("latency", "memory"):
        names = [op.name for op in after.ops if op.step_s is not None and op.bound_by == bound]
        if names:
            yield f"most of the time of {listed(names)} goes to {_BOUNDS[bound]}"


def _one_more(before_s: float | None, after_s: float | None) -> Iterator[str]:
    if before_s is None or after_s is None or before_s <= 0:
        return
    if abs(after_s / before_s - 1) >= _ROUNDED:
        yield f"one more time step costs {changed_seconds(after_s, before_s)}"
