"""Which values of a graph need gradients, and which of those the loss reaches.

A value needs a gradient when a stored tensor that is trained has a part in it, and the
backward pass visits an operator when an output of the model depends on it. Model inputs
need none. Forward may cut gradients off (``detach``, ``torch.no_grad``).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from rnncost.counting.registry import ROLE_WEIGHT
from rnncost.counting.scope import RUN, UNCOUNTED, Node, Scope
from rnncost.counting.slabs import numel
from rnncost.graph.ir import Op, Tensor
from rnncost.units import FLOAT_DTYPES

_CUT_OFF = "torch::detach"


class Gradients(msgspec.Struct, frozen=True):
    """Names of the activations that need gradients, and of those that the loss reaches.

    ``trained`` are the roots of trained tensors; None trains every stored float weight.
    """

    needed: frozenset[str]
    reached: frozenset[str]
    trained: frozenset[str] | None

    def visits(self, node: Node) -> bool:
        """Whether the backward pass runs through an operator."""
        return node.status in (RUN, UNCOUNTED) and any(
            t is not None and t.name in self.reached for t in node.op.outputs
        )

    def of_input(self, node: Node, slot: int) -> bool:
        """Whether the operand at ``slot`` is an activation that gets a gradient."""
        tensor = node.op.tensor(slot)
        return tensor is not None and not tensor.stored and tensor.name in self.needed

    def share_trained(self, node: Node, slot: int) -> Fraction:
        """The share of a stored operand's elements that gets a gradient."""
        tensor = node.op.tensor(slot)
        if tensor is None or not tensor.stored or tensor.dtype not in FLOAT_DTYPES:
            return Fraction(0)
        if self.trained is None:
            return Fraction(int(_is_weight(node, slot)))
        sizes = [(slab.root in self.trained, numel(slab.ranges)) for slab in tensor.stored]
        whole = sum(size for _, size in sizes)
        part = sum(size for trained, size in sizes if trained)
        return Fraction(part, whole) if whole else Fraction(0)

    def asked(self, node: Node, slot: int) -> bool:
        """Whether the operand at ``slot`` gets a gradient, stored or not."""
        return self.of_input(node, slot) or self.share_trained(node, slot) > 0


def find_gradients(root: Scope, trained: frozenset[str] | None) -> Gradients:
    """Follow a graph forwards for what needs gradients, and backwards for what gets them."""
    walk = _Walk(trained)
    walk.forwards(root)
    for tensor in root.graph.outputs:
        if tensor.name in walk.needed:
            walk.reached.add(tensor.name)
    walk.backwards(root)
    return Gradients(frozenset(walk.needed), frozenset(walk.reached), trained)


class _Walk:
    def __init__(self, trained: frozenset[str] | None) -> None:
        self.needed: set[str] = set()
        self.reached: set[str] = set()
        self.gradients = Gradients(frozenset(), frozenset(), trained)

    def forwards(self, scope: Scope) -> None:
        for node in scope.nodes:
            if node.status not in (RUN, UNCOUNTED) or is_cut_off(node.op):
                continue
            slots = range(len(node.op.inputs))
            asks = any(self.gradients.share_trained(node, slot) > 0 for slot in slots)
            asks = asks or any(t is not None and t.name in self.needed for t in node.op.inputs)
            if node.body is not None:
                asks = self._through(node, node.body) or asks
            if asks:
                self.needed.update(t.name for t in _real(node.op.outputs))

    def _through(self, node: Node, body: Scope) -> bool:
        """Follow the trips of a loop until no more values need gradients."""
        inside = body.graph.inputs
        for outer, inner in zip(node.op.inputs, inside, strict=False):
            if outer is not None and outer.name in self.needed:
                self.needed.update(t.name for t in _real([inner]))
        while True:
            known = len(self.needed)
            self.forwards(body)
            by_name = {t.name: t for t in inside}
            for carried in node.op.carried:
                if carried.exit in self.needed and carried.entry in by_name:
                    self.needed.update(t.name for t in _real([by_name[carried.entry]]))
            if len(self.needed) == known:
                return any(t.name in self.needed for t in body.graph.outputs)

    def backwards(self, scope: Scope) -> None:
        for node in reversed(scope.nodes):
            if not any(t is not None and t.name in self.reached for t in node.op.outputs):
                continue
            if node.body is not None:
                body = node.body
                ends = {t.name for t in body.graph.outputs} | {c.exit for c in node.op.carried}
                self.reached.update(ends & self.needed)
                self.backwards(body)
                names = {name for inner in body.walk() for name in inner.reads}
                self.reached.update(names & self.needed)
            self.reached.update(
                t.name for t in node.op.inputs if t is not None and t.name in self.needed
            )


def is_cut_off(op: Op) -> bool:
    """Whether no gradient passes an operator, whatever it does."""
    return op.op_type == _CUT_OFF or op.int_attr("no_grad", 0) != 0


def _real(tensors: Sequence[Tensor | None]) -> list[Tensor]:
    return [t for t in tensors if t is not None and t.dtype in FLOAT_DTYPES]


def _is_weight(node: Node, slot: int) -> bool:
    return any(s.slot == slot and s.role == ROLE_WEIGHT for s in node.stored)
