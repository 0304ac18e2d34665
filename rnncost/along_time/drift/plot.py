"""Signal-to-noise ratio against the step, a panel for each state, as SVG or PNG."""

from __future__ import annotations

import io
from typing import Any, Literal

from rnncost.along_time.drift.model import Drift, StateDrift
from rnncost.along_time.drift.panels import Panel, alone, panels
from rnncost.errors import MeasurementError
from rnncost.report.extras import require_matplotlib
from rnncost.report.text import shorten_all

_MOST_PANELS = 24
_COLUMNS = 3
_NAME_CHARS = 32


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

    found = panels(drift)
    if not found:
        raise MeasurementError("no layer was compared step by step: there is nothing to draw")
    shown = found[:_MOST_PANELS]
    names = shorten_all([panel.layer for panel in shown], _NAME_CHARS)
    columns = min(len(shown), _COLUMNS)
    rows = -(-len(shown) // columns)
    settings = {"svg.hashsalt": "rnncost", "svg.fonttype": "none", "font.size": 8}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(4.0 * columns + 1.4, 2.8 * rows + 0.4), layout="constrained")
        axes_of = list(figure.subplots(rows, columns, squeeze=False).flat)
        drawn: dict[str, Any] = {}
        for panel, name, axes in zip(shown, names, axes_of, strict=False):
            axes.set(title=_title(panel, name), xlabel="step", ylabel="signal to noise (dB)")
            axes.grid(visible=True, linewidth=0.3)
            for precision, state in panel.curves.items():
                values = [float("nan") if v is None else v for v in state.curve_snr_db]
                number = [one.precision for one in drift.precisions].index(precision)
                (line,) = axes.plot(
                    state.steps,
                    values,
                    color=f"C{number}",
                    linewidth=0.9,
                    marker=".",
                    markevery=alone(state.curve_snr_db),
                )
                drawn.setdefault(_label(precision, state), line)
            limit = axes.axhline(drift.limit_db, color="grey", linestyle="--", linewidth=0.8)
            drawn.setdefault(f"limit {drift.limit_db:g} dB", limit)
        for axes in axes_of[len(shown) :]:
            axes.remove()
        figure.legend(list(drawn.values()), list(drawn), loc="outside right upper")
        if len(found) > len(shown):
            figure.suptitle(f"the first {len(shown)} of {len(found)} states")
        data = io.BytesIO()
        metadata = {"Date": None, "Creator": "rnncost"} if kind == "svg" else {}
        figure.savefig(data, format=kind, dpi=150, metadata=metadata)
    return data.getvalue()


def _title(panel: Panel, name: str) -> str:
    way = "" if panel.direction == "forward" else f" {panel.direction}"
    # matplotlib sets $ as mathematics.
    return f"{panel.state} of {name}{way}".replace("$", r"\$")


def _label(precision: str, state: StateDrift) -> str:
    return f"{precision}: no error" if state.exact else precision
