"""What inference needs to know of ONNX protos: attributes, stored tensors, graph inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rnncost.frontends.onnx.bind import Binding, bind
from rnncost.frontends.onnx.elements import DTYPE_BY_NUMBER
from rnncost.frontends.onnx.infer import Call, Element, InferenceError, Known, infer
from rnncost.frontends.onnx.proto import (
    Attribute,
    GraphProto,
    TensorProto,
    ValueInfo,
    ValueType,
)
from rnncost.graph.dim import Dim
from rnncost.graph.source import Request

if TYPE_CHECKING:
    import onnx

NUMBER_BY_DTYPE = {dtype: number for number, dtype in DTYPE_BY_NUMBER.items()}
FOLLOWED_ELEMENTS = 256
"""Stored tensors of more elements are weights: their elements settle no shape."""

UNKNOWN = Known(dtype="", shape=None)
_KINDS = {
    "tensor_type": "tensor",
    "sparse_tensor_type": "sparse",
    "sequence_type": "sequence",
    "optional_type": "optional",
    "map_type": "map",
    "opaque_type": "opaque",
}


def full_type(node: onnx.NodeProto) -> str:
    """``LSTM``, or ``com.microsoft::Gelu`` outside ai.onnx."""
    domain = node.domain
    return f"{domain}::{node.op_type}" if domain not in ("", "ai.onnx") else str(node.op_type)


def label(node: onnx.NodeProto) -> str:
    """What messages call a node: its name, or that of its first output."""
    return str(node.name) or next((str(name) for name in node.output if name), node.op_type)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute as Python holds it, text as str and lists as tuples."""
    for proto in node.attribute:
        if proto.name == name:
            return _attribute(proto)
    return default


def subgraphs(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The branches or the body of a node, by attribute name."""
    for proto in node.attribute:
        if proto.HasField("g"):
            yield proto.name, proto.g


def _attribute(proto: onnx.AttributeProto) -> Any:
    from onnx import helper

    if proto.HasField("t"):
        return _tensor(proto.t)
    if proto.HasField("g"):
        return None
    value = helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "__iter__") and not isinstance(value, str):
        items = (v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value)
        return tuple(item for item in items if isinstance(item, (int, float, str)))
    return value if isinstance(value, (int, float, str)) else None


def _tensor(tensor: onnx.TensorProto) -> TensorProto:
    return TensorProto(
        name=tensor.name,
        dtype=DTYPE_BY_NUMBER.get(tensor.data_type, ""),
        dims=tuple(tensor.dims),
        load=lambda: _elements(tensor),
    )


def _elements(tensor: onnx.TensorProto) -> tuple[Any, ...]:
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor).reshape(-1)
    if tensor.data_type == tensor.STRING:
        return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in array)
    return tuple(array.tolist())


def stored(tensor: onnx.TensorProto) -> Known:
    """What is known of a stored tensor; its elements where they may settle a shape."""
    shape = tuple(tensor.dims)
    dtype = DTYPE_BY_NUMBER.get(tensor.data_type, "")
    size = 1
    for dim in shape:
        size *= dim
    value: tuple[Element, ...] | None = None
    if size <= FOLLOWED_ELEMENTS and not dtype.startswith(("complex", "float8", "float4")):
        with suppress(ValueError, TypeError):  # the data does not fit the dimensions
            value = _elements(tensor)
    return Known(dtype=dtype, shape=shape, value=value)


def constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node; None for one that holds text or a sparse tensor."""
    from onnx import TensorProto as Proto
    from onnx import helper

    for proto in node.attribute:
        if proto.name == "value":
            return proto.t
        if proto.name in ("value_int", "value_ints", "value_float", "value_floats"):
            number = Proto.INT64 if "int" in proto.name else Proto.FLOAT
            value = helper.get_attribute_value(proto)
            several = proto.name.endswith("s")
            dims, values = ([len(value)], list(value)) if several else ([], [value])
            return helper.make_tensor(node.output[0], number, dims, values)
    return None


def inferred(
    node: onnx.NodeProto, inputs: list[Known | None], opsets: Mapping[str, int]
) -> tuple[Known, ...]:
    """What is known of a node's outputs.

    Raises:
        InferenceError: the inputs contradict the operator's definition.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    attrs: dict[str, Attribute] = {a.name: _attribute(a) for a in node.attribute}
    call = Call(
        op_type=full_type(node),
        opset=opsets.get(domain, 1),
        attrs=attrs,
        inputs=tuple(inputs),
        outputs=len(node.output),
    )
    return infer(call)


def tolerant(
    node: onnx.NodeProto, inputs: list[Known | None], opsets: Mapping[str, int]
) -> tuple[Known, ...]:
    """As ``inferred``, but outputs that cannot be told are unknown."""
    from onnx import checker

    try:
        return inferred(node, inputs, opsets)
    except (InferenceError, checker.ValidationError):
        return (UNKNOWN,) * len(node.output)


def bound_inputs(graph: onnx.GraphProto, request: Request) -> Binding:
    """The graph's inputs that no initializer provides, bound as the request says.

    Raises:
        BindingError: a dimension, shape or value does not fit the model.
    """
    provided = {tensor.name for tensor in graph.initializer}
    infos = [
        ValueInfo(info.name, _value_type(info.type))
        for info in graph.input
        if info.name not in provided
    ]
    return bind(GraphProto(inputs=tuple(infos)), request)


def known_inputs(binding: Binding, dims: Mapping[str, Dim]) -> dict[str, Known]:
    return {item.name: item.known(dims) for item in binding.inputs}


def _value_type(proto: onnx.TypeProto) -> ValueType:
    which = proto.WhichOneof("value") or "tensor_type"
    kind = _KINDS.get(which, "opaque")
    if kind in ("sequence", "optional"):
        element = _value_type(getattr(proto, which).elem_type)
        return ValueType(kind=kind, dtype=element.dtype, shape=element.shape, element=element)
    if kind not in ("tensor", "sparse"):
        return ValueType(kind=kind)
    tensor = getattr(proto, which)
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(
            [
                dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
                for dim in tensor.shape.dim
            ]
        )
    return ValueType(kind=kind, dtype=DTYPE_BY_NUMBER.get(tensor.elem_type, ""), shape=shape)
