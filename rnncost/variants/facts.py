"""What is known of the values of a graph before and after a change, and the graph being made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from rnncost.frontends.onnx.infer import Known
from rnncost.variants.known import UNKNOWN, constant_tensor
from rnncost.variants.parts import Layout, changed, is_gone

if TYPE_CHECKING:
    import onnx


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One value before (``old``) and after (``new``) the change.

    ``layout`` says how its axes change, None where they do not. ``gone`` marks a value of
    which nothing is left, ``constant`` one made of stored tensors alone. ``origin`` names
    the recurrent layer that the value, or its change, comes from.
    """

    old: Known
    new: Known
    layout: Layout | None = None
    gone: bool = False
    constant: bool = False
    origin: str = ""

    @property
    def moved(self) -> bool:
        """Whether anything about the value differs from before."""
        return self.gone or changed(self.layout) or self.old.value != self.new.value


def unchanged(known: Known, *, constant: bool = False, origin: str = "") -> Fact:
    return Fact(old=known, new=known, constant=constant, origin=origin)


def moved(old: Known, new: Known, layout: Layout | None, origin: str, constant: bool) -> Fact:
    """A value with its layout, tidied: an unchanged one is None."""
    layout = layout if changed(layout) else None
    return Fact(
        old=old,
        new=new,
        layout=layout,
        gone=is_gone(layout),
        constant=constant,
        origin=origin,
    )


class Made(msgspec.Struct, frozen=True):
    """A node of the new graph, and its branches or bodies by attribute name."""

    node: onnx.NodeProto
    inner: dict[str, Body]


class Body:
    """A graph, branch or loop body while its new form is made.

    ``path`` is "" for the main graph and tells subgraphs apart. ``made`` has the node that
    makes each name, ``nodes`` the new graph, ``outputs`` the names that it returns: as
    long as the old ones, with "" for an output that is dropped.
    """

    def __init__(self, graph: onnx.GraphProto, parent: Body | None, path: str) -> None:
        self.graph = graph
        self.parent = parent
        self.path = path
        self.facts: dict[str, Fact] = {}
        self.made: dict[str, onnx.NodeProto] = {}
        self.stored = {tensor.name: tensor for tensor in graph.initializer}
        self.nodes: list[Made] = []
        self.outputs = [str(info.name) for info in graph.output]

    def chain(self) -> Iterator[Body]:
        """This body and those around it, innermost first."""
        body: Body | None = self
        while body is not None:
            yield body
            body = body.parent

    def owner(self, name: str) -> Body | None:
        """The body that defines a name."""
        return next((body for body in self.chain() if name in body.facts), None)

    def find(self, name: str) -> Fact:
        """What is known of a name; nothing for one that is not defined."""
        body = self.owner(name)
        return unchanged(UNKNOWN) if body is None else body.facts[name]

    def producer(self, name: str) -> onnx.NodeProto | None:
        body = self.owner(name)
        return None if body is None else body.made.get(name)

    def tensor(self, name: str) -> onnx.TensorProto | None:
        """The stored tensor of a name: an initializer, or what a Constant node holds."""
        body = self.owner(name)
        if body is None:
            return None
        if name in body.stored:
            return body.stored[name]
        node = body.made.get(name)
        is_constant = node is not None and node.op_type == "Constant"
        return constant_tensor(node) if is_constant else None
