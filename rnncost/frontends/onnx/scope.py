"""Scopes of names, and what a traced run recorded for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from rnncost.errors import ModelError
from rnncost.frontends.onnx.infer.base import Known
from rnncost.frontends.onnx.proto import (
    Attribute,
    GraphProto,
    NodeProto,
    TensorProto,
    ValueType,
)
from rnncost.graph.ir import Tensor

MAX_DEPTH = 64
"""The deepest nesting of branches, bodies and function calls that is followed."""

TensorShape = tuple[str, tuple[int, ...]]
"""Element type and shape of a tensor that a runtime reported."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of one node in a traced run; ``frames`` by the name of the subgraph."""

    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]
    frames: Mapping[str, tuple[Frame, ...]]


class Frame(msgspec.Struct, frozen=True):
    """One execution of a graph: events by node index, a call's nodes by ``(call, inner)``."""

    events: Mapping[tuple[int, ...], Event]


class Bound(msgspec.Struct, frozen=True):
    """A value of the model: what inference knows of it, and its tensor in the graph."""

    known: Known
    tensor: Tensor


class Scope:
    """The names visible at one place: a graph, a branch, a loop body or a function body.

    ``prefix`` stands before the name of everything inside (a function call's name), and
    ``place`` before the names made up for nodes that have none. ``origins`` maps a name
    that was handed in from outside (a formal parameter) to where it came from, for messages
    that say which model input a value depends on. A ``tolerant`` scope is not executed:
    only the stored tensors that its nodes use are wanted.
    """

    __slots__ = (
        "attrs",
        "bound",
        "declared",
        "depth",
        "frame",
        "initializers",
        "opset",
        "origins",
        "parent",
        "place",
        "position",
        "prefix",
        "producers",
        "tolerant",
    )

    def __init__(
        self,
        parent: Scope | None,
        *,
        opset: Mapping[str, int],
        initializers: Mapping[str, TensorProto] | None = None,
        declared: Mapping[str, ValueType] | None = None,
        prefix: str = "",
        place: str = "",
        attrs: Mapping[str, Attribute] | None = None,
        frame: Frame | None = None,
        position: tuple[int, ...] = (),
        depth: int = 0,
        tolerant: bool = False,
    ) -> None:
        self.parent = parent
        self.opset = opset
        self.initializers = initializers or {}
        self.declared = declared or {}
        self.prefix = prefix
        self.place = place
        self.attrs = attrs
        self.frame = frame
        self.position = position
        self.depth = depth
        self.tolerant = tolerant
        self.bound: dict[str, Bound | None] = {}
        self.producers: Mapping[str, NodeProto] = {}
        self.origins: dict[str, tuple[Scope, str]] = {}

    def inner(
        self, graph: GraphProto, place: str, frame: Frame | None = None, *, tolerant: bool = False
    ) -> Scope:
        """The scope of a branch or a loop body, which sees the names around it."""
        return Scope(
            self,
            opset=self.opset,
            initializers=graph.initializers,
            declared=graph.value_info,
            prefix=self.prefix,
            place=f"{place}/",
            attrs=self.attrs,
            frame=frame,
            depth=deeper(self.depth, place),
            tolerant=self.tolerant or tolerant,
        )

    def chain(self) -> Iterator[Scope]:
        """This scope and those around it, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def event(self, index: int) -> Event | None:
        """What a traced run recorded for the node at ``index``."""
        return None if self.frame is None else self.frame.events.get((*self.position, index))


def deeper(depth: int, place: str) -> int:
    """One level of nesting more.

    Raises:
        ModelError: the model nests deeper than is followed.
    """
    if depth >= MAX_DEPTH:
        raise ModelError(f"{place!r} lies more than {MAX_DEPTH} levels deep")
    return depth + 1
