"""Stored tensors as values: what is known of them without reading the weights."""

from __future__ import annotations

from typing import Union

import msgspec

from rnncost.frontends.onnx.infer.base import VALUE_LIMIT, Known
from rnncost.frontends.onnx.names import Names
from rnncost.frontends.onnx.proto import NodeProto, TensorProto
from rnncost.graph.ir import Slab

_DECODED_FLOATS = 1024
"""Stored floats and bytes are read up to this many elements: scales, bounds, initial states."""

_INDEX_DTYPES = frozenset(("int64", "int32", "bool"))


class StoredTensors:
    """The stored tensors of a model, each decoded once and under one root name.

    A tensor is the same wherever it is met: a constant in the body of a function that is
    called twice, or in a loop body that is followed for several trips, is stored once.
    """

    def __init__(self) -> None:
        self._names = Names()
        # The keys are kept, so that their identities are not given to other objects.
        self._known: dict[int, tuple[object, Known]] = {}

    def tensor(self, proto: TensorProto, name: str) -> Known:
        """What is known of a stored tensor; its elements only when they are few."""
        found = self._known.get(id(proto))
        if found is not None:
            return found[1]
        limit = VALUE_LIMIT if proto.dtype in _INDEX_DTYPES else _DECODED_FLOATS
        few = proto.load is not None and proto.numel <= limit
        value = proto.load() if proto.load is not None and few else None
        known = Known(dtype=proto.dtype, shape=proto.dims, value=value)
        return self._keep(proto, known, proto.dims, name)

    def literal(self, node: NodeProto, known: Known, shape: tuple[int, ...], name: str) -> Known:
        """A Constant node whose elements stand in its attributes."""
        found = self._known.get(id(node))
        return found[1] if found is not None else self._keep(node, known, shape, name)

    def _keep(
        self, key: Union[TensorProto, NodeProto], known: Known, shape: tuple[int, ...], name: str
    ) -> Known:
        ranges = tuple([(0, dim, 1) for dim in shape])
        slab = Slab(self._names.unique(name), known.dtype, ranges)
        known = msgspec.structs.replace(known, stored=(slab,))
        self._known[id(key)] = (key, known)
        return known
