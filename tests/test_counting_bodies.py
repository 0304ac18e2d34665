"""Composite operators cost what their ONNX function bodies cost, node by node.

The bodies come from the onnx package, and onnx's reference evaluator gives the shapes of
their intermediate values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from counting_ops import WORK, cost_of, make_op
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from rnncost.graph.ir import Slab, Tensor

FLOAT = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
X = np.random.default_rng(1).normal(size=(2, 6, 5)).astype(np.float32)
SCALE, BIAS = np.ones(5, np.float32), np.ones(5, np.float32)
CHANNELS = np.ones(6, np.float32)


def _body(node: onnx.NodeProto, opset: int, types: list[onnx.TypeProto]) -> onnx.FunctionProto:
    schema = onnx.defs.get_schema(node.op_type, opset)
    if schema.has_function:
        return schema.function_body
    given = [t.SerializeToString() for t in types]
    text = schema.get_context_dependent_function(node.SerializeToString(), given)
    body = onnx.FunctionProto()
    body.ParseFromString(text)
    return body


def _needed(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    """The nodes that the outputs asked for depend on."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]


def _value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _work(
    op_type: str, attrs: dict[str, Any], arrays: list[tuple[np.ndarray, bool]]
) -> tuple[dict[str, int], dict[str, int]]:
    """Work by our rule, and the sum over the function's body."""
    opset = onnx.defs.onnx_opset_version()
    names = [f"in{at}" for at in range(len(arrays))]
    schema = onnx.defs.get_schema(op_type, opset)
    outs = [f"out{at}" for at in range(schema.min_output)]
    node = helper.make_node(op_type, names, outs, **attrs)
    types = [
        helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for a, _ in arrays
    ]
    body = _body(node, opset, types)
    rename = dict(zip(body.input, names, strict=False)) | dict(zip(body.output, outs, strict=False))
    nodes = []
    for inner in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(inner)
        for at, name in enumerate(inner.input):
            copy.input[at] = rename.get(name, name)
        for at, name in enumerate(inner.output):
            copy.output[at] = rename.get(name, name)
        given = [a for a in copy.attribute if not a.ref_attr_name]
        for reference in [a for a in copy.attribute if a.ref_attr_name]:
            default = schema.attributes[reference.ref_attr_name].default_value
            value = attrs.get(reference.ref_attr_name)
            attribute = onnx.AttributeProto()
            attribute.CopyFrom(default)
            if value is not None:
                attribute.CopyFrom(helper.make_attribute(reference.ref_attr_name, value))
            if not attribute.type:  # neither given nor a default: left off
                continue
            attribute.name = reference.name
            given.append(attribute)
        del copy.attribute[:]
        copy.attribute.extend(given)
        nodes.append(copy)

    nodes = _needed(nodes, outs)
    everything = [name for n in nodes for name in n.output if name]
    graph = helper.make_graph(
        nodes,
        "body",
        [helper.make_value_info(n, t) for n, t in zip(names, types, strict=True)],
        [helper.make_value_info(name, FLOAT) for name in everything],
    )
    imports = [helper.make_opsetid("", max(o.version for o in body.opset_import))]
    model = helper.make_model(graph, opset_imports=imports)
    values = dict(zip(names, (a for a, _ in arrays), strict=True))
    values |= dict(zip(everything, ReferenceEvaluator(model).run(None, dict(values)), strict=True))
    stored = {name for name, (_, is_stored) in zip(names, arrays, strict=True) if is_stored}
    for inner in nodes:
        if inner.op_type in ("Cast", "Flatten", "Reshape") and inner.input[0] in stored:
            stored.update(inner.output)

    def tensor(name: str) -> Tensor | None:
        if not name:
            return None
        value = np.asarray(values[name])
        slabs = (Slab(name, "float32", ()),) if name in stored else ()
        small = tuple(value.reshape(-1).tolist()) if value.size == 1 else None
        return Tensor(name, str(value.dtype), value.shape, slabs, small)

    total = dict.fromkeys(WORK, 0)
    for inner in nodes:
        op = make_op(
            inner.op_type,
            [tensor(name) for name in inner.input],
            [tensor(name) for name in inner.output],
            **{a.name: _value(a) for a in inner.attribute if not a.HasField("t")},
        )
        settled = all(values[n].dtype == np.int64 for n in inner.output if n)
        if not settled:  # shape arithmetic is done before the run
            cost = cost_of(op)
            for name in WORK:
                total[name] += getattr(cost, name)
    ours = cost_of(make_op(op_type, [tensor(n) for n in names], [tensor(n) for n in outs], **attrs))
    return {name: getattr(ours, name) for name in WORK}, total


CASES: list[tuple[str, dict[str, Any], list[tuple[np.ndarray, bool]]]] = [
    ("Softmax", {"axis": -1}, [(X, False)]),
    ("Softmax", {"axis": 1}, [(X, False)]),
    ("LogSoftmax", {"axis": -1}, [(X, False)]),
    ("LayerNormalization", {"axis": -1}, [(X, False), (SCALE, True), (BIAS, True)]),
    ("LayerNormalization", {"axis": 2}, [(X, False), (SCALE, True)]),
    ("RMSNormalization", {"axis": -1}, [(X, False), (SCALE, True)]),
    (
        "GroupNormalization",
        {"num_groups": 3},
        [(X[..., None], False), (CHANNELS, True), (CHANNELS, True)],
    ),
    ("MeanVarianceNormalization", {"axes": [0, 2]}, [(X, False)]),
    ("ReduceL1", {}, [(X, False), (np.array([1]), False)]),
    ("ReduceL2", {}, [(X, False), (np.array([2]), False)]),
    ("ReduceSumSquare", {}, [(X, False), (np.array([0]), False)]),
    ("ReduceLogSum", {}, [(abs(X), False), (np.array([1]), False)]),
    ("ReduceLogSumExp", {}, [(X, False), (np.array([1]), False)]),
    (
        "SoftmaxCrossEntropyLoss",
        {"reduction": "none"},
        [(X, False), (np.zeros((2, 5), np.int64), False)],
    ),
]


@pytest.mark.parametrize(
    ("op_type", "attrs", "arrays"), [case for case in CASES if onnx.defs.has(case[0])]
)
def test_a_composite_costs_what_its_body_costs(
    op_type: str, attrs: dict[str, Any], arrays: list[tuple[np.ndarray, bool]]
) -> None:
    ours, body = _work(op_type, attrs, arrays)
    assert sum(body.values()) > 0
    assert ours == body


def test_quantising_costs_what_its_body_costs_but_for_its_scalars() -> None:
    ours, body = _work("DynamicQuantizeLinear", {}, [(X, False)])
    # The body derives scale and zero point from the extrema in a dozen scalar operations.
    assert ours["multiplies"] == X.size
    assert ours["adds"] == 3 * X.size
    for name in WORK:
        assert abs(body[name] - ours[name]) <= 4, name
