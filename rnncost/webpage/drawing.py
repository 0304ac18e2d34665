"""What all charts share: Bokeh, chosen and set up.

Bokeh was chosen over Plotly, the other well-kept library that draws without a server:
its script is 1.3 MB where Plotly's is 4.8 MB, and it draws names as plain text where Plotly
reads some HTML in them, so that a name could become a link. docs/html.md has more.

Colours are not set here: each model has a tag that names the page's CSS variables, so that
charts and text change between light and dark together. Nor do the charts have a toolbar: a
wheel or a finger scrolls the page and never a chart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnncost.errors import RuntimeUnavailableError

if TYPE_CHECKING:
    from bokeh.model import Model
    from bokeh.plotting import figure

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
TEXT: dict[str, Any] = {"text_font": {"value": FONT}, "text_font_size": {"value": "12px"}}
"""The font of text in a chart."""

TOOLTIP = "@name<br>@about"
"""What shows over a mark; Bokeh escapes both values."""

_OLDEST = (3, 8)
"""Earlier versions take names in a tooltip for HTML."""

_THEME = {
    "attrs": {
        "Plot": {
            "background_fill_color": None,
            "border_fill_color": None,
            "outline_line_color": None,
        },
        "Axis": {
            "axis_label_text_font": FONT,
            "axis_label_text_font_size": "12px",
            "axis_label_text_font_style": "normal",
            "major_label_text_font": FONT,
            "major_label_text_font_size": "12px",
            "minor_tick_line_color": None,
            "major_tick_in": 0,
        },
    }
}


def require_bokeh() -> None:
    """Raise now what ``render_page`` would raise later.

    Raises:
        RuntimeUnavailableError: Bokeh is not installed, or too old.
    """
    try:
        import bokeh
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"an HTML page needs Bokeh, which cannot be imported ({error}): "
            "pip install 'rnncost[html]'"
        ) from None
    if tuple(map(int, bokeh.__version__.split(".")[:2])) < _OLDEST:
        raise RuntimeUnavailableError(
            f"an HTML page needs Bokeh 3.8 or later, and this is {bokeh.__version__}: "
            "pip install --upgrade 'rnncost[html]'"
        )


def bokeh_script() -> str:
    """Bokeh's own script, without its widgets and tables."""
    from bokeh.resources import Resources

    resources = Resources(mode="inline", components=["bokeh"], minified=True, log_level="warn")
    return "\n".join(resources.js_raw)


def new_figure(**options: Any) -> figure:
    """A chart as wide as its place in the page."""
    from bokeh.plotting import figure

    plot = figure(
        sizing_mode="stretch_width", tools="", toolbar_location=None, min_border=4, **options
    )
    for axis in plot.axis:
        paint(
            axis,
            axis_label_text_color="--muted",
            major_label_text_color="--muted",
            axis_line_color="--line",
            major_tick_line_color="--line",
        )
    for grid in plot.grid:
        paint(grid, grid_line_color="--line")
    return plot


def paint(model: Model, **colours: str) -> None:
    """Say which CSS variable colours what; the page's script does it."""
    from bokeh.models import Glyph

    glyph = isinstance(model, Glyph)
    model.tags = [{key: {"value": name} if glyph else name for key, name in colours.items()}]


def as_json(plot: figure, prefix: str) -> dict[str, Any]:
    """The document as plain JSON, with names of models that are the same each time."""
    from bokeh.embed import json_item
    from bokeh.themes import Theme

    item: Any = json_item(plot, theme=Theme(json=_THEME))
    renamed: dict[str, Any] = _renamed(item, {}, prefix)
    return renamed


def _renamed(value: Any, names: dict[str, str], prefix: str) -> Any:
    if isinstance(value, Mapping):
        return {
            key: names.setdefault(each, f"{prefix}-{len(names)}")
            if key in ("id", "root_id")
            else _renamed(each, names, prefix)
            for key, each in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_renamed(each, names, prefix) for each in value]
    return value
