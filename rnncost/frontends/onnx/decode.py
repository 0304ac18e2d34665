"""ONNX messages as the frozen values of ``proto``.

Tags are written as they stand in the file, ``number << 3 | wire type``; source: onnx.proto3.
Documentation, metadata, training information and device placement are passed over.
The domain "ai.onnx" is another name of "" and becomes "".
"""

from __future__ import annotations

from typing import Any

from rnncost.frontends.onnx.proto import (
    Attribute,
    AttributeReference,
    FunctionProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfo,
    ValueType,
)
from rnncost.frontends.onnx.source import Source
from rnncost.frontends.onnx.tensor import decode_sparse, decode_tensor
from rnncost.frontends.onnx.value_types import decode_type, decode_value_info
from rnncost.frontends.onnx.wire import (
    WireError,
    check_depth,
    fields,
    float32,
    float32s,
    reject_known,
    signed,
    text,
    varints,
)

_MODEL_KNOWN = frozenset((1, 2, 3, 7, 8, 25))
_OPSET_KNOWN = frozenset((1, 2))
_FUNCTION_KNOWN = frozenset((1, 4, 5, 6, 7, 9, 10, 11, 13))
_GRAPH_KNOWN = frozenset((1, 2, 5, 11, 12, 13, 15))
_NODE_KNOWN = frozenset((1, 2, 3, 4, 5, 7, 8))
_ATTRIBUTE_KNOWN = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15, 20, 21, 22, 23))

# AttributeProto.AttributeType
_FLOAT, _INT, _STRING, _TENSOR, _GRAPH = 1, 2, 3, 4, 5
_FLOATS, _INTS, _STRINGS, _TENSORS, _GRAPHS = 6, 7, 8, 9, 10
_SPARSE_TENSOR, _SPARSE_TENSORS, _TYPE, _TYPES = 11, 12, 13, 14
_LISTS = frozenset((_FLOATS, _INTS, _STRINGS, _TENSORS, _GRAPHS, _SPARSE_TENSORS, _TYPES))
_ZEROS: dict[int, Attribute] = {_FLOAT: 0.0, _INT: 0, _STRING: ""}
"""Writers of proto3 leave out a zero."""
_MESSAGES = {
    0x2A: _TENSOR,
    0x32: _GRAPH,
    0x52: _TENSORS,
    0x5A: _GRAPHS,
    0x72: _TYPE,
    0x7A: _TYPES,
    178: _SPARSE_TENSOR,
    186: _SPARSE_TENSORS,
}


def decode_model(src: Source) -> ModelProto:
    """Decode the ModelProto that fills ``src.buf``.

    Raises:
        WireError: the bytes are not a whole model.
    """
    buf = src.buf
    ir_version = 0
    producer = version = ""
    opset: dict[str, int] = {}
    graph: GraphProto | None = None
    functions: dict[tuple[str, str, str], FunctionProto] = {}
    for tag, a, b in fields(buf, 0, len(buf)):
        if tag == 0x08:
            ir_version = signed(a)
        elif tag == 0x12:
            producer = text(buf, a, b)
        elif tag == 0x1A:
            version = text(buf, a, b)
        elif tag == 0x3A:
            if graph is not None:
                raise WireError("the model has two graphs", a)
            graph = _decode_graph(src, a, b, 0)
        elif tag == 0x42:
            _add_opset(src, a, b, opset)
        elif tag == 202:
            function = _decode_function(src, a, b)
            key = (function.domain, function.name, function.overload)
            if key in functions:
                raise WireError(f"function {function.name!r} is defined twice", a)
            functions[key] = function
        else:
            reject_known(tag, a, _MODEL_KNOWN, "model")
    if graph is None:
        raise WireError("there is no graph in it", 0, "give the .onnx file of a model")
    if not graph.nodes:
        raise WireError("its graph has no operators", 0, "export the model again")
    if not opset:
        # Operator sets came with IR version 3; before it there was only the first.
        if ir_version not in (1, 2):
            raise WireError("it imports no operator set", len(buf))
        opset[""] = 1
    return ModelProto(
        ir_version=ir_version,
        producer=f"{producer} {version}".strip(),
        opset=opset,
        graph=graph,
        functions=functions,
    )


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _add_opset(src: Source, start: int, end: int, opset: dict[str, int]) -> None:
    domain, version = "", 0
    for tag, a, b in fields(src.buf, start, end):
        if tag == 0x0A:
            domain = _domain(text(src.buf, a, b))
        elif tag == 0x10:
            version = signed(a)
        else:
            reject_known(tag, a, _OPSET_KNOWN, "opset import")
    name = domain or "ai.onnx"
    if not (0 if domain else 1) <= version < 1 << 31:
        raise WireError(f"it imports {name} in version {version:,}, which cannot be", start)
    if opset.setdefault(domain, version) != version:
        raise WireError(f"it imports {name} in versions {opset[domain]} and {version}", start)


def _decode_function(src: Source, start: int, end: int) -> FunctionProto:
    buf = src.buf
    name = domain = overload = ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: list[str] = []
    defaults: dict[str, Attribute] = {}
    nodes: list[NodeProto] = []
    opset: dict[str, int] = {}
    for tag, a, b in fields(buf, start, end):
        if tag == 0x0A:
            name = text(buf, a, b)
        elif tag == 0x22:
            inputs.append(text(buf, a, b))
        elif tag == 0x2A:
            outputs.append(text(buf, a, b))
        elif tag == 0x32:
            attributes.append(text(buf, a, b))
        elif tag == 0x3A:
            nodes.append(_decode_node(src, a, b, 0))
        elif tag == 0x4A:
            _add_opset(src, a, b, opset)
        elif tag == 0x52:
            domain = _domain(text(buf, a, b))
        elif tag == 0x5A:
            _add_attribute(src, a, b, 0, defaults)
        elif tag == 0x6A:
            overload = text(buf, a, b)
        else:
            reject_known(tag, a, _FUNCTION_KNOWN, "function")
    if not name:
        raise WireError("a function has no name", start)
    return FunctionProto(
        name=name,
        domain=domain,
        overload=overload,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        attributes=tuple(attributes),
        default_attrs=defaults,
        nodes=tuple(nodes),
        opset=opset,
    )


def _decode_graph(src: Source, start: int, end: int, depth: int) -> GraphProto:
    check_depth(depth, start)
    buf = src.buf
    name = ""
    nodes: list[NodeProto] = []
    initializers: dict[str, TensorProto] = {}
    inputs: list[ValueInfo] = []
    outputs: list[ValueInfo] = []
    value_info: dict[str, ValueType] = {}
    for tag, a, b in fields(buf, start, end):
        if tag == 0x0A:
            nodes.append(_decode_node(src, a, b, depth))
        elif tag == 0x6A:
            info = decode_value_info(src, a, b)
            value_info[info.name] = info.type
        elif tag == 0x2A:
            _add_initializer(decode_tensor(src, a, b), a, initializers)
        elif tag == 0x5A:
            inputs.append(decode_value_info(src, a, b))
        elif tag == 0x62:
            outputs.append(decode_value_info(src, a, b))
        elif tag == 0x12:
            name = text(buf, a, b)
        elif tag == 0x7A:
            _add_initializer(decode_sparse(src, a, b), a, initializers)
        else:
            reject_known(tag, a, _GRAPH_KNOWN, "graph")
    return GraphProto(
        name=name,
        nodes=tuple(nodes),
        initializers=initializers,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        value_info=value_info,
    )


def _add_initializer(tensor: TensorProto, pos: int, initializers: dict[str, TensorProto]) -> None:
    """Add an initializer; of two with one name, type and shape the later one is in effect."""
    if not tensor.name:
        raise WireError("an initializer has no name", pos)
    other = initializers.get(tensor.name)
    if other is not None and (other.dtype, other.dims) != (tensor.dtype, tensor.dims):
        raise WireError(
            f"two initializers are named {tensor.name!r}, one {other.dtype} of shape "
            f"{list(other.dims)} and one {tensor.dtype} of shape {list(tensor.dims)}",
            pos,
        )
    initializers[tensor.name] = tensor


def _decode_node(src: Source, start: int, end: int, depth: int) -> NodeProto:
    buf = src.buf
    op_type = domain = name = overload = ""
    inputs: list[str] = []
    outputs: list[str] = []
    attrs: dict[str, Attribute] = {}
    for tag, a, b in fields(buf, start, end):
        if tag == 0x0A:
            inputs.append(text(buf, a, b))
        elif tag == 0x12:
            outputs.append(text(buf, a, b))
        elif tag == 0x2A:
            _add_attribute(src, a, b, depth, attrs)
        elif tag == 0x22:
            op_type = text(buf, a, b)
        elif tag == 0x1A:
            name = text(buf, a, b)
        elif tag == 0x3A:
            domain = _domain(text(buf, a, b))
        elif tag == 0x42:
            overload = text(buf, a, b)
        else:
            reject_known(tag, a, _NODE_KNOWN, "node")
    if not op_type:
        raise WireError(f"node {name!r} has no operator type", start)
    return NodeProto(
        op_type=op_type,
        domain=domain,
        name=name,
        overload=overload,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        attrs=attrs,
    )


def _add_attribute(
    src: Source, start: int, end: int, depth: int, attrs: dict[str, Attribute]
) -> None:
    buf = src.buf
    name = reference = ""
    kind = 0
    # What each kind of value holds; a well-formed attribute has one kind.
    found: dict[int, Any] = {}
    for tag, a, b in fields(buf, start, end):
        if tag == 0x0A:
            name = text(buf, a, b)
        elif tag == 160:
            kind = a
        elif tag == 0x18:
            found[_INT] = signed(a)
        elif tag == 0x40:
            found.setdefault(_INTS, []).append(signed(a))
        elif tag == 0x42:
            found.setdefault(_INTS, []).extend(map(signed, varints(buf, a, b)))
        elif tag == 0x15:
            found[_FLOAT] = float32(buf, a)
        elif tag == 0x3D:
            found.setdefault(_FLOATS, []).append(float32(buf, a))
        elif tag == 0x3A:
            found.setdefault(_FLOATS, []).extend(float32s(buf, a, b))
        elif tag == 0x22:
            found[_STRING] = text(buf, a, b)
        elif tag == 0x4A:
            found.setdefault(_STRINGS, []).append(text(buf, a, b))
        elif tag == 170:
            reference = text(buf, a, b)
        elif tag in _MESSAGES:
            this = _MESSAGES[tag]
            if this not in _LISTS and this in found:
                raise WireError(f"attribute {name!r} has its value twice", a)
            message = _decode_message(src, a, b, depth, this)
            if this in _LISTS:
                found.setdefault(this, []).append(message)
            else:
                found[this] = message
        else:
            reject_known(tag, a, _ATTRIBUTE_KNOWN, "attribute")
    if not name:
        raise WireError("an attribute has no name", start)
    if name in attrs:
        raise WireError(f"attribute {name!r} is given twice", start)
    attrs[name] = _attribute_value(name, kind, reference, found, start)


def _decode_message(src: Source, start: int, end: int, depth: int, kind: int) -> Any:
    if kind in (_TENSOR, _TENSORS):
        return decode_tensor(src, start, end)
    if kind in (_GRAPH, _GRAPHS):
        return _decode_graph(src, start, end, depth + 1)
    if kind in (_TYPE, _TYPES):
        return decode_type(src, start, end, 0)
    return decode_sparse(src, start, end)


def _attribute_value(
    name: str, kind: int, reference: str, found: dict[int, Any], pos: int
) -> Attribute:
    """The one value of an attribute; files older than IR version 2 do not name its kind."""
    if reference and not found:
        return AttributeReference(reference)
    if not kind and len(found) == 1:
        (kind,) = found
    if not 0 < kind <= _TYPES:
        raise WireError(f"attribute {name!r} has no value of a known kind", pos)
    if reference or any(value for other, value in found.items() if other != kind):
        raise WireError(f"attribute {name!r} has a value beside the one of its type", pos)
    if kind in _LISTS:
        return tuple(found.get(kind, ()))
    value: Attribute = found.get(kind, _ZEROS.get(kind))
    if value is None:
        raise WireError(f"attribute {name!r} has no value", pos)
    return value
