"""What estimates are compared with: predictors that anybody could write in a minute."""

from __future__ import annotations

from collections.abc import Iterable

from rnncost.profiles.schema import HardwareProfile
from rnncost.report.model import OpRow

ROOFLINE = "bare roofline"


def bare_roofline_s(rows: Iterable[OpRow], profile: HardwareProfile, *, threads: int = 1) -> float:
    """The sum over rows of the longer of MACs / peak and bytes / bandwidth, in seconds.

    MACs at the peak of the row's precision on all threads (fp32's where the profile has
    none), compulsory bytes at the bandwidth of the farthest memory level (Williams et al.,
    "Roofline", Communications of the ACM 52(4), 2009). Overheads, steps and caches are
    left out: that is what makes it bare.
    """
    far = profile.memory[-1]
    used = min(threads, profile.threads)
    bandwidth = far.bandwidth_bytes_per_s.value * (used if far.per_core else 1)
    total_s = 0.0
    for row in rows:
        peak = getattr(profile.peak_macs_per_s, row.precision, None) or profile.peak_macs_per_s.fp32
        total_s += max(row.macs / (peak.value * used), row.compulsory_bytes / bandwidth)
    return total_s
