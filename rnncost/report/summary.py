"""What a report says beside its tables: labelled sentences, plain text in every format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rnncost.report.model import Bindings, Report
from rnncost.report.rows import textbook_params
from rnncost.report.text import percent, plural, printable, readable_formula
from rnncost.units import format_bytes, format_count, format_seconds

Label = tuple[str, str]
_LISTED = 3
_LONG = 200


def model_lines(report: Report) -> list[Label]:
    """The model and what its dimensions, shapes and values were bound to."""
    return [("model", _model(report)), *_bindings(report.bindings)]


def totals_lines(report: Report) -> list[Label]:
    """The totals, each with the figures that explain it."""
    totals = report.totals
    lines = [("parameters", _parameters(report))]
    lines.append(("MACs", _macs(report)))
    lines.append(
        (
            "elementwise",
            f"{totals.elementwise_ops:,}: {totals.multiplies:,} multiplies, {totals.adds:,} adds, "
            f"{totals.bias_adds:,} bias adds, {totals.activations:,} activations",
        )
    )
    lines.append(
        (
            "memory",
            f"weights {format_bytes(totals.weight_bytes)}, "
            f"activations {format_bytes(totals.activation_bytes)}, "
            f"state {format_bytes(totals.state_bytes)}; at most "
            f"{format_bytes(totals.peak_activation_bytes)} live at once, buffers included",
        )
    )
    lines.append(
        (
            "traffic",
            f"at least {format_bytes(totals.compulsory_bytes)} "
            f"({totals.compulsory_arithmetic_intensity:.3g} MACs/byte), "
            f"{format_bytes(totals.streamed_bytes)} when nothing stays on chip "
            f"({totals.streamed_arithmetic_intensity:.3g} MACs/byte)",
        )
    )
    if totals.sequential_steps:
        lines.append(("sequential", _sequential(report)))
    if totals.sequential_steps or totals.lookahead_steps:
        lines.append(("streaming", _streaming(report)))
    if report.coverage < 1:
        share = percent(report.coverage)
        lines.append(
            ("coverage", f"{share}% of the operators are counted; the totals miss the rest")
        )
    return lines


def formula_lines(report: Report, *, verbose: bool) -> list[Label]:
    """The totals as formulas in the free dimensions, without those that are always zero.

    Convolutions with strides make formulas of many lines; only ``verbose`` shows those.
    """
    formulas = dict(report.symbolic or {})
    if formulas.get("dense_macs") == formulas.get("macs"):
        formulas.pop("dense_macs", None)
    return [
        (key, readable_formula(text) if verbose or len(text) <= _LONG else "(long: see -v or JSON)")
        for key, text in formulas.items()
        if text != "0"
    ]


def op_formula_lines(report: Report) -> list[Label]:
    """The formulas of each operator, for one execution."""
    return [
        (op.name, "; ".join(f"{key} = {readable_formula(f)}" for key, f in op.formulas.items()))
        for op in report.ops
        if op.formulas
    ]


def note_lines(report: Report) -> list[str]:
    """The operators' notes, each said once with the operators that it is about."""
    about: dict[str, list[str]] = {}
    for op in report.ops:
        for note in op.notes:
            about.setdefault(note, []).append(op.name)
    return [f"{_names(names)}: {note}" for note, names in about.items()]


def uncounted_lines(report: Report) -> list[str]:
    """Every operator that has no count, and why."""
    return [f"{op.name} ({op.op_type}): {op.reason}" for op in report.uncounted]


def conventions(report: Report) -> str:
    """How to read the numbers."""
    profiles = dict.fromkeys(f"{e.profile} {e.profile_version}".rstrip() for e in report.estimates)
    named = f"; profiles {', '.join(profiles)}" if profiles else ""
    return (
        "1 MAC = one multiply and one add = 2 FLOPs, matrix work alone; 1 kB = 1000 bytes; "
        f"counts are for one run with the dimensions above{named}; "
        f"{report.tool.name} {report.tool.version}"
    )


def verdict(report: Report) -> str:
    """The report in one line."""
    totals = report.totals
    parts = [
        f"{format_count(totals.macs)} MACs",
        f"{format_count(totals.params)} parameters",
        plural(totals.sequential_steps, "sequential step"),
    ]
    parts += [
        f"{format_seconds(e.latency_s)} on {e.profile}"
        + ("" if e.calibrated else " (uncalibrated)")
        for e in report.estimates
    ]
    if report.uncounted:
        parts.append(f"{plural(len(report.uncounted), 'op')} uncounted")
    if report.bindings.assumed:
        dims = report.bindings.dims
        given = [
            f"{name}={dims[name]}" if name in dims else name for name in report.bindings.assumed
        ]
        parts.append(f"assuming {_names(given)}")
    return printable(f"{report.model.path or 'model'}: {', '.join(parts)}")


def assumed_flags(bindings: Bindings) -> str:
    """The assumed dimensions, each with the flag that sets it."""
    return ", ".join(
        f"{name}={bindings.dims[name]} (--dim {name}=N)" if name in bindings.dims else name
        for name in bindings.assumed
    )


def _model(report: Report) -> str:
    model = report.model
    opsets = ", ".join(f"{domain or 'ai.onnx'} {n}" for domain, n in model.opset.items())
    facts = [model.format, f"opset {opsets}" if opsets else "", model.producer]
    return f"{model.path or '(in memory)'} ({', '.join(f for f in facts if f)})"


def _bindings(bindings: Bindings) -> Iterator[Label]:
    given = {k: v for k, v in bindings.dims.items() if k not in bindings.assumed}
    if given:
        yield "dims", ", ".join(f"{k}={v}" for k, v in given.items())
    if bindings.assumed:
        yield "assumed", assumed_flags(bindings)
    if bindings.shapes:
        shapes = {k: "x".join(map(str, v)) or "scalar" for k, v in bindings.shapes.items()}
        yield "shapes", ", ".join(f"{k}={v}" for k, v in shapes.items())
    if bindings.values:
        yield "values", ", ".join(f"{k}={_value(v)}" for k, v in bindings.values.items())
    if bindings.traced:
        yield "traced", "counted from one run of the model in ONNX Runtime"


def _value(value: Any) -> str:
    elements = value.get("elements") if isinstance(value, dict) else None
    if not isinstance(elements, list):
        return str(value)
    shown = ", ".join(map(str, elements[:_LISTED]))
    return f"[{shown}]" if len(elements) <= _LISTED else f"[{shown}, … {len(elements):,} elements]"


def _parameters(report: Report) -> str:
    totals = report.totals
    text = f"{totals.params:,} in {format_bytes(totals.weight_bytes)}"
    if totals.active_params != totals.params:
        text += f", {totals.active_params:,} of them used in this run"
    if totals.quantization_params:
        text += f", and {totals.quantization_params:,} scales and zero points"
    textbook = [(op.params, textbook_params(op)) for op in report.ops]
    extra = [stored - books for stored, books in textbook if books is not None]
    if any(extra):
        text += f"; textbook {totals.params - sum(extra):,} (one bias vector a gate)"
    return text


def _macs(report: Report) -> str:
    totals = report.totals
    text = f"{totals.macs:,} ({format_count(2 * totals.macs)} FLOPs)"
    if totals.dense_macs != totals.macs:
        text += f"; {totals.dense_macs:,} as a runtime that pads runs them"
    if totals.sequential_macs:
        text += f"; {totals.parallel_macs:,} parallel, {totals.sequential_macs:,} sequential"
    return text


def _sequential(report: Report) -> str:
    totals = report.totals
    text = (
        f"{plural(totals.sequential_steps, 'step')} in the longest chain "
        f"({totals.executed_steps:,} executed, {totals.wavefront_steps:,} with layers overlapped)"
    )
    share = totals.sequential_share
    if share:
        text += (
            f"; {percent(share)}% of the MACs wait for the step before, so parallel hardware "
            f"gains at most {1 / share:.3g}x (Amdahl)"
        )
    return text


def _streaming(report: Report) -> str:
    totals = report.totals
    if totals.lookahead_steps:
        steps = plural(totals.lookahead_steps, "step")
        return f"no: an output needs up to {steps} of later input"
    if totals.streamable:
        return "yes: no output needs later input"
    return "no: the state is neither an input nor an output, so it cannot be carried over"


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_LISTED])
    return f"{shown} and {len(names) - _LISTED} more" if len(names) > _LISTED else shown
