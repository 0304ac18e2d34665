"""Variants of models: what is asked for, what is refused, and what stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from variant_graphs import Builder, declared, op_types, run, shapes, totals

from rnncost.analysis import analyze
from rnncost.errors import ModelFileError, VariantError
from rnncost.variants import (
    SAME_OUTPUT_WIDTH,
    Change,
    applicable,
    inputs_for,
    load_for_change,
    rewrite,
)

KEYWORDS = Path(__file__).parent.parent / "examples" / "keyword_spotter.onnx"
DIMS = {"T": 7, "B": 2}


def plain(op: str = "LSTM", **attrs: Any) -> onnx.ModelProto:
    """x [T, B, 6] through one layer of 5 units and a product to 3."""
    b = Builder()
    y = b.layer(op, b.input("x", ["T", "B", 6]), 6, 5, **attrs)
    both = 2 if attrs.get("direction") == "bidirectional" else 1
    b("MatMul", b.flat(y, both), b.weight(5 * both, 3), outputs=("y",))
    b.output("y", ["T", "B", 3])
    return b.model()


# Layer by layer G·H·(I + H + 2) weights, as sizes worked out by hand; the head is 12·(H + 1).
KEYWORD_VARIANTS = [
    (Change(cell="gru"), 3 * 64 * (40 + 66) + 2 * 3 * 48 * (64 + 50) + 3 * 64 * (96 + 66) + 780),
    (Change(cell="lstm"), 4 * 64 * (40 + 66) + 2 * 4 * 48 * (64 + 50) + 4 * 64 * (96 + 66) + 780),
    (Change(cell="rnn"), 64 * (40 + 66) + 2 * 48 * (64 + 50) + 64 * (96 + 66) + 780),
    (Change(direction="uni"), 4 * 64 * 106 + 4 * 48 * (64 + 50) + 3 * 64 * (48 + 66) + 780),
    (
        Change(direction="uni", policy=SAME_OUTPUT_WIDTH),
        4 * 64 * 106 + 4 * 96 * (64 + 98) + 3 * 64 * (96 + 66) + 780,
    ),
    (
        Change(direction="bi"),
        2 * 4 * 64 * 106 + 2 * 4 * 48 * (128 + 50) + 2 * 3 * 64 * (96 + 66) + 12 * 129,
    ),
    (
        Change(direction="bi", policy=SAME_OUTPUT_WIDTH),
        2 * 4 * 32 * (40 + 34) + 2 * 4 * 48 * (64 + 50) + 2 * 3 * 32 * (96 + 34) + 780,
    ),
    (
        Change(hidden_size=20),
        4 * 20 * (40 + 22) + 2 * 4 * 20 * (20 + 22) + 3 * 20 * (40 + 22) + 12 * 21,
    ),
    (Change(layers=1), 4 * 64 * 106 + 780),
    (Change(layers=2), 4 * 64 * 106 + 2 * 4 * 48 * (64 + 50) + 12 * 97),
    (Change(layers=5), 102796 + 2 * 3 * 64 * (64 + 66)),
    (
        Change(cell="gru", direction="uni", hidden_size=20, layers=2),
        3 * 20 * (40 + 22) + 3 * 20 * (20 + 22) + 12 * 21,
    ),
]


@pytest.mark.parametrize(("change", "params"), KEYWORD_VARIANTS, ids=lambda v: str(v)[:60])
def test_the_bundled_model_has_every_variant(change: Change, params: int) -> None:
    variant = rewrite(load_for_change(KEYWORDS), change).model
    assert totals(variant).params == params
    assert shapes(variant, {"batch": 2, "frames": 9}) == {"probabilities": (2, 12)}
    onnx.checker.check_model(variant, full_check=True)


def test_the_model_itself_stays_as_it_is() -> None:
    model = load_for_change(KEYWORDS)
    before = model.SerializeToString()
    rewrite(model, Change(cell="gru", direction="uni"))
    assert model.SerializeToString() == before


def test_what_is_not_reached_keeps_its_weights() -> None:
    """bi to uni: the layer below and every row of the forward direction are the old ones."""
    old = {t.name: numpy_helper.to_array(t) for t in load_for_change(KEYWORDS).graph.initializer}
    variant = rewrite(load_for_change(KEYWORDS), Change(direction="uni")).model
    new = {t.name: numpy_helper.to_array(t) for t in variant.graph.initializer}
    for name in ("lstm.W", "lstm.R", "lstm.B", "gru.R", "gru.B", "head.weight", "head.bias"):
        assert np.array_equal(new[name], old[name])
    bi = next(node for node in variant.graph.node if node.name == "bilstm")
    for name, index in zip(("bilstm.W", "bilstm.R", "bilstm.B"), (1, 2, 3), strict=True):
        assert np.array_equal(new[bi.input[index]], old[name][:1])
    gru = next(node for node in variant.graph.node if node.name == "gru")
    assert np.array_equal(new[gru.input[1]], old["gru.W"][:, :, :48])


def test_the_forward_direction_computes_what_it_did() -> None:
    b = Builder()
    b.layer("LSTM", b.input("x", ["T", "B", 6]), 6, 5, direction="bidirectional", outputs=("y",))
    b.output("y", ["T", 2, "B", 5])
    model = b.model()
    variant = rewrite(model, Change(direction="uni")).model
    assert declared(variant.graph.output[0]) == ["T", 1, "B", 5]
    x = np.random.default_rng(3).standard_normal((7, 2, 6)).astype(np.float32)
    np.testing.assert_allclose(run(variant, x=x)["y"], run(model, x=x)["y"][:, :1], rtol=1e-6)


def test_drawn_weights_follow_the_seed_and_pytorch_s_bound() -> None:
    def weights(seed: int) -> list[np.ndarray[Any, Any]]:
        variant = rewrite(plain(), Change(cell="gru"), seed=seed).model
        gru = next(node for node in variant.graph.node if node.op_type == "GRU")
        stored = {t.name: numpy_helper.to_array(t) for t in variant.graph.initializer}
        return [stored[name] for name in gru.input[1:4]]

    for first, again, other in zip(weights(1), weights(1), weights(2), strict=True):
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        assert 0.8 / 5**0.5 < np.abs(first).max() <= 1 / 5**0.5


def test_a_gru_has_pytorch_s_form_and_the_notes_say_so() -> None:
    variant = rewrite(plain(), Change(cell="gru"))
    gru = next(node for node in variant.model.graph.node if node.op_type == "GRU")
    assert {a.name: a.i for a in gru.attribute}["linear_before_reset"] == 1
    assert variant.notes == ["GRUs are in PyTorch's form (linear_before_reset = 1)"]


REFUSED = [
    (Change(), "nothing is to change"),
    (Change(hidden_size=0), "the hidden size cannot be 0"),
    (Change(layers=-1), "the layers cannot be -1"),
    (Change(layers=10**9), "the layers cannot be 1,000,000,000"),
    (Change(hidden_size=10**9), "more than 2 GB of weights"),
    (Change(cell="LSTM"), "there is no cell 'LSTM': use lstm or gru or rnn"),  # type: ignore[arg-type]
    (Change(direction="both"), "there is no direction 'both'"),  # type: ignore[arg-type]
    (Change(cell="lstm"), "nothing would change"),
    (Change(direction="uni"), "nothing would change"),
    (Change(layers=1), "nothing would change"),
    (Change(cell="gru", policy=SAME_OUTPUT_WIDTH), "a policy for a change of direction"),
    (
        Change(direction="bi", hidden_size=8, policy=SAME_OUTPUT_WIDTH),
        "give a hidden size, or 'same output width', not both",
    ),
    (Change(direction="bi", policy=SAME_OUTPUT_WIDTH), "the 5 units of 'lstm_0' do not divide"),
]


@pytest.mark.parametrize(("change", "reason"), REFUSED, ids=lambda v: str(v)[:40])
def test_what_cannot_be_asked_is_refused_in_one_sentence(change: Change, reason: str) -> None:
    with pytest.raises(VariantError, match=reason) as caught:
        rewrite(plain(), change)
    assert "\n" not in str(caught.value)


def test_an_operator_without_a_rule_is_named() -> None:
    b = Builder()
    y = b.flat(b.layer("LSTM", b.input("x", [7, 2, 6]), 6, 8), 1)
    b("DepthToSpace", b("Unsqueeze", y, b.ints(0)), outputs=("y",), blocksize=1)
    b.output("y", [1, 7, 2, 8])
    with pytest.raises(
        VariantError, match="the width of 'lstm_0' cannot be followed through Depth"
    ):
        rewrite(b.model(), Change(hidden_size=4))
    assert rewrite(b.model(), Change(cell="gru")).model is not None


def test_a_width_tied_to_an_input_of_the_model_is_refused() -> None:
    b = Builder()
    x = b.input("x", ["T", "B", 6])
    b("Add", b.flat(b.layer("LSTM", x, 6, 6), 1), x, outputs=("y",))
    b.output("y", ["T", "B", 6])
    with pytest.raises(
        VariantError, match="the graph input 'x' is tied to the width of 'lstm_0' by Add"
    ):
        rewrite(b.model(), Change(hidden_size=4))
    same = rewrite(b.model(), Change(direction="bi", policy=SAME_OUTPUT_WIDTH)).model
    assert shapes(same, DIMS) == {"y": (7, 2, 6)}


def test_weights_that_come_from_outside_are_refused() -> None:
    b = Builder()
    x, w = b.input("x", ["T", "B", 6]), b.input("w", [1, 20, 6])
    b("LSTM", x, w, b.weight(1, 20, 5), outputs=("y",), hidden_size=5)
    b.output("y", ["T", 1, "B", 5])
    with pytest.raises(VariantError, match=r"the weights of 'lstm_\d' are not stored"):
        rewrite(b.model(), Change(cell="gru"))


def test_a_model_without_a_recurrent_operator_says_where_its_recurrence_is() -> None:
    b = Builder()
    h = b.input("h", [2, 5])
    weight = b.weight(5, 5)
    for _ in range(4):
        h = b("Tanh", b("MatMul", h, weight))
    b("Identity", h, outputs=("y",))
    b.output("y", [2, 5])
    model = b.model()
    (other,) = applicable(model).others
    assert other.startswith("the cell written out as MatMul")
    with pytest.raises(VariantError, match="no LSTM, GRU or RNN operator; its recurrence is in"):
        rewrite(model, Change(cell="gru"))


def test_what_stays_beside_the_layers_that_change_is_noted() -> None:
    b = Builder()
    x = b.input("x", [4, 2, 6])
    h = b("Gather", b.flat(b.layer("LSTM", x, 6, 5), 1), b.tensor(np.array(-1)), axis=0)
    weight = b.weight(5, 5)
    for _ in range(4):
        h = b("Tanh", b("MatMul", h, weight))
    b("Identity", h, outputs=("y",))
    b.output("y", [2, 5])
    notes = rewrite(b.model(), Change(cell="gru")).notes
    assert any(note.startswith("the cell written out as MatMul") for note in notes)
    assert notes[0].endswith("stays as it is")


def test_the_structure_of_the_bundled_model() -> None:
    structure = applicable(load_for_change(KEYWORDS))
    assert [layer.name for layer in structure.layers] == ["lstm", "bilstm", "gru"]
    assert structure.stacks == (("lstm", "bilstm", "gru"),)
    assert structure.cells == ("lstm", "gru")
    assert structure.directions == ("uni", "bi")
    assert structure.hidden_sizes == (64, 48)
    assert [layer.input_size for layer in structure.layers] == [40, 64, 96]
    assert structure.others == ()


def test_nothing_dead_is_left_behind() -> None:
    variant = rewrite(load_for_change(KEYWORDS), Change(layers=1)).model
    assert op_types(variant).count("LSTM") == 1
    assert not {"GRU", "Reshape"} & set(op_types(variant))
    read = {name for node in variant.graph.node for name in node.input}
    assert {t.name for t in variant.graph.initializer} <= read
    made = {name for node in variant.graph.node for name in node.output}
    assert {info.name for info in variant.graph.value_info} <= made


def test_what_was_dead_before_stays() -> None:
    b = Builder()
    x = b.input("x", ["T", "B", 6])
    b("MatMul", b.flat(b.layer("LSTM", x, 6, 5), 1), b.weight(5, 3), outputs=("y",))
    b("MatMul", x, b.weight(6, 9), outputs=("nobody",))
    b.output("y", ["T", "B", 3])
    model = b.model()
    variant = rewrite(model, Change(cell="gru")).model
    assert totals(variant, DIMS).params == totals(model, DIMS).params - 5 * 13
    assert len(variant.graph.node) == len(model.graph.node)


def test_stale_shapes_go(tmp_path: Path) -> None:
    model = onnx.shape_inference.infer_shapes(load_for_change(KEYWORDS))
    kept = {info.name for info in model.graph.value_info}
    variant = rewrite(model, Change(hidden_size=20)).model
    assert {"time_major"} <= {info.name for info in variant.graph.value_info} < kept
    onnx.shape_inference.infer_shapes(variant, strict_mode=True, check_type=True)


def test_a_file_with_external_data_is_read(tmp_path: Path) -> None:
    model = load_for_change(KEYWORDS)
    path = tmp_path / "spotter.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    variant = rewrite(load_for_change(path), Change(direction="uni")).model
    assert totals(variant).params == KEYWORD_VARIANTS[3][1]
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelFileError, match="its weights cannot be read"):
        load_for_change(path)


def test_what_is_no_onnx_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        load_for_change(tmp_path / "missing.onnx")
    with pytest.raises(VariantError, match=r"export net\.pt2 with torch"):
        load_for_change("net.pt2")
    with pytest.raises(VariantError, match="not of dict"):
        load_for_change({})  # type: ignore[arg-type]


def test_nodes_out_of_order_are_refused() -> None:
    model = plain()
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(VariantError, match="sort the model's nodes first"):
        rewrite(model, Change(cell="gru"))


def test_old_files_with_initializers_among_the_inputs() -> None:
    model = plain()
    for tensor in model.graph.initializer:
        info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(info)
    model.ir_version = 3
    variant = rewrite(model, Change(cell="gru")).model
    names = {info.name for info in variant.graph.input}
    assert "x" in names
    assert "k0" not in names
    assert shapes(variant, DIMS) == {"y": (7, 2, 3)}


def test_local_functions_are_put_in_place() -> None:
    model = plain()
    squeeze = model.graph.node[1]
    body = onnx.helper.make_node("Squeeze", ["a", "b"], ["c"])
    opset = [onnx.helper.make_opsetid("", 17)]
    model.functions.append(
        onnx.helper.make_function("mine", "Flat", ["a", "b"], ["c"], [body], opset)
    )
    squeeze.op_type, squeeze.domain = "Flat", "mine"
    model.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    variant = rewrite(model, Change(hidden_size=4)).model
    assert totals(variant, DIMS).params == 4 * 4 * (6 + 4 + 2) + 4 * 3


def test_inputs_are_fitted_to_a_variant() -> None:
    b = Builder()
    x, h, c = b.input("x", ["T", "B", 6]), b.input("h", [1, "B", 5]), b.input("c", [1, "B", 5])
    b.layer("LSTM", x, 6, 5, extra=("", h, c), outputs=("y",))
    b.output("y", ["T", 1, "B", 5])
    variant = rewrite(b.model(), Change(cell="gru", hidden_size=4)).model
    given = {"x": (9, 2, 6), "h": (1, 2, 5), "c": (1, 2, 5)}
    assert inputs_for(variant, given) == ({"x": (9, 2, 6), "h": (1, 2, 4)}, {})
    fitted, values = inputs_for(variant, {}, {"x": np.zeros((9, 2, 6)), "h": np.zeros((1, 2, 5))})
    assert fitted == {"h": (1, 2, 4)}
    assert list(values) == ["x"]
    assert analyze(variant, shapes=fitted, values=values, symbolic=False).totals.macs == (
        9 * 2 * 3 * 4 * (6 + 4)
    )
