"""The parts of an ONNX model that counting needs, as frozen values.

These mirror onnx.proto3, with two differences: element types are names ("float32"), and
tensor data stays where it is. A `TensorProto` knows where its bytes lie and decodes them
only when asked, so that a model of any size is read without its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Union

import msgspec

Scalar = Union[int, float, bool, str]


class TensorProto(msgspec.Struct, frozen=True, kw_only=True):
    """A stored tensor: element type, dimensions, and a way to its elements.

    ``load()`` decodes every element, row-major, and is meant for small tensors; it raises
    ``ModelFileError`` where the stored data is damaged. ``load`` is None where the elements
    cannot be had: weights were stripped, an external file is missing or too short, or the
    tensor is complex or sparse. ``external`` names the file that the data lies in.
    ``stored_numel`` is the number of values that a sparse tensor stores, and None for a
    dense one; ``dims`` are those of the dense tensor either way.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    external: str | None = None
    load: Callable[[], tuple[Scalar, ...]] | None = None
    stored_numel: int | None = None

    @property
    def numel(self) -> int:
        total = 1
        for dim in self.dims:
            total *= dim
        return total


class ValueType(msgspec.Struct, frozen=True, kw_only=True):
    """The declared type of a value.

    ``kind`` is "tensor", "sequence", "optional", "map", "sparse" or "opaque"; ``dtype`` and
    ``shape`` are those of the tensor, or of the tensors inside a sequence, optional or map.
    ``shape`` is None when no shape was declared; a dimension is an int, a name, or None.
    ``element`` is the type of what a sequence, optional or map holds.
    """

    kind: str = "tensor"
    dtype: str = ""
    shape: tuple[int | str | None, ...] | None = None
    element: ValueType | None = None


class ValueInfo(msgspec.Struct, frozen=True):
    name: str
    type: ValueType


Attribute = Union[
    int,
    float,
    str,
    tuple[int, ...],
    tuple[float, ...],
    tuple[str, ...],
    TensorProto,
    tuple[TensorProto, ...],
    ValueType,
    tuple[ValueType, ...],
    "GraphProto",
    tuple["GraphProto", ...],
    "AttributeReference",
    None,
]


class AttributeReference(msgspec.Struct, frozen=True):
    """Inside a function body: the value of the caller's attribute of this name."""

    name: str


class NodeProto(msgspec.Struct, frozen=True, kw_only=True):
    op_type: str
    domain: str = ""
    name: str = ""
    overload: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    attrs: Mapping[str, Attribute] = msgspec.field(default_factory=dict)


class GraphProto(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    nodes: tuple[NodeProto, ...] = ()
    initializers: Mapping[str, TensorProto] = msgspec.field(default_factory=dict)
    inputs: tuple[ValueInfo, ...] = ()
    outputs: tuple[ValueInfo, ...] = ()
    value_info: Mapping[str, ValueType] = msgspec.field(default_factory=dict)


class FunctionProto(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    domain: str
    overload: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    default_attrs: Mapping[str, Attribute] = msgspec.field(default_factory=dict)
    nodes: tuple[NodeProto, ...] = ()
    opset: Mapping[str, int] = msgspec.field(default_factory=dict)


class ModelProto(msgspec.Struct, frozen=True, kw_only=True):
    ir_version: int
    producer: str
    opset: Mapping[str, int]
    graph: GraphProto
    functions: Mapping[tuple[str, str, str], FunctionProto] = msgspec.field(default_factory=dict)
    """Keyed by (domain, name, overload)."""
