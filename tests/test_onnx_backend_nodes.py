"""The ONNX project's own node tests with recurrent layers, branches, loops and scans."""

from __future__ import annotations

import re
import warnings
from functools import cache
from typing import Any

import executed
import numpy as np
import onnx

from rnncost.errors import ControlFlowError, MeasurementError
from rnncost.frontends.onnx import load
from rnncost.graph.source import InputValue, Request

WANTED = frozenset({"If", "Loop", "Scan", "SequenceMap", "RNN", "GRU", "LSTM"})

# The trip count is the length of an input sequence, which no flag can give, or follows from
# arithmetic on reals that is not folded.
REFUSED = "sequence_map_.*_expanded|range_.*_expanded"


@cache
def cases() -> dict[str, Any]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return {
        case.name: case
        for case in found
        if {node.op_type for node in case.model.graph.node} & WANTED
    }


def arrays(infos: Any, given: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The tensors among recorded values; sequences and optionals are left out."""
    pairs = zip(infos, given, strict=True)
    return {
        info.name: np.asarray(value)
        for info, value in pairs
        if info.type.HasField("tensor_type") and value is not None
    }


def request_for(inputs: dict[str, np.ndarray[Any, Any]]) -> Request:
    values = {
        name: InputValue(array.shape, tuple(array.ravel().tolist()))
        for name, array in inputs.items()
        if array.dtype.kind in "iub" or array.ndim == 0
    }
    shapes = {name: array.shape for name, array in inputs.items() if name not in values}
    return Request(shapes=shapes, values=values)


def same_kinds(model: onnx.ModelProto, ran: executed.Executed) -> bool:
    """Whether the runtime runs the file's operators, and does not unfold some into others."""

    def kinds(nodes: Any) -> set[str]:
        found = {node.op_type for node in nodes}
        for node in nodes:
            for attribute in node.attribute:
                found |= kinds(attribute.g.node)
        return found

    return {kind for kind, _ in ran} <= kinds(model.graph.node)


def test_every_case_is_followed_or_refused_with_a_reason() -> None:
    refused: dict[str, str] = {}
    compared = 0
    for name, case in cases().items():
        model: onnx.ModelProto = case.model
        given, recorded = case.data_sets[0]
        inputs = arrays(model.graph.input, given)
        request = request_for(inputs)
        try:
            source = load(model.SerializeToString(), request)
        except ControlFlowError as error:
            refused[name] = str(error)
            continue
        truth = arrays(model.graph.output, recorded)
        found = dict(zip((o.name for o in model.graph.output), source.graph.outputs, strict=True))
        assert {n: found[n].shape for n in truth} == {n: a.shape for n, a in truth.items()}, name
        try:
            ran = executed.run(model, request.shapes, {n: inputs[n] for n in request.values})
        except MeasurementError:  # layouts and types that the runtime does not have
            continue
        if same_kinds(model, ran):
            assert executed.counted(source.graph) == ran, name
            compared += 1
    assert len(cases()) >= 60
    assert compared >= 20  # the rest is beyond older releases of ONNX Runtime
    assert [name for name in refused if not re.search(REFUSED, name)] == []
    assert all("--trace" in reason for reason in refused.values())
