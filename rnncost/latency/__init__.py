"""Latency estimates: one module for each execution model that a profile can name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from rnncost.errors import BindingError, nearest
from rnncost.latency.assembly import PRECISION_BITS, Prediction, assemble

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted
    from rnncost.profiles.schema import HardwareProfile
    from rnncost.report.model import Estimate

MODELS = {
    "roofline": "roofline",
    "cudnn": "cudnn",
    "mcu": "mcu",
    "onnxruntime-cpu": "onnxruntime_cpu",
    "pytorch-cpu": "pytorch_cpu",
}
"""The module of each runtime's execution model, which has a function of the same name."""


class ExecutionModel(Protocol):
    """Predicts the time of each row of a counted graph on a device."""

    def __call__(
        self, counted: Counted, profile: HardwareProfile, *, threads: int, precision: str | None
    ) -> Prediction: ...


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
    prediction = _model_of(profile)(counted, profile, threads=threads, precision=precision)
    return assemble(counted, profile, prediction, threads=threads, precision=precision)


def _model_of(profile: HardwareProfile) -> ExecutionModel:
    name = MODELS[profile.runtime]
    model: ExecutionModel = getattr(import_module(f"rnncost.latency.{name}"), name)
    return model
