"""The microcontroller model: by hand on round numbers, and against published timings."""

from __future__ import annotations

import statistics

import msgspec
import pytest
from count_graphs import activation, weight
from hypothesis import given, settings
from hypothesis import strategies as st
from published_mcu import Case, layer, microcontroller, number, published, ratio

from rnncost.counting.cost import OpCost
from rnncost.counting.count import CountedOp, Counts, count
from rnncost.errors import ProfileError
from rnncost.graph.ir import Graph, Op
from rnncost.latency import estimate
from rnncost.latency.mcu import CORES, INTERVAL, OP_CYCLES, RUN_CYCLES, TESTED_CORES
from rnncost.profiles.schema import HardwareProfile
from rnncost.report.model import Estimate

CASES = published()
HELD_OUT = [case for case in CASES if case.use == "test"]
ROUND = {
    "mac_cycles": {"fp32": number(10), "int8": number(2)},
    "activation_cycles": {"fp32": number(100), "int8": number(50)},
    "lstm_activation_cycles": {"fp32": number(100), "int8": number(5)},
    "elementwise_cycles": {"fp32": number(20), "int8": number(10)},
    "run_cycles": number(1000),
    "op_cycles": number(500),
    "step_cycles": number(200),
}


def errors(cases: list[Case]) -> list[float]:
    return sorted(abs(1 / ratio(case) - 1) for case in cases)


def cycles(seconds: float | None) -> float:
    assert seconds is not None
    return seconds * 1e8


def test_an_lstm_in_float() -> None:
    # T = 10, I = 4, H = 8: input product 10·32·4 = 1280 MACs. A step: 32·8 = 256 MACs at 10
    # cycles, 5·8 activations at 100, 8·8 multiplications and additions at 20, and 200.
    result = estimate(count(layer("LSTM", 10, 4, 8)), microcontroller(ROUND))
    assert cycles(result.parallel_s) == pytest.approx(12_800)
    assert cycles(result.step_s) == pytest.approx(2560 + 4000 + 1280 + 200)
    assert cycles(result.sequential_s) == pytest.approx(10 * 8040)
    assert cycles(result.overhead_s) == pytest.approx(1500)
    assert result.bound_by == "compute"
    assert result.level_bytes["flash"] == 4 * (32 * 4 + 64) + 10 * 4 * 32 * 8


def test_an_lstm_in_int8_looks_its_activations_up() -> None:
    result = estimate(count(layer("LSTM", 10, 4, 8)), microcontroller(ROUND), precision="int8")
    assert cycles(result.step_s) == pytest.approx(512 + 40 * 5 + 64 * 10 + 200)
    assert result.level_bytes["flash"] == 32 * 4 + 64 + 10 * 32 * 8


@pytest.mark.parametrize(("cell", "operators", "gates"), [("GRU", 15, 3), ("RNN", 4, 1)])
def test_a_step_without_a_kernel_is_so_many_operators(
    cell: str, operators: int, gates: int
) -> None:
    result = estimate(count(layer(cell, 10, 4, 8)), microcontroller(ROUND), precision="int8")
    elementwise = {"GRU": 3 * 8 + 5 * 8, "RNN": 8}[cell]
    assert cycles(result.step_s) == pytest.approx(
        operators * 500 + gates * 64 * 2 + gates * 8 * 50 + elementwise * 10
    )


def test_both_directions_run_in_turn() -> None:
    one, both = (
        estimate(count(layer("GRU", 10, 4, 8, direction=d)), microcontroller(ROUND))
        for d in ("forward", "bidirectional")
    )
    assert both.sequential_s == pytest.approx(2 * one.sequential_s)
    assert both.step_s == pytest.approx(one.step_s)


def test_slow_flash_bounds_a_product() -> None:
    # 1024 bytes of r at 1e6 bytes a second: 1.024 ms or 102 400 cycles a step instead of 2560.
    result = estimate(count(layer("LSTM", 10, 4, 8)), microcontroller(ROUND, flash=1e6))
    assert cycles(result.step_s) == pytest.approx(102_400 + 4000 + 1280 + 200)
    assert result.bound_by == "memory"


def row(op: Op, kind: str, executions: int = 1, streamed_bytes: int = 0) -> CountedOp:
    return CountedOp(
        name=op.name,
        op=op,
        cost=OpCost(kind=kind),
        counts=Counts(streamed_bytes=streamed_bytes),
        executions=executions,
        precision="fp32",
    )


def test_a_product_reads_its_weights_each_time_and_a_trip_is_an_operator() -> None:
    nothing = Graph(inputs=(), outputs=(), ops=())
    x = activation("x", 1, 16)
    dense = Op(name="dense", op_type="MatMul", inputs=(x, weight("w", 16, 16)), outputs=(x,))
    loop = Op(name="loop", op_type="Loop", inputs=(), outputs=(), trips=7, body=nothing)
    model = msgspec.structs.replace(
        count(nothing), ops=(row(dense, "product", 5, 5 * 1024), row(loop, "control"))
    )
    result = estimate(model, microcontroller(ROUND, flash=1e6))
    assert cycles(result.ops[0].parallel_s) == pytest.approx(5 * 102_400)
    assert result.ops[0].level_bytes["flash"] == 5 * 1024
    assert cycles(result.ops[1].latency_s) == pytest.approx(8 * 500)


def test_a_core_stands_in_for_what_the_block_lacks() -> None:
    model = count(layer("GRU", 10, 32, 64))
    fast, slow = (
        estimate(model, microcontroller({"core": core}), precision="int8")
        for core in ("cortex-m7", "cortex-m0+")
    )
    assert fast.latency_s < slow.latency_s / 5
    assert any("mac_cycles.int8" in note and "cortex-m7" in note for note in fast.notes)
    own = {"core": "cortex-m7", "mac_cycles": {"int8": number(100)}}
    given = estimate(model, microcontroller(own), precision="int8")
    macs = 10 * 3 * 64 * (32 + 64)
    added = macs * (100 - CORES["cortex-m7"].int8)
    assert cycles(given.latency_s) == pytest.approx(cycles(fast.latency_s) + added)
    assert not any("mac_cycles.int8" in note for note in given.notes)


def test_without_a_core_the_peak_is_used_and_said() -> None:
    model = count(layer("GRU", 10, 32, 64))
    result = estimate(model, microcontroller(None))
    # A peak of 1e7 MACs a second at 100 MHz: 10 cycles a MAC.
    with_macs = {"mac_cycles": {"fp32": number(10), "int8": number(10)}}
    assert result.latency_s == pytest.approx(estimate(model, microcontroller(with_macs)).latency_s)
    assert any("no core" in note and "peak" in note for note in result.notes)


def test_a_whole_block_needs_no_notes() -> None:
    result = estimate(count(layer("GRU", 10, 32, 64)), microcontroller(ROUND))
    assert [note for note in result.notes if "interval" not in note] == []
    odd = estimate(count(layer("GRU", 10, 32, 64)), microcontroller(ROUND), precision="fp16")
    assert any("fp16" in note and "fp32" in note for note in odd.notes)


def test_overheads_in_seconds_stand_before_the_core() -> None:
    data = msgspec.to_builtins(microcontroller({"core": "cortex-m4"}))
    data["overheads"] = {"op_s": number(1e-3)}
    profile = msgspec.convert(data, HardwareProfile)
    result = estimate(count(layer("LSTM", 10, 4, 8)), profile)
    assert cycles(result.overhead_s) == pytest.approx(RUN_CYCLES + 1e5)


def test_a_profile_without_a_clock_is_refused() -> None:
    with pytest.raises(ProfileError, match=r"processor\.clock_hz"):
        estimate(count(layer("GRU", 1, 1, 1)), microcontroller(ROUND, clock_hz=None))


@settings(deadline=None, max_examples=40)
@given(
    cell=st.sampled_from(["RNN", "GRU", "LSTM"]),
    steps=st.integers(1, 50),
    inputs=st.integers(1, 64),
    hidden=st.integers(1, 64),
    precision=st.sampled_from(["fp32", "int8"]),
    core=st.sampled_from(sorted(CORES)),
    flash=st.sampled_from([1e5, 1e7, 1e9]),
)
def test_parts_add_up_and_longer_takes_longer(
    cell: str, steps: int, inputs: int, hidden: int, precision: str, core: str, flash: float
) -> None:
    profile = microcontroller({"core": core}, flash=flash)

    def run(steps: int) -> Estimate:
        return estimate(count(layer(cell, steps, inputs, hidden)), profile, precision=precision)

    one, more = run(steps), run(steps + 1)
    assert one.latency_s == pytest.approx(one.overhead_s + one.parallel_s + one.sequential_s)
    assert more.latency_s > one.latency_s
    assert one.step_s is not None
    assert one.sequential_s == pytest.approx(steps * one.step_s)


def test_the_cycles_of_a_mac_are_those_of_the_table() -> None:
    """The median of the cases marked as fitted, for every core and precision measured."""
    found: dict[tuple[str, str], list[float]] = {}
    for case in CASES:
        if case.use == "fit" and case.macs > 200_000 and not case.cell:
            cycles = case.latency_s * case.clock_hz / case.macs
            found.setdefault((case.core, case.precision), []).append(cycles)
    assert {core for core, _ in found} == set(CORES)
    for (core, precision), measured in found.items():
        assert getattr(CORES[core], precision) == pytest.approx(
            statistics.median(measured), rel=0.005
        )


def test_other_constants_follow_from_the_smallest_models() -> None:
    tiny = [c for c in CASES if c.use == "fit" and c.model.startswith("dense")]
    for operators in (1, 2, 3):
        measured = [
            c.latency_s * c.clock_hz - c.macs * getattr(CORES[c.core], c.precision)
            for c in tiny
            if c.operators == operators
        ]
        assert len(measured) == 2
        assert RUN_CYCLES + operators * OP_CYCLES == pytest.approx(
            statistics.mean(measured), rel=0.1
        )
    simple = [c for c in CASES if c.use == "fit" and c.cell]
    assert {c.precision for c in simple} == {"fp32", "int8"}
    assert [ratio(c) for c in simple] == pytest.approx([1.0, 1.0], abs=0.02)


def test_published_recurrent_models_are_met_within_a_factor() -> None:
    """Held out: 11 unrolled RNN, GRU and LSTM models on a Cortex-M4."""
    recurrent = [case for case in HELD_OUT if case.cell]
    assert len(recurrent) == 11
    found = errors(recurrent)
    assert statistics.median(found) < 0.15
    assert all(1 / 2.3 < ratio(case) < 1.1 for case in recurrent)
    large = [c for c in recurrent if c.hidden >= 64]
    assert all(1 / 1.5 < ratio(case) < 1.1 for case in large)


def test_published_dense_models_are_met_within_a_factor() -> None:
    dense = [c for c in HELD_OUT if c.model.startswith("dense") or c.model == "autoencoder"]
    assert len(dense) >= 25
    assert statistics.median(errors(dense)) < 0.2
    assert all(1 / 1.6 < ratio(case) < 1.6 for case in dense)


def test_the_interval_holds_nine_of_ten_held_out_cases() -> None:
    low, high = INTERVAL
    inside = [low <= ratio(case) <= high for case in HELD_OUT]
    assert len(inside) > 100
    assert 0.85 <= statistics.mean(inside) <= 0.95
    result = estimate(count(layer("GRU", 10, 32, 64)), microcontroller({"core": "cortex-m4"}))
    assert result.latency_low_s == pytest.approx(low * result.latency_s)
    assert result.latency_high_s == pytest.approx(high * result.latency_s)
    own = {"low": 0.9, "high": 1.1, "kind": "measured", "source": "a test"}
    data = {**msgspec.to_builtins(microcontroller(ROUND)), "interval": own}
    profile = msgspec.convert(data, HardwareProfile)
    narrow = estimate(count(layer("GRU", 10, 32, 64)), profile)
    assert narrow.latency_low_s == pytest.approx(0.9 * narrow.latency_s)


def test_a_core_without_held_out_cases_has_no_interval() -> None:
    assert set(TESTED_CORES) == {case.core for case in HELD_OUT}
    model = count(layer("GRU", 10, 32, 64))
    for block in ({"core": "xtensa-lx7"}, ROUND):
        result = estimate(model, microcontroller(block))
        assert (result.latency_low_s, result.latency_high_s) == (None, None)
        assert any("no interval" in note for note in result.notes)
