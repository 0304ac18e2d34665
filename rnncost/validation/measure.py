"""From a model to its validation: analyse, time, profile, compare."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.analysis import analyze
from rnncost.errors import BindingError, ModelError, RnncostError
from rnncost.profiles import GENERAL_PROFILE
from rnncost.profiles.schema import HardwareProfile
from rnncost.profiles.store import host_profile, load_profile
from rnncost.report.model import Estimate, Report
from rnncost.report.text import plural
from rnncost.runtime.machine import machine, runtime_version
from rnncost.runtime.timing import Interleaved, Timing
from rnncost.validation.lines import node_lines
from rnncost.validation.model import Comparison, NodeLine, Validation, judge

if TYPE_CHECKING:
    from rnncost.runtime.node_times import NodeTime

ROUNDS = 10
_MAX_PROFILED_BURST_S = 0.05


def validate(
    model: str | Path,
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Iterable[int]] | None = None,
    values: Mapping[str, Any] | None = None,
    trace: bool = False,
    profiles: Iterable[str | Path | HardwareProfile] = (),
    threads: int = 1,
    tolerance: float | None = None,
    min_time_s: float = 0.5,
    max_time_s: float = 10.0,
) -> Validation:
    """Time a model in ONNX Runtime on this machine, and estimate the same run.

    Both use the same shapes and values. Inputs without a value are random floats, ones for
    integers and true for booleans. The model is timed in ten rounds, with a reference
    kernel between them, and profiled in the same rounds for the times of its nodes.

    Args:
        model: path of an .onnx file.
        dims, shapes, values, trace: as for ``rnncost.analyze``.
        profiles: what to estimate for: names or paths of profiles, or loaded ones; without
            any, the calibrated profile of this machine, or a general one.
        threads: threads of ONNX Runtime inside an operator, and of the estimate.
        tolerance: the largest ``|estimate / minimum - 1|`` that is accepted.
        min_time_s: time runs for at least so long, over all rounds.
        max_time_s: begin no further round after so long.

    Raises:
        ModelError: the model is not an .onnx file or cannot be analysed.
        BindingError: a dimension, shape, value, tolerance, time or thread count does not fit.
        ProfileError: a profile is missing or wrong.
        MeasurementError: ONNX Runtime cannot load or run the model.
    """
    if not isinstance(model, (str, Path)) or Path(model).suffix != ".onnx":
        shown = str(model) if isinstance(model, (str, Path)) else type(model).__name__
        raise ModelError(
            f"cannot time {shown}: validate runs .onnx files only; export the model with "
            "torch.onnx.export first"
        )
    if tolerance is not None and not tolerance > 0:
        raise BindingError(f"the tolerance must be above 0, as 0.15 for 15 %, got {tolerance}")
    if not 0 <= min_time_s < math.inf or not 0 <= max_time_s < math.inf:
        raise BindingError(
            "the least and the largest time must be seconds from 0 on, "
            f"got {min_time_s} and {max_time_s}"
        )
    loaded, notes = chosen_profiles(profiles)
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
    here = machine()
    if threads > here.cores:
        notes.append(
            f"{threads} threads share the {plural(here.cores, 'core')} that this process may use, "
            "which makes them wait for one another: use fewer"
        )
    timed = measure(model, report, threads, min_time_s=min_time_s, max_time_s=max_time_s)
    timing, reference = timed.interleaved.timings[0], timed.interleaved.reference
    return Validation(
        model=str(model),
        threads=threads,
        bindings=report.bindings,
        runtime=runtime_version(),
        machine=here,
        timing=timing,
        reference=reference,
        drift=timed.interleaved.drift,
        comparisons=[
            _comparison(profile, estimate, timing, reference, tolerance)
            for profile, estimate in zip(loaded, report.estimates, strict=True)
        ],
        nodes=timed.lines,
        outside_s=timed.outside_s,
        tolerance=tolerance,
        notes=notes,
        warnings=[*report.warnings, *timed.warnings],
    )


def speed_of(profile: HardwareProfile, reference: Timing) -> float:
    """How fast the machine is, in terms of what it was when the profile was calibrated."""
    then = profile.calibration.reference_s if profile.calibration is not None else None
    return 1.0 if then is None else then / reference.median_s


def _comparison(
    profile: HardwareProfile,
    estimate: Estimate,
    timing: Timing,
    reference: Timing,
    tolerance: float | None,
) -> Comparison:
    comparison = Comparison(
        kind=profile.kind,
        estimate=estimate,
        ratio_to_min=estimate.latency_s / timing.min_s,
        ratio_to_steady=estimate.latency_s / timing.steady_s,
        ratio_to_median=estimate.latency_s / timing.median_s,
        speed=speed_of(profile, reference),
    )
    noise = max(timing.noise, reference.noise)
    verdict = judge(profile.kind, comparison.ratio_to_steady, noise, tolerance)
    return msgspec.structs.replace(comparison, verdict=verdict)


def chosen_profiles(
    profiles: Iterable[str | Path | HardwareProfile] = (),
) -> tuple[tuple[HardwareProfile, ...], list[str]]:
    """The profiles to estimate for, loaded, and what to say about the choice.

    Raises:
        ProfileError: a profile is missing or wrong.
    """
    if isinstance(profiles, (str, Path, HardwareProfile)):
        profiles = (profiles,)
    loaded = tuple(p if isinstance(p, HardwareProfile) else load_profile(p) for p in profiles)
    if loaded:
        return loaded, []
    host = host_profile()
    if host is None:
        return (load_profile(GENERAL_PROFILE),), [
            f"profile {GENERAL_PROFILE}, because this machine has no profile of its own: "
            "'rnncost calibrate' makes one"
        ]
    when = host.calibration.date if host.calibration is not None else "an unknown day"
    return (host,), [f"profile {host.name}, calibrated on {when}"]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The timings, that of the model first, and its lines; none where it was not profiled."""

    interleaved: Interleaved
    lines: list[NodeLine]
    outside_s: float | None
    warnings: list[str]


def measure(
    model: str | Path,
    report: Report,
    threads: int,
    *,
    min_time_s: float,
    max_time_s: float,
) -> Measured:
    """Time a model with the inputs that a report was made for, and profile its nodes.

    Where it cannot be profiled the times of the nodes are missing, and a warning says why.

    Raises:
        MeasurementError: ONNX Runtime cannot load or run the model.
    """
    from rnncost.runtime.inputs import make_inputs
    from rnncost.runtime.node_times import CostProbe, Profile
    from rnncost.runtime.session import create_session
    from rnncost.runtime.timing import prepare, time_interleaved

    bindings = report.bindings
    session = create_session(model, threads=threads)
    inputs = make_inputs(
        session, shapes=bindings.shapes, values=bindings.values, dims=bindings.dims
    )
    burst_s = min(min_time_s, max_time_s) / ROUNDS
    runs = [prepare(session, inputs)]
    warnings: list[str] = []
    lines: list[NodeLine] = []
    times: Sequence[NodeTime] = ()
    with tempfile.TemporaryDirectory(prefix="rnncost-") as folder:
        profile = probe = None
        try:
            profiled_s = min(burst_s, _MAX_PROFILED_BURST_S)
            profile = Profile(model, inputs, threads=threads, folder=folder, burst_s=profiled_s)
            probe = CostProbe(threads, folder)
            runs += [profile.run, *probe.runs]
        except RnncostError as error:
            warnings.append(f"no times of the nodes: {error}")
        interleaved = time_interleaved(
            runs, rounds=ROUNDS, min_time_s=burst_s, max_time_s=max_time_s
        )
        if profile is not None and probe is not None:
            try:
                nodes = profile.finish(probe.cost(interleaved.timings[2:]))
                # A run of one cheap node is little more than what a run has besides its nodes.
                inside_s = interleaved.timings[0].steady_s - interleaved.timings[2].steady_s
                times = _shared_out(nodes, inside_s)
                lines = node_lines(model, report, times, profile.optimized)
            except RnncostError as error:
                warnings.append(f"no times of the nodes: {error}")
    outside_s = None
    if lines:
        outside_s = interleaved.timings[0].steady_s - sum(time.seconds for time in times)
    return Measured(interleaved=interleaved, lines=lines, outside_s=outside_s, warnings=warnings)


def _shared_out(nodes: Sequence[NodeTime], seconds: float) -> list[NodeTime]:
    """The time of the runs without the profiler, shared out as the profiler saw it.

    What the profiler adds, above all where threads share work, is more than is known of it.
    """
    profiled_s = sum(node.seconds for node in nodes)
    if not profiled_s or seconds <= 0:
        return list(nodes)
    return [
        msgspec.structs.replace(node, seconds=node.seconds * seconds / profiled_s) for node in nodes
    ]
