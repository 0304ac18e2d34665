"""If: the branch that is taken stands inline after it, the other keeps only its weights."""

from __future__ import annotations

import msgspec

from rnncost.errors import ModelError, ShapeError
from rnncost.frontends.onnx.blame import how_to_settle
from rnncost.frontends.onnx.context import Context, Undone, Walk
from rnncost.frontends.onnx.order import describe
from rnncost.frontends.onnx.proto import GraphProto, NodeProto
from rnncost.frontends.onnx.scope import Bound, Event, Scope
from rnncost.graph.dim import Expr, hint
from rnncost.graph.ir import Graph, Op, Tensor

_THEN, _ELSE = "then_branch", "else_branch"
_INDEX_DTYPES = frozenset(("int64", "bool"))  # no operator takes weights of these types


class _Lowered(msgspec.Struct, frozen=True):
    ops: tuple[Op, ...]
    outputs: tuple[Bound, ...]


def lower_if(
    ctx: Context, walk: Walk, node: NodeProto, index: int, scope: Scope, ops: list[Op]
) -> None:
    """Append the If, and the operators of the branch that is taken.

    Those of the other branch that use stored tensors follow with ``executions=0``, because
    what they use is stored all the same. When neither the condition nor a trace decides,
    the branch that costs more is taken, and a warning says so.

    Raises:
        ModelError: the node has no branches, or the taken one cannot be followed.
    """
    branches = {name: node.attrs.get(name) for name in (_THEN, _ELSE)}
    graphs = {name: graph for name, graph in branches.items() if isinstance(graph, GraphProto)}
    if len(graphs) < 2 or len(node.inputs) != 1:
        raise ModelError(f"{describe(node)} must have one input and two branches")
    name = ctx.op_name(node, index, scope)
    condition = ctx.read(node, scope)[0]
    decider = None if condition is None else condition.tensor
    event = scope.event(index)
    taken = None if scope.tolerant else _decision(ctx, node, name, graphs, event, condition)
    if taken is not None:
        lowered = _branch(ctx, walk, graphs[taken], name, taken, scope, event)
    elif scope.tolerant:
        lowered, taken = _branch(ctx, walk, graphs[_THEN], name, _THEN, scope, None), _THEN
    else:
        taken, lowered = _costlier(ctx, walk, node, graphs, name, scope)
    ctx.decided[name] = taken == _THEN
    if len(lowered.outputs) < len(node.outputs):
        raise ModelError(f"{describe(node)} has more outputs than its {taken} gives")
    for output, bound in zip(node.outputs, lowered.outputs, strict=False):
        if output:
            scope.bound[output] = bound
    # What the If results in is what the operators of its branch make.
    ops.append(Op(name=name, op_type="If", inputs=(decider,), outputs=(None,) * len(node.outputs)))
    ops.extend(lowered.ops)
    other = _ELSE if taken == _THEN else _THEN
    ops.extend(_stored_uses(ctx, walk, graphs[other], name, other, scope))


def _decision(
    ctx: Context,
    node: NodeProto,
    name: str,
    graphs: dict[str, GraphProto],
    event: Event | None,
    condition: Bound | None,
) -> str | None:
    """The branch taken, as far as an earlier pass, a trace or the condition settles it."""
    value = None if condition is None else condition.known.value
    known = value is not None and len(value) == 1
    if name in ctx.forced:
        taken = _THEN if ctx.forced[name] else _ELSE
        if name in ctx.settled_before and not known:
            ctx.provisos.append(
                f"the formulas hold for the dimensions where {describe(node)} takes its {taken}, "
                "as it does here"
            )
        return taken
    if event is not None:
        ran = [branch for branch in (_THEN, _ELSE) if event.frames.get(branch)]
        if ran:
            return ran[0]
        # A branch without kernels leaves no event, so it is the one that ran.
        silent = [b for b, g in graphs.items() if all(n.op_type == "Constant" for n in g.nodes)]
        if len(silent) == 1:
            return silent[0]
    if value is None or not known:
        return None
    ctx.settled.add(name)
    decider = value[0]
    truth = hint(decider) != 0 if isinstance(decider, Expr) else bool(decider)
    return _THEN if truth else _ELSE


def _branch(
    ctx: Context,
    walk: Walk,
    graph: GraphProto,
    name: str,
    branch: str,
    scope: Scope,
    event: Event | None,
) -> _Lowered:
    frames = event.frames.get(branch, ()) if event is not None else ()
    inner = scope.inner(graph, f"{name}/{branch}", frames[0] if frames else None)
    ops = walk(ctx, graph.nodes, inner)
    outputs = ctx.outputs(inner, [info.name for info in graph.outputs], f"{branch} of {name!r}")
    return _Lowered(tuple(ops), tuple(outputs))


def _costlier(
    ctx: Context,
    walk: Walk,
    node: NodeProto,
    graphs: dict[str, GraphProto],
    name: str,
    scope: Scope,
) -> tuple[str, _Lowered]:
    """The branch with the greater cost; a branch that contradicts its inputs is not taken.

    Each is lowered once, whichever is taken: branches nest, and twice at each level would
    be exponential in their depth.
    """
    costs: dict[str, int] = {}
    passes: dict[str, tuple[_Lowered, Undone]] = {}
    failure: ShapeError | None = None
    for branch, graph in graphs.items():
        mark = ctx.mark()
        try:
            lowered = _branch(ctx, walk, graph, name, branch, scope, None)
            costs[branch] = hint(ctx.cost_of(Graph(inputs=(), outputs=(), ops=lowered.ops)))
        except ShapeError as error:
            failure = failure or error
            ctx.rollback(mark)
        else:
            passes[branch] = lowered, ctx.rollback(mark)
    if failure is not None and not costs:
        raise failure
    taken = max(costs, key=lambda branch: costs[branch])
    why = "the costlier one" if failure is None else "for the shapes contradict the other"
    ctx.warnings.append(
        f"{describe(node)} is assumed to take its {taken}, {why}: "
        f"{how_to_settle(ctx, scope, node.inputs[0])}"
    )
    lowered, undone = passes[taken]
    ctx.restore(undone)
    return taken, lowered


def _stored_uses(
    ctx: Context, walk: Walk, graph: GraphProto, name: str, branch: str, scope: Scope
) -> list[Op]:
    """The operators of a branch not taken that use weights, marked as not executed."""
    place = f"{name}/{branch}"
    inner = scope.inner(graph, place, tolerant=True)
    ops = [
        msgspec.structs.replace(op, executions=0)
        for op in walk(ctx, graph.nodes, inner)
        if any(_holds_weights(t) for t in op.inputs) and not any(map(_holds_weights, op.outputs))
    ]
    results = ctx.outputs(inner, [info.name for info in graph.outputs], place)
    passed = tuple([bound.tensor for bound in results if _holds_weights(bound.tensor)])
    if passed:
        # Weights that the branch hands on untouched have no operator of their own to show.
        name = ctx.ops.unique(place)
        ops.append(Op(name=name, op_type="If", inputs=passed, outputs=(), executions=0))
    return ops


def _holds_weights(tensor: Tensor | None) -> bool:
    return tensor is not None and any(s.dtype not in _INDEX_DTYPES for s in tensor.stored)
