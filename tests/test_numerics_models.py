"""Layers in branches and loops, stacked, streamed in chunks, and what is not analysed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numerics_models import OPSET, layer_model, model_of, pinned_lstm, weights
from onnx import TensorProto, helper, numpy_helper

import rnncost
from rnncost.along_time import LayerMemory, Numerics
from rnncost.errors import BindingError, MeasurementError, ModelError, ModelFileError

FLOAT = TensorProto.FLOAT


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def figures(layer: LayerMemory) -> dict[str, Any]:
    """What must not depend on how a layer was run."""
    assert layer.withheld == ""
    return {"memory": layer.memory, "gradient": layer.gradient, "prior": layer.prior}


def info(name: str, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None)


def constant(name: str, value: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value)))


# -- streaming ------------------------------------------------------------------------------


def streaming(cell: str, steps: Any = "T", attribute: dict[str, Any] | None = None) -> Any:
    """A layer whose states are inputs and outputs, packed in one tensor if it is an LSTM."""
    stored = weights(cell, 2, 3, scale=0.8)
    if cell != "LSTM":
        nodes = [
            helper.make_node("Transpose", ["h_in"], ["h0"], perm=[1, 0, 2]),
            helper.make_node(
                cell, ["x", "W", "R", "B", "", "h0"], ["", "h1"], name="layer", hidden_size=3
            ),
            helper.make_node("Transpose", ["h1"], ["h_out"], perm=[1, 0, 2]),
        ]
        inputs = {"x": (FLOAT, (steps, 1, 2)), "h_in": (FLOAT, (1, 1, 3))}
        return model_of(nodes, inputs, ("h_out",), stored)
    nodes = [
        helper.make_node("Split", ["state"], ["h0", "c0"], axis=0),
        helper.make_node(
            "LSTM",
            ["x", "W", "R", "B", "", "h0", "c0", "P"],
            ["y", "h1", "c1"],
            name="layer",
            hidden_size=3,
        ),
        helper.make_node("Concat", ["h1", "c1"], ["packed"], axis=0),
        helper.make_node("Add", ["packed", "nothing"], ["state_out"]),
    ]
    stored["nothing"] = np.zeros(1, np.float32)
    inputs = {"x": (FLOAT, (steps, 1, 2)), "state": (FLOAT, (2, 1, 3))}
    return model_of(nodes, inputs, ("y", "state_out"), stored)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_chunks_are_one_sequence(cell: str) -> None:
    """Twelve chunks of five steps with the state handed on are one run of sixty."""
    model = streaming(cell)
    x = drawn(60, 1, 2)
    (whole,) = rnncost.numerics(model, data=x).layers
    result = rnncost.numerics(model, data=x.reshape(12, 5, 1, 2), chunks=12)
    (chunked,) = result.layers
    name, output = ("state", "state_out") if cell == "LSTM" else ("h_in", "h_out")
    assert result.inputs.states == {name: output}
    assert result.inputs.generated == {name: "zero"}
    assert result.warnings == []
    assert (chunked.carried, chunked.calls, chunked.sequences) == (True, 12, 1)
    assert chunked.steps == 60
    assert (whole.carried, whole.calls, whole.steps) == (False, 1, 60)
    assert figures(chunked) == pytest.approx(figures(whole)) or _close(chunked, whole)


def _close(one: LayerMemory, other: LayerMemory) -> bool:
    """Equal but for the last digits of single precision."""

    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            return [n for part in value.values() for n in numbers(part)]
        if isinstance(value, list):
            return [n for part in value for n in numbers(part)]
        return [float(value)] if isinstance(value, (int, float)) else []

    import msgspec

    ours, theirs = (numbers(msgspec.to_builtins(figures(layer))) for layer in (one, other))
    assert len(ours) == len(theirs) > 20 or one.memory is None
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    return True


def test_a_state_that_is_not_handed_on_makes_sequences_of_their_own() -> None:
    stored = weights("GRU", 2, 3)
    model = layer_model("GRU", stored, {"X": (5, 1, 2)}, hidden_size=3)
    result = rnncost.numerics(model, chunks=4)
    (layer,) = result.layers
    assert (layer.carried, layer.sequences, layer.steps) == (False, 4, 5)
    assert result.warnings == [
        "the model has no states as inputs: each chunk is a sequence of its own"
    ]
    assert result.inputs.generated == {"X": "normal"}


def states_that_hide() -> Any:
    """The state goes out through a function that is no view."""
    stored = weights("GRU", 2, 3)
    nodes = [
        helper.make_node("GRU", ["x", "W", "R", "B", "", "h"], ["", "h1"], hidden_size=3),
        helper.make_node("Relu", ["h1"], ["h_out"]),
    ]
    inputs = {"x": (FLOAT, (5, 1, 2)), "h": (FLOAT, (1, 1, 3))}
    return model_of(nodes, inputs, ("h_out",), stored)


def test_states_that_are_named_by_hand() -> None:
    model = states_that_hide()
    alone = rnncost.numerics(model, chunks=3)
    assert "no output was found that goes on as h" in alone.warnings[0]
    assert "--state INPUT=OUTPUT" in alone.warnings[0]
    named = rnncost.numerics(model, chunks=3, states={"h": "h_out"})
    assert named.inputs.states == {"h": "h_out"}
    # What came out is not what went on, so that the chunks are not joined.
    assert not named.layers[0].carried
    (warning,) = named.warnings
    assert warning.startswith("states are handed on, but no call of h1 starts with what the one")
    with pytest.raises(BindingError, match="no output 'h_ou', did you mean 'h_out'"):
        rnncost.numerics(model, chunks=3, states={"h": "h_ou"})
    with pytest.raises(BindingError, match="no input 'hh'"):
        rnncost.numerics(model, chunks=3, states={"hh": "h_out"})


def test_data_of_states() -> None:
    """What the first chunk starts with, or each chunk; never both handed on and given."""
    model = streaming("GRU", 5)
    start = np.full((1, 1, 3), 0.5, np.float32)
    first = rnncost.numerics(model, chunks=3, data={"h_in": start})
    assert first.inputs.states == {"h_in": "h_out"}
    assert first.layers[0].carried
    assert first.warnings == []
    each = rnncost.numerics(model, chunks=3, data={"h_in": np.stack([start] * 3)})
    assert each.inputs.states == {}
    assert each.layers[0].sequences == 3
    assert each.warnings == ["each chunk starts with the data of h_in: it is not handed on"]
    with pytest.raises(BindingError, match="'h_in' has data for each chunk and is handed on from"):
        rnncost.numerics(
            model, chunks=3, data={"h_in": np.stack([start] * 3)}, states={"h_in": "h_out"}
        )
    alone = rnncost.numerics(states_that_hide(), chunks=3, data={"h": start})
    assert alone.warnings == ["each chunk starts with the data of h: it is not handed on"]


def test_a_state_that_is_named_for_one_chunk_is_told() -> None:
    result = rnncost.numerics(streaming("GRU", 5), states={"h_in": "h_out"})
    assert result.warnings == ["states are handed on between chunks, and there is one"]


# -- control flow ---------------------------------------------------------------------------


def branching() -> onnx.ModelProto:
    """An If in an If: one LSTM in each inner branch, none in the outer else branch."""

    def layer(name: str) -> onnx.GraphProto:
        node = helper.make_node(
            "LSTM", ["x", "W", "R", "B"], [f"{name}.y"], name=name, hidden_size=3
        )
        return helper.make_graph([node], name, [], [info(f"{name}.y")])

    inner = helper.make_node(
        "If", ["first"], ["inner.y"], then_branch=layer("one"), else_branch=layer("two")
    )
    outer = helper.make_graph([inner], "outer", [], [info("inner.y")])
    nothing = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same"])], "nothing", [], [info("same")]
    )
    node = helper.make_node("If", ["any"], ["y"], then_branch=outer, else_branch=nothing)
    stored = pinned_lstm(0.9)
    inputs = {
        "x": (FLOAT, ("T", 1, 2)),
        "first": (TensorProto.BOOL, ()),
        "any": (TensorProto.BOOL, ()),
    }
    return model_of([node], inputs, ("y",), stored)


@pytest.mark.parametrize(("first", "name"), [(True, "one"), (False, "two")])
def test_the_branch_that_is_taken(first: bool, name: str) -> None:
    result = rnncost.numerics(branching(), dims={"T": 50}, values={"first": first, "any": True})
    (layer,) = result.layers
    assert layer.name == name
    assert layer.withheld == ""
    assert layer.memory is not None
    assert layer.memory.retention[-1].share.p50 == pytest.approx(0.9**50, rel=1e-4)
    (other,) = result.not_analysed
    assert other.name == ({"one", "two"} - {name}).pop()
    assert "not run" in other.reason


def test_no_branch_with_a_layer_is_taken() -> None:
    result = rnncost.numerics(branching(), dims={"T": 5}, values={"first": True, "any": False})
    assert result.layers == []
    assert sorted(one.name for one in result.not_analysed) == ["one", "two"]
    both = rnncost.numerics(branching(), dims={"T": 5}, weights_only=True).layers
    assert sorted(layer.name for layer in both) == ["one", "two"]


def looping(carried: bool) -> onnx.ModelProto:
    """A Loop over rows of x [N, 5, 1, 2] with a GRU, whose state goes round or not."""
    body_nodes = [
        helper.make_node("Gather", ["xs", "trip"], ["x"], axis=0),
        helper.make_node(
            "GRU",
            ["x", "W", "R", "B", "", "h" if carried else "zero"],
            ["", "h_next"],
            name="gru",
            hidden_size=3,
        ),
        helper.make_node("Identity", ["go"], ["going"]),
    ]
    body = helper.make_graph(
        body_nodes,
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("h", FLOAT, (1, 1, 3)),
        ],
        [info("going", TensorProto.BOOL), info("h_next")],
    )
    nodes = [
        constant("trips", np.int64(12)),
        constant("yes", True),
        helper.make_node("Loop", ["trips", "yes", "start"], ["y"], name="loop", body=body),
    ]
    stored = weights("GRU", 2, 3, scale=0.8)
    stored["zero"] = np.zeros((1, 1, 3), np.float32)
    inputs = {"xs": (FLOAT, (12, 5, 1, 2)), "start": (FLOAT, (1, 1, 3))}
    return model_of(nodes, inputs, ("y",), stored)


def test_a_layer_in_a_loop_that_carries_its_state() -> None:
    x = drawn(60, 1, 2)
    (whole,) = rnncost.numerics(streaming("GRU"), data={"x": x}).layers
    result = rnncost.numerics(looping(True), data={"xs": x.reshape(12, 5, 1, 2)})
    (looped,) = result.layers
    assert (looped.carried, looped.calls, looped.steps) == (True, 12, 60)
    assert _close(looped, whole)
    assert result.inputs.generated == {"start": "zero"}


@pytest.mark.parametrize("backwards", [False, True])
def test_a_layer_in_a_scan_that_carries_its_state(backwards: bool) -> None:
    """Over chunks from first to last, or from last to first with its output so too."""
    nodes = [
        helper.make_node(
            "GRU", ["x", "W", "R", "B", "", "h"], ["y", "h_next"], name="gru", hidden_size=3
        ),
        helper.make_node("Identity", ["y"], ["shown"]),
    ]
    body = helper.make_graph(
        nodes,
        "body",
        [
            helper.make_tensor_value_info("h", FLOAT, (1, 1, 3)),
            helper.make_tensor_value_info("x", FLOAT, (5, 1, 2)),
        ],
        [info("h_next"), info("shown")],
    )
    ways: dict[str, Any] = {}
    if backwards:
        ways = {"scan_input_directions": [1], "scan_output_directions": [1]}
        ways["scan_output_axes"] = [1]
    scan = helper.make_node(
        "Scan", ["start", "xs"], ["h", "ys"], name="scan", body=body, num_scan_inputs=1, **ways
    )
    inputs = {"start": (FLOAT, (1, 1, 3)), "xs": (FLOAT, (12, 5, 1, 2))}
    model = model_of([scan], inputs, ("h", "ys"), weights("GRU", 2, 3, scale=0.8))
    x = drawn(60, 1, 2)
    (whole,) = rnncost.numerics(streaming("GRU"), data={"x": x}).layers
    xs = x.reshape(12, 5, 1, 2)
    (scanned,) = rnncost.numerics(model, data={"xs": xs[::-1] if backwards else xs}).layers
    assert (scanned.carried, scanned.calls, scanned.steps) == (True, 12, 60)
    assert _close(scanned, whole)


def test_a_layer_in_a_loop_that_starts_anew() -> None:
    (layer,) = rnncost.numerics(looping(False)).layers
    assert (layer.carried, layer.sequences, layer.steps) == (False, 12, 5)


# -- where layers stand ---------------------------------------------------------------------


def stacked(directions: int = 2) -> onnx.ModelProto:
    """Two bidirectional layers on rows of different lengths; the second reads the first."""
    one, two = weights("LSTM", 2, 3, 2), weights("LSTM", 6, 4, 2, seed=1)
    stored = {f"{name}1": value for name, value in one.items()}
    stored |= {f"{name}2": value for name, value in two.items()}
    stored["shape"] = np.array([0, 0, -1])
    attributes = {"direction": "bidirectional"}
    nodes = [
        helper.make_node(
            "LSTM", ["x", "W1", "R1", "B1", "n"], ["y1"], name="one", hidden_size=3, **attributes
        ),
        helper.make_node("Transpose", ["y1"], ["t1"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["t1", "shape"], ["x2"]),
        helper.make_node(
            "LSTM", ["x2", "W2", "R2", "B2", "n"], ["y"], name="two", hidden_size=4, **attributes
        ),
    ]
    inputs = {"x": (FLOAT, ("T", "B", 2)), "n": (TensorProto.INT32, ("B",))}
    return model_of(nodes, inputs, ("y",), stored)


def test_stacked_bidirectional_layers_with_rows_of_different_lengths() -> None:
    feed = {"x": drawn(20, 3, 2), "n": np.array([20, 7, 12], np.int32)}
    result = rnncost.numerics(stacked(), data=feed)
    found = [(layer.name, layer.direction, layer.units) for layer in result.layers]
    assert found == [
        ("one", "forward", 3),
        ("one", "reverse", 3),
        ("two", "forward", 4),
        ("two", "reverse", 4),
    ]
    for layer in result.layers:
        assert layer.withheld == ""
        assert (layer.sequences, layer.steps) == (3, 20)
        assert layer.memory is not None
        by_steps = {one.steps: one for one in layer.memory.retention}
        assert [by_steps[k].sequences for k in (5, 10, 20)] == [3, 2, 1]
        assert layer.gradient is not None
        counts = {norm.steps: norm.traces for norm in layer.gradient.norms}
        assert (counts[5], counts[10], counts[20]) == (24, 16, 8)
    text = str(result)
    assert "one forward" in text
    assert "two reverse" in text


def test_a_row_is_as_if_it_ran_alone() -> None:
    feed = {"x": drawn(20, 2, 2), "n": np.array([20, 7], np.int32)}
    alone = {"x": feed["x"][:7, 1:], "n": np.array([7], np.int32)}
    both = rnncost.numerics(stacked(), data=feed | {"n": np.array([0, 7], np.int32)})
    for one, other in zip(both.layers, rnncost.numerics(stacked(), data=alone).layers, strict=True):
        assert one.memory == other.memory


def test_a_layer_in_a_function_of_the_model() -> None:
    node = helper.make_node("GRU", ["a", "b", "c", "d"], ["e"], name="inside", hidden_size=3)
    opsets = [helper.make_opsetid("", OPSET)]
    function = helper.make_function("own", "Block", ["a", "b", "c", "d"], ["e"], [node], opsets)
    call = helper.make_node("Block", ["x", "W", "R", "B"], ["y"], name="block", domain="own")
    model = model_of([call], {"x": (FLOAT, (9, 1, 2))}, ("y",), weights("GRU", 2, 3), (function,))
    (layer,) = rnncost.numerics(model).layers
    assert layer.withheld == ""
    assert layer.memory is not None


def test_weights_that_are_made_of_stored_ones() -> None:
    """A slice, a concatenation and a further axis between the file and the operator."""
    stored = weights("GRU", 2, 3)
    plain = layer_model("GRU", stored, {"X": (9, 1, 2)}, hidden_size=3)
    parts = {"W": stored["W"], "B": stored["B"]}
    parts |= {"top": stored["R"][0, :4], "rest": stored["R"][0, 3:], "axes": np.array([0])}
    parts |= {"one": np.array([1]), "end": np.array([99])}
    nodes = [
        helper.make_node("Slice", ["rest", "one", "end", "axes"], ["cut"]),
        helper.make_node("Concat", ["top", "cut"], ["flat"], axis=0),
        helper.make_node("Unsqueeze", ["flat", "axes"], ["R"]),
        helper.make_node("GRU", ["X", "W", "R", "B"], ["Y"], name="layer", hidden_size=3),
    ]
    model = model_of(nodes, {"X": (FLOAT, (9, 1, 2))}, ("Y",), parts)
    assert rnncost.numerics(model).layers == rnncost.numerics(plain).layers


def test_weights_that_are_inputs_are_not_analysed() -> None:
    stored = weights("GRU", 2, 3)
    shapes = {"X": (9, 1, 2), "W": (1, 9, 2)}
    model = layer_model("GRU", {"R": stored["R"]}, shapes, hidden_size=3)
    result = rnncost.numerics(model)
    assert result.layers == []
    (missing,) = result.not_analysed
    assert missing.name == "layer"
    assert missing.reason == "its weights depend on 'W', which is not stored"
    assert "not analysed" in str(result)


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = layer_model("LSTM", weights("LSTM", 40, 30), {"X": (9, 1, 40)}, hidden_size=30)
    expected = rnncost.numerics(model).layers
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    assert rnncost.numerics(path).layers == expected
    assert rnncost.numerics(path, weights_only=True).layers[0].prior == expected[0].prior
    (tmp_path / "weights").unlink()
    with pytest.raises(ModelFileError, match="its weights cannot be read"):
        rnncost.numerics(path)


def test_an_unrolled_cell_is_listed() -> None:
    nodes = []
    state = "h"
    for step in range(4):
        nodes += [
            helper.make_node("MatMul", [state, "R"], [f"m{step}"], name=f"product{step}"),
            helper.make_node("Tanh", [f"m{step}"], [f"h{step}"]),
        ]
        state = f"h{step}"
    model = model_of(nodes, {"h": (FLOAT, (1, 8))}, (state,), {"R": drawn(8, 8)})
    result = rnncost.numerics(model)
    assert result.layers == []
    (missing,) = result.not_analysed
    assert missing.op_type == "MatMul"
    assert "without a recurrent operator" in missing.reason
    assert "1 not analysed" in rnncost_line(result)


def rnncost_line(result: Numerics) -> str:
    from rnncost.along_time.text import one_line

    return one_line(result)


def test_a_model_in_half_precision_says_why_nothing_is_told() -> None:
    stored = {k: v.astype(np.float16) for k, v in weights("GRU", 4, 8).items()}
    half = TensorProto.FLOAT16
    node = helper.make_node("GRU", ["x", "W", "R", "B"], ["y"], name="layer", hidden_size=8)
    model = model_of([node], {"x": (half, (30, 1, 4))}, ("y",), stored)
    model.graph.output[0].type.tensor_type.elem_type = half
    (layer,) = rnncost.numerics(model).layers
    assert layer.memory is None
    assert "the model rounds its outputs to float16" in layer.withheld


# -- what is refused ------------------------------------------------------------------------


def test_a_model_without_recurrence() -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, (2, 3))}, ("y",))
    with pytest.raises(ModelError, match="has no recurrent layer"):
        rnncost.numerics(model)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        rnncost.numerics(tmp_path / "none.onnx")
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelFileError):
        rnncost.numerics(path)
    with pytest.raises(ModelError, match="are not run"):
        rnncost.numerics("some.pt2")
    with pytest.raises(ModelError, match="object of type int"):
        rnncost.numerics(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", ["load", "run"])
def test_a_model_that_onnx_runtime_cannot_run(fault: str) -> None:
    """The fault is told as the model's own, not as that of the rewriting."""
    nodes = [
        helper.make_node("GRU", ["x", "W", "R", "B"], ["y"], name="layer", hidden_size=3),
        helper.make_node("Cast", ["x"], ["rows"], to=TensorProto.INT64),
        helper.make_node("Gather", ["W", "rows"], ["z"], axis=1),
    ]
    if fault == "load":
        nodes.append(helper.make_node("Mystery", ["y"], ["w"], domain="acme"))
    outputs = ("y", "z", "w") if fault == "load" else ("y", "z")
    model = model_of(nodes, {"x": (FLOAT, (5, 1, 2))}, outputs, weights("GRU", 2, 3))
    model.opset_import.append(helper.make_opsetid("acme", 1))
    if fault == "run":
        assert rnncost.numerics(model, data={"x": drawn(5, 1, 2)}).layers[0].withheld == ""
    with pytest.raises(MeasurementError, match=rf"^ONNX Runtime cannot {fault} the model: "):
        rnncost.numerics(model, data={"x": np.full((5, 1, 2), 99.0)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunks": 0}, "chunks must be a whole number from 1 on"),
        ({"seed": -1}, "seed must be a whole number from 0 on"),
        ({"step_period_s": 0.0}, "step period must be a time above 0"),
        ({"inputs": (1,)}, "inputs are those of a torch.nn.Module"),
    ],
)
def test_arguments_that_are_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BindingError, match=message):
        rnncost.numerics(streaming("GRU"), dims={"T": 5}, **arguments)
