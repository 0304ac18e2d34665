"""A result as titled tables of text cells, and sentences: what every format shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from rnncost.along_time.model import (
    GateMemory,
    GradientDecay,
    LayerMemory,
    Numerics,
    Quantiles,
    Retention,
)
from rnncost.report.text import percent, plural, shorten_all
from rnncost.units import format_seconds

_NAME_WIDTH = 24
_MOST_COLUMNS = 7
_SMALLEST_DIGITS = -4


class Table(msgspec.Struct, frozen=True):
    """A title, the heads of the columns, and rows whose first cell is a name."""

    title: str
    heads: list[str]
    rows: list[list[str]]


def facts(result: Numerics) -> list[tuple[str, str]]:
    """What was run and on what, as labels and text."""
    used = result.inputs
    lines = [("model", result.model)]
    if used.source == "none":
        return [*lines, ("run", "none: the weights alone were looked at")]
    chunks = f", {plural(used.chunks, 'chunk')}" if used.chunks > 1 else ""
    lines.append(("run with", f"{result.runtime}{chunks}"))
    bound = result.bindings
    shapes = [f"{name} {'x'.join(map(str, s))}" for name, s in bound.shapes.items() if s]
    if shapes:
        lines.append(("shapes", ", ".join(shapes)))
    if used.given:
        source = f" ({used.data})" if used.data else ""
        values = {n: f" = {v}" for n, v in bound.values.items() if not isinstance(v, dict)}
        named = [f"{name}{values.get(name, '')}" for name in used.given]
        lines.append(("given", f"{', '.join(named)}{source}"))
    if used.generated:
        seed = "" if used.seed is None else f" (seed {used.seed}: not real data)"
        made = ", ".join(f"{name}: {how}" for name, how in used.generated.items())
        lines.append(("generated", f"{made}{seed}"))
    if used.states:
        pairs = ", ".join(f"{name} from {output}" for name, output in used.states.items())
        lines.append(("handed on", pairs))
    return lines


def tables(result: Numerics, *, verbose: bool = False) -> Iterator[Table]:
    """The tables that have rows, in order."""
    names = _names(result.layers)
    layers = list(zip(names, result.layers, strict=True))
    yield from _kept(
        Table(
            "Memory of the gates in steps: median unit (5 % to 95 % of units)",
            [
                "layer",
                "gate",
                "half-life",
                "1 % horizon",
                "units below T",
                "T",
            ],
            [
                [name, *_memory(layer.memory), f"{layer.steps:,}"]
                for name, layer in layers
                if layer.memory is not None
            ],
        )
    )
    period_s = result.step_period_s
    if period_s is not None:
        yield from _kept(
            Table(
                f"The same in time, at {format_seconds(period_s)} a step",
                ["layer", "half-life", "1 % horizon", "T"],
                [
                    [name, *_times(layer.memory), format_seconds(layer.steps * period_s)]
                    for name, layer in layers
                    if layer.memory is not None
                ],
            )
        )
    yield from _kept(_retained(layers, verbose=verbose))
    yield from _kept(_gradients(layers, verbose=verbose))
    yield from _kept(_priors(layers))
    yield from _kept(
        Table(
            "Runs, and how far the outputs computed anew are from the runtime's",
            ["layer", "cell", "units", "calls", "sequences", "difference"],
            [
                [name, *_run(layer)]
                for name, layer in layers
                if layer.calls and (verbose or layer.withheld)
            ],
        )
    )
    if result.drift is not None:
        from rnncost.along_time.drift.tables import drift_tables

        yield from drift_tables(result.drift, verbose=verbose)


def sentences(result: Numerics) -> Iterator[tuple[str, list[str]]]:
    """Titled lists: what is missing and why, notes, warnings."""
    names = _names(result.layers)
    layers = list(zip(names, result.layers, strict=True))
    withheld = [f"{name}: {layer.withheld}" for name, layer in layers if layer.withheld]
    missing = [f"{one.name} ({one.op_type}): {one.reason}" for one in result.not_analysed]
    notes = list(result.notes)
    matched = [layer.largest_difference for layer in result.layers if not layer.withheld]
    differences = [found for found in matched if found is not None]
    if differences:
        notes.append(
            "gates are computed anew from what each layer read; its outputs then differ from "
            f"the runtime's by {max(differences):.1e} at most"
        )
    by_note: dict[str, list[str]] = {}
    for name, layer in layers:
        for note in layer.notes:
            by_note.setdefault(note, []).append(name)
    notes += [f"{', '.join(owners)}: {note}" for note, owners in by_note.items()]
    not_compared: list[str] = []
    if result.drift is not None:
        from rnncost.along_time.drift.tables import drift_sentences

        not_compared, told = drift_sentences(
            result.drift, {(one.name, one.reason) for one in result.not_analysed}
        )
        notes += told
    yield "not analysed", [*withheld, *missing]
    yield "not compared", not_compared
    yield "notes", notes
    yield "warnings", list(result.warnings)


def one_line(result: Numerics) -> str:
    """The half-life and the gradient's exponent of each layer, and the drift."""
    parts = []
    for name, layer in zip(_names(result.layers), result.layers, strict=True):
        told = []
        if layer.memory is not None:
            told.append(f"half-life {steps(layer.memory.half_life_steps.p50)} steps")
        if layer.gradient is not None and layer.gradient.exponent is not None:
            told.append(f"gradient exponent {layer.gradient.exponent:+.4g}")
        if not layer.calls and layer.prior is not None and layer.prior.half_life_steps is not None:
            told.append(f"half-life {steps(layer.prior.half_life_steps.p50)} steps by its biases")
        parts.append(f"{name}: {', '.join(told) or layer.withheld or 'no figures'}")
    if result.not_analysed:
        parts.append(f"{len(result.not_analysed)} not analysed")
    if result.drift is not None:
        from rnncost.along_time.drift.tables import drift_figures

        parts += [f"{label}: {value}" for label, value, _ in drift_figures(result.drift)]
    return f"{result.model}: {'; '.join(parts)}"


def steps(value: float | None) -> str:
    """A number of steps; None is a time without end."""
    if value is None:
        return "no end"
    if value >= 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def share(log10: float | None) -> str:
    """A share by its decimal logarithm, however small; None is exactly 0."""
    if log10 is None:
        return "0"
    return f"{10**log10:.2g}" if log10 >= _SMALLEST_DIGITS else f"1e{log10:.0f}"


def _kept(table: Table) -> Iterator[Table]:
    if table.rows:
        yield table


def _names(layers: Sequence[LayerMemory]) -> list[str]:
    """Short names, with the direction where a layer has two or runs in reverse."""
    count: dict[str, int] = {}
    for layer in layers:
        count[layer.name] = count.get(layer.name, 0) + 1
    short = shorten_all([layer.name for layer in layers], _NAME_WIDTH)
    return [
        f"{name} {layer.direction}"
        if count[layer.name] > 1 or layer.direction != "forward"
        else name
        for name, layer in zip(short, layers, strict=True)
    ]


def _memory(memory: GateMemory | None) -> list[str]:
    assert memory is not None
    return [
        _range(memory.values, lambda v: "" if v is None else f"{v:.3g}"),
        _range(memory.half_life_steps, steps),
        _range(memory.horizon_steps, steps),
        f"{percent(memory.share_shorter)} %",
    ]


def _times(memory: GateMemory | None) -> list[str]:
    assert memory is not None

    def told(value: float | None) -> str:
        return "no end" if value is None else format_seconds(value)

    both = (memory.half_life_s, memory.horizon_s)
    return ["" if one is None else _range(one, told) for one in both]


def _range(found: Quantiles, told: object) -> str:
    assert callable(told)
    return f"{told(found.p50)} ({told(found.p5)} to {told(found.p95)})"


def _median(found: Quantiles | None) -> str:
    if found is None:
        return ""
    return "> T" if found.p50 is None else steps(found.p50)


def _chosen(numbers: Sequence[int], *, verbose: bool) -> list[int]:
    """All, or so many that a line holds them: those of one digit 1 first, and the last."""
    found = sorted(set(numbers))
    if verbose or len(found) <= _MOST_COLUMNS:
        return found
    tens = [n for n in found if str(n).strip("0") == "1"]
    fives = [n for n in found if str(n).strip("0") == "5"]
    kept = [*tens, *fives[max(0, len(fives) - (_MOST_COLUMNS - len(tens) - 1)) :], found[-1]]
    return sorted(set(kept))


def _retained(layers: Sequence[tuple[str, LayerMemory]], *, verbose: bool) -> Table:
    with_gate = [(name, layer.memory) for name, layer in layers if layer.memory is not None]
    numbers = _chosen([r.steps for _, m in with_gate for r in m.retention], verbose=verbose)

    def cell(found: Sequence[Retention], number: int) -> str:
        here = next((r for r in found if r.steps == number), None)
        return "" if here is None else share(here.log10.p50)

    return Table(
        "Products of the gates: share kept over k steps, steps to a share (median unit)",
        ["layer", "to 50 %", "to 1 %", *(f"k={number:,}" for number in numbers)],
        [
            [
                name,
                _median(memory.measured_half_life_steps),
                _median(memory.measured_horizon_steps),
                *(cell(memory.retention, number) for number in numbers),
            ]
            for name, memory in with_gate
        ],
    )


def _gradients(layers: Sequence[tuple[str, LayerMemory]], *, verbose: bool) -> Table:
    with_one = [(name, layer.gradient) for name, layer in layers if layer.gradient is not None]
    numbers = _chosen([n.steps for _, g in with_one for n in g.norms], verbose=verbose)

    def cell(found: GradientDecay, number: int) -> str:
        here = next((n for n in found.norms if n.steps == number), None)
        return "" if here is None else share(here.log10_mean)

    return Table(
        "Norm of a gradient k steps back, and its exponent a step (mean ± standard error)",
        ["layer", "exponent", "halves in", *(f"k={number:,}" for number in numbers)],
        [
            [name, _exponent(found), _halves(found), *(cell(found, n) for n in numbers)]
            for name, found in with_one
        ],
    )


def _exponent(found: GradientDecay) -> str:
    if found.exponent is None:
        return "vanishes" if found.vanished == found.traces else "too few steps"
    error = "" if found.standard_error is None else f" ± {found.standard_error:.1g}"
    return f"{found.exponent:+.4f}{error}"


def _halves(found: GradientDecay) -> str:
    if found.exponent is None:
        return ""
    return "never" if found.half_life_steps is None else steps(found.half_life_steps)


def _priors(layers: Sequence[tuple[str, LayerMemory]]) -> Table:
    rows = []
    for name, layer in layers:
        if layer.prior is not None:
            prior = layer.prior
            gate = "" if prior.gate is None else _range(prior.gate, lambda v: f"{v:.3g}")
            half = "" if prior.half_life_steps is None else _range(prior.half_life_steps, steps)
            radius = ", ".join(f"{k} {v:.3g}" for k, v in prior.spectral_radius.items())
            rows.append([name, gate, half, radius])
    return Table(
        "Prior, from the weights alone: the gate by its biases, spectral radii of R",
        ["layer", "gate", "half-life", "spectral radius"],
        rows,
    )


def _run(layer: LayerMemory) -> list[str]:
    difference = layer.largest_difference
    return [
        layer.op_type,
        f"{layer.units:,}",
        f"{layer.calls:,}",
        f"{layer.sequences:,}{', joined' if layer.carried else ''}",
        "not finite" if difference is None else f"{difference:.1e}",
    ]
