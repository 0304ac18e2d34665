"""The model of PyTorch on a CPU: by hand on round numbers, and against measured layers."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path
from typing import Any

import msgspec
import pytest
from count_graphs import Builder, activation, weight
from hypothesis import given, settings
from hypothesis import strategies as st
from published_mcu import layer as graph_of

from rnncost.counting.count import count
from rnncost.graph.ir import Graph
from rnncost.latency import estimate
from rnncost.latency.pytorch_cpu import INTERVAL, Constants, Layer, layer_time
from rnncost.latency.roofline import device_of
from rnncost.profiles.schema import HardwareProfile
from rnncost.report.model import Estimate

MEASURED = Path(__file__).parent / "data" / "pytorch_cpu_layers.csv"
"""Layers that no constant was fitted to: PyTorch 2.13, one thread, benchmarks/pytorch_cpu.py."""

ROUND = {
    "run_s": 1e-5,
    "op_s": 1e-6,
    "cell_s": 2e-6,
    "lstm_layer_s": 5e-5,
    "unfused_lstm_layer_s": 2e-5,
    "gru_layer_s": 2e-5,
    "rnn_layer_s": 2e-5,
    "lstm_step_s": 1e-6,
    "unfused_lstm_step_s": 8e-6,
    "gru_step_s": 9e-6,
    "rnn_step_s": 3e-6,
    "unfused_lstm_unit_s": 4e-9,
    "gru_unit_s": 3e-9,
    "rnn_unit_s": 1e-9,
    "reorder_bytes_per_s": 1e9,
    "packed_efficiency": 0.5,
    "few_rows_efficiency": 0.25,
    "many_rows_efficiency": 0.8,
}


def number(value: float) -> dict[str, object]:
    return {"value": value, "kind": "measured", "source": "a test"}


def device(
    block: dict[str, float] | None = None, *, near_bytes: float = 1e6, **rates: float
) -> HardwareProfile:
    """A profile with a cache and a memory."""
    rates = {"peak": 1e10, "near": 1e10, "far": 1e9, **rates}
    data: dict[str, Any] = {
        "schema_version": 1,
        "name": "test",
        "title": "A device of round numbers",
        "kind": "cpu",
        "runtime": "pytorch-cpu",
        "version": "1",
        "threads": 4,
        "peak_macs_per_s": {"fp32": number(rates["peak"])},
        "elementwise_per_s": number(1e9),
        "memory": [
            {
                "name": "near",
                "size_bytes": number(near_bytes),
                "bandwidth_bytes_per_s": number(rates["near"]),
            },
            {"name": "far", "bandwidth_bytes_per_s": number(rates["far"])},
        ],
    }
    if block is not None:
        data["pytorch_cpu"] = {name: number(value) for name, value in block.items()}
    return msgspec.convert(data, HardwareProfile)


def run(cell: str, steps: int, inputs: int, hidden: int, **more: Any) -> Estimate:
    profile = more.pop("profile", None) or device(ROUND)
    precision = more.pop("precision", None)
    return estimate(
        count(graph_of(cell, steps, inputs, hidden, **more)), profile, precision=precision
    )


def test_an_lstm_in_onednn() -> None:
    # T = 10, I = 32, H = 64, B = 1. Weights 256·96·4 = 98 304 bytes: 98.304 µs to reorder.
    # Inputs: 10·32·256 = 81 920 MACs at 5e9: 16.384 µs, 32 768 bytes at 1e10 take 3.3. A step:
    # 16 384 MACs in 3.2768 µs, 65 536 bytes in 6.5536 µs: memory, and 1 µs.
    result = run("LSTM", 10, 32, 64)
    assert result.step_s == pytest.approx(1e-6 + 6.5536e-6)
    assert result.parallel_s == pytest.approx(98.304e-6 + 16.384e-6)
    assert result.overhead_s == pytest.approx(1e-5 + 5e-5)
    assert result.sequential_s == pytest.approx(10 * 7.5536e-6)
    assert result.notes == ["the interval is that of layers on the machine of the constants"]
    activations = 4 * 10 * (32 + 64)
    assert result.level_bytes["near"] >= 32_768 + 10 * 65_536 + activations
    assert result.dram_bytes == 0


def test_a_gru_reads_its_weights_for_every_three_rows() -> None:
    # B = 4: 192·64 = 12 288 MACs a row in 4.9152 µs at 2.5e9: 19.6608 µs for 4. 49 152 bytes
    # twice at 1e10: 9.8 µs. Units: 4·64·3 ns = 0.768 µs.
    result = run("GRU", 10, 32, 64, batch=4)
    assert result.step_s == pytest.approx(9e-6 + 0.768e-6 + 19.6608e-6)
    slow = run("GRU", 10, 32, 64, batch=4, profile=device(ROUND, near=1e9))
    assert slow.step_s == pytest.approx(9e-6 + 0.768e-6 + 2 * 49.152e-6)
    # Inputs: 40 rows, packed first: 2·24 576 bytes at 1e10, 40·6144 MACs at 8e9.
    assert result.parallel_s == pytest.approx(4.9152e-6 + 30.72e-6)


def test_weights_beyond_the_cache_come_from_memory() -> None:
    kept, spilt = (
        run("RNN", 10, 8, 64, profile=device(ROUND, near_bytes=size, peak=1e12))
        for size in (1e6, 1e4)
    )
    # r is 16 384 bytes; i.e. 1.6 times a cache of 10 kB, and of one of 1 MB next to nothing.
    assert kept.step_s == pytest.approx(3e-6 + 0.064e-6 + 16_384 / 1e10)
    assert spilt.step_s == pytest.approx(3e-6 + 0.064e-6 + 16_384 / 1e9)
    assert kept.dram_bytes == 0
    assert spilt.dram_bytes == 10 * 16_384
    # Of a cache of 20 kB it fills 0.8192: (0.8192 - 0.4) / 0.9 of it comes from memory.
    part = run("RNN", 10, 8, 64, profile=device(ROUND, near_bytes=2e4, peak=1e12))
    missed = (0.8192 - 0.4) / 0.9
    assert part.step_s == pytest.approx(
        3e-6 + 0.064e-6 + 16_384 * (missed / 1e9 + (1 - missed) / 1e10)
    )


def test_columns_come_in_tiles_of_32() -> None:
    fast = {"near": 1e15, "far": 1e14}
    odd, even = (run("RNN", 1, 8, h, profile=device(ROUND, **fast)) for h in (33, 64))
    # 33 columns take the MACs of 64: 33·64 and 64·64 at 2.5e9.
    assert odd.step_s == pytest.approx(3e-6 + 33e-9 + 33 * 64 / 2.5e9)
    assert even.step_s == pytest.approx(3e-6 + 64e-9 + 64 * 64 / 2.5e9)


def test_both_directions_run_in_turn() -> None:
    one, both = (run("LSTM", 10, 32, 64, direction=d) for d in ("forward", "bidirectional"))
    assert both.latency_s - 1e-5 == pytest.approx(2 * (one.latency_s - 1e-5))
    assert both.step_s == one.step_s


def test_an_lstm_that_onednn_does_not_run() -> None:
    eight = run("LSTM", 10, 32, 64, precision="int8")
    assert eight.step_s is not None
    assert eight.step_s > 8e-6
    assert any("fp32 alone" in note for note in eight.notes)
    projected = Builder()
    x = activation("x", 10, 1, 32)
    y = projected.add(
        "LSTM",
        [x, weight("w", 1, 256, 32), weight("r", 1, 256, 16), *[None] * 5, weight("p", 1, 16, 64)],
        (10, 1, 1, 16),
        hidden_size=64,
        proj_size=16,
    )
    graph = Graph(inputs=(x,), outputs=(y,), ops=tuple(projected.ops))
    result = estimate(count(graph), device(ROUND))
    # 16·256 MACs and 64·32 (16 columns fill a tile of 32), one row, at 2.5e9.
    assert result.step_s == pytest.approx(8e-6 + 64 * 4e-9 + (16 * 256 + 64 * 32) / 2.5e9)


def test_a_profile_without_the_block_says_whose_constants_it_takes() -> None:
    result = run("GRU", 10, 32, 64, profile=device())
    assert any("no constants of PyTorch" in note for note in result.notes)
    some = run("GRU", 10, 32, 64, profile=device({"gru_step_s": 1e-3}))
    assert some.step_s is not None
    assert some.step_s > 1e-3
    (note,) = (note for note in some.notes if "of PyTorch" in note)
    assert "rnn_step_s" in note
    assert "gru_step_s" not in note


def test_the_rest_of_a_model_costs_an_operator_each() -> None:
    builder = Builder()
    x = activation("x", 1, 8)
    h = builder.add("MatMul", [x, weight("w", 8, 8)], (1, 8))
    builder.add("Relu", [h], (1, 8))
    graph = count(Graph(inputs=(x,), outputs=(), ops=tuple(builder.ops)))
    result = estimate(graph, device(ROUND))
    assert result.overhead_s == pytest.approx(1e-5 + 2e-6)
    assert (result.latency_low_s, result.latency_high_s) == (None, None)
    assert any("no interval" in note for note in result.notes)


def test_threads_are_said_to_be_unmeasured() -> None:
    model = count(graph_of("LSTM", 10, 32, 64))
    result = estimate(model, device(ROUND), threads=2)
    assert result.threads == 2
    assert any("one thread" in note for note in result.notes)


@settings(deadline=None, max_examples=40)
@given(
    cell=st.sampled_from(["RNN", "GRU", "LSTM"]),
    steps=st.integers(1, 60),
    batch=st.integers(1, 20),
    inputs=st.integers(1, 200),
    hidden=st.integers(1, 200),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
)
def test_parts_add_up_and_longer_takes_longer(
    cell: str, steps: int, batch: int, inputs: int, hidden: int, direction: str
) -> None:
    one, more = (
        run(cell, t, inputs, hidden, batch=batch, direction=direction) for t in (steps, steps + 20)
    )
    assert one.latency_s == pytest.approx(one.overhead_s + one.parallel_s + one.sequential_s)
    assert more.latency_s > one.latency_s
    assert more.sequential_s == pytest.approx((steps + 20) / steps * one.sequential_s)


def measured() -> list[tuple[Layer, float]]:
    with MEASURED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in rows:
        seconds = float(row.pop("latency_s"))
        layer = msgspec.convert({**row, "output": row["hidden"]}, Layer, strict=False)
        found.append((layer, seconds))
    return found


def test_measured_layers_are_met() -> None:
    """160 layers that were not fitted, on the machine of the constants."""
    profile = device(peak=9.18e10, near=8.97e10, far=2.75e10, near_bytes=2 * 2**20)
    machine, constants = device_of(profile, 1), Constants()
    ratios = sorted(
        seconds
        / (constants.run_s + layer.directions * layer_time(layer, constants, machine).total_s)
        for layer, seconds in measured()
    )
    assert len(ratios) == 160
    errors = [abs(1 / ratio - 1) for ratio in ratios]
    assert statistics.median(errors) < 0.06
    assert statistics.quantiles(errors, n=10)[-1] < 0.18
    assert max(errors) < 0.5
    low, high = INTERVAL
    assert 0.85 <= statistics.mean(low <= ratio <= high for ratio in ratios) <= 0.95
