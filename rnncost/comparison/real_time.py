"""Whether a design keeps up with its input, on each profile."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from rnncost.comparison.extents import Axes, largest_extent
from rnncost.comparison.model import RealTime
from rnncost.errors import BindingError, ModelError, VariantError
from rnncost.report.model import Estimate, Report
from rnncost.report.text import plural

MOST_ROWS = 1 << 20
"""No larger batch is looked for."""

TILE = 4
"""Rows that kernels take together: a whole tile may take less time than a part of one."""


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A design in real time, and what is to be said about it."""

    real_time: list[RealTime]
    reasons: list[str]


def stream(axes: Axes, step_period_s: float, chunk: int | None) -> Stream:
    """The real-time figures of a design.

    Without ``chunk``, a run handles the whole sequence. With it, a run handles so many steps;
    a design with look-ahead cannot be run so, and handles the whole sequence all the same.

    Args:
        axes: of the design.
        step_period_s: the time between two steps of the recurrent layers.
        chunk: how many steps a run handles.

    Raises:
        VariantError: the time steps are not known, or cannot be set to the chunk.
    """
    report = axes.subject.report
    steps = largest_extent(report, "T")
    if not steps:
        raise VariantError("the model has no recurrent operator whose steps are known")
    ahead = report.totals.lookahead_steps + 1
    reasons: list[str] = []
    if chunk is not None:
        chunked = _chunked(axes, steps, chunk)
        waits = max(one.subject.report.totals.lookahead_steps for one in (axes, chunked))
        if waits:
            reasons.append(
                f"it cannot be run {plural(chunk, 'step')} at a time, as an output needs up to "
                f"{plural(waits, 'later step')}: its real-time figures are for the whole sequence"
            )
        else:
            axes, ahead, steps = chunked, chunk, chunk
            report = axes.subject.report
            if not report.totals.streamable:
                reasons.append(
                    f"to run {plural(chunk, 'step')} at a time its state has to be carried over: "
                    "make the state an input and an output"
                )
    signal_s = steps * step_period_s
    batches, capped = _batches(axes, signal_s)
    if capped:
        reasons.append(f"no batch of more than {MOST_ROWS:,} is tried: larger ones may keep up")
    figures = [
        RealTime(
            profile=estimate.profile,
            steps=steps,
            latency_s=estimate.latency_s,
            signal_s=signal_s,
            real_time_factor=estimate.latency_s / signal_s,
            algorithmic_latency_s=ahead * step_period_s,
            streams=_streams(report, estimate, signal_s),
            batch=batches.get(estimate.profile),
        )
        for estimate in report.estimates
    ]
    return Stream(real_time=figures, reasons=reasons)


def _chunked(axes: Axes, steps: int, chunk: int) -> Axes:
    """The design with so many steps in a run; itself where that cannot or need not be."""
    if chunk == steps or axes.subject.report.totals.lookahead_steps:
        return axes
    axis = axes.find("T")
    report = axis.at(axis.value_for(chunk))
    return Axes(msgspec.structs.replace(axis.subject, report=report), axes)


def _streams(report: Report, estimate: Estimate, signal_s: float) -> int:
    """Inputs that are handled one run after the other while one of them arrives."""
    if not estimate.latency_s:
        return 0
    return largest_extent(report, "B") * math.floor(signal_s / estimate.latency_s)


def _batches(axes: Axes, signal_s: float) -> tuple[dict[str, int], bool]:
    """The largest batch that keeps up, by profile, and whether the search ended before it did.

    There is none where the batch cannot be changed.
    """
    reports: dict[int, Report] = {}
    found: dict[str, int] = {}
    capped = False
    try:
        axis = axes.find("B")

        def at(value: int) -> Report:
            if value not in reports:
                reports[value] = axis.at(value)
            return reports[value]

        for number, estimate in enumerate(axes.subject.report.estimates):

            def cost(value: int, number: int = number) -> float:
                return _busy_s(at(value).estimates[number])

            value = largest_within(cost, signal_s, MOST_ROWS)
            capped = capped or value == MOST_ROWS
            found[estimate.profile] = axis.extent_in(at(value)) if value else 0
    except (VariantError, BindingError, ModelError):
        return {}, False
    return found, capped


def _busy_s(estimate: Estimate) -> float:
    """The latency, or for ever where the design does not fit the device."""
    fits = estimate.fits
    return math.inf if False in (fits.weights, fits.activations) else estimate.latency_s


def largest_within(cost: Callable[[int], float], limit: float, most: int) -> int:
    """The largest number from 1 to ``most`` whose cost is within a limit, 0 where none is.

    The cost may fall within ``TILE`` numbers, but not on the whole. It is asked for as seldom as
    possible, between two numbers in turn where a line through them meets the limit, just above
    that, and in the middle.
    """
    low, high = 0, 1
    while cost(high) <= limit:
        low = high
        if low == most:
            return most
        high = min(8 * high, most)
    turn = 0
    while high - low > 1:
        guess = (low + high) // 2
        if low and turn % 3 < 2 and cost(high) < math.inf:
            below, above = cost(low), cost(high)
            guess = low + int((limit - below) / (above - below) * (high - low)) + turn % 3
        guess = min(max(guess, low + 1), high - 1)
        low, high = (guess, high) if cost(guess) <= limit else (low, guess)
        turn += 1
    while low and (more := _beyond(cost, limit, low, most)):
        low = more
    return low


def _beyond(cost: Callable[[int], float], limit: float, low: int, most: int) -> int:
    """A number within the limit just behind the next one, which is not; 0 where there is none."""
    further = range(min(low + TILE, most), low + 1, -1)
    return next((number for number in further if cost(number) <= limit), 0)
