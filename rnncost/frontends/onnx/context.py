"""The state of one pass over a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from rnncost.errors import ModelError
from rnncost.frontends.onnx.bind import Binding
from rnncost.frontends.onnx.infer.base import Known
from rnncost.frontends.onnx.names import Given, Names
from rnncost.frontends.onnx.order import Captures, describe
from rnncost.frontends.onnx.proto import ModelProto, NodeProto
from rnncost.frontends.onnx.scope import Bound, Scope
from rnncost.frontends.onnx.stored import StoredTensors
from rnncost.graph.dim import Dim
from rnncost.graph.ir import Graph, Op, Tensor, Uncounted

MAX_VISITS = 100_000
"""The most nodes that one pass visits, each call and each unrolled trip counted again."""


class Undone(msgspec.Struct, frozen=True):
    """What a pass left in a context before it was rolled back."""

    tensors: list[Given]
    ops: list[Given]
    warnings: list[str]
    uncounted: list[Uncounted]
    declared: list[str]


class Context:
    """The state of one pass over a model: names taken, warnings, decisions.

    ``dims`` are the values of the free dimensions in this pass. A symbolic pass keeps them
    as expressions, and takes the branches that the pass ``before`` it decided, by the name
    of the If. ``settled`` has those that their condition decided; where free dimensions
    decide the condition, ``provisos`` says that the formulas hold for this branch alone.
    """

    def __init__(
        self,
        model: ModelProto,
        binding: Binding,
        dims: Mapping[str, Dim],
        cost_of: Callable[[Graph], Dim],
        *,
        before: Context | None = None,
    ) -> None:
        self.model = model
        self.binding = binding
        self.dims = dims
        self.cost_of = cost_of
        self.symbolic = before is not None
        self.forced: Mapping[str, bool] = {} if before is None else before.decided
        self.stored: StoredTensors = StoredTensors() if before is None else before.stored
        self.captures: Captures = {} if before is None else before.captures
        self.decided: dict[str, bool] = {}
        self.settled: set[str] = set()
        self.settled_before = frozenset() if before is None else frozenset(before.settled)
        self.provisos: list[str] = []
        self.tensors = Names()
        self.ops = Names()
        self.warnings: list[str] = []
        self.uncounted: list[Uncounted] = []
        self.visits = 0
        self.declared: list[str] = []

    def visit(self, count: int) -> None:
        """Count visited nodes against the bound.

        Raises:
            ModelError: the model unfolds to more nodes than are followed.
        """
        self.visits += count
        if self.visits > MAX_VISITS:
            raise ModelError(
                f"the model unfolds to more than {MAX_VISITS:,} operators, which is more than "
                "can be followed: give smaller dimensions, or split the model"
            )

    def mark(self) -> tuple[int, ...]:
        """A point to come back to after a pass whose results are thrown away."""
        notes = (len(self.warnings), len(self.uncounted), len(self.declared))
        return (self.tensors.mark(), self.ops.mark(), *notes)

    def rollback(self, mark: tuple[int, ...]) -> Undone:
        """Go back to the mark; what ``restore`` takes the pass into account again with."""
        tensors, ops, warnings, uncounted, declared = mark
        undone = Undone(
            tensors=self.tensors.rollback(tensors),
            ops=self.ops.rollback(ops),
            warnings=self.warnings[warnings:],
            uncounted=self.uncounted[uncounted:],
            declared=self.declared[declared:],
        )
        del self.warnings[warnings:]
        del self.uncounted[uncounted:]
        del self.declared[declared:]
        return undone

    def restore(self, undone: Undone) -> None:
        """Redo, at the mark it came back to, a pass whose results are wanted after all."""
        self.tensors.restore(undone.tensors)
        self.ops.restore(undone.ops)
        self.warnings += undone.warnings
        self.uncounted += undone.uncounted
        self.declared += undone.declared

    def bind(self, name: str, known: Known) -> Bound:
        """Give a value its tensor, under a name of its own."""
        return Bound(known, tensor_of(self.tensors.unique(name), known))

    def find(self, scope: Scope, name: str) -> Bound | None:
        """The value of a name; None is a function parameter that the caller left out.

        Raises:
            KeyError: nothing provides the name.
        """
        for place in scope.chain():
            if name in place.bound:
                return place.bound[name]
            proto = place.initializers.get(name)
            if proto is not None:
                # The name outlives a pass that is thrown away, for the scope may do so.
                whole = place.prefix + name
                known = self.stored.tensor(proto, whole)
                bound = Bound(known, tensor_of(self.tensors.permanent(whole), known))
                place.bound[name] = bound
                return bound
        raise KeyError(name)

    def read(self, node: NodeProto, scope: Scope) -> list[Bound | None]:
        """The node's inputs by position; None for an omitted one.

        Raises:
            ModelError: nothing provides an input.
        """
        try:
            return [self.find(scope, name) if name else None for name in node.inputs]
        except KeyError as missing:
            raise ModelError(
                f"{describe(node)} reads {missing.args[0]!r}, which no node, input or "
                "initializer of the graph provides"
            ) from None

    def outputs(self, scope: Scope, names: Sequence[str], place: str) -> list[Bound]:
        """The values that a graph or function hands back under the given names.

        Raises:
            ModelError: nothing provides one of them.
        """
        found = []
        for name in names:
            try:
                bound = self.find(scope, name)
            except KeyError:
                bound = None
            if bound is None:
                raise ModelError(
                    f"{place} returns {name!r}, which no node, input or initializer provides"
                )
            found.append(bound)
        return found

    def op_name(self, node: NodeProto, index: int, scope: Scope) -> str:
        """A unique name for the operator of a node."""
        if node.name:
            return self.ops.unique(scope.prefix + node.name)
        return self.ops.unique(f"{scope.place}{node.op_type}_{index}")


def tensor_of(name: str, known: Known) -> Tensor:
    """The tensor of a value.

    A sequence stands as an empty tensor: it holds handles, and its elements are counted
    where they are made.
    """
    shape = (0,) if known.is_sequence or known.absent else known.shape
    return Tensor(name, known.dtype, shape, known.stored, known.value)


Walk = Callable[[Context, Sequence[NodeProto], Scope], list[Op]]
"""``walk(context, nodes, scope)``: lower nodes in a scope, and bind their outputs there."""
