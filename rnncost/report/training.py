"""The cost of a training step as text cells and sentences, before any format lays them out."""

from __future__ import annotations

from collections.abc import Callable

from rnncost.report.model import Report, Training, TrainingEstimate, TrainingOp
from rnncost.report.rows import Column
from rnncost.report.summary import Label
from rnncost.report.text import plural, readable_formula
from rnncost.units import format_bytes, format_count, format_seconds

_PRODUCTS = (
    ("forward", "forward_macs"),
    ("backward data", "backward_data_macs"),
    ("backward weight", "backward_weight_macs"),
)


def training_lines(report: Report) -> list[Label]:
    """The totals of a training step; nothing where none was asked for."""
    training = report.training
    if training is None:
        return []
    lines = [("step", _how(training)), ("MACs", _macs(training)), ("kept", _kept(training))]
    peak = training.peak
    parts = (
        ("parameters", peak.parameter_bytes),
        ("optimizer", peak.optimizer_bytes),
        ("inputs", peak.input_bytes),
        ("activations", peak.activation_bytes),
        ("gradients", peak.gradient_bytes),
        ("transient", peak.transient_bytes),
    )
    held = ", ".join(f"{name} {format_bytes(size)}" for name, size in parts if size)
    less = ""
    if peak.resident_bytes != peak.total_bytes:
        less = f" ({format_bytes(peak.resident_bytes)} of it written to)"
    lines.append(("peak", f"{format_bytes(peak.total_bytes)}{less} in the {peak.where}: {held}"))
    return lines


def training_columns(report: Report) -> list[Column]:
    """The columns of the table of operators, total row included; MACs are exact."""
    training = report.training
    if training is None:
        return []
    ops = training.ops

    def column(title: str, cell: Callable[[TrainingOp], str], total: str) -> Column:
        return Column(title, (*map(cell, ops), total), number=True)

    return [
        Column("name", (*(op.name for op in ops), "total"), number=False),
        Column("type", (*(op.op_type for op in ops), ""), number=False),
        *(column(title, _count_of(key), f"{getattr(training, key):,}") for title, key in _PRODUCTS),
        column(
            "kept",
            lambda op: format_bytes(op.activation_bytes),
            format_bytes(training.activation_bytes),
        ),
        Column("runs as", (*(op.implementation for op in ops), ""), number=False),
    ]


def training_sentences(report: Report, *, verbose: bool = False) -> list[str]:
    """Estimated times, formulas of the layers (``verbose``), what is not counted, notes."""
    training = report.training
    if training is None:
        return []
    formulas = [
        f"{op.name}: keeps {readable_formula(op.formula)} bytes"
        for op in training.ops
        if verbose and op.formula
    ]
    uncounted = [
        f"backward pass not counted: {op.name} ({op.op_type}): {op.reason}"
        for op in training.uncounted
    ]
    return [*map(_time, training.estimates), *formulas, *uncounted, *training.notes]


def _how(training: Training) -> str:
    parts = [f"{training.trained_params:,} trained parameters", f"optimizer {training.optimizer}"]
    if training.bptt_steps is not None:
        parts.append(f"back-propagation truncated to {plural(training.bptt_steps, 'step')}")
    if training.checkpoint_steps is not None:
        parts.append(f"checkpoints every {plural(training.checkpoint_steps, 'step')}")
    return ", ".join(parts)


def _macs(training: Training) -> str:
    text = (
        f"{training.step_macs:,}: forward {training.forward_macs:,}, backward data "
        f"{training.backward_data_macs:,}, backward weight {training.backward_weight_macs:,}"
    )
    if training.recomputed_macs:
        text += f", computed again {training.recomputed_macs:,}"
    if training.forward_macs:
        text += f" ({format_count(training.step_macs / training.forward_macs)} times forward)"
    return text


def _kept(training: Training) -> str:
    text = f"{format_bytes(training.activation_bytes)} for the backward pass"
    if training.formula:
        text += f"; the recurrent layers {readable_formula(training.formula)} bytes"
    return (
        f"{text}; gradients {format_bytes(training.gradient_bytes)}, optimizer "
        f"{format_bytes(training.optimizer_bytes)}"
    )


def _time(estimate: TrainingEstimate) -> str:
    parts = [
        f"forward {format_seconds(estimate.forward_s)}",
        f"backward data {format_seconds(estimate.backward_data_s)}",
        f"backward weight {format_seconds(estimate.backward_weight_s)}",
    ]
    if estimate.recompute_s:
        parts.append(f"computed again {format_seconds(estimate.recompute_s)}")
    if estimate.optimizer_s:
        parts.append(f"optimizer {format_seconds(estimate.optimizer_s)}")
    whole = f"{format_seconds(estimate.step_s)} a step in {estimate.precision}"
    if estimate.step_low_s is not None and estimate.step_high_s is not None:
        low, high = format_seconds(estimate.step_low_s), format_seconds(estimate.step_high_s)
        whole += f", between {low} and {high}"
    return "; ".join([f"{estimate.profile}: {whole}: {', '.join(parts)}", *estimate.notes])


def _count_of(key: str) -> Callable[[TrainingOp], str]:
    return lambda op: f"{getattr(op, key):,}"
