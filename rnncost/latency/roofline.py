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
from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.dim import hint
from rnncost.latency.assembly import OpTime, Prediction, byte_scale
from rnncost.latency.fallbacks import Rates, rates_of
from rnncost.latency.work import Work, work_of

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted, CountedOp
    from rnncost.profiles.schema import HardwareProfile, MemoryLevel

UNCALIBRATED = "uncalibrated data-sheet roofline, expect factors of 2 or more"


class Level(msgspec.Struct, frozen=True):
    """A memory level as the threads in use see it; a size of infinity holds everything."""

    name: str
    size_bytes: float
    bytes_per_s: float


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A profile's rates for a number of threads. The last level of each tuple is memory."""

    profile: HardwareProfile
    threads: int
    weights: tuple[Level, ...]
    activations: tuple[Level, ...]
    rates: Rates

    def macs_per_s(self, precision: str) -> float:
        peaks = self.profile.peak_macs_per_s
        peak = getattr(peaks, precision, None) or peaks.fp32
        return float(peak.value) * self.threads


def roofline(
    counted: Counted, profile: HardwareProfile, *, threads: int, precision: str | None
) -> Prediction:
    """Predict the time of each row of a counted graph; see ``rnncost.latency.estimate``."""
    device = device_of(profile, threads)
    return Prediction(
        ops=tuple([time_of(row, device, precision) for row in counted.ops]),
        run=OpTime(overhead_s=device.rates.run_s),
        threads=device.threads,
        notes=(*_notes(counted, profile, precision), *device.rates.notes),
    )


def device_of(profile: HardwareProfile, threads: int) -> Device:
    """The rates of a profile with ``threads`` threads, or as many as it has."""
    used = min(threads, profile.threads)

    def levels(held: str) -> tuple[Level, ...]:
        return tuple(
            Level(
                level.name,
                level.size_bytes.value * (used if level.per_core else 1)
                if level.size_bytes is not None
                else math.inf,
                _bandwidth(level, used),
            )
            for level in profile.memory
            if level.holds in ("all", held)
        )

    return Device(
        profile=profile,
        threads=used,
        weights=levels("weights"),
        activations=levels("activations"),
        rates=rates_of(profile),
    )


def _bandwidth(level: MemoryLevel, threads: int) -> float:
    """Bytes a second that so many threads draw from a level together."""
    whole = level.bandwidth_bytes_per_s.value
    if level.per_core:
        return whole * threads
    one = level.core_bandwidth_bytes_per_s
    return whole if one is None else min(whole, one.value * threads)


def time_of(row: CountedOp, device: Device, precision: str | None) -> OpTime:
    """The time of all executions of one row."""
    if row.cost.kind == "constant":
        return OpTime()
    work = work_of(row)
    scale = byte_scale(row.precision, precision)
    peak = device.macs_per_s(precision or row.precision)
    rates = device.rates
    overhead_s = work.executions * rates.op_s + work.trips * rates.loop_s
    memory_s, level_bytes = _parallel_memory(work, device, scale)
    compute_s = work.parallel_macs / peak
    if not work.steps:
        compute_s += work.elementwise / rates.elementwise_per_s
    parallel_s = max(compute_s, memory_s)
    parts = {"compute": 0.0, "memory": 0.0, "latency": 0.0}
    parts["compute" if compute_s >= memory_s else "memory"] += parallel_s
    step_s = None
    if work.steps:
        step_bytes = work.step_bytes * scale
        level = _holder(device.weights, step_bytes)
        bounds = {
            "latency": rates.step_s,
            "compute": work.sequential_macs / work.steps / peak,
            "memory": step_bytes / level.bytes_per_s,
        }
        bound = max(bounds, key=bounds.__getitem__)
        gates_s = work.elementwise / work.steps / rates.elementwise_per_s
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
        level_bytes=level_bytes,
    )


def _parallel_memory(work: Work, device: Device, scale: float) -> tuple[float, dict[str, int]]:
    """Seconds for the bytes outside the steps, and all bytes by the level they come from."""
    if not work.executions:
        return 0.0, {}
    read: dict[str, float] = {}

    def add(level: Level, size_bytes: float) -> float:
        read[level.name] = read.get(level.name, 0.0) + size_bytes
        return size_bytes / level.bytes_per_s

    memory = device.weights[-1]
    size = work.weight_bytes * scale
    seconds = add(memory, size)
    seconds += add(_holder(device.weights, size), (work.executions - 1) * size)

    near = _holder(device.weights, work.step_bytes * scale)
    first = 0.0 if near is memory else work.recurrent_bytes * scale
    add(memory, first)  # its time is that of the first steps
    add(near, work.steps * work.step_bytes * scale - first)

    near = _holder(device.activations, work.activation_set_bytes * scale)
    seconds += add(near, work.activation_bytes * scale)
    return seconds, {name: round(size_bytes) for name, size_bytes in read.items()}


def _holder(levels: tuple[Level, ...], size_bytes: float) -> Level:
    """The nearest level that holds so many bytes, or memory."""
    return next((level for level in levels if size_bytes <= level.size_bytes), levels[-1])


def _notes(counted: Counted, profile: HardwareProfile, precision: str | None) -> tuple[str, ...]:
    notes = [] if profile.calibrated else [UNCALIBRATED]
    used = {precision} if precision else {r.precision for r in counted.ops if hint(r.counts.macs)}
    missing = sorted(p for p in used if getattr(profile.peak_macs_per_s, p, None) is None)
    if missing:
        notes.append(f"no peak for {', '.join(missing)} in the profile: fp32's is used")
    return tuple(notes)
