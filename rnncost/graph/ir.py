"""The graph that every front end produces and every count reads: frozen and typed.

Operators carry ONNX names, attributes and layouts, whichever front end they came from;
a contrib or unknown domain is written ``domain::Name``. Control flow is settled before a
graph is built: an ``If`` is one operator without outputs, and the branch that it takes
stands inline after it, as the body of a function does; a ``Loop`` or ``Scan`` is one operator
with its trip count and its body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Union

import msgspec

from rnncost.graph.dim import Dim, Shape

Scalar = Union[int, float, bool, str]
AttrValue = Union[Scalar, tuple[int, ...], tuple[float, ...], tuple[str, ...]]


class Slab(msgspec.Struct, frozen=True):
    """A rectangular part of one stored tensor, in that tensor's own coordinates.

    ``ranges`` has one ``(start, stop, step)`` an axis, with step >= 1; two slabs of one
    root may overlap. A stored tensor seen through Slice, Split, Transpose, Reshape, Cast,
    Identity or DequantizeLinear is still its slabs; Concat of stored tensors joins them.
    """

    root: str
    dtype: str
    ranges: tuple[tuple[int, int, int], ...]


class Tensor(msgspec.Struct, frozen=True):
    """A value on an edge of the graph.

    ``name`` is unique within a graph and its bodies. ``shape`` is None when it cannot be
    known. ``stored`` is empty for activations and names the weights for stored tensors.
    ``value`` holds the elements, flat and row-major, of a small tensor that is known
    without running the model.
    """

    name: str
    dtype: str
    shape: Shape | None
    stored: tuple[Slab, ...] = ()
    value: tuple[Dim | float | bool | str, ...] | None = None


class Carried(msgspec.Struct, frozen=True):
    """A value that a loop body hands to its next trip: its name inside, on entry and exit."""

    entry: str
    exit: str


class Op(msgspec.Struct, frozen=True, kw_only=True):
    """One operator as it will be executed.

    ``inputs`` and ``outputs`` keep their positions; None stands for an omitted one.
    ``executions`` is how often it runs within one run of its graph (a weight-bearing
    operator of a branch not taken has 0: it is stored, not run). ``trips``, ``body`` and
    ``carried`` belong to Loop and Scan alone.
    """

    name: str
    op_type: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    attrs: Mapping[str, AttrValue] = msgspec.field(default_factory=dict)
    executions: Dim = 1
    trips: Dim = 1
    body: Graph | None = None
    carried: tuple[Carried, ...] = ()

    def tensor(self, index: int) -> Tensor | None:
        """The input at ``index``, or None where it is omitted or left off the end."""
        return self.inputs[index] if index < len(self.inputs) else None

    def int_attr(self, name: str, default: int) -> int:
        value = self.attrs.get(name, default)
        return int(value) if isinstance(value, (int, float)) else default

    def float_attr(self, name: str, default: float) -> float:
        value = self.attrs.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def str_attr(self, name: str, default: str) -> str:
        value = self.attrs.get(name, default)
        return value if isinstance(value, str) else default

    def ints_attr(self, name: str) -> tuple[int, ...] | None:
        value = self.attrs.get(name)
        if not isinstance(value, tuple):
            return None
        return tuple(v for v in value if isinstance(v, int))

    def strs_attr(self, name: str) -> tuple[str, ...]:
        value = self.attrs.get(name)
        if not isinstance(value, tuple):
            return ()
        return tuple(v for v in value if isinstance(v, str))


class Uncounted(msgspec.Struct, frozen=True):
    """An operator that has no count, and why."""

    name: str
    op_type: str
    reason: str


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Operators in execution order, with the graph's inputs and outputs.

    ``uncounted`` lists what the front end met and could not turn into operators.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    uncounted: tuple[Uncounted, ...] = ()
