"""Loop: its trip count, its states, and its body."""

from __future__ import annotations

from rnncost.errors import ControlFlowError, ModelError
from rnncost.frontends.onnx.blame import how_to_settle
from rnncost.frontends.onnx.context import Context, Walk
from rnncost.frontends.onnx.emit import Shell, emit
from rnncost.frontends.onnx.idle import lower_idle
from rnncost.frontends.onnx.infer.base import Element, Known
from rnncost.frontends.onnx.infer.bounds import larger
from rnncost.frontends.onnx.order import describe
from rnncost.frontends.onnx.proto import GraphProto, NodeProto, ValueInfo
from rnncost.frontends.onnx.repeat import Plan, group_frames, group_trips, passes_through
from rnncost.frontends.onnx.scope import Bound, Event, Scope
from rnncost.frontends.onnx.sequences import grow_sequences
from rnncost.frontends.onnx.trips import follow, inside, solve
from rnncost.graph.dim import Dim, Expr, minimum
from rnncost.graph.ir import Op


def lower_loop(
    ctx: Context, walk: Walk, node: NodeProto, index: int, scope: Scope, ops: list[Op]
) -> None:
    """Append a Loop, as one operator or as one for each run of equal trips.

    Source: ONNX operator Loop-21.

    Raises:
        ControlFlowError: the trip count cannot be settled from what was given.
        ModelError: the body does not fit the node.
    """
    graph = node.attrs.get("body")
    if not isinstance(graph, GraphProto):
        raise ModelError(f"{describe(node)} has no body")
    inputs = [*ctx.read(node, scope), None, None][: max(2, len(node.inputs))]
    states = inputs[2:]
    if len(graph.inputs) != len(inputs) or len(graph.outputs) < 1 + len(states):
        raise ModelError(
            f"{describe(node)} carries {len(states)} values, but its body takes "
            f"{len(graph.inputs) - 2} and returns {len(graph.outputs) - 1}"
        )
    if len(node.outputs) >= len(graph.outputs):
        raise ModelError(f"{describe(node)} has more outputs than its body gives")
    given = [bound for bound in states if bound is not None]
    if len(given) < len(states):
        raise ModelError(f"{describe(node)} leaves out the initial value of a carried one")
    if scope.tolerant:
        return lower_idle(ctx, walk, node, graph, scope, ops, 2)
    name = ctx.op_name(node, index, scope)
    entries = [info.name for info in graph.inputs[2:]]
    leaves = [info.name for info in graph.outputs[1:]]
    plan = Plan(
        node=node,
        name=name,
        graph=graph,
        lead=(
            Known(dtype="int64", shape=_scalar_shape(graph.inputs[0])),
            Known(dtype="bool", shape=_scalar_shape(graph.inputs[1]), value=(True,)),
        ),
        states=tuple([bound.known for bound in given]),
        sources=node.inputs[2:],
        invariant=tuple(
            [passes_through(graph, *pair) for pair in zip(entries, leaves, strict=False)]
        ),
    )
    event = scope.event(index)
    frames = event.frames.get("body", ()) if event is not None else ()
    if frames:
        groups = group_frames(ctx, walk, plan, scope, frames)
    else:
        trips = _trips(ctx, walk, plan, scope, inputs[0], inputs[1], event)
        groups = group_trips(ctx, walk, plan, scope, trips)
    shell = Shell(
        op_type="Loop",
        outputs=node.outputs,
        attrs={},
        head=tuple([None if bound is None else bound.tensor for bound in inputs[:2]]),
        states=tuple([bound.tensor for bound in given]),
        stack_axes=(0,) * (len(leaves) - len(given)),
    )
    emit(ctx, plan, shell, scope, groups, ops)
    grow_sequences(plan, groups, scope)
    return None


def _trips(
    ctx: Context,
    walk: Walk,
    plan: Plan,
    scope: Scope,
    limit: Bound | None,
    condition: Bound | None,
    event: Event | None,
) -> Dim:
    """How often the body runs, where no trace shows its trips."""
    silent = all(node.op_type == "Constant" for node in plan.graph.nodes)
    if event is not None and not silent:
        return 0
    most: Dim | None = None
    if limit is not None:
        element = _only(limit)
        if isinstance(element, bool):
            raise ModelError(f"the trip count of {describe(plan.node)} is a bool, not a number")
        most = larger(element, 0) if isinstance(element, (int, Expr)) else None
        if most == 0:
            return 0
    if condition is not None:
        holds = _only(condition)
        if holds is None:
            raise ControlFlowError(
                f"whether {describe(plan.node)} runs at all depends on the data: "
                f"{how_to_settle(ctx, scope, plan.node.inputs[1])}"
            )
        if not holds:
            return 0
    if limit is not None and most is None:
        raise ControlFlowError(
            f"the trip count of {describe(plan.node)} depends on the data: "
            f"{how_to_settle(ctx, scope, plan.node.inputs[0])}"
        )
    until = solve(ctx, plan, scope)
    if until is None:
        return _followed_trips(ctx, walk, plan, scope, most)
    if until.end is not None:
        count = larger(until.end, 0) + 1
        return count if most is None else minimum(most, count)
    if most is None:
        raise ControlFlowError(f"{describe(plan.node)} never ends: its condition stays true")
    return most


def _followed_trips(ctx: Context, walk: Walk, plan: Plan, scope: Scope, most: Dim | None) -> Dim:
    count = None if ctx.symbolic else follow(ctx, walk, plan, scope, most)
    if count is not None:
        return count
    why = "is no formula in the free dimensions" if ctx.symbolic else "depends on the data"
    inner, names = inside(ctx, plan, scope)
    raise ControlFlowError(
        f"the trip count of {describe(plan.node)} {why}: {how_to_settle(ctx, inner, *names)}"
    )


def _only(bound: Bound) -> Element | None:
    """The one element of a scalar, where it is known."""
    value = bound.known.value
    return value[0] if value is not None and len(value) == 1 else None


def _scalar_shape(info: ValueInfo) -> tuple[int, ...]:
    """The shape of a trip number or condition: a scalar, or one element if declared so."""
    return (1,) if info.type.shape is not None and len(info.type.shape) == 1 else ()
