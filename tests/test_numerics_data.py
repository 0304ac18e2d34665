"""Data for a run: files, shapes, types; and what stands in for data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numerics_models import layer_model, model_of, weights
from onnx import TensorProto, helper

import rnncost
from rnncost.errors import BindingError


def gru(x: tuple[Any, ...] = ("T", 1, 2)) -> onnx.ModelProto:
    shapes = {"X": x, "initial_h": (1, 1, 3)}
    return layer_model("GRU", weights("GRU", 2, 3), shapes, hidden_size=3)


def tagger(rows: int = 30) -> onnx.ModelProto:
    """Token ids and a mask, a table, a GRU."""
    stored = weights("GRU", 4, 3)
    stored["table"] = np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "wide"], ["x"], axis=0),
        helper.make_node("GRU", ["x", "W", "R", "B"], ["y"], name="layer", hidden_size=3),
        helper.make_node("Cast", ["mask"], ["seen"], to=TensorProto.FLOAT),
    ]
    inputs = {"ids": (TensorProto.INT32, ("T", 2)), "mask": (TensorProto.BOOL, ("T",))}
    return model_of(nodes, inputs, ("y", "seen"), stored)


X = np.random.default_rng(3).standard_normal((7, 1, 2)).astype(np.float32)


def test_files_arrays_and_mappings_are_the_same_data(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", X=X)
    expected = rnncost.numerics(gru(), data={"X": X})
    assert expected.inputs.given == ["X"]
    assert expected.inputs.generated == {"initial_h": "zero"}
    assert expected.inputs.source == "given"
    assert expected.layers[0].steps == 7
    for data in (X, tmp_path / "x.npy", str(tmp_path / "x.npz"), X.astype(np.float64)):
        result = rnncost.numerics(gru(), data=data)
        assert result.layers == expected.layers
    result = rnncost.numerics(gru(), data=tmp_path / "x.npy")
    assert result.inputs.data == str(tmp_path / "x.npy")
    assert "x.npy" in str(result)
    other = rnncost.numerics(gru(), data=2 * X)
    assert other.layers != expected.layers


def test_a_state_that_is_given_is_where_the_run_starts() -> None:
    start = np.full((1, 1, 3), 0.5, np.float32)
    zero = rnncost.numerics(gru(), data={"X": X})
    given = rnncost.numerics(gru(), data={"X": X, "initial_h": start})
    assert given.inputs.given == ["X", "initial_h"]
    assert given.layers[0].memory != zero.layers[0].memory


def test_generated_inputs_depend_on_the_seed_and_say_so() -> None:
    one = rnncost.numerics(gru(), dims={"T": 9})
    assert one.inputs.source == "generated"
    assert one.inputs.generated == {"X": "normal", "initial_h": "zero"}
    assert one.inputs.seed == 0
    assert "seed 0: not real data" in str(one)
    assert rnncost.numerics(gru(), dims={"T": 9}).layers == one.layers
    assert rnncost.numerics(gru(), dims={"T": 9}, seed=1).layers != one.layers
    partly = rnncost.numerics(gru(), dims={"T": 9}, data={"initial_h": np.zeros((1, 1, 3))})
    assert partly.inputs.source == "partly generated"


def test_assumed_dimensions_are_told() -> None:
    result = rnncost.numerics(gru())
    assert result.notes[0] == "assumed, as nobody gave them: T = 100"
    assert result.layers[0].steps == 100


def test_token_ids_are_rows_of_the_table() -> None:
    result = rnncost.numerics(tagger(), dims={"T": 40})
    assert result.inputs.generated == {"ids": "random rows of a table of 30", "mask": "true"}
    memory = result.layers[0].memory
    assert memory is not None
    assert memory.values.p5 != memory.values.p95
    # Of a table with one row the only one is picked.
    assert rnncost.numerics(tagger(1), dims={"T": 4}).layers[0].withheld == ""


def test_data_of_other_types() -> None:
    ids = np.arange(12, dtype=np.float64).reshape(6, 2)
    result = rnncost.numerics(tagger(), data={"ids": ids, "mask": np.ones(6, int)})
    assert result.layers[0].steps == 6
    assert result.bindings.values == {}
    with pytest.raises(BindingError, match=r"input 'ids' is int32, and the array holds other num"):
        rnncost.numerics(tagger(), data={"ids": ids + 0.5, "mask": np.ones(6)})
    with pytest.raises(BindingError, match="holds <U1, not real numbers"):
        rnncost.numerics(tagger(), data={"ids": np.full((6, 2), "a")})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"X": np.zeros((7, 1, 3))}, r"input 'X' is \[any, 1, 2\] .* array is \[7, 1, 3\]"),
        ({"X": np.zeros((7, 2))}, r"array is \[7, 2\]"),
        ({"X": np.full((7, 1, 2), np.nan)}, "input 'X': the array holds NaN or infinity"),
        ({"X": np.full((7, 1, 2), np.inf)}, "holds NaN or infinity"),
        ({"X": np.zeros((0, 1, 2))}, r"of shape \[0, 1, 2\] holds nothing"),
        ({"x": X}, "no input 'x', did you mean 'X'"),
        ({}, "the data holds no array; the inputs are X, initial_h"),
        ({"X": np.full((7, 1, 2), 1e300)}, "is float32, and the array holds numbers beyond its ra"),
        ({"X": np.full((7, 1, 2), 1j)}, "holds complex128, not real numbers"),
        ({"X": [[1.0], [1.0, 2.0]]}, "input 'X': the data is no array: "),
    ],
)
def test_data_that_does_not_fit(data: dict[str, Any], message: str) -> None:
    with pytest.raises(BindingError, match=message):
        rnncost.numerics(gru(), data=data)


def test_chunks_that_do_not_fit() -> None:
    x = np.zeros((4, 7, 1, 2))
    with pytest.raises(
        BindingError, match=r"has 4 chunks of shape \[7, 1, 2\], not 3: .*--chunks 4"
    ):
        rnncost.numerics(gru(), data=x, chunks=3)
    layer = rnncost.numerics(gru(), data=x, chunks=4).layers[0]
    assert (layer.calls, layer.sequences, layer.steps) == (4, 4, 7)


def test_data_against_shapes_values_and_dimensions() -> None:
    with pytest.raises(BindingError, match=r"the shape of input 'X' is \[9, 1, 2\], and that of"):
        rnncost.numerics(gru(), data={"X": X}, shapes={"X": (9, 1, 2)})
    with pytest.raises(BindingError, match="bound to 5"):
        rnncost.numerics(gru(), data={"X": X}, dims={"T": 5})
    ids = np.ones((3, 2), int)
    with pytest.raises(BindingError, match="'ids' has a value and data"):
        rnncost.numerics(tagger(), data={"ids": ids}, values={"ids": ids.tolist()})


def test_one_array_for_several_inputs() -> None:
    with pytest.raises(
        BindingError, match=r"has 2 inputs that are no states and have no value \(ids, mask\): give"
    ):
        rnncost.numerics(tagger(), data=np.ones((3, 2)))


def test_an_array_without_a_name_is_for_the_input_without_a_value() -> None:
    ids = np.arange(12).reshape(6, 2)
    result = rnncost.numerics(tagger(), data=ids, values={"mask": [True] * 6})
    assert result.inputs.given == ["ids", "mask"]
    named = rnncost.numerics(tagger(), data={"ids": ids}, values={"mask": [True] * 6})
    assert result.layers == named.layers


def test_a_file_without_arrays_is_no_data(tmp_path: Path) -> None:
    np.savez(tmp_path / "none.npz")
    with pytest.raises(BindingError, match=r"none\.npz: the data holds no array"):
        rnncost.numerics(gru(), data=tmp_path / "none.npz")


def test_lengths_of_rows_that_nobody_gave_are_told() -> None:
    stored = weights("GRU", 2, 3)
    shapes = {"X": (9, 2, 2), "sequence_lens": (2,)}
    model = layer_model("GRU", stored, shapes, hidden_size=3)
    result = rnncost.numerics(model)
    assert result.layers[0].steps == 1
    assert any(note.startswith("sequence_lens says how many steps each") for note in result.notes)
    given = rnncost.numerics(model, values={"sequence_lens": [9, 4]})
    assert given.layers[0].steps == 9
    assert given.notes == []
    (layer,) = rnncost.numerics(model, values={"sequence_lens": [0, 0]}).layers
    assert layer.withheld == "its rows have no steps"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BindingError, match=r"^there is no data file .*none\.npy$"):
        rnncost.numerics(gru(), data=tmp_path / "none.npy")
    text = tmp_path / "text.npy"
    text.write_text("1, 2, 3")
    with pytest.raises(BindingError, match=r"not a NumPy file of plain numbers; write one with"):
        rnncost.numerics(gru(), data=text)
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(BindingError, match="not a NumPy file of plain numbers"):
        rnncost.numerics(gru(), data=tmp_path / "objects.npy")
    np.savez(tmp_path / "whole.npz", X=X)
    cut = tmp_path / "cut.npz"
    cut.write_bytes((tmp_path / "whole.npz").read_bytes()[:200])
    with pytest.raises(BindingError, match="not a NumPy file of plain numbers"):
        rnncost.numerics(gru(), data=cut)
    with pytest.raises(BindingError, match="is a directory; write one"):
        rnncost.numerics(gru(), data=tmp_path)
