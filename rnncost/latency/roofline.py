"""A roofline for each operator, with a cost for each step of a recurrent one.

Per operator, over all its executions::

    parallel    = max(MACs / peak + elementwise / rate, bytes / bandwidth)
    step        = max(step overhead, MACs of a step / peak, bytes of a step / bandwidth)
                  + elementwise of a step / rate
    sequential  = executed steps x step
    parallel   += what the first step waits longer for weights that come from memory
    overhead    = executions x operator overhead (+ trips x loop overhead)

and latency = overhead + parallel + sequential. A recurrent operator's input product is
parallel, its recurrent product and its elementwise work are sequential; the directions
of a bidirectional layer run in turn. A weight that is read again is read from memory once
and then from the nearest level that holds it; docs/profiles.md has the details.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.dim import hint
from rnncost.latency.work import Work, work_of
from rnncost.report.model import Estimate, Fits, OpEstimate

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted, CountedOp
    from rnncost.profiles.schema import HardwareProfile

PRECISION_BITS = {"fp64": 64, "fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "int8": 8}
"""Bits that an element takes in each precision."""

UNCALIBRATED = "uncalibrated data-sheet roofline, expect factors of 2 or more"


class Level(msgspec.Struct, frozen=True):
    """A memory level as the threads in use see it; a size of infinity holds everything."""

    size_bytes: float
    bytes_per_s: float


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A profile's rates for a number of threads. The last level of each tuple is memory."""

    profile: HardwareProfile
    threads: int
    weights: tuple[Level, ...]
    activations: tuple[Level, ...]
    elementwise_per_s: float

    def macs_per_s(self, precision: str) -> float:
        peaks = self.profile.peak_macs_per_s
        peak = getattr(peaks, precision, None) or peaks.fp32
        return float(peak.value) * self.threads


class OpTime(msgspec.Struct, frozen=True, kw_only=True):
    """The times of one row by what they are spent on, in seconds."""

    overhead_s: float = 0.0
    compute_s: float = 0.0
    memory_s: float = 0.0
    latency_s: float = 0.0
    parallel_s: float = 0.0
    sequential_s: float = 0.0
    step_s: float | None = None
    dram_bytes: int = 0

    @property
    def bound_by(self) -> str:
        """What takes most of the time."""
        return _largest((self,))


def roofline(
    counted: Counted, profile: HardwareProfile, *, threads: int, precision: str | None
) -> Estimate:
    """Estimate the latency of a counted graph; see ``rnncost.latency.estimate``."""
    device = device_of(profile, threads)
    times = [time_of(row, device, precision) for row in counted.ops]
    overheads = profile.overheads
    overhead_s = overheads.run_s.value + math.fsum(t.overhead_s for t in times)
    parallel_s = math.fsum(t.parallel_s for t in times)
    sequential_s = math.fsum(t.sequential_s for t in times)
    dram_bytes = sum(t.dram_bytes for t in times)
    run = OpTime(overhead_s=overheads.run_s.value)
    return Estimate(
        profile=profile.name,
        profile_version=profile.version,
        runtime=profile.runtime,
        threads=device.threads,
        precision=precision or own_precision(counted),
        latency_s=overhead_s + parallel_s + sequential_s,
        sequential_s=sequential_s,
        parallel_s=parallel_s,
        overhead_s=overhead_s,
        step_s=max((t.step_s for t in times if t.step_s is not None), default=None),
        bound_by=_largest((run, *times)),
        dram_bytes=dram_bytes,
        energy_j=_energy(counted, profile, dram_bytes),
        fits=_fits(counted, profile, precision),
        calibrated=profile.calibrated,
        notes=_notes(counted, profile, threads, precision),
        ops=[
            OpEstimate(
                name=row.name,
                latency_s=time.overhead_s + time.parallel_s + time.sequential_s,
                bound_by=time.bound_by,
                step_s=time.step_s,
                overhead_s=time.overhead_s,
                sequential_s=time.sequential_s,
                parallel_s=time.parallel_s,
                dram_bytes=time.dram_bytes,
            )
            for row, time in zip(counted.ops, times, strict=True)
        ],
    )


def device_of(profile: HardwareProfile, threads: int) -> Device:
    """The rates of a profile with ``threads`` threads, or as many as it has."""
    used = min(threads, profile.threads)

    def levels(held: str) -> tuple[Level, ...]:
        return tuple(
            Level(
                level.size_bytes.value * (used if level.per_core else 1)
                if level.size_bytes is not None
                else math.inf,
                level.bandwidth_bytes_per_s.value * (used if level.per_core else 1),
            )
            for level in profile.memory
            if level.holds in ("all", held)
        )

    return Device(
        profile=profile,
        threads=used,
        weights=levels("weights"),
        activations=levels("activations"),
        elementwise_per_s=profile.elementwise_per_s.value,
    )


def time_of(row: CountedOp, device: Device, precision: str | None) -> OpTime:
    """The time of all executions of one row."""
    if row.cost.kind == "constant":
        return OpTime()
    work = work_of(row)
    scale = _byte_scale(row.precision, precision)
    peak = device.macs_per_s(precision or row.precision)
    overheads = device.profile.overheads
    overhead_s = work.executions * overheads.op_s.value + work.trips * overheads.loop_s.value
    memory_s, dram_bytes = _parallel_memory(work, device, scale)
    compute_s = work.parallel_macs / peak
    if not work.steps:
        compute_s += work.elementwise / device.elementwise_per_s
    parallel_s = max(compute_s, memory_s)
    parts = {"compute": 0.0, "memory": 0.0, "latency": 0.0}
    parts["compute" if compute_s >= memory_s else "memory"] += parallel_s
    step_s = None
    if work.steps:
        step_bytes = work.step_bytes * scale
        level = _holder(device.weights, step_bytes)
        bounds = {
            "latency": overheads.step_s.value,
            "compute": work.sequential_macs / work.steps / peak,
            "memory": step_bytes / level.bytes_per_s,
        }
        bound = max(bounds, key=bounds.__getitem__)
        gates_s = work.elementwise / work.steps / device.elementwise_per_s
        step_s = bounds[bound] + gates_s
        parts[bound] += work.steps * bounds[bound]
        parts["compute"] += work.steps * gates_s
        # What the first step of each direction waits longer, as its weights come from memory.
        first_s = max(0.0, step_bytes / device.weights[-1].bytes_per_s - bounds[bound])
        loads = work.recurrent_bytes / work.step_bytes if work.step_bytes else 0.0
        parallel_s += loads * first_s
        parts["memory"] += loads * first_s
    return OpTime(
        overhead_s=overhead_s,
        compute_s=parts["compute"],
        memory_s=parts["memory"],
        latency_s=parts["latency"],
        parallel_s=parallel_s,
        sequential_s=work.steps * step_s if step_s is not None else 0.0,
        step_s=step_s,
        dram_bytes=dram_bytes,
    )


def own_precision(counted: Counted) -> str:
    """The precision in which the graph does most of its MACs."""
    macs: dict[str, int] = {}
    for row in counted.ops:
        macs[row.precision] = macs.get(row.precision, 0) + hint(row.counts.macs)
    best = max(macs, key=macs.__getitem__, default="")
    return best if macs.get(best) else "fp32"


def _parallel_memory(work: Work, device: Device, scale: float) -> tuple[float, int]:
    """Seconds for the bytes outside the steps, and all the bytes that come from memory."""
    if not work.executions:
        return 0.0, 0
    memory = device.weights[-1]
    size = work.weight_bytes * scale
    near = _holder(device.weights, size)
    again = work.executions - 1
    seconds = size / memory.bytes_per_s + again * size / near.bytes_per_s
    dram = size * (1 + again * (near is memory))

    held = work.recurrent_bytes * scale
    near = _holder(device.weights, work.step_bytes * scale)
    dram += work.steps * work.step_bytes * scale if near is memory else held

    near = _holder(device.activations, work.activation_set_bytes * scale)
    seconds += work.activation_bytes * scale / near.bytes_per_s
    if near is device.activations[-1]:
        dram += work.activation_bytes * scale
    return seconds, round(dram)


def _holder(levels: tuple[Level, ...], size_bytes: float) -> Level:
    """The nearest level that holds so many bytes, or memory."""
    return next((level for level in levels if size_bytes <= level.size_bytes), levels[-1])


def _byte_scale(own: str, wanted: str | None) -> float:
    """How an element's size changes when a row runs in another precision."""
    if wanted is None or own not in PRECISION_BITS:
        return 1.0
    return PRECISION_BITS[wanted] / PRECISION_BITS[own]


def _largest(times: Iterable[OpTime]) -> str:
    totals = {"overhead": 0.0, "compute": 0.0, "memory": 0.0, "latency": 0.0}
    for time in times:
        for part in totals:
            totals[part] += getattr(time, f"{part}_s")
    return max(totals, key=totals.__getitem__)


def _energy(counted: Counted, profile: HardwareProfile, dram_bytes: int) -> float | None:
    if profile.energy is None:
        return None
    macs = hint(counted.totals.dense_macs)
    return macs * profile.energy.mac_j.value + dram_bytes * profile.energy.byte_j.value


def _fits(counted: Counted, profile: HardwareProfile, precision: str | None) -> Fits:
    if profile.capacity is None:
        return Fits()
    weights = math.fsum(
        hint(row.counts.weight_bytes) * _byte_scale(row.precision, precision) for row in counted.ops
    )
    activations = hint(counted.totals.peak_activation_bytes) * _byte_scale(
        own_precision(counted), precision
    )
    return Fits(
        weights=weights <= profile.capacity.weight_bytes.value,
        activations=activations <= profile.capacity.activation_bytes.value,
    )


def _notes(
    counted: Counted, profile: HardwareProfile, threads: int, precision: str | None
) -> list[str]:
    notes = [] if profile.calibrated else [UNCALIBRATED]
    if threads > profile.threads:
        notes.append(f"{threads} threads asked for, the profile has {profile.threads}")
    used = {precision} if precision else {r.precision for r in counted.ops if hint(r.counts.macs)}
    missing = sorted(p for p in used if getattr(profile.peak_macs_per_s, p, None) is None)
    if missing:
        notes.append(f"no peak for {', '.join(missing)} in the profile: fp32's is used")
    if counted.uncounted:
        missed = len(counted.uncounted)
        operators = "operator is" if missed == 1 else "operators are"
        notes.append(f"{missed:,} uncounted {operators} left out")
    return notes
