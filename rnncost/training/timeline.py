"""The memory of one training step: forward, backward, optimiser; and where it is highest.

Operators run one after another. Forward, an activation stays while something still reads
it, and until its backward pass where autograd keeps it. Backward, in the opposite order,
gradients of activations live from the operator that makes them to the one that takes them,
gradients of parameters until the step ends. Gradients are taken to be freed before the
forward pass (``zero_grad``), inputs and outputs to stay to the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rnncost.counting.memory import tensor_bytes
from rnncost.counting.scope import RUN, UNCOUNTED, Node
from rnncost.counting.slabs import Region, numel
from rnncost.graph.dim import hint
from rnncost.graph.ir import Graph, Tensor
from rnncost.training.gradients import Gradients
from rnncost.training.kept import Kept
from rnncost.training.storage import Storages, is_layer, is_view
from rnncost.units import DTYPE_BITS

_PASSES_ON = frozenset(("Add", "Concat", "Neg", "Sub", "Sum"))
"""Operators whose backward pass hands the gradient on as it is, or views of it."""


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The highest point of a step, in bytes beside parameters, optimiser and inputs.

    ``kept_bytes`` are activations that the backward pass still needs, ``gradient_bytes``
    gradients of parameters, ``other_bytes`` everything else that is alive then.
    """

    total_bytes: int = 0
    kept_bytes: int = 0
    gradient_bytes: int = 0
    where: str = ""

    @property
    def other_bytes(self) -> int:
        return self.total_bytes - self.kept_bytes - self.gradient_bytes


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """A training step: what is kept when the forward pass ends, all gradients, the peak."""

    kept_bytes: int
    gradient_bytes: int
    output_bytes: int
    forward: Peak
    backward: Peak


class _Clock:
    """The bytes alive at each moment, and the highest of them.

    ``live`` are tensors of the graph, ``held`` those of them that autograd keeps, ``kept`` what
    it keeps beside them, ``gradients`` those of parameters.
    """

    def __init__(self) -> None:
        self.alive: dict[str, int] = {}
        self.holders: dict[str, int] = {}
        self.live = 0
        self.held = 0
        self.kept = 0
        self.gradients = 0
        self.peak = Peak()

    def make(self, key: str, nbytes: int) -> None:
        """Have so many bytes of a tensor alive: of all trips, where a loop's are kept."""
        more = max(0, nbytes - self.alive.get(key, 0))
        self.alive[key] = self.alive.get(key, 0) + more
        self.live += more
        if key in self.holders:
            self.held += more

    def drop(self, key: str) -> None:
        self.live -= self.alive.pop(key, 0)

    def hold(self, key: str) -> None:
        if key not in self.holders:
            self.held += self.alive[key]
        self.holders[key] = self.holders.get(key, 0) + 1

    def release(self, key: str, *, stays: bool) -> None:
        if key not in self.holders:
            return
        self.holders[key] -= 1
        if self.holders[key] == 0:
            del self.holders[key]
            self.held -= self.alive[key]
            if not stays:
                self.drop(key)

    def mark(self, more: int, where: str) -> None:
        total = self.live + self.kept + self.gradients + more
        if total > self.peak.total_bytes:
            self.peak = Peak(
                total_bytes=total,
                kept_bytes=self.kept + self.held,
                gradient_bytes=self.gradients,
                where=where,
            )


def run_step(
    nodes: Sequence[Node],
    graph: Graph,
    kept: Mapping[int, Kept],
    idle: Mapping[int, Kept],
    gradients: Gradients,
    storages: Storages,
    *,
    standing_bytes: int = 0,
) -> Course:
    """Go through one training step; ``kept`` has the operators that run backwards, by index.

    ``idle`` has what the others need while they run forwards.
    ``standing_bytes`` are gradients of all parameters that are there from the start, to which
    those of this step are added one by one.
    """
    given = {storages.key(t) for t in graph.inputs}
    ends = {storages.key(t) for t in graph.outputs} - given
    clock = _Clock()
    _forward(clock, nodes, kept, idle, storages, given, ends)
    forward, kept_bytes = clock.peak, clock.kept + clock.held
    clock.peak = Peak()
    clock.gradients = standing_bytes
    _backward(clock, nodes, graph.outputs, kept, gradients, storages, ends)
    return Course(
        kept_bytes=kept_bytes,
        gradient_bytes=clock.gradients,
        output_bytes=sum(clock.alive.values()),
        forward=forward,
        backward=clock.peak,
    )


def _forward(
    clock: _Clock,
    nodes: Sequence[Node],
    kept: Mapping[int, Kept],
    idle: Mapping[int, Kept],
    storages: Storages,
    given: set[str],
    ends: set[str],
) -> None:
    last: dict[str, int] = {}
    ran = [n for n in nodes if n.status in (RUN, UNCOUNTED)]
    for at, node in enumerate(ran):
        for name in node.reads:
            last[storages.base.get(name, name)] = at
    leaving: dict[int, list[str]] = {}
    for key, at in last.items():
        leaving.setdefault(at, []).append(key)
    for at, node in enumerate(ran):
        times = hint(node.executions)
        if not is_view(node):
            for tensor in node.op.outputs:
                if tensor is not None and not tensor.stored and storages.key(tensor) not in given:
                    clock.make(storages.key(tensor), storages.bytes_of(tensor))
        mine = kept.get(node.index)
        if mine is not None:
            clock.kept += mine.extra_bytes * times
            for tensor in mine.tensors:
                key = storages.key(tensor)
                if key not in given:
                    clock.make(key, storages.held_bytes(tensor))
                    clock.hold(key)
        running = mine or idle.get(node.index)
        clock.mark(running.forward_bytes if running else 0, f"forward pass of {node.op.name}")
        unread = [storages.key(t) for t in node.op.outputs if t and storages.key(t) not in last]
        for key in (*leaving.get(at, ()), *unread):
            if key not in clock.holders and key not in ends:
                clock.drop(key)


def _backward(
    clock: _Clock,
    nodes: Sequence[Node],
    outputs: Sequence[Tensor],
    kept: Mapping[int, Kept],
    gradients: Gradients,
    storages: Storages,
    ends: set[str],
) -> None:
    grads: dict[str, int] = {}
    for tensor in outputs:
        if tensor.name in gradients.reached:
            grads[tensor.name] = storages.bytes_of(tensor)
    done: dict[str, Region] = {}
    standing = clock.gradients > 0
    for node in reversed(nodes):
        mine = kept.get(node.index)
        if mine is None:
            continue
        where = f"backward pass of {node.op.name}"
        arriving = {t.name for t in node.op.outputs if t is not None} & grads.keys()
        made, again = _made(node, gradients, storages, grads)
        weights, more = _parameter_bytes(node, gradients, done)
        if standing:
            weights, more = 0, weights + more
        clock.gradients += weights
        needed = sum(made.values()) + again + more
        if is_layer(node):
            # A layer's own figure has the gradients that it makes, and when.
            needed = max(0, mine.backward_bytes - (mine.sum_bytes if standing else weights))
        clock.mark(sum(grads.values()) + needed, where)
        for name in arriving:
            grads.pop(name)
        grads.update(made)
        clock.kept -= mine.extra_bytes * hint(node.executions)
        for tensor in mine.tensors:
            key = storages.key(tensor)
            clock.release(key, stays=key in ends)


def _made(
    node: Node, gradients: Gradients, storages: Storages, grads: Mapping[str, int]
) -> tuple[dict[str, int], int]:
    """The gradients of inputs that an operator makes, and the bytes of those made again."""
    made: dict[str, int] = {}
    again = 0
    passes = is_view(node) or node.op.op_type in _PASSES_ON
    for slot, tensor in enumerate(node.op.inputs):
        if tensor is None or not gradients.of_input(node, slot):
            continue
        if tensor.name in grads or tensor.name in made:
            again += storages.bytes_of(tensor)
        else:
            made[tensor.name] = storages.bytes_of(tensor)
    if passes:
        # The gradient that arrives is the one that leaves.
        again -= min(sum(made.values()), sum(grads.get(t.name, 0) for t in node.op.outputs if t))
    return made, again


def _parameter_bytes(node: Node, gradients: Gradients, done: dict[str, Region]) -> tuple[int, int]:
    """The bytes of gradients of parameters that are made, and made again to be added.

    The latter are two, the further gradient and the sum, of one parameter after the other.
    """
    new = again = 0
    for slot, tensor in enumerate(node.op.inputs):
        if tensor is None or gradients.share_trained(node, slot) == 0:
            continue
        for slab in tensor.stored:
            if gradients.trained is not None and slab.root not in gradients.trained:
                continue
            claimed = done.setdefault(slab.root, Region()).claim(slab.ranges)
            repeated = numel(slab.ranges) - claimed
            new += claimed * DTYPE_BITS.get(slab.dtype, 0) // 8
            again = max(again, 2 * repeated * DTYPE_BITS.get(slab.dtype, 0) // 8)
    return new, again


def input_bytes(inputs: Sequence[Tensor]) -> int:
    """The bytes of the model's inputs, of all steps."""
    return sum(hint(tensor_bytes(t)) for t in inputs)
