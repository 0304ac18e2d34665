"""From measured layers to constants, and what they are worth on layers that were left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from rnncost.calibration.fit import fit_logs
from rnncost.calibration.vector import constants_of, numbers_of
from rnncost.latency.onnxruntime_cpu.layers import Layer, layer_time
from rnncost.profiles.onnxruntime import OnnxRuntimeCpu

FOLDS = 4

THREAD_CONSTANTS = (
    "fork_s",
    "dispatch_s",
    "exchange_byte_s",
    "split_step_s",
    "int8_split_step_s",
    "products.sharing",
)
"""What more threads change; all else is that of one thread."""


class Residuals(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of predictions for layers that the constants were not fitted to.

    ``low`` and ``high`` are the ratios of measured to predicted time that 5 % and 95 % of
    the layers lie below.
    """

    layers: int
    median_error: float
    p90_error: float
    low: float
    high: float


def layer_s(layer: Layer, constants: OnnxRuntimeCpu, threads: int) -> float:
    """Seconds of a run of a model that is one layer."""
    return constants.run_s + layer_time(layer, constants, threads).total_s


def fit_constants(
    base: OnnxRuntimeCpu, layers: Sequence[Layer], measured_s: Sequence[float]
) -> OnnxRuntimeCpu:
    """The constants of one thread that predict the layers best, beginning with ``base``."""
    return _fit(lambda values: constants_of(base, values), numbers_of(base), layers, measured_s, 1)


def fit_threads(
    base: OnnxRuntimeCpu, layers: Sequence[Layer], measured_s: Sequence[float], threads: int
) -> OnnxRuntimeCpu:
    """The constants with those replaced that more threads change."""
    numbers = numbers_of(base)
    start = {path: numbers[path] for path in THREAD_CONSTANTS}

    def build(values: Sequence[float]) -> OnnxRuntimeCpu:
        moved = dict(zip(start, values, strict=True))
        return constants_of(base, list({**numbers, **moved}.values()))

    return _fit(build, start, layers, measured_s, threads)


def held_out(
    fit: Callable[[Sequence[Layer], Sequence[float]], OnnxRuntimeCpu],
    layers: Sequence[Layer],
    measured_s: Sequence[float],
    threads: int,
    scored: int,
) -> Residuals:
    """Fit on three quarters, predict the rest, in turns; score the last ``scored`` layers."""
    ratios = []
    first = len(layers) - scored
    for fold in range(FOLDS):
        out = [i for i in range(first, len(layers)) if i % FOLDS == fold]
        kept = [i for i in range(len(layers)) if i < first or i % FOLDS != fold]
        constants = fit([layers[i] for i in kept], [measured_s[i] for i in kept])
        ratios += [measured_s[i] / layer_s(layers[i], constants, threads) for i in out]
    return residuals_of(ratios)


def residuals_of(ratios: Sequence[float]) -> Residuals:
    """What the ratios of measured to predicted time say together."""
    import numpy as np

    errors = np.abs(1 / np.asarray(ratios) - 1)
    low, high = np.quantile(ratios, (0.05, 0.95))
    return Residuals(
        layers=len(ratios),
        median_error=float(np.median(errors)),
        p90_error=float(np.quantile(errors, 0.9)),
        low=min(1.0, float(low)),
        high=max(1.0, float(high)),
    )


def _fit(
    build: Callable[[Sequence[float]], OnnxRuntimeCpu],
    start: dict[str, float],
    layers: Sequence[Layer],
    measured_s: Sequence[float],
    threads: int,
) -> OnnxRuntimeCpu:
    def predict(values: Sequence[float]) -> list[float]:
        constants = build(values)
        return [layer_s(layer, constants, threads) for layer in layers]

    values, _ = fit_logs(predict, list(start.values()), measured_s)
    return build(values)
