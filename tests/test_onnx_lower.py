"""From a model file to a graph: inputs, names, order, functions, and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import executed
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, parser

from rnncost.errors import BindingError, ModelError, RnncostError, ShapeError
from rnncost.frontends.onnx import load
from rnncost.frontends.onnx.names import Names
from rnncost.graph.dim import evaluate
from rnncost.graph.source import InputValue, Request, Source

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def weights(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def model_with(
    inputs: Mapping[str, tuple[int, list[Any] | None]],
    nodes: list[onnx.NodeProto],
    outputs: list[str],
    initializers: list[onnx.TensorProto] | None = None,
    **settings: Any,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, t, shape) for n, (t, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        initializers or [],
    )
    settings.setdefault("opset_imports", [helper.make_opsetid("", 17)])
    return helper.make_model(graph, ir_version=9, **settings)


def product(shape: list[Any], **names: str) -> onnx.ModelProto:
    """x of a declared shape times stored weights [4, 5]."""
    node = helper.make_node("MatMul", ["x", "w"], ["y"], **names)
    return model_with({"x": (FLOAT, shape)}, [node], ["y"], [weights("w", 4, 5)])


def lowered(model: onnx.ModelProto, **request: Any) -> Source:
    return load(model.SerializeToString(), Request(**request))


def test_a_free_dimension_is_bound_by_its_name() -> None:
    source = lowered(product(["batch", "seq", 4]), dims={"batch": 2, "seq": 9}, assume=False)
    assert source.graph.outputs[0].shape == (2, 9, 5)
    assert source.dims == {"batch": 2, "seq": 9}
    assert source.shapes == {"x": (2, 9, 4)}
    assert source.assumed == ()
    assert source.symbolic is not None
    shape = source.symbolic.outputs[0].shape
    assert [evaluate(dim, {"batch": 3, "seq": 8}) for dim in shape] == [3, 8, 5]


@pytest.mark.parametrize(
    ("declared", "assumed"),
    [
        (["batch", "seq", 4], {"batch": 1, "seq": 100}),
        (["N", "T", 4], {"N": 1, "T": 100}),
        (["batch_size", "n_batch", 4], {"batch_size": 1, "n_batch": 1}),
        ([None, None, 4], {"x.0": 1, "x.1": 100}),
        ([0, 0, 4], {"x.0": 1, "x.1": 100}),
        ([-1, "?", 4], {"x.0": 1, "x.1": 100}),
        (["unk__1", "unk__2", 4], {"x.0": 1, "x.1": 100}),
        (["frames", "frames", 4], {"frames": 100}),
    ],
)
def test_free_dimensions_get_stated_assumptions(
    declared: list[Any], assumed: dict[str, int]
) -> None:
    source = lowered(product(declared))
    assert source.dims == assumed
    assert source.assumed == tuple(assumed)
    assert not source.warnings


def test_a_dimension_without_a_name_is_bound_by_its_place() -> None:
    model = product([None, "unk__7", 4])
    assert lowered(model, dims={"x.0": 3, "x.1": 6}).graph.outputs[0].shape == (3, 6, 5)
    assert lowered(model, dims={"x.0": 3, "unk__7": 6}).graph.outputs[0].shape == (3, 6, 5)


def test_one_name_is_one_dimension_in_all_inputs() -> None:
    inputs = {"a": (FLOAT, ["seq", 4]), "b": (FLOAT, ["seq", 4]), "c": (FLOAT, ["?", 4])}
    nodes = [
        helper.make_node("Add", ["a", "b"], ["ab"]),
        helper.make_node("Concat", ["ab", "c"], ["y"], axis=0),
    ]
    source = lowered(model_with(inputs, nodes, ["y"]), shapes={"b": (7, 4)}, dims={"c.0": 2})
    assert source.dims == {"seq": 7, "c.0": 2}
    assert source.graph.outputs[0].shape == (9, 4)
    assert source.symbolic is not None
    assert str(source.symbolic.outputs[0].shape[0]) == "c.0 + seq"


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"dims": {"sec": 3}}, r"no free dimension 'sec', did you mean 'seq'\?.*'batch', 'seq'"),
        ({"dims": {"seq": 0}}, r"dimension 'seq' cannot be 0"),
        ({"dims": {"seq": -4}}, r"dimension 'seq' cannot be -4"),
        ({"shapes": {"X": (1, 2, 4)}}, r"no input 'X'"),
        (
            {"shapes": {"x": (1, 2)}},
            r"'x' has 2 dimensions, but the model declares \[batch, seq, 4",
        ),
        ({"shapes": {"x": (1, 2, 5)}}, r"'x' has 5 on axis 2, where the model has 4"),
        ({"shapes": {"x": (1, 0, 4)}}, r"dimension of 0"),
        ({"shapes": {"x": (1, 2, 4)}, "dims": {"seq": 3}}, r"'seq' is bound to 3"),
        ({"values": {"x": InputValue((1, 1, 4), (1.0, "a", 2.0, 3.0))}}, r"does not fit its type"),
        (
            {"shapes": {"x": (1, 2, 4)}, "values": {"x": InputValue((1, 1, 4), (0.0,) * 4)}},
            r"\[1, 2, 4\], but its value has the shape \[1, 1, 4\]",
        ),
        ({"assume": False}, r"dimension 'batch', 'seq' of the model is free: give --dim batch=N"),
    ],
)
def test_bindings_that_do_not_fit_are_refused(request_: dict[str, Any], says: str) -> None:
    with pytest.raises(BindingError, match=says):
        lowered(product(["batch", "seq", 4]), **request_)


def test_an_input_of_unknown_rank_needs_a_shape() -> None:
    model = product(["batch", 4])
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(BindingError, match="--shape x="):
        lowered(model)
    assert lowered(model, shapes={"x": (3, 4)}).graph.outputs[0].shape == (3, 5)


def test_a_dimension_declared_zero_is_free() -> None:
    assert lowered(product([0, 4]), shapes={"x": (6, 4)}).graph.outputs[0].shape == (6, 5)


def test_initializers_among_the_inputs_are_no_inputs() -> None:
    model = product(["batch", 4])
    model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, [4, 5]))
    source = lowered(model)
    assert [t.name for t in source.graph.inputs] == ["x"]
    with pytest.raises(BindingError, match="no input 'w'"):
        lowered(model, shapes={"w": (4, 5)})


@pytest.mark.parametrize("shape", [[], [1], ["n"]])
@pytest.mark.parametrize("value", [InputValue((), (3,)), InputValue((1,), (3.0,))])
def test_a_given_value_decides_shapes(shape: list[Any], value: InputValue) -> None:
    nodes = [
        helper.make_node("Reshape", ["n", "flat"], ["dims"]),
        helper.make_node("ConstantOfShape", ["dims"], ["y"]),
    ]
    flat = numpy_helper.from_array(np.array([-1], np.int64), "flat")
    model = model_with({"n": (INT64, shape)}, nodes, ["y"], [flat])
    source = lowered(model, values={"n": value}, assume=False)
    assert source.graph.outputs[0].shape == (3,)
    assert source.values["n"].elements == (3,)


def test_assumptions_that_contradict_the_model_are_replaced_and_said() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[2]),
        helper.make_node("Reshape", ["c", "shape"], ["y"]),
    ]
    stored = [weights("w", 4, 1, 200), numpy_helper.from_array(np.array([4, -1]), "shape")]
    model = model_with({"x": (FLOAT, ["batch", 1, "samples"])}, nodes, ["y"], stored)
    source = lowered(model)
    assert source.dims == {"batch": 1, "samples": 256}
    assert source.assumed == ("batch", "samples")
    (warning,) = source.warnings
    assert "samples=256" in warning
    with pytest.raises(ShapeError, match=r"Conv.*samples=100"):
        lowered(model, dims={"samples": 100})


def test_operators_keep_their_names_and_get_unique_ones() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="act"),
        helper.make_node("Relu", ["a"], ["b"], name="act"),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"], name="act"),
    ]
    source = lowered(model_with({"x": (FLOAT, [2])}, nodes, ["y"]))
    assert [op.name for op in source.graph.ops] == ["act", "act#2", "Relu_2", "act#3"]


def test_omitted_inputs_and_outputs_keep_their_positions() -> None:
    node = helper.make_node("LSTM", ["x", "w", "r", "", "", "h"], ["", "yh"], hidden_size=3)
    stored = [weights("w", 1, 12, 4), weights("r", 1, 12, 3), weights("h", 1, 2, 3)]
    source = lowered(model_with({"x": (FLOAT, [5, 2, 4])}, [node], ["yh"], stored))
    (op,) = source.graph.ops
    assert [t and t.name for t in op.inputs] == ["x", "w", "r", None, None, "h"]
    assert [t and t.shape for t in op.outputs] == [None, (1, 2, 3)]
    assert op.int_attr("hidden_size", 0) == 3


def test_constants_are_stored_tensors_and_no_operators() -> None:
    constant = helper.make_node("Constant", [], ["w"], value=weights("", 4, 5))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    source = lowered(model_with({"x": (FLOAT, [2, 4])}, [constant, node], ["y"]))
    (op,) = source.graph.ops
    (slab,) = op.inputs[1].stored
    assert (slab.root, slab.ranges) == ("w", ((0, 4, 1), (0, 5, 1)))


def test_nodes_in_any_order_are_sorted() -> None:
    nodes = [
        helper.make_node("Relu", ["b"], ["y"], name="last"),
        helper.make_node("MatMul", ["a", "w"], ["b"], name="middle"),
        helper.make_node("Relu", ["x"], ["a"], name="first"),
    ]
    source = lowered(model_with({"x": (FLOAT, [2, 4])}, nodes, ["y"], [weights("w", 4, 4)]))
    assert [op.name for op in source.graph.ops] == ["first", "middle", "last"]


def test_a_branch_that_reads_a_later_value_waits_for_it() -> None:
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17]> g (float[2] x, bool c) => (float[2] y) {'
        "y = If (c) <then_branch = a () => (float[2] p) { p = Relu(z) },"
        "            else_branch = b () => (float[2] q) { q = Identity(x) }>"
        "z = Tanh(x) }"
    )
    source = lowered(model, values={"c": InputValue((), (True,))})
    assert [op.op_type for op in source.graph.ops] == ["Tanh", "If", "Relu"]


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([("Relu", ["a"], ["b"]), ("Relu", ["b"], ["a"])], r"cycle: the Relu node that makes"),
        ([("Add", ["x", "a"], ["a"])], r"cycle"),
        ([("Relu", ["nowhere"], ["y"])], r"reads 'nowhere', which no node"),
        ([("Relu", ["x"], ["y"]), ("Tanh", ["x"], ["y"])], r"makes 'y', which the graph defines"),
        ([("Relu", ["x"], ["x"])], r"makes 'x', which the graph defines"),
        ([("Relu", ["x"], ["w"])], r"makes 'w', which the graph defines"),
        ([("Relu", ["x"], ["z"])], r"returns 'y', which no node"),
        ([("Constant", [], ["y"])], r"has no value"),
        ([("If", ["x"], ["y"])], r"two branches"),
        ([("Loop", ["x"], ["y"])], r"no body"),
        ([("Scan", ["x"], ["y"])], r"no body"),
        ([("SequenceMap", ["x"], ["y"])], r"no body"),
    ],
)
def test_graphs_that_cannot_be_followed_are_refused(
    nodes: list[tuple[str, list[str], list[str]]], says: str
) -> None:
    made = [helper.make_node(*node) for node in nodes]
    with pytest.raises(ModelError, match=says):
        lowered(model_with({"x": (FLOAT, [2])}, made, ["y"], [weights("w", 2)]))


def test_a_shape_that_contradicts_an_operator_names_the_bindings() -> None:
    with pytest.raises(ShapeError, match=r"'mm' \(MatMul\).*width=7, set others with --dim"):
        lowered(product(["batch", "width"], name="mm"), dims={"batch": 2, "width": 7})


def test_unknown_operators_use_declared_shapes_and_say_so() -> None:
    node = helper.make_node("Blur", ["x"], ["y"], domain="my.ops", name="blur")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.ops", 1)]
    model = model_with({"x": (FLOAT, ["batch", 4])}, [node], ["y"], opset_imports=opsets)
    source = lowered(model)
    assert source.graph.ops[0].op_type == "my.ops::Blur"
    assert source.graph.ops[0].outputs[0].shape is None
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, ["batch", 9]))
    source = lowered(model, dims={"batch": 3})
    assert source.graph.ops[0].outputs[0].shape == (3, 9)
    (warning,) = source.warnings
    assert "blur" in warning


def test_declared_shapes_do_not_override_inferred_ones() -> None:
    model = product(["batch", 4])
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, [7, 7]))
    assert lowered(model, dims={"batch": 2}).graph.outputs[0].shape == (2, 5)


def test_unused_stored_tensors_are_reported() -> None:
    model = product([2, 4])
    model.graph.initializer.append(weights("spare", 10))
    (warning,) = lowered(model).warnings
    assert "'spare'" in warning
    model.graph.initializer.append(weights("spare2", 10))
    (warning,) = lowered(model).warnings
    assert "2 stored tensors (20 elements)" in warning


FUNCTIONS = """
<ir_version: 9, opset_import: ["" : 17, "my" : 1]>
g (float[N,4] x) => (float[N,4] y)
<float[4,4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1}> {
  [first] a = my.outer <slope: float = 0.5> (x, w)
  [second] y = my.outer (a, w)
}
<domain: "my", opset_import: ["" : 17, "my" : 1]>
outer <slope: float = 0.25> (x, w) => (z) {
  c = Constant <value = float[4] {1, 2, 3, 4}> ()
  t = my.inner(x, w)
  u = LeakyRelu <alpha: float = @slope> (t)
  s = ReduceSum <keepdims = 0> (u)
  zero = Constant <value_float = 0.0> ()
  b = Greater(s, zero)
  v = If (b) <then_branch = p () => (q) { q = my.inner(u, w) },
              else_branch = r () => (o) { o = Identity(u) }>
  z = Add(v, c)
}
<domain: "my", opset_import: ["" : 17]>
inner (x, w) => (y) {
  m = MatMul(x, w)
  y = Relu(m)
}
"""


def test_functions_are_their_bodies() -> None:
    model = parser.parse_model(FUNCTIONS)
    source = lowered(model, dims={"N": 2}, trace=True)
    names = [op.name for op in source.graph.ops]
    assert names[:3] == ["first/inner_1/MatMul_0", "first/inner_1/Relu_1", "first/LeakyRelu_2"]
    assert "second/If_6/then_branch/inner_0/MatMul_0" in names
    assert len(set(names)) == len(names)
    slopes = [op.float_attr("alpha", 0) for op in source.graph.ops if op.op_type == "LeakyRelu"]
    assert slopes == [0.5, 0.25]
    products = [op for op in source.graph.ops if op.op_type == "MatMul"]
    assert {slab.root for op in products for slab in op.inputs[1].stored} == {"w"}
    adds = [op for op in source.graph.ops if op.op_type == "Add"]
    assert len({slab.root for op in adds for slab in op.inputs[1].stored}) == 1
    assert executed.counted(source.graph) == executed.run(model, {"x": (2, 4)})


def test_function_arguments_may_be_left_out() -> None:
    model = parser.parse_model(
        '<ir_version: 9, opset_import: ["" : 17, "my" : 1]>'
        "g (float[5,2,4] x) => (float[5,1,2,3] y) {"
        "  w = ConstantOfShape <value = float[1] {1}> (ws)"
        "  ws = Constant <value_ints = [1, 12, 4]> ()"
        "  r = ConstantOfShape <value = float[1] {1}> (rs)"
        "  rs = Constant <value_ints = [1, 12, 3]> ()"
        "  y = my.layer(x, w, r)"
        "}"
        '<domain: "my", opset_import: ["" : 17]>'
        "layer (x, w, r, b) => (y) { y = LSTM <hidden_size = 3> (x, w, r, b) }"
    )
    source = lowered(model)
    lstm = source.graph.ops[-1]
    assert lstm.inputs[3] is None
    assert source.graph.outputs[0].shape == (5, 1, 2, 3)


def chain(depth: int, closes: bool = False) -> onnx.ModelProto:
    """Functions f0 .. f(depth), each calling the next; the last one may call the first."""
    functions = []
    for level in range(depth + 1):
        target = level + 1 if level < depth else 0
        call = helper.make_node(f"f{target}", ["x"], ["y"], domain="my")
        body = call if level < depth or closes else helper.make_node("Relu", ["x"], ["y"])
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
        functions.append(helper.make_function("my", f"f{level}", ["x"], ["y"], [body], opsets))
    node = helper.make_node("f0", ["x"], ["y"], domain="my")
    return model_with(
        {"x": (FLOAT, [2])},
        [node],
        ["y"],
        functions=functions,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my", 1)],
    )


@pytest.mark.parametrize("trace", [False, True])
def test_functions_nest_to_a_bound(trace: bool) -> None:
    (op,) = lowered(chain(40), trace=trace).graph.ops
    assert op.op_type == "Relu"
    with pytest.raises(ModelError, match="64 levels"):
        lowered(chain(300), trace=trace)
    with pytest.raises(ModelError, match="calls itself"):
        lowered(chain(3, closes=True), trace=trace)


@pytest.mark.parametrize("trace", [False, True])
def test_functions_that_unfold_without_end_are_refused(trace: bool) -> None:
    model = chain(40)
    for function in model.functions[:-1]:
        call = function.node[0]
        second = helper.make_node(call.op_type, ["y1"], ["y"], domain="my")
        call.output[0] = "y1"
        function.node.append(second)
    with pytest.raises(ModelError, match="unfold"):
        lowered(model, trace=trace)


def test_a_path_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    onnx.save(product([2, 4]), file)
    source = load(file, Request())
    assert (source.path, source.format, source.opset) == (str(file), "onnx", {"": 17})
    assert source.symbolic is None
    assert source.symbolic_reason == ""


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mutated_models_are_analysed_or_refused(data: st.DataObject) -> None:
    """Renaming, dropping and rewiring nodes never ends in anything but a clear refusal."""
    model = parser.parse_model(FUNCTIONS)
    places = [model.graph.node, *(f.node for f in model.functions)]
    nodes = [node for place in places for node in place]
    for _ in range(data.draw(st.integers(1, 3))):
        node = data.draw(st.sampled_from(nodes))
        names = ["", "x", "w", "y", "z", "t", "u", "c", "m"]
        edit = data.draw(st.sampled_from(["input", "output", "type", "drop"]))
        if edit == "drop" and node.input:
            node.input.pop()
        elif edit == "type":
            node.op_type = data.draw(st.sampled_from(["inner", "outer", "Loop", "LSTM", "Add"]))
        else:
            side = node.input if edit == "input" else node.output
            if side:
                side[data.draw(st.integers(0, len(side) - 1))] = data.draw(st.sampled_from(names))
    result: Source | RnncostError
    try:
        result = lowered(model)
    except RnncostError as error:
        result = error
    assert isinstance(result, Source) or "\n" not in str(result)


@given(
    st.lists(st.sampled_from(["x", "y", "x#2", "x#3", "mark", "rollback"]), max_size=40),
)
def test_names_are_unique_and_can_be_given_back(steps: list[str]) -> None:
    names = Names()
    given_out: list[str] = []
    marks: list[tuple[int, int]] = []
    for step in steps:
        if step == "mark":
            marks.append((names.mark(), len(given_out)))
        elif step == "rollback":
            if marks:
                mark, count = marks.pop()
                names.rollback(mark)
                del given_out[count:]
        else:
            name = names.unique(step)
            assert name == step or name.startswith(f"{step}#")
            given_out.append(name)
            assert len(set(given_out)) == len(given_out)
    replayed = Names()
    for name in given_out:
        assert replayed.unique(name) == name


def test_dimensions_that_must_be_equal_still_give_formulas() -> None:
    """A state whose batch nothing ties to that of the input, as exporters leave it."""
    node = helper.make_node("GRU", ["x", "w", "r", "", "", "h"], ["y"], hidden_size=3)
    stored = [weights("w", 1, 9, 4), weights("r", 1, 9, 3)]
    inputs = {"x": (FLOAT, ["steps", "?", 4]), "h": (FLOAT, [1, "?", 3])}
    model = model_with(inputs, [node], ["y"], stored)
    source = lowered(model, shapes={"x": (5, 2, 4), "h": (1, 2, 3)})
    assert source.symbolic is not None
    shape = source.symbolic.outputs[0].shape
    assert [evaluate(dim, {"steps": 8, "x.1": 4, "h.1": 4}) for dim in shape] == [8, 1, 4, 3]
    with pytest.raises(ShapeError, match="initial_h"):
        lowered(model, shapes={"x": (5, 2, 4), "h": (1, 1, 3)})


def test_a_large_stored_tensor_is_not_decoded() -> None:
    model = product([2, 4])
    model.graph.initializer[0].CopyFrom(weights("w", 4, 5000))
    (op,) = lowered(model).graph.ops
    assert op.inputs[1].value is None
    assert op.inputs[1].stored[0].ranges == ((0, 4, 1), (0, 5000, 1))
