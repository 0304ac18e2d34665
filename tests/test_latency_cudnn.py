"""cuDNN's execution model: by hand, against published times, and its properties."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnncost
from rnncost import HardwareProfile
from rnncost.latency.cudnn_constants import CUDNN_6, CUDNN_8, PERSISTENT
from rnncost.latency.cudnn_kernels import (
    START_STEPS,
    Constants,
    Gpu,
    Layer,
    product_of,
    product_s,
    small_step_s,
    standard_s,
    startup_s,
    static_step_s,
    step_s,
    work_of_layer,
)

TABLE = Path(__file__).parent / "data" / "cudnn_recent.csv"
RTX_2070_SUPER = Gpu(
    macs_per_s=4.53e12, cores=40, weight_levels=((4 * 2**20, 448e9), (math.inf, 448e9))
)
V100 = Gpu(macs_per_s=7.85e12, cores=80, weight_levels=((6 * 2**20, 900e9), (math.inf, 900e9)))
ROUND = Constants(
    source="a test",
    call_s=1e-4,
    startup_s=2e-6,
    floor_s=1e-5,
    bandwidth_share=0.5,
    depth_s=(1e-9, 1e-9, 1e-9, 1e-9),
    tile_share=(0.5, 0.5, 0.5, 0.5),
)


def layer(**changes: Any) -> Layer:
    """A layer of 512 units, 4 bytes an element, with changes."""
    given = {"gates": 4, "hidden": 512, "batch": 32, "steps": 50, "directions": 1}
    values = {**given, "element_bytes": 4.0, **changes}
    return Layer(**{"output": values["hidden"], **values})


def number(value: float) -> dict[str, object]:
    return {"value": value, "kind": "assumed", "source": "a test"}


def profile(**changes: object) -> HardwareProfile:
    """An A100-like profile of round numbers that runs cuDNN."""
    return msgspec.convert(
        {
            "schema_version": 1,
            "name": "test-gpu",
            "title": "A GPU of round numbers",
            "kind": "gpu",
            "runtime": "cudnn",
            "version": "1",
            "threads": 1,
            "processor": {"cores": number(108)},
            "peak_macs_per_s": {
                "fp32": number(1e13),
                "fp16": number(1.5e14),
                "bf16": number(1.5e14),
            },
            "memory": [
                {
                    "name": "L2",
                    "size_bytes": number(2e7),
                    "bandwidth_bytes_per_s": number(5e12),
                },
                {"name": "HBM", "bandwidth_bytes_per_s": number(1.5e12)},
            ],
            **changes,
        },
        HardwareProfile,
    )


def model(tmp_path: Path, *, op: str = "LSTM", hidden: int = 512, **shape: int) -> Path:
    """An .onnx file with one layer; ``lengths`` gives it sequence lengths."""
    import numpy as np
    from onnx import helper, numpy_helper, save

    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    steps, batch, inputs = shape.get("steps", 40), shape.get("batch", 8), shape.get("inputs", 256)
    d = shape.get("directions", 1)
    kind = np.dtype(np.float16 if shape.get("half") else np.float32)
    tensor_type = helper.np_dtype_to_tensor_dtype(kind)
    stored = [
        numpy_helper.from_array(np.zeros((d, gates * hidden, inputs), kind), "W"),
        numpy_helper.from_array(np.zeros((d, gates * hidden, hidden), kind), "R"),
    ]
    names = ["X", "W", "R"]
    if shape.get("lengths"):
        stored.append(numpy_helper.from_array(np.full(batch, steps, np.int32), "lengths"))
        names += ["", "lengths"]
    direction = "bidirectional" if d == 2 else "forward"
    node = helper.make_node(op, names, ["Y"], hidden_size=hidden, direction=direction)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("X", tensor_type, [steps, batch, inputs])],
        [helper.make_tensor_value_info("Y", tensor_type, [steps, d, batch, hidden])],
        stored,
    )
    opset = [helper.make_opsetid("", 17)]
    path = tmp_path / "layer.onnx"
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def estimate(path: Path, device: HardwareProfile, **options: Any) -> Any:
    return rnncost.analyze(path, profiles=(device,), **options).estimates[0]


def published() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def shape_of(row: dict[str, str]) -> dict[str, int]:
    return {name: int(row[name]) for name in ("steps", "batch", "inputs", "hidden", "layers")}


def pytorch_s(row: dict[str, str], gpu: Gpu, *, small_h: bool) -> float:
    """A stack of layers of PyTorch: input products and steps, by either algorithm."""
    gates = {"lstm": 4, "vanilla": 1}[row["cell"]]
    s = shape_of(row)
    total_s = 0.0
    for i in range(s["layers"]):
        one = layer(gates=gates, hidden=s["hidden"], batch=s["batch"], steps=s["steps"])
        inputs = product_of(
            gates * s["hidden"],
            s["steps"] * s["batch"],
            s["inputs"] if i == 0 else s["hidden"],
            gpu,
            bytes_per_s=gpu.weight_levels[-1][1],
            element_bytes=4,
        )
        total_s += product_s(inputs, CUDNN_8)
        if small_h:
            total_s += CUDNN_8.call_s + s["steps"] * small_step_s(one, gpu, PERSISTENT)
        else:
            total_s += standard_s(work_of_layer(one, gpu), CUDNN_8)
    return total_s


def errors(rows: list[dict[str, str]], gpu: Gpu, column: str) -> list[float]:
    return [
        abs(pytorch_s(row, gpu, small_h=column == "small_h_ms") * 1e3 / float(row[column]) - 1)
        for row in rows
    ]


# By hand


def test_a_product_of_many_rows_runs_in_whole_waves() -> None:
    gpu = Gpu(macs_per_s=1e12, cores=10, weight_levels=((math.inf, 1e9),))
    # 2048 columns are 16 tiles of 128, 40 rows one tile of 64: two waves on 10 processors.
    product = product_of(2048, 40, 512, gpu, bytes_per_s=1e9, element_bytes=4)
    assert product.kernel == 2
    assert product.tiles_s == pytest.approx(2 * 128 * 64 * 512 / 1e11)
    assert product.peak_s == pytest.approx(2048 * 40 * 512 / 1e12)
    assert product.memory_s == pytest.approx(2048 * 512 * 4 / 1e9)


def test_the_bounds_of_a_product_add_up_as_a_4_norm() -> None:
    gpu = Gpu(macs_per_s=1e12, cores=10, weight_levels=((math.inf, 1e12),))
    product = product_of(2048, 40, 512, gpu, bytes_per_s=1e12, element_bytes=4)
    depth, tiles, memory = 512e-9, 2 * 128 * 64 * 512 / 1e11 / 0.5, 2048 * 512 * 4 / 1e12 / 0.5
    expected = (depth**4 + tiles**4 + memory**4) ** 0.25
    assert product_s(product, ROUND) == pytest.approx(expected)


def test_few_rows_are_bound_by_bandwidth_alone() -> None:
    gpu = Gpu(macs_per_s=1e12, cores=10, weight_levels=((math.inf, 1e9),))
    for rows in (1, 4):
        product = product_of(2048, rows, 512, gpu, bytes_per_s=1e9, element_bytes=2)
        assert product_s(product, ROUND) == pytest.approx(2048 * 512 * 2 / 1e9 / 0.5)
    assert product_of(2048, 5, 512, gpu, bytes_per_s=1e9, element_bytes=2).kernel == 0


def test_a_large_product_stays_below_the_peak() -> None:
    product = product_of(4096, 100_000, 4096, V100, bytes_per_s=9e11, element_bytes=4)
    fastest = 4096 * 100_000 * 4096 / 7.85e12
    assert product_s(product, CUDNN_8) >= fastest / CUDNN_8.peak_share * 0.999


def test_a_layer_is_its_call_its_start_and_its_steps() -> None:
    work = work_of_layer(layer(steps=50), V100)
    assert standard_s(work, ROUND) == pytest.approx(
        ROUND.call_s + startup_s(work, ROUND) + 50 * step_s(work, ROUND)
    )


def test_the_start_fades_and_spares_weights_in_a_cache() -> None:
    small = work_of_layer(layer(hidden=512), V100)  # 4 MiB of R in 6 MiB
    assert startup_s(small, ROUND) == 0
    large = work_of_layer(layer(hidden=1024, steps=100_000), V100)
    assert startup_s(large, ROUND) == pytest.approx(ROUND.startup_s * START_STEPS, rel=0.01)
    first = work_of_layer(layer(hidden=1024, steps=1), V100)
    assert startup_s(first, ROUND) == pytest.approx(ROUND.startup_s, rel=0.02)


def test_a_projection_is_a_product_of_its_own() -> None:
    plain, projected = layer(hidden=1024), layer(hidden=1024, output=256)
    assert len(work_of_layer(projected, V100).products) == 2
    assert projected.recurrent_bytes == 4 * (4 * 1024 * 256 + 256 * 1024)
    assert projected.recurrent_bytes < plain.recurrent_bytes


def test_small_h_stays_in_registers_up_to_their_size() -> None:
    fits = small_step_s(layer(hidden=128, batch=1), V100, PERSISTENT)
    spills = small_step_s(layer(hidden=129, batch=1), V100, PERSISTENT)
    assert spills > 3 * fits
    assert fits == pytest.approx(3.6e-7 + 4 * 128 * 128 / 8.9e10)


def test_static_persistent_step() -> None:
    got = static_step_s(layer(hidden=1024, batch=64), V100, PERSISTENT)
    assert got == pytest.approx(3.8e-6 + 4 * 1024 * 1024 * 64 / (7.85e12 * 0.45))


# Against published times that no constant was fitted to (standard), and the fit (small H)


def test_a_named_card_that_was_never_fitted() -> None:
    rows = [row for row in published() if row["gpu"] == "RTX 2070 SUPER"]
    assert len(rows) == 36
    found = errors(rows, RTX_2070_SUPER, "standard_ms")
    assert median(found) < 0.2
    assert max(found) < 0.6


def test_small_layers_of_a_later_library() -> None:
    rows = [row for row in published() if row["gpu"] == "unnamed"]
    assert len(rows) == 40
    assert median(errors(rows, V100, "standard_ms")) < 0.35


def test_the_small_h_algorithm() -> None:
    rows = [row for row in published() if row["gpu"] == "unnamed"]
    found = errors(rows, V100, "small_h_ms")
    assert median(found) < 0.3
    assert max(found) < 0.8
    # The gain that made PyTorch take it: a layer of 40 units becomes several times faster.
    small = next(r for r in rows if r["hidden"] == "40" and r["layers"] == "1")
    gain = pytorch_s(small, V100, small_h=False) / pytorch_s(small, V100, small_h=True)
    assert 5 < gain < 20


# Properties


@settings(max_examples=200, deadline=None)
@given(
    gates=st.sampled_from([1, 3, 4]),
    hidden=st.integers(1, 4096),
    batch=st.integers(1, 300),
    steps=st.integers(1, 2000),
    constants=st.sampled_from([CUDNN_6, CUDNN_8]),
)
def test_more_work_takes_no_less_time(
    gates: int, hidden: int, batch: int, steps: int, constants: Constants
) -> None:
    base = layer(gates=gates, hidden=hidden, batch=batch, steps=steps)
    time = standard_s(work_of_layer(base, V100), constants)
    assert 0 < time < math.inf
    more = layer(gates=gates, hidden=hidden, batch=batch, steps=steps + 1)
    assert standard_s(work_of_layer(more, V100), constants) > time
    both = layer(gates=gates, hidden=hidden, batch=batch, steps=steps, directions=2)
    two = standard_s(work_of_layer(both, V100), constants)
    assert time <= two
    # Two directions at once take no longer than one after the other, whose R fits better.
    settled = step_s(work_of_layer(both, V100), constants)
    assert settled <= 2.001 * step_s(work_of_layer(base, V100), constants)


# The whole estimate


def test_an_estimate_adds_up(tmp_path: Path) -> None:
    got = estimate(model(tmp_path, steps=40, batch=64), profile())
    work = work_of_layer(layer(batch=64, steps=40), gpu_of_profile())
    assert got.sequential_s == pytest.approx(40 * step_s(work, CUDNN_8))
    assert got.step_s == pytest.approx(step_s(work, CUDNN_8))
    parts = got.sequential_s + got.parallel_s + got.overhead_s
    assert got.latency_s == pytest.approx(parts)
    assert got.latency_low_s == pytest.approx(got.latency_s * 0.6)
    assert got.latency_high_s == pytest.approx(got.latency_s * 1.4)
    assert any("V100" in note for note in got.notes)


def gpu_of_profile() -> Gpu:
    return Gpu(macs_per_s=1e13, cores=108, weight_levels=((2e7, 5e12), (math.inf, 1.5e12)))


def test_a_profile_overrides_constants(tmp_path: Path) -> None:
    path = model(tmp_path, steps=40, batch=1)
    slow = profile(cudnn={"floor_s": number(1e-3)})
    assert estimate(path, slow).sequential_s > 40e-3
    assert any("floor_s" in note for note in estimate(path, slow).notes)
    old = estimate(path, profile(cudnn={"kernels": "cudnn-6"}))
    assert any("Maxwell and Pascal" in note for note in old.notes)


@pytest.mark.parametrize(
    ("shape", "precision", "persistent"),
    [
        ({"hidden": 192}, None, True),
        ({"hidden": 200}, None, False),
        ({"hidden": 384, "op": "RNN"}, None, True),
        ({"hidden": 192, "lengths": 1}, None, False),
        ({"hidden": 512, "half": 1}, None, True),
        ({"hidden": 512, "half": 1, "inputs": 100}, None, False),
        ({"hidden": 512, "half": 1, "batch": 7}, None, False),
        ({"hidden": 512, "half": 1, "directions": 2}, None, False),
        ({"hidden": 512, "half": 1, "op": "GRU"}, None, False),
        ({"hidden": 512}, "fp16", True),
        ({"hidden": 192}, "fp64", False),
    ],
)
def test_the_algorithm_is_the_one_that_pytorch_picks(
    tmp_path: Path, shape: dict[str, Any], precision: str | None, persistent: bool
) -> None:
    path = model(tmp_path, **shape)
    options = {} if precision is None else {"precision": precision}
    found = estimate(path, profile(), **options)
    assert any("persistent algorithms" in note for note in found.notes) == persistent
    assert (found.latency_low_s is None) == persistent
    onnxruntime = profile(cudnn={"framework": "onnxruntime"})
    assert not any("persistent" in n for n in estimate(path, onnxruntime, **options).notes)


def test_eight_bits_and_unknown_processors_are_rooflines(tmp_path: Path) -> None:
    path = model(tmp_path)
    small = estimate(path, profile(), precision="int8")
    assert any("no layers of cuDNN" in note for note in small.notes)
    bare = profile(processor={})
    as_roofline = msgspec.structs.replace(bare, runtime="roofline")
    assert estimate(path, bare).latency_s == estimate(path, as_roofline).latency_s
    assert any("processor.cores" in note for note in estimate(path, bare).notes)
