"""The time of a training step on a GPU with cuDNN.

Recurrent layers follow ``rnncost.latency.cudnn_backward``. Of other operators, each backward
product is taken to last as long as the forward one, and the backward pass of what has no
products as long as its forward pass. The optimiser reads and writes its tensors once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from rnncost.graph.dim import hint
from rnncost.latency import estimate
from rnncost.latency.assembly import OpTime, byte_scale, own_precision
from rnncost.latency.cudnn import Model, cudnn, layer_of, model_of
from rnncost.latency.cudnn_backward import (
    STEP_INTERVAL,
    backward_constants,
    backward_data_s,
    backward_weight_s,
    input_gradient_s,
)
from rnncost.latency.roofline import device_of
from rnncost.report.model import TrainingEstimate

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted, CountedOp
    from rnncost.profiles.schema import HardwareProfile

_FITTED = (
    "backward pass: a card left out of the fit to published times (cuDNN 5 and 6) is off by a "
    "median of 16 %, and by a factor of 2 one time in ten"
)
_UNVALIDATED = (
    "backward pass: not validated, as no backward times of cuDNN 7 and later are published; the "
    "constants are those of the forward pass"
)
_OTHERS = "operators other than recurrent layers, and the optimizer: assumed from forward times"


class RowBackward(Protocol):
    """What the backward pass of one row of the counted graph multiplies, all executions."""

    @property
    def backward_data_macs(self) -> int: ...
    @property
    def backward_weight_macs(self) -> int: ...
    @property
    def input_gradient(self) -> bool: ...


class Step(Protocol):
    """A training step: its rows, and what belongs to none of them.

    ``windows``: how many parts the sequence runs in; ``recomputed_macs`` is above 0 where the
    forward pass runs twice; the optimiser moves ``moved_bytes`` in each of its ``updates``.
    """

    @property
    def rows(self) -> Sequence[RowBackward]: ...
    @property
    def windows(self) -> int: ...
    @property
    def recomputed_macs(self) -> int: ...
    @property
    def moved_bytes(self) -> int: ...
    @property
    def updates(self) -> int: ...


def training_estimates(
    counted: Counted,
    profiles: Iterable[HardwareProfile],
    step: Step,
    *,
    threads: int = 1,
    precision: str | None = None,
) -> tuple[list[TrainingEstimate], list[str]]:
    """The time of a training step on each profile that has a model of it; notes on the others."""
    estimates: list[TrainingEstimate] = []
    missing: list[str] = []
    for profile in profiles:
        found = training_estimate(counted, profile, step, threads=threads, precision=precision)
        if found is None:
            missing.append(profile.name)
        else:
            estimates.append(found)
    if not missing:
        return estimates, []
    return estimates, [f"the time of a training step is not estimated on {', '.join(missing)}"]


def training_estimate(
    counted: Counted,
    profile: HardwareProfile,
    step: Step,
    *,
    threads: int = 1,
    precision: str | None = None,
) -> TrainingEstimate | None:
    """The time of a training step on a device; None where no model of it exists.

    Only profiles with the runtime ``cudnn`` that say their multiprocessors have one.
    """
    device = device_of(profile, threads)
    model = model_of(profile, device) if profile.runtime == "cudnn" else None
    if model is None:
        return None
    forward = estimate(counted, profile, threads=threads, precision=precision)
    # Further windows start the run and its operators again.
    forward_s = forward.latency_s + (step.windows - 1) * forward.overhead_s
    prediction = cudnn(counted, profile, threads=threads, precision=precision)
    data: list[float] = []
    weight: list[float] = []
    layers_s: list[float] = []
    for row, own, time in zip(counted.ops, step.rows, prediction.ops, strict=True):
        if layer_of(row, precision) is not None:
            parts = _of_layer(row, own, model, precision, step.windows)
            layers_s += [time.total_s, *parts]
        else:
            parts = _of_others(row, own, time)
        data.append(parts[0])
        weight.append(parts[1])
    scale = byte_scale(own_precision(counted), precision)
    bandwidth = model.gpu(forward.precision).weight_levels[-1][1]
    optimizer_s = step.updates * step.moved_bytes * scale / bandwidth
    backward_data_s, backward_weight_s_ = math.fsum(data), math.fsum(weight)
    recompute_s = forward_s if step.recomputed_macs else 0.0
    _, fitted = backward_constants(model.constants)
    notes = [_FITTED if fitted else _UNVALIDATED] if layers_s else []
    step_s = math.fsum((forward_s, backward_data_s, backward_weight_s_, recompute_s, optimizer_s))
    low, high = STEP_INTERVAL if fitted and 2 * sum(layers_s) >= step_s else (None, None)
    return TrainingEstimate(
        profile=profile.name,
        profile_version=profile.version,
        precision=forward.precision,
        step_s=step_s,
        step_low_s=None if low is None else step_s * low,
        step_high_s=None if high is None else step_s * high,
        forward_s=forward_s,
        backward_data_s=backward_data_s,
        backward_weight_s=backward_weight_s_,
        recompute_s=recompute_s,
        optimizer_s=optimizer_s,
        notes=[*notes, _OTHERS],
    )


def _of_layer(
    row: CountedOp, own: RowBackward, model: Model, precision: str | None, windows: int
) -> tuple[float, float]:
    """Seconds of backward data and backward weight of a layer, all executions."""
    layer = layer_of(row, precision)
    if layer is None or own.backward_data_macs + own.backward_weight_macs == 0:
        return 0.0, 0.0
    gpu = model.gpu(precision or row.precision)
    constants, _ = backward_constants(model.constants)
    executions = hint(row.executions)
    calls = (windows - 1) * constants.call_s
    data_s = backward_data_s(layer, gpu, constants) + calls
    if own.input_gradient:
        data_s += input_gradient_s(layer, hint(row.cost.dims["I"]), gpu, constants)
    if own.backward_weight_macs == 0:
        return executions * data_s, 0.0
    weight_s = backward_weight_s(own.backward_weight_macs / executions, gpu)
    return executions * data_s, executions * (weight_s + (windows - 1) * constants.call_s)


def _of_others(row: CountedOp, own: RowBackward, time: OpTime) -> tuple[float, float]:
    """Seconds of backward data and backward weight of any other row."""
    macs = hint(row.counts.macs)
    if macs == 0:
        return (time.total_s if row.cost.kind != "constant" else 0.0), 0.0
    return (
        time.total_s * own.backward_data_macs / macs,
        time.total_s * own.backward_weight_macs / macs,
    )
