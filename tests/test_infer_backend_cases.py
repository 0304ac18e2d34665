"""Inference agrees with the recorded outputs of the ONNX project's own operator tests."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import onnx
import pytest
from infer_support import known_of, node_call, op_name

from rnncost.frontends.onnx.infer import Known, infer

# Control flow is followed by the graph builder, not by a rule.
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})

# What decides these shapes is in data that is not folded: decoded images, text, boxes.
DATA_DEPENDENT = frozenset(
    {
        "ImageDecoder",
        "NonMaxSuppression",
        "StringNormalizer",
        "StringSplit",
        "ai.onnx.preview::FlexAttention",
    }
)


@cache
def _cases() -> tuple[Any, ...]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return tuple(
        case
        for case in found
        if len(case.model.graph.node) == 1 and op_name(case.model.graph.node[0]) not in CONTROL_FLOW
    )


def _inferred(case: Any, values: bool) -> Iterator[tuple[Known, Known]]:
    """Each output as inferred and as recorded."""
    model: onnx.ModelProto = case.model
    node = model.graph.node[0]
    opsets = {o.domain: o.version for o in model.opset_import}
    for given, recorded in case.data_sets:
        pairs = zip(model.graph.input, given, strict=True)
        inputs = {i.name: known_of(array, i.type, values) for i, array in pairs}
        truth = {
            o.name: known_of(array, o.type)
            for o, array in zip(model.graph.output, recorded, strict=True)
        }
        outputs = infer(node_call(node, [inputs[n] if n else None for n in node.input], opsets))
        for name, output in zip(node.output, outputs, strict=True):
            if name:
                yield output, truth[name]


def test_with_values_known_every_shape_is_inferred() -> None:
    seen = Counter[str]()
    for case in _cases():
        op = op_name(case.model.graph.node[0])
        for output, truth in _inferred(case, values=True):
            assert (output.dtype, output.is_sequence) == (truth.dtype, truth.is_sequence), case.name
            if output.shape is None and op in DATA_DEPENDENT:
                continue
            assert output.shape == truth.shape, case.name
            seen["shapes"] += 1
            seen[f"op {op}"] += 1
    assert seen["shapes"] > 1100  # onnx 1.16 has 1145, onnx 1.23 has 1641
    assert sum(name.startswith("op ") for name in seen) > 160


def test_with_shapes_alone_nothing_inferred_is_wrong() -> None:
    seen = Counter[str]()
    for case in _cases():
        for output, truth in _inferred(case, values=False):
            assert (output.dtype, output.is_sequence) == (truth.dtype, truth.is_sequence), case.name
            if output.shape is not None:
                assert output.shape == truth.shape, case.name
                seen["shapes"] += 1
    assert seen["shapes"] > 850


def test_folded_elements_are_the_recorded_ones() -> None:
    folded = Counter[str]()
    for case in _cases():
        for output, truth in _inferred(case, values=True):
            if output.value is None or truth.value is None:
                continue
            folded[op_name(case.model.graph.node[0])] += 1
            assert len(output.value) == len(truth.value), case.name
            for mine, theirs in zip(output.value, truth.value, strict=True):
                if isinstance(theirs, float):
                    assert mine == pytest.approx(theirs, rel=1e-6, abs=1e-7, nan_ok=True), case.name
                else:
                    assert (mine, type(mine)) == (theirs, type(theirs)), case.name
    assert sum(folded.values()) > 350
    assert len(folded) > 50
