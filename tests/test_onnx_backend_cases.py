"""``analyze`` on the ONNX project's node tests of recurrent layers and control flow."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from rnncost.analysis import analyze
from rnncost.errors import RnncostError

RECURRENT = frozenset({"RNN", "GRU", "LSTM"})
CONTROL = frozenset({"If", "Loop", "Scan"})

SUMS = ("params", "macs", "dense_macs", "sequential_macs", "elementwise_ops", "activation_bytes")


@cache
def cases() -> dict[str, Any]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    kinds = RECURRENT | CONTROL
    return {
        case.name: case
        for case in found
        if {node.op_type for node in case.model.graph.node} & kinds
    }


def inputs_of(case: Any) -> dict[str, Any]:
    """The recorded inputs that are tensors; sequences and optionals are left out."""
    pairs = zip(case.model.graph.input, case.data_sets[0][0], strict=True)
    return {
        info.name: np.asarray(value)
        for info, value in pairs
        if info.type.HasField("tensor_type") and value is not None
    }


def test_every_case_is_analysed_or_refused_in_a_sentence() -> None:
    analysed = 0
    refused: dict[str, str] = {}
    for name, case in cases().items():
        given = inputs_of(case)
        values = {n: a for n, a in given.items() if a.dtype.kind in "iub"}
        shapes = {n: a.shape for n, a in given.items() if n not in values}
        try:
            report = analyze(case.model, shapes=shapes, values=values)
        except RnncostError as error:
            refused[name] = str(error)
            continue
        analysed += 1
        for metric in SUMS:
            total = getattr(report.totals, metric)
            assert sum(getattr(row, metric) for row in report.ops) == total, (name, metric)
    assert analysed >= 40
    # Their trip counts are lengths of input sequences or come out of arithmetic on reals.
    assert all("sequence_map" in name or "range" in name for name in refused), refused
    assert not [reason for reason in refused.values() if "\n" in reason or "Error" in reason]


@pytest.mark.parametrize("kind", sorted(RECURRENT))
def test_recurrent_cases_have_the_macs_of_their_weights(kind: str) -> None:
    """The weights are inputs of these models: one MAC an element, step and row."""
    found = 0
    for name, case in cases().items():
        (node, *others) = case.model.graph.node
        if others or node.op_type != kind:
            continue
        given = inputs_of(case)
        x, w, r = (given[i] for i in node.input[:3])
        if len(node.input) > 4 and node.input[4]:
            rows = int(given[node.input[4]].sum())
        else:
            rows = x.shape[0] * x.shape[1]
        values = {n: a for n, a in given.items() if a.dtype.kind in "iub"}
        shapes = {n: a.shape for n, a in given.items() if n not in values}
        report = analyze(case.model, shapes=shapes, values=values)
        assert report.totals.macs == rows * (w.size + r.size), name
        assert report.totals.params == 0, name
        assert report.coverage == 1, name
        found += 1
    assert found >= 3


def test_an_operator_that_nobody_knows_is_listed_and_lowers_the_coverage() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"], name="known"),
        helper.make_node("Frobnicate", ["y"], ["z"], name="strange", domain="made.up"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", TensorProto.FLOAT, [2, 3])],
        [value("z", TensorProto.FLOAT, [2, 3])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("made.up", 1)]
    report = analyze(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    (entry,) = report.uncounted
    assert (entry.name, entry.op_type) == ("strange", "made.up::Frobnicate")
    assert entry.reason
    assert report.coverage == 0.5
    assert report.totals.activations == 6
    assert "Frobnicate" in str(report)
