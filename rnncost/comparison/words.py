"""Phrases that the reasons and the renderers share."""

from __future__ import annotations

from collections.abc import Sequence

from rnncost.report.text import plural
from rnncost.units import format_bytes, format_count, format_seconds

_LISTED = 3


def times(ratio: float) -> str:
    """A ratio as text: ``0.75x``; small and large ones with two significant digits or more.

    >>> times(0.754), times(12.3), times(0.00123), times(1234.5)
    ('0.75x', '12.30x', '0.0012x', '1,234x')
    """
    if ratio >= 1000:
        return f"{ratio:,.0f}x"
    return f"{ratio:.2f}x" if ratio >= 0.01 or ratio == 0 else f"{ratio:.2g}x"


def listed(names: Sequence[str]) -> str:
    """``a, b and c``; of many names the first ones and how many more there are."""
    if len(names) > _LISTED:
        return f"{', '.join(names[: _LISTED - 1])} and {len(names) - _LISTED + 1} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def instead(now: str, before: str, ratio: float | None) -> str:
    """``1 MB in place of 2 MB (0.50x)``."""
    return f"{now} in place of {before}" + ("" if ratio is None else f" ({times(ratio)})")


def changed_macs(now: int, before: int) -> str:
    """MACs now and before."""
    ratio = now / before if before else None
    return instead(f"{format_count(now)} MACs", format_count(before), ratio)


def changed_bytes(now: float, before: float) -> str:
    """Bytes now and before."""
    return instead(format_bytes(now), format_bytes(before), now / before if before else None)


def changed_seconds(now: float, before: float) -> str:
    """Seconds now and before."""
    return instead(format_seconds(now), format_seconds(before), now / before if before else None)


def wait(steps: int, step_period_s: float | None) -> str:
    """Later steps that an output waits for, and how long that is."""
    text = plural(steps, "later step")
    if step_period_s is None or not steps:
        return text
    lasting = format_seconds(steps * step_period_s)
    return f"{text} ({lasting} at {format_seconds(step_period_s)} a step)"
