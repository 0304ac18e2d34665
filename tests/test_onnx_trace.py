"""The traced run: counts are those of what ONNX Runtime executed, whatever decided it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import executed
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from rnncost.errors import ControlFlowError, MeasurementError
from rnncost.frontends.onnx import load
from rnncost.graph.ir import Graph, Op
from rnncost.graph.source import Request, Source
from rnncost.runtime import profiling
from rnncost.runtime.profiling import profile_nodes

HEADER = '<ir_version: 9, opset_import: ["" : 17]>\n'
EYE = "{1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}"


def model_of(text: str) -> onnx.ModelProto:
    model = parser.parse_model(HEADER + text.replace("EYE", EYE))
    onnx.checker.check_model(model)
    return model


def traced(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Source:
    """Lower by a trace, and hold the result against another run."""
    source = load(model.SerializeToString(), Request(shapes=dict(shapes or {}), trace=True))
    assert source.traced
    assert executed.counted(source.graph) == executed.run(model, source.shapes)
    return source


def refused_without(model: onnx.ModelProto) -> None:
    with pytest.raises(ControlFlowError, match="--trace"):
        load(model.SerializeToString(), Request())


def loops(graph: Graph) -> list[Op]:
    return [op for op in graph.ops if op.op_type == "Loop"]


GROWS_BY_DATA = """
g (float[2,4] x) => (float[rows,4] y, float[t,4] sums)
<float[4,4] w = EYE, float limit = {30}, bool yes = {1}, float one = {1}> {
  x0 = Abs(x)
  x1 = Add(x0, one)
  y, sums = Loop (, yes, x1) <body = step (int64 i, bool c, float[a,4] h)
    => (bool c_out, float[b,4] h_out, float[4] row) {
      m = MatMul(h, w)
      h_out = Concat <axis = 0> (m, x1)
      total = ReduceSum <keepdims = 0> (h_out)
      axis = Constant <value_ints = [0]> ()
      row = ReduceSum <keepdims = 0> (h_out, axis)
      c_out = Less(total, limit)
  }>
}
"""


def test_a_state_that_grows_until_the_data_stops_it() -> None:
    model = model_of(GROWS_BY_DATA)
    refused_without(model)
    source = traced(model)
    trips = [op.trips for op in loops(source.graph)]
    assert trips == [1] * len(trips)
    assert source.graph.outputs[0].shape == (2 + 2 * len(trips), 4)
    assert source.graph.outputs[1].shape == (len(trips), 4)


INNER_BY_DATA = """
g (float[2,4] x) => (float[2,4] y)
<float[4,4] w = {2,0,0,0, 0,2,0,0, 0,0,2,0, 0,0,0,2}, int64 trips = {3}, bool yes = {1},
 float limit = {50}, float scale = {0.125}, float one = {1}> {
  x0 = Abs(x)
  x1 = Add(x0, one)
  y = Loop (trips, yes, x1) <body = outer (int64 i, bool c, float[2,4] h)
    => (bool c_out, float[2,4] h_out) {
      c_out = Identity(c)
      grown = Loop (, yes, h) <body = inner (int64 j, bool d, float[2,4] e)
        => (bool d_out, float[2,4] e_out) {
          e_out = MatMul(e, w)
          top = ReduceMax <keepdims = 0> (e_out)
          d_out = Less(top, limit)
      }>
      h_out = Mul(grown, scale)
  }>
}
"""


def test_inner_loops_may_run_differently_in_every_outer_trip() -> None:
    model = model_of(INNER_BY_DATA)
    refused_without(model)
    source = traced(model)
    assert sum(int(op.trips) for op in loops(source.graph)) == 3
    bodies = [op.body for op in loops(source.graph) if op.body is not None]
    inner = {op.trips for body in bodies for op in loops(body)}
    assert len(inner) > 1


BRANCH_BY_DATA = """
g (float[2,4] x) => (float[2,4] y)
<float[4,4] w = {2,0,0,0, 0,2,0,0, 0,0,2,0, 0,0,0,2}, int64 trips = {8}, bool yes = {1},
 float limit = {40}, float one = {1}> {
  x0 = Abs(x)
  x1 = Add(x0, one)
  y = Loop (trips, yes, x1) <body = outer (int64 i, bool c, float[2,4] h)
    => (bool c_out, float[2,4] h_out) {
      c_out = Identity(c)
      top = ReduceMax <keepdims = 0> (h)
      small = Less(top, limit)
      h_out = If (small) <
        then_branch = grow () => (float[2,4] p) { p = MatMul(h, w) },
        else_branch = keep () => (float[2,4] q) { q = Identity(h) }>
  }>
}
"""


def test_a_branch_in_a_loop_is_taken_as_often_as_it_was() -> None:
    source = traced(model_of(BRANCH_BY_DATA))
    first, second = (op.trips for op in loops(source.graph))
    assert first + second == 8
    assert not source.warnings


UNKNOWN_SHAPE = """
g (float[6] x) => (float[n,3] y)
<float[1,3] w = {1, 2, 3}> {
  places = NonZero(x)
  columns = Transpose(places)
  rows = Cast <to = 1> (columns)
  y = MatMul(rows, w)
}
"""


def test_shapes_that_only_the_data_knows_come_from_the_run() -> None:
    model = model_of(UNKNOWN_SHAPE)
    static = load(model.SerializeToString(), Request())
    assert static.graph.outputs[0].shape is None
    assert traced(model).graph.outputs[0].shape == (6, 3)


def test_a_function_with_a_loop_and_a_branch() -> None:
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17, "my" : 1]>'
        f"g (float[2,4] x) => (float[2,4] y) <float[4,4] w = {EYE}> {{"
        "  a = my.cell(x, w)"
        "  y = my.cell(a, w)"
        "}"
        '<domain: "my", opset_import: ["" : 17]>'
        "cell (x, w) => (y) {"
        "  three = Constant <value_int = 3> ()"
        "  zero = Constant <value_float = 0.0> ()"
        "  y = Loop (three, , x) <body = step (int64 i, bool c, float[2,4] h)"
        "    => (bool c_out, float[2,4] h_out) {"
        "      c_out = Identity(c)"
        "      top = ReduceMax <keepdims = 0> (h)"
        "      some = Greater(top, zero)"
        "      h_out = If (some) <"
        "        then_branch = p () => (float[2,4] q) { q = MatMul(h, w) },"
        "        else_branch = r () => (float[2,4] s) { s = Neg(h) }>"
        "  }>"
        "}"
    )
    source = traced(model)
    assert [op.trips for op in loops(source.graph)] == [3, 3]
    assert not source.warnings


def test_operators_that_the_runtime_itself_unfolds_keep_their_shapes() -> None:
    text = """
    g (float[2,4] x) => (float[2,4] y) {
      c = Celu <alpha = 2.0> (x)
      m = MeanVarianceNormalization <axes = [1]> (c)
      s = Softsign(m)
      y = CastLike(s, x)
    }"""
    model = model_of(text)
    source = load(model.SerializeToString(), Request(trace=True))
    assert [op.op_type for op in source.graph.ops] == [n.op_type for n in model.graph.node]
    assert all(op.outputs[0].shape == (2, 4) for op in source.graph.ops)


def test_external_data_is_read_by_the_runtime(tmp_path: Path) -> None:
    array = np.eye(64, dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, "w")],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    file = tmp_path / "model.onnx"
    onnx.save(model, file, save_as_external_data=True, location="w.bin", size_threshold=0)
    source = load(file, Request(dims={"n": 3}, trace=True))
    assert source.graph.outputs[0].shape == (3, 64)
    os.remove(tmp_path / "w.bin")
    with pytest.raises(MeasurementError):
        load(file, Request(dims={"n": 3}, trace=True))


def test_a_model_that_does_not_run_is_refused_in_one_line() -> None:
    node = helper.make_node("Blur", ["x"], ["y"], domain="my.ops")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.ops", 1)]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
    )
    model = helper.make_model(graph, ir_version=9, opset_imports=opsets)
    with pytest.raises(MeasurementError) as caught:
        load(model.SerializeToString(), Request(trace=True))
    assert "\n" not in str(caught.value)


def test_a_run_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    text = INNER_BY_DATA.replace("d_out = Less(top, limit)", "d_out = Identity(d)")
    monkeypatch.setattr(profiling, "MAX_RUN_S", 0.2)
    with pytest.raises(MeasurementError, match=r"stopped after 0\.2 s"):
        load(model_of(text).SerializeToString(), Request(trace=True))


def test_a_trace_leaves_no_files_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    traced(model_of(UNKNOWN_SHAPE))
    assert list(tmp_path.iterdir()) == []


def test_events_have_types_shapes_and_times() -> None:
    model = model_of(UNKNOWN_SHAPE)
    for index, node in enumerate(model.graph.node):
        node.name = f"node {index}"
    events = profile_nodes(model.SerializeToString(), shapes={"x": (6,)})
    assert [event.name for event in events] == [f"node {index}" for index in range(4)]
    assert [event.op_type for event in events] == ["NonZero", "Transpose", "Cast", "MatMul"]
    assert events[3].inputs == (("float32", (6, 1)), ("float32", (1, 3)))
    assert events[3].outputs == (("float32", (6, 3)),)
    assert all(event.duration_s >= 0 for event in events)
