"""The sections with charts: the timeline and the rooflines, each with its words and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rnncost.profiles.schema import HardwareProfile
from rnncost.report.model import Report
from rnncost.report.rows import Column
from rnncost.report.text import plural
from rnncost.units import format_count, format_seconds
from rnncost.webpage.markup import Markup, escape, paragraph, section, table
from rnncost.webpage.roofline import Roofline, roofline_of
from rnncost.webpage.roofline_chart import NUMBERED, draw_roofline, group_of
from rnncost.webpage.sections import short_name
from rnncost.webpage.timeline import KINDS, LARGEST_T, Kind, Omitted, Timeline, timeline_of
from rnncost.webpage.timeline_chart import HATCHED, draw_timeline, time_unit, timeline_rows

KIND_NAMES: dict[Kind, str] = {
    "overhead": "overhead",
    "parallel": "input products and other parallel work",
    "steps": "steps",
    "backward": "steps of the second direction",
}
"""What the parts of a timeline are called."""

CHARTED = 8
"""How many estimates have charts: with many more a page takes long to draw."""

_SHAPES = {"recurrent": "round", "product": "square", "other": "turned"}

Chart = dict[str, Any]


def timeline_section(report: Report) -> tuple[str, list[Chart]]:
    """The sequential path on each profile, with a slider for the number of steps."""
    charted = report.estimates[:CHARTED]
    found = [(estimate, timeline_of(report, estimate)) for estimate in charted]
    drawn = [timeline for _, timeline in found if isinstance(timeline, Timeline)]
    steps = max((timeline.steps for timeline in drawn), default=0)
    slides = 0 < steps <= LARGEST_T and not _grows_faster(report)
    most = max(2 * steps, 4) if slides else 0
    blocks: list[str] = []
    shown: list[Chart] = []
    for number, (estimate, timeline) in enumerate(found):
        if isinstance(timeline, Omitted):
            blocks.append(_omitted("timeline", estimate.profile, timeline))
            continue
        target = f"timeline-{number}"
        latest_s = timeline.latency_at(most) if most else timeline.latency_s
        blocks.append(
            _figure(
                target,
                Markup(
                    f'<strong>{escape(estimate.profile)}</strong>: <span id="{target}-latency">'
                    f"{escape(format_seconds(timeline.latency_s))}</span>"
                ),
            )
        )
        scale, _ = time_unit(latest_s)
        shown.append(
            {
                "target": target,
                "item": draw_timeline(timeline, latest_s, target),
                "timeline": {
                    "steps": timeline.steps if most else 0,
                    "latency": format_seconds(timeline.latency_s),
                    "latest": latest_s,
                    "scale": scale,
                    "rows": timeline_rows(timeline),
                },
            }
        )
    if not drawn:
        return section("timeline", "Timeline", *blocks), []
    words = "One operator after another, as the estimate runs them."
    used = {part.kind for timeline in drawn for row in timeline.rows for part in row.parts}
    control = _slider(steps, most) if most else ""
    return section(
        "timeline",
        "Timeline",
        paragraph(words),
        control,
        _legend(used),
        *blocks,
        _about_other_steps(report, steps, most),
        _not_charted(report),
    ), shown


def roofline_section(
    report: Report, profiles: Sequence[HardwareProfile]
) -> tuple[str, list[Chart]]:
    """The operators under the ceilings of each profile."""
    blocks: list[str] = []
    shown: list[Chart] = []
    groups: set[str] = set()
    for number, estimate in enumerate(report.estimates[:CHARTED]):
        roofline = roofline_of(report, estimate, profiles)
        if isinstance(roofline, Omitted):
            blocks.append(_omitted("roofline", estimate.profile, roofline))
            continue
        target = f"roofline-{number}"
        blocks.append(_figure(target, Markup(f"<strong>{escape(estimate.profile)}</strong>")))
        blocks.append(_key(roofline, estimate.profile))
        groups |= {group_of(point) for point in roofline.points}
        shown.append({"target": target, "item": draw_roofline(roofline, target)})
    if not shown:
        return section("roofline", "Roofline", *blocks), []
    words = (
        "Each operator at the rate that the estimate gives it, overhead included, under the "
        "ceilings of the profile. Bytes are all that it reads and writes, from any level."
    )
    legend = "".join(
        f'<li class="{shape}" style="--swatch:var(--{kind})">{kind}</li>'
        for kind, shape in _SHAPES.items()
        if kind in groups
    )
    legend = f'<ul class="legend">{legend}</ul>'
    return section(
        "roofline", "Roofline", paragraph(words), legend, *blocks, _not_charted(report)
    ), shown


def _figure(target: str, caption: Markup) -> str:
    return (
        f'<figure aria-labelledby="{target}-caption"><figcaption id="{target}-caption">{caption}'
        f'</figcaption><div class="chart" id="{target}"></div></figure>'
    )


def _omitted(chart: str, profile: str, omitted: Omitted) -> str:
    return paragraph(f"No {chart} for {profile}: {omitted.reason}.")


def _not_charted(report: Report) -> str:
    rest = len(report.estimates) - CHARTED
    return paragraph(f"There are no charts for {plural(rest, 'more profile')}.") if rest > 0 else ""


def _slider(steps: int, most: int) -> str:
    return (
        '<div class="slider"><label for="steps">Time steps T</label>'
        f'<input type="range" id="steps" min="1" max="{most}" step="1" value="{steps}" '
        'list="steps-report" autocomplete="off">'
        f'<output id="steps-shown" for="steps">T = {steps:,}</output></div>'
        f'<datalist id="steps-report"><option value="{steps}"></option></datalist>'
    )


def _about_other_steps(report: Report, steps: int, most: int) -> str:
    if most:
        return paragraph(
            "At the report's T the times are the report's own. At another T they are projected, "
            "as if all work but two kinds grew in proportion, in layers with fewer steps too: "
            "overhead stays, unless a loop of the model repeats it, and so do products with no "
            "more rows than the batch, such as a layer on the last step. rnncost analyze --dim "
            "estimates another size anew."
        )
    if _grows_faster(report):
        return paragraph(
            "There is no slider for T: some of this model's counts grow with the square of a size, "
            "so times at another T cannot be told from these."
        )
    if steps > LARGEST_T:
        return paragraph(f"There is no slider for T: it is above {LARGEST_T:,} steps.")
    return ""


def _grows_faster(report: Report) -> bool:
    """Whether a count has a free dimension squared, or the model has attention."""
    squared = any("^" in formula for formula in (report.symbolic or {}).values())
    return squared or any(
        op.op_type.endswith("Attention") and op.op_type != "LinearAttention" for op in report.ops
    )


def _legend(used: set[Kind]) -> str:
    items = "".join(
        f"<li{' class=hatched' if kind in HATCHED else ''} "
        f'style="--swatch:var(--{kind})">{KIND_NAMES[kind]}</li>'
        for kind in KINDS
        if kind in used
    )
    return f'<ul class="legend">{items}</ul>'


def _key(roofline: Roofline, profile: str) -> str:
    """The numbers of the chart, which are those of the table's rows."""
    points = roofline.points[:NUMBERED]
    names = [
        Markup(f"{number}.&nbsp;{escape(short_name(point.name))}")
        for number, point in enumerate(points, 1)
    ]
    columns = [
        Column("name", tuple(names), number=False),
        Column("type", tuple(short_name(point.op_type) for point in points), number=False),
        Column("MACs/byte", tuple(f"{point.macs_per_byte:.3g}" for point in points)),
        Column("MACs/s", tuple(format_count(point.macs_per_s) for point in points)),
        Column("of its ceiling", tuple(f"{100 * point.share:.3g}%" for point in points)),
        Column("ceiling", tuple(point.bound for point in points), number=False),
    ]
    more = []
    if rest := len(roofline.points) - len(points):
        more.append(f"{plural(rest, 'operator')} that cost less have a mark without a number.")
    if roofline.left_out:
        left = plural(roofline.left_out, "operator")
        more.append(f"{left} with time but without MACs are not in the chart.")
    caption = f"Operators in the chart for {profile}, costliest first"
    return table(caption, columns) + paragraph(" ".join(more))
