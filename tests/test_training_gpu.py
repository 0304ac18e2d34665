"""The time of a training step on GPUs: by hand, and against published times."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import rnncost
from rnncost.latency.cudnn_backward import (
    CUDNN_6_BACKWARD,
    STEP_INTERVAL,
    WEIGHTS,
    WeightConstants,
    backward_constants,
    backward_data_s,
    backward_weight_s,
    backward_work,
    input_gradient_s,
)
from rnncost.latency.cudnn_constants import CUDNN_6, CUDNN_8
from rnncost.latency.cudnn_kernels import Constants, Gpu, Layer
from rnncost.report.model import Training, TrainingEstimate
from rnncost.suites.model import Case
from rnncost.suites.published import COPY, FIVE, ROOFLINE, sheet_rows
from rnncost.suites.published_backward import (
    BACKWARD_DATA,
    BACKWARD_WEIGHT,
    STEP,
    backward_cases,
    backward_rows,
    fit_predictors,
)

SPOTTER = str(Path(__file__).parent.parent / "examples" / "keyword_spotter.onnx")
GPU = Gpu(macs_per_s=4e12, cores=32, weight_levels=((1e6, 4e11), (math.inf, 2e11)))
ROUND = Constants(
    source="a test",
    call_s=1e-4,
    startup_s=0.0,
    floor_s=1e-5,
    bandwidth_share=1.0,
    depth_s=(1e-8, 1e-8, 1e-8, 1e-8),
    tile_share=(1.0, 1.0, 1.0, 1.0),
    peak_share=1.0,
)


def layer(**changes: float) -> Layer:
    values = {"gates": 4, "hidden": 256, "output": 256, "batch": 32, "steps": 10, "directions": 1}
    return Layer(**{**values, "element_bytes": 4.0, **changes})


# By hand


def test_a_backward_step_is_as_deep_as_its_gates() -> None:
    work = backward_work(layer(), GPU)
    (product,) = work.products
    assert (product.depth, work.steps) == (4 * 256, 10)
    assert product.memory_s == pytest.approx(4 * 4 * 256 * 256 / 2e11)
    # Two columns of tiles at the pace of one multiprocessor bound it, not depth or bandwidth.
    tiles_s = 128 * 32 * 1024 / (4e12 / 32)
    assert product.tiles_s == pytest.approx(tiles_s)
    each = (backward_data_s(layer(), GPU, ROUND) - 1e-4) / 10 - 1e-5
    assert each == pytest.approx((tiles_s**4 + 1024e-8**4 + product.memory_s**4) ** 0.25)


def test_a_projection_is_a_product_of_its_own() -> None:
    first, second = backward_work(layer(output=64), GPU).products
    assert (first.depth, second.depth) == (4 * 256, 64)


def test_two_directions_cost_more_and_less_than_twice() -> None:
    one, two = (backward_data_s(layer(directions=d), GPU, ROUND) for d in (1, 2))
    assert one < two < 2 * one


def test_backward_weight_runs_near_the_peak() -> None:
    constants = WeightConstants(call_s=1e-4, peak_share=0.5)
    assert backward_weight_s(2e9, GPU, constants) == pytest.approx(1e-4 + 2e9 / 2e12)


def test_the_gradient_of_the_input_is_one_product() -> None:
    found = input_gradient_s(layer(), 128, GPU, ROUND)
    assert found >= 10 * 32 * 128 * 1024 / 4e12


def test_which_constants_apply() -> None:
    assert backward_constants(CUDNN_6) == (CUDNN_6_BACKWARD, True)
    assert backward_constants(CUDNN_8) == (CUDNN_8, False)


# Estimates


def training(profile: str, **options: object) -> tuple[Training, TrainingEstimate]:
    report = rnncost.analyze(SPOTTER, profiles=profile, training=True, **options)  # type: ignore[arg-type]
    assert report.training is not None
    (estimate,) = report.training.estimates
    return report.training, estimate


def parts_of(estimate: TrainingEstimate) -> float:
    return math.fsum(
        (
            estimate.forward_s,
            estimate.backward_data_s,
            estimate.backward_weight_s,
            estimate.recompute_s,
            estimate.optimizer_s,
        )
    )


@pytest.mark.parametrize("profile", ["h100-sxm", "m40", "titan-xp"])
def test_a_step_is_the_sum_of_its_parts(profile: str) -> None:
    found, estimate = training(profile)
    assert estimate.step_s == pytest.approx(parts_of(estimate))
    assert estimate.recompute_s == 0
    assert min(estimate.forward_s, estimate.backward_data_s, estimate.backward_weight_s) > 0
    _, without = training(profile, optimizer="none")
    assert without.optimizer_s == 0
    assert without.step_s == pytest.approx(estimate.step_s - estimate.optimizer_s)
    assert not any("not estimated" in note for note in found.notes)


def test_only_fitted_libraries_have_an_interval() -> None:
    _, old = training("m40")
    assert old.step_low_s == pytest.approx(STEP_INTERVAL[0] * old.step_s)
    assert old.step_high_s == pytest.approx(STEP_INTERVAL[1] * old.step_s)
    assert any("16 %" in note for note in old.notes)
    _, new = training("h100-sxm")
    assert new.step_low_s is None
    assert any("not validated" in note for note in new.notes)


@pytest.mark.parametrize("name", ["x86-64-server-core", "raspberry-pi-5", "cortex-m7"])
def test_other_runtimes_have_no_time(name: str) -> None:
    report = rnncost.analyze(SPOTTER, profiles=name, training=True)
    assert report.training is not None
    assert report.training.estimates == []
    assert any("not estimated" in note and name in note for note in report.training.notes)


@pytest.mark.torch
def test_windows_start_more_calls_and_checkpoints_run_twice() -> None:
    torch = pytest.importorskip("torch")
    module, x = torch.nn.LSTM(32, 64), torch.zeros(100, 4, 32)

    def estimate(**options: object) -> TrainingEstimate:
        report = rnncost.analyze(module, (x,), profiles="m40", training=True, **options)
        assert report.training is not None
        return report.training.estimates[0]

    whole, cut, again = estimate(), estimate(bptt=10), estimate(checkpoint=10)
    assert cut.forward_s > whole.forward_s
    assert cut.backward_data_s > whole.backward_data_s
    assert cut.optimizer_s == pytest.approx(10 * whole.optimizer_s)
    assert again.recompute_s == pytest.approx(again.forward_s) == pytest.approx(cut.forward_s)
    assert whole.recompute_s == cut.recompute_s == 0


# Published times


@pytest.fixture(scope="module")
def cases() -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in backward_cases():
        found.setdefault(case.group, []).append(case)
    return found


def errors(cases: list[Case]) -> np.ndarray:
    return np.array([abs(case.predicted_s / case.measured_s - 1) for case in cases])


def against(cases: list[Case], baseline: str) -> np.ndarray:
    return np.array([abs(case.baselines[baseline] / case.measured_s - 1) for case in cases])


def test_the_rows_are_those_of_the_sheets() -> None:
    rows = backward_rows()
    counts = {(d, p): 0 for d in FIVE for p in ("bwd_data", "bwd_weights")}
    for row in rows:
        counts[row.device, row.phase] += 1
    assert set(counts.values()) == {53}
    first = rows[0]
    assert (first.device, first.cell, first.hidden_size, first.batch, first.steps) == (
        "TITAN X (Pascal)",
        "vanilla",
        1760,
        16,
        50,
    )
    assert first.time_s == pytest.approx(3.546e-3)


def test_the_shipped_constants_are_those_of_the_fits() -> None:
    fitted = fit_predictors(row for row in sheet_rows() if row.device in FIVE)
    own, found = CUDNN_6_BACKWARD, fitted.data
    for name in ("call_s", "startup_s", "floor_s", "bandwidth_share", "depth_s", "tile_share"):
        assert getattr(own, name) == pytest.approx(getattr(found, name), rel=0.01), name
    assert fitted.weight.call_s == pytest.approx(WEIGHTS.call_s, rel=0.02)
    assert fitted.weight.peak_share == pytest.approx(WEIGHTS.peak_share, rel=0.02)


def test_a_left_out_card_is_predicted_as_documented(cases: dict[str, list[Case]]) -> None:
    for group, most, tail in ((BACKWARD_DATA, 0.17, 1.1), (BACKWARD_WEIGHT, 0.17, 0.4)):
        found = errors(cases[group])
        assert len(found) == 265
        assert np.median(found) <= most
        assert np.quantile(found, 0.9) <= tail
        assert np.median(found) < np.median(against(cases[group], ROOFLINE))
        # Copying the nearest card, which is a twin for four of the five, is the better guess.
        assert np.median(found) > np.median(against(cases[group], COPY))


def test_whole_steps_are_predicted_as_documented(cases: dict[str, list[Case]]) -> None:
    steps = cases[STEP]
    assert len(steps) == 265
    assert np.median(errors(steps)) <= 0.135
    assert np.median(errors(steps)) < 0.25 * np.median(against(steps, ROOFLINE))
    ratios = [case.measured_s / case.predicted_s for case in steps]
    assert np.quantile(ratios, (0.05, 0.95)) == pytest.approx(STEP_INTERVAL, abs=0.02)
    inside = [c.low_s <= c.measured_s <= c.high_s for c in steps if c.low_s and c.high_s]
    assert 0.8 <= np.mean(inside) <= 0.95


def test_times_of_a_left_out_card_change_no_prediction() -> None:
    import msgspec

    rows = [row for row in sheet_rows() if row.device in FIVE]
    device = "Tesla P100"
    fits = [
        fit_predictors(row for row in changed if row.device != device)
        for changed in (
            rows,
            [
                msgspec.structs.replace(row, time_s=7 * row.time_s) if row.device == device else row
                for row in rows
            ],
        )
    ]
    assert fits[0] == fits[1]
