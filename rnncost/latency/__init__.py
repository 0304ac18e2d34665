"""Latency estimates: one module for each execution model that a profile can name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncost.errors import BindingError, nearest
from rnncost.latency.assembly import PRECISION_BITS, assemble
from rnncost.latency.roofline import roofline

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted
    from rnncost.profiles.schema import HardwareProfile
    from rnncost.report.model import Estimate


def estimate(
    counted: Counted,
    profile: HardwareProfile,
    *,
    threads: int = 1,
    precision: str | None = None,
) -> Estimate:
    """Estimate the latency of one run of a counted graph on a device.

    Args:
        counted: a graph counted with integer dimensions.
        profile: the device.
        threads: threads of the runtime; more than the profile has are not used.
        precision: as if everything ran in fp64, fp32, tf32, fp16, bf16 or int8; by default
            each operator runs in its own.

    Raises:
        BindingError: ``threads`` is below 1, or the precision is unknown.
    """
    if threads < 1:
        raise BindingError(f"threads must be at least 1, got {threads}")
    if precision is not None and precision not in PRECISION_BITS:
        raise BindingError(
            f"unknown precision {precision!r}{nearest(precision, PRECISION_BITS)}; "
            f"choose one of {', '.join(PRECISION_BITS)}"
        )
    prediction = roofline(counted, profile, threads=threads, precision=precision)
    return assemble(counted, profile, prediction, threads=threads, precision=precision)
