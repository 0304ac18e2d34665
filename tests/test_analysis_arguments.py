"""What ``analyze`` takes from Python: numbers of any library, and faults named in a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hostile_seeds import FLOAT, floats, model, node, value

import rnncost
from rnncost.errors import nearest


def gru(*extents: Any) -> Any:
    nodes = [node("GRU", ["x", "w", "r"], ["y"], hidden_size=4)]
    stored = [floats("w", 1, 12, 3), floats("r", 1, 12, 4)]
    return model(nodes, [value("x", FLOAT, extents or ("seq", "batch", 3))], ["y"], stored)


@pytest.mark.parametrize(
    "given",
    [
        {"dims": {"seq": np.int64(5)}},
        {"shapes": {"x": np.array([5, 1, 3])}},
        {"shapes": {"x": iter([5, 1, 3])}},
        {"values": {"x": np.zeros((5, 1, 3), np.float32)}},
    ],
)
def test_numbers_of_numpy_are_numbers(given: dict[str, Any]) -> None:
    report = rnncost.analyze(gru(), **given)
    assert report.totals.macs == 5 * 12 * (3 + 4)
    assert type(report.bindings.dims["seq"]) is int


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dims": {"seq": "5"}}, "dimension 'seq' must be a whole number, not '5'"),
        ({"dims": {"seq": 5.0}}, "dimension 'seq' must be a whole number, not 5.0"),
        ({"dims": {3: 5}}, "no free dimension '3'"),
        ({"dims": [1]}, "dims is a list: give a dict by name"),
        ({"shapes": {"x": "5x1x3"}}, r"the shape of 'x' must be a tuple as \(1, 576\)"),
        ({"shapes": {"x": 5}}, r"the shape of 'x' must be a tuple as \(1, 576\), not 5"),
        ({"shapes": {"x": (None, 1, 3)}}, "each dimension of 'x' must be a whole number, not None"),
        ({"values": {"x": [[1], [1, 2]]}}, "ragged"),
        ({"values": {"x": None}}, "holds NoneType"),
        ({"threads": "2"}, "threads must be a whole number"),
        ({"inputs": (np.zeros(3),)}, "inputs are those of a torch.nn.Module"),
    ],
)
def test_what_is_no_number_or_shape_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(rnncost.RnncostError, match=message):
        rnncost.analyze(gru(), **given)


def test_a_value_nested_without_end_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(rnncost.RnncostError, match="nested more than 64 deep"):
        rnncost.analyze(gru(), values={"x": deep})


def test_one_profile_needs_no_tuple() -> None:
    report = rnncost.analyze(gru(), profiles="cortex-m7")
    assert [e.profile for e in report.estimates] == ["cortex-m7"]


def test_counts_beyond_floating_point_are_refused() -> None:
    nodes = [node("Relu", ["x"], ["y"])]
    small, large = [2**50] * 18, [2**50] * 19
    report = rnncost.analyze(model(nodes, [value("x", FLOAT, small)], ["y"], []))
    assert report.totals.activations == 2**900
    with pytest.raises(rnncost.RnncostError, match=r"a count exceeds 10\^280"):
        rnncost.analyze(model(nodes, [value("x", FLOAT, large)], ["y"], []))


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("sec", ["seq", "batch"], ", did you mean 'seq'?"),
        ("X", ["x"], ", did you mean 'x'?"),
        ("x86", ["a100", "x86-64-server-core"], ", did you mean 'x86-64-server-core'?"),
        ("peaks", ["threads", "title"], ""),
        ("b", ["batch"], ""),
    ],
)
def test_the_nearest_name_is_suggested_where_one_is_near(
    name: str, known: list[str], hint: str
) -> None:
    assert nearest(name, known) == hint
