"""Small sound models of every kind that is followed, and ways to spoil them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, helper
from onnx import numpy_helper as nh

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node, value = helper.make_node, helper.make_tensor_value_info


def floats(name: str, *shape: int) -> TensorProto:
    return nh.from_array(np.full(shape, 0.5, np.float32), name)


def array(name: str, data: Any, dtype: Any = np.int64) -> TensorProto:
    return nh.from_array(np.asarray(data, dtype), name)


def model(
    nodes: list[NodeProto],
    inputs: list[Any],
    outputs: list[str],
    stored: list[TensorProto],
    functions: list[FunctionProto] | None = None,
    opset: int = 17,
) -> onnx.ModelProto:
    results = [value(name, FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "main", inputs, results, stored)
    domains = [("", opset), ("com.microsoft", 1), ("mine", 1)]
    opsets = [helper.make_opsetid(*domain) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


def layers() -> onnx.ModelProto:
    nodes = [
        node("LSTM", ["x", "w", "r", "b", "lens", "h0", "c0"], ["y", "h", "c"], hidden_size=4),
        node("Squeeze", ["y", "one"], ["flat"]),
        node("GRU", ["flat", "gw", "gr"], ["z", ""], hidden_size=2, direction="bidirectional"),
        node("Transpose", ["z"], ["t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["t", "shape"], ["u"]),
        node("RNN", ["u", "rw", "rr"], ["", "v"], hidden_size=3, activations=["Relu"], layout=0),
        node("Gemm", ["last", "k"], ["out"], transB=1, alpha=0.5),
        node("Squeeze", ["v", "zero"], ["last"]),
    ]
    stored = [
        *(floats("w", 1, 16, 3), floats("r", 1, 16, 4), floats("b", 1, 32)),
        *(floats("gw", 2, 6, 4), floats("gr", 2, 6, 2), floats("rw", 1, 3, 4)),
        *(floats("rr", 1, 3, 3), floats("k", 5, 3), array("one", [1]), array("zero", [0])),
        array("shape", [0, 0, -1]),
    ]
    states = [value(name, FLOAT, [1, "batch", 4]) for name in ("h0", "c0")]
    lengths = value("lens", TensorProto.INT32, ["batch"])
    x = value("x", FLOAT, ["seq", "batch", 3])
    return model(nodes, [x, lengths, *states], ["out", "h", "c"], stored)


def branches() -> onnx.ModelProto:
    def branch(name: str, *nodes: NodeProto) -> GraphProto:
        return helper.make_graph([*nodes], name, [], [value(nodes[-1].output[0], FLOAT, None)])

    inner = node(
        "If",
        ["q"],
        ["i"],
        then_branch=branch("a", node("MatMul", ["x", "w"], ["p"])),
        else_branch=branch("b", node("Relu", ["x"], ["p2"])),
    )
    outer = node(
        "If",
        ["cond"],
        ["y"],
        then_branch=branch("c", inner),
        else_branch=branch("d", node("Add", ["x", "x"], ["e"])),
    )
    test = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Greater", ["n", "ten"], ["cond"]),
    ]
    stored = [floats("w", 3, 3), array("zero", 0), array("ten", 10)]
    inputs = [value("x", FLOAT, ["seq", 3]), value("q", BOOL, [])]
    return model([*test, outer], inputs, ["y"], stored)


def loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [
            node("Gather", ["x", "i"], ["xt"], axis=0),
            node("MatMul", ["xt", "w"], ["a"]),
            node("MatMul", ["s", "u"], ["b"]),
            node("Add", ["a", "b"], ["p"]),
            node("Tanh", ["p"], ["s2"]),
            node("Identity", ["c"], ["c2"]),
            node("Identity", ["s2"], ["e"]),
        ],
        "body",
        [value("i", INT, []), value("c", BOOL, []), value("s", FLOAT, ["batch", 4])],
        [value("c2", BOOL, []), value("s2", FLOAT, None), value("e", FLOAT, None)],
    )
    nodes = [
        node("Shape", ["x"], ["sh"], start=0, end=1),
        node("Squeeze", ["sh"], ["trips"]),
        node("Loop", ["trips", "", "s0"], ["last", "all"], body=body),
    ]
    stored = [floats("w", 3, 4), floats("u", 4, 4)]
    inputs = [value("x", FLOAT, ["seq", "batch", 3]), value("s0", FLOAT, ["batch", 4])]
    return model(nodes, inputs, ["all", "last"], stored)


def counting_loop() -> onnx.ModelProto:
    """A while loop that folding settles, around a growing state and another loop."""

    def body(name: str, inner: list[NodeProto], result: str) -> GraphProto:
        nodes = [*inner, node("Add", ["k", "one"], ["k2"]), node("Less", ["k2", "limit"], ["c2"])]
        ends = [value("c2", BOOL, []), value("k2", INT, []), value(result, FLOAT, None)]
        starts = [value("i", INT, []), value("c", BOOL, []), value("k", INT, [])]
        return helper.make_graph(nodes, name, [*starts, value("s", FLOAT, None)], ends)

    grow = body("grow", [node("Concat", ["s", "x"], ["s2"], axis=0)], "s2")
    twice = node("Loop", ["", "yes", "zero", "s"], ["k1", "s3"], body=grow)
    nodes = [node("Loop", ["most", "yes", "zero", "x"], ["n", "y"], body=body("o", [twice], "s3"))]
    stored = [array("one", 1), array("zero", 0), array("limit", 3), array("most", 9)]
    stored.append(array("yes", True, np.bool_))
    return model(nodes, [value("x", FLOAT, ["seq", 2])], ["y"], stored)


def scan() -> onnx.ModelProto:
    body = helper.make_graph(
        [
            node("Concat", ["h", "xt"], ["hx"], axis=-1),
            node("Gemm", ["hx", "w", "b"], ["g"], transB=1),
            node("Split", ["g", "parts"], ["f", "n"], axis=1),
            node("Sigmoid", ["f"], ["f2"]),
            node("Mul", ["f2", "n"], ["h2"]),
            node("Identity", ["h2"], ["y1"]),
        ],
        "body",
        [value("h", FLOAT, ["batch", 4]), value("xt", FLOAT, ["batch", 3])],
        [value("h2", FLOAT, None), value("y1", FLOAT, None)],
        [floats("w", 8, 7), floats("b", 8)],
    )
    attrs = {"num_scan_inputs": 1, "scan_input_directions": [1], "scan_output_axes": [0]}
    nodes = [node("Scan", ["h0", "x"], ["h", "y"], body=body, **attrs)]
    inputs = [value("h0", FLOAT, ["batch", 4]), value("x", FLOAT, ["seq", "batch", 3])]
    return model(nodes, inputs, ["y", "h"], [array("parts", [4, 4])])


def functions() -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    scaled = node("LeakyRelu", ["p"], ["o"])
    scaled.attribute.add(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT)
    dense = helper.make_function(
        *("mine", "Dense", ["a", "m"], ["o"]),
        *([node("MatMul", ["a", "m"], ["p"]), scaled], imports, ["slope"]),
    )
    pair = helper.make_function(
        *("mine", "Pair", ["a", "m"], ["o"]),
        [
            node("Dense", ["a", "m"], ["t"], domain="mine", slope=0.1),
            node("Dense", ["t", "m"], ["o"], domain="mine", slope=0.2),
        ],
        imports,
    )
    nodes = [
        node("Pair", ["x", "w"], ["y"], domain="mine", name="first"),
        node("Unheard", ["y"], ["z"], domain="mine"),
    ]
    x = value("x", FLOAT, ["batch", 4])
    return model(nodes, [x], ["y", "z"], [floats("w", 4, 4)], [dense, pair])


def quantised() -> onnx.ModelProto:
    contrib = {"domain": "com.microsoft"}
    lstm = ["x", "w", "r", "b", "", "", "", "", "sw", "zw", "sr", "zr"]
    nodes = [
        node("DynamicQuantizeLSTM", lstm, ["y"], hidden_size=4, **contrib),
        node("DynamicQuantizeLinear", ["y"], ["yq", "ys", "yz"]),
        node("MatMulInteger", ["yq", "k", "yz"], ["m"]),
        node("Cast", ["m"], ["mf"], to=FLOAT),
        node("Mul", ["mf", "ys"], ["a"]),
        node("DequantizeLinear", ["k", "sk"], ["kf"], axis=0),
        node("FusedMatMul", ["a", "kt"], ["f"], alpha=0.5, **contrib),
        node("Transpose", ["kf"], ["kt"]),
        node("QuantizeLinear", ["f", "sk", "zk"], ["q"]),
        node("DequantizeLinear", ["q", "sk", "zk"], ["out"]),
    ]
    stored = [
        array("w", np.ones((1, 3, 16)), np.int8),
        array("r", np.ones((1, 4, 16)), np.int8),
        *(floats("b", 1, 32), floats("sw", 1), floats("sr", 1), floats("sk")),
        *(array("zw", [0], np.int8), array("zr", [0], np.int8), array("zk", 0, np.int8)),
        array("k", np.ones((4, 5)), np.int8),
    ]
    return model(nodes, [value("x", FLOAT, ["seq", "batch", 3])], ["out"], stored)


def shapes() -> onnx.ModelProto:
    nodes = [
        node("Conv", ["x", "w"], ["c"], strides=[2], pads=[1, 1], dilations=[1]),
        node("MaxPool", ["c"], ["m"], kernel_shape=[2], ceil_mode=1),
        node("Shape", ["m"], ["s"]),
        node("Slice", ["s", "minus", "most", "zero"], ["n"]),
        node("Concat", ["one", "n"], ["target"], axis=0),
        node("ConstantOfShape", ["target"], ["z"]),
        node("Squeeze", ["n", "zero"], ["count"]),
        node("Range", ["first", "count", "step"], ["ids"]),
        node("Gather", ["table", "ids"], ["e"]),
        node("Tile", ["z", "twos"], ["zz"]),
        node("Pad", ["zz", "pads"], ["p"]),
        node("Einsum", ["e", "e"], ["g"], equation="ij,kj->ik"),
        node("LayerNormalization", ["e", "gain"], ["ln"], axis=-1),
        node("Softmax", ["g"], ["sm"], axis=-1),
        node("TopK", ["sm", "one"], ["best", "at"], axis=-1),
        node("ReduceMean", ["ln"], ["mean"], axes=[0], keepdims=0),
        node("Resize", ["m", "", "scales"], ["big"], mode="nearest"),
        node("Expand", ["one", "n"], ["ex"]),
        node("NonZero", ["ex"], ["nz"]),
    ]
    stored = [
        *(floats("w", 4, 3, 3), floats("table", 50, 6), floats("gain", 6)),
        *(array("minus", [-1]), array("most", [2**62]), array("zero", [0]), array("one", [1])),
        *(array("first", 0), array("step", 1), array("twos", [2, 2]), array("pads", [0, 1, 0, 1])),
        array("scales", [1, 1, 2], np.float32),
    ]
    x = value("x", FLOAT, ["batch", 3, "frames"])
    return model(nodes, [x], ["p", "best", "mean", "big", "nz"], stored)


SEEDS: dict[str, Callable[[], onnx.ModelProto]] = {
    build.__name__: build
    for build in (
        *(layers, branches, loop, counting_loop, scan, functions),
        *(quantised, shapes),
    )
}

SIZES = (0, 1, 2, 3, 7, 255, 65_536, 2**31, 2**62, 2**63 - 1, -1, -2, -(2**31), -(2**63))
OPERATORS = (
    "LSTM GRU RNN Loop Scan If MatMul Gemm Conv Add Concat Slice Gather Reshape Transpose Squeeze "
    "Unsqueeze Shape Range ConstantOfShape Tile Expand Split Pad NonZero Cast Einsum ReduceSum "
    "OneHot TopK Where CumSum Resize Constant Identity BitShift Pow Mul Div Mod SequenceEmpty "
    "SequenceInsert ConcatFromSequence Attention Unheard"
).split()
NAMES = "x y s a \x1b[31m |<b>\n ,=1 λ".split(" ")
ATTRIBUTES = (
    "axis axes hidden_size direction layout perm to num_scan_inputs body then_branch keepdims "
    "strides kernel_shape group equation activations linear_before_reset value start end"
).split()


def spoil(model: onnx.ModelProto, rng: random.Random) -> None:
    """Change one thing in a model: an attribute, a shape, a name, a node, a stored tensor."""
    graphs = list(_graphs(model))
    nodes = [place for place in graphs if place.node]
    if nodes:
        rng.choice(_CHANGES)(model, rng.choice(nodes), rng)


def _graphs(model: onnx.ModelProto) -> Iterator[Any]:
    todo: list[Any] = [model.graph, *model.functions]
    while todo:
        place = todo.pop()
        yield place
        for item in place.node:
            todo += [a.g for a in item.attribute if a.type == AttributeProto.GRAPH]


def _size(rng: random.Random) -> int:
    return rng.choice(SIZES)


def _attribute(model: Any, place: Any, rng: random.Random) -> None:
    chosen = rng.choice(place.node)
    if not chosen.attribute or rng.random() < 0.2:
        chosen.attribute.append(
            helper.make_attribute(rng.choice(ATTRIBUTES), rng.choice((_size(rng), "x", 0.5)))
        )
        return
    attribute = rng.choice(chosen.attribute)
    kind = attribute.type
    if rng.random() < 0.2:
        chosen.attribute.remove(attribute)
    elif rng.random() < 0.2:
        attribute.name = rng.choice(ATTRIBUTES)
    elif kind == AttributeProto.INT:
        attribute.i = _size(rng)
    elif kind == AttributeProto.INTS:
        numbers = [*attribute.ints, 0][: rng.randrange(len(attribute.ints) + 2)]
        if numbers:
            numbers[rng.randrange(len(numbers))] = _size(rng)
        attribute.ints[:] = numbers
    elif kind == AttributeProto.STRING:
        attribute.s = rng.choice((b"", b"\xff", b"reverse", b"bidirectional", b"...,i->...", b"a"))
    elif kind == AttributeProto.FLOAT:
        attribute.f = rng.choice((0.0, float("nan"), float("inf"), -1e30))
    elif kind == AttributeProto.GRAPH and rng.random() < 0.5:
        del attribute.g.output[:1]
    else:
        attribute.type = rng.choice((0, 1, 2, 3, 4, 5, 7, 8))


def _input_shape(model: Any, place: Any, rng: random.Random) -> None:
    infos = [*place.input] if isinstance(place, GraphProto) else [*model.graph.input]
    if not infos:
        return
    info = rng.choice(infos)
    dims = info.type.tensor_type.shape.dim
    what = rng.randrange(5)
    if what == 0 or not dims:
        info.type.tensor_type.ClearField("shape")
    elif what == 1:
        dims.add().dim_value = _size(rng)
    elif what == 2:
        rng.choice(dims).dim_param = rng.choice(NAMES)
    elif what == 3:
        info.type.tensor_type.elem_type = rng.choice((0, 1, 7, 8, 9, 16))
    else:
        rng.choice(dims).dim_value = _size(rng)


def _wires(model: Any, place: Any, rng: random.Random) -> None:
    chosen = rng.choice(place.node)
    names = [name for item in place.node for name in (*item.input, *item.output)]
    side = chosen.input if rng.random() < 0.7 else chosen.output
    what = rng.randrange(5)
    if not side or what == 0:
        side.append(rng.choice(names))
    elif what == 1:
        side[rng.randrange(len(side))] = rng.choice([*names, "", "nowhere"])
    elif what == 2:
        del side[rng.randrange(len(side))]
    else:
        first, second = rng.randrange(len(side)), rng.randrange(len(side))
        side[first], side[second] = side[second], side[first]


def _nodes(model: Any, place: Any, rng: random.Random) -> None:
    number = rng.randrange(len(place.node))
    what = rng.randrange(5)
    if what == 0:
        del place.node[number]
    elif what == 1:
        place.node.append(place.node[number])
    elif what == 2:
        place.node[number].domain = rng.choice(("", "com.microsoft", "mine", "ai.onnx.ml"))
    elif what == 3:
        place.node[number].name = rng.choice(NAMES)
    else:
        place.node[number].op_type = rng.choice(OPERATORS)


def _stored(model: Any, place: Any, rng: random.Random) -> None:
    tensors = list(model.graph.initializer)
    if not tensors:
        return
    tensor = rng.choice(tensors)
    what = rng.randrange(5)
    if what == 0:
        tensor.ClearField("raw_data")
    elif what == 1 and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = _size(rng)
        tensor.ClearField("raw_data")
    elif what == 2:
        model.graph.initializer.remove(tensor)
    elif what == 3:
        tensor.data_type = rng.choice((0, 1, 2, 3, 7, 9, 10, 16, 22, 99))
    elif tensor.data_type == INT:
        count = max(len(tensor.raw_data) // 8 + rng.choice((-1, 0, 0, 0, 1)), 0)
        changed = array("", [_size(rng) for _ in range(count)])
        tensor.raw_data = changed.raw_data
        if tensor.dims:
            tensor.dims[:] = [count]


def _whole(model: Any, place: Any, rng: random.Random) -> None:
    what = rng.randrange(4)
    if what == 0:
        model.opset_import[0].version = _size(rng)
    elif what == 1 and model.functions:
        rng.choice(model.functions).name = rng.choice(("Pair", "Dense", "MatMul"))
    elif what == 2 and model.graph.output:
        del model.graph.output[0]
    else:
        model.graph.output.add(name=rng.choice(("x", "nowhere", "")))


_CHANGES = (_attribute, _attribute, _input_shape, _wires, _wires, _nodes, _stored, _stored, _whole)
