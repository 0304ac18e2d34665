"""Calls of the model's own functions: each becomes the operators of its body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rnncost.errors import ModelError
from rnncost.frontends.onnx.context import MAX_VISITS, Context, Walk
from rnncost.frontends.onnx.order import describe, subgraphs
from rnncost.frontends.onnx.proto import (
    Attribute,
    AttributeReference,
    FunctionProto,
    ModelProto,
    NodeProto,
)
from rnncost.frontends.onnx.scope import Scope, deeper
from rnncost.graph.ir import Op


def function_of(model: ModelProto, node: NodeProto) -> FunctionProto | None:
    """The function of the model that a node calls, if it calls one."""
    if not model.functions:
        return None
    domain = "" if node.domain == "ai.onnx" else node.domain
    return model.functions.get((domain, node.op_type, node.overload))


def check_functions(model: ModelProto) -> None:
    """Refuse functions that call each other in a ring, or unfold to too many nodes.

    Raises:
        ModelError: there is such a function.
    """
    sizes: dict[int, int] = {}

    def unfolded(nodes: Sequence[NodeProto], calls: tuple[FunctionProto, ...]) -> int:
        total = 0
        for node in nodes:
            total += 1 + sum(unfolded(graph.nodes, calls) for _, graph in subgraphs(node))
            function = function_of(model, node)
            if function is None:
                continue
            if any(function is caller for caller in calls):
                raise ModelError(f"function {function.name!r} calls itself, which is not allowed")
            deeper(len(calls), f"function {function.name}")
            if id(function) not in sizes:
                sizes[id(function)] = unfolded(function.nodes, (*calls, function))
            total += sizes[id(function)]
            if total > MAX_VISITS:
                raise ModelError(
                    f"the model's functions unfold to more than {MAX_VISITS:,} operators, "
                    "which is more than can be followed"
                )
        return total

    if model.functions:
        unfolded(model.graph.nodes, ())


def lower_call(
    ctx: Context,
    walk: Walk,
    node: NodeProto,
    index: int,
    scope: Scope,
    ops: list[Op],
    function: FunctionProto,
) -> None:
    """Append the operators of a function's body, under names that start with the call's.

    Raises:
        ModelError: the call does not fit the function.
    """
    if len(node.inputs) > len(function.inputs) or len(node.outputs) > len(function.outputs):
        raise ModelError(
            f"{describe(node)} has {len(node.inputs)} inputs and {len(node.outputs)} outputs, "
            f"but its function takes {len(function.inputs)} and gives {len(function.outputs)}"
        )
    name = ctx.op_name(node, index, scope)
    body = Scope(
        None,
        opset=function.opset,
        prefix=f"{name}/",
        place=f"{name}/",
        attrs={**function.default_attrs, **node.attrs},
        frame=scope.frame,
        position=(*scope.position, index),
        depth=deeper(scope.depth, name),
        tolerant=scope.tolerant,
    )
    actual = ctx.read(node, scope)
    for position, formal in enumerate(function.inputs):
        body.bound[formal] = actual[position] if position < len(actual) else None
        if position < len(actual) and node.inputs[position]:
            body.origins[formal] = (scope, node.inputs[position])
    ops.extend(walk(ctx, function.nodes, body))
    wanted = {
        output: inner
        for output, inner in zip(node.outputs, function.outputs, strict=False)
        if output
    }
    found = ctx.outputs(body, tuple(wanted.values()), f"function {function.name!r}")
    scope.bound.update(zip(wanted, found, strict=True))


def resolved(node: NodeProto, attrs: Mapping[str, Attribute]) -> NodeProto:
    """The node with references to the caller's attributes replaced by their values.

    A reference to an attribute that the caller left out leaves it out here too.
    """
    if not any(isinstance(value, AttributeReference) for value in node.attrs.values()):
        return node
    found: dict[str, Attribute] = {}
    for name, value in node.attrs.items():
        if isinstance(value, AttributeReference):
            if value.name in attrs:
                found[name] = attrs[value.name]
        else:
            found[name] = value
    return msgspec.structs.replace(node, attrs=found)
