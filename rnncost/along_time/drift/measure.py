"""A model beside itself in other precisions: what each layer and output loses, what it costs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from rnncost.along_time.drift.capture import check_crash, emulated_traces, matching, run_traces
from rnncost.along_time.drift.layers import states_drift
from rnncost.along_time.drift.model import (
    INT8_EMULATED,
    PRECISIONS,
    Drift,
    LayerDrift,
    PrecisionDrift,
    StateDrift,
)
from rnncost.along_time.drift.outputs import outputs_drift
from rnncost.along_time.drift.precisions import Quantised, Stored, quantised, store
from rnncost.along_time.drift.timing import time_models
from rnncost.along_time.feeds import Feeds
from rnncost.along_time.layers import directions
from rnncost.along_time.nodes import Place, node_at, places
from rnncost.along_time.running import NotRunError
from rnncost.along_time.source import OnnxModel
from rnncost.along_time.states import final_states
from rnncost.errors import BindingError, MeasurementError, RnncostError, nearest
from rnncost.report.model import Report

Progress = Callable[[str], None]
ReportOf = Callable[[OnnxModel, "str | None"], Report]
"""``analyze`` on a model with what it is fed, in a precision, on the usual profile."""


_NO_PROFILE = (
    "no latency is estimated, as there is no profile of this machine: rnncost calibrate makes one"
)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What to compare and how."""

    precisions: Sequence[str]
    limit_db: float
    step_period_s: float | None
    measure: bool


def asked(
    precisions: Iterable[str], limit_db: float, step_period_s: float | None, *, measure: bool
) -> Asked:
    """Check what is asked for.

    Raises:
        BindingError: a precision is unknown, or the limit is no number.
    """
    import math

    if isinstance(precisions, str):
        precisions = (precisions,)
    names = list(dict.fromkeys(precisions))
    for name in names:
        if name not in PRECISIONS:
            raise BindingError(
                f"there is no precision {name!r}{nearest(str(name), PRECISIONS)} "
                f"({', '.join(PRECISIONS)})"
            )
    if isinstance(limit_db, bool) or not math.isfinite(limit_db):
        raise BindingError(f"the limit of the signal-to-noise ratio must be dB, not {limit_db!r}")
    return Asked(precisions=names, limit_db=limit_db, step_period_s=step_period_s, measure=measure)


def measure_drift(
    source: OnnxModel, feeds: Feeds, wanted: Asked, report_of: ReportOf, progress: Progress
) -> Drift:
    """Compare a model with itself in each precision, on the same inputs.

    Raises:
        MeasurementError: ONNX Runtime cannot run the model as it is.
        RuntimeUnavailableError: a package is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="rnncost-") as name:
        folder = Path(name)
        stored = store(source, folder)
        base = report_of(source, None)
        look = _Look(source, stored, feeds, wanted, base, report_of, progress, folder)
        paths: list[Path | None] = [stored.path]
        compared: list[PrecisionDrift] = []
        waiting = list(wanted.precisions)
        while waiting:
            precision = waiting.pop(0)
            progress(f"drift in {precision}: making the model")
            model, found = look.at(precision)
            paths.append(None if model is None else model.path)
            compared.append(found)
            needed = precision == "int8" and model is not None and model.left
            if needed and INT8_EMULATED not in wanted.precisions:
                waiting.insert(0, INT8_EMULATED)
        timed: list[float | None] = [None] * len(paths)
        notes = [] if base.estimates else [_NO_PROFILE]
        if wanted.measure:
            progress("drift: timing in ONNX Runtime")
            timed, told = time_models(paths, feeds)
            notes.append(told)
    return Drift(
        limit_db=wanted.limit_db,
        bytes=stored.bytes,
        latency_s=_latency(base),
        measured_s=timed[0],
        profile=base.estimates[0].profile if base.estimates else "",
        precisions=[
            msgspec.structs.replace(one, measured_s=seconds)
            for one, seconds in zip(compared, timed[1:], strict=True)
        ],
        notes=notes,
    )


def _latency(report: Report) -> float | None:
    return report.estimates[0].latency_s if report.estimates else None


class _Look:
    """The comparison in one precision."""

    def __init__(
        self,
        source: OnnxModel,
        stored: Stored,
        feeds: Feeds,
        wanted: Asked,
        base: Report,
        report_of: ReportOf,
        progress: Progress,
        folder: Path,
    ) -> None:
        self.source = source
        self.stored = stored
        self.feeds = feeds
        self.wanted = wanted
        self.report_of = report_of
        self.progress = progress
        self.folder = folder
        self.states = {*final_states(source.proto), *feeds.states.values()}
        self.told_before = {note for estimate in base.estimates for note in estimate.notes}

    def at(self, precision: str) -> tuple[Quantised | None, PrecisionDrift]:
        """The model in a precision, where there is one, and its figures."""
        try:
            made = quantised(precision, self.source, self.stored, self.feeds, self.folder)
        except MeasurementError as error:
            return None, PrecisionDrift(precision=precision, reason=str(error))
        layers = self._layers(made)
        lengths = {state.length for layer in layers for state in layer.states if state.length}
        self.progress(f"drift in {precision}: comparing outputs")
        try:
            outputs = outputs_drift(
                self.source,
                made.source,
                self.feeds,
                states=self.states,
                length=lengths.pop() if len(lengths) == 1 else None,
                limit_db=self.wanted.limit_db,
            )
        except MeasurementError as error:
            outputs_drift(self.source, self.source, self.feeds)  # its own fault comes first
            reason = str(error)
            return None, PrecisionDrift(precision=precision, method=made.method, reason=reason)
        latency_s, in_float, notes = self._cost(made)
        return made, PrecisionDrift(
            precision=precision,
            method=made.method,
            bytes=made.bytes,
            latency_s=latency_s,
            outputs=outputs,
            layers=layers,
            in_float=in_float,
            notes=[*made.notes, *notes],
        )

    def _cost(self, made: Quantised) -> tuple[float | None, list[str], list[str]]:
        """The estimated latency, the operators with weights of 32 bits, and notes."""
        try:
            if made.path is None:
                report = self.report_of(self.source, made.precision.partition("-")[0])
            else:
                report = self.report_of(made.source, None)
            left = self._in_float(made, report)
        except RnncostError as error:
            return None, [], [f"no latency is estimated: {error}"]
        told = [note for estimate in report.estimates[:1] for note in estimate.notes]
        notes = [f"estimated latency: {note}" for note in told if note not in self.told_before]
        return _latency(report), left, notes

    def _in_float(self, made: Quantised, report: Report) -> list[str]:
        """The operators with weights of 32 bits, where it should be 8."""
        if made.precision == INT8_EMULATED:
            report = self.report_of(made.source, None)
        elif made.precision not in ("int8", "qdq"):
            return []
        return [
            f"{op.name} ({op.op_type})"
            for op in report.ops
            if op.precision == "fp32" and op.weight_bytes and op.macs
        ]

    def _layers(self, made: Quantised) -> list[LayerDrift]:
        found = []
        own = list(places(self.source.proto.graph))
        pairs = matching(self.source, made.source)
        for number, place in enumerate(own):
            told = f"layer {number + 1} of {len(own)}, {place.name}"
            self.progress(f"drift in {made.precision}: {told}")
            try:
                ways = directions(node_at(self.source.proto, place))
                runs_as, drifts = self._layer(made, place, pairs.get(place), ways)
            except (MeasurementError, NotRunError, ValueError) as error:
                found.append(
                    LayerDrift(
                        name=place.name, op_type=place.op_type, direction="", reason=str(error)
                    )
                )
                continue
            found += [
                LayerDrift(
                    name=place.name,
                    op_type=place.op_type,
                    direction=way,
                    runs_as=runs_as,
                    states=states,
                )
                for way, states in zip(ways, drifts, strict=True)
            ]
        return found

    def _layer(
        self, made: Quantised, place: Place, other: Place | None, ways: Sequence[str]
    ) -> tuple[str, list[list[StateDrift]]]:
        scans = made.operators.get(place)
        if scans is not None:
            runs_as = f"{place.op_type}, {made.method}"
            theirs = emulated_traces(made.source, scans, place.loops, self.feeds, ways)
        elif other is None:
            raise NotRunError(
                "no operator of the quantised model has its outputs or its name: only the outputs "
                "of the model are compared"
            )
        else:
            if made.precision == "fp16":
                check_crash(made.source, other, self.folder)
            runs_as = other.op_type
            theirs = run_traces(made.source, other, self.feeds, ways)
        ours = run_traces(self.source, place, self.feeds, ways)
        return runs_as, states_drift(
            ours, theirs, ways, self.wanted.limit_db, self.wanted.step_period_s
        )
