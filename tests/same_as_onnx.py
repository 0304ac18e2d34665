"""Comparison of a model as read by rnncost with the same model as read by the onnx package."""

from __future__ import annotations

import math
import warnings

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from rnncost.errors import ModelFileError
from rnncost.frontends.onnx import proto
from rnncost.frontends.onnx.read import read_model_bytes
from rnncost.units import DTYPE_BITS

COMPARED_ELEMENTS = 5000
"""Tensors up to this size are compared element by element."""

ELEMENT_TYPES = [n for n in TensorProto.DataType.values() if n != TensorProto.UNDEFINED]
COMPLEX = (TensorProto.COMPLEX64, TensorProto.COMPLEX128)
EXPECTED_DTYPE = {TensorProto.STRING: "string"}


def expected_dtype(number: int) -> str:
    """The name that NumPy and ml_dtypes give an element type, without their suffixes."""
    name = EXPECTED_DTYPE.get(number) or helper.tensor_dtype_to_np_dtype(number).name
    return name if name in DTYPE_BITS else name.removesuffix("fnu").removesuffix("fn")


def plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def wrap(*tensors: TensorProto, **extra: object) -> onnx.ModelProto:
    """A model with the given initializers."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])],
        list(tensors),
        **extra,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def varint(value: int) -> bytes:
    value %= 1 << 64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(tag: int, content: bytes) -> bytes:
    """A length-delimited field of a message."""
    return varint(tag) + varint(len(content)) + content


def graph_model(graph: bytes) -> bytes:
    """A model of IR version 8 and operator set 17 around a serialised graph."""
    return b"\x08\x08" + field(0x3A, graph) + field(0x42, b"\x10\x11")


def read(model: onnx.ModelProto) -> proto.ModelProto:
    return read_model_bytes(model.SerializeToString(), "model")


def read_tensor(tensor: TensorProto) -> proto.TensorProto:
    """The tensor as read from a model that has it as its initializer."""
    return read(wrap(tensor)).graph.initializers[tensor.name]


def refusal(model: onnx.ModelProto) -> str:
    """What is said of a model that is refused."""
    try:
        read(model)
    except ModelFileError as error:
        return str(error)
    raise AssertionError("the model was not refused")


def flat(array: np.ndarray) -> list[object]:
    if array.dtype == object or array.dtype.kind in "US":
        return [str(v) for v in array.ravel()]
    if array.dtype.kind in "iub":
        return array.ravel().tolist()
    if "int" in array.dtype.name:  # int4 and the like are not of kind "i" everywhere
        return [int(v) for v in array.ravel()]
    return array.ravel().astype(np.float64).tolist()


def same_elements(ours: tuple[object, ...], theirs: list[object]) -> bool:
    def same(a: object, b: object) -> bool:
        if isinstance(a, float) and isinstance(b, float):
            if math.isnan(a) or math.isnan(b):
                return math.isnan(a) and math.isnan(b)
            return a == b and math.copysign(1, a) == math.copysign(1, b)
        return type(a) is type(b) and a == b

    return len(ours) == len(theirs) and all(map(same, ours, theirs))


def check_tensor(ours: proto.TensorProto, theirs: TensorProto, folder: str = "") -> None:
    assert ours.name == theirs.name
    assert ours.dtype == expected_dtype(theirs.data_type)
    assert ours.dims == tuple(theirs.dims)
    assert ours.numel == math.prod(theirs.dims)
    assert ours.stored_numel is None
    if theirs.data_type in COMPLEX:
        assert ours.load is None
    elif ours.numel <= COMPARED_ELEMENTS:
        assert ours.load is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array = numpy_helper.to_array(theirs, folder)
        assert same_elements(ours.load(), flat(array)), theirs.name


def check_sparse(ours: proto.TensorProto, theirs: onnx.SparseTensorProto) -> None:
    assert ours.name == theirs.values.name
    assert ours.dtype == expected_dtype(theirs.values.data_type)
    assert ours.dims == tuple(theirs.dims)
    assert ours.stored_numel == math.prod(theirs.values.dims)
    assert ours.load is None


def check_type(ours: proto.ValueType, theirs: onnx.TypeProto) -> None:
    field = theirs.WhichOneof("value")
    if field is None:
        assert ours == proto.ValueType()
        return
    kind = field.removesuffix("_type").removesuffix("_tensor")
    assert ours.kind == kind
    inner = getattr(theirs, field)
    if kind in ("sequence", "optional", "map"):
        element = inner.value_type if kind == "map" else inner.elem_type
        assert ours.element is not None
        check_type(ours.element, element)
        assert (ours.dtype, ours.shape) == (ours.element.dtype, ours.element.shape)
    elif kind in ("tensor", "sparse"):
        assert ours.element is None
        assert ours.dtype == (expected_dtype(inner.elem_type) if inner.elem_type else "")
        assert (ours.shape is not None) == inner.HasField("shape")
        assert list(ours.shape or ()) == [expected_dim(d) for d in inner.shape.dim]


def expected_dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.WhichOneof("value") == "dim_value":
        return dim.dim_value if dim.dim_value >= 0 else None
    return dim.dim_param or None


def check_attribute(ours: proto.Attribute, theirs: AttributeProto) -> None:
    if theirs.ref_attr_name:
        assert ours == proto.AttributeReference(theirs.ref_attr_name)
        return
    value = helper.get_attribute_value(theirs)
    kind = AttributeProto.AttributeType.Name(theirs.type)
    many = kind.endswith("S")
    ours_list, their_list = (ours, value) if many else ((ours,), (value,))
    assert isinstance(ours_list, tuple)
    assert len(ours_list) == len(their_list)
    for a, b in zip(ours_list, their_list, strict=True):
        if kind in ("FLOAT", "INT", "FLOATS", "INTS"):
            assert type(a) is type(b)
            assert a == b or (math.isnan(a) and math.isnan(b))
        elif kind.startswith("STRING"):
            assert a == b.decode("utf-8", "backslashreplace")
        elif kind.startswith("TENSOR"):
            check_tensor(a, b)
        elif kind.startswith("GRAPH"):
            check_graph(a, b)
        elif kind.startswith("SPARSE"):
            check_sparse(a, b)
        elif kind.startswith("TYPE"):
            check_type(a, b)
        else:
            raise AssertionError(f"no check for an attribute of kind {kind}")


def check_nodes(ours: tuple[proto.NodeProto, ...], theirs: list[onnx.NodeProto]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.op_type, a.name) == (b.op_type, b.name)
        assert a.domain == plain(b.domain)
        assert a.overload == getattr(b, "overload", "")
        assert a.inputs == tuple(b.input)
        assert a.outputs == tuple(b.output)
        assert list(a.attrs) == [attribute.name for attribute in b.attribute]
        for attribute in b.attribute:
            check_attribute(a.attrs[attribute.name], attribute)


def check_values(ours: tuple[proto.ValueInfo, ...], theirs: list[onnx.ValueInfoProto]) -> None:
    assert [v.name for v in ours] == [v.name for v in theirs]
    for a, b in zip(ours, theirs, strict=True):
        check_type(a.type, b.type)


def check_graph(ours: proto.GraphProto, theirs: onnx.GraphProto, folder: str = "") -> None:
    assert ours.name == theirs.name
    check_nodes(ours.nodes, theirs.node)
    check_values(ours.inputs, theirs.input)
    check_values(ours.outputs, theirs.output)
    assert set(ours.value_info) == {v.name for v in theirs.value_info}
    for value in theirs.value_info:
        check_type(ours.value_info[value.name], value.type)
    dense = [t.name for t in theirs.initializer]
    assert list(ours.initializers) == dense + [t.values.name for t in theirs.sparse_initializer]
    for tensor in theirs.initializer:
        check_tensor(ours.initializers[tensor.name], tensor, folder)
    for sparse in theirs.sparse_initializer:
        check_sparse(ours.initializers[sparse.values.name], sparse)


def check_model(ours: proto.ModelProto, theirs: onnx.ModelProto, folder: str = "") -> None:
    assert ours.ir_version == theirs.ir_version
    assert ours.producer == f"{theirs.producer_name} {theirs.producer_version}".strip()
    assert ours.opset == {plain(o.domain): o.version for o in theirs.opset_import}
    check_graph(ours.graph, theirs.graph, folder)
    assert len(ours.functions) == len(theirs.functions)
    for function in theirs.functions:
        domain = plain(function.domain)
        overload = getattr(function, "overload", "")
        read_function = ours.functions[domain, function.name, overload]
        assert (read_function.domain, read_function.name) == (domain, function.name)
        assert read_function.overload == overload
        assert read_function.inputs == tuple(function.input)
        assert read_function.outputs == tuple(function.output)
        assert read_function.attributes == tuple(function.attribute)
        assert read_function.opset == {plain(o.domain): o.version for o in function.opset_import}
        assert list(read_function.default_attrs) == [a.name for a in function.attribute_proto]
        for attribute in function.attribute_proto:
            check_attribute(read_function.default_attrs[attribute.name], attribute)
        check_nodes(read_function.nodes, function.node)
