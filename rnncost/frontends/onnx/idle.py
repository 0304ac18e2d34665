"""Loops inside a branch that is not taken: only the weights that they use matter."""

from __future__ import annotations

from rnncost.frontends.onnx.context import Context, Walk
from rnncost.frontends.onnx.infer.base import Known
from rnncost.frontends.onnx.order import describe
from rnncost.frontends.onnx.proto import GraphProto, NodeProto
from rnncost.frontends.onnx.scope import Scope
from rnncost.graph.ir import Op


def lower_idle(
    ctx: Context,
    walk: Walk,
    node: NodeProto,
    graph: GraphProto,
    scope: Scope,
    ops: list[Op],
    lead: int,
) -> None:
    """Append a body's operators once, with nothing known but the stored tensors it is given.

    ``lead`` is the position of the first input of node and body that hands a value in.
    """
    inner = scope.inner(graph, node.name or describe(node), tolerant=True)
    nothing = Known(dtype="", shape=None)
    given = ctx.read(node, scope)
    for position, info in enumerate(graph.inputs):
        bound = given[position] if lead <= position < len(given) else None
        known = bound.known if bound is not None and bound.known.stored else nothing
        inner.bound[info.name] = ctx.bind(scope.prefix + info.name, known)
    ops.extend(walk(ctx, graph.nodes, inner))
    for output in node.outputs:
        if output:
            scope.bound[output] = ctx.bind(scope.prefix + output, nothing)
