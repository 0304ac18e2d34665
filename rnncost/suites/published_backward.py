"""Backward passes in the suite ``published``, of the training sheets of five cards.

One device is left out at a time. The constants of backward data are fitted to the forward and
the backward times of the other four together, those of backward weight to their own times. A
training step is the sum of the three passes of one layer; its forward pass is predicted as in
``rnncost.suites.published``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import msgspec

from rnncost.latency.cudnn_backward import (
    WEIGHTS,
    WeightConstants,
    backward_weight_s,
    backward_work,
)
from rnncost.latency.cudnn_kernels import Constants, standard_s
from rnncost.suites.model import Case
from rnncost.suites.published import (
    COPY,
    DEVICES,
    FIVE,
    GATES,
    PULL,
    ROOFLINE,
    START,
    Row,
    bounds_of,
    copied_s,
    features_of,
    fit_rows,
    gpu_of,
    layer_of,
    name_of,
    predict,
    roofline_s,
    sample_of,
    sheet_rows,
)
from rnncost.suites.published_fit import Sample, fit

BACKWARD_DATA = "backward data, one device left out"
BACKWARD_WEIGHT = "backward weight, one device left out"
STEP = "training step, one device left out"

_PHASES = ("bwd_data", "bwd_weights")
_SMALLEST_STEP = 1e-3


class Predictors(msgspec.Struct, frozen=True):
    """The constants of the three passes, fitted to the same devices."""

    forward: Constants
    data: Constants
    weight: WeightConstants

    def seconds(self, row: Row) -> float:
        """The predicted time of a row of any phase."""
        if row.phase == "bwd_data":
            return standard_s(backward_work(layer_of(row), gpu_of(row)), self.data)
        if row.phase == "bwd_weights":
            return backward_weight_s(macs_of(row), gpu_of(row), self.weight)
        return predict(row, self.forward)


def backward_rows() -> list[Row]:
    """The published times of backward passes: 265 of each kind, all in fp32."""
    return [row for row in sheet_rows() if row.phase in _PHASES]


def macs_of(row: Row) -> int:
    """MACs of one pass of a row, whose input product is skipped."""
    return GATES[row.cell] * row.hidden_size**2 * row.batch * row.steps


def bare_s(row: Row) -> float:
    """The bare roofline; backward weight is one product, which reads no weights."""
    if row.phase == "bwd_weights":
        return 2 * macs_of(row) / DEVICES[row.device].fp32_flops
    return roofline_s(row)


def fit_predictors(rows: Iterable[Row]) -> Predictors:
    """The constants that fit rows of all phases."""
    rows = list(rows)
    forward = [row for row in rows if row.phase not in _PHASES]
    data = [row for row in rows if row.phase == "bwd_data"]
    samples = [sample_of(row) for row in forward] + [backward_sample(row) for row in data]
    weight = [row for row in rows if row.phase == "bwd_weights"]
    return Predictors(fit_rows(forward), fit(samples, START, pull=PULL), fit_weights(weight))


def backward_sample(row: Row) -> Sample:
    """A row of backward data as the model sees it."""
    return Sample(backward_work(layer_of(row), gpu_of(row)), row.time_s)


def fit_weights(rows: Sequence[Row]) -> WeightConstants:
    """The call and the share of the peak whose errors are least, by a search from both ends.

    The loss is that of ``rnncost.suites.published_fit``: large errors count by their size.
    """

    def loss(logs: list[float]) -> float:
        constants = WeightConstants(math.exp(logs[0]), math.exp(logs[1]))
        errors = (
            math.log(backward_weight_s(macs_of(r), gpu_of(r), constants) / r.time_s) for r in rows
        )
        return math.fsum(math.sqrt(1 + (error / 0.1) ** 2) - 1 for error in errors)

    return WeightConstants(
        *map(math.exp, _descend(loss, [math.log(WEIGHTS.call_s), math.log(WEIGHTS.peak_share)]))
    )


def _descend(loss: Callable[[list[float]], float], start: list[float]) -> list[float]:
    """A minimum near ``start``, one coordinate after the other in ever smaller steps."""
    best, least, step = start, loss(start), 0.3
    while step > _SMALLEST_STEP:
        moved = False
        for at in range(len(start)):
            for way in (step, -step):
                tried = [value + way * (at == i) for i, value in enumerate(best)]
                if (found := loss(tried)) < least:
                    best, least, moved = tried, found, True
        step = step if moved else step / 2
    return best


def backward_cases() -> list[Case]:
    """The cases of both backward passes and of whole steps, each device left out in turn."""
    rows = [row for row in sheet_rows() if row.device in FIVE]
    fits = {d: fit_predictors(row for row in rows if row.device != d) for d in FIVE}
    cases: list[Case] = []
    for phase, group in zip(_PHASES, (BACKWARD_DATA, BACKWARD_WEIGHT), strict=True):
        own = [row for row in rows if row.phase == phase]
        errors = {
            device: [
                math.log(row.time_s / fits[device].seconds(row))
                for row in own
                if row.device == device
            ]
            for device in FIVE
        }
        for row in own:
            # An interval from the other devices' errors, each of them left out.
            bounds = bounds_of([e for d in FIVE if d != row.device for e in errors[d]])
            others = [other for other in own if other.device != row.device]
            predicted_s = fits[row.device].seconds(row)
            baselines = {ROOFLINE: bare_s(row), COPY: copied_s(row, others)}
            cases.append(_case(group, row, row.time_s, predicted_s, bounds, baselines))
    return [*cases, *_steps(rows, fits)]


def _steps(rows: Sequence[Row], fits: dict[str, Predictors]) -> list[Case]:
    """Forward, backward data and backward weight of one layer together."""
    by_layer: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.phase in ("fwd", *_PHASES) and not row.half:
            by_layer.setdefault((row.device, *row.case[1:]), []).append(row)
    whole = [parts for parts in by_layer.values() if len(parts) == 3]
    ratios: dict[str, list[float]] = {device: [] for device in FIVE}
    sums: list[tuple[Row, float, float, float]] = []
    for parts in whole:
        first = next(row for row in parts if row.phase == "fwd")
        measured_s = math.fsum(row.time_s for row in parts)
        predicted_s = math.fsum(fits[first.device].seconds(row) for row in parts)
        roof_s = math.fsum(bare_s(row) for row in parts)
        ratios[first.device].append(math.log(measured_s / predicted_s))
        sums.append((first, measured_s, predicted_s, roof_s))
    cases = []
    for row, measured_s, predicted_s, roof_s in sums:
        bounds = bounds_of([e for d in FIVE if d != row.device for e in ratios[d]])
        step = msgspec.structs.replace(row, phase="step")
        cases.append(_case(STEP, step, measured_s, predicted_s, bounds, {ROOFLINE: roof_s}))
    return cases


def _case(
    group: str,
    row: Row,
    measured_s: float,
    predicted_s: float,
    bounds: tuple[float, float],
    baselines: dict[str, float],
) -> Case:
    return Case(
        name=name_of(row),
        group=group,
        features=features_of(row),
        measured_s=measured_s,
        predicted_s=predicted_s,
        low_s=predicted_s * bounds[0],
        high_s=predicted_s * bounds[1],
        baselines=baselines,
    )
