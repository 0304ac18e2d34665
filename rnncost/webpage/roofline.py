"""Each operator against the ceilings of a profile.

The chart is the cache-aware roofline (Ilic, Pratas and Sousa, 2014): an operator's
arithmetic intensity is its MACs over all the bytes that it reads and writes, whichever
memory level serves them, and every level has its own slanted ceiling. The height of a point
is the rate that the estimate implies: MACs over the operator's whole latency.

An operator's own ceiling is what the profile's rates alone would allow::

    MACs / max(MACs / peak, sum over levels of bytes / bandwidth)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from rnncost.latency.roofline import device_of
from rnncost.profiles.schema import HardwareProfile
from rnncost.report.model import Estimate, OpEstimate, OpRow, Report
from rnncost.webpage.timeline import Omitted, paired

_FARTHEST = 1e30
"""No axis goes farther, nor closer to zero than one over it."""


class Level(msgspec.Struct, frozen=True):
    """A memory level as the threads in use see it."""

    name: str
    bytes_per_s: float


class Peak(msgspec.Struct, frozen=True):
    """The most MACs a second in one precision."""

    precision: str
    macs_per_s: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One operator. ``share`` is its rate over its own ceiling, which ``bound`` names."""

    name: str
    op_type: str
    kind: str
    macs_per_byte: float
    macs_per_s: float
    latency_s: float
    share: float
    bound: str


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    """The ceilings that this model meets, and its operators, costliest first.

    ``left_out`` counts the operators with time but without MACs or bytes, which have no place.
    """

    levels: tuple[Level, ...]
    peaks: tuple[Peak, ...]
    points: tuple[Point, ...]
    left_out: int


def roofline_of(
    report: Report, estimate: Estimate, profiles: Sequence[HardwareProfile]
) -> Roofline | Omitted:
    """Place the operators of an estimate on the ceilings of its profile."""
    named = [profile for profile in profiles if profile.name == estimate.profile]
    if not named:
        return Omitted(f"no profile named {estimate.profile} is at hand to take the ceilings from")
    profile = next((p for p in named if p.version == estimate.profile_version), None)
    if profile is None:
        return Omitted(
            f"the profile {estimate.profile} at hand is version {named[0].version}, the estimate "
            f"was made with version {estimate.profile_version}"
        )
    device = device_of(profile, max(1, estimate.threads))
    rates = {level.name: level.bytes_per_s for level in (*device.weights, *device.activations)}
    forced = estimate.precision if estimate.precision != _own_precision(report) else None
    known = [
        (op, time, _peak(forced or op.precision, profile, device.threads))
        for op, time in paired(report, estimate)
        if op is not None and _has_place(op, time, rates)
    ]
    points = [_point(op, time, rates, peak) for op, time, peak in known]
    if not points:
        return Omitted("no operator has MACs, bytes and a time")
    served = {name for time in estimate.ops for name, size in time.level_bytes.items() if size}
    used = [
        Level(level.name, rates[level.name]) for level in profile.memory if level.name in served
    ]
    peaks = dict.fromkeys(peak for _, _, peak in known)
    return Roofline(
        levels=tuple(used),
        peaks=tuple(sorted(peaks, key=lambda peak: peak.macs_per_s)),
        points=tuple(sorted(points, key=lambda point: point.latency_s, reverse=True)),
        left_out=sum(1 for time in estimate.ops if time.latency_s) - len(points),
    )


def _has_place(op: OpRow, time: OpEstimate, rates: dict[str, float]) -> bool:
    size_bytes = sum(time.level_bytes.values())
    if not (
        op.dense_macs and time.latency_s and size_bytes and set(time.level_bytes) <= set(rates)
    ):
        return False
    places = (op.dense_macs / size_bytes, op.dense_macs / time.latency_s)
    return all(1 / _FARTHEST < place < _FARTHEST for place in places)


def _own_precision(report: Report) -> str:
    """The precision of most MACs: an estimate in another one was asked for."""
    macs: dict[str, int] = {}
    for op in report.ops:
        macs[op.precision] = macs.get(op.precision, 0) + op.macs
    best = max(macs, key=macs.__getitem__, default="")
    return best if macs.get(best) else "fp32"


def _peak(precision: str, profile: HardwareProfile, threads: int) -> Peak:
    """The peak in some precision; fp32's where the profile has none, as estimates take it."""
    peaks = profile.peak_macs_per_s
    own = getattr(peaks, precision) if precision in peaks.__struct_fields__ else None
    if own is None:
        return Peak("fp32", peaks.fp32.value * threads)
    return Peak(precision, own.value * threads)


def _point(op: OpRow, time: OpEstimate, rates: dict[str, float], peak: Peak) -> Point:
    size_bytes = sum(time.level_bytes.values())
    bounds = {name: size / rates[name] for name, size in time.level_bytes.items() if size}
    memory_s = math.fsum(bounds.values())
    compute_s = op.dense_macs / peak.macs_per_s
    slowest = max(bounds, key=bounds.__getitem__)
    return Point(
        name=op.name,
        op_type=op.op_type,
        kind=op.kind,
        macs_per_byte=op.dense_macs / size_bytes,
        macs_per_s=op.dense_macs / time.latency_s,
        latency_s=time.latency_s,
        share=max(memory_s, compute_s) / time.latency_s,
        bound=f"{peak.precision} peak" if compute_s >= memory_s else slowest,
    )
