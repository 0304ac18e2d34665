"""Variants of unusual nodes: pairs of directions, subgraphs, options of the recurrent operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from variant_graphs import Builder, declared, op_types, run, shapes, totals

from rnncost.errors import VariantError
from rnncost.variants import SAME_OUTPUT_WIDTH, Change, applicable, rewrite

DIMS = {"T": 7, "B": 2}
FAR = -(1 << 62)


def pair(turned: str, join: str = "Concat") -> onnx.ModelProto:
    """A bidirectional layer as two nodes, its second direction turned round in some way."""
    b = Builder()
    x = b.input("x", ["T", "B", 4])
    ahead = b.flat(b.layer("LSTM", x, 4, 6), 1)
    if turned == "reverse":
        back = b.flat(b.layer("LSTM", x, 4, 6, direction="reverse"), 1)
    elif turned == "slice":
        bounds = b.ints(-1), b.ints(FAR), b.ints(0), b.ints(-1)
        back = b("Slice", b.flat(b.layer("LSTM", b("Slice", x, *bounds), 4, 6), 1), *bounds)
    else:
        size = b("Shape", x)
        steps, batch = (b("Gather", size, b.ints(axis)) for axis in (0, 1))
        lengths = b("Expand", steps, batch)
        axes = {"time_axis": 0, "batch_axis": 1}
        inner = b.layer("LSTM", b("ReverseSequence", x, lengths, **axes), 4, 6)
        back = b("ReverseSequence", b.flat(inner, 1), lengths, **axes)
    joined = b(join, ahead, back, axis=-1) if join == "Concat" else b(join, ahead, back)
    b("MatMul", b("Relu", joined), b.weight(12 if join == "Concat" else 6, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    return b.model()


@pytest.mark.parametrize("turned", ["reverse", "slice", "sequence"])
def test_two_nodes_are_one_bidirectional_layer(turned: str) -> None:
    model = pair(turned)
    (layer,) = applicable(model).layers
    assert (layer.direction, len(layer.nodes)) == ("bi", 2)
    one = 4 * 6 * (4 + 6 + 2)
    assert totals(model, DIMS).params == 2 * one + 12 * 3
    uni = rewrite(model, Change(direction="uni")).model
    assert totals(uni, DIMS).params == one + 6 * 3
    assert totals(uni, DIMS).lookahead_steps == 0
    wide = rewrite(model, Change(direction="uni", policy=SAME_OUTPUT_WIDTH)).model
    assert totals(wide, DIMS).params == 4 * 12 * (4 + 12 + 2) + 12 * 3
    gru = rewrite(model, Change(cell="gru")).model
    assert totals(gru, DIMS).params == 2 * one * 3 // 4 + 12 * 3
    for variant in (uni, wide, gru):
        assert shapes(variant, DIMS) == {"y": (7, 2, 3)}
    with pytest.raises(VariantError, match="nothing would change"):
        rewrite(model, Change(direction="bi"))
    with pytest.raises(VariantError, match="are nodes of their own"):
        rewrite(model, Change(layers=2))


def test_the_direction_that_is_kept_computes_what_it_did() -> None:
    """Without its backward half, a sum of directions is the forward half alone."""
    model = pair("reverse", "Add")
    uni = rewrite(model, Change(direction="uni")).model
    stored = {t.name: t for t in model.graph.initializer}
    b = Builder()
    y = b("LSTM", b.input("x", ["T", "B", 4]), "k0", "k1", "k2", hidden_size=6, outputs=("Y",))
    b.stored += [stored[name] for name in ("k0", "k1", "k2")]
    product = model.graph.node[-1].input[1]
    b("Squeeze", y, "axis", outputs=("flat",))
    b.stored += [numpy_helper.from_array(np.array([1]), "axis"), stored[product]]
    b("MatMul", b("Relu", "flat"), product, outputs=("y",))
    b.output("y", ["T", "B", 3])
    x = np.random.default_rng(1).standard_normal((7, 2, 4)).astype(np.float32)
    np.testing.assert_allclose(run(uni, x=x)["y"], run(b.model(), x=x)["y"], rtol=1e-5)


@pytest.mark.parametrize("join", ["Mul", "Max", "Mean"])
def test_other_ways_to_join_two_nodes(join: str) -> None:
    uni = rewrite(pair("reverse", join), Change(direction="uni")).model
    assert totals(uni, DIMS).params == 4 * 6 * (4 + 6 + 2) + 6 * 3
    assert shapes(uni, DIMS) == {"y": (7, 2, 3)}


def test_a_layer_that_runs_backwards_alone_stays_with_a_note() -> None:
    b = Builder()
    x = b.input("x", ["T", "B", 4])
    y = b.flat(b.layer("LSTM", x, 4, 6, direction="bidirectional"), 2)
    y = b.flat(b.layer("LSTM", y, 12, 6, direction="reverse"), 1)
    b("MatMul", y, b.weight(6, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    variant = rewrite(b.model(), Change(direction="uni"))
    assert variant.notes == ["'lstm_3' runs backwards alone and stays so"]
    assert totals(variant.model, DIMS).lookahead_steps == 6


def test_directions_that_are_added_keep_their_width() -> None:
    same = rewrite(pair("reverse", "Add"), Change(direction="uni", policy=SAME_OUTPUT_WIDTH)).model
    assert totals(same, DIMS).params == 4 * 6 * (4 + 6 + 2) + 6 * 3


def halves(b: Builder, flat: str) -> list[str]:
    bounds = ((0, 6), (6, 12))
    return [b("Slice", flat, b.ints(low), b.ints(high), b.ints(2)) for low, high in bounds]


def join_by_split(b: Builder, y: str) -> str:
    """tf2onnx: the directions taken apart, then laid side by side."""
    b("Split", y, b.ints(1, 1), axis=1, outputs=("ahead", "back"))
    parts = [b("Squeeze", name, b.ints(1)) for name in ("ahead", "back")]
    return b("Concat", *parts, axis=2)


def join_by_gather(b: Builder, y: str) -> str:
    parts = [b("Gather", y, b.tensor(np.array(n)), axis=1) for n in (0, 1)]
    return b("Concat", *parts, axis=-1)


def join_by_list(b: Builder, y: str) -> str:
    """Picked in another order, then flattened."""
    picked = b("Gather", y, b.ints(1, 0), axis=1)
    return b("Reshape", b("Transpose", picked, perm=[0, 2, 1, 3]), b.ints(0, 0, 12))


def join_first_and_last(b: Builder, y: str) -> str:
    """The last output ahead and the first one back, as a summary of the sequence."""
    ahead, back = halves(b, b.flat(y, 2))
    last = b("Slice", ahead, b.ints(-1), b.ints(1 << 60), b.ints(0))
    first = b("Slice", back, b.ints(0), b.ints(1), b.ints(0))
    return b("Concat", last, first, axis=2)


def join_by_sum(b: Builder, y: str) -> str:
    return b("Add", *halves(b, b.flat(y, 2)))


def join_by_reduction(b: Builder, y: str) -> str:
    return b("ReduceSum", y, b.ints(1), keepdims=0)


JOINS = {
    "split": (join_by_split, 12, 6),
    "gather": (join_by_gather, 12, 6),
    "list": (join_by_list, 12, 6),
    "first and last": (join_first_and_last, 12, 6),
    "sum": (join_by_sum, 6, 6),
    "reduction": (join_by_reduction, 6, 6),
}


@pytest.mark.parametrize("join", JOINS)
def test_ways_to_join_the_directions_of_one_node(join: str) -> None:
    joined, width, after = JOINS[join]
    b = Builder()
    y = b.layer("GRU", b.input("x", ["T", "B", 4]), 4, 6, direction="bidirectional")
    b("MatMul", joined(b, y), b.weight(width, 3), outputs=("y",))
    b.output("y", [1 if join == "first and last" else "T", "B", 3])
    uni = rewrite(b.model(), Change(direction="uni")).model
    assert totals(uni, DIMS).params == 3 * 6 * (4 + 6 + 2) + after * 3
    assert shapes(uni, DIMS) == shapes(b.model(), DIMS)
    lstm = rewrite(b.model(), Change(cell="lstm", hidden_size=8)).model
    assert totals(lstm, DIMS).params == 2 * 4 * 8 * (4 + 8 + 2) + width * 8 // 6 * 3
    assert shapes(lstm, DIMS) == shapes(b.model(), DIMS)


def test_what_reads_the_second_direction_alone_reads_the_first() -> None:
    """``h_n[-1]`` of a bidirectional layer is its backward state."""
    b = Builder()
    x = b.input("x", ["T", "B", 4])
    b.layer("GRU", x, 4, 6, direction="bidirectional", outputs=("", "h"))
    last = b("Gather", "h", b.tensor(np.array(-1)), axis=0)
    b("MatMul", last, b.weight(6, 3), outputs=("y",))
    b.output("y", ["B", 3])
    variant = rewrite(b.model(), Change(direction="uni"))
    assert totals(variant.model, DIMS).params == 3 * 6 * (4 + 6 + 2) + 6 * 3
    assert shapes(variant.model, DIMS) == {"y": (2, 3)}
    assert any("read the direction that is dropped" in note for note in variant.notes)


def branch(op: str, seed: int, hidden: int = 6) -> onnx.GraphProto:
    b = Builder(seed=seed, prefix=f"b{seed}_")
    y = b.layer(op, "x", 4, hidden)
    flat = b("Squeeze", y, b.ints(1))
    output = helper.make_tensor_value_info(flat, TensorProto.FLOAT, ["T", "B", hidden])
    return helper.make_graph(b.nodes, f"branch{seed}", [], [output], b.stored)


def forked(first: str = "LSTM", second: str = "LSTM") -> onnx.ModelProto:
    b = Builder()
    b.input("x", ["T", "B", 4])
    b.input("fast", [], TensorProto.BOOL)
    branches = {"then_branch": branch(first, 1), "else_branch": branch(second, 2)}
    b("MatMul", b("If", "fast", **branches), b.weight(6, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    return b.model()


@pytest.mark.parametrize(
    ("change", "rows", "hidden"),
    [(Change(cell="gru"), 18, 6), (Change(hidden_size=5), 20, 5), (Change(layers=2), 24, 6)],
    ids=["cell", "hidden", "layers"],
)
def test_both_branches_of_an_if_change(change: Change, rows: int, hidden: int) -> None:
    model = forked()
    assert len(applicable(model).layers) == 2
    variant = rewrite(model, change).model
    extra = rows * (2 * hidden + 2) if change.layers else 0
    assert totals(variant, DIMS).params == 2 * (rows * (4 + hidden + 2) + extra) + hidden * 3
    x = np.zeros((7, 2, 4), np.float32)
    for fast in (True, False):
        assert run(variant, x=x, fast=np.array(fast))["y"].shape == (7, 2, 3)


def test_a_branch_without_a_recurrent_layer_follows() -> None:
    """The other branch returns a product of its own, whose weight has to change with it."""
    b = Builder()
    b.input("x", ["T", "B", 4])
    b.input("fast", [], TensorProto.BOOL)
    inner = Builder(seed=3, prefix="in_")
    flat = inner("Tanh", inner("MatMul", "x", inner.weight(4, 6)))
    output = helper.make_tensor_value_info(flat, TensorProto.FLOAT, ["T", "B", 6])
    other = helper.make_graph(inner.nodes, "other", [], [output], inner.stored)
    y = b("If", "fast", then_branch=branch("LSTM", 1), else_branch=other)
    b("MatMul", y, b.weight(6, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    variant = rewrite(b.model(), Change(hidden_size=5)).model
    x = np.ones((7, 2, 4), np.float32)
    for fast in (True, False):
        assert run(variant, x=x, fast=np.array(fast))["y"].shape == (7, 2, 3)
    assert totals(variant, DIMS).params == 20 * (4 + 5 + 2) + 4 * 5 + 5 * 3


def looped(op: str = "LSTM") -> onnx.ModelProto:
    """A Loop over chunks: x [N, T, B, 4], an LSTM whose state is carried."""
    inner = Builder(seed=4, prefix="in_")
    states = ["h", "c"] if op == "LSTM" else ["h"]
    chunk = inner("Gather", "x", "i", axis=0)
    finals = [f"{s}_next" for s in states]
    y = inner.layer(op, chunk, 4, 6, extra=("", *states), outputs=("Y", *finals))
    inner("Identity", "going", outputs=("still",))
    flat = inner.flat(y, 1)
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        inner.nodes,
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("going", TensorProto.BOOL, []),
            *(value(s, TensorProto.FLOAT, [1, "B", 6]) for s in states),
        ],
        [
            value("still", TensorProto.BOOL, []),
            *(value(s, TensorProto.FLOAT, [1, "B", 6]) for s in finals),
            value(flat, TensorProto.FLOAT, ["T", "B", 6]),
        ],
        inner.stored,
    )
    b = Builder()
    x = b.input("x", [3, "T", "B", 4])
    batch = b("Slice", b("Shape", x), b.ints(2), b.ints(3))
    zeros = b("ConstantOfShape", b("Concat", b.ints(1), batch, b.ints(6), axis=0))
    outputs = [*(f"{s}_last" for s in states), "steps"]
    b("Loop", b.tensor(np.array(3)), "", *[zeros] * len(states), body=body, outputs=outputs)
    b("MatMul", "steps", b.weight(6, 3), outputs=("y",))
    b.output("y", [3, "T", "B", 3])
    return b.model()


@pytest.mark.parametrize(
    ("change", "params"),
    [
        (Change(hidden_size=5), 20 * (4 + 5 + 2) + 5 * 3),
        (Change(direction="bi", policy=SAME_OUTPUT_WIDTH), 2 * 12 * (4 + 3 + 2) + 6 * 3),
    ],
    ids=["hidden", "bi"],
)
def test_a_state_that_a_loop_carries_follows(change: Change, params: int) -> None:
    variant = rewrite(looped(), change).model
    assert totals(variant, DIMS).params == params
    assert shapes(variant, DIMS) == {"y": (3, 7, 2, 3)}


def test_a_cell_state_that_a_loop_carries_is_the_hidden_state() -> None:
    variant = rewrite(looped(), Change(cell="gru"))
    assert shapes(variant.model, DIMS) == {"y": (3, 7, 2, 3)}
    assert totals(variant.model, DIMS).params == 18 * (4 + 6 + 2) + 6 * 3
    assert any("what read it reads the hidden state" in note for note in variant.notes)


def test_a_layer_inside_a_scan_changes() -> None:
    inner = Builder(seed=5, prefix="in_")
    flat = inner.flat(inner.layer("GRU", "row", 4, 6), 1)
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        inner.nodes,
        "body",
        [value("row", TensorProto.FLOAT, ["T", "B", 4])],
        [value(flat, TensorProto.FLOAT, ["T", "B", 6])],
        inner.stored,
    )
    b = Builder()
    x = b.input("x", [3, "T", "B", 4])
    b("MatMul", b("Scan", x, body=body, num_scan_inputs=1), b.weight(6, 3), outputs=("y",))
    b.output("y", [3, "T", "B", 3])
    for change, params in (
        (Change(hidden_size=5), 15 * (4 + 5 + 2) + 5 * 3),
        (Change(direction="bi"), 2 * 18 * (4 + 6 + 2) + 12 * 3),
    ):
        variant = rewrite(b.model(), change).model
        assert totals(variant, DIMS).params == params
        assert shapes(variant, DIMS) == {"y": (3, 7, 2, 3)}


def with_options(op: str, directions: int, **attrs: Any) -> onnx.ModelProto:
    b = Builder()
    lengths = b.input("lengths", ["B"], TensorProto.INT32)
    direction = "bidirectional" if directions == 2 else "forward"
    extra = [lengths]
    if op == "LSTM":
        extra += ["", "", b.weight(directions, 18)]
    y = b.layer(op, b.input("x", ["T", "B", 4]), 4, 6, direction=direction, extra=extra, **attrs)
    b("MatMul", b.flat(y, directions), b.weight(6 * directions, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    return b.model()


def node_of(model: onnx.ModelProto) -> dict[str, Any]:
    node = next(n for n in model.graph.node if n.op_type in ("LSTM", "GRU", "RNN"))
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {"inputs": list(node.input), **values}


def test_lengths_and_clip_are_kept_and_peepholes_go() -> None:
    variant = rewrite(with_options("LSTM", 1, clip=3.0), Change(cell="gru"))
    node = node_of(variant.model)
    assert node["inputs"][4] == "lengths"
    assert node["clip"] == 3.0
    assert len(node["inputs"]) == 5
    assert any("the peepholes of 'lstm_0' are gone" in note for note in variant.notes)
    lengths = np.array([7, 3], np.int32)
    x = np.ones((7, 2, 4), np.float32)
    assert (run(variant.model, x=x, lengths=lengths)["y"][3:, 1] == 0).all()


def test_peepholes_are_cut_with_the_units() -> None:
    variant = rewrite(with_options("LSTM", 2), Change(direction="uni", hidden_size=4)).model
    (p,) = (t for t in variant.graph.initializer if t.name == node_of(variant)["inputs"][7])
    assert list(p.dims) == [1, 12]
    assert totals(variant, DIMS).params == 16 * (4 + 4 + 2) + 12 + 4 * 3


ACTIVATIONS = [
    ("LSTM", ["Sigmoid", "Tanh", "Relu"], 1, Change(cell="gru"), None),
    ("LSTM", ["HardSigmoid", "Relu", "Tanh"], 1, Change(cell="gru"), [b"HardSigmoid", b"Relu"]),
    ("LSTM", ["Sigmoid", "Relu", "Relu"], 1, Change(cell="rnn"), [b"Relu"]),
    ("GRU", ["Sigmoid", "Relu"], 1, Change(cell="lstm"), [b"Sigmoid", b"Relu", b"Relu"]),
    ("RNN", ["Relu"], 1, Change(cell="gru"), [b"Sigmoid", b"Relu"]),
    ("RNN", ["Relu", "Relu"], 2, Change(direction="uni"), [b"Relu"]),
    ("RNN", ["Relu"], 1, Change(direction="bi"), [b"Relu", b"Relu"]),
    ("GRU", ["sigmoid", "tanh"], 1, Change(cell="rnn"), None),
]


@pytest.mark.parametrize(("op", "before", "directions", "change", "after"), ACTIVATIONS)
def test_activation_functions_are_carried_over(
    op: str, before: list[str], directions: int, change: Change, after: list[bytes] | None
) -> None:
    variant = rewrite(with_options(op, directions, activations=before), change).model
    assert node_of(variant).get("activations") == after
    x = np.ones((7, 2, 4), np.float32)
    assert run(variant, x=x, lengths=np.array([7, 3], np.int32))["y"].shape == (7, 2, 3)


def test_coupled_gates_and_parameters_of_functions_are_noted() -> None:
    model = with_options(
        "LSTM", 1, input_forget=1, activations=["HardSigmoid", "Tanh", "Tanh"],
        activation_alpha=[0.3], activation_beta=[0.4],
    )  # fmt: skip
    variant = rewrite(model, Change(cell="gru"))
    assert "activation_alpha" not in node_of(variant.model)
    assert any("default parameters" in note for note in variant.notes)
    assert any("coupled" in note for note in variant.notes)
    kept = node_of(rewrite(model, Change(hidden_size=4)).model)
    assert kept["input_forget"] == 1
    assert kept["activation_alpha"] == pytest.approx([0.3])


@pytest.mark.parametrize(
    "change",
    [
        Change(cell="lstm"),
        Change(direction="uni"),
        Change(hidden_size=5),
        Change(direction="uni", policy=SAME_OUTPUT_WIDTH),
        Change(layers=2),
    ],
    ids=str,
)
def test_layers_with_the_batch_first(change: Change) -> None:
    """ONNX Runtime has no kernel for layout 1: the reference implementation runs these."""
    b = Builder()
    x = b.input("x", ["B", "T", 4])
    y = b.layer("GRU", x, 4, 6, direction="bidirectional", layout=1, outputs=("Y", "H"))
    flat = b("Reshape", y, b.ints(0, 0, -1))
    b("MatMul", flat, b.weight(12, 3), outputs=("y",))
    b.output("y", ["B", "T", 3])
    b.output("H", ["B", 2, 6])
    variant = rewrite(b.model(), change).model
    counted = totals(variant, DIMS)
    goal = 1 if change.direction else 2
    hidden = change.hidden_size or (12 if change.policy == SAME_OUTPUT_WIDTH else 6)
    rows = goal * (4 if change.cell else 3) * hidden
    second = rows * (goal * hidden + hidden + 2) if change.layers else 0
    assert counted.params == rows * (4 + hidden + 2) + second + goal * hidden * 3
    onnx.checker.check_model(variant, full_check=True)
    final = next(info for info in variant.graph.output if info.name == "H")
    assert declared(final) == ["B", goal, hidden]


def quantised(directions: int = 2) -> onnx.ModelProto:
    """A com.microsoft DynamicQuantizeLSTM, as quantize_dynamic makes it."""
    b = Builder()
    rng = np.random.default_rng(0)
    direction = "bidirectional" if directions == 2 else "forward"
    w, r = (
        b.tensor(rng.integers(-99, 99, (directions, size, 24)).astype(np.int8)) for size in (4, 6)
    )
    scales = [b.tensor(np.full((directions, 24), 0.01, np.float32)) for _ in range(2)]
    zeros = [b.tensor(np.zeros((directions, 24), np.int8)) for _ in range(2)]
    y = b(
        "DynamicQuantizeLSTM", b.input("x", ["T", "B", 4]), w, r, b.weight(directions, 48),
        "", "", "", "", scales[0], zeros[0], scales[1], zeros[1],
        hidden_size=6, direction=direction, domain="com.microsoft", outputs=("Y",),
    )  # fmt: skip
    b("MatMul", b.flat(y, directions), b.weight(6 * directions, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    return b.model()


@pytest.mark.parametrize(
    ("change", "directions", "hidden"),
    [
        (Change(direction="uni"), 1, 6),
        (Change(direction="uni", policy=SAME_OUTPUT_WIDTH), 1, 12),
        (Change(hidden_size=4), 2, 4),
    ],
    ids=str,
)
def test_a_quantised_lstm_is_cut(change: Change, directions: int, hidden: int) -> None:
    variant = rewrite(quantised(), change).model
    (node,) = (n for n in variant.graph.node if n.op_type == "DynamicQuantizeLSTM")
    dims = {t.name: tuple(t.dims) for t in variant.graph.initializer}
    rows = 4 * hidden
    assert dims[node.input[1]] == (directions, 4, rows)
    assert dims[node.input[2]] == (directions, hidden, rows)
    assert [dims[node.input[index]] for index in range(8, 12)] == [(directions, rows)] * 4
    assert shapes(variant, DIMS) == {"y": (7, 2, 3)}


def test_a_quantised_lstm_has_no_other_cell() -> None:
    with pytest.raises(VariantError, match="DynamicQuantizeLSTM, which has no form as GRU"):
        rewrite(quantised(), Change(cell="gru"))
    with pytest.raises(VariantError, match="layers can be added before that"):
        rewrite(quantised(), Change(layers=2))


def test_a_quantised_layer_beside_another_stays_with_a_note() -> None:
    model = quantised()
    b = Builder(prefix="more_")
    flat = model.graph.node[-1].input[0]
    y = b.flat(b.layer("LSTM", flat, 12, 5), 1)
    model.graph.node.pop()
    b("MatMul", y, b.weight(5, 3), outputs=("y",))
    model.graph.node.extend(b.nodes)
    model.graph.initializer.extend(b.stored)
    variant = rewrite(model, Change(cell="gru"))
    assert {"DynamicQuantizeLSTM", "GRU"} <= set(op_types(variant.model))
    assert "'dynamicquantizelstm_0' stays an LSTM: its quantised form has no other cell" in (
        variant.notes
    )
    assert shapes(variant.model, DIMS) == {"y": (7, 2, 3)}


def test_weights_that_are_dequantised_keep_their_type() -> None:
    b = Builder()
    x = b.input("x", ["T", "B", 4])
    rng = np.random.default_rng(0)
    parts = []
    for size in (4, 6):
        stored = b.tensor(rng.integers(-99, 99, (2, 24, size)).astype(np.int8))
        parts.append(b("DequantizeLinear", stored, b.tensor(np.array(0.01, np.float32))))
    y = b("LSTM", x, *parts, hidden_size=6, direction="bidirectional")
    b("MatMul", b.flat(y, 2), b.weight(12, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    variant = rewrite(b.model(), Change(direction="uni")).model
    assert op_types(variant).count("DequantizeLinear") == 2
    kept = {tuple(t.dims) for t in variant.graph.initializer if t.data_type == TensorProto.INT8}
    assert kept == {(1, 24, 4), (1, 24, 6)}
    assert shapes(variant, DIMS) == {"y": (7, 2, 3)}


def test_weights_put_together_at_run_time_are_replaced_once() -> None:
    """Two branches that use one stored weight use one new weight."""
    b = Builder()
    x = b.input("x", ["T", "B", 4])
    whole = [b.weight(24, size) for size in (4, 6)]
    outputs = []
    for _ in range(2):
        made = []
        for source in whole:
            halves = [b("Slice", source, b.ints(12 * n), b.ints(12 * n + 12)) for n in (1, 0)]
            made.append(b("Unsqueeze", b("Concat", *halves, axis=0), b.ints(0)))
        outputs.append(b.flat(b("LSTM", x, *made, hidden_size=6), 1))
    b("Add", *outputs, outputs=("y",))
    b.output("y", ["T", "B", 6])
    model = b.model()
    assert totals(model, DIMS).params == 24 * 10
    assert totals(rewrite(model, Change(cell="gru")).model, DIMS).params == 18 * 10
    assert totals(rewrite(model, Change(hidden_size=5)).model, DIMS).params == 20 * 9
