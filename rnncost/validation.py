"""``validate``: the estimated latency of a model beside its time in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rnncost.analysis import analyze
from rnncost.errors import ModelError
from rnncost.profiles.schema import HardwareProfile
from rnncost.profiles.store import load_profile
from rnncost.report.model import Bindings, Estimate
from rnncost.runtime.timing import Timing
from rnncost.units import format_seconds


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate, and how many times the measured minimum and median it is.

    ``kind`` is that of the profile; only a CPU's can agree with what was timed.
    """

    kind: str
    estimate: Estimate
    ratio_to_min: float
    ratio_to_median: float


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """One timing of a model, and the estimates for it.

    ``str(validation)`` is a table, ``to_dict()`` plain JSON values.
    """

    model: str
    bindings: Bindings
    timing: Timing
    comparisons: list[Comparison]
    warnings: list[str] = msgspec.field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The validation as plain JSON values, in base units."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    def __str__(self) -> str:
        from tabulate import tabulate

        timing = self.timing
        machine = timing.machine
        rows = [
            (
                c.estimate.profile,
                format_seconds(c.estimate.latency_s),
                f"{c.ratio_to_min:.2f}",
                f"{c.ratio_to_median:.2f}",
                c.estimate.bound_by,
                "yes" if c.estimate.calibrated else "no",
            )
            for c in self.comparisons
        ]
        headers = ("profile", "estimate", "/ minimum", "/ median", "bound by", "calibrated")
        threads = "1 thread" if timing.threads == 1 else f"{timing.threads} threads"
        lines = [
            f"measured: minimum {format_seconds(timing.min_s)}, median "
            f"{format_seconds(timing.median_s)}, middle half within "
            f"{format_seconds(timing.iqr_s)}, 90 % below {format_seconds(timing.p90_s)} "
            f"({timing.runs} runs)",
            f"with {timing.runtime}, {threads}, on {machine.cpu}, {machine.cores} cores, "
            f"{machine.system}",
            "",
            tabulate(rows, headers=headers, disable_numparse=True, stralign="right"),
            "",
            *_bound_to(self.bindings),
            *(f"note: {note}" for note in self._notes()),
        ]
        return "\n".join(lines)

    def _notes(self) -> list[str]:
        notes = []
        unsure = [c.estimate.profile for c in self.comparisons if not c.estimate.calibrated]
        if unsure:
            notes.append(
                f"{', '.join(unsure)}: uncalibrated, made of data-sheet and general figures, not "
                "measured on this machine; a factor of 2 or more between estimate and "
                "measurement is expected"
            )
        other = [c.estimate.profile for c in self.comparisons if c.kind != "cpu"]
        if other:
            notes.append(
                f"{', '.join(other)}: not a CPU, while this machine's CPU was timed; the ratio "
                "compares two devices, not an estimate with its truth"
            )
        advice = self.timing.advice
        return [*notes, *([advice] if advice else []), *self.warnings]


def validate(
    model: str | Path,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Iterable[int]] | None = None,
    values: Mapping[str, Any] | None = None,
    trace: bool = False,
    profiles: Iterable[str | Path | HardwareProfile] = ("x86-64-server-core",),
    threads: int = 1,
    min_runs: int = 20,
    min_time_s: float = 0.5,
    max_time_s: float = 10.0,
) -> Validation:
    """Time a model in ONNX Runtime on this machine, and estimate the same run.

    Both use the same shapes and values. Inputs without a value are random floats, ones for
    integers and true for booleans.

    Args:
        model: path of an .onnx file.
        dims, shapes, values, trace: as for ``rnncost.analyze``.
        profiles: what to estimate for: names or paths of profiles, or loaded ones.
        threads: threads of ONNX Runtime inside an operator, and of the estimate.
        min_runs, min_time_s, max_time_s: how long to time; see
            ``rnncost.runtime.timing.time_session``.

    Raises:
        ModelError: the model is not an .onnx file or cannot be analysed.
        BindingError: a dimension, shape, value or thread count does not fit.
        ProfileError: a profile is missing or wrong.
        MeasurementError: ONNX Runtime cannot load or run the model.
    """
    if not isinstance(model, (str, Path)) or Path(model).suffix != ".onnx":
        shown = str(model) if isinstance(model, (str, Path)) else type(model).__name__
        raise ModelError(
            f"cannot time {shown}: validate runs .onnx files only; export the model with "
            "torch.onnx.export first"
        )
    loaded = tuple(p if isinstance(p, HardwareProfile) else load_profile(p) for p in profiles)
    report = analyze(
        model,
        dims=dims,
        shapes=shapes,
        values=values,
        trace=trace,
        profiles=loaded,
        threads=threads,
        symbolic=False,
        sha256=False,
    )
    timing = _time(
        model,
        report.bindings,
        threads=threads,
        min_runs=min_runs,
        min_time_s=min_time_s,
        max_time_s=max_time_s,
    )
    return Validation(
        model=str(model),
        bindings=report.bindings,
        timing=timing,
        comparisons=[
            Comparison(
                kind=profile.kind,
                estimate=estimate,
                ratio_to_min=estimate.latency_s / timing.min_s,
                ratio_to_median=estimate.latency_s / timing.median_s,
            )
            for profile, estimate in zip(loaded, report.estimates, strict=True)
        ],
        warnings=report.warnings,
    )


def _time(model: str | Path, bindings: Bindings, *, threads: int, **limits: Any) -> Timing:
    from rnncost.runtime.inputs import make_inputs
    from rnncost.runtime.session import create_session
    from rnncost.runtime.timing import time_session

    session = create_session(model, threads=threads)
    inputs = make_inputs(
        session, shapes=bindings.shapes, values=bindings.values, dims=bindings.dims
    )
    return time_session(session, inputs, **limits)


def _bound_to(bindings: Bindings) -> list[str]:
    parts = [f"{name} = {value}" for name, value in bindings.dims.items()]
    parts += [f"{name}: {'x'.join(map(str, s)) or 'scalar'}" for name, s in bindings.shapes.items()]
    assumed = f" (assumed: {', '.join(bindings.assumed)})" if bindings.assumed else ""
    return [f"for {', '.join(parts)}{assumed}"] if parts else []
