"""The page of ``numerics``: memory along time, and drift in other precisions with its charts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rnncost import __version__
from rnncost.along_time import Numerics
from rnncost.along_time.drift.model import Drift
from rnncost.along_time.drift.panels import Panel, panels
from rnncost.along_time.drift.tables import drift_figures, drift_tables
from rnncost.along_time.tables import Table, facts, sentences, tables
from rnncost.report.rows import Column
from rnncost.webpage import markup
from rnncost.webpage.document import document
from rnncost.webpage.drawing import require_bokeh
from rnncost.webpage.drift_chart import COLOURS, draw_drift, drawn_precisions
from rnncost.webpage.markup import Markup, bullets, escape, paragraph, section, titled
from rnncost.webpage.sections import short_name

CHARTED = 24
"""How many states have a chart: with many more a page takes long to draw."""

_WORDS = frozenset({"precision", "made by", "state", "growth", "along", "curve", "cell"})
"""Heads of columns that hold words, not numbers."""


def render_numerics(result: Numerics) -> str:
    """One self-contained HTML page, which asks nothing of the network; the same text each time.

    Raises:
        RuntimeUnavailableError: Bokeh is not installed.
    """
    require_bokeh()
    drift, charts = ("", []) if result.drift is None else _drift(result.drift)
    memory = tables(msgspec.structs.replace(result, drift=None), verbose=True)
    parts = {
        "Run": section("run", "Run", markup.facts(facts(result))),
        "Drift": drift,
        "Memory": section("memory", "Memory", *map(_table, memory)),
        "Notes": _notes(result),
    }
    links = "".join(
        f'<li><a href="#{title.lower()}">{title}</a></li>' for title, part in parts.items() if part
    )
    name = _name(result)
    script = "<noscript><p>The charts need JavaScript; the tables do not.</p></noscript>"
    body = "".join(
        (
            f"<header><h1><bdi>{escape(name)}</bdi></h1>",
            "" if result.drift is None else _figures(result.drift),
            f'<nav aria-label="Contents"><ul>{links}</ul></nav></header><main>',
            script if charts else "",
            *parts.values(),
            "</main>",
        )
    )
    return document(
        body,
        title=f"{name} · rnncost numerics",
        description=f"What the length of its sequences does to {name}",
        generator=f"rnncost {__version__}",
        data={"charts": charts, "kinds": {}} if charts else None,
    )


def _notes(result: Numerics) -> str:
    """What is missing and why, and what is to be known about the figures."""
    found = dict(sentences(result))
    own = bullets(found.pop("notes", ()))
    others = (titled(title.capitalize(), bullets(items)) for title, items in found.items())
    return section("notes", "Notes", own, *others)


def _name(result: Numerics) -> str:
    """The last part of the model's path."""
    return short_name(result.model.replace("\\", "/").rstrip("/").rpartition("/")[2]) or "model"


def _figures(drift: Drift) -> str:
    """The trade in a few numbers: drift at the last step, size, latency."""
    items = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}<small>{escape(more)}</small></dd></div>"
        for label, value, more in drift_figures(drift)
    )
    return f'<dl class="figures">{items}</dl>' if items else ""


def _drift(drift: Drift) -> tuple[str, list[dict[str, Any]]]:
    """The table of the trade, a chart of each state, and the tables behind them."""
    trade, *others = drift_tables(drift, verbose=True)
    found = panels(drift)
    charts = []
    figures = []
    for number, panel in enumerate(found[:CHARTED]):
        target = f"drift-{number}"
        drawn = drawn_precisions(panel)
        figures.append(_figure(target, panel, drawn))
        if drawn:
            charts.append({"target": target, "item": draw_drift(panel, drift.limit_db, target)})
    rest = len(found) - CHARTED
    more = f"There are charts of the first {CHARTED} of {len(found)} states." if rest > 0 else ""
    used = {precision for panel in found[:CHARTED] for precision in drawn_precisions(panel)}
    words = (
        "How far each state is from that of the model as it is, step after step: the higher, the "
        f"nearer. Below the dashed line, at {drift.limit_db:g} dB, it has drifted too far."
    )
    return section(
        "drift",
        "Drift",
        _table(trade),
        paragraph(words) if charts else "",
        _legend(precision for precision in COLOURS if precision in used),
        *figures,
        paragraph(more),
        *map(_table, others),
    ), charts


def _figure(target: str, panel: Panel, drawn: list[str]) -> str:
    way = "" if panel.direction == "forward" else f", {panel.direction}"
    caption = f"<strong>{panel.state}</strong> of <bdi>{escape(short_name(panel.layer))}</bdi>{way}"
    exact = [precision for precision, state in panel.curves.items() if state.exact]
    lost = [p for p, state in panel.curves.items() if p not in drawn and not state.exact]
    if exact:
        caption += f". No error in {', '.join(exact)}"
    if lost:
        caption += f". No ratio in {', '.join(lost)}: there is no signal, or it is not finite"
    if not drawn:
        return paragraph(Markup(f"{caption}."))
    return (
        f'<figure aria-labelledby="{target}-caption"><figcaption id="{target}-caption">{caption}'
        f'</figcaption><div class="chart" id="{target}"></div></figure>'
    )


def _legend(precisions: Iterable[str]) -> str:
    items = "".join(
        f'<li style="--swatch:var({COLOURS[precision]})">{precision}</li>'
        for precision in precisions
    )
    return f'<ul class="legend">{items}</ul>' if items else ""


def _table(shown: Table) -> str:
    columns = [
        Column(head, tuple(row[place] for row in shown.rows), place > 0 and head not in _WORDS)
        for place, head in enumerate(shown.heads)
    ]
    return markup.table(shown.title, columns)
