"""From the times of a graph's rows, as an execution model predicts them, to an estimate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.dim import hint
from rnncost.report.model import Estimate, Fits, OpEstimate

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted
    from rnncost.profiles.schema import HardwareProfile

PRECISION_BITS = {"fp64": 64, "fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "int8": 8}
"""Bits that an element takes in each precision."""


class OpTime(msgspec.Struct, frozen=True, kw_only=True):
    """The times of one row, in seconds, in two ways that have the same sum.

    By what they are spent on: ``overhead_s``, ``compute_s``, ``memory_s``, ``latency_s``
    (waiting for fixed costs of a step). By when: ``overhead_s``, ``parallel_s``,
    ``sequential_s`` (steps that wait for one another). ``level_bytes`` are the bytes read
    and written at each memory level of the profile, by its name.
    """

    overhead_s: float = 0.0
    compute_s: float = 0.0
    memory_s: float = 0.0
    latency_s: float = 0.0
    parallel_s: float = 0.0
    sequential_s: float = 0.0
    step_s: float | None = None
    level_bytes: dict[str, int] = {}

    @property
    def total_s(self) -> float:
        """The whole time of the row."""
        return self.overhead_s + self.parallel_s + self.sequential_s

    @property
    def bound_by(self) -> str:
        """What takes most of the time."""
        return _largest((self,))


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What an execution model says of a graph: the time of each row, in the graph's order.

    ``run`` is spent once a run and belongs to no row. ``interval`` holds two ratios of
    measured to predicted time, between which 90 % of held-out cases lay; None where
    nothing was ever measured. ``threads`` are those in use.
    """

    ops: tuple[OpTime, ...]
    run: OpTime
    threads: int
    interval: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()


def assemble(
    counted: Counted,
    profile: HardwareProfile,
    prediction: Prediction,
    *,
    threads: int,
    precision: str | None,
) -> Estimate:
    """Sum the rows' times into an estimate; ``threads`` are those asked for."""
    times = (prediction.run, *prediction.ops)
    latency_s = math.fsum(t.total_s for t in times)
    level_bytes = {level.name: 0 for level in profile.memory}
    for time in times:
        for name, size in time.level_bytes.items():
            level_bytes[name] += size
    dram = profile.memory[-1].name
    low, high = prediction.interval or (None, None)
    return Estimate(
        profile=profile.name,
        profile_version=profile.version,
        runtime=profile.runtime,
        threads=prediction.threads,
        precision=precision or own_precision(counted),
        latency_s=latency_s,
        latency_low_s=None if low is None else latency_s * low,
        latency_high_s=None if high is None else latency_s * high,
        sequential_s=math.fsum(t.sequential_s for t in times),
        parallel_s=math.fsum(t.parallel_s for t in times),
        overhead_s=math.fsum(t.overhead_s for t in times),
        step_s=max((t.step_s for t in times if t.step_s is not None), default=None),
        bound_by=_largest(times),
        dram_bytes=level_bytes[dram],
        level_bytes=level_bytes,
        energy_j=_energy(counted, profile, level_bytes[dram]),
        fits=_fits(counted, profile, precision),
        calibrated=profile.calibrated,
        notes=[*prediction.notes, *_notes(counted, profile, threads), *_cost(profile, latency_s)],
        ops=[
            OpEstimate(
                name=row.name,
                latency_s=time.total_s,
                bound_by=time.bound_by,
                step_s=time.step_s,
                overhead_s=time.overhead_s,
                sequential_s=time.sequential_s,
                parallel_s=time.parallel_s,
                dram_bytes=time.level_bytes.get(dram, 0),
                level_bytes=dict(time.level_bytes),
            )
            for row, time in zip(counted.ops, prediction.ops, strict=True)
        ],
    )


def own_precision(counted: Counted) -> str:
    """The precision in which the graph does most of its MACs."""
    macs: dict[str, int] = {}
    for row in counted.ops:
        macs[row.precision] = macs.get(row.precision, 0) + hint(row.counts.macs)
    best = max(macs, key=macs.__getitem__, default="")
    return best if macs.get(best) else "fp32"


def byte_scale(own: str, wanted: str | None) -> float:
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
        hint(row.counts.weight_bytes) * byte_scale(row.precision, precision) for row in counted.ops
    )
    activations = hint(counted.totals.peak_activation_bytes) * byte_scale(
        own_precision(counted), precision
    )
    return Fits(
        weights=weights <= profile.capacity.weight_bytes.value,
        activations=activations <= profile.capacity.activation_bytes.value,
    )


def _notes(counted: Counted, profile: HardwareProfile, threads: int) -> list[str]:
    notes = []
    if threads > profile.threads:
        notes.append(f"{threads} threads asked for, the profile has {profile.threads}")
    if counted.uncounted:
        missed = len(counted.uncounted)
        operators = "operator is" if missed == 1 else "operators are"
        notes.append(f"{missed:,} uncounted {operators} left out")
    return notes


def _cost(profile: HardwareProfile, latency_s: float) -> list[str]:
    """What a million runs cost where the profile has a price, one run after the other."""
    price = profile.price_per_hour
    if price is None:
        return []
    cost = 1e6 * latency_s / 3600 * price.value
    shown = f"{cost:,.0f}" if cost >= 1000 else f"{cost:.3g}"
    return [f"a million runs, one after the other, cost {shown} {price.currency}"]
