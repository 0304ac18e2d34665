"""The scatter plot of an accuracy suite: predicted against measured time, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from rnncost.report.extras import require_matplotlib
from rnncost.suites.model import Case, SuiteResult
from rnncost.suites.stats import by_group

_BANDS = ((1.1, "±10 %", "--"), (2.0, "factor 2", ":"))
_MOST_COLOURS = 10
_COLUMNS = 3


def render_svg(result: SuiteResult, *, intervals: bool = True) -> str:
    """Draw predicted against measured seconds, both logarithmic, the same text each time.

    One panel a group. Lines mark equality, ±10 % and a factor of 2. Colours tell cells
    apart, or the values of the first feature that has a few.

    Args:
        result: a suite with at least one case.
        intervals: draw each case's 90 % interval as a bar.

    Raises:
        RuntimeUnavailableError: matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    groups = by_group(result)
    feature = _feature(result.cases)
    values = _values(result.cases, feature)
    columns = min(len(groups), _COLUMNS)
    rows = -(-len(groups) // columns)
    settings = {"svg.hashsalt": "rnncost", "svg.fonttype": "none", "font.size": 8}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(4.0 * columns + 1.6, 4.0 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).flat
        limits = _limits(result.cases)
        drawn: dict[str, Any] = {}
        for (group, cases), axes in zip(groups.items(), panels, strict=False):
            drawn |= _panel(axes, group, cases, limits)
            for number, value in enumerate(values):
                own = [case for case in cases if _value(case, feature) == value]
                points = axes.errorbar(
                    [case.measured_s for case in own],
                    [case.predicted_s for case in own],
                    yerr=_bars(own) if intervals else None,
                    fmt="o",
                    color=f"C{number}",
                    markersize=3,
                    alpha=0.6,
                    elinewidth=0.4,
                )
                drawn.setdefault(value, points)
        for axes in list(panels):
            axes.remove()
        figure.legend(list(drawn.values()), list(drawn), loc="outside right upper")
        figure.suptitle(f"Accuracy suite {result.suite}, {len(result.cases)} cases")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "rnncost"})
    return text.getvalue()


def _panel(
    axes: Any, group: str, cases: Sequence[Case], limits: tuple[float, float]
) -> dict[str, Any]:
    """Scales, labels and lines of one panel; what the legend says of the lines."""
    low, high = limits
    axes.set(
        xscale="log",
        yscale="log",
        xlim=limits,
        ylim=limits,
        aspect="equal",
        xlabel="measured (s)",
        ylabel="predicted (s)",
        title=f"{group} ({len(cases)})".replace("$", r"\$"),
    )
    axes.grid(visible=True, which="major", linewidth=0.3)
    axes.plot(limits, limits, color="black", linewidth=0.8)
    drawn = {}
    for factor, label, style in _BANDS:
        for side in (factor, 1 / factor):
            (drawn[label],) = axes.plot(
                limits, (low * side, high * side), color="grey", linestyle=style, linewidth=0.8
            )
    return drawn


def _limits(cases: Sequence[Case]) -> tuple[float, float]:
    times = [time for case in cases for time in (case.measured_s, case.predicted_s)]
    return min(times) / 1.5, max(times) * 1.5


def _feature(cases: Sequence[Case]) -> str:
    """The feature that colours stand for; none is ``""``."""
    features = dict.fromkeys(name for case in cases for name in case.features)
    few = [f for f in features if 1 < len(_values(cases, f)) <= _MOST_COLOURS]
    return "cell" if "cell" in few else few[0] if few else ""


def _values(cases: Sequence[Case], feature: str) -> list[str]:
    return list(dict.fromkeys(_value(case, feature) for case in cases))


def _value(case: Case, feature: str) -> str:
    # The legend would leave out what starts with an underscore, and set $ as mathematics.
    text = f"{feature} {case.features.get(feature, 'unknown')}" if feature else "case"
    return text.lstrip("_").replace("$", r"\$")


def _bars(cases: Sequence[Case]) -> list[list[float]]:
    """How far each interval reaches below and above the prediction."""
    below = [c.predicted_s - c.low_s if c.low_s is not None else 0.0 for c in cases]
    above = [c.high_s - c.predicted_s if c.high_s is not None else 0.0 for c in cases]
    return [[max(0.0, length) for length in lengths] for lengths in (below, above)]
