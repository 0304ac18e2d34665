"""The timeline chart: bars from the start of the run to its end, one row below the other."""

from __future__ import annotations

from typing import Any

from rnncost.report.text import printable, shorten, shorten_all
from rnncost.units import format_seconds
from rnncost.webpage.drawing import TEXT, TOOLTIP, as_json, new_figure, paint
from rnncost.webpage.timeline import KINDS, LARGEST_T, Row, Timeline

HATCHED = ("steps", "backward")
"""The parts of a timeline that are made of steps."""

_ROW_PX = 46
_AXIS_PX = 52
_NAME_CHARS = 28
_HATCH = {"hatch_pattern": "vertical_line", "hatch_scale": 5, "hatch_alpha": 0.55}


def draw_timeline(timeline: Timeline, latest_s: float, anchor: str) -> dict[str, Any]:
    """The rows of a timeline, each from where the one before ended, up to ``latest_s``.

    The page's script fills its sources: ``bars-KIND``, ``names`` and ``times``.
    """
    from bokeh.models import ColumnDataSource, HoverTool, Range1d

    scale, unit = time_unit(latest_s)
    plot = new_figure(
        height=_ROW_PX * len(timeline.rows) + _AXIS_PX,
        x_range=Range1d(0, latest_s / scale),
        y_range=Range1d(len(timeline.rows), 0),
        x_axis_label=f"time ({unit})",
    )
    plot.yaxis.visible = False
    plot.ygrid.visible = False
    plot.xaxis.ticker.desired_num_ticks = 5
    for kind in KINDS:
        source = ColumnDataSource(
            {key: [] for key in ("left", "right", "top", "bottom", "name", "about")},
            name=f"bars-{kind}",
        )
        drawn = plot.quad(
            "left",
            "right",
            "top",
            "bottom",
            source=source,
            line_color=None,
            **(_HATCH if kind in HATCHED else {}),
        )
        paint(drawn.glyph, fill_color=f"--{kind}", hatch_color="--bg")
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=TOOLTIP))
    for side, align, colour in (("names", "left", "--ink"), ("times", "right", "--muted")):
        text = plot.text(
            "x",
            "y",
            "text",
            source=ColumnDataSource({"x": [], "y": [], "text": []}, name=side),
            text_align=align,
            text_baseline="top",
            y_offset=5,
            **TEXT,
        )
        paint(text.glyph, text_color=colour)
    return as_json(plot, anchor)


def timeline_rows(timeline: Timeline) -> list[dict[str, Any]]:
    """What the page's script needs of each row."""
    names = shorten_all([row.name for row in timeline.rows], _NAME_CHARS)
    return [_row_data(row, name) for row, name in zip(timeline.rows, names, strict=True)]


def time_unit(seconds: float) -> tuple[float, str]:
    """The unit in which so many seconds are a handy number."""
    units = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
    return next(((scale, unit) for scale, unit in units if seconds >= scale), units[-1])


def _row_data(row: Row, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "whole": printable(shorten(row.name, 80)),
        "steps": row.steps if row.steps <= LARGEST_T else 0,
        "turns": row.turns,
        "step": "" if row.step_s is None else format_seconds(row.step_s),
        "parts": [[part.kind, part.seconds, part.scales] for part in row.parts],
    }
