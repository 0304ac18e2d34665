"""Applying the rules: every operator of a graph and of its loop bodies with its cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from rnncost.counting.cost import OpCost, UncountableError
from rnncost.counting.loops import body_inputs
from rnncost.counting.registry import Registered, find
from rnncost.counting.roles import Seen, Stored, note, stored_inputs
from rnncost.graph.dim import Dim
from rnncost.graph.ir import Graph, Op, Tensor, Uncounted
from rnncost.units import DTYPE_BITS

RUN = "run"
CONSTANT = "constant"  # settled before the run
IDLE = "idle"  # stored with the model, never executed
UNCOUNTED = "uncounted"

_FROM_SHAPE = ("Shape", "Size")
_FOLDABLE = ("elementwise", "reduction", "normalisation", "data", "constant")
_RANDOM = frozenset(
    (
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    )
)
_MAKES_SEQUENCE = frozenset(
    (
        "Optional",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceMap",
        "SplitToSequence",
    )
)
_CONSTANT_COST = OpCost(kind="constant")
_LOOP_COST = OpCost(kind="control")


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """An operator in its place, with the cost of one execution.

    ``index`` numbers all operators, those of bodies after their loop's. ``executions``
    includes the trips of enclosing loops. ``reads`` and ``writes`` name the activations
    read (also those that a body captures) and made. ``reason`` says why the operator is
    not counted, if it is not.
    """

    index: int
    op: Op
    cost: OpCost
    status: str
    executions: Dim
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    stored: tuple[Stored, ...] = ()
    body: Scope | None = None
    reason: str = ""


class Scope(msgspec.Struct, frozen=True):
    """A graph or a loop body with its operators in execution order."""

    graph: Graph
    nodes: tuple[Node, ...]

    def walk(self) -> Iterator[Node]:
        """All nodes in order of ``index``, those of bodies after their loop."""
        for node in self.nodes:
            yield node
            if node.body is not None:
                yield from node.body.walk()


class Applied(msgspec.Struct, frozen=True):
    """A graph with its costs, and what has none."""

    scope: Scope
    nodes: tuple[Node, ...]
    uncounted: tuple[Uncounted, ...]
    coverage: float


def apply_rules(graph: Graph) -> Applied:
    """Find the cost of every operator; those that have none are listed with a reason.

    An operator is settled before the run, and costs nothing, when all its results are
    known or when it works on stored and known tensors alone. Matrix products and
    recurrent operators always run: the first step of an unrolled cell multiplies a
    constant state, and no runtime is bound to fold it.
    """
    pass_ = _Pass()
    runtime = [t for t in graph.inputs if not t.stored]
    scope = pass_.scope(graph, 1, runtime)
    nodes = tuple(scope.walk())
    uncounted = tuple(
        Uncounted(n.op.name, n.op.op_type, n.reason) for n in nodes if n.status == UNCOUNTED
    )
    uncounted = (*pass_.uncounted, *uncounted)
    total = sum(n.status != IDLE for n in nodes) + len(pass_.uncounted)
    coverage = 1.0 if total == 0 else 1.0 - len(uncounted) / total
    return Applied(scope, nodes, uncounted, coverage)


class _Pass:
    """One walk over a graph: the activations seen so far, and the operators numbered."""

    def __init__(self) -> None:
        self.runtime: set[str] = set()
        self.uncounted: list[Uncounted] = []
        self.seen = Seen()
        self.count = 0

    def scope(self, graph: Graph, times: Dim, inputs: Sequence[Tensor]) -> Scope:
        self.uncounted.extend(graph.uncounted)
        self.runtime.update(t.name for t in inputs)
        return Scope(graph, tuple([self.node(op, times) for op in graph.ops]))

    def node(self, op: Op, times: Dim) -> Node:
        index = self.count
        self.count += 1
        executions = op.executions * times
        if executions == 0:
            return self.idle(op, index)
        inputs = [t for t in op.inputs if t is not None and t.name in self.runtime]
        note(self.seen, op)
        registered = find(op.op_type)
        if _settled(op, inputs):
            stored = stored_inputs(op, registered, None, self.seen)
            return _constant(op, index, executions, stored)
        cost, reason = _cost(op, registered)
        stored = stored_inputs(op, registered, cost.kind, self.seen)
        if not reason and not inputs and _foldable(op, cost):
            return _constant(op, index, executions, stored)
        reason = reason or _unsized(op, cost)
        body = None
        reads = [t.name for t in inputs]
        if op.body is not None:
            started = [t for t in body_inputs(op) if not t.stored and t.value is None]
            body = self.scope(op.body, executions * op.trips, started)
            reads.extend(self.captures(op, body))
        writes = tuple([t.name for t in op.outputs if t is not None and not t.stored])
        self.runtime.update(writes)
        return Node(
            index=index,
            op=op,
            cost=cost,
            status=UNCOUNTED if reason else RUN,
            executions=executions,
            reads=tuple(dict.fromkeys(reads)),
            writes=writes,
            stored=stored,
            body=body,
            reason=reason,
        )

    def captures(self, op: Op, body: Scope) -> list[str]:
        """The activations that a body reads from outside, each once."""
        own = {t.name for t in body_inputs(op)}
        own.update(name for node in body.nodes for name in node.writes)
        names = [name for node in body.nodes for name in node.reads]
        names.extend(t.name for t in body.graph.outputs if t.name in self.runtime)
        return [name for name in dict.fromkeys(names) if name not in own]

    def idle(self, op: Op, index: int) -> Node:
        registered = find(op.op_type)
        cost, _ = _cost(op, registered)
        stored = stored_inputs(op, registered, cost.kind, self.seen)
        body = None if op.body is None else self.scope(op.body, 0, ())
        return Node(
            index=index, op=op, cost=cost, status=IDLE, executions=0, stored=stored, body=body
        )


def _constant(op: Op, index: int, executions: Dim, stored: tuple[Stored, ...]) -> Node:
    return Node(
        index=index,
        op=op,
        cost=_CONSTANT_COST,
        status=CONSTANT,
        executions=executions,
        stored=stored,
    )


def _settled(op: Op, inputs: Sequence[Tensor]) -> bool:
    """Whether the results are known whatever the activations hold.

    A result computed from an input whose value the caller gave is known too, but a run
    still computes it.
    """
    known = False
    for tensor in op.outputs:
        if tensor is not None:
            if tensor.value is None and not tensor.stored:
                return False
            known = True
    return known and (op.op_type in _FROM_SHAPE or all(t.value is None for t in inputs))


def _foldable(op: Op, cost: OpCost) -> bool:
    return cost.kind in _FOLDABLE and cost.macs == 0 and op.op_type not in _RANDOM


def _cost(op: Op, registered: Registered | None) -> tuple[OpCost, str]:
    """The cost of one execution; or an empty cost, and why there is none."""
    if op.op_type in ("Loop", "Scan"):
        return _LOOP_COST, "" if op.body is not None else "its body is not known"
    if registered is None:
        return _CONSTANT_COST, "no counting rule for this operator"
    if not op.outputs:
        return _CONSTANT_COST, "it has no outputs"
    try:
        return registered.rule(op), ""
    except UncountableError as error:
        return _CONSTANT_COST, str(error)


def _unsized(op: Op, cost: OpCost) -> str:
    """Why the bytes that an operator writes cannot be known, or ""."""
    if not cost.moves or cost.kind == "control" or op.op_type in _MAKES_SEQUENCE:
        return ""
    for index, tensor in enumerate(op.outputs):
        if tensor is None or tensor.stored:
            continue
        if tensor.shape is None:
            return f"the shape of output {index} ({tensor.name}) is unknown"
        if tensor.dtype not in DTYPE_BITS:
            return f"the element type of output {index} ({tensor.name}) is unknown"
    return ""
