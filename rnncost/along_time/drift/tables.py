"""Drift as titled tables of text cells, and sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rnncost.along_time.drift.model import (
    Drift,
    Growth,
    LayerDrift,
    OutputDrift,
    PrecisionDrift,
    StateDrift,
)
from rnncost.along_time.nodes import QUANTISED
from rnncost.along_time.tables import Table
from rnncost.report.text import shorten_all
from rnncost.units import format_bytes, format_seconds

_NAME_WIDTH = 24
_FEW_OPERATORS = 4


def drift_tables(drift: Drift, *, verbose: bool = False) -> Iterator[Table]:
    """The trade in one table, then layers and outputs."""
    yield _trade(drift)
    layers = _layers(drift, verbose=verbose)
    if layers.rows:
        yield layers
    outputs = _outputs(drift, verbose=verbose)
    if outputs.rows:
        yield outputs


def drift_sentences(
    drift: Drift, told_before: Collection[tuple[str, str]] = ()
) -> tuple[list[str], list[str]]:
    """What is not compared and why, and notes.

    ``told_before`` are layers with a reason that is told already.
    """
    missing = []
    notes = list(drift.notes)
    reasons: dict[str, list[str]] = {}
    for one in drift.precisions:
        if one.reason:
            missing.append(f"{one.precision}: {one.reason}")
        for layer in one.layers:
            if layer.reason and (layer.name, layer.reason) not in told_before:
                reasons.setdefault(f"{layer.name}: {layer.reason}", []).append(one.precision)
            for state in layer.states:
                if state.withheld:
                    told = f"{state.state} of {_named(layer)}: {state.withheld}"
                    reasons.setdefault(told, []).append(one.precision)
        notes += [f"{one.precision}: {note}" for note in one.notes]
        if one.in_float:
            shown = ", ".join(one.in_float[:_FEW_OPERATORS])
            more = len(one.in_float) - _FEW_OPERATORS
            rest = f" and {more} more" if more > 0 else ""
            notes.append(f"{one.precision}: left in 32 bits: {shown}{rest}")
        if any(layer.direction == "reverse" and layer.states for layer in one.layers):
            told = "steps of reverse directions are counted in processing order, from the end on"
            notes += [told] if told not in notes else []
    missing += [f"{told} ({', '.join(owners)})" for told, owners in reasons.items()]
    return missing, notes


def drift_figures(drift: Drift) -> Iterator[tuple[str, str, str]]:
    """For each precision its drift, and its size and latency: label, value, more."""
    for one in drift.precisions:
        costs = _left(one) + ([] if one.bytes is None else [format_bytes(one.bytes)])
        if one.measured_s is not None:
            costs.append(f"{format_seconds(one.measured_s)} measured")
        elif one.latency_s is not None:
            costs.append(f"{format_seconds(one.latency_s)} estimated")
        state, output = worst_state(one), worst_output(one)
        if one.reason or (state is None and output is None):
            yield one.precision, "not compared", ", ".join(costs)
        elif state is not None:
            ratio = _ratio(state.last_snr_db, state.last_rms_error)
            yield f"{one.precision}, h at T", ratio, ", ".join(costs)
        elif output is not None:
            ratio = _ratio(output.snr_db, output.rms_error)
            yield f"{one.precision}, output", ratio, ", ".join(costs)


def worst_state(one: PrecisionDrift) -> StateDrift | None:
    """The hidden state with the lowest ratio at its last step, None where there is none."""
    known = [s for layer in one.layers for s in layer.states if s.state == "h" and not s.withheld]
    return min(known, key=_rank, default=None)


def worst_output(one: PrecisionDrift) -> OutputDrift | None:
    """The output with the lowest ratio; final states are looked at last."""
    known = [output for output in one.outputs if not output.reason]
    tasks = [output for output in known if not output.state] or known
    return min(
        tasks, key=lambda o: (o.exact, o.snr_db if o.snr_db is not None else -1e9), default=None
    )


def _rank(state: StateDrift) -> tuple[bool, float]:
    if state.last_snr_db is None:
        return bool(state.last_rms_error == 0), -1e9
    return False, state.last_snr_db


def growth_text(growth: Growth | None) -> str:
    """How an error grows, in a few words."""
    if growth is None:
        return ""
    known = growth.parameters
    if growth.kind == "linear":
        return f"linear, {known['b']:+.2g} a step"
    if growth.kind == "square root":
        return f"square root, {known['a']:.2g}·√t"
    if "g" in known:
        return f"{growth.kind}, × {known['g']:.4g} a step"
    return f"bounded, {known['a']:.2g}"


def _trade(drift: Drift) -> Table:
    heads = ["precision", "made by", "size"]
    estimated = drift.latency_s is not None
    measured = drift.measured_s is not None
    heads += [f"estimated ({drift.profile})"] if estimated else []
    heads += ["measured"] if measured else []
    heads += ["h at T", "growth", "output SNR", f"< {drift.limit_db:g} dB at"]

    def cost(size: int | None, latency_s: float | None, measured_s: float | None) -> list[str]:
        cells = ["" if size is None else format_bytes(size)]
        cells += ["" if latency_s is None else format_seconds(latency_s)] if estimated else []
        return cells + ([_seconds(measured_s)] if measured else [])

    rows = [["as it is", "", *cost(drift.bytes, drift.latency_s, drift.measured_s), "", "", "", ""]]
    for one in drift.precisions:
        cells = cost(one.bytes, one.latency_s, one.measured_s)
        if one.reason:
            rows.append([one.precision, "not compared", *cells, "", "", "", ""])
            continue
        state, output = worst_state(one), worst_output(one)
        rows.append(
            [
                one.precision,
                ", ".join([one.method, *_left(one)]),
                *cells,
                "" if state is None else _ratio(state.last_snr_db, state.last_rms_error),
                "" if state is None else growth_text(state.growth),
                "" if output is None else _ratio(output.snr_db, output.rms_error),
                _first(one),
            ]
        )
    return Table("Precision: size, latency, and drift of the worst layer and output", heads, rows)


def _left(one: PrecisionDrift) -> list[str]:
    """That recurrent layers are not quantised, which a drift of nothing would hide."""
    if one.precision not in ("int8", "qdq"):
        return []
    ran = {layer.name: layer.runs_as for layer in one.layers if layer.states}
    left = [name for name, runs_as in ran.items() if runs_as != QUANTISED]
    if not left:
        return []
    whose = "" if len(left) == len(ran) else f"{len(left)} of {len(ran)} "
    return [f"{whose}recurrent layers in 32 bits"]


def _seconds(value: float | None) -> str:
    return "" if value is None else format_seconds(value)


def _first(one: PrecisionDrift) -> str:
    """The first step of any layer's h below the limit."""
    states = [s for layer in one.layers for s in layer.states if s.state == "h" and not s.withheld]
    found = [state.first_below for state in states if state.first_below is not None]
    if found:
        return f"step {min(found):,}"
    return "never" if states else ""


def _ratio(snr_db: float | None, rms: float | None) -> str:
    if snr_db is not None:
        return f"{snr_db:.1f} dB"
    if rms == 0:
        return "no error"
    return "not finite" if rms is None else "no signal"


def _layers(drift: Drift, *, verbose: bool) -> Table:
    known = [
        (one.precision, layer, state)
        for one in drift.precisions
        for layer in one.layers
        for state in layer.states
        if not state.withheld
    ]
    period = any(state.first_below_s is not None for *_, state in known)
    short = shorten_all([_named(layer) for _, layer, _ in known], _NAME_WIDTH)
    rows = [
        [
            name,
            precision,
            state.state,
            f"{state.length:,}",
            _ratio(state.snr_db, state.rms_error),
            _ratio(state.last_snr_db, state.last_rms_error),
            "never" if state.first_below is None else f"{state.first_below:,}",
            *([_seconds(state.first_below_s)] if period else []),
            growth_text(state.growth),
            *([_fit(state.growth)] if verbose else []),
        ]
        for name, (precision, _, state) in zip(short, known, strict=True)
    ]
    return Table(
        f"Signal-to-noise of states along time; the first step below {drift.limit_db:g} dB; "
        "growth of the RMS error",
        [
            "layer",
            "precision",
            "state",
            "T",
            "SNR",
            "at T",
            "below from",
            *(["in time"] if period else []),
            "growth",
            *(["curve"] if verbose else []),
        ],
        rows,
    )


def _fit(growth: Growth | None) -> str:
    if growth is None:
        return ""
    values = ", ".join(f"{name} = {value:.3g}" for name, value in growth.parameters.items())
    return f"{growth.formula}: {values}"


def _named(layer: LayerDrift) -> str:
    return layer.name if layer.direction in ("", "forward") else f"{layer.name} {layer.direction}"


def _outputs(drift: Drift, *, verbose: bool) -> Table:
    known = [(one.precision, output) for one in drift.precisions for output in one.outputs]
    short = shorten_all([output.name for _, output in known], _NAME_WIDTH)
    heads = ["output", "precision", "SNR", "RMS error", "largest", "along", "at T", "below from"]
    heads += ["growth", *(["differing"] if verbose else [])]
    rows = []
    for name, (precision, output) in zip(short, known, strict=True):
        cells = [output.reason] if output.reason else _errors(output, verbose=verbose)
        label = f"{name} (state)" if output.state else name
        rows.append([label, precision, *cells, *[""] * (len(heads) - 2 - len(cells))])
    return Table("Errors of the model's outputs", heads, rows)


def _errors(output: OutputDrift, *, verbose: bool) -> list[str]:
    def number(value: float | None) -> str:
        return "not finite" if value is None else f"{value:.2g}"

    cells = [
        _ratio(output.snr_db, output.rms_error),
        number(output.rms_error),
        number(output.max_error),
        output.along,
    ]
    steps = output.by_step
    if steps is None:
        cells += ["", "", ""]
    else:
        below = "never" if steps.first_below is None else f"{steps.first_below:,}"
        cells += [_ratio(steps.last_snr_db, steps.last_rms_error), below, growth_text(steps.growth)]
    return [*cells, f"{100 * (output.differing or 0):.3g} %"] if verbose else cells
