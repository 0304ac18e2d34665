"""What was given for inputs holds for the variants too, as far as it fits them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from comparison_models import network
from onnx import TensorProto, helper, numpy_helper

import rnncost
from rnncost.comparison import Comparison

CPU = "x86-64-server-core"
BASE = [("LSTM", 24, 1), ("LSTM", 24, 1)]
STATES = [f"layer{number}.{kind}" for number in (0, 1) for kind in "hc"]
COUNTS = ("params", "macs", "sequential_macs", "state_bytes", "sequential_steps")
CHANGES: dict[str, tuple[dict[str, Any], list[tuple[str, int, int]]]] = {
    "GRU cells": ({"cells": "gru"}, [("GRU", 24, 1)] * 2),
    "RNN cells": ({"cells": "rnn"}, [("RNN", 24, 1)] * 2),
    "two directions": ({"directions": "bi", "policy": "same-hidden"}, [("LSTM", 24, 2)] * 2),
    "8 units": ({"hidden_sizes": 8}, [("LSTM", 8, 1)] * 2),
    "1 layer": ({"layers": 1}, [("LSTM", 24, 1)]),
    "3 layers": ({"layers": 3}, [("LSTM", 24, 1)] * 3),
}


def compare(model: Any, **asked: Any) -> Comparison:
    return rnncost.compare(model, **{"profiles": [CPU], **asked})


def with_free_width(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model whose states are as wide as a dimension of this name, or of none, says."""
    for value in (*model.graph.input, *model.graph.output):
        if value.name.startswith("layer"):
            dim = value.type.tensor_type.shape.dim[2]
            dim.Clear()
            dim.dim_param = name
    return model


DECLARED = {
    "fixed": lambda: network(BASE, states=True),
    "named": lambda: with_free_width(network(BASE, states=True), "width"),
    "without a name": lambda: with_free_width(network(BASE, states=True), ""),
}
GIVEN: dict[str, dict[str, Any]] = {
    "shapes": {"shapes": dict.fromkeys(STATES, (1, 2, 24))},
    "values": {"values": {name: np.zeros((1, 2, 24), np.float32) for name in STATES}},
    "lists": {"values": {name: np.ones((1, 2, 24)).tolist() for name in STATES}},
}


CASES = [
    (declared, given, change)
    for declared in DECLARED
    for given in GIVEN
    for change in CHANGES
    # The rewriting follows no width through an input that says nothing of its own.
    if (declared, given) != ("without a name", "shapes")
    or change not in ("two directions", "8 units")
]


@pytest.mark.parametrize(("declared", "given", "change"), CASES)
def test_states_that_are_given_fit_each_variant(declared: str, given: str, change: str) -> None:
    asked, layers = CHANGES[change]
    dims = {"frames": 30}
    comparison = compare(DECLARED[declared](), **asked, **GIVEN[given], dims=dims)
    assert comparison.skipped == []
    (design,) = comparison.variants
    expected = rnncost.analyze(network(layers), dims={**dims, "batch": 2}, symbolic=False).totals
    for name in COUNTS:
        assert design.figures[name] == getattr(expected, name), name
    assert design.report.bindings.assumed == []
    assert design.report.bindings.dims["batch"] == 2
    assert design.one_more_step_s


def test_a_variant_says_which_values_it_does_not_use() -> None:
    values: dict[str, Any] = {name: np.zeros((1, 2, 24), np.float32) for name in STATES}
    values["x"] = np.zeros((7, 2, 20), np.float32)
    narrow, gru = compare(
        network(BASE, states=True), hidden_sizes=8, cells="gru", values=values
    ).variants[::-1]
    unused = [f"the value of {name!r} is not used, as it has another shape here" for name in STATES]
    assert narrow.notes[-4:] == unused
    assert list(narrow.report.bindings.values) == ["x"]
    assert not any("is not used" in note for note in gru.notes)
    assert set(gru.report.bindings.values) == {"layer0.h", "layer1.h", "x"}


def stacked() -> onnx.ModelProto:
    """An LSTM whose two states are one input and one output, as voice detectors have them."""
    rng = np.random.default_rng(3)
    weights = {
        "W": rng.uniform(-0.1, 0.1, (1, 64, 12)).astype(np.float32),
        "R": rng.uniform(-0.1, 0.1, (1, 64, 16)).astype(np.float32),
        "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
    }
    nodes = [
        helper.make_node("Slice", ["state", "zero", "one", "zero"], ["h"]),
        helper.make_node("Slice", ["state", "one", "two", "zero"], ["c"]),
        helper.make_node(
            "LSTM", ["x", "W", "R", "", "", "h", "c"], ["y", "hn", "cn"], "lstm", hidden_size=16
        ),
        helper.make_node("Concat", ["hn", "cn"], ["stateN"], axis=0),
    ]
    ends = {"x": [5, "batch", 12], "state": [2, "batch", 16]}
    results: dict[str, list[Any]] = {"y": [5, 1, "batch", 16], "stateN": [2, "batch", 16]}
    graph = helper.make_graph(
        nodes,
        "stacked",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ends.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in results.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize(
    "given",
    [
        {"shapes": {"state": (2, 3, 16)}},
        {"values": {"state": np.zeros((2, 3, 16), np.float32)}},
    ],
    ids=["shape", "value"],
)
def test_a_stacked_state_fits_each_variant(given: dict[str, Any]) -> None:
    comparison = compare(stacked(), cells="gru", hidden_sizes=4, **given)
    assert comparison.skipped == []
    gru, narrow = comparison.variants
    assert gru.figures["macs"] == 5 * 3 * 3 * 16 * (12 + 16)
    assert narrow.figures["macs"] == 5 * 3 * 4 * 4 * (12 + 4)
    assert gru.report.bindings.shapes["state"] == [1, 3, 16]
    assert narrow.report.bindings.shapes["state"] == [2, 3, 4]


def test_a_value_that_fixes_the_steps_is_named_as_what_fixes_them() -> None:
    values = {"x": np.zeros((30, 1, 20), np.float32)}
    (skipped,) = compare(network([("GRU", 8, 1)]), steps=50, values=values).skipped
    assert skipped.reason.endswith("as values fix the shape of 'x', give shapes alone")


def test_an_input_of_unknown_rank_has_no_axis_to_free() -> None:
    model = network([("GRU", 8, 1)], steps=30, rows=1)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    comparison = compare(model, steps=60, cells="rnn", shapes={"x": (30, 1, 20)})
    (design,) = comparison.variants
    assert design.figures["macs"] == 30 * 8 * (20 + 8) + 5 * 8
    assert [one.name for one in comparison.skipped] == ["60 steps"]


def test_a_copy_that_lacks_declared_shapes_stands_for_no_model() -> None:
    """Where a free axis costs what the file says of an operator that no rule knows."""
    model = network([("GRU", 8, 1)], steps=30, rows=1)
    gemm = model.graph.node[-1]
    gemm.input[0] = "odd"
    model.graph.node.insert(4, helper.make_node("Odd", ["summary"], ["odd"], domain="test"))
    model.graph.value_info.append(helper.make_tensor_value_info("odd", TensorProto.FLOAT, [1, 8]))
    model.opset_import.append(helper.make_opsetid("test", 1))
    comparison = compare(model, steps=60)
    assert comparison.base.figures["macs"] == 30 * 3 * 8 * (20 + 8) + 5 * 8
    assert [one.name for one in comparison.skipped] == ["60 steps"]
