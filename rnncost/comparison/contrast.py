"""``compare``: a model beside variants of itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.analysis import analyze
from rnncost.comparison.asked import (
    Asked,
    asked_for,
    policies_of,
    real_time_asked,
    that_apply,
)
from rnncost.comparison.extents import Axes
from rnncost.comparison.figures import figures_of, not_counted, ratios_of
from rnncost.comparison.latency_reasons import (
    base_latency,
    latency_reasons,
    row_reasons,
    step_reasons,
)
from rnncost.comparison.model import Comparison, Design, RealTime, Skipped
from rnncost.comparison.setting import Setting, Subject, analysed, profiles_of, rewritten
from rnncost.comparison.source import OnnxModel, as_onnx
from rnncost.comparison.structure_reasons import (
    base_structure,
    length_reasons,
    structure_reasons,
)
from rnncost.errors import BindingError, ModelError, VariantError
from rnncost.profiles.schema import HardwareProfile
from rnncost.report.model import Report
from rnncost.variants import Structure, applicable, load_for_change, rewrite

if TYPE_CHECKING:
    from rnncost.analysis import Model

AS_IT_IS = "as it is"


def compare(
    model: Model,
    inputs: tuple[Any, ...] = (),
    *,
    cells: Iterable[str] = (),
    directions: Iterable[str] = (),
    hidden_sizes: Iterable[int] = (),
    layers: Iterable[int] = (),
    precisions: Iterable[str] = (),
    steps: Iterable[int] = (),
    batches: Iterable[int] = (),
    policy: str | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Iterable[int]] | None = None,
    values: Mapping[str, Any] | None = None,
    profiles: str | Path | HardwareProfile | Iterable[str | Path | HardwareProfile] | None = None,
    threads: int = 1,
    measure: bool = False,
    step_period_s: float | None = None,
    chunk: int | None = None,
) -> Comparison:
    """Put a model beside variants of itself, and say what each buys and costs.

    Each value of ``cells`` to ``batches`` is one variant, with one thing changed. Without any,
    the variants are those that apply: its LSTMs as GRUs, its bidirectional layers as
    unidirectional ones.

    Args:
        model, inputs: as for ``rnncost.analyze``; what PyTorch has is exported to ONNX first.
        cells: "lstm", "gru" or "rnn" for every recurrent layer.
        directions: "uni" or "bi" for every recurrent layer.
        hidden_sizes: units a direction of every recurrent layer.
        layers: how many layers a stack has.
        precisions: "fp32", "fp16", "bf16", "int8" ...: the estimates as if it ran so.
        steps: time steps of the recurrent operators.
        batches: rows of a batch of the recurrent operators.
        policy: of a change of direction: "same-hidden", "same-width" or "both" (the default).
        dims, shapes, values: as for ``rnncost.analyze``, for all designs.
        profiles: what to estimate for; by default this machine if ``rnncost calibrate`` has
            written its profile, else a general server.
        threads: threads of the runtime, estimated and measured.
        measure: build each variant, and time all in ONNX Runtime on this machine.
        step_period_s: seconds between two steps of the recurrent layers, for real-time figures.
        chunk: how many steps are handled in one run, for real-time figures.

    Raises:
        ModelError: the model cannot be read, followed or exported.
        BindingError: a value of an argument is wrong or does not fit the model.
        ProfileError: a profile is missing or wrong.
        MeasurementError: the model cannot be timed.
    """
    policies = policies_of(policy)
    asked = asked_for(
        cells=cells,
        directions=directions,
        hidden_sizes=hidden_sizes,
        layers=layers,
        precisions=precisions,
        steps=steps,
        batches=batches,
        policies=policies,
    )
    if policy is not None and asked and not any(one.policy for one in asked):
        raise BindingError("a policy is that of a change of direction: ask for one, as uni")
    step_period_s, chunk = real_time_asked(step_period_s, chunk)
    loaded = profiles_of(profiles)
    with tempfile.TemporaryDirectory(prefix="rnncost-") as folder:
        onnx_model = as_onnx(
            model, inputs, dims=dims or {}, shapes=shapes or {}, values=values or {}, folder=folder
        )
        base = _base(onnx_model, loaded, threads)
        warnings = [*onnx_model.warnings, *not_counted(base.report), *base.report.warnings]
        if not asked:
            structure = applicable(load_for_change(base.model))
            asked = that_apply(structure, policies)
            warnings += [] if asked else [_nothing_applies(structure)]
        made, skipped = _make(base, asked)
        designs = _designs(base, made, step_period_s, chunk)
        comparison = Comparison(
            base=designs[0],
            variants=designs[1:],
            skipped=skipped,
            warnings=list(dict.fromkeys(warnings)),
            step_period_s=step_period_s,
            chunk=chunk,
        )
        if measure:
            return _measured(comparison, [base, *(one.subject for one in made)], folder)
        return comparison


class _Made(msgspec.Struct, frozen=True):
    """A variant that could be made, and what making it had to decide.

    ``before`` is the extent of the model as it is that another one stands in place of.
    """

    asked: Asked
    subject: Subject
    notes: list[str]
    before: int = 0


def _base(given: OnnxModel, profiles: tuple[HardwareProfile, ...], threads: int) -> Subject:
    report = analyze(
        given.model,
        dims=given.dims,
        shapes=given.shapes,
        values=given.values,
        profiles=profiles,
        threads=threads,
        symbolic=False,
    )
    if given.name:
        path = msgspec.structs.replace(report.model, path=given.name, sha256="")
        report = msgspec.structs.replace(report, model=path)
    setting = Setting(shapes=given.shapes, values=given.values, profiles=profiles, threads=threads)
    return Subject(model=given.model, setting=setting, report=report)


def _nothing_applies(structure: Structure) -> str:
    if structure.layers:
        return (
            "no contrast applies by itself: the model has no LSTM and no bidirectional layer; "
            "name a change, as --hidden 64"
        )
    others = f" ({'; '.join(structure.others)})" if structure.others else ""
    return f"the model has no recurrent layer that can be rewritten{others}"


def _make(base: Subject, asked: list[Asked]) -> tuple[list[_Made], list[Skipped]]:
    """The variants that can be made, and why the others cannot."""
    made: list[_Made] = []
    skipped: list[Skipped] = []
    axes = Axes(base)
    model = None
    for one in asked:
        if one.kind == "change" and model is None:
            model = load_for_change(base.model)
        try:
            made.append(_variant(base, one, axes, model))
        except (VariantError, ModelError, BindingError) as error:
            name = one.name if one.policy is None else f"{one.name}, {one.policy}"
            skipped.append(Skipped(name=name, reason=str(error)))
    return made, skipped


def _variant(base: Subject, one: Asked, axes: Axes, model: Any) -> _Made:
    """One variant, analysed.

    Raises:
        VariantError, ModelError, BindingError: there is no such variant.
    """
    bound, setting = base.report.bindings.dims, base.setting
    if one.kind == "change":
        variant = rewrite(
            model,
            one.change,
            dims=bound,
            shapes=base.report.bindings.shapes,
            values=setting.values,
        )
        subject, notes = rewritten(base, variant.model)
        return _Made(one, subject, [*variant.notes, *notes])
    if one.kind == "precision":
        own = {op.precision for op in base.report.ops if op.macs}
        if own <= {one.precision}:
            raise VariantError("that is what it is in already")
        report = analysed(base.model, setting, bound, precision=one.precision)
        subject = msgspec.structs.replace(base, report=report, precision=one.precision)
        return _Made(one, subject, [])
    axis = axes.find("T" if one.kind == "steps" else "B")
    if axis.extent == one.extent:
        raise VariantError("that is what it is already")
    value = axis.value_for(one.extent)
    subject = msgspec.structs.replace(axis.subject, report=axis.at(value))
    return _Made(one, subject, [f"the dimension {axis.name!r} is {value:,}"], axis.extent)


def _designs(
    base: Subject, made: list[_Made], step_period_s: float | None, chunk: int | None
) -> list[Design]:
    """The model as it is and its variants, with figures, reasons and real-time figures."""
    axes = Axes(base)
    steps_s = _one_more_step(axes)
    figures = figures_of(base.report)
    real_time, said = _real_time(axes, step_period_s, chunk)
    structure = base_structure(base.report, step_period_s)
    designs = [
        Design(
            name=AS_IT_IS,
            report=base.report,
            figures=figures,
            one_more_step_s=steps_s,
            reasons=[*structure, *said, *base_latency(base.report, steps_s)],
            real_time=real_time,
        )
    ]
    for one in made:
        subject, asked = one.subject, one.asked
        own_axes = Axes(subject, axes)
        own_steps_s = _one_more_step(own_axes)
        own = figures_of(subject.report, subject.precision)
        real_time, said = _real_time(own_axes, step_period_s, chunk)
        told_s = {} if asked.kind == "steps" else own_steps_s
        designs.append(
            Design(
                name=asked.name,
                policy=asked.policy,
                report=subject.report,
                figures=own,
                ratios=ratios_of(own, figures),
                one_more_step_s=own_steps_s,
                reasons=[
                    *_structure(asked, base.report, subject.report, step_period_s),
                    *said,
                    *latency_reasons(base.report, subject.report, steps_s, told_s),
                    *_extent_reasons(one, base.report),
                ],
                notes=[*one.notes, *not_counted(subject.report, base.report.uncounted)],
                real_time=real_time,
            )
        )
    return designs


def _structure(asked: Asked, base: Report, other: Report, step_period_s: float | None) -> list[str]:
    """What a variant changes in the structure, where it changes it."""
    if asked.kind == "change":
        return structure_reasons(base, other, step_period_s)
    return length_reasons(base, other, step_period_s) if asked.kind == "steps" else []


def _one_more_step(axes: Axes) -> dict[str, float]:
    """What the estimates grow by with one more time step; empty where steps cannot be added."""
    try:
        axis = axes.find("T")
        report = axis.at(axis.value_for(axis.extent + 1))
    except (VariantError, ModelError, BindingError):
        return {}
    return {
        after.profile: after.latency_s - before.latency_s
        for before, after in zip(axes.subject.report.estimates, report.estimates, strict=True)
    }


def _real_time(
    axes: Axes, step_period_s: float | None, chunk: int | None
) -> tuple[list[RealTime], list[str]]:
    """The real-time figures of a design, and what is to be said about them."""
    if step_period_s is None:
        return [], []
    from rnncost.comparison.real_time import stream

    try:
        found = stream(axes, step_period_s, chunk)
    except (VariantError, ModelError, BindingError) as error:
        return [], [f"no real-time figures: {error}"]
    return found.real_time, found.reasons


def _extent_reasons(made: _Made, base: Report) -> list[str]:
    """What another batch or number of steps does to the time of a row or a step."""
    other, before, after = made.subject.report, made.before, made.asked.extent
    if made.asked.kind == "batch":
        return row_reasons(base, other, before, after)
    if made.asked.kind == "steps":
        return step_reasons(base, other, before, after)
    return []


def _measured(comparison: Comparison, subjects: list[Subject], folder: str) -> Comparison:
    """The comparison with each design timed."""
    from rnncost.comparison.measuring import time_designs

    timings = time_designs(subjects, folder)
    designs = [
        msgspec.structs.replace(design, measured=measured, notes=[*design.notes, *notes])
        for design, measured, notes in zip(
            comparison.designs, timings.measured, timings.notes, strict=True
        )
    ]
    return msgspec.structs.replace(
        comparison, base=designs[0], variants=designs[1:], timed=timings.timed
    )
