"""A search as text for a terminal, and as CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from rnncost import __version__
from rnncost.report.table import DEFAULT_WIDTH
from rnncost.report.text import plural, printable
from rnncost.search.metrics import Metric
from rnncost.search.model import FitResult, Miss, ProfileLine, Table
from rnncost.search.tables import words_of
from rnncost.units import format_bytes, format_count, format_joules, format_seconds

_GAP = 2
_FORMATS: dict[str, Callable[[float], str]] = {
    "bytes": format_bytes,
    "seconds": format_seconds,
    "joules": format_joules,
    "share": lambda share: f"{100 * share:.1f} %",
}
_NAMES = ("cell", "direction", "precision")
_AXES = (*_NAMES, "layers", "hidden", "input", "seq", "batch")
_ALWAYS = {"cell", "direction", "layers", "hidden"}
_TITLES = {
    "weight_bytes": "weights",
    "state_bytes": "state",
    "streamed_bytes": "streamed",
    "sequential_steps": "steps",
    "lookahead_steps": "lookahead",
}
_DROPPABLE = (
    *("streamed_bytes", "state_bytes", "weight_bytes", "sequential_steps", "macs"),
    "lookahead_steps",
)
"""Columns that a narrow terminal does without, the first ones first."""

_WHAT = (
    "a design is the recurrent layers alone, as torch.nn.LSTM, GRU and RNN have them: two bias "
    "vectors a gate, states of zeros, the output sequence used; 1 MAC = one multiply and one add = "
    "2 FLOPs; 1 kB = 1000 bytes; "
    f"rnncost {__version__}"
)


def render_text(result: FitResult, *, width: int = DEFAULT_WIDTH) -> str:
    """Lay a search out for a terminal of ``width`` columns."""
    blocks = [_wrapped(_space(result), width)]
    if result.limits:
        blocks.append(_limits(result.limits))
    if result.nearest is not None:
        blocks.append(f"{_nearest(result)}\n{_designs(result.nearest, result, width)}")
    else:
        shown = len(result.table["cell"])
        blocks.append(
            f"{_wrapped(_order(result, shown), width)}\n{_designs(result.table, result, width)}"
        )
    if result.front is not None and result.meeting:
        some = _spread(result.front, len(result.table["cell"]))
        blocks.append(f"{_wrapped(_front(result, some), width)}\n{_designs(some, result, width)}")
    notes = [*result.notes, *(line for each in result.profiles for line in _profile(each))]
    if notes:
        blocks.append("\n".join(_wrapped(note, width) for note in notes))
    blocks.append(_wrapped(_WHAT, width))
    return "\n\n".join(blocks)


def render_csv(result: FitResult) -> str:
    """The best designs, then those of the front that are not among them.

    ``rank`` is the place among the best, ``front`` whether no other design beats it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name in result.table if name != "front"]
    writer.writerow(["rank", *names, "front"])
    listed: set[tuple[Any, ...]] = set()
    for rank, row in enumerate(_rows(result.table, names), 1):
        listed.add(row)
        writer.writerow([rank, *row, _cell(bool(result.table["front"][rank - 1]))])
    for row in _rows(result.front or {}, names):
        if row not in listed:
            writer.writerow(["", *row, _cell(True)])
    return text.getvalue()


def one_line(result: FitResult) -> str:
    """How many designs meet every limit, and the best of them or the nearest."""
    count = f"{_met(result)} of {plural(result.designs, 'design')}"
    if result.nearest is not None:
        return printable(f"{count}; {_nearest(result)}")
    best = {name: column[0] for name, column in result.table.items()}
    keys = dict.fromkeys((result.maximize, *(key for key in best if key.startswith("latency_s@"))))
    figures = [f"{key} {_figure(key, best[key])}" for key in keys]
    return printable(f"{count}; the best is {words_of(best, result.space)}: {', '.join(figures)}")


def _space(result: FitResult) -> str:
    parts = []
    for name, extent in result.space.items():
        parts.append(f"{name} {extent.values}{' (assumed)' if name in result.assumed else ''}")
    share = 100 * result.meeting / result.designs
    met = f"{_met(result)} ({share:.3g} %)" if result.limits else "no limits"
    return f"{plural(result.designs, 'design')}: {'; '.join(parts)}\n{met}"


def _met(result: FitResult) -> str:
    return f"every limit is met by {f'{result.meeting:,}' if result.meeting else 'none'}"


def _limits(limits: Sequence[Miss]) -> str:
    columns = [["limit"], ["at most"], ["missed by"], ["nearest of those that miss it"]]
    for limit in limits:
        most = "fits" if limit.maximum is None else _figure(limit.metric, limit.maximum)
        row = (printable(limit.metric), most, f"{limit.missed:,}", _how_near(limit))
        for column, cell in zip(columns, row, strict=True):
            column.append(cell)
    return _grid(columns, (True, False, False, True))


def _how_near(limit: Miss) -> str:
    if limit.nearest is None:
        return ""
    if limit.maximum is None:
        return f"{100 * limit.nearest:.4g} % of the memory: {limit.design}"
    near = limit.nearest
    value = _figure(limit.metric, near)
    if isinstance(near, int):  # exact, as it may be close to the limit
        value = f"{near:,} B" if limit.metric.endswith("_bytes") else f"{near:,}"
    over = f" (+{_percent(limit.nearest / limit.maximum - 1)})" if limit.maximum else ""
    return f"{value}{over}: {limit.design}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:,.0f} %"


def _nearest(result: FitResult) -> str:
    """By how much the nearest design misses which limits."""
    table = result.nearest or {}
    row = {name: column[0] for name, column in table.items()}
    misses = []
    for limit in result.limits:
        value = row[limit.metric]
        if limit.maximum is None:
            if not value:
                misses.append(limit.metric)
        elif value > limit.maximum:
            over = f" by {_percent(value / limit.maximum - 1)}" if limit.maximum else ""
            misses.append(f"{limit.metric}{over}")
    return f"the nearest is {words_of(row, result.space)}, which misses {', '.join(misses)}"


def _order(result: FitResult, shown: int) -> str:
    costs = ", then ".join(f"least {cost}" for cost in result.costs)
    starred = "; * is on the front" if result.front is not None else ""
    return (
        f"best: most {result.maximize} first, then {costs} "
        f"({shown:,} of {result.meeting:,}{starred})"
    )


def _front(result: FitResult, some: Table) -> str:
    total, shown = len((result.front or {})["cell"]), len(some["cell"])
    spread = f", {shown:,} of them evenly spaced" if shown < total else ""
    less = ", ".join(f"less {cost}" for cost in result.costs)
    return (
        f"front: beaten by no other, where better is more {result.maximize}, {less} "
        f"({plural(total, 'design')}{spread})"
    )


def _spread(table: Table, most: int) -> Table:
    count = len(table["cell"])
    if count <= most:
        return table
    places = np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))
    return {name: column[places] for name, column in table.items()}


def _designs(table: Table, result: FitResult, width: int) -> str:
    """The rows of a table; what varies, is limited or is better always has its column."""
    fixed = {name for name, extent in result.space.items() if extent.count == 1} - _ALWAYS
    asked = {result.maximize, *result.costs, *(limit.metric for limit in result.limits)}
    columns = {
        name: [_title(name), *(_figure(name, value) for value in values.tolist())]
        for name, values in table.items()
        if name not in fixed and name != "front"
    }
    for name in _DROPPABLE:
        if sum(map(_width, columns.values())) + _GAP * len(columns) < width:
            break
        if name not in asked:
            columns.pop(name, None)
    if "front" in table:
        columns = {"front": ["", *("*" if on else "" for on in table["front"])]} | columns
    return _grid(list(columns.values()), [name in (*_NAMES, "front") for name in columns])


def _grid(columns: Sequence[Sequence[str]], left: Sequence[bool]) -> str:
    """Columns of a title, which may have two lines, and cells."""
    from tabulate import tabulate

    heads = [column[0].split("\n") for column in columns]
    lines = max(map(len, heads))
    rows = [[head[line] if line < len(head) else "" for head in heads] for line in range(lines)]
    # The rule is a row: tabulate pads its own headings by two, too wide for a terminal.
    rows.append(["-" * _width(column) for column in columns])
    rows += [list(row) for row in zip(*(column[1:] for column in columns), strict=True)]
    align = ["left" if one else "right" for one in left]
    text = tabulate(rows, tablefmt="plain", disable_numparse=True, colalign=align)
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _title(name: str) -> str:
    return _TITLES.get(name, name).replace("@", "\n@")


def _width(column: Sequence[str]) -> int:
    return max(len(line) for cell in column for line in cell.split("\n"))


def _profile(profile: ProfileLine) -> Iterator[str]:
    threads = plural(profile.threads, "thread")
    yield f"{profile.name} {profile.version}: {profile.runtime}, {threads}"
    yield from (f"  {note}" for note in profile.notes)


def _figure(key: str, value: Any) -> str:
    if key in _AXES:
        return str(value)
    name = key.partition("@")[0]
    if name == "fits":
        return "yes" if value else "no"
    kind = Metric(name).kind
    number = int(value) if kind in ("count", "bytes") else float(value)
    return _FORMATS.get(kind, format_count)(number)


def _rows(table: Table, names: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    columns = [map(_cell, table[name].tolist()) for name in names if name in table]
    return zip(*columns, strict=True)


def _cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _wrapped(text: str, width: int) -> str:
    lines: list[str] = []
    for part in text.split("\n"):
        indent = part[: len(part) - len(part.lstrip())]
        lines += textwrap.wrap(
            printable(part.strip()),
            width,
            initial_indent=indent,
            subsequent_indent=f"{indent}  ",
            break_on_hyphens=False,
        )
    return "\n".join(lines)
