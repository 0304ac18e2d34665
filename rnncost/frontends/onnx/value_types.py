"""Declared types of values: ``ValueInfoProto``, ``TypeProto`` and ``TensorShapeProto``."""

from __future__ import annotations

from rnncost.frontends.onnx.proto import ValueInfo, ValueType
from rnncost.frontends.onnx.source import Source
from rnncost.frontends.onnx.tensor import MAX_RANK, dtype_name
from rnncost.frontends.onnx.wire import (
    WireError,
    check_depth,
    fields,
    reject_known,
    signed,
    text,
)

Shape = tuple["int | str | None", ...]

_UNDECLARED = ValueType()
_INFO_KNOWN = frozenset((1, 2))
_TYPE_KNOWN = frozenset((1, 4, 5, 7, 8, 9))
_TENSOR_KNOWN = frozenset((1, 2))
_DIM_KNOWN = frozenset((1, 2))
_KIND_BY_TAG = {
    0x0A: "tensor",
    0x22: "sequence",
    0x2A: "map",
    0x3A: "opaque",
    0x42: "sparse",
    0x4A: "optional",
}


def decode_value_info(src: Source, start: int, end: int) -> ValueInfo:
    name = ""
    declared: ValueType | None = None
    for tag, a, b in fields(src.buf, start, end):
        if tag == 0x0A:
            name = text(src.buf, a, b)
        elif tag == 0x12:
            if declared is not None:
                raise WireError(f"value {name!r} has its type twice", a)
            declared = decode_type(src, a, b, 0)
        else:
            reject_known(tag, a, _INFO_KNOWN, "value")
    return ValueInfo(name, declared or _UNDECLARED)


def decode_type(src: Source, start: int, end: int, depth: int) -> ValueType:
    """Decode a TypeProto; one that declares nothing is a tensor of unknown type."""
    check_depth(depth, start)
    declared: ValueType | None = None
    for tag, a, b in fields(src.buf, start, end):
        kind = _KIND_BY_TAG.get(tag)
        if kind is None:
            reject_known(tag, a, _TYPE_KNOWN, "type")
            continue
        if declared is not None:
            raise WireError("a value has two types", a)
        if kind in ("tensor", "sparse"):
            declared = _tensor_type(src, a, b, kind)
        elif kind == "opaque":
            declared = ValueType(kind=kind)
        else:
            declared = _container(src, a, b, kind, depth)
    return declared or _UNDECLARED


def _tensor_type(src: Source, start: int, end: int, kind: str) -> ValueType:
    dtype = ""
    shape: Shape | None = None
    for tag, a, b in fields(src.buf, start, end):
        if tag == 0x08:
            dtype = dtype_name(a, a)
        elif tag == 0x12:
            if shape is not None:
                raise WireError("a value has its shape twice", a)
            shape = _shape(src, a, b)
        else:
            reject_known(tag, a, _TENSOR_KNOWN, "tensor type")
    return ValueType(kind=kind, dtype=dtype, shape=shape)


def _container(src: Source, start: int, end: int, kind: str, depth: int) -> ValueType:
    wanted = 0x12 if kind == "map" else 0x0A
    element: ValueType | None = None
    for tag, a, b in fields(src.buf, start, end):
        if tag == wanted:
            if element is not None:
                raise WireError(f"a {kind} has its element type twice", a)
            element = decode_type(src, a, b, depth + 1)
        elif tag & 7 != 2 and tag != 0x08:  # 0x08: the key type of a map
            raise WireError(f"field {tag >> 3} of a {kind} type has the wire type {tag & 7}", a)
    if element is None:
        return ValueType(kind=kind)
    return ValueType(kind=kind, dtype=element.dtype, shape=element.shape, element=element)


def _shape(src: Source, start: int, end: int) -> Shape:
    dims: list[int | str | None] = []
    for tag, a, b in fields(src.buf, start, end):
        if tag == 0x0A:
            dims.append(_dim(src, a, b))
        else:
            reject_known(tag, a, _DIM_KNOWN, "shape")
    if len(dims) > MAX_RANK:
        raise WireError(f"a value has {len(dims):,} dimensions, more than {MAX_RANK}", start)
    return tuple(dims)


def _dim(src: Source, start: int, end: int) -> int | str | None:
    """A dimension; exporters write -1, as well as nothing, for one that they do not know."""
    dim: int | str | None = None
    for tag, a, b in fields(src.buf, start, end):
        if tag == 0x08:
            dim = signed(a)
        elif tag == 0x12:
            dim = text(src.buf, a, b)
        else:
            reject_known(tag, a, _DIM_KNOWN, "dimension")
    return None if dim == "" or (isinstance(dim, int) and dim < 0) else dim
