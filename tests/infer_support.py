"""Turning onnx's own models, nodes and arrays into what the inference under test reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rnncost.frontends.onnx import proto
from rnncost.frontends.onnx.elements import DTYPE_BY_NUMBER
from rnncost.frontends.onnx.infer import Call, Known, infer
from rnncost.frontends.onnx.infer.base import VALUE_LIMIT
from rnncost.graph.dim import Dim, Expr, Shape, evaluate


def call(
    op_type: str,
    *inputs: Known | None,
    outputs: int = 1,
    opset: int = 21,
    **attrs: Any,
) -> Call:
    frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in attrs.items()}
    return Call(op_type=op_type, opset=opset, attrs=frozen, inputs=inputs, outputs=outputs)


def run(op_type: str, *inputs: Known | None, **rest: Any) -> Known:
    """The first output."""
    return infer(call(op_type, *inputs, **rest))[0]


def floats(*shape: Dim) -> Known:
    return Known(dtype="float32", shape=shape)


def ints(*values: Dim, dtype: str = "int64") -> Known:
    """A vector of known integers."""
    return Known(dtype=dtype, shape=(len(values),), value=values)


def scalar(value: Any, dtype: str = "int64") -> Known:
    return Known(dtype=dtype, shape=(), value=(value,))


def known_of(array: Any, type_: onnx.TypeProto, values: bool = True) -> Known:
    """An array, a list of arrays or None, of a declared type."""
    kind = type_.WhichOneof("value")
    if kind == "optional_type":
        if array is None:
            return Known(dtype="", shape=None, absent=True)
        return known_of(array, type_.optional_type.elem_type, values)
    if kind == "sequence_type":
        element = type_.sequence_type.elem_type
        items = tuple(known_of(a, element, values) for a in array)
        shapes = {item.shape for item in items}
        return Known(
            dtype=DTYPE_BY_NUMBER[element.tensor_type.elem_type],
            shape=shapes.pop() if len(shapes) == 1 else None,
            is_sequence=True,
            items=items,
        )
    if isinstance(array, onnx.TensorProto):
        array = numpy_helper.to_array(array)
    array = np.asarray(array)
    dtype = DTYPE_BY_NUMBER[type_.tensor_type.elem_type]
    return Known(dtype=dtype, shape=array.shape, value=elements(array, dtype) if values else None)


def elements(array: np.ndarray, dtype: str) -> tuple[Any, ...] | None:
    if array.size > VALUE_LIMIT or dtype.startswith("complex"):
        return None
    if "float" in dtype and array.dtype.kind in "iu":  # older onnx packages hand over the bits
        return None
    if dtype == "string":
        return tuple(x.decode() if isinstance(x, bytes) else str(x) for x in array.ravel().tolist())
    return tuple(
        x if isinstance(x, (int, float)) else float(x) if "float" in dtype else int(x)
        for x in array.ravel().tolist()
    )


def array_known(array: np.ndarray) -> Known:
    number = helper.np_dtype_to_tensor_dtype(array.dtype)
    return known_of(array, helper.make_tensor_type_proto(number, array.shape))


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: attribute(a) for a in node.attribute}


def attribute(a: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(a)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return tensor(value)
    if a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
        return proto.GraphProto()
    if a.type == onnx.AttributeProto.TYPE_PROTO:
        element = value.optional_type.elem_type if value.HasField("optional_type") else value
        return proto.ValueType(dtype=DTYPE_BY_NUMBER[element.tensor_type.elem_type])
    if a.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    if a.type == onnx.AttributeProto.STRINGS:
        return tuple(text.decode() for text in value)
    return value


def tensor(stored: onnx.TensorProto) -> proto.TensorProto:
    array = numpy_helper.to_array(stored)
    dtype = DTYPE_BY_NUMBER[stored.data_type]
    held = elements(array, dtype)
    return proto.TensorProto(
        name=stored.name, dtype=dtype, dims=array.shape, load=None if held is None else lambda: held
    )


def op_name(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def node_call(
    node: onnx.NodeProto, inputs: Sequence[Known | None], opsets: Mapping[str, int]
) -> Call:
    domain = "" if node.domain == "ai.onnx" else node.domain
    return Call(
        op_type=op_name(node),
        opset=opsets.get(domain, 1),
        attrs=attributes(node),
        inputs=tuple(inputs),
        outputs=len(node.output),
    )


def at(shape: Shape | None, bindings: Mapping[str, int]) -> tuple[int, ...] | None:
    """A shape at a binding of its free dimensions."""
    return None if shape is None else tuple(evaluate(dim, bindings) for dim in shape)


def values_at(value: tuple[Any, ...], bindings: Mapping[str, int]) -> tuple[Any, ...]:
    return tuple(evaluate(e, bindings) if isinstance(e, Expr) else e for e in value)
