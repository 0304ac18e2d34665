"""Timing designs in ONNX Runtime, in turns, so that a ratio compares like with like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

import msgspec

from rnncost.comparison.model import Measured, Timed
from rnncost.comparison.setting import Setting, Subject, analysed
from rnncost.errors import MeasurementError, RnncostError
from rnncost.profiles.schema import HardwareProfile
from rnncost.profiles.store import HOST
from rnncost.report.text import plural
from rnncost.runtime.inputs import make_inputs
from rnncost.runtime.machine import machine, runtime_version
from rnncost.runtime.quantize import quantize_dynamic
from rnncost.runtime.session import create_session
from rnncost.runtime.timing import Run, prepare, time_interleaved
from rnncost.units import format_bytes

ROUNDS = 20
BURST_S = 0.02
MIN_RUNS = 5
MAX_TIME_S = 60.0


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """The timings in the order of the designs, None where one cannot be timed; and why."""

    measured: list[Union[Measured, None]]
    timed: Timed
    notes: list[list[str]]


def time_designs(subjects: Sequence[Subject], folder: str) -> Timings:
    """Time designs, the model as it is first, in shuffled rounds in one process.

    A design in int8 is the model as ONNX Runtime quantises it dynamically; other precisions
    have no kernels on a CPU and are not timed.

    Args:
        subjects: what to time.
        folder: where quantised models are written.

    Raises:
        MeasurementError: the model as it is cannot be run.
        RuntimeUnavailableError: ONNX Runtime is not installed.
    """
    runs: list[Run] = []
    places: list[int] = []
    notes: list[list[str]] = [[] for _ in subjects]
    for number, subject in enumerate(subjects):
        try:
            run = _prepared(subject, Path(folder, f"{number}.onnx"), notes[number])
        except RnncostError as error:
            if not number:
                raise
            notes[number].append(f"not timed: {error}")
            continue
        places.append(number)
        runs.append(run)
    timed = time_interleaved(
        runs,
        rounds=ROUNDS,
        min_time_s=BURST_S,
        min_runs=MIN_RUNS,
        max_time_s=MAX_TIME_S,
        shuffle=True,
    )
    base_s = timed.timings[0].steady_s
    measured: list[Measured | None] = [None] * len(subjects)
    for number, timing in zip(places, timed.timings, strict=True):
        measured[number] = Measured(
            seconds=timing.steady_s, ratio=timing.steady_s / base_s, noise=timing.noise
        )
    profile = judged_profile(subjects[0].setting.profiles)
    return Timings(
        measured=measured,
        timed=Timed(
            machine=machine(),
            runtime=runtime_version(),
            rounds=timed.rounds,
            noise=timed.reference.noise,
            profile=None if profile is None else profile.name,
        ),
        notes=notes,
    )


def judged_profile(profiles: Sequence[HardwareProfile]) -> HardwareProfile | None:
    """The profile whose ratios measured ones are held against."""
    judged = [profile for profile in profiles if profile.runtime == "onnxruntime-cpu"]
    own = [profile for profile in judged if profile.name == HOST]
    return next(iter([*own, *judged]), None)


def _prepared(subject: Subject, path: Path, notes: list[str]) -> Run:
    """The session of a design, ready to run."""
    model = _runnable(subject.model)
    if subject.precision is not None:
        model = _in_precision(model, subject, path, notes)
    setting, bindings = subject.setting, subject.report.bindings
    session = create_session(model, threads=setting.threads)
    inputs = make_inputs(
        session, shapes=bindings.shapes, values=bindings.values, dims=bindings.dims
    )
    return prepare(session, inputs)


def _in_precision(
    model: str | bytes, subject: Subject, path: Path, notes: list[str]
) -> str | bytes:
    precision = subject.precision
    if precision in ("fp16", "bf16", "tf32"):
        raise MeasurementError(
            f"ONNX Runtime has no {precision} kernels of recurrent operators for a CPU"
        )
    if precision != "int8":
        raise MeasurementError(f"of other precisions int8 alone is built, not {precision}")
    if isinstance(model, bytes):
        source = path.with_suffix(".float.onnx")
        source.write_bytes(model)
        model = str(source)
    quantize_dynamic(model, path)
    notes.append(_stored(path, subject.setting, subject.report.bindings.dims))
    return str(path)


def _stored(path: Path, setting: Setting, dims: dict[str, int]) -> str:
    """What ONNX Runtime's own quantisation of a model makes of its weights."""
    report = analysed(path, setting, dims, estimates=False)
    left = [op.op_type for op in report.ops if op.precision == "fp32" and op.dims]
    kept = "".join(
        f", as {plural(left.count(kind), kind)} {'stay' if left.count(kind) > 1 else 'stays'} fp32"
        for kind in dict.fromkeys(left)
    )
    return (
        "timed as ONNX Runtime quantises the model dynamically: its weights take "
        f"{format_bytes(report.totals.weight_bytes)}{kept}"
    )


def _runnable(model: Any) -> str | bytes:
    """A model as ONNX Runtime takes it."""
    if isinstance(model, (str, Path)):
        return str(model)
    try:
        serialized: bytes = model.SerializeToString()
    except Exception as error:  # protobuf's own error for more than 2 GB
        raise MeasurementError(f"the model cannot be held in memory as one: {error}") from None
    return serialized
