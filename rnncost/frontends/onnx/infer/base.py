"""The types of shape and value inference, and the table of its rules.

A rule maps what is known of an operator's inputs to what is known of its outputs: element
type, shape, and for small tensors the elements themselves, so that shape arithmetic,
branches and trip counts are settled without running the model. Dimensions and integer
elements may be free-dimension expressions; a rule then uses ``rnncost.graph.dim``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, Union

import msgspec

from rnncost.frontends.onnx.proto import Attribute
from rnncost.graph.dim import Dim, Shape
from rnncost.graph.ir import Slab

VALUE_LIMIT = 4096
"""The most elements whose values are followed; larger tensors keep only their shape."""

Element = Union[Dim, float, bool, str]


class View(msgspec.Struct, frozen=True):
    """Where one slab lies in a value that is a view of stored tensors.

    ``axes`` has, for each axis of the value, the axis of the slab's root that runs along
    it, or None; ``box`` has the interval of that axis that the slab covers, or None for
    all of it. An axis without a root axis cannot be narrowed: taking a part of it keeps
    the slab whole, which overstates what is used and never understates it.
    """

    axes: tuple[int | None, ...]
    box: tuple[tuple[int, int] | None, ...]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a value.

    ``shape`` is None when even the rank is unknown. ``value`` has the elements, flat and
    row-major, when they are known. ``stored`` has the stored tensors that this value is a
    view of, and ``views`` how each lies in it (empty: the one slab is the whole value, axis
    by axis). For a sequence ``is_sequence`` is True, ``items`` has its elements when their
    number is known, and ``shape`` is the common shape of all elements, if they share one.
    ``absent`` marks an optional without an element.
    """

    dtype: str
    shape: Shape | None
    value: tuple[Element, ...] | None = None
    stored: tuple[Slab, ...] = ()
    views: tuple[View, ...] = ()
    is_sequence: bool = False
    items: tuple[Known, ...] | None = None
    absent: bool = False

    @property
    def rank(self) -> int | None:
        return None if self.shape is None else len(self.shape)


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One operator to infer. ``op_type`` is "LSTM" or "com.microsoft::Gelu"."""

    op_type: str
    opset: int
    attrs: Mapping[str, Attribute]
    inputs: tuple[Known | None, ...]
    outputs: int
    """How many outputs the node lists, omitted ones included."""

    def input(self, index: int) -> Known | None:
        return self.inputs[index] if index < len(self.inputs) else None


class InferenceError(Exception):
    """The inputs contradict the operator's definition; the text says how."""


InferRule = Callable[[Call], tuple[Known, ...]]
R = TypeVar("R", bound=InferRule)
_RULES: dict[str, InferRule] = {}


def infers(*op_types: str) -> Callable[[R], R]:
    """Register an inference rule for operators, by ONNX name or ``domain::Name``."""

    def register(rule: R) -> R:
        for op_type in op_types:
            _RULES[op_type] = rule
        return rule

    return register


def find(op_type: str) -> InferRule | None:
    return _RULES.get(op_type)
