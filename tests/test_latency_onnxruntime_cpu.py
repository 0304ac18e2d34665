"""Recurrent layers in ONNX Runtime's CPU kernels: against MLAS's own rules, and properties."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import rnncost
from rnncost.calibration.models import recurrent_model
from rnncost.calibration.vector import constants_of, numbers_of
from rnncost.latency.onnxruntime_cpu.defaults import ROW_TILES, default_constants
from rnncost.latency.onnxruntime_cpu.layers import (
    COLD,
    GATES,
    CellName,
    Layer,
    layer_time,
    reverse_s,
    split_of,
)
from rnncost.latency.onnxruntime_cpu.products import (
    COLUMN_TILE,
    far,
    first_cache_gain,
    packed_s,
    row_calls,
    threads_for,
)
from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
from rnncost.profiles.schema import HardwareProfile
from rnncost.report.model import Estimate

CELLS: tuple[CellName, ...] = ("lstm", "gru", "gru_linear", "rnn", "lstm_int8")
MIB = 1024.0**2


def machine(isa: str = "avx2") -> OnnxRuntimeCpu:
    return default_constants(
        isa=isa,
        clock_hz=3e9,
        peak_macs_per_s=48e9,
        first_cache_bytes=32768,
        second_cache_bytes=MIB,
        levels=((8 * MIB, 40e9), (float("inf"), 15e9)),
    )


def number(value: float) -> dict[str, object]:
    return {"value": value, "kind": "assumed", "source": "a test"}


def profile_of(constants: OnnxRuntimeCpu | None = None, **changes: Any) -> HardwareProfile:
    return msgspec.convert(
        {
            "schema_version": 1,
            "name": "test",
            "title": "A processor of a test",
            "kind": "cpu",
            "runtime": "onnxruntime-cpu",
            "version": "1",
            "threads": 4,
            "peak_macs_per_s": {"fp32": number(48e9)},
            "memory": [
                {"name": "L2", "size_bytes": number(MIB), "bandwidth_bytes_per_s": number(1e11)},
                {"name": "memory", "bandwidth_bytes_per_s": number(15e9)},
            ],
            "onnxruntime_cpu": constants and msgspec.to_builtins(constants),
            **changes,
        },
        HardwareProfile,
    )


def loaded(layer: Layer) -> onnx.ModelProto:
    return onnx.load_from_string(recurrent_model(layer))


def estimate(model: Any, profile: HardwareProfile, *inputs: Any, **options: Any) -> Estimate:
    (found,) = rnncost.analyze(
        model, inputs, profiles=[profile], symbolic=False, **options
    ).estimates
    return found


# How many rows a call of MLAS's kernels takes, as the branches of its assembly say:
# FgemmKernelAvx512FCommon.h, FgemmKernelFma3Common.h, aarch64/SgemmKernelNeon.S.
def avx512(rows: int) -> int:
    if rows >= 12:
        return 12
    return fma3(rows)


def fma3(rows: int) -> int:
    if rows > 5:
        return 6
    if rows == 5:
        return 5
    if rows > 3:
        return 4
    if rows == 3:
        return 3
    return 1 if rows == 1 else 2


def neon(rows: int) -> int:
    if rows >= 4:
        return 4
    return 2 if rows >= 2 else 1


@pytest.mark.parametrize(("isa", "kernel"), [("avx512", avx512), ("avx2", fma3), ("neon", neon)])
def test_rows_are_split_as_the_kernel_takes_them(isa: str, kernel: Callable[[int], int]) -> None:
    tiles = ROW_TILES[isa]
    for rows in range(130):
        left, taken = rows, []
        while left:
            taken.append(kernel(left))
            left -= taken[-1]
        found = [tiles[index] for index, count in row_calls(rows, tiles) for _ in range(count)]
        assert found == taken, rows


def test_products_are_shared_out_as_mlas_does() -> None:
    # TargetThreadCount = M·N·K / 65536 + 1, at most the pool's (MlasSgemmThreadedOperation).
    assert threads_for(1, 255, 256, 8) == 1
    assert threads_for(1, 256, 256, 8) == 2
    assert threads_for(4, 256, 1024, 8) == 8
    assert threads_for(3, 256, 256, 8) == 4
    assert threads_for(10**6, 10**4, 10**4, 2) == 2


@pytest.mark.parametrize(
    ("cell", "rows", "hidden", "parts", "by_batch"),
    [
        ("lstm", 1, 128, 1, False),
        ("lstm", 2, 256, 1, True),
        ("lstm", 4, 257, 4, False),  # up to four rows of many units stay together
        ("lstm", 5, 257, 3, True),
        ("lstm", 16, 512, 8, True),
        ("lstm_int8", 5, 512, 3, True),
        ("gru", 16, 128, 16, False),
        ("rnn", 16, 128, 16, False),
    ],
)
def test_an_lstm_splits_its_batch_and_nothing_else_does(
    cell: CellName, rows: int, hidden: int, parts: int, by_batch: bool
) -> None:
    layer = Layer(cell=cell, steps=100, rows=rows, inputs=8, hidden=hidden)
    split = split_of(layer, 2)
    assert (split.rows, split.by_batch) == (parts, by_batch)
    assert split.rows * split.threads >= rows


layers = st.builds(
    Layer,
    cell=st.sampled_from(CELLS),
    steps=st.integers(1, 300),
    rows=st.integers(1, 40),
    inputs=st.integers(1, 1500),
    hidden=st.integers(1, 2000),
    directions=st.integers(1, 2),
    initial_state=st.booleans(),
)
even_layers = st.builds(
    Layer,
    cell=st.sampled_from(CELLS),
    steps=st.integers(1, 300),
    rows=st.integers(1, 20),
    inputs=st.integers(1, 100).map(lambda n: 8 * n),
    hidden=st.integers(1, 150).map(lambda n: 8 * n),
    directions=st.integers(1, 2),
)
"""Extents that fill the vectors: elsewhere a unit more may save the loop over the rest."""

machines = st.sampled_from(["avx512f", "avx2", "neon"]).map(machine)


@settings(max_examples=300, deadline=None)
@given(layers, machines, st.integers(1, 64))
def test_every_part_of_a_time_is_a_time(layer: Layer, constants: OnnxRuntimeCpu, n: int) -> None:
    time = layer_time(layer, constants, n)
    assert math.isfinite(time.total_s)
    assert min(time.fixed_s, time.input_s, time.step_s) > 0
    assert time.steps == layer.directions * layer.steps
    assert time.total_s > time.fixed_s + time.input_s
    if layer.cell != "rnn":  # whose first step has no product
        assert time.first_steps_s > -0.1 * time.total_s


@settings(max_examples=300, deadline=None)
@given(even_layers, machines, st.sampled_from(["steps", "rows", "inputs", "hidden"]))
def test_more_of_anything_takes_longer(
    layer: Layer, constants: OnnxRuntimeCpu, extent: str
) -> None:
    more = {
        # Twelve rows in one call are cheaper than eleven in two.
        "steps": 2 * layer.steps,
        "rows": 2 * layer.rows,
        "inputs": layer.inputs + 8,
        "hidden": layer.hidden + 8,
    }[extent]
    larger = msgspec.structs.replace(layer, **{extent: more})
    assert layer_time(larger, constants, 1).total_s > layer_time(layer, constants, 1).total_s


@settings(max_examples=200, deadline=None)
@given(
    layers,
    machines,
    st.integers(1, 4),
    st.floats(1.0, 1e4),
    st.floats(1.0, 10.0),
)
def test_a_run_that_touches_more_waits_no_less(
    layer: Layer, constants: OnnxRuntimeCpu, threads: int, factor: float, more: float
) -> None:
    size = factor * layer.footprint_bytes
    one, other = (layer_time(layer, constants, threads, s).total_s for s in (size, more * size))
    assert other >= one * (1 - 1e-12)


def test_weights_beyond_the_caches_cost_their_bandwidth() -> None:
    """An LSTM of 64 MiB of recurrent weights streams them at the 15 GB/s of memory."""
    layer = Layer(cell="lstm", steps=50, rows=1, inputs=8, hidden=2048)
    assert layer.recurrent_bytes == 64 * MIB
    step_s = layer_time(layer, machine(), 1).step_s
    assert step_s == pytest.approx(layer.recurrent_bytes / 15e9, rel=0.35)
    assert step_s > layer.recurrent_bytes / 15e9


def rates_only(isa: str = "avx2") -> OnnxRuntimeCpu:
    """A machine on which a MAC takes a nanosecond and nothing else takes any time."""
    base = machine(isa)
    rates = ("products.mac_s", "products.panel_mac_s", "products.dot_mac_s", "products.int8_mac_s")
    kept = {"products.run_pressure": 1.0}  # a factor, not a time
    return constants_of(
        base, [1e-9 if p.startswith(rates) else kept.get(p, 0.0) for p in numbers_of(base)]
    )


def macs_of(layer: Layer) -> int:
    skipped = layer.rows * layer.hidden**2 if layer.cell == "rnn" else 0
    return layer.macs - layer.directions * skipped


@settings(max_examples=200, deadline=None)
@given(layers, st.sampled_from(["avx512f", "avx2", "neon"]), st.integers(1, 64))
def test_threads_share_the_work_and_lose_none(layer: Layer, isa: str, threads: int) -> None:
    layer = msgspec.structs.replace(layer, initial_state=False)
    found = layer_time(layer, rates_only(isa), threads).total_s
    assert threads * found >= macs_of(layer) * 1e-9 * (1 - 1e-9)
    assert found <= layer_time(layer, rates_only(isa), 1).total_s * (1 + 1e-9)


def test_the_busiest_thread_takes_the_rows_that_are_left_over() -> None:
    layer = Layer(cell="gru", steps=1001, rows=1, inputs=64, hidden=16)
    found = layer_time(layer, rates_only(), 2).input_s
    assert found == pytest.approx(501 * 64 * 48 * 1e-9)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("rows", [1, 2, 7, 16])
def test_one_thread_does_each_mac_once(cell: CellName, rows: int) -> None:
    layer = Layer(cell=cell, steps=5, rows=rows, inputs=40, hidden=64, directions=2)
    assert layer.macs == 2 * 5 * rows * GATES[cell] * 64 * (40 + 64)
    found = layer_time(layer, rates_only(), 1).total_s
    assert found == pytest.approx(macs_of(layer) * 1e-9)


@settings(max_examples=200, deadline=None)
@given(machines, st.floats(1e3, 1e9))
def test_far_weights_have_no_jumps(constants: OnnxRuntimeCpu, size: float) -> None:
    products = constants.products
    here, beyond = far(products, size), far(products, size * (1 + 1e-9))
    assert beyond == pytest.approx(here, rel=1e-5, abs=1e-16)


def test_far_weights_at_the_measured_points_and_outside() -> None:
    products = machine().products
    for point in products.far:
        assert far(products, point.working_set_bytes) == pytest.approx(
            (point.s_per_byte, point.overlap)
        )
    assert far(products, 10 * products.far[-1].working_set_bytes) == pytest.approx(
        (1 / 15e9, products.far[-1].overlap)
    )
    assert far(products, products.far[0].working_set_bytes / 2)[0] == 0
    assert far(products, 0)[0] == 0


def test_weights_in_the_first_cache_speed_one_row_up() -> None:
    products = machine().products
    size = products.first_cache_bytes
    assert first_cache_gain(products, size / 4) == products.first_cache_gain
    assert first_cache_gain(products, size) == 0
    near, beyond = (packed_s(products, 1, 64, 64, s, 1.0) for s in (size / 4, 2 * size))
    calls_s = 2 * (products.call_s + products.call_row_s)
    assert (near - calls_s) / (beyond - calls_s) == pytest.approx(1 - products.first_cache_gain)


def test_columns_come_in_tiles() -> None:
    products = machine().products
    times = [packed_s(products, 4, 64, n, 1.0, 1.0) for n in range(1, 2 * COLUMN_TILE + 1)]
    assert len(set(times[:COLUMN_TILE])) == len(set(times[COLUMN_TILE:])) == 1
    assert times[COLUMN_TILE] > times[COLUMN_TILE - 1]


def test_a_gru_does_two_products_a_step() -> None:
    """Its 3H columns at H = 8 fill two tiles for z and r's 16 and the candidate's 8."""
    layer = Layer(cell="gru", steps=1, rows=1, inputs=16, hidden=8)
    found = layer_time(layer, rates_only(), 1)
    assert found.step_s == pytest.approx(8 * (16 + 16) * 1e-9)
    assert found.input_s == pytest.approx(16 * 32 * 1e-9)


def test_the_rnn_s_first_step_has_no_product() -> None:
    layer = Layer(cell="rnn", steps=1, rows=1, inputs=16, hidden=64, directions=2)
    one, state = (
        layer_time(msgspec.structs.replace(layer, initial_state=given), rates_only(), 1).total_s
        for given in (False, True)
    )
    assert one == pytest.approx(2 * 64 * 16 * 1e-9)
    assert state == pytest.approx(2 * 64 * (16 + 64) * 1e-9)


@pytest.mark.parametrize("cell", CELLS)
def test_the_reverse_direction_copies_its_input_and_output(cell: CellName) -> None:
    constants = machine()
    layer = Layer(cell=cell, steps=9, rows=3, inputs=16, hidden=8)
    both = layer_time(msgspec.structs.replace(layer, directions=2), constants, 1)
    back = layer_time(msgspec.structs.replace(layer, reverse=True), constants, 1)
    one = layer_time(layer, constants, 1)
    copies = 0.0 if cell == "rnn" else reverse_s(layer, constants)
    rate = constants.copies
    assert reverse_s(layer, constants) == pytest.approx(
        27 * (2 * rate.reverse_row_s + 4 * (16 + 8) * rate.reverse_byte_s)
    )
    assert both.input_s == pytest.approx(2 * one.input_s + copies)
    assert back.input_s == pytest.approx(one.input_s + copies)
    assert back.step_s == one.step_s


def test_nothing_to_do_takes_no_less_than_nothing() -> None:
    for cell in CELLS:
        for extents in ({"steps": 0, "rows": 1}, {"steps": 3, "rows": 0}):
            layer = Layer(cell=cell, inputs=8, hidden=512, **extents)
            for threads in (1, 4):
                assert layer_time(layer, machine(), threads).total_s > 0


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "extents",
    [
        {"steps": 10, "rows": 1, "inputs": 8, "hidden": 8},
        {"steps": 1, "rows": 16, "inputs": 30, "hidden": 17},
        {"steps": 25, "rows": 7, "inputs": 30, "hidden": 100, "directions": 2},
        {"steps": 3, "rows": 4, "inputs": 8, "hidden": 700},
        {"steps": 2, "rows": 1, "inputs": 300, "hidden": 260, "directions": 2},
    ],
    ids=lambda e: f"H{e['hidden']}",
)
@pytest.mark.parametrize("threads", [1, 2])
def test_analyze_says_what_was_calibrated(
    cell: CellName, extents: dict[str, int], threads: int
) -> None:
    """A model of one layer takes a run and the layer, as in the fit of the constants."""
    constants = machine()
    layer = Layer(cell=cell, **extents)
    found = estimate(loaded(layer), profile_of(constants), threads=threads)
    expected = constants.run_s + layer_time(layer, constants, threads).total_s
    # The 8-bit layer's scales and zero points, a few bytes, are no part of its footprint.
    assert found.latency_s == pytest.approx(expected, rel=1e-4)
    assert found.threads == threads


def changed(layer: Layer, change: Callable[[onnx.GraphProto], None]) -> onnx.ModelProto:
    model = loaded(layer)
    change(model.graph)
    return model


def test_an_initial_state_gives_the_rnn_its_first_product() -> None:
    layer = Layer(cell="rnn", steps=4, rows=2, inputs=16, hidden=64, initial_state=True)

    def add_state(graph: onnx.GraphProto) -> None:
        graph.node[0].input.extend(["", "H0"])
        graph.input.append(helper.make_tensor_value_info("H0", TensorProto.FLOAT, [1, 2, 64]))

    constants = machine()
    found = estimate(changed(layer, add_state), profile_of(constants))
    assert found.latency_s == pytest.approx(
        constants.run_s + layer_time(layer, constants, 1).total_s
    )
    without = estimate(loaded(layer), profile_of(constants))
    assert without.latency_s < found.latency_s


def test_the_reverse_direction_alone_is_seen() -> None:
    layer = Layer(cell="gru", steps=4, rows=2, inputs=16, hidden=64, reverse=True)

    def turn(graph: onnx.GraphProto) -> None:
        graph.node[0].attribute.remove(
            next(a for a in graph.node[0].attribute if a.name == "direction")
        )
        graph.node[0].attribute.append(helper.make_attribute("direction", "reverse"))

    constants = machine()
    found = estimate(changed(layer, turn), profile_of(constants))
    assert found.latency_s == pytest.approx(
        constants.run_s + layer_time(layer, constants, 1).total_s
    )


@settings(max_examples=60, deadline=None)
@given(layers, st.integers(1, 4))
def test_the_parts_of_an_estimate_add_up(layer: Layer, threads: int) -> None:
    layer = msgspec.structs.replace(layer, hidden=min(layer.hidden, 300), initial_state=False)
    found = estimate(loaded(layer), profile_of(machine()), threads=threads)
    parts = (found.overhead_s, found.parallel_s, found.sequential_s)
    assert min(parts) > 0
    assert math.fsum(parts) == pytest.approx(found.latency_s)
    (op,) = [op for op in found.ops if op.step_s is not None]
    assert min(op.overhead_s, op.parallel_s, op.sequential_s) >= 0
    assert op.overhead_s + op.parallel_s + op.sequential_s == pytest.approx(op.latency_s)
    assert found.bound_by in ("overhead", "compute", "memory", "latency")


@pytest.mark.parametrize(
    ("layer", "bound"),
    [
        (Layer(cell="lstm", steps=1, rows=1, inputs=8, hidden=8), "overhead"),
        (Layer(cell="lstm", steps=100, rows=1, inputs=8, hidden=2048), "memory"),
        (Layer(cell="lstm", steps=100, rows=12, inputs=8, hidden=256), "compute"),
    ],
)
def test_what_bounds_a_layer(layer: Layer, bound: str) -> None:
    assert estimate(loaded(layer), profile_of(machine())).bound_by == bound


def test_a_layer_in_a_loop_counts_as_often_as_it_runs() -> None:
    layer = Layer(cell="lstm", steps=3, rows=2, inputs=8, hidden=16)
    constants = machine()
    found = estimate(in_a_loop(layer, trips=7), profile_of(constants))
    (op,) = [op for op in found.ops if op.step_s is not None]
    time = layer_time(layer, constants, 1)
    assert op.latency_s == pytest.approx(7 * time.total_s)
    assert op.step_s == pytest.approx(time.step_s)
    assert op.overhead_s == pytest.approx(7 * time.fixed_s)
    assert found.latency_s > constants.run_s + op.latency_s  # the loop itself is not free


def in_a_loop(layer: Layer, trips: int) -> onnx.ModelProto:
    """The layer in a Loop of so many trips over the same input."""
    inner = loaded(layer)
    body = helper.make_graph(
        [*inner.graph.node, helper.make_node("Identity", ["more"], ["still"])],
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), inner.graph.output[0]],
        list(inner.graph.initializer),
    )
    y = [trips, layer.steps, layer.directions, layer.rows, layer.hidden]
    graph = helper.make_graph(
        [helper.make_node("Loop", ["trips", "go"], ["YS"], name="loop", body=body)],
        "graph",
        list(inner.graph.input),
        [helper.make_tensor_value_info("YS", TensorProto.FLOAT, y)],
        [
            helper.make_tensor("trips", TensorProto.INT64, [], [trips]),
            helper.make_tensor("go", TensorProto.BOOL, [], [True]),
        ],
    )
    model = helper.make_model(graph, opset_imports=list(inner.opset_import), ir_version=8)
    onnx.checker.check_model(model)
    return model


def test_int8_takes_the_quantised_kernel_where_there_is_one() -> None:
    constants = machine()
    lstm = Layer(cell="lstm", steps=20, rows=1, inputs=64, hidden=256)
    int8 = msgspec.structs.replace(lstm, cell="lstm_int8")
    found = estimate(loaded(lstm), profile_of(constants), precision="int8")
    assert found.latency_s == pytest.approx(
        constants.run_s + layer_time(int8, constants, 1).total_s, rel=0.1
    )
    assert found.latency_s < estimate(loaded(lstm), profile_of(constants)).latency_s / 2
    assert not any("no int8 kernel" in note for note in found.notes)


@pytest.mark.parametrize(
    ("cell", "precision"), [("gru", "int8"), ("rnn", "fp16"), ("lstm", "bf16")]
)
def test_a_precision_without_a_kernel_is_told(cell: CellName, precision: str) -> None:
    layer = Layer(cell=cell, steps=20, rows=1, inputs=64, hidden=64)
    plain = estimate(loaded(layer), profile_of(machine()))
    found = estimate(loaded(layer), profile_of(machine()), precision=precision)
    (node,) = [op for op in found.ops if op.step_s is not None]
    assert any(f"no {precision} kernel for {GATES_TYPES[cell]}" in note for note in found.notes)
    assert node.latency_s == pytest.approx(plain.ops[0].latency_s)
    same = estimate(loaded(layer), profile_of(machine()), precision="fp32")
    assert not any("kernel for" in note for note in same.notes)


GATES_TYPES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


def test_more_threads_than_the_profile_has_are_not_used() -> None:
    layer = Layer(cell="gru", steps=20, rows=8, inputs=64, hidden=512)
    four, many = (estimate(loaded(layer), profile_of(machine()), threads=n) for n in (4, 40))
    assert many.threads == 4
    assert many.latency_s == four.latency_s


def test_a_profile_without_constants_says_what_it_stands_on() -> None:
    layer = Layer(cell="lstm", steps=20, rows=1, inputs=64, hidden=64)
    found = estimate(loaded(layer), profile_of())
    assert any("uncalibrated" in note for note in found.notes)
    assert any("no clock_hz in the profile" in note for note in found.notes)
    assert not found.calibrated
    clocked = profile_of(processor={"clock_hz": number(1.5e9), "isa": "neon"})
    slow = estimate(loaded(layer), clocked)
    assert not any("clock_hz" in note for note in slow.notes)
    assert slow.latency_s > found.latency_s


def test_memory_without_caches_still_costs_its_bandwidth() -> None:
    bare = profile_of(memory=[{"name": "memory", "bandwidth_bytes_per_s": number(1e9)}])
    layer = Layer(cell="lstm", steps=10, rows=1, inputs=64, hidden=1024)
    found = estimate(loaded(layer), bare)
    assert found.sequential_s > 10 * layer.recurrent_bytes / 1e9
    assert any("no cache in the profile" in note for note in found.notes)


SHIPPED = [p for p in rnncost.list_profiles() if p.runtime == "onnxruntime-cpu"]


@pytest.mark.parametrize("profile", SHIPPED, ids=lambda p: p.name)
def test_a_shipped_processor_streams_no_faster_than_its_memory(profile: HardwareProfile) -> None:
    """256 MiB of recurrent weights fit into no cache of theirs."""
    large = Layer(cell="lstm", steps=10, rows=1, inputs=64, hidden=4096)
    assert large.recurrent_bytes == 256 * MIB
    from rnncost.latency.onnxruntime_cpu.predict import constants_for

    constants, notes = constants_for(profile)
    step_s = layer_time(large, constants, 1).step_s
    far_level = profile.memory[-1]
    per_s = (far_level.core_bandwidth_bytes_per_s or far_level.bandwidth_bytes_per_s).value
    assert large.recurrent_bytes / step_s <= per_s
    assert notes
    small = Layer(cell="gru", steps=10, rows=1, inputs=64, hidden=64)
    found = estimate(loaded(small), profile)
    assert 1e-6 < found.latency_s < 1e-2


def torch_modules() -> list[Any]:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    x, row = torch.zeros(7, 2, 12), torch.zeros(2, 12)
    return [
        (nn.LSTM(12, 20), x, "lstm"),
        (nn.LSTM(12, 20, num_layers=2, bidirectional=True), x, "lstm"),
        (nn.GRU(12, 20, batch_first=True), x, "gru_linear"),
        (nn.RNN(12, 20, nonlinearity="relu"), x, "rnn"),
        (nn.LSTMCell(12, 20), row, "lstm"),
        (nn.GRUCell(12, 20), row, "gru_linear"),
        (nn.RNNCell(12, 20), row, "rnn"),
        (nn.LSTM(12, 20, proj_size=5), x, "lstm"),
    ]


@pytest.mark.torch
@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("calibrated", [True, False])
def test_modules_of_pytorch_are_estimated_too(index: int, calibrated: bool) -> None:
    module, x, cell = torch_modules()[index]
    constants = machine()
    found = estimate(module, profile_of(constants if calibrated else None), x, threads=2)
    recurrent = [op for op in found.ops if op.step_s is not None]
    assert recurrent
    assert found.latency_s > constants.run_s
    assert min(found.overhead_s, found.parallel_s, found.sequential_s) > 0
    projected = getattr(module, "proj_size", 0)
    assert any("projection" in note for note in found.notes) == bool(projected)
    if calibrated and not projected and module.__class__.__name__ in ("LSTM", "GRU"):
        batch, steps = (7, 2) if getattr(module, "batch_first", False) else (2, 7)
        directions = 2 if module.bidirectional else 1
        layer = Layer(
            cell=cell, steps=steps, rows=batch, inputs=12, hidden=20, directions=directions
        )
        expected = layer_time(layer, constants, 2)
        assert recurrent[0].latency_s == pytest.approx(expected.total_s)


@given(
    st.sampled_from(CELLS),
    st.integers(1, 60),
    st.integers(1, 16),
    st.integers(8, 600),
    st.floats(1.0, 100.0),
)
def test_what_other_nodes_push_out_comes_back_once(
    cell: CellName, steps: int, rows: int, hidden: int, times: float
) -> None:
    """Never faster than alone, and never longer than reading it all at its slowest."""
    layer = Layer(cell=cell, steps=steps, rows=rows, inputs=hidden, hidden=hidden)
    base = machine()
    alone_s = layer_time(layer, base, 1).total_s
    among_s = layer_time(layer, base, 1, times * layer.footprint_bytes).total_s
    slowest = max(point.s_per_byte for point in base.products.far)
    read_s = COLD * slowest * layer.footprint_bytes
    again = 1 + base.products.again
    assert alone_s * (1 - 1e-9) <= among_s <= again * alone_s + 2 * read_s


def test_few_steps_wait_longer_for_each_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of one step has nothing to do while its weights come back."""
    base = machine()

    def far_away_s(steps: int) -> float:
        layer = Layer(cell="lstm", steps=steps, rows=1, inputs=128, hidden=128)
        return layer_time(layer, base, 1, 100 * layer.footprint_bytes).total_s

    slow = {steps: far_away_s(steps) for steps in (1, 40)}
    monkeypatch.setattr("rnncost.latency.onnxruntime_cpu.layers.COLD", 1.0)
    longer = {steps: slow[steps] - far_away_s(steps) for steps in slow}
    assert longer[1] > 5 * longer[40] > 0
