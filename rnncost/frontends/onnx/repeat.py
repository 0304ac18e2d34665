"""What Loop and Scan share: a body lowered once for all the trips that run alike.

A body whose shapes do not change from trip to trip becomes one operator with its trip
count. Where they change (a state that grows, a slice that the trip number cuts), the trips
are followed one by one, and each run of equal trips becomes an operator of its own, the
states of one feeding the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rnncost.errors import ControlFlowError, ShapeError
from rnncost.frontends.onnx.context import Context, Walk
from rnncost.frontends.onnx.infer.base import Known
from rnncost.frontends.onnx.merge import forget, merge
from rnncost.frontends.onnx.order import subgraphs
from rnncost.frontends.onnx.proto import GraphProto, NodeProto
from rnncost.frontends.onnx.scope import Bound, Frame, Scope
from rnncost.graph.dim import Dim, hint
from rnncost.graph.ir import Graph

MAX_UNROLLED = 200_000
"""The most node visits that following a loop trip by trip may take."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A Loop or Scan, in the terms that both share.

    The body's inputs are ``lead`` (Loop: trip number and condition), ``states``, and
    ``slices`` (Scan: one step of each scanned input). Its outputs are a condition for
    each two of ``lead``, the states, and one step of each stacked output. ``sources`` names
    the node's inputs that the states and slices come from, ``invariant`` the states that
    every trip hands on unchanged.
    """

    node: NodeProto
    name: str
    graph: GraphProto
    lead: tuple[Known, ...] = ()
    states: tuple[Known, ...]
    slices: tuple[Known, ...] = ()
    sources: tuple[str, ...]
    invariant: tuple[bool, ...]

    def state_exits(self, exits: Sequence[Bound]) -> list[Known]:
        """What is known of the states among the body's outputs."""
        first = len(self.lead) // 2
        return [bound.known for bound in exits[first : first + len(self.states)]]

    def changing(self, body: Graph) -> set[str]:
        """The inputs of a lowered body that differ from trip to trip."""
        lead, width = len(self.lead), len(self.states)
        states = zip(body.inputs[lead : lead + width], self.invariant, strict=True)
        names = {tensor.name for tensor, invariant in states if not invariant}
        return names | {tensor.name for tensor in body.inputs[: lead // 2]}


class Group(msgspec.Struct, frozen=True):
    """A run of equal trips through a body.

    ``exits`` are the body's outputs, with what is known of them after the last trip;
    ``scope`` has the names inside.
    """

    body: Graph
    count: Dim
    exits: tuple[Bound, ...]
    scope: Scope

    def times(self, count: Dim) -> Group:
        return msgspec.structs.replace(self, count=count)


def passes_through(graph: GraphProto, entry: str, leave: str) -> bool:
    """Whether a body hands a state on as it came, through nothing but Identity."""
    made = {output: node for node in graph.nodes for output in node.outputs}
    while leave != entry:
        node = made.pop(leave, None)
        if node is None or node.op_type != "Identity" or len(node.inputs) != 1:
            return False
        leave = node.inputs[0]
    return True


def run_trip(
    ctx: Context,
    walk: Walk,
    plan: Plan,
    scope: Scope,
    knowns: Sequence[Known],
    frame: Frame | None = None,
    *,
    tolerant: bool = False,
) -> Group:
    """Lower the body once, with the given knowledge of its inputs."""
    inner = scope.inner(plan.graph, plan.name, frame, tolerant=tolerant)
    entries = []
    for info, known in zip(plan.graph.inputs, knowns, strict=True):
        bound = inner.bound[info.name] = ctx.bind(scope.prefix + info.name, known)
        entries.append(bound.tensor)
    for info, source in zip(plan.graph.inputs[len(plan.lead) :], plan.sources, strict=True):
        inner.origins[info.name] = (scope, source)
    ops = walk(ctx, plan.graph.nodes, inner)
    names = [info.name for info in plan.graph.outputs]
    exits = ctx.outputs(inner, names, f"the body of {plan.name!r}")
    leaving = tuple([bound.tensor for bound in exits])
    body = Graph(inputs=tuple(entries), outputs=leaving, ops=tuple(ops))
    return Group(body, 1, tuple(exits), inner)


def group_trips(ctx: Context, walk: Walk, plan: Plan, scope: Scope, trips: Dim) -> list[Group]:
    """The trips of a loop in runs of equal ones: one run when every trip is alike.

    Raises:
        ShapeError: a shape contradicts an operator in some trip.
        ControlFlowError: a branch or trip count inside cannot be settled.
    """
    states = list(map(_any_trip, plan.states, plan.invariant))
    knowns = (*plan.lead, *states, *plan.slices)
    if isinstance(trips, int) and trips == 0:
        return [_never(ctx, walk, plan, scope, knowns)]
    few = isinstance(trips, int) and trips * _size(plan.graph) <= MAX_UNROLLED
    mark = ctx.mark()
    try:
        unit = run_trip(ctx, walk, plan, scope, knowns)
    except (ShapeError, ControlFlowError):
        if not few:
            raise
        ctx.rollback(mark)
        return _followed(ctx, walk, plan, scope, hint(trips))
    steady = trips == 1 or all(map(_alike, states, plan.state_exits(unit.exits)))
    if steady:
        unclear = _unclear(ctx, mark, unit.body)
        if not (few and unclear and _clearer(ctx, walk, plan, scope, unclear)):
            return [unit.times(trips)]
    ctx.rollback(mark)
    if few:
        return _followed(ctx, walk, plan, scope, hint(trips))
    # Too many trips to follow: what changes on the way is unknown, and stays uncounted.
    while not steady:
        exits = plan.state_exits(unit.exits)
        ctx.rollback(mark)
        states = [a if _alike(a, b) else _shapeless(a) for a, b in zip(states, exits, strict=True)]
        unit = run_trip(ctx, walk, plan, scope, (*plan.lead, *states, *plan.slices))
        steady = all(map(_alike, states, plan.state_exits(unit.exits)))
    return [unit.times(trips)]


def _never(ctx: Context, walk: Walk, plan: Plan, scope: Scope, knowns: Sequence[Known]) -> Group:
    """A body that does not run, for the weights in it."""
    mark = ctx.mark()
    try:
        return run_trip(ctx, walk, plan, scope, knowns).times(0)
    except (ShapeError, ControlFlowError):
        ctx.rollback(mark)
        return run_trip(ctx, walk, plan, scope, knowns, tolerant=True).times(0)


def group_frames(
    ctx: Context, walk: Walk, plan: Plan, scope: Scope, frames: Sequence[Frame]
) -> list[Group]:
    """The trips of a traced loop, in runs of trips that executed the same shapes."""
    groups: list[Group] = []
    states = list(plan.states)
    last: Frame | None = None
    for frame in frames:
        if groups and (frame is last or frame == last):
            groups[-1] = groups[-1].times(groups[-1].count + 1)
            continue
        entries = map(_any_trip, states, plan.invariant)
        unit = run_trip(ctx, walk, plan, scope, (*plan.lead, *entries, *plan.slices), frame)
        groups.append(unit)
        states = plan.state_exits(unit.exits)
        last = frame
    return groups


def _followed(ctx: Context, walk: Walk, plan: Plan, scope: Scope, trips: int) -> list[Group]:
    """Every trip with the values that its states have then."""
    groups: list[Group] = []
    states: Sequence[Known] = plan.states
    for number in range(trips):
        mark = ctx.mark()
        unit = run_trip(ctx, walk, plan, scope, _numbered(plan, number, states))
        states = plan.state_exits(unit.exits)
        merged = merge(groups[-1].body, unit.body) if groups else None
        if merged is None:
            groups.append(unit)
            continue
        # The names of the first trip stand for the later ones.
        kept = groups[-1]
        exits = tuple(
            [Bound(new.known, old.tensor) for old, new in zip(kept.exits, unit.exits, strict=True)]
        )
        groups[-1] = Group(merged, kept.count + 1, exits, kept.scope)
        ctx.rollback(mark)
    return [msgspec.structs.replace(g, body=forget(g.body, plan.changing(g.body))) for g in groups]


def _numbered(plan: Plan, number: int, states: Sequence[Known]) -> tuple[Known, ...]:
    """The body's inputs in the trip of a given number."""
    lead = plan.lead
    if lead:
        lead = (msgspec.structs.replace(lead[0], value=(number,)), *lead[1:])
    return (*lead, *states, *plan.slices)


def _clearer(ctx: Context, walk: Walk, plan: Plan, scope: Scope, unclear: int) -> bool:
    """Whether less stays open in the first trip, its values known, than in any trip."""
    mark = ctx.mark()
    unit = run_trip(ctx, walk, plan, scope, _numbered(plan, 0, plan.states))
    left = _unclear(ctx, mark, unit.body)
    ctx.rollback(mark)
    return left < unclear


def _unclear(ctx: Context, mark: tuple[int, ...], body: Graph) -> int:
    """How much of a trip lowered since a mark is open: shapes, branches, operators."""
    notes = ctx.mark()
    return _blanks(body) + sum(notes[2:]) - sum(mark[2:])


def _blanks(body: Graph) -> int:
    """How many results of a body have no known shape."""
    return sum(
        (_blanks(op.body) if op.body is not None else 0)
        + sum(t is not None and t.shape is None for t in op.outputs)
        for op in body.ops
        if op.executions != 0
    )


def _any_trip(state: Known, invariant: bool) -> Known:
    """What holds for a state in whichever trip: all of it, or its type and shape."""
    if invariant:
        return state
    return Known(
        dtype=state.dtype,
        shape=state.shape,
        is_sequence=state.is_sequence,
        absent=state.absent,
    )


def _shapeless(state: Known) -> Known:
    return Known(dtype=state.dtype, shape=None, is_sequence=state.is_sequence)


def _alike(entry: Known, leave: Known) -> bool:
    """Whether the next trip meets a state as this one did."""
    if entry.is_sequence and leave.is_sequence:
        return True
    return entry.shape is None or (entry.shape, entry.absent) == (leave.shape, leave.absent)


def _size(graph: GraphProto) -> int:
    """The number of nodes of a graph and of the graphs inside it."""
    return sum(1 + sum(_size(inner) for _, inner in subgraphs(node)) for node in graph.nodes)
