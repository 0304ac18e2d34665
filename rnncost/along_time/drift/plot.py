"""Signal-to-noise ratio against the step, a panel for each state, as SVG or PNG."""

from __future__ import annotations

import io
from typing import Any, Literal

from rnncost.along_time.drift.model import Drift, LayerDrift, StateDrift
from rnncost.errors import MeasurementError
from rnncost.report.extras import require_matplotlib

_MOST_PANELS = 24
_COLUMNS = 3


def render_plot(drift: Drift, kind: Literal["svg", "png"]) -> bytes:
    """Draw the ratio of each state at each step in dB, a line for each precision.

    A dashed line marks the limit. Steps without an error have no point. The same drift gives
    the same SVG.

    Raises:
        MeasurementError: there is no state to draw.
        RuntimeUnavailableError: matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib
    from matplotlib.figure import Figure

    panels = _panels(drift)
    if not panels:
        raise MeasurementError("no layer was compared step by step: there is nothing to draw")
    shown = list(panels.items())[:_MOST_PANELS]
    columns = min(len(shown), _COLUMNS)
    rows = -(-len(shown) // columns)
    settings = {"svg.hashsalt": "rnncost", "svg.fonttype": "none", "font.size": 8}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(4.0 * columns + 1.4, 2.8 * rows + 0.4), layout="constrained")
        axes_of = list(figure.subplots(rows, columns, squeeze=False).flat)
        drawn: dict[str, Any] = {}
        for (title, lines), axes in zip(shown, axes_of, strict=False):
            axes.set(title=_plain(title), xlabel="step", ylabel="signal to noise (dB)")
            axes.grid(visible=True, linewidth=0.3)
            for precision, state in lines.items():
                values = [float("nan") if v is None else v for v in state.curve_snr_db]
                number = [one.precision for one in drift.precisions].index(precision)
                marker = "." if len(values) < 2 else ""
                (line,) = axes.plot(
                    state.steps, values, color=f"C{number}", linewidth=0.9, marker=marker
                )
                drawn.setdefault(_label(precision, state), line)
            limit = axes.axhline(drift.limit_db, color="grey", linestyle="--", linewidth=0.8)
            drawn.setdefault(f"limit {drift.limit_db:g} dB", limit)
        for axes in axes_of[len(shown) :]:
            axes.remove()
        figure.legend(list(drawn.values()), list(drawn), loc="outside right upper")
        if len(panels) > len(shown):
            figure.suptitle(f"the first {len(shown)} of {len(panels)} states")
        data = io.BytesIO()
        metadata = {"Date": None, "Creator": "rnncost"} if kind == "svg" else {}
        figure.savefig(data, format=kind, dpi=150, metadata=metadata)
    return data.getvalue()


def _panels(drift: Drift) -> dict[str, dict[str, StateDrift]]:
    """States that have a curve, by title and precision."""
    found: dict[str, dict[str, StateDrift]] = {}
    for one in drift.precisions:
        for layer in one.layers:
            for state in layer.states:
                if state.steps:
                    found.setdefault(_title(layer, state), {})[one.precision] = state
    return found


def _title(layer: LayerDrift, state: StateDrift) -> str:
    way = "" if layer.direction == "forward" else f" {layer.direction}"
    return f"{state.state} of {layer.name[-32:]}{way}"


def _label(precision: str, state: StateDrift) -> str:
    return f"{precision}: no error" if state.exact else precision


def _plain(text: str) -> str:
    # matplotlib sets $ as mathematics; what no terminal shows is none of a title either.
    from rnncost.report.text import printable

    return printable(text).replace("$", r"\$")
