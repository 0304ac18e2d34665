"""The times of nodes: reading profiles, and taking the profiler's own cost off."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rnncost.errors import MeasurementError
from rnncost.runtime.node_times import CostProbe, NodeTime, Profile, ProfilerCost, node_times
from rnncost.runtime.session import create_session
from rnncost.runtime.timing import prepare, time_interleaved

FREE = ProfilerCost(inside_s=0.0, outside_s=0.0)


def kernel(name: str, op_type: str, start: int, duration: int) -> dict[str, Any]:
    args = {"op_name": op_type, "input_type_shape": [], "output_type_shape": []}
    return {"name": f"{name}_kernel_time", "ts": start, "dur": duration, "args": args}


def run_of(duration: int, *events: dict[str, Any]) -> list[dict[str, Any]]:
    return [*events, {"name": "model_run", "ts": 0, "dur": duration, "args": {}}]


def lines(*runs: list[dict[str, Any]]) -> Iterable[bytes]:
    yield b"[\n"
    for run in runs:
        for event in run:
            yield json.dumps(event, separators=(",", ":")).encode() + b",\n"
    yield b"]\n"


def test_times_are_means_over_the_fastest_runs() -> None:
    runs = [
        run_of(100 + slower, kernel("a", "Add", 10, 20 + slower), kernel("b", "Mul", 50, 30))
        for slower in (1, 0, 2, 900, 800)
    ]
    times = node_times(lines(*runs), FREE)
    assert [(t.name, t.op_type, t.executions) for t in times] == [("a", "Add", 1), ("b", "Mul", 1)]
    assert times[0].seconds == pytest.approx(21e-6)
    assert times[1].seconds == pytest.approx(30e-6)


def test_the_profilers_cost_is_taken_off_and_nothing_is_below_zero() -> None:
    run = run_of(100, kernel("a", "Add", 10, 20), kernel("b", "Mul", 50, 1))
    cost = ProfilerCost(inside_s=2e-6, outside_s=5e-6)
    times = node_times(lines(run), cost)
    assert times[0].seconds == pytest.approx(18e-6)
    assert times[1].seconds == 0.0


def test_a_loop_has_only_the_time_that_its_body_does_not_have() -> None:
    """Two trips of two nodes of 10 µs each, 3 µs apart, in a loop of 100 µs."""
    body = [
        kernel("x", "Add", 110, 10),
        kernel("y", "Mul", 123, 10),
        kernel("x", "Add", 150, 10),
        kernel("y", "Mul", 163, 10),
    ]
    before = kernel("before", "Add", 50, 10)
    loop = kernel("loop", "Loop", 100, 100)
    times = node_times(lines(run_of(300, before, *body, loop)), FREE)
    found = {(t.path, t.name): (t.seconds, t.executions) for t in times}
    assert found == {
        ((), "before"): (pytest.approx(10e-6), 1),
        ((), "loop"): (pytest.approx(54e-6), 1),
        (("loop",), "x"): (pytest.approx(20e-6), 2),
        (("loop",), "y"): (pytest.approx(20e-6), 2),
    }
    # A trip ends with the events of its last node and of its body; each node has its own cost.
    cost = ProfilerCost(inside_s=1e-6, outside_s=2e-6)
    costly = {t.name: t.seconds for t in node_times(lines(run_of(300, *body, loop)), cost)}
    assert costly["loop"] == pytest.approx((54 - 1 - 2 * 2 * 2) * 1e-6)
    assert costly["x"] == pytest.approx((20 - 2 * 1) * 1e-6)


def test_an_if_inside_a_loop_keeps_its_own_nodes() -> None:
    inner = [kernel("z", "Neg", 120, 10), kernel("if", "If", 110, 40)]
    loop = kernel("loop", "Loop", 100, 100)
    times = node_times(lines(run_of(300, *inner, loop)), FREE)
    assert [(t.path, t.name) for t in times] == [
        ((), "loop"),
        (("loop",), "if"),
        (("loop", "if"), "z"),
    ]
    assert sum(t.seconds for t in times) == pytest.approx(100e-6)


def test_runs_that_took_another_branch_are_left_out() -> None:
    usual = run_of(100, kernel("a", "Add", 10, 20))
    odd = run_of(1, kernel("b", "Mul", 10, 1))
    times = node_times(lines(usual, odd, usual), FREE)
    assert [t.name for t in times] == ["a"]


def test_a_profile_without_a_run_is_refused() -> None:
    with pytest.raises(MeasurementError, match="holds no run"):
        node_times([b"[\n", b"]\n"], FREE)
    with pytest.raises(MeasurementError, match="cannot be read"):
        node_times([b'[\n{"name":"a_kernel_time",,}\n'], FREE)


def loop_model() -> bytes:
    """Eight trips of a product with a [256, 256] matrix, and one product after them."""
    float_ = TensorProto.FLOAT
    weights = numpy_helper.from_array(np.full((256, 256), 1e-3, np.float32), "w")
    true = numpy_helper.from_array(np.array(True), "true")
    trips = numpy_helper.from_array(np.array(8, np.int64), "trips")
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["still"], name="go on"),
            helper.make_node("MatMul", ["h", "w"], ["next"], name="step"),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("h", float_, [64, 256]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", float_, [64, 256]),
        ],
    )
    nodes = [
        helper.make_node("Loop", ["trips", "true", "x"], ["last"], name="loop", body=body),
        helper.make_node("MatMul", ["last", "w"], ["y"], name="after"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", float_, [64, 256])],
        [helper.make_tensor_value_info("y", float_, [64, 256])],
        [weights, true, trips],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def test_a_real_loop_adds_up_to_its_timed_run(tmp_path: Path) -> None:
    model = loop_model()
    inputs = {"x": np.ones((64, 256), np.float32)}
    profile = Profile(model, inputs, threads=1, folder=tmp_path)
    probe = CostProbe(1, tmp_path)
    plain = prepare(create_session(model), inputs)
    timed = time_interleaved([plain, profile.run, *probe.runs], rounds=5, min_time_s=0.01)
    cost = probe.cost(timed.timings[2:])
    assert 0 < cost.inside_s < 1e-3
    assert cost.outside_s < 1e-3
    found = {(t.path, t.name): t for t in profile.finish(cost)}
    step, after = found[("loop",), "step"], found[(), "after"]
    assert (step.executions, after.executions) == (8, 1)
    # Eight of the same product: wide limits, for the machine may be busy.
    assert 3 < step.seconds / after.seconds < 20
    whole = sum(t.seconds for t in found.values())
    assert 0.4 < whole / timed.timings[0].min_s < 2.5
    assert found[(), "loop"].seconds < step.seconds


def test_the_model_that_runs_is_written_beside_the_profile(tmp_path: Path) -> None:
    inputs = {"x": np.ones((64, 256), np.float32)}
    profile = Profile(loop_model(), inputs, threads=1, folder=tmp_path)
    assert profile.run.run() > 0
    optimized = onnx.load(profile.optimized, load_external_data=False)
    assert {n.name for n in optimized.graph.node} == {"loop", "after"}
    times = profile.finish(FREE)
    assert all(isinstance(time, NodeTime) for time in times)
    assert profile.optimized.is_relative_to(tmp_path)
