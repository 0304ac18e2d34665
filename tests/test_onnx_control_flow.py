"""Branches, loops and scans: what is lowered is what ONNX Runtime executes."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import executed
import numpy as np
import onnx
import pytest
from onnx import parser

from rnncost.errors import ControlFlowError, ModelError
from rnncost.frontends.onnx import load
from rnncost.graph.dim import evaluate
from rnncost.graph.ir import Graph, Op
from rnncost.graph.source import InputValue, Request, Source

HEADER = '<ir_version: 9, opset_import: ["" : 17]>\n'


def model_of(text: str, header: str = HEADER) -> onnx.ModelProto:
    model = parser.parse_model(header + text)
    onnx.checker.check_model(model)
    return model


def lowered(
    model: onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    values: Mapping[str, Any] | None = None,
    *,
    dims: Mapping[str, int] | None = None,
    trace: bool = False,
) -> Source:
    given = {
        name: InputValue(np.shape(value), tuple(np.ravel(value).tolist()))
        for name, value in (values or {}).items()
    }
    request = Request(
        shapes=dict(shapes or {}), values=given, dims=dict(dims or {}), trace=trace, assume=False
    )
    return load(model.SerializeToString(), request)


def ops_named(graph: Graph, op_type: str) -> list[Op]:
    return [op for op in graph.ops if op.op_type == op_type]


def same_as_run(
    model: onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]],
    values: Mapping[str, Any] | None = None,
) -> Source:
    """Lower a model with and without a trace, and hold both against a run."""
    ran = executed.run(model, shapes, values)
    source = lowered(model, shapes, values)
    assert executed.counted(source.graph) == ran
    assert executed.counted(lowered(model, shapes, values, trace=True).graph) == ran
    return source


COUNTED = """
g (float[2,4] x) => (float[2,4] last, float[t,2,4] all)
<float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, int64 trips = {5}, bool yes = {1}> {
  last, all = Loop (trips, yes, x) <body = step (int64 i, bool c, float[2,4] h)
    => (bool c_out, float[2,4] h_out, float[2,4] y) {
      c_out = Identity(c)
      m = MatMul(h, w)
      h_out = Tanh(m)
      y = Relu(h_out)
  }>
}
"""


def test_loop_with_a_known_trip_count_is_one_operator() -> None:
    source = same_as_run(model_of(COUNTED), {"x": (2, 4)})
    (loop,) = source.graph.ops
    assert loop.trips == 5
    assert loop.body is not None
    product = next(op for op in loop.body.ops if op.op_type == "MatMul")
    assert [slab.root for slab in product.inputs[1].stored] == ["w"]
    assert "w" in [t.name for t in loop.inputs if t is not None]
    entries = {t.name for t in loop.body.inputs}
    (carried,) = loop.carried
    assert carried.entry in entries
    assert carried.exit == next(op for op in loop.body.ops if op.op_type == "Tanh").outputs[0].name
    assert [t.shape for t in loop.outputs] == [(2, 4), (5, 2, 4)]


WHILE_BELOW = """
g (float[2,4] x, int64 n) => (float[2,4] last)
<float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, int64 zero = {0}, bool yes = {1}> {
  k, last = Loop (, yes, zero, x) <body = step (int64 i, bool c, int64 k, float[2,4] h)
    => (bool c_out, int64 k_out, float[2,4] h_out)
    <int64 two = {2}> {
      k_out = Add(k, two)
      c_out = LESS(k_out, n)
      m = MatMul(h, w)
      h_out = Tanh(m)
  }>
}
"""


@pytest.mark.parametrize("comparison", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
@pytest.mark.parametrize("n", [-3, 0, 1, 2, 6, 7])
def test_loop_that_counts_until_a_bound(comparison: str, n: int) -> None:
    swapped = comparison.startswith("Greater")
    text = WHILE_BELOW.replace(
        "LESS(k_out, n)", f"{comparison}({'n, k_out' if swapped else 'k_out, n'})"
    )
    same_as_run(model_of(text), {"x": (2, 4), "n": ()}, {"n": n})


@pytest.mark.parametrize(
    ("condition", "n"),
    [
        ("a = Less(k_out, n)\n b = Less(i, n)\n c_out = And(a, b)", 9),
        ("a = Less(k_out, n)\n b = Less(i, n)\n c_out = Or(a, b)", 9),
        ("a = Less(n, k_out)\n c_out = Not(a)", 9),
        ("r = Mod(k_out, n)\n a = Equal(r, zero)\n c_out = Not(a)", 10),
        ("q = Div(n, k_out)\n c_out = Greater(q, two)", 40),
    ],
)
def test_loop_whose_condition_combines_counters(condition: str, n: int) -> None:
    text = WHILE_BELOW.replace("c_out = LESS(k_out, n)", condition)
    same_as_run(model_of(text), {"x": (2, 4), "n": ()}, {"n": n})


def test_a_bound_that_nothing_settles_is_refused_and_named() -> None:
    model = model_of(WHILE_BELOW.replace("LESS", "Less"))
    with pytest.raises(ControlFlowError, match=r"--value n=.*--trace"):
        lowered(model, {"x": (2, 4), "n": ()})


def test_trip_limit_and_condition_both_hold() -> None:
    text = WHILE_BELOW.replace("LESS", "Less").replace("Loop (, yes", "Loop (most, yes")
    model = model_of(text.replace("int64 n)", "int64 n, int64 most)"))
    for most, trips in ((0, 0), (2, 2), (50, 5), (-1, 0)):
        source = same_as_run(model, {"x": (2, 4), "n": (), "most": ()}, {"n": 10, "most": most})
        assert [op.trips for op in ops_named(source.graph, "Loop")] == [trips]


def test_a_loop_that_never_ends_is_refused() -> None:
    text = WHILE_BELOW.replace("c_out = LESS(k_out, n)", "c_out = Identity(c)")
    with pytest.raises(ControlFlowError, match="never ends"):
        lowered(model_of(text), {"x": (2, 4), "n": ()})


def test_a_condition_that_stops_changing_leaves_the_limit() -> None:
    text = WHILE_BELOW.replace("k_out = Add(k, two)", "k_out = Min(k, two)")
    text = text.replace("c_out = LESS(k_out, n)", "r = Mod(k_out, n)\n c_out = Less(r, n)")
    with pytest.raises(ControlFlowError, match="never ends"):
        lowered(model_of(text), {"x": (2, 4), "n": ()}, {"n": 7})
    text = text.replace("Loop (, yes", "Loop (most, yes").replace(
        "int64 n)", "int64 n, int64 most)"
    )
    source = same_as_run(model_of(text), {"x": (2, 4), "n": (), "most": ()}, {"n": 7, "most": 300})
    assert [op.trips for op in ops_named(source.graph, "Loop")] == [300]


def test_a_loop_that_runs_long_is_refused_in_bounded_time() -> None:
    text = WHILE_BELOW.replace("c_out = LESS(k_out, n)", "r = Mod(k_out, n)\n c_out = Less(r, n)")
    with pytest.raises(ControlFlowError, match="--trace"):
        lowered(model_of(text), {"x": (2, 4), "n": ()}, {"n": 7})


def test_a_condition_that_starts_false_runs_nothing_and_keeps_the_weights() -> None:
    text = COUNTED.replace("bool yes = {1}", "bool yes = {0}")
    source = same_as_run(model_of(text), {"x": (2, 4)})
    (loop,) = source.graph.ops
    assert loop.trips == 0
    assert loop.body is not None
    assert any(t.stored for op in loop.body.ops for t in op.inputs if t is not None)


SYMBOLIC = """
g (float[batch,seq,3] x) => (float[seq,batch,4] all)
<float[3,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0}, float[4,4] r = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1},
 int64 zero = {0}, int64 one = {1}, bool yes = {1}, int64[1] four = {4}> {
  xt = Transpose <perm = [1, 0, 2]> (x)
  shape = Shape(xt)
  steps = Gather(shape, zero)
  rows = Gather(shape, one)
  axis = Constant <value_ints = [0]> ()
  rows1 = Unsqueeze(rows, axis)
  dims = Concat <axis = 0> (rows1, four)
  h0 = ConstantOfShape(dims)
  k, h, all = Loop (, yes, zero, h0) <body = step (int64 i, bool c, int64 k, float[b,4] h)
    => (bool c_out, int64 k_out, float[b,4] h_out, float[b,4] y) {
      k_out = Add(k, one)
      f = Cast <to = 1> (k_out)
      t = Cast <to = 1> (steps)
      c_out = Less(f, t)
      step = Gather(xt, i)
      a = MatMul(step, w)
      b0 = MatMul(h, r)
      s = Add(a, b0)
      h_out = Tanh(s)
      y = Identity(h_out)
  }>
}
"""


def test_trip_count_is_a_formula_in_a_free_dimension() -> None:
    model = model_of(SYMBOLIC)
    source = same_as_run(model, {"x": (2, 7, 3)})
    assert source.symbolic is not None
    (loop,) = ops_named(source.symbolic, "Loop")
    for seq in (2, 7, 31):
        assert evaluate(loop.trips, {"batch": 1, "seq": seq}) == seq
    assert loop.body is not None
    shapes = [op.outputs[0].shape for op in loop.body.ops if op.op_type == "MatMul"]
    assert [str(shape[0]) for shape in shapes] == ["batch", "batch"]


def test_weights_that_a_loop_carries_unchanged_stay_weights() -> None:
    text = COUNTED.replace("(trips, yes, x)", "(trips, yes, x, w)")
    text = text.replace("float[2,4] h)", "float[2,4] h, float[4,4] v)").replace(
        "MatMul(h, w)", "MatMul(h, v)"
    )
    text = text.replace(
        "float[2,4] h_out, float[2,4] y)", "float[2,4] h_out, float[4,4] v_out, float[2,4] y)"
    )
    text = text.replace("m = MatMul", "v_out = Identity(v)\n m = MatMul").replace(
        "last, all =", "last, w2, all ="
    )
    source = same_as_run(model_of(text), {"x": (2, 4)})
    (loop,) = source.graph.ops
    assert loop.body is not None
    product = next(op for op in loop.body.ops if op.op_type == "MatMul")
    assert [slab.root for slab in product.inputs[1].stored] == ["w"]
    assert len(loop.carried) == 1


GROWING = """
g (float[2,4] x) => (float[rows,4] last, float[t] sizes)
<float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, int64 trips = {4}, bool yes = {1}> {
  last, sizes = Loop (trips, yes, x) <body = step (int64 i, bool c, float[a,4] h)
    => (bool c_out, float[b,4] h_out, float size) {
      c_out = Identity(c)
      m = MatMul(h, w)
      size = ReduceSum <keepdims = 0> (m)
      h_out = Concat <axis = 0> (m, x)
  }>
}
"""


def test_a_state_that_grows_is_followed_trip_by_trip() -> None:
    source = same_as_run(model_of(GROWING), {"x": (2, 4)})
    loops = ops_named(source.graph, "Loop")
    assert [op.trips for op in loops] == [1, 1, 1, 1]
    for before, after in pairwise(loops):
        assert before.outputs[0] in after.inputs
    assert source.graph.outputs[0].shape == (10, 4)
    assert source.graph.outputs[1].shape == (4,)
    assert source.graph.ops[-1].inputs == tuple(op.outputs[1] for op in loops)


SLICED = """
g (float[6,4] x) => (float[t,1,4] all)
<float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, int64 trips = {6}, bool yes = {1},
 int64[1] one = {1}, int64[1] zero = {0}> {
  all = Loop (trips, yes) <body = step (int64 i, bool c) => (bool c_out, float[1,4] y) {
      c_out = Identity(c)
      start = Unsqueeze(i, zero)
      end = Add(start, one)
      row = Slice(x, start, end, zero)
      y = MatMul(row, w)
  }>
}
"""


def test_a_slice_that_the_trip_number_cuts_has_one_shape_for_all_trips() -> None:
    source = same_as_run(model_of(SLICED), {"x": (6, 4)})
    (loop,) = source.graph.ops
    assert loop.trips == 6
    assert loop.body is not None
    start = next(op for op in loop.body.ops if op.op_type == "Unsqueeze").outputs[0]
    assert start.value is None  # it differs from trip to trip


BRANCH_IN_LOOP = """
g (float[2,4] x) => (float[2,4] last)
<float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1},
 float[4,8] u = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1, 1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1},
 int64 trips = {5}, bool yes = {1}, int64 three = {3}> {
  last = Loop (trips, yes, x) <body = step (int64 i, bool c, float[2,4] h)
    => (bool c_out, float[2,4] h_out) {
      c_out = Identity(c)
      early = Less(i, three)
      h_out = If (early) <
        then_branch = wide () => (float[2,4] a) {
          m = MatMul(h, u)
          a, rest = Split <axis = 1> (m)
        },
        else_branch = narrow () => (float[2,4] b) { b = MatMul(h, w) }>
  }>
}
"""


def test_a_branch_that_the_trip_number_decides() -> None:
    source = same_as_run(model_of(BRANCH_IN_LOOP), {"x": (2, 4)})
    assert [op.trips for op in ops_named(source.graph, "Loop")] == [3, 2]
    assert not source.warnings


NESTED = """
g (float[2,4] x, bool go) => (float[2,4] y)
<float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, int64 trips = {4}, bool yes = {1}> {
  y = Loop (trips, yes, x) <body = outer (int64 i, bool c, float[2,4] h)
    => (bool c_out, float[2,4] h_out) {
      c_out = Identity(c)
      h_out = If (go) <
        then_branch = run () => (float[2,4] a) {
          a = Loop (INNER, yes, h) <body = inner (int64 j, bool d, float[2,4] e)
            => (bool d_out, float[2,4] e_out) {
              d_out = Identity(d)
              m = MatMul(e, w)
              e_out = Tanh(m)
          }>
        },
        else_branch = skip () => (float[2,4] b) { b = Identity(h) }>
  }>
}
"""


@pytest.mark.parametrize(("inner", "products"), [("trips", 16), ("i", 6)])
def test_a_loop_in_a_branch_in_a_loop(inner: str, products: int) -> None:
    model = model_of(NESTED.replace("INNER", inner))
    for go in (True, False):
        source = same_as_run(model, {"x": (2, 4), "go": ()}, {"go": go})
        found = executed.counted(source.graph)
        assert sum(n for (kind, _), n in found.items() if kind == "MatMul") == (
            products if go else 0
        )


def test_weights_of_the_branch_not_taken_are_stored_but_not_executed() -> None:
    model = model_of(NESTED.replace("INNER", "trips"))
    source = lowered(model, {"x": (2, 4), "go": ()}, {"go": False})
    (loop,) = source.graph.ops
    assert loop.body is not None
    (idle,) = [op for op in loop.body.ops if op.executions == 0]
    assert idle.op_type == "MatMul"
    assert [slab.root for t in idle.inputs for slab in t.stored] == ["w"]


CHOICE = """
g (float[2,4] x, SELECTOR) => (float[2,n] y)
<float[4,8] wide = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1, 1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1},
 float[4,4] narrow = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, int64 limit = {8000}> {
  cond = CONDITION
  y = If (cond) <
    then_branch = a () => (float[2,n] p) { p = MatMul(x, narrow) },
    else_branch = b () => (float[2,m] q) { q = MatMul(x, wide) }>
}
"""


def test_the_costlier_branch_is_assumed_and_said() -> None:
    text = CHOICE.replace("SELECTOR", "int64 rate").replace("CONDITION", "Equal(rate, limit)")
    model = model_of(text)
    source = load(
        model.SerializeToString(),
        Request(assume=False),
        cost_of=lambda graph: sum(op.outputs[0].shape[1] for op in graph.ops),
    )
    assert [(op.executions, op.outputs[0].shape) for op in ops_named(source.graph, "MatMul")] == [
        (1, (2, 8)),
        (0, None),
    ]
    (warning,) = source.warnings
    assert "else_branch" in warning
    assert "--value rate=" in warning
    for rate, width in ((8000, 4), (16000, 8)):
        settled = same_as_run(model, {"x": (2, 4), "rate": ()}, {"rate": rate})
        assert not settled.warnings
        assert settled.graph.outputs[0].shape == (2, width)


def test_a_condition_on_the_data_is_settled_by_a_trace() -> None:
    text = CHOICE.replace("SELECTOR", "float[64] data")
    text = text.replace("CONDITION", "Greater(top, least)").replace(
        "  cond",
        "  top = ReduceMax <keepdims = 0> (data)\n"
        "  least = ReduceMin <keepdims = 0> (data)\n  cond",
    )
    model = model_of(text)
    assumed, *_ = lowered(model).warnings
    assert "--trace" in assumed
    assert "--value" not in assumed
    traced = lowered(model, trace=True)
    assert not any("assumed" in warning for warning in traced.warnings)
    assert traced.graph.outputs[0].shape == (2, 4)


def test_a_branch_that_contradicts_its_inputs_is_not_assumed() -> None:
    text = CHOICE.replace("SELECTOR", "int64 rate").replace("CONDITION", "Equal(rate, limit)")
    source = lowered(model_of(text.replace("MatMul(x, wide)", "MatMul(wide, x)")))
    assert source.graph.outputs[0].shape == (2, 4)
    assert "contradict" in source.warnings[0]


DATA_LOOP = """
g (float[2,4] x) => (float[2,4] y)
<float[4,4] w = {2,0,0,0, 0,2,0,0, 0,0,2,0, 0,0,0,2}, float limit = {1000}, bool yes = {1}> {
  y = Loop (, yes, x) <body = step (int64 i, bool c, float[2,4] h)
    => (bool c_out, float[2,4] h_out) {
      h_out = MatMul(h, w)
      positive = Abs(h_out)
      s = ReduceMax <keepdims = 0> (positive)
      c_out = Less(s, limit)
  }>
}
"""


def test_a_loop_that_the_data_stops_needs_a_trace() -> None:
    model = model_of(DATA_LOOP)
    with pytest.raises(ControlFlowError, match=r"depends on the data: .*--trace"):
        lowered(model)
    ran = executed.run(model, {"x": (2, 4)})
    source = lowered(model, trace=True)
    assert executed.counted(source.graph) == ran
    (loop,) = source.graph.ops
    assert loop.trips == ran["MatMul", (("float32", (2, 4)),)] > 5


SEQUENCES = """
g (float[2,4] x) => (float[rows,4] y)
<float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, int64 trips = {TRIPS}, bool yes = {1}> {
  empty = SequenceEmpty <dtype = 1> ()
  full = Loop (trips, yes, empty) <body = step (int64 i, bool c, seq(float[2,4]) s)
    => (bool c_out, seq(float[2,4]) s_out) {
      c_out = Identity(c)
      m = MatMul(x, w)
      s_out = SequenceInsert(s, m)
  }>
  joined = ConcatFromSequence <axis = 0> (full)
  y = Relu(joined)
}
"""


@pytest.mark.parametrize("trips", [1, 3, 5000])
def test_a_sequence_that_a_loop_fills_keeps_its_length(trips: int) -> None:
    source = lowered(model_of(SEQUENCES.replace("TRIPS", str(trips))), {"x": (2, 4)})
    assert source.graph.outputs[0].shape == (2 * trips, 4)
    assert [op.trips for op in ops_named(source.graph, "Loop")] == [trips]


def test_a_sequence_that_the_body_reads_is_followed() -> None:
    text = SEQUENCES.replace("TRIPS", "4").replace("MatMul(x, w)", "MatMul(last, w)")
    text = text.replace("SequenceEmpty <dtype = 1> ()", "SequenceConstruct(x)")
    text = text.replace(
        "m = ", "minus = Constant <value_int = -1> ()\n last = SequenceAt(s, minus)\n m = "
    )
    source = lowered(model_of(text), {"x": (2, 4)})
    assert source.graph.outputs[0].shape == (10, 4)
    products = [k for k in executed.counted(source.graph).items() if k[0][0] == "MatMul"]
    assert products == [(("MatMul", (("float32", (2, 4)),)), 4)]


SCAN = """
g (float[3,2,4] x, float[2,3,5] z, float[2,4] h0) => (float[2,4] last, float[2,4,3] all)
<float[4,4] r = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1},
 float[5,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1, 1,1,1,1}> {
  last, all = Scan <num_scan_inputs = 2, scan_input_axes = [0, 1], scan_input_directions = [0, 1],
    scan_output_axes = [-1], body = step (float[2,4] h, float[2,4] a, float[2,5] b)
    => (float[2,4] h_out, float[2,4] y) {
      m = MatMul(h, r)
      n = MatMul(b, w)
      s = Add(m, n)
      t = Add(s, a)
      h_out = Tanh(t)
      y = Identity(h_out)
  }> (h0, x, z)
}
"""


def test_scan_over_two_axes() -> None:
    source = same_as_run(model_of(SCAN), {"x": (3, 2, 4), "z": (2, 3, 5), "h0": (2, 4)})
    (scan,) = source.graph.ops
    assert scan.trips == 3
    assert [t.shape for t in scan.outputs] == [(2, 4), (2, 4, 3)]
    assert [c.entry for c in scan.carried] == [scan.body.inputs[0].name]
    assert [t.name for t in scan.inputs[:3]] == ["h0", "x", "z"]


def test_scan_over_inputs_of_different_length_is_refused() -> None:
    text = SCAN.replace("float[2,3,5] z", "float[2,n,5] z")
    with pytest.raises(ModelError, match="different numbers of steps: 3, 4"):
        lowered(model_of(text), {"z": (2, 4, 5)})


def test_scan_over_stored_weights_uses_them_all() -> None:
    text = """
    g (float[2,4] x) => (float[2,4] last)
    <float[2,4,4] stack = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1,
                           1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}> {
      last = Scan <num_scan_inputs = 1, body = step (float[2,4] h, float[4,4] w)
        => (float[2,4] h_out) { h_out = MatMul(h, w) }> (x, stack)
    }"""
    source = same_as_run(model_of(text), {"x": (2, 4)})
    (scan,) = source.graph.ops
    (slab,) = scan.body.ops[0].inputs[1].stored
    assert (slab.root, slab.ranges) == ("stack", ((0, 2, 1), (0, 4, 1), (0, 4, 1)))


SCAN_8 = """
g (INPUTS float[3,2] initial, float[3,5,2] x) => (float[3,2] last, float[3,5,2] all) {
  last, all = Scan <num_scan_inputs = 1, body = step (float[2] s, float[2] a)
    => (float[2] s_out, float[2] y) {
      s_out = Add(s, a)
      y = Identity(s_out)
  }> (LENGTHS, initial, x)
}
"""
OLD_HEADER = '<ir_version: 4, opset_import: ["" : 8]>\n'


def test_scan_8_runs_each_row_in_turn() -> None:
    model = model_of(SCAN_8.replace("INPUTS", "").replace("LENGTHS", ""), OLD_HEADER)
    source = same_as_run(model, {"initial": (3, 2), "x": (3, 5, 2)})
    (scan,) = source.graph.ops
    assert (scan.executions, scan.trips) == (3, 5)
    assert [t.shape for t in scan.outputs] == [(3, 2), (3, 5, 2)]


def test_scan_8_runs_each_row_for_its_length() -> None:
    text = SCAN_8.replace("INPUTS", "int64[3] lens,").replace("LENGTHS", "lens")
    model = model_of(text, OLD_HEADER)
    shapes = {"initial": (3, 2), "x": (3, 5, 2), "lens": (3,)}
    same_as_run(model, shapes, {"lens": [1, 5, 2]})
    (warning,) = lowered(model, shapes).warnings
    assert "full length" in warning


def test_sequence_map_is_its_body_for_every_element() -> None:
    text = """
    g (float[6,4] x) => (float[6,4] y)
    <float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}, int64[3] sizes = {1, 2, 3}> {
      parts = SplitToSequence <axis = 0> (x, sizes)
      mapped = SequenceMap <body = each (float[n,4] p) => (float[n,4] q) {
        q = MatMul(p, w)
      }> (parts)
      y = ConcatFromSequence <axis = 0> (mapped)
    }"""
    source = lowered(model_of(text), {"x": (6, 4)})
    shapes = [op.outputs[0].shape for op in ops_named(source.graph, "MatMul")]
    assert shapes == [(1, 4), (2, 4), (3, 4)]
    assert source.graph.outputs[0].shape == (6, 4)
    assert not source.graph.uncounted


def test_sequence_map_over_an_unknown_sequence_is_uncounted() -> None:
    text = """
    g (seq(float[2,4]) s) => (seq(float[2,4]) y) {
      y = SequenceMap <body = each (float[n,4] p) => (float[n,4] q) { q = Relu(p) }> (s)
    }"""
    (entry,) = lowered(model_of(text)).graph.uncounted
    assert entry.op_type == "SequenceMap"
    assert "not known" in entry.reason


def test_outputs_that_nobody_reads_are_omitted() -> None:
    text = GROWING.replace("  last, sizes = Loop", "  , sizes = Loop")
    text = text.replace("float[rows,4] last, float[t] sizes", "float[t] sizes")
    source = lowered(model_of(text), trace=True)
    assert executed.counted(source.graph) == executed.counted(lowered(model_of(text)).graph)
    loops = ops_named(source.graph, "Loop")
    assert [[t and t.shape for t in op.outputs] for op in loops] == [
        [(4, 4), (1,)],
        [(6, 4), (1,)],
        [(8, 4), (1,)],
        [None, (1,)],
    ]
    assert len({op.name for op in source.graph.ops}) == len(source.graph.ops)
