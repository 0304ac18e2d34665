"""The suite of published GPU times: its data, that nothing leaks, and how accurate it is."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from rnncost.latency.cudnn_constants import CUDNN_6, CUDNN_8
from rnncost.latency.cudnn_kernels import Constants, standard_s
from rnncost.suites import published
from rnncost.suites.model import Case, SuiteResult
from rnncost.suites.published import (
    COPY,
    DEVICES,
    FIVE,
    LEFT_OUT,
    NO_TWIN,
    ROOFLINE,
    START,
    THREE_SHAPES,
    UNSEEN,
    Row,
    fit_recent,
    fit_rows,
    predict,
    published_rows,
    published_suite,
    sample_of,
)
from rnncost.suites.published_fit import Sample, fit


@pytest.fixture(scope="module")
def suite() -> SuiteResult:
    return published_suite()


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return published_rows()


def of_group(suite: SuiteResult, group: str) -> list[Case]:
    return [case for case in suite.cases if case.group == group]


def errors(cases: list[Case]) -> np.ndarray:
    return np.array([abs(case.predicted_s / case.measured_s - 1) for case in cases])


def baseline_errors(cases: list[Case], name: str) -> np.ndarray:
    return np.array([abs(case.baselines[name] / case.measured_s - 1) for case in cases])


def rank_correlation(cases: list[Case]) -> float:
    def ranks(values: list[float]) -> np.ndarray:
        return np.argsort(np.argsort(values))

    measured = ranks([case.measured_s for case in cases])
    return float(np.corrcoef(measured, ranks([case.predicted_s for case in cases]))[0, 1])


def coverage(cases: list[Case]) -> float:
    inside = [
        case.low_s <= case.measured_s <= case.high_s
        for case in cases
        if case.low_s is not None and case.high_s is not None
    ]
    return sum(inside) / len(cases)


# The data


def test_the_rows_are_those_of_the_result_sheets(rows: list[Row]) -> None:
    counts = {device: sum(row.device == device for row in rows) for device in DEVICES}
    assert counts == {
        "Tesla M40": 53,
        "GTX TITAN X (Maxwell)": 53,
        "TITAN X (Pascal)": 122,
        "TITAN Xp": 122,
        "Tesla P100": 106,
        "GTX 1080 Ti": 122,
        "Tesla V100": 106,
    }
    # Two cells of the sheets, in milliseconds there.
    first = next(r for r in rows if r.device == "TITAN X (Pascal)" and r.cell == "vanilla")
    assert (first.hidden_size, first.batch, first.steps) == (1760, 16, 50)
    assert first.time_s == pytest.approx(4.516e-3)
    v100 = next(r for r in rows if r.device == "Tesla V100" and r.cell == "lstm")
    assert (v100.hidden_size, v100.batch, v100.steps) == (512, 16, 25)
    assert v100.time_s == pytest.approx(1.095e-3)


def test_the_roofline_by_hand(suite: SuiteResult) -> None:
    name = "Tesla M40 fp32 lstm H=1024 B=64 T=25 fwd"
    case = next(c for c in of_group(suite, LEFT_OUT) if c.name == name)
    flops_s = 2 * 4 * 1024**2 * 64 / 6.832e12
    bytes_s = 4 * 4 * 1024**2 / 288.4e9
    assert case.baselines[ROOFLINE] == pytest.approx(25 * max(flops_s, bytes_s))


def test_copying_takes_the_nearest_card(suite: SuiteResult, rows: list[Row]) -> None:
    name = "Tesla M40 fp32 lstm H=1024 B=64 T=25 fwd"
    times = {
        row.device: row.time_s
        for row in rows
        if (row.cell, row.hidden_size, row.batch, row.steps) == ("lstm", 1024, 64, 25)
        and row.precision == "fp32"
    }
    twin = next(c for c in of_group(suite, LEFT_OUT) if c.name == name)
    assert twin.baselines[COPY] == times["GTX TITAN X (Maxwell)"]
    without = next(c for c in of_group(suite, NO_TWIN) if c.name == name)
    assert without.baselines[COPY] == times["TITAN X (Pascal)"]


# Nothing leaks from the device that is left out


def test_times_of_the_left_out_device_change_no_prediction(rows: list[Row]) -> None:
    five = [row for row in rows if row.device in FIVE]
    device = "Tesla P100"
    other = [
        msgspec.structs.replace(row, time_s=row.time_s * 7) if row.device == device else row
        for row in five
    ]
    before = published._device_cases(device, five)
    after = published._device_cases(device, other)
    compared = 0
    for old, new in zip(before, after, strict=True):
        if old.group == THREE_SHAPES:
            continue
        compared += 1
        assert new.measured_s == pytest.approx(7 * old.measured_s)
        assert (new.predicted_s, new.low_s, new.high_s) == (
            old.predicted_s,
            old.low_s,
            old.high_s,
        )
        assert new.baselines == old.baselines
    assert compared == 106


def test_shapes_that_calibrate_are_not_scored(suite: SuiteResult) -> None:
    for device in FIVE:
        mine = [c for c in suite.cases if c.features["device"] == device]
        plain = {c.name for c in mine if c.group == LEFT_OUT}
        tuned = {c.name for c in mine if c.group == THREE_SHAPES}
        precisions = len({c.features["precision"] for c in mine})
        assert tuned < plain
        assert len(plain) - len(tuned) == 3 * precisions


# The fit


def test_a_fit_finds_the_constants_that_made_the_times(rows: list[Row]) -> None:
    truth = msgspec.structs.replace(CUDNN_6, floor_s=2e-5, bandwidth_share=0.6)
    five = [row for row in rows if row.device in FIVE]
    made = [Sample(s.work, standard_s(s.work, truth)) for s in map(sample_of, five)]
    found = fit(made, START, pull=1e-3)
    assert found.floor_s == pytest.approx(truth.floor_s, rel=0.02)
    assert found.bandwidth_share == pytest.approx(truth.bandwidth_share, rel=0.02)
    assert found.depth_s[1:3] == pytest.approx(truth.depth_s[1:3], rel=0.02)
    assert found.tile_share == pytest.approx(truth.tile_share, rel=0.05)


def test_a_fit_withstands_wrong_times(rows: list[Row]) -> None:
    five = [sample_of(row) for row in rows if row.device in FIVE]
    made = [
        Sample(s.work, standard_s(s.work, CUDNN_6) * (3 if i % 10 == 0 else 1))
        for i, s in enumerate(five)
    ]
    found = fit(made, START, pull=1e-3)
    assert found.bandwidth_share == pytest.approx(CUDNN_6.bandwidth_share, rel=0.05)


def test_without_samples_the_start_stays() -> None:
    assert fit([], START, pull=0.1).floor_s == pytest.approx(START.floor_s)


def test_the_shipped_constants_are_those_of_the_fits(rows: list[Row]) -> None:
    def numbers(constants: Constants) -> list[float]:
        c = constants
        single = [c.call_s, c.startup_s, c.floor_s, c.bandwidth_share]
        return [*single, *c.depth_s, *c.tile_share]

    old = fit_rows(row for row in rows if row.device in FIVE)
    assert numbers(CUDNN_6) == pytest.approx(numbers(old), rel=0.01)
    recent = fit_recent(row for row in rows if row.device == "Tesla V100")
    assert numbers(CUDNN_8) == pytest.approx(numbers(recent), rel=0.01)


# The accuracy


def test_a_left_out_device_is_predicted_from_its_data_sheet(suite: SuiteResult) -> None:
    cases = of_group(suite, LEFT_OUT)
    assert len(cases) == 456
    assert np.median(errors(cases)) <= 0.12
    assert rank_correlation(cases) >= 0.97
    assert 0.85 <= coverage(cases) <= 0.95
    assert np.median(errors(cases)) < 0.3 * np.median(baseline_errors(cases, ROOFLINE))


def test_three_shapes_of_its_own_help(suite: SuiteResult) -> None:
    cases = of_group(suite, THREE_SHAPES)
    assert np.median(errors(cases)) <= 0.08
    assert rank_correlation(cases) >= 0.97
    assert 0.85 <= coverage(cases) <= 0.95


def test_without_its_twin_a_device_is_predicted_better_than_copied(suite: SuiteResult) -> None:
    cases = of_group(suite, NO_TWIN)
    assert np.median(errors(cases)) <= 0.2
    assert np.median(errors(cases)) < np.median(baseline_errors(cases, COPY))
    assert rank_correlation(cases) >= 0.95


def test_a_card_that_was_never_fitted(suite: SuiteResult) -> None:
    cases = of_group(suite, UNSEEN)
    assert len(cases) == 122
    assert np.median(errors(cases)) <= 0.1
    assert rank_correlation(cases) >= 0.97


def test_cases_are_whole(suite: SuiteResult) -> None:
    assert suite.suite == "published"
    assert len({(case.group, case.name) for case in suite.cases}) == len(suite.cases)
    for case in suite.cases:
        assert case.low_s is not None
        assert case.high_s is not None
        assert 0 < case.low_s < case.high_s
        assert all(math.isfinite(value) for value in case.baselines.values())


def test_predictions_go_through_the_model(suite: SuiteResult, rows: list[Row]) -> None:
    constants = fit_rows(row for row in rows if row.device in FIVE)
    row = next(row for row in rows if row.device == "GTX 1080 Ti")
    case = of_group(suite, UNSEEN)[0]
    assert case.predicted_s == predict(row, constants)
