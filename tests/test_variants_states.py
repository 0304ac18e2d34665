"""Initial and final states of variants: a stream cut in two gives what it gives in one piece."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from variant_graphs import Builder, declared, op_types, run, shapes, totals

from rnncost.analysis import analyze
from rnncost.errors import VariantError
from rnncost.variants import SAME_OUTPUT_WIDTH, Change, rewrite

DIMS = {"T": 8, "B": 2}


def streaming(op: str, layers: int = 2, hidden: int = 6) -> onnx.ModelProto:
    """A stack whose states come in and go out as [layers, B, H], as PyTorch exports it."""
    b = Builder()
    y = b.input("x", ["T", "B", 4])
    letters = "hc" if op == "LSTM" else "h"
    for letter in letters:
        b.input(f"{letter}0", [layers, "B", hidden])
    size = 4
    for number in range(layers):
        bounds = b.ints(number), b.ints(number + 1), b.ints(0)
        initial = [b("Slice", f"{letter}0", *bounds) for letter in letters]
        outputs = [f"{letter}_{number}" for letter in f"y{letters}"]
        y = b.flat(b.layer(op, y, size, hidden, extra=("", *initial), outputs=outputs), 1)
        size = hidden
    for letter in letters:
        parts = [f"{letter}_{number}" for number in range(layers)]
        b("Concat", *parts, axis=0, outputs=(f"{letter}n",))
        b.output(f"{letter}n", [layers, "B", hidden])
    b("MatMul", y, b.weight(hidden, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    return b.model()


def stacked_state(hidden: int = 6) -> onnx.ModelProto:
    """An LSTM with h and c in one tensor [2, B, H], as Silero VAD has it."""
    b = Builder()
    x, state = b.input("x", ["T", "B", 4]), b.input("state", [2, "B", hidden])
    picked = [b("Gather", state, b.tensor(np.array(n)), axis=0) for n in (0, 1)]
    initial = [b("Unsqueeze", one, b.ints(0)) for one in picked]
    y = b.layer("LSTM", x, 4, hidden, extra=("", *initial), outputs=("Y", "H", "C"))
    final = [b("Unsqueeze", b("Squeeze", one, b.ints(0)), b.ints(0)) for one in ("H", "C")]
    b("Concat", *final, axis=0, outputs=("state_out",))
    b("MatMul", b.flat(y, 1), b.weight(hidden, 3), outputs=("y",))
    b.output("state_out", [2, "B", hidden])
    b.output("y", ["T", "B", 3])
    return b.model()


def pairs_of_states(model: onnx.ModelProto) -> dict[str, str]:
    """Which output continues which input."""
    outputs = [info.name for info in model.graph.output if info.name != "y"]
    inputs = [info.name for info in model.graph.input if info.name != "x"]
    assert len(inputs) == len(outputs)
    rename = {"h0": "hn", "c0": "cn", "h0_c": "hn_c", "state": "state_out"}
    return {name: rename.get(name, name[:-1] + "n") for name in inputs}


def assert_streams(model: onnx.ModelProto) -> None:
    """Two halves of a sequence, with the states handed on, give what the whole gives."""
    x = np.random.default_rng(5).standard_normal((8, 2, 4)).astype(np.float32)
    states = pairs_of_states(model)
    extents = {info.name: declared(info) for info in model.graph.input}
    zeros = {
        name: np.zeros([2 if dim == "B" else int(dim) for dim in extents[name]], np.float32)
        for name in states
    }
    whole = run(model, x=x, **zeros)
    first = run(model, x=x[:3], **zeros)
    second = run(model, x=x[3:], **{name: first[output] for name, output in states.items()})
    both = np.concatenate([first["y"], second["y"]])
    np.testing.assert_allclose(both, whole["y"], rtol=1e-4, atol=1e-6)
    for output in states.values():
        np.testing.assert_allclose(second[output], whole[output], rtol=1e-4, atol=1e-6)
    assert np.abs(whole["y"]).max() > 1e-3


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    "change",
    [
        Change(cell="lstm"),
        Change(cell="gru"),
        Change(cell="rnn"),
        Change(hidden_size=4),
        Change(layers=1),
        Change(layers=4),
        Change(cell="lstm", layers=3),
        Change(cell="gru", layers=1, hidden_size=5),
    ],
    ids=lambda c: "-".join(str(v) for v in (c.cell, c.hidden_size, c.layers) if v),
)
def test_states_are_handed_on(op: str, change: Change) -> None:
    if change == Change(cell=op.lower()):  # type: ignore[arg-type]
        return
    variant = rewrite(streaming(op), change).model
    assert_streams(variant)
    assert analyze(variant, dims=DIMS, symbolic=False).totals.streamable


def test_the_models_that_variants_are_made_of_stream() -> None:
    for op in ("LSTM", "GRU", "RNN"):
        assert_streams(streaming(op))
    assert_streams(stacked_state())


def test_a_cell_state_that_goes_takes_its_input_and_output_along() -> None:
    variant = rewrite(streaming("LSTM"), Change(cell="gru"))
    assert [info.name for info in variant.model.graph.input] == ["x", "h0"]
    assert {info.name for info in variant.model.graph.output} == {"y", "hn"}
    assert "the output 'cn' is gone: nothing is left of what it returned" in variant.notes
    assert "Slice" in op_types(variant.model)


def test_a_cell_state_comes_in_and_goes_out_beside_the_hidden_state() -> None:
    variant = rewrite(streaming("GRU"), Change(cell="lstm"))
    shapes_in = {info.name: declared(info) for info in variant.model.graph.input}
    assert shapes_in["h0_c"] == shapes_in["h0"] == [2, "B", 6]
    shapes_out = {info.name: declared(info) for info in variant.model.graph.output}
    assert shapes_out["hn_c"] == [2, "B", 6]
    assert shapes(variant.model, DIMS)["hn_c"] == (2, 2, 6)
    assert "the model has a further input 'h0_c'" in variant.notes


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_a_state_that_holds_both_shrinks(cell: str) -> None:
    variant = rewrite(stacked_state(), Change(cell=cell))  # type: ignore[arg-type]
    (state,) = [info for info in variant.model.graph.input if info.name == "state"]
    assert declared(state) == [1, "B", 6]
    assert shapes(variant.model, DIMS)["state_out"] == (1, 2, 6)
    assert "the input 'state' is [1, B, 6] instead of [2, B, 6]" in variant.notes
    assert_streams(variant.model)


@pytest.mark.parametrize(
    "change", [Change(hidden_size=4), Change(direction="bi", policy=SAME_OUTPUT_WIDTH)]
)
def test_a_state_that_holds_both_follows_the_width(change: Change) -> None:
    variant = rewrite(stacked_state(), change).model
    width = 4 if change.hidden_size else 6
    assert shapes(variant, DIMS)["state_out"] == (2, 2, width)
    if change.hidden_size:
        assert_streams(variant)


def test_a_cell_state_that_something_computes_with_becomes_the_hidden_state() -> None:
    b = Builder()
    b.layer("LSTM", b.input("x", ["T", "B", 4]), 4, 6, outputs=("", "h", "c"))
    joined = b("Concat", b("Squeeze", "h", b.ints(0)), b("Squeeze", "c", b.ints(0)), axis=1)
    b("MatMul", joined, b.weight(12, 3), outputs=("y",))
    b.output("y", ["B", 3])
    variant = rewrite(b.model(), Change(cell="gru"))
    assert totals(variant.model, DIMS).params == 3 * 6 * (4 + 6 + 2) + 12 * 3
    assert shapes(variant.model, DIMS) == {"y": (2, 3)}
    assert any("what read it reads the hidden state" in note for note in variant.notes)


def encoder_decoder(op: str, directions: int) -> onnx.ModelProto:
    """The final states of one layer are the initial states of another."""
    b = Builder()
    x, z = b.input("x", ["T", "B", 4]), b.input("z", ["U", "B", 5])
    direction = "bidirectional" if directions == 2 else "forward"
    outputs = ("", "h", "c") if op == "LSTM" else ("", "h")
    b.layer(op, x, 4, 6, direction=direction, outputs=outputs)
    y = b.layer(op, z, 5, 6, direction=direction, extra=("", *outputs[1:]))
    b("MatMul", b.flat(y, directions), b.weight(6 * directions, 3), outputs=("y",))
    b.output("y", ["U", "B", 3])
    return b.model()


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize(
    "change",
    [
        Change(cell="lstm"),
        Change(cell="gru"),
        Change(hidden_size=8),
        Change(direction="uni"),
        Change(direction="bi"),
        Change(direction="uni", policy=SAME_OUTPUT_WIDTH),
        Change(direction="bi", policy=SAME_OUTPUT_WIDTH),
    ],
    ids=lambda c: f"{c.cell or c.direction or c.hidden_size} {c.policy}",
)
def test_states_between_layers_follow(op: str, directions: int, change: Change) -> None:
    """The counts are those of the same pair of layers, written down in its new form."""
    dims = {**DIMS, "U": 3}
    goal_op = op if change.cell is None else change.cell.upper()
    goal = {"uni": 1, "bi": 2, None: directions}[change.direction]
    if goal_op == op and goal == directions and change.hidden_size is None:
        return
    hidden = change.hidden_size or 6
    if change.policy == SAME_OUTPUT_WIDTH:
        hidden = 6 * directions // goal
    variant = rewrite(encoder_decoder(op, directions), change).model
    gates = {"LSTM": 4, "GRU": 3}[goal_op]
    rows = goal * gates * hidden
    got = totals(variant, dims)
    assert got.params == rows * (4 + hidden + 2) + rows * (5 + hidden + 2) + 3 * goal * hidden
    assert got.macs == 2 * (8 * rows * (4 + hidden) + 3 * (rows * (5 + hidden) + 3 * goal * hidden))
    assert shapes(variant, dims) == {"y": (3, 2, 3)}


def test_two_stacks_have_no_number_of_layers() -> None:
    with pytest.raises(VariantError, match="2 stacks of recurrent layers"):
        rewrite(encoder_decoder("GRU", 1), Change(layers=2))


def test_zeros_that_are_filled_in_need_no_input() -> None:
    """GRU to LSTM: the initial state is made of the batch size, and so is the cell state."""
    b = Builder()
    x = b.input("x", ["T", "B", 4])
    batch = b("Gather", b("Shape", x), b.ints(1))
    zeros = b("ConstantOfShape", b("Concat", b.ints(2), batch, b.ints(6), axis=0))
    y = b.layer("GRU", x, 4, 6, direction="bidirectional", extra=("", zeros))
    b("MatMul", b.flat(y, 2), b.weight(12, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    for change in (Change(cell="lstm"), Change(direction="uni"), Change(hidden_size=5)):
        variant = rewrite(b.model(), change)
        assert [info.name for info in variant.model.graph.input] == ["x"]
        assert shapes(variant.model, DIMS) == {"y": (8, 2, 3)}
        assert shapes(variant.model, {"T": 5, "B": 3}) == {"y": (5, 3, 3)}
        assert variant.notes == []


def test_a_stored_initial_state_is_cut() -> None:
    b = Builder()
    x = b.input("x", ["T", 2, 4])
    learned = b.weight(2, 2, 6)
    y = b.layer("GRU", x, 4, 6, direction="bidirectional", extra=("", learned))
    b("MatMul", b.flat(y, 2), b.weight(12, 3), outputs=("y",))
    b.output("y", ["T", 2, 3])
    variant = rewrite(b.model(), Change(direction="uni")).model
    assert totals(variant, {"T": 8}).params == 3 * 6 * (4 + 6 + 2) + 2 * 6 + 6 * 3
    assert shapes(variant, {"T": 8}) == {"y": (8, 2, 3)}
