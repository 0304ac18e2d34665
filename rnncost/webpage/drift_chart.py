"""The drift chart: the signal-to-noise ratio of a state at each step, a line a precision."""

from __future__ import annotations

import math
from typing import Any

from rnncost.along_time.drift.model import StateDrift
from rnncost.along_time.drift.panels import Panel, alone
from rnncost.webpage.drawing import as_json, new_figure, paint

COLOURS = {
    "int8": "--steps",
    "int8-emulated": "--bad",
    "qdq": "--backward",
    "fp16": "--parallel",
    "fp16-emulated": "--overhead",
    "bf16": "--good",
    "fp32": "--ink",
}
"""The CSS variable that colours the line of each precision."""

_HEIGHT_PX = 260
_MARGIN = 0.06


def drawn_precisions(panel: Panel) -> list[str]:
    """The precisions that have a point to draw: those with an error that is finite."""
    return [precision for precision, state in panel.curves.items() if _ratios(state)]


def draw_drift(panel: Panel, limit_db: float, anchor: str) -> dict[str, Any]:
    """The ratios in dB and a dashed line at the limit, as the JSON of a Bokeh document.

    Steps without an error have no point, so that a line has gaps there.
    """
    from bokeh.models import ColumnDataSource, HoverTool, Range1d, Span

    shown = drawn_precisions(panel)
    ratios = [limit_db, *(ratio for name in shown for ratio in _ratios(panel.curves[name]))]
    low, high = min(ratios), max(ratios)
    margin = _MARGIN * (high - low) or 1.0
    plot = new_figure(
        height=_HEIGHT_PX,
        x_range=Range1d(0, 1.01 * max(state.length for state in panel.curves.values()) + 0.5),
        y_range=Range1d(low - margin, high + margin),
        x_axis_label="step",
        y_axis_label="signal to noise (dB)",
    )
    plot.xaxis.ticker.desired_num_ticks = 5
    plot.xaxis.ticker.min_interval = 1
    plot.xaxis.formatter.use_scientific = False
    limit = Span(location=limit_db, dimension="width", line_dash="dashed")
    paint(limit, line_color="--ceiling")
    plot.add_layout(limit)
    for precision in shown:
        state = panel.curves[precision]
        places = alone(state.curve_snr_db)
        columns: dict[str, list[float]] = {
            "step": list(map(float, state.steps)),
            "snr": list(map(_number, state.curve_snr_db)),
            "rms": list(map(_number, state.curve_rms_error)),
        }
        line = plot.line("step", "snr", source=ColumnDataSource(columns), line_width=1.5)
        dots = plot.scatter(
            "step",
            "snr",
            source=ColumnDataSource(
                {key: [values[place] for place in places] for key, values in columns.items()}
            ),
            size=4,
        )
        paint(line.glyph, line_color=COLOURS[precision])
        paint(dots.glyph, line_color=COLOURS[precision], fill_color=COLOURS[precision])
        tooltip = f"{precision}, step @step<br>@snr{{0.0}} dB<br>RMS error @rms{{%.3g}}"
        plot.add_tools(
            HoverTool(renderers=[line, dots], tooltips=tooltip, formatters={"@rms": "printf"})
        )
    return as_json(plot, anchor)


def _ratios(state: StateDrift) -> list[float]:
    return [ratio for ratio in state.curve_snr_db if ratio is not None]


def _number(value: float | None) -> float:
    return math.nan if value is None else value
