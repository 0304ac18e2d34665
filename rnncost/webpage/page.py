"""The page: text from the report, charts from its estimates, script and style inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.budgets.formats.findings import broken
from rnncost.budgets.model import CheckResult
from rnncost.errors import ReportError
from rnncost.profiles.folders import profile_files
from rnncost.profiles.schema import HardwareProfile
from rnncost.profiles.store import load_profile
from rnncost.report import summary
from rnncost.report.model import Report
from rnncost.units import LARGEST_QUANTITY
from rnncost.webpage.document import document
from rnncost.webpage.drawing import require_bokeh
from rnncost.webpage.limits import budgets_section
from rnncost.webpage.markup import escape
from rnncost.webpage.plots import KIND_NAMES, roofline_section, timeline_section
from rnncost.webpage.sections import (
    estimates_section,
    key_figures,
    notes_section,
    operators_section,
    short_name,
    summary_section,
    training_section,
)

if TYPE_CHECKING:
    from rnncost.comparison.model import Comparison


def render_page(
    report: Report,
    *,
    profiles: Sequence[HardwareProfile] = (),
    comparison: Comparison | None = None,
    check: CheckResult | None = None,
) -> str:
    """One self-contained HTML page, which asks nothing of the network; the same text each time.

    Args:
        report: what the page is about.
        profiles: those of the report's estimates, for the ceilings of the rooflines; an
            estimate whose profile is not among them, in its version, gets none.
        comparison: adds the table of contrasts.
        check: adds the budgets met and missed.

    Raises:
        RuntimeUnavailableError: Bokeh is not installed.
        ReportError: a figure is infinite, not a number, or too large to draw.
    """
    require_bokeh()
    for data in (report, comparison, check):
        _check_figures(msgspec.to_builtins(data))
    timeline, timelines = timeline_section(report)
    roofline, rooflines = roofline_section(report, profiles)
    parts = {
        "Summary": summary_section(report),
        "Budgets": budgets_section(check, report) if check is not None else "",
        "Contrast": _contrast(comparison) if comparison is not None else "",
        "Latency": estimates_section(report),
        "Training": training_section(report),
        "Timeline": timeline,
        "Roofline": roofline,
        "Operators": operators_section(report),
        "Notes": notes_section(report),
    }
    body = "".join(
        (
            f"<header><h1><bdi>{escape(_title(report))}</bdi></h1>",
            key_figures(report, check),
            _contents(parts),
            "</header><main>",
            "<noscript><p>The charts need JavaScript; the tables do not.</p></noscript>",
            *parts.values(),
            f"</main><footer>{escape(summary.conventions(report))}</footer>",
        )
    )
    charts = [*timelines, *rooflines]
    return document(
        body,
        title=f"{_title(report)} · rnncost",
        description=short_name(summary.verdict(report)),
        generator=f"{report.tool.name} {report.tool.version}",
        data={"charts": charts, "kinds": KIND_NAMES} if charts else None,
    )


def render_check(check: CheckResult) -> str:
    """The page of a check: all budgets, and the report of the model that is worst off.

    Raises:
        RuntimeUnavailableError: Bokeh is not installed.
        ReportError: no model was checked, or a figure cannot be drawn.
        ProfileError: the file of a profile is wrong.
    """
    if not check.models:
        raise ReportError("no model was checked, so there is no page to write")
    worst = next(iter(broken(check)), None)
    shown = next((m for m in check.models if worst and m.model == worst.model), check.models[0])
    return render_page(shown.report, profiles=known_profiles(shown.report), check=check)


def known_profiles(
    report: Report, given: Sequence[str | HardwareProfile] = ()
) -> tuple[HardwareProfile, ...]:
    """The profiles of a report's estimates: those given, by name or file or as they are.

    Without any, those that can be found by their name in the report, which is never taken for
    a path.

    Raises:
        ProfileError: the file of one of them is wrong.
    """
    if given:
        return tuple([p if isinstance(p, HardwareProfile) else load_profile(p) for p in given])
    found = profile_files()
    names = dict.fromkeys(estimate.profile for estimate in report.estimates)
    return tuple([load_profile(found[name]) for name in names if name in found])


def _contrast(comparison: Comparison) -> str:
    # What makes variants of models is loaded only where there are some.
    from rnncost.webpage.contrast import contrast_section

    return contrast_section(comparison)


def _title(report: Report) -> str:
    """The last part of the model's path."""
    name = report.model.path.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return short_name(name) or "model in memory"


def _contents(parts: dict[str, str]) -> str:
    links = "".join(
        f'<li><a href="#{title.lower()}">{title}</a></li>' for title, part in parts.items() if part
    )
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def _check_figures(value: Any) -> None:
    """Refuse what no chart can place; a report edited by hand may hold anything."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            _check_figures(each)
    elif isinstance(value, (int, float)) and not (
        math.isfinite(value) if isinstance(value, float) else abs(value) <= LARGEST_QUANTITY
    ):
        raise ReportError(
            "the page cannot be written because a figure in the report is infinite, not a "
            "number or above 10^280; look for a profile with a rate of zero"
        )
