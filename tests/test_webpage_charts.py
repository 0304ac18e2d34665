"""What the charts show: times end to end, operators under ceilings, both from the report."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import lstm, matmul, relu, report_of
from report_samples import spotter as sample
from webpage_samples import MODEL, PROFILES, profiles, spotter

import rnncost
from rnncost.report.model import Estimate, OpEstimate, OpRow, Report
from rnncost.webpage.plots import timeline_section
from rnncost.webpage.roofline import Roofline, roofline_of
from rnncost.webpage.roofline_chart import _label_offsets
from rnncost.webpage.timeline import Omitted, Row, Timeline, timeline_of


def op_time(op: OpRow, overhead_s: float, parallel_s: float, **more: float) -> OpEstimate:
    sequential_s = more.get("sequential_s", 0.0)
    return OpEstimate(
        name=op.name,
        latency_s=overhead_s + parallel_s + sequential_s,
        bound_by="compute",
        overhead_s=overhead_s,
        parallel_s=parallel_s,
        **more,
    )


def estimate_of(ops: list[OpEstimate], *, run_s: float = 0.0, **more: object) -> Estimate:
    known: dict[str, object] = {
        "profile": "p",
        "profile_version": "1",
        "runtime": "r",
        "threads": 1,
        "precision": "fp32",
    }
    parts = {
        part: math.fsum(getattr(op, part) for op in ops)
        for part in ("overhead_s", "parallel_s", "sequential_s")
    }
    parts["overhead_s"] += run_s
    return Estimate(latency_s=math.fsum(parts.values()), ops=ops, **parts, **(known | more))  # type: ignore[arg-type]


def drawn(report: Report, estimate: Estimate) -> Timeline:
    timeline = timeline_of(report, estimate)
    assert isinstance(timeline, Timeline)
    return timeline


def row(timeline: Timeline, name: str) -> Row:
    return next(row for row in timeline.rows if row.name == name)


def test_rows_follow_one_another_and_add_up() -> None:
    for estimate in spotter().estimates:
        timeline = drawn(spotter(), estimate)
        names = [row.name for row in timeline.rows]
        assert [name for name in names if row(timeline, name).steps] == ["lstm", "bilstm", "gru"]
        assert names[-1].endswith("run start")
        total_s = math.fsum(each.seconds for each in timeline.rows)
        assert total_s == pytest.approx(estimate.latency_s, rel=1e-9)
        assert timeline.steps == 100
        for op in estimate.ops:
            if op.name in names:
                assert row(timeline, op.name).seconds == pytest.approx(op.latency_s)


def test_directions_that_take_turns_are_two_parts() -> None:
    """On a CPU one direction runs after the other; a GPU may run both at once."""
    timeline = drawn(spotter(), spotter().estimates[0])
    both = row(timeline, "bilstm")
    parts = {part.kind: part.seconds for part in both.parts}
    assert (both.steps, both.turns) == (100, 2)
    assert parts["steps"] == parts["backward"] == pytest.approx(100 * (both.step_s or 0))
    one = row(timeline, "lstm")
    assert (one.steps, one.turns) == (100, 1)
    assert "backward" not in {part.kind for part in one.parts}

    layer = lstm("l", i=4, h=4, t=10, d=2)
    at_once = op_time(layer, 0, 0, sequential_s=10e-6, step_s=1e-6)
    assert row(drawn(report_of([layer]), estimate_of([at_once])), "l").turns == 1
    in_turn = op_time(layer, 0, 0, sequential_s=20e-6, step_s=1e-6)
    assert row(drawn(report_of([layer]), estimate_of([in_turn])), "l").turns == 2


@pytest.mark.parametrize("steps", [50, 200])
def test_the_projection_is_near_the_estimate_at_that_size(steps: int) -> None:
    report = rnncost.analyze(MODEL, profiles=PROFILES, dims={"frames": steps})
    for here, there in zip(spotter().estimates, report.estimates, strict=True):
        projected_s = drawn(spotter(), here).latency_at(steps)
        assert projected_s == pytest.approx(there.latency_s, rel=0.06)


@given(st.integers(1, 400), st.integers(1, 400))
def test_the_projection_grows_with_the_steps(one: int, other: int) -> None:
    timeline = drawn(spotter(), spotter().estimates[0])
    assert timeline.latency_at(100) == spotter().estimates[0].latency_s
    if one < other:
        assert timeline.latency_at(one) < timeline.latency_at(other)
    # The head works on the last step alone.
    (head,) = (op for op in spotter().estimates[0].ops if op.name == "head")
    fixed_s = spotter().estimates[0].overhead_s + head.parallel_s
    both = timeline.latency_at(one) + timeline.latency_at(other) - fixed_s
    assert timeline.latency_at(one + other) == pytest.approx(both)


def test_overhead_grows_only_where_a_loop_repeats_it() -> None:
    layer, once = lstm("l", i=4, h=4, t=10), relu("once", 8)
    often = msgspec.structs.replace(relu("often", 8), executions=10)
    loop = msgspec.structs.replace(relu("loop", 8), kind="control", sequential_steps=10)
    ops = [layer, once, often, loop]
    times = [op_time(op, 1.0, 0.0) for op in ops]
    timeline = drawn(report_of(ops), estimate_of(times, run_s=1.0))
    assert timeline.latency_at(10) == 5.0
    assert timeline.latency_at(30) == pytest.approx(3.0 + 3 * 2.0)


def test_a_layer_on_the_last_step_does_not_grow() -> None:
    """Its rows are those of the batch, where a layer on every step has T times as many."""
    layer = lstm("l", i=4, h=4, t=10, b=3)
    last, every = matmul("last", 3, 4, 30), matmul("every", 30, 4, 30)
    batched = msgspec.structs.replace(every, name="batched", extents={"batch": 3, "M": 10} | NK)
    shared = msgspec.structs.replace(last, name="shared", params=0)
    ops = [layer, last, every, batched, shared]
    times = [op_time(op, 0.0, 1.0) for op in ops]
    timeline = drawn(report_of(ops), estimate_of(times))
    assert timeline.latency_at(20) == pytest.approx(1.0 + 4 * 2.0)
    # At a single step nothing tells the two kinds apart.
    single = [lstm("l", i=4, h=4, t=1, b=3), last]
    timeline = drawn(report_of(single), estimate_of(times[:2]))
    assert timeline.latency_at(4) == pytest.approx(4 * 2.0)


NK = {"K": 4, "N": 30}


def test_a_cell_in_a_loop_has_the_steps_of_the_loop() -> None:
    cell = msgspec.structs.replace(
        lstm("cell", i=4, h=4, t=1), op_type="LSTMCell", executions=20, sequential_steps=20
    )
    time = op_time(cell, 1e-6, 0.0, sequential_s=20e-6, step_s=1e-6)
    report = report_of([cell])
    timeline = drawn(report, estimate_of([time]))
    assert timeline.steps == row(timeline, "cell").steps == 20
    assert timeline.latency_at(40) == pytest.approx(2 * timeline.latency_s)
    shown = timeline_section(msgspec.structs.replace(report, estimates=[estimate_of([time])]))[0]
    assert "T = 20</output>" in shown


def test_small_operators_share_a_row() -> None:
    ops = [relu(f"o{i}", 1) for i in range(40)] + [lstm("l", i=4, h=4, t=10)]
    times = [op_time(op, 0, 1e-6) for op in ops[:40]]
    times.append(op_time(ops[-1], 0, 1e-6, sequential_s=1e-3, step_s=1e-4))
    timeline = drawn(report_of(ops), estimate_of(times, run_s=1e-7))
    assert [row.name for row in timeline.rows] == ["40 other ops, run start", "l"]
    few = drawn(report_of(ops[39:]), estimate_of(times[39:], run_s=1e-7))
    assert [row.name for row in few.rows] == ["l", "1 other op, run start"]


def test_recurrent_layers_keep_their_rows_beside_costlier_operators() -> None:
    ops = [relu(f"o{i}", 1) for i in range(30)] + [lstm("l", i=4, h=4, t=10)]
    times = [op_time(op, 0, 1e-3) for op in ops[:30]]
    times.append(op_time(ops[-1], 0, 0, sequential_s=1e-6, step_s=1e-7))
    timeline = drawn(report_of(ops), estimate_of(times))
    assert row(timeline, "l").steps == 10
    assert len(timeline.rows) <= 25


def test_what_the_operators_do_not_explain_has_its_own_rows() -> None:
    timeline = drawn(sample(), sample().estimates[0])
    seconds = {row.name: row.seconds for row in timeline.rows}
    assert seconds == pytest.approx(
        {"start of the run": 3e-5, "other work": 5e-4, "other steps": 1.4e-3}
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"latency_s": 0.0}, "no time"),
        ({"latency_s": 1.0}, "do not add up"),
        ({"overhead_s": 0.0}, "exceed"),
    ],
)
def test_a_report_that_contradicts_itself_has_no_timeline(
    change: dict[str, float], reason: str
) -> None:
    estimate = msgspec.structs.replace(spotter().estimates[0], **change)
    timeline = timeline_of(spotter(), estimate)
    assert isinstance(timeline, Omitted)
    assert reason in timeline.reason


def test_there_is_no_slider_where_nothing_can_be_projected() -> None:
    def slider(report: Report) -> bool:
        return 'type="range"' in timeline_section(report)[0]

    assert slider(spotter())
    squared = msgspec.structs.replace(spotter(), symbolic={"macs": "12*seq^2"})
    assert not slider(squared)
    assert "grow with the square of a size" in timeline_section(squared)[0]
    attending = msgspec.structs.replace(relu("a", 8), op_type="com.microsoft::Attention")
    beside = msgspec.structs.replace(spotter(), ops=[*spotter().ops, attending], symbolic=None)
    assert not slider(beside)
    linear = msgspec.structs.replace(attending, op_type="LinearAttention")
    assert slider(msgspec.structs.replace(beside, ops=[*spotter().ops, linear]))
    still = relu("r", 8)
    assert not slider(report_of([still], estimates=[estimate_of([op_time(still, 1e-6, 1e-6)])]))
    endless = lstm("l", i=1, h=1, t=2**60)
    time = op_time(endless, 0, 0, sequential_s=1.0, step_s=1e-9)
    text = timeline_section(report_of([endless], estimates=[estimate_of([time])]))[0]
    assert 'type="range"' not in text
    assert "it is above 1,000,000 steps" in text


def test_only_so_many_profiles_have_charts() -> None:
    estimates = [spotter().estimates[0]] * 10
    text, charts = timeline_section(msgspec.structs.replace(spotter(), estimates=estimates))
    assert len(charts) == 8
    assert "There are no charts for 2 more profiles." in text


def placed(report: Report, estimate: Estimate) -> Roofline:
    roofline = roofline_of(report, estimate, profiles())
    assert isinstance(roofline, Roofline)
    return roofline


def test_points_are_what_the_report_says() -> None:
    estimate = spotter().estimates[1]
    roofline = placed(spotter(), estimate)
    rows = {op.name: op for op in spotter().ops}
    times = {op.name: op for op in estimate.ops}
    assert {point.name for point in roofline.points} == {"bilstm", "gru", "lstm", "head"}
    latencies = [point.latency_s for point in roofline.points]
    assert latencies == sorted(latencies, reverse=True)
    for point in roofline.points:
        op, time = rows[point.name], times[point.name]
        size_bytes = sum(time.level_bytes.values())
        assert point.macs_per_byte * size_bytes == pytest.approx(op.macs)
        assert point.macs_per_s * time.latency_s == pytest.approx(op.macs)
    (peak,) = roofline.peaks
    profile = profiles()[1]
    assert (peak.precision, peak.macs_per_s) == ("fp32", profile.peak_macs_per_s.fp32.value)
    assert {level.name for level in roofline.levels} == {
        name for name, size in estimate.level_bytes.items() if size
    }
    assert roofline.left_out == sum(1 for op in estimate.ops if op.latency_s) - 4


def test_an_operators_ceiling_is_the_slower_of_peak_and_memory() -> None:
    profile = profiles()[0]
    peak = profile.peak_macs_per_s.fp32.value
    levels = {level.name: level.bandwidth_bytes_per_s.value for level in profile.memory}
    near, far = profile.memory[0].name, profile.memory[-1].name
    busy, idle = lstm("busy", i=4, h=4), lstm("idle", i=4, h=4)
    times = [
        op_time(busy, 0.0, 8 * busy.macs / peak),
        op_time(idle, 0.0, 1.0),
    ]
    times[0] = msgspec.structs.replace(times[0], level_bytes={near: 1})
    times[1] = msgspec.structs.replace(
        times[1], level_bytes={near: int(levels[near] / 4), far: int(levels[far] / 4)}
    )
    level_bytes = {near: 1 + int(levels[near] / 4), far: int(levels[far] / 4)}
    estimate = estimate_of(
        times, profile=profile.name, profile_version=profile.version, level_bytes=level_bytes
    )
    points = {point.name: point for point in placed(report_of([busy, idle]), estimate).points}
    assert points["busy"].share == pytest.approx(1 / 8)
    assert points["busy"].bound == "fp32 peak"
    assert points["idle"].share == pytest.approx(1 / 2)
    assert points["idle"].bound in (near, far)


def test_threads_raise_the_peak() -> None:
    one = placed(spotter(), spotter().estimates[1]).peaks[0]
    report = rnncost.analyze(MODEL, profiles=PROFILES, threads=2)
    two = placed(report, report.estimates[1]).peaks[0]
    assert report.estimates[1].threads == 2
    assert two.macs_per_s == pytest.approx(2 * one.macs_per_s)


def test_a_precision_that_was_asked_for_sets_the_peak() -> None:
    report = rnncost.analyze(MODEL, profiles=PROFILES, precision="int8")
    (peak,) = placed(report, report.estimates[0]).peaks
    known = profiles()[0].peak_macs_per_s.int8
    assert known is not None
    assert (peak.precision, peak.macs_per_s) == ("int8", known.value)
    (own,) = placed(spotter(), spotter().estimates[0]).peaks
    assert own.precision == "fp32"
    assert profiles()[1].peak_macs_per_s.int8 is None
    (fallback,) = placed(report, report.estimates[1]).peaks
    assert fallback == placed(spotter(), spotter().estimates[1]).peaks[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"profile": "unknown"}, "no profile named unknown is at hand"),
        ({"profile_version": "0"}, "version 0"),
        ({"ops": []}, "no operator has"),
    ],
)
def test_a_roofline_without_ceilings_is_left_out(change: dict[str, object], reason: str) -> None:
    estimate = msgspec.structs.replace(spotter().estimates[0], **change)
    roofline = roofline_of(spotter(), estimate, profiles())
    assert isinstance(roofline, Omitted)
    assert reason in roofline.reason


@settings(max_examples=30)
@given(st.data())
def test_numbers_stay_near_their_marks_and_apart(data: st.DataObject) -> None:
    """Two points on one place still have numbers on two sides."""
    point = placed(spotter(), spotter().estimates[0]).points[0]
    factors = data.draw(st.lists(st.floats(0.5, 2), min_size=1, max_size=6))
    points = [
        msgspec.structs.replace(point, macs_per_s=point.macs_per_s * factor) for factor in factors
    ]
    offsets = _label_offsets(points, (2.0, 3.0))
    assert len(offsets) == len(points)
    assert all(math.hypot(*offset) < 18 for offset in offsets)
    first_two = _label_offsets([point, point], (2.0, 3.0))
    assert first_two[0] != first_two[1]
