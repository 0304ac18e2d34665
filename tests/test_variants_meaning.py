"""What a variant keeps of its model, and what it says about the rest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from variant_graphs import Builder, declared, run, shapes, totals

from rnncost.errors import VariantError
from rnncost.variants import SAME_OUTPUT_WIDTH, Change, applicable, rewrite

DIMS = {"T": 7, "B": 2}
UNI = Change(direction="uni")
value = helper.make_tensor_value_info


def apart(b: Builder) -> tuple[str, str]:
    """Two texts, looked up in one table."""
    table = b.weight(20, 4)
    ids = [b.input(name, ["T", "B"], TensorProto.INT64) for name in ("left", "right")]
    left, right = (b("Gather", table, name) for name in ids)
    return left, right


def parts(b: Builder) -> tuple[str, str]:
    """The first and the last steps of one sequence."""
    x = b.input("x", [10, "B", 4])
    return tuple(b("Slice", x, b.ints(at), b.ints(at + 5), b.ints(0)) for at in (0, 5))  # type: ignore[return-value]


@pytest.mark.parametrize("inputs", [apart, parts])
def test_layers_of_different_sequences_are_no_pair(inputs: object) -> None:
    b = Builder()
    first, second = inputs(b)  # type: ignore[operator]
    ahead = b.flat(b.layer("LSTM", first, 4, 6), 1)
    back = b.flat(b.layer("LSTM", second, 4, 6, direction="reverse"), 1)
    b("MatMul", b("Concat", ahead, back, axis=2), b.weight(12, 3), outputs=("y",))
    b.output("y", [5 if inputs is parts else "T", "B", 3])
    assert [layer.direction for layer in applicable(b.model()).layers] == ["uni", "uni"]
    with pytest.raises(VariantError, match="nothing would change"):
        rewrite(b.model(), UNI)


@pytest.mark.parametrize("change", [UNI, Change(direction="uni", hidden_size=4)], ids=str)
def test_a_decoder_stays_where_its_initial_state_goes(change: Change) -> None:
    """It started from the backward half of a pair, of which nothing is left."""
    b = Builder()
    x = b.input("x", ["T", "B", 4])
    ahead = b.flat(b.layer("GRU", x, 4, 6), 1)
    back = b.flat(b.layer("GRU", x, 4, 6, direction="reverse", outputs=("back", "h")), 1)
    b("MatMul", b("Concat", ahead, back, axis=2), b.weight(12, 3), outputs=("z",))
    decoded = b.flat(b.layer("GRU", x, 4, 6, extra=("", "h")), 1)
    b("MatMul", decoded, b.weight(6, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    b.output("z", ["T", "B", 3])
    variant = rewrite(b.model(), change)
    hidden = change.hidden_size or 6
    assert totals(variant.model, DIMS).params == 2 * (3 * hidden * (4 + hidden + 2) + hidden * 3)
    assert shapes(variant.model, DIMS) == {"y": (7, 2, 3), "z": (7, 2, 3)}
    assert any(note.endswith("its initial state was is dropped") for note in variant.notes)


def chunks(op: str) -> onnx.ModelProto:
    """Both halves of a pair leave the body of a Loop or Scan, joined and the second alone."""
    inner = Builder(prefix="in_")
    chunk = inner("Gather", "x", "i", axis=0) if op == "Loop" else "chunk"
    ahead = inner.flat(inner.layer("LSTM", chunk, 4, 6), 1)
    back = inner.flat(inner.layer("LSTM", chunk, 4, 6, direction="reverse"), 1)
    joined = inner("Concat", ahead, back, axis=2)
    alone, bools = inner("Identity", back), [value("still", TensorProto.BOOL, [])]
    given = [value("chunk", TensorProto.FLOAT, ["T", "B", 4])]
    if op == "Loop":
        inner("Identity", "going", outputs=("still",))
        given = [value("i", TensorProto.INT64, []), value("going", TensorProto.BOOL, [])]
    made = [
        value(alone, TensorProto.FLOAT, ["T", "B", 6]),
        value(joined, TensorProto.FLOAT, ["T", "B", 12]),
    ]
    outputs = [*(bools if op == "Loop" else []), *made]
    body = helper.make_graph(inner.nodes, "body", given, outputs, inner.stored)
    b = Builder()
    x = b.input("x", [3, "T", "B", 4])
    if op == "Loop":
        b("Loop", b.tensor(np.array(3)), "", body=body, outputs=("alone", "joined"))
    else:
        axes = {"num_scan_inputs": 1, "scan_output_axes": [0, 1]}
        b("Scan", x, body=body, outputs=("alone", "joined"), **axes)
    b("MatMul", "joined", b.weight(12, 3), outputs=("y",))
    b.output("y", [3, "T", "B", 3] if op == "Loop" else ["T", 3, "B", 3])
    b("MatMul", "alone", b.weight(6, 3), outputs=("z",))
    b.output("z", [3, "T", "B", 3])
    return b.model()


@pytest.mark.parametrize("op", ["Loop", "Scan"])
def test_an_output_that_goes_leaves_its_loop(op: str) -> None:
    assert set(shapes(chunks(op), DIMS)) == {"y", "z"}
    variant = rewrite(chunks(op), UNI)
    assert totals(variant.model, DIMS).params == 4 * 6 * (4 + 6 + 2) + 6 * 3
    due = (3, 7, 2, 3) if op == "Loop" else (7, 3, 2, 3)
    assert shapes(variant.model, DIMS) == {"y": due}
    assert "the output 'z' is gone: nothing is left of what it returned" in variant.notes


def test_weights_that_stay_in_two_sizes_are_noted() -> None:
    """An embedding that is the output layer as well keeps its width for the one use alone."""
    b = Builder()
    table, ids = b.weight(20, 6), b.input("ids", ["T", "B"], TensorProto.INT64)
    y = b.flat(b.layer("LSTM", b("Gather", table, ids), 6, 6), 1)
    b("MatMul", y, b("Transpose", table, perm=[1, 0]), outputs=("y",))
    b.output("y", ["T", "B", 20])
    variant = rewrite(b.model(), Change(hidden_size=4))
    assert totals(variant.model, DIMS).params == 20 * 6 + 4 * 4 * (6 + 4 + 2) + 20 * 4
    assert variant.notes == [f"the weights {table!r} are stored in two sizes: not all that read "
                             "them change"]  # fmt: skip


def test_zero_points_of_two_types_are_cut_apart() -> None:
    b = Builder()
    x = b.input("x", ["T", "B", 4])
    scale = b.tensor(np.full(6, 0.01, np.float32))
    made = []
    for shape, kind, axis in (((4, 6), np.int8, 1), ((6,), np.int32, 0)):
        parts = b.tensor(np.ones(shape, kind)), scale, b.tensor(np.zeros(6, kind))
        made.append(b("DequantizeLinear", *parts, axis=axis))
    beside = b("Add", b("MatMul", x, made[0]), made[1])
    joined = b("Add", b.flat(b.layer("LSTM", x, 4, 6), 1), beside)
    b("MatMul", joined, b.weight(6, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    assert shapes(rewrite(b.model(), Change(hidden_size=4)).model, DIMS) == {"y": (7, 2, 3)}


@pytest.mark.parametrize("change", [Change(layers=1), Change(cell="gru", layers=1)], ids=str)
@pytest.mark.parametrize("read", ["h", "c"])
def test_the_state_of_a_layer_that_goes_is_that_of_the_one_below(change: Change, read: str) -> None:
    """The layer below did not even give its states before."""
    b = Builder()
    y = b.flat(b.layer("LSTM", b.input("x", ["T", "B", 4]), 4, 6, outputs=("Y0",)), 1)
    b.layer("LSTM", y, 6, 6, outputs=("", "h", "c"))
    b("MatMul", b("Squeeze", read, b.ints(0)), b.weight(6, 3), outputs=("y",))
    b.output("y", ["B", 3])
    variant = rewrite(b.model(), change).model
    gates = 3 if change.cell else 4
    assert totals(variant, DIMS).params == gates * 6 * (4 + 6 + 2) + 6 * 3
    assert shapes(variant, DIMS) == {"y": (2, 3)}


def sums(b: Builder, y: str) -> Iterator[str]:
    """Ways to add up the directions of Y [T, 2, B, 6]."""
    flat = b.flat(y, 2)
    yield b("ReduceSum", y, b.ints(1), keepdims=0)
    yield b("ReduceSum", b("Reshape", flat, b.ints(7, 2, 2, -1)), b.ints(2), keepdims=0)
    halves = [b("Slice", flat, b.ints(at), b.ints(at + 6), b.ints(2)) for at in (0, 6)]
    yield b("Add", *halves)
    b("Split", y, b.ints(1, 1), axis=1, outputs=("ahead", "back"))
    yield b("Squeeze", b("Max", "ahead", "back"), b.ints(1))


@pytest.mark.parametrize("policy", [UNI.policy, SAME_OUTPUT_WIDTH])
@pytest.mark.parametrize("way", range(4), ids=["reduced", "viewed", "sliced", "split"])
def test_directions_that_are_added_up_are_as_wide_as_one(way: int, policy: object) -> None:
    b = Builder()
    y = b.layer("GRU", b.input("x", [7, 2, 4]), 4, 6, direction="bidirectional")
    summed = list(sums(b, y))[way]
    b("MatMul", summed, b.weight(6, 3), outputs=("y",))
    b.output("y", [7, 2, 3])
    model = b.model()
    made = {name: node for node in model.graph.node for name in node.output}
    needed, waiting = set(), ["y"]
    while waiting:
        node = made.get(waiting.pop())
        if node is not None and node.name not in needed:
            needed.add(node.name)
            waiting.extend(node.input)
    kept = [node for node in model.graph.node if node.name in needed]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    change = Change(direction="uni", policy=policy)  # type: ignore[arg-type]
    variant = rewrite(model, change).model
    assert totals(variant).params == 3 * 6 * (4 + 6 + 2) + 6 * 3
    assert shapes(variant) == {"y": (7, 2, 3)}


def forked_on(condition: bool, uncut: bool) -> onnx.ModelProto:
    """A branch that never runs reads what nothing else reads; a width cannot pass through it."""
    b = Builder()
    x = b.input("x", ["T", "B", 4])
    b.layer("LSTM", x, 4, 6, outputs=("Y", "H", "C"))
    y, c = b.flat("Y", 1), b("Squeeze", "C", b.ints(0))
    weight = b.weight(4, 6)
    then = Builder(prefix="then_")
    made = then("Tanh", y)
    first = helper.make_graph(
        then.nodes, "then", [], [value(made, TensorProto.FLOAT, ["T", "B", 6])]
    )
    other = Builder(prefix="else_")
    extra = other("MatMul", x, weight) if uncut else c
    wide = other("Unsqueeze", other("Add", extra, y), other.ints(0))
    made = other("Squeeze", other("DepthToSpace", wide, blocksize=1), other.ints(0))
    second = helper.make_graph(
        other.nodes, "else", [], [value(made, TensorProto.FLOAT, ["T", "B", 6])], other.stored
    )
    one = b("If", b.tensor(np.array(condition)), then_branch=first, else_branch=second)
    b("MatMul", one, b.weight(6, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    return b.model()


def test_a_branch_that_never_runs_keeps_what_it_reads() -> None:
    variant = rewrite(forked_on(True, uncut=False), Change(hidden_size=4)).model
    assert shapes(variant, DIMS) == {"y": (7, 2, 3)}
    with pytest.raises(VariantError, match="cannot be followed through DepthToSpace"):
        rewrite(forked_on(False, uncut=False), Change(hidden_size=4))


def test_a_variant_whose_shapes_contradict_each_other_is_refused() -> None:
    """The branch that stays as it is would add 4 units to 6."""
    with pytest.raises(VariantError, match=r"no valid model: .*Incompatible dimensions"):
        rewrite(forked_on(True, uncut=True), Change(hidden_size=4))


def branches(shared: bool) -> onnx.ModelProto:
    """Two branches with the same names inside; their weights are one, or each has its own."""
    b = Builder()
    b.input("x", ["T", "B", 4])
    b.input("fast", [], TensorProto.BOOL)
    weights = [b.weight(1, 24, 4), b.weight(1, 24, 6), b.weight(1, 48)] if shared else []
    graphs = []
    for reads_cell in (True, False):
        inner = Builder(prefix="in_")
        own = weights or [inner.weight(1, 24, 4), inner.weight(1, 24, 6), inner.weight(1, 48)]
        inner("LSTM", "x", *own, hidden_size=6, outputs=("Y", "H", "C"))
        flat = inner("Squeeze", "Y", inner.ints(1))
        if reads_cell:
            flat = inner("Add", flat, inner("Squeeze", "C", inner.ints(0)))
        inner("Identity", flat, outputs=("out",))
        made = [value("out", TensorProto.FLOAT, ["T", "B", 6])]
        graphs.append(helper.make_graph(inner.nodes, "branch", [], made, inner.stored))
    b("If", "fast", then_branch=graphs[0], else_branch=graphs[1], outputs=("both",))
    b("MatMul", "both", b.weight(6, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    return b.model()


@pytest.mark.parametrize("change", [Change(direction="bi"), Change(cell="gru"), Change(layers=2)])
def test_branches_may_have_the_same_names_inside(change: Change) -> None:
    variant = rewrite(branches(shared=False), change).model
    x = np.ones((7, 2, 4), np.float32)
    for fast in (True, False):
        assert run(variant, x=x, fast=np.array(fast))["y"].shape == (7, 2, 3)
    (fork,) = (node for node in variant.graph.node if node.op_type == "If")
    for attribute in fork.attribute:
        read = {name for node in attribute.g.node for name in node.input}
        assert {tensor.name for tensor in attribute.g.initializer} <= read


def test_layers_added_to_shared_weights_share_theirs() -> None:
    one = 4 * 6 * (4 + 6 + 2)
    added = 4 * 6 * (6 + 6 + 2)
    for shared, times in ((True, 1), (False, 2)):
        variant = rewrite(branches(shared=shared), Change(layers=3)).model
        assert totals(variant, DIMS).params == times * (one + 2 * added) + 6 * 3


@pytest.mark.parametrize(
    ("change", "width"), [(Change(hidden_size=4), 4), (Change(direction="bi"), 12)], ids=str
)
def test_states_of_a_free_width_are_settled(change: Change, width: int) -> None:
    b = Builder()
    x, h, c = b.input("x", ["T", "B", 4]), b.input("h", [1, "B", "H"]), b.input("c", [1, "B", "H"])
    b.layer("LSTM", x, 4, 6, extra=("", h, c), outputs=("Y", "hn"))
    b("MatMul", b.flat("Y", 1), b.weight(6, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    b.output("hn", [1, "B", "H"])
    with pytest.raises(VariantError, match=r"'h' is \[1, B, H\]: give the dimension H"):
        rewrite(b.model(), change)
    variant = rewrite(b.model(), change, dims={"H": 6}).model
    extents = {info.name: declared(info) for info in (*variant.graph.input, *variant.graph.output)}
    assert extents["h"] == extents["c"] == extents["hn"] == [1, "B", width]
    assert shapes(variant, DIMS) == {"y": (7, 2, 3), "hn": (1, 2, width)}


def test_only_what_has_nothing_else_to_read_reads_the_other_direction() -> None:
    """The layer below hands on both directions, of which one is left; the head reads ``h[-1]``."""
    b = Builder()
    y = b.layer("GRU", b.input("x", ["T", "B", 4]), 4, 6, direction="bidirectional")
    both = [b("Gather", y, b.tensor(np.array(at)), axis=1) for at in (0, 1)]
    above = b("Concat", *both, axis=-1)
    b.layer("GRU", above, 12, 6, direction="bidirectional", outputs=("", "h"))
    b("MatMul", b("Gather", "h", b.tensor(np.array(-1)), axis=0), b.weight(6, 3), outputs=("y",))
    b.output("y", ["B", 3])
    variant = rewrite(b.model(), UNI)
    assert totals(variant.model, DIMS).params == 3 * 6 * ((4 + 6 + 2) + (6 + 6 + 2)) + 6 * 3
    assert shapes(variant.model, DIMS) == {"y": (2, 3)}
    assert len(variant.notes) == 1


def started(learned: bool) -> onnx.ModelProto:
    """A GRU whose initial state is learned, or computed from another input."""
    b = Builder()
    x = b.input("x", ["T", 2, 4])
    initial = b.weight(1, 2, 6)
    if not learned:
        initial = b("Unsqueeze", b("MatMul", b.input("s", [2, 5]), b.weight(5, 6)), b.ints(0))
    y = b.flat(b.layer("GRU", x, 4, 6, extra=("", initial)), 1)
    b("MatMul", y, b.weight(6, 3), outputs=("y",))
    b.output("y", ["T", 2, 3])
    return b.model()


@pytest.mark.parametrize("learned", [True, False])
def test_initial_states_that_do_for_others_are_noted(learned: bool) -> None:
    lstm = rewrite(started(learned), Change(cell="lstm"))
    assert any("initial cell state" in note and "is its initial hidden" in note
               for note in lstm.notes)  # fmt: skip
    deeper = rewrite(started(learned), Change(layers=3))
    (note,) = deeper.notes
    assert note.startswith("the layers added to")
    assert note.endswith("start from its initial state")
    for variant in (lstm, deeper):
        assert shapes(variant.model, {"T": 7}) == {"y": (7, 2, 3)}


def test_what_a_gate_loses_and_inputs_that_go_are_noted() -> None:
    b = Builder()
    x, c = b.input("x", ["T", "B", 4]), b.input("c", [2, "B", 6])
    y = b.layer("LSTM", x, 4, 6, direction="bidirectional", extra=("", "", c))
    ahead, back = (b("Gather", y, b.tensor(np.array(at)), axis=1) for at in (0, 1))
    b("MatMul", b("Mul", ahead, b("Sigmoid", back)), b.weight(6, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    notes = rewrite(b.model(), Change(cell="gru")).notes
    assert "the input 'c' is gone: nothing reads it any more" in notes
    variant = rewrite(b.model(), UNI)
    assert "Mul 'mul_4' has one operand left, and passes it on" in variant.notes
    assert shapes(variant.model, DIMS) == {"y": (7, 2, 3)}
