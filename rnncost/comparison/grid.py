"""The cells of the table of a comparison, before any format lays them out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from rnncost.comparison.model import Comparison, Design, Measured, RealTime
from rnncost.comparison.words import times
from rnncost.report.text import plural
from rnncost.units import format_bytes, format_count, format_joules, format_seconds

Format = Callable[[float], str]


class Cell(msgspec.Struct, frozen=True):
    """A figure, and its ratio to that of the model as it is."""

    value: str = ""
    ratio: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.value, self.ratio)))


class Row(msgspec.Struct, frozen=True):
    """A metric and its cell for each design; a heading has no cells."""

    label: str
    cells: tuple[Cell, ...] = ()


def _number(value: float) -> str:
    return f"{value:,}"


_COUNTS: tuple[tuple[str, str, Format, bool], ...] = (
    ("parameters", "params", format_count, False),
    ("MACs", "macs", format_count, False),
    ("  sequential", "sequential_macs", format_count, True),
    ("elementwise", "elementwise_ops", format_count, True),
    ("weights", "weight_bytes", format_bytes, False),
    ("state", "state_bytes", format_bytes, False),
    ("streamed", "streamed_bytes", format_bytes, False),
    ("sequential steps", "sequential_steps", _number, False),
    ("executed steps", "executed_steps", _number, True),
    ("lookahead steps", "lookahead_steps", _number, False),
)
"""Label, metric, format, and whether only the long table has the row."""

_ESTIMATES: tuple[tuple[str, str, Format], ...] = (
    ("latency", "latency_s", format_seconds),
    ("DRAM traffic", "dram_bytes", format_bytes),
    ("energy", "energy_j", format_joules),
)

_CHUNKS: tuple[tuple[str, Callable[[RealTime], str]], ...] = (
    ("steps a run", lambda r: f"{r.steps:,}"),
    ("latency of a run", lambda r: format_seconds(r.latency_s)),
)

_REAL_TIME: tuple[tuple[str, Callable[[RealTime], str]], ...] = (
    ("real-time factor", lambda r: f"{r.real_time_factor:.3g}"),
    ("algorithmic latency", lambda r: format_seconds(r.algorithmic_latency_s)),
    ("streams", lambda r: f"{r.streams:,}"),
    ("largest batch", lambda r: "?" if r.batch is None else f"{r.batch:,}"),
)


def rows(comparison: Comparison, *, verbose: bool = False) -> list[Row]:
    """The rows of the table: counts, then the estimates of each profile, then what was timed."""
    designs = comparison.designs
    found = [
        _figures(label, metric, text, designs)
        for label, metric, text, long in _COUNTS
        if verbose or not long
    ]
    for number, estimate in enumerate(comparison.base.report.estimates):
        name = estimate.profile
        found.append(Row(f"on {name}"))
        for label, metric, text in _ESTIMATES:
            key = f"{metric}@{name}"
            if any(key in design.figures for design in designs):
                found.append(_figures(f"  {label}", key, text, designs))
        if verbose:
            found.append(_one_more_step(name, designs))
        found += _real_time(number, comparison)
    found += _measured(comparison)
    return found


def _figures(label: str, metric: str, text: Format, designs: Sequence[Design]) -> Row:
    def cell(design: Design) -> Cell:
        if metric not in design.figures:
            return Cell("?")
        ratio = design.ratios.get(metric)
        return Cell(text(design.figures[metric]), "" if ratio is None else times(ratio))

    return Row(label, tuple([cell(design) for design in designs]))


def _one_more_step(profile: str, designs: Sequence[Design]) -> Row:
    known = [design.one_more_step_s.get(profile) for design in designs]
    cells = [Cell("?" if value is None else format_seconds(value)) for value in known]
    return Row("  one more step", tuple(cells))


def _real_time(number: int, comparison: Comparison) -> Iterator[Row]:
    designs = comparison.designs
    if not any(design.real_time for design in designs):
        return
    chunks = () if comparison.chunk is None else _CHUNKS
    for label, text in (*chunks, *_REAL_TIME):
        cells = [
            Cell(text(design.real_time[number]) if design.real_time else "?") for design in designs
        ]
        yield Row(f"  {label}", tuple(cells))


def _measured(comparison: Comparison) -> Iterator[Row]:
    timed, designs = comparison.timed, comparison.designs
    if timed is None:
        return

    def row(label: str, text: Callable[[Design, Measured], Cell]) -> Row:
        cells = [Cell("not timed") if d.measured is None else text(d, d.measured) for d in designs]
        return Row(label, tuple(cells))

    def seconds(design: Design, measured: Measured) -> Cell:
        ratio = times(measured.ratio) if design.ratios else ""
        return Cell(format_seconds(measured.seconds), ratio)

    yield Row("timed in ONNX Runtime")
    yield row("  latency", seconds)
    yield row("  noise", lambda _, measured: Cell(f"{100 * (measured.noise - 1):.1f} %"))
    if timed.profile is None:
        return
    metric = f"latency_s@{timed.profile}"

    def off(design: Design, measured: Measured) -> Cell:
        ratio = design.ratios.get(metric)
        if ratio is None:
            return Cell("")
        return Cell(f"{100 * (ratio / measured.ratio - 1):+.1f} %", times(ratio))

    yield row("  estimated ratio off by", off)


def subtitle(comparison: Comparison) -> list[str]:
    """What the real-time rows and the timed rows hold for."""
    lines = []
    if comparison.step_period_s is not None:
        run = (
            "the whole sequence"
            if comparison.chunk is None
            else f"{plural(comparison.chunk, 'step')} where it can"
        )
        lines.append(
            "a time step of the recurrent layers arrives every "
            f"{format_seconds(comparison.step_period_s)}, and a run handles {run}"
        )
    timed = comparison.timed
    if timed is not None:
        lines.append(
            f"timed with {timed.runtime} on {timed.machine}, in {plural(timed.rounds, 'round')} of "
            f"all designs in turn; "
            f"half of the rounds of the reference kernel were within "
            f"{100 * (timed.noise - 1):.1f} % of its fastest"
        )
        if timed.profile is not None:
            lines.append(
                f"the last row is the ratio that {timed.profile} estimates over the measured one, "
                "less 1"
            )
    return lines
