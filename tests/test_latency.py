"""The roofline estimate: by hand on round numbers, and its properties on random ones."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncost import HardwareProfile, list_profiles, load_profile
from rnncost.counting.cost import OpCost
from rnncost.counting.count import Counted, CountedOp, Counts
from rnncost.errors import BindingError
from rnncost.graph.ir import Graph, Op, Slab, Tensor, Uncounted
from rnncost.latency import estimate
from rnncost.latency.roofline import UNCALIBRATED
from rnncost.profiles.quantities import Quantity
from rnncost.profiles.schema import Overheads, Price, Processor
from rnncost.report.model import Estimate, Fits

EMPTY = Graph(inputs=(), outputs=(), ops=())

NUMBERS = {
    "peak": 1e9,
    "elementwise": 1e8,
    "near_bytes": 10_000.0,
    "near": 1e9,
    "far": 1e8,
    "run": 1e-5,
    "op": 1e-6,
    "step": 1e-7,
    "loop": 2e-6,
}


def device(**changes: float) -> HardwareProfile:
    """A profile of round numbers: one cache and one memory."""
    n = {**NUMBERS, **changes}

    def number(value: float) -> dict[str, object]:
        return {"value": value, "kind": "assumed", "source": "a test"}

    return msgspec.convert(
        {
            "schema_version": 1,
            "name": "test",
            "title": "A device of round numbers",
            "kind": "cpu",
            "runtime": "roofline",
            "version": "3",
            "threads": 4,
            "peak_macs_per_s": {"fp32": number(n["peak"]), "int8": number(2 * n["peak"])},
            "elementwise_per_s": number(n["elementwise"]),
            "memory": [
                {
                    "name": "cache",
                    "per_core": True,
                    "size_bytes": number(n["near_bytes"]),
                    "bandwidth_bytes_per_s": number(n["near"]),
                },
                {"name": "memory", "bandwidth_bytes_per_s": number(n["far"])},
            ],
            "overheads": {f"{k}_s": number(n[k]) for k in ("run", "op", "step", "loop")},
        },
        HardwareProfile,
    )


def weight(name: str, *shape: int, dtype: str = "float32") -> Tensor:
    return Tensor(name, dtype, shape, (Slab(name, dtype, tuple((0, n, 1) for n in shape)),))


def activation(name: str, *shape: int) -> Tensor:
    return Tensor(name, "float32", shape)


def row(op: Op, cost: OpCost, *, traffic: int, executions: int = 1, **counts: int) -> CountedOp:
    """A row as the count makes it; ``traffic`` is streamed bytes without weights."""
    sizes = {i: 4 * math.prod(t.shape or ()) for i, t in enumerate(op.inputs) if t and t.stored}
    weights = sum(size * cost.weight_reads.get(i, 1) for i, size in sizes.items())
    return CountedOp(
        name=op.name,
        op=op,
        cost=cost,
        executions=executions,
        precision="fp32",
        counts=Counts(
            weight_bytes=sum(sizes.values()),
            streamed_bytes=executions * weights + traffic,
            **counts,
        ),
    )


def lstm(steps: int, hidden: int, inputs: int, *, batch: int = 1, directions: int = 1) -> CountedOp:
    """An LSTM layer without biases. x [T, B, I], w [D, 4H, I], r [D, 4H, H]."""
    rows = steps * batch * directions
    op = Op(
        name="lstm",
        op_type="LSTM",
        inputs=(
            activation("x", steps, batch, inputs),
            weight("w", directions, 4 * hidden, inputs),
            weight("r", directions, 4 * hidden, hidden),
        ),
        outputs=(activation("y", steps, directions, batch, hidden),),
    )
    macs = rows * 4 * hidden * (inputs + hidden)
    cost = OpCost(kind="recurrent", weight_reads={2: steps})
    return row(
        op,
        cost,
        traffic=4 * batch * steps * (inputs + directions * hidden),
        macs=macs,
        dense_macs=macs,
        sequential_macs=rows * 4 * hidden * hidden,
        multiplies=rows * 3 * hidden,
        adds=rows * 5 * hidden,
        activations=rows * 5 * hidden,
        sequential_steps=steps,
        executed_steps=directions * steps,
    )


def dense(inputs: int, outputs: int, *, rows: int = 1, executions: int = 1) -> CountedOp:
    """A matrix product. x [rows, I], w [I, O]."""
    op = Op(
        name="dense",
        op_type="MatMul",
        inputs=(activation("x", rows, inputs), weight("w", inputs, outputs)),
        outputs=(activation("y", rows, outputs),),
    )
    macs = executions * rows * inputs * outputs
    return row(
        op,
        OpCost(kind="product"),
        traffic=4 * executions * rows * (inputs + outputs),
        executions=executions,
        macs=macs,
        dense_macs=macs,
    )


def graph(*rows: CountedOp, uncounted: int = 0, peak_bytes: int = 0) -> Counted:
    total = Counts(
        macs=sum(r.counts.macs for r in rows),
        dense_macs=sum(r.counts.dense_macs for r in rows),
        peak_activation_bytes=peak_bytes,
    )
    return Counted(
        ops=rows,
        totals=total,
        wavefront_steps=0,
        streamable=True,
        uncounted=tuple(Uncounted(f"u{i}", "Odd", "no rule") for i in range(uncounted)),
        coverage=1.0,
    )


def test_a_product_that_memory_bounds() -> None:
    # 100 x 100 weights: 10 000 MACs in 10 µs, 40 000 bytes from memory in 400 µs, and
    # 800 bytes of activations through the cache in 0.8 µs.
    result = estimate(graph(dense(100, 100)), device())
    (op,) = result.ops
    assert op.parallel_s == pytest.approx(400.8e-6)
    assert op.overhead_s == pytest.approx(1e-6)
    assert result.overhead_s == pytest.approx(11e-6)
    assert (op.bound_by, op.step_s, op.dram_bytes) == ("memory", None, 40_000)
    assert (result.bound_by, result.step_s, result.sequential_s) == ("memory", None, 0.0)


def test_a_product_that_compute_bounds() -> None:
    # 1000 rows through 20 x 20 weights: 400 000 MACs in 400 µs. 1600 bytes of weights take
    # 16 µs; 160 000 bytes of activations do not fit the cache and would take 1600 µs there.
    slow_memory = estimate(graph(dense(20, 20, rows=1000)), device())
    assert slow_memory.ops[0].bound_by == "memory"
    assert slow_memory.parallel_s == pytest.approx(1616e-6)
    result = estimate(graph(dense(20, 20, rows=1000)), device(far=1e9))
    assert result.parallel_s == pytest.approx(400e-6)
    assert result.bound_by == "compute"


def test_an_lstm_whose_matrix_stays_in_the_cache() -> None:
    # H = 10, I = 20, T = 50. Input product: 50·40·20 = 40 000 MACs in 40 µs; memory: w 3200
    # bytes in 32 µs and activations 6000 bytes in 6 µs, 38 µs, less than the compute. A step:
    # 400 MACs in 0.4 µs, r from the cache in 1.6 µs, and 130 elementwise operations in
    # 1.3 µs. The first step waits for r from memory, 16 µs instead of 1.6: 14.4 µs more.
    result = estimate(graph(lstm(50, 10, 20)), device())
    assert result.parallel_s == pytest.approx(54.4e-6)
    assert result.step_s == pytest.approx(2.9e-6)
    assert result.sequential_s == pytest.approx(50 * 2.9e-6)
    assert result.overhead_s == pytest.approx(11e-6)
    assert result.dram_bytes == 3200 + 1600
    # 40 µs and 50 steps of 1.3 µs compute, 14.4 µs and 50 steps of 1.6 µs wait for memory.
    assert result.ops[0].bound_by == "compute"


def test_an_lstm_whose_matrix_must_come_from_memory_at_each_step() -> None:
    # r 1600 bytes exceed the cache of 1000: 16 µs a step, w 3200 bytes in 32 µs, 6000 bytes
    # of activations in 60 µs.
    result = estimate(graph(lstm(50, 10, 20)), device(near_bytes=1000.0))
    assert result.step_s == pytest.approx(17.3e-6)
    assert result.parallel_s == pytest.approx(92e-6)
    assert result.dram_bytes == 3200 + 50 * 1600 + 6000


def test_the_directions_of_a_layer_run_in_turn() -> None:
    one = estimate(graph(lstm(50, 10, 20)), device())
    both = estimate(graph(lstm(50, 10, 20, directions=2)), device())
    assert both.step_s == pytest.approx(one.step_s)
    assert both.sequential_s == pytest.approx(2 * one.sequential_s)


def test_a_tiny_step_takes_the_step_overhead() -> None:
    result = estimate(graph(lstm(10, 1, 1)), device(step=1e-4))
    assert result.bound_by == "latency"
    assert result.step_s == pytest.approx(1e-4 + 13 / 1e8)


def test_a_weight_used_again_by_a_chain_is_read_at_each_step() -> None:
    # An unrolled cell: the same 10 x 10 weights in 30 dependent products.
    op = Op(
        name="cell",
        op_type="MatMul",
        inputs=(activation("h", 1, 10), weight("r", 10, 10)),
        outputs=(activation("g", 1, 10),),
    )
    cell = row(
        op,
        OpCost(kind="recurrent"),
        traffic=30 * 80,
        executions=30,
        macs=3000,
        dense_macs=3000,
        sequential_macs=3000,
        sequential_steps=30,
        executed_steps=30,
    )
    result = estimate(graph(cell), device())
    # 400 bytes of weights: 0.4 µs a step from the cache, 4 µs once from memory.
    assert result.step_s == pytest.approx(0.4e-6)
    assert result.sequential_s == pytest.approx(30 * 0.4e-6)
    assert result.parallel_s == pytest.approx(4e-6 - 0.4e-6 + 2.4e-6)
    assert result.overhead_s == pytest.approx(10e-6 + 30e-6)
    assert result.dram_bytes == 400


def test_padded_rows_take_time() -> None:
    live = lstm(50, 10, 20)
    padded = msgspec.structs.replace(
        live,
        counts=msgspec.structs.replace(
            live.counts,
            macs=live.counts.macs // 2,
            sequential_macs=live.counts.sequential_macs // 2,
        ),
    )
    fast_memory = device(far=1e12, near=1e12)
    assert estimate(graph(padded), fast_memory).step_s == pytest.approx(
        estimate(graph(live), fast_memory).step_s
    )


def test_a_loop_pays_for_each_trip_and_constants_pay_nothing() -> None:
    op = Op(name="loop", op_type="Loop", inputs=(), outputs=(), trips=100, body=EMPTY)
    loop = row(op, OpCost(kind="control"), traffic=0)
    settled = row(
        Op(name="shape", op_type="Shape", inputs=(), outputs=()),
        OpCost(kind="constant"),
        traffic=0,
    )
    result = estimate(graph(loop, settled), device())
    assert result.latency_s == pytest.approx(1e-5 + 1e-6 + 100 * 2e-6)
    assert (result.bound_by, result.ops[1].latency_s) == ("overhead", 0.0)


def test_a_table_is_read_only_where_it_is_looked_up() -> None:
    op = Op(
        name="embed",
        op_type="Gather",
        inputs=(weight("table", 100_000, 10), Tensor("ids", "int64", (5,))),
        outputs=(activation("y", 5, 10),),
    )
    cost = OpCost(kind="data")
    embed = CountedOp(
        name="embed",
        op=op,
        cost=cost,
        executions=1,
        precision="",
        counts=Counts(weight_bytes=4_000_000, streamed_bytes=200 + 200 + 40),
    )
    result = estimate(graph(embed), device())
    assert result.parallel_s == pytest.approx(440 / 1e9)
    assert result.precision == "fp32"


def test_threads_multiply_the_peak_and_what_belongs_to_a_core() -> None:
    big = graph(dense(300, 300, rows=1000))
    one, four, eight = (estimate(big, device(far=1e12), threads=n) for n in (1, 4, 8))
    assert one.parallel_s == pytest.approx(4 * four.parallel_s)
    assert eight.parallel_s == four.parallel_s
    assert (one.threads, four.threads, eight.threads) == (1, 4, 4)
    assert any("8 threads" in note for note in eight.notes)
    # A matrix of 25 600 bytes fits three caches of 10 000 bytes, not two.
    layer = graph(lstm(50, 40, 40))
    assert estimate(layer, device(), threads=2).dram_bytes > 50 * 25_600
    assert estimate(layer, device(), threads=3).dram_bytes < 3 * 25_600


def test_one_core_draws_no_more_from_shared_memory_than_it_can() -> None:
    far = msgspec.structs.replace(
        device().memory[-1],
        core_bandwidth_bytes_per_s=Quantity(value=3e7, kind="assumed", source="a test"),
    )
    profile = msgspec.structs.replace(device(), memory=(device().memory[0], far))
    layer = graph(dense(100, 100))
    # 40 000 bytes at 30 MB/s; four cores would draw 120 MB/s, the memory gives 100.
    assert estimate(layer, profile).parallel_s == pytest.approx(40_000 / 3e7 + 0.8e-6)
    two = estimate(layer, profile, threads=2)
    assert two.parallel_s == pytest.approx(40_000 / 6e7 + 0.4e-6)
    four = estimate(layer, profile, threads=4)
    assert four.parallel_s == pytest.approx(40_000 / 1e8 + 0.2e-6)


def test_what_a_profile_does_not_know_is_assumed_and_said() -> None:
    known = device()
    silent = msgspec.structs.replace(known, overheads=Overheads(), elementwise_per_s=None)
    result = estimate(graph(dense(2, 2)), silent)
    assert [note for note in result.notes if "no " in note] == [
        "no run_s, op_s, step_s, loop_s in the profile: those of a common cpu",
        "no elementwise_per_s in the profile: an eighth of the fp32 peak",
    ]
    # 15 000 cycles a run and 950 an operator, at 3.5 GHz unless the profile has a clock.
    assert result.overhead_s == pytest.approx(15_950 / 3.5e9)
    clock = Quantity(value=1e9, kind="assumed", source="a test")
    slow = msgspec.structs.replace(silent, processor=Processor(clock_hz=clock))
    assert estimate(graph(dense(2, 2)), slow).overhead_s == pytest.approx(15_950 / 1e9)
    part = msgspec.structs.replace(silent, overheads=Overheads(op_s=known.overheads.op_s))
    (note,) = [n for n in estimate(graph(), part).notes if "run_s" in n]
    assert note.startswith("no run_s, step_s, loop_s in")


def test_a_precision_changes_peak_and_bytes() -> None:
    model = graph(dense(100, 100))
    int8 = estimate(model, device(), precision="int8")
    assert int8.dram_bytes == 10_000
    assert int8.parallel_s == pytest.approx(100.2e-6)
    assert int8.precision == "int8"
    half = estimate(model, device(), precision="fp16")
    assert half.dram_bytes == 20_000
    assert any("fp16" in note and "fp32" in note for note in half.notes)
    compute = device(far=1e12, near=1e12)
    assert estimate(model, compute, precision="int8").parallel_s == pytest.approx(5e-6)
    assert estimate(model, compute, precision="fp16").parallel_s == pytest.approx(10e-6)


def test_fits_compares_with_the_capacity() -> None:
    layer = dense(1000, 600)
    assert estimate(graph(layer), device()).fits == Fits(None, None)
    mcu = load_profile("cortex-m7")
    assert estimate(graph(layer), mcu).fits == Fits(False, True)
    assert estimate(graph(layer), mcu, precision="int8").fits == Fits(True, True)
    assert estimate(graph(layer, peak_bytes=600_000), mcu).fits == Fits(False, False)


def test_weights_stay_in_flash_and_activations_in_ram() -> None:
    mcu = msgspec.structs.replace(load_profile("cortex-m7"), runtime="roofline")
    flash = mcu.memory[-1].bandwidth_bytes_per_s.value
    big = graph(lstm(50, 100, 20))  # 160 kB of recurrent weights: more than the data cache
    assert estimate(big, mcu, precision="int8").dram_bytes == 4 * 100 * 20 + 50 * 4 * 100 * 100
    fast = msgspec.structs.replace(mcu.peak_macs_per_s.fp32, value=1e15)
    quick = msgspec.structs.replace(
        mcu,
        peak_macs_per_s=msgspec.structs.replace(mcu.peak_macs_per_s, fp32=fast),
        elementwise_per_s=fast,
    )
    assert estimate(big, quick).step_s == pytest.approx(160_000 / flash)


def test_energy_needs_the_profile_to_know_it() -> None:
    def number(value: float) -> dict[str, object]:
        return {"value": value, "kind": "assumed", "source": "a test"}

    plain = device()
    data = msgspec.to_builtins(plain)
    data["energy"] = {"mac_j": number(1e-12), "byte_j": number(1e-10)}
    known = msgspec.convert(data, HardwareProfile)
    model = graph(dense(100, 100))
    assert estimate(model, plain).energy_j is None
    assert estimate(model, known).energy_j == pytest.approx(1e4 * 1e-12 + 4e4 * 1e-10)


def test_notes_say_what_the_estimate_lacks() -> None:
    result = estimate(graph(dense(2, 2), uncounted=3), device())
    assert not result.calibrated
    assert UNCALIBRATED in result.notes
    assert any("3 uncounted" in note for note in result.notes)
    assert (result.latency_low_s, result.latency_high_s) == (None, None)
    data = msgspec.to_builtins(device())
    data["calibration"] = {"date": "2030-01-31", "host": "bench-1"}
    sure = estimate(graph(dense(2, 2)), msgspec.convert(data, HardwareProfile))
    assert sure.calibrated
    assert sure.notes == []


def test_a_price_gives_the_cost_of_a_million_runs() -> None:
    priced = msgspec.structs.replace(
        device(), price_per_hour=Price(value=3.6, currency="EUR", source="a test")
    )
    # 411.8 µs a run: a million take 411.8 s at 0.001 EUR a second.
    (note,) = [n for n in estimate(graph(dense(100, 100)), priced).notes if "million" in n]
    assert note == "a million runs, one after the other, cost 0.412 EUR"


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(BindingError, match="at least 1"):
        estimate(graph(), device(), threads=0)
    with pytest.raises(BindingError, match="'int88', did you mean 'int8'"):
        estimate(graph(), device(), precision="int88")


def test_an_empty_graph_costs_the_run_alone() -> None:
    result = estimate(graph(), device())
    assert result.latency_s == 1e-5
    assert (result.bound_by, result.ops, result.step_s) == ("overhead", [], None)


@pytest.mark.parametrize("profile", list_profiles(), ids=lambda p: p.name)
def test_every_shipped_profile_gives_a_whole_estimate(profile: HardwareProfile) -> None:
    result = estimate(graph(lstm(100, 64, 64), dense(64, 10)), profile)
    check_sums(result)
    assert 1e-6 < result.latency_s < 10
    assert msgspec.convert(msgspec.to_builtins(result), Estimate) == result


def check_sums(result: Estimate) -> None:
    """The parts of an estimate make its total."""
    parts = result.overhead_s + result.parallel_s + result.sequential_s
    assert result.latency_s == pytest.approx(parts, rel=1e-12)
    for op in result.ops:
        parts = op.overhead_s + op.parallel_s + op.sequential_s
        assert op.latency_s == pytest.approx(parts, rel=1e-12)
        assert op.bound_by in ("compute", "memory", "latency", "overhead")
    for part in ("parallel_s", "sequential_s", "dram_bytes"):
        total = math.fsum(getattr(op, part) for op in result.ops)
        assert getattr(result, part) == pytest.approx(total, rel=1e-12, abs=1e-18)
    assert result.dram_bytes == list(result.level_bytes.values())[-1]
    for name, size in result.level_bytes.items():
        assert size == sum(op.level_bytes.get(name, 0) for op in result.ops)
    steps = [op.step_s for op in result.ops if op.step_s is not None]
    assert result.step_s == max(steps, default=None)


small = st.integers(1, 40)
layers = st.builds(
    lstm, st.integers(0, 60), small, small, batch=st.integers(1, 5), directions=st.integers(1, 2)
)
products = st.builds(dense, small, small, rows=small, executions=st.integers(1, 4))
graphs = st.lists(layers | products, max_size=4).map(lambda rows: graph(*rows))
rates = st.fixed_dictionaries(
    {key: st.floats(1e3, 1e12) for key in ("peak", "elementwise", "near", "far")}
)


def ordered(numbers: dict[str, float]) -> dict[str, float]:
    far, near = sorted((numbers["near"], numbers["far"]))
    return {**numbers, "near": near, "far": far}


@settings(deadline=None)
@given(model=graphs, numbers=rates, threads=st.integers(1, 6))
def test_the_parts_make_the_whole(model: Counted, numbers: dict[str, float], threads: int) -> None:
    profile = device(**ordered(numbers))
    result = estimate(model, profile, threads=threads)
    check_sums(result)
    run = profile.overheads.run_s.value
    total = run + math.fsum(op.latency_s for op in result.ops)
    assert result.latency_s == pytest.approx(total, rel=1e-12)


@settings(deadline=None)
@given(
    model=graphs,
    numbers=rates,
    factor=st.floats(1, 100),
    key=st.sampled_from(["peak", "elementwise", "near_bytes", "near"]),
)
def test_a_better_device_is_not_slower(
    model: Counted, numbers: dict[str, float], factor: float, key: str
) -> None:
    numbers = {**NUMBERS, **ordered(numbers)}
    better = {**numbers, key: numbers[key] * factor}
    before = estimate(model, device(**numbers)).latency_s
    assert estimate(model, device(**better)).latency_s <= before * (1 + 1e-9)


@settings(deadline=None)
@given(model=graphs, numbers=rates, factor=st.floats(1, 100))
def test_faster_memory_is_not_slower(
    model: Counted, numbers: dict[str, float], factor: float
) -> None:
    numbers = ordered(numbers)
    better = {**numbers, "far": min(numbers["far"] * factor, numbers["near"])}
    before = estimate(model, device(**numbers)).latency_s
    assert estimate(model, device(**better)).latency_s <= before * (1 + 1e-9)


@settings(deadline=None)
@given(steps=st.integers(1, 500), hidden=small, inputs=small, numbers=rates)
def test_the_sequential_part_is_linear_in_the_steps(
    steps: int, hidden: int, inputs: int, numbers: dict[str, float]
) -> None:
    profile = device(**ordered(numbers))
    one = estimate(graph(lstm(1, hidden, inputs)), profile)
    many = estimate(graph(lstm(steps, hidden, inputs)), profile)
    assert many.step_s == pytest.approx(one.step_s)
    assert many.sequential_s == pytest.approx(steps * one.sequential_s)
