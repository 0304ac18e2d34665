"""The roofline chart: ceilings and operators on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnncost.report.text import printable, shorten
from rnncost.units import format_count
from rnncost.webpage.drawing import TEXT, TOOLTIP, as_json, new_figure, paint
from rnncost.webpage.roofline import Point, Roofline

if TYPE_CHECKING:
    from bokeh.plotting import figure

NUMBERED = 20
"""How many of the costliest operators have a number in the chart."""

_MARKERS = {"recurrent": "circle", "product": "square", "other": "diamond"}
_SHORT_AXIS = 60
_SIDES = ((12, -8), (-12, -8), (12, 9), (-12, 9))
_ENOUGH_PX = 13.0


def draw_roofline(roofline: Roofline, anchor: str) -> dict[str, Any]:
    """The roofline on logarithmic axes, as the JSON of a Bokeh document."""
    from bokeh.models import ColumnDataSource, HoverTool

    (x_low, x_high), (y_low, y_high) = _extent(roofline)
    plot = new_figure(
        height=380,
        x_range=(x_low, x_high),
        y_range=(y_low, y_high),
        x_axis_type="log",
        y_axis_type="log",
        x_axis_label="arithmetic intensity (MACs per byte)",
        y_axis_label="MACs per second",
    )
    _log_ticks(plot.xaxis[0], x_low, x_high)
    _log_ticks(plot.yaxis[0], y_low, y_high)
    _ceilings(plot, roofline, x_low, x_high, y_low)
    numbers = {id(point): str(i) for i, point in enumerate(roofline.points[:NUMBERED], 1)}
    for kind, marker in _MARKERS.items():
        points = [point for point in roofline.points if group_of(point) == kind]
        if not points:
            continue
        data: dict[str, list[Any]] = {
            "x": [point.macs_per_byte for point in points],
            "y": [point.macs_per_s for point in points],
            "name": [printable(shorten(point.name, 80)) for point in points],
            "about": [_about(point) for point in points],
        }
        drawn = plot.scatter(
            "x", "y", source=ColumnDataSource(data), marker=marker, size=11, line_width=1
        )
        paint(drawn.glyph, fill_color=f"--{kind}", line_color="--bg")
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=TOOLTIP))
    labelled = [point for point in roofline.points if id(point) in numbers]
    decades = math.log10(x_high / x_low), math.log10(y_high / y_low)
    offsets = _label_offsets(labelled, decades)
    text = plot.text(
        [point.macs_per_byte for point in labelled],
        [point.macs_per_s for point in labelled],
        text=[numbers[id(point)] for point in labelled],
        x_offset=[x for x, _ in offsets],
        y_offset=[y for _, y in offsets],
        text_align="center",
        text_baseline="middle",
        **TEXT,
    )
    paint(text.glyph, text_color="--ink")
    return as_json(plot, anchor)


def group_of(point: Point) -> str:
    """Which marker and colour a point has."""
    return point.kind if point.kind in _MARKERS else "other"


def _extent(roofline: Roofline) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ranges of both axes: all points, and where the ceilings bend."""
    peak = roofline.peaks[-1].macs_per_s
    bends = [p.macs_per_s / level.bytes_per_s for p in roofline.peaks for level in roofline.levels]
    x = [*(point.macs_per_byte for point in roofline.points), *bends]
    y = [*(point.macs_per_s for point in roofline.points), peak]
    return (min(x) / 2, max(x) * 2.5), (min(y) / 2.5, max(y) * 2.5)


def _ceilings(plot: figure, roofline: Roofline, x_low: float, x_high: float, y_low: float) -> None:
    """A slanted line for each memory level, a flat one for each peak, each with its rate."""
    top = roofline.peaks[-1].macs_per_s
    names: dict[float, list[str]] = {}
    for level in roofline.levels:
        names.setdefault(level.bytes_per_s, []).append(level.name)
    slanted: list[tuple[float, float, str]] = []
    for rate in sorted(names, reverse=True):
        bend = min(max(top / rate, x_low), x_high)
        line = plot.line([x_low, bend], [x_low * rate, bend * rate])
        paint(line.glyph, line_color="--ceiling")
        slanted.append((rate, bend, f"{', '.join(names[rate])} {format_count(rate)}B/s"))
    for peak in roofline.peaks:
        start = min(max(peak.macs_per_s / max(names), x_low), x_high)
        line = plot.line([start, x_high], [peak.macs_per_s, peak.macs_per_s])
        paint(line.glyph, line_color="--ceiling")
    _texts(plot, "left", [(x, x * rate, text) for x, rate, text in _along(slanted, x_low, y_low)])
    peaks = [
        (x_high, p.macs_per_s, f"{p.precision} {format_count(p.macs_per_s)}MACs/s")
        for p in roofline.peaks
    ]
    _texts(plot, "right", peaks)


def _along(
    lines: Sequence[tuple[float, float, str]], x_low: float, y_low: float
) -> list[tuple[float, float, str]]:
    """Where the name of each slanted line starts: where the line does, in the plot.

    If the line above is near, so that their names would meet, it is further along.
    """
    places: list[tuple[float, float, str]] = []
    above = math.inf
    for rate, bend, text in lines:
        start = max(x_low, 1.3 * y_low / rate)
        moved = above < 2 * rate
        places.append((math.sqrt(start * max(bend, start)) if moved else start, rate, text))
        above = math.inf if moved else rate
    return places


def _texts(plot: figure, side: str, labels: Sequence[tuple[float, float, str]]) -> None:
    """Names under slanted lines, which start on the left, or over flat ones, which end right."""
    left = side == "left"
    text = plot.text(
        [x for x, _, _ in labels],
        [y for _, y, _ in labels],
        text=[printable(shorten(name, 40)) for _, _, name in labels],
        text_align=side,
        text_baseline="top" if left else "bottom",
        x_offset=6 if left else -4,
        y_offset=2 if left else -3,
        **TEXT,
    )
    paint(text.glyph, text_color="--muted")


def _log_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks at powers of ten, or also between them on a short axis, labelled with SI prefixes."""
    from bokeh.models import FixedTicker

    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < _SHORT_AXIS else (1,)
    ticks = [step * 10.0**power for power in powers for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axis.ticker = FixedTicker(ticks=ticks)
    axis.major_label_overrides = {tick: format_count(tick) for tick in ticks}


def _label_offsets(points: Sequence[Point], decades: tuple[float, float]) -> list[tuple[int, int]]:
    """Pixels from each point to its number, on the side that is free of marks and numbers.

    ``decades`` are the lengths of the axes; pixels are those of a phone, where it is tightest.
    """
    x_px, y_px = 270 / decades[0], -310 / decades[1]
    marks = [(x_px * math.log10(p.macs_per_byte), y_px * math.log10(p.macs_per_s)) for p in points]
    taken = list(marks)
    chosen: list[tuple[int, int]] = []
    for x, y in marks:
        side = max(_SIDES, key=lambda side: min(_room(x, y, side, taken), _ENOUGH_PX))
        taken.append((x + side[0], y + side[1]))
        chosen.append(side)
    return chosen


def _room(x: float, y: float, side: tuple[int, int], taken: Sequence[tuple[float, float]]) -> float:
    place = (x + side[0], y + side[1])
    others = (math.dist(place, other) for other in taken if other != (x, y))
    return min(others, default=math.inf)


def _about(point: Point) -> str:
    return (
        f"{format_count(point.macs_per_s)}MACs/s, {point.macs_per_byte:.3g} MACs/byte, "
        f"{100 * point.share:.3g} % of its ceiling ({printable(point.bound)})"
    )
