"""Sequences that a loop fills, and SequenceMap."""

from __future__ import annotations

from collections.abc import Sequence

from rnncost.errors import ModelError
from rnncost.frontends.onnx.context import Context, Walk
from rnncost.frontends.onnx.idle import lower_idle
from rnncost.frontends.onnx.infer.base import Known
from rnncost.frontends.onnx.order import describe
from rnncost.frontends.onnx.proto import GraphProto, NodeProto
from rnncost.frontends.onnx.repeat import Group, Plan
from rnncost.frontends.onnx.scope import Bound, Scope
from rnncost.graph.ir import Op, Tensor, Uncounted

MAX_ITEMS = 100_000
"""The most elements of a sequence that are followed one by one."""


def grow_sequences(plan: Plan, groups: Sequence[Group], scope: Scope) -> None:
    """Fill in the elements of sequences that every trip of a loop appends to."""
    if len(groups) != 1 or not isinstance(groups[0].count, int):
        return
    group, count = groups[0], groups[0].count
    width = len(plan.lead)
    for info, leave, output, state in zip(
        plan.graph.inputs[width:],
        plan.graph.outputs[width // 2 :],
        plan.node.outputs,
        plan.states,
        strict=False,
    ):
        bound = scope.bound.get(output)
        if bound is None or not bound.known.is_sequence or bound.known.items is not None:
            continue
        names = _appended(plan.graph, info.name, leave.name)
        if names is None or state.items is None:
            continue
        added = [found.known for found in map(group.scope.bound.get, names) if found is not None]
        if len(added) < len(names) or len(added) * count > MAX_ITEMS:
            continue
        scope.bound[output] = Bound(
            sequence_of((*state.items, *tuple(added) * count), bound.known.dtype), bound.tensor
        )


def sequence_of(items: tuple[Known, ...], dtype: str) -> Known:
    """A sequence with these elements."""
    shapes = {item.shape for item in items}
    shape = shapes.pop() if len(shapes) == 1 else None
    return Known(dtype=dtype, shape=shape, is_sequence=True, items=items)


def _appended(graph: GraphProto, entry: str, leave: str) -> list[str] | None:
    """What a body appends to a sequence, in order; None if it does anything else to it."""
    made = {output: node for node in graph.nodes for output in node.outputs}
    names: list[str] = []
    while leave != entry:
        node = made.pop(leave, None)
        if node is None or not node.inputs:
            return None
        if node.op_type == "SequenceInsert" and len(node.inputs) == 2:
            names.insert(0, node.inputs[1])
        elif node.op_type != "Identity":
            return None
        leave = node.inputs[0]
    return names


def lower_sequence_map(
    ctx: Context, walk: Walk, node: NodeProto, index: int, scope: Scope, ops: list[Op]
) -> None:
    """Append the body of a SequenceMap once for every element of its first sequence.

    Source: ONNX operator SequenceMap-17.

    Raises:
        ModelError: the body does not fit the node, or the sequences differ in length.
    """
    graph = node.attrs.get("body")
    if not isinstance(graph, GraphProto):
        raise ModelError(f"{describe(node)} has no body")
    if len(graph.inputs) != len(node.inputs) or len(graph.outputs) != len(node.outputs):
        raise ModelError(f"{describe(node)} does not fit its body")
    if scope.tolerant:
        return lower_idle(ctx, walk, node, graph, scope, ops, 0)
    name = ctx.op_name(node, index, scope)
    inputs = [bound for bound in ctx.read(node, scope) if bound is not None]
    if len(inputs) < len(graph.inputs):
        raise ModelError(f"{describe(node)} leaves out an input of its body")
    lengths = {
        None if bound.known.items is None else len(bound.known.items)
        for bound in inputs
        if bound.known.is_sequence
    }
    if len(lengths) > 1 and None not in lengths:
        raise ModelError(f"{describe(node)} maps over sequences of different lengths")
    length = lengths.pop() if len(lengths) == 1 else None
    if length is None or length > MAX_ITEMS:
        length = None
        why = "the number of elements of its sequence is not known, or too large to follow"
        ctx.uncounted.append(Uncounted(name, "SequenceMap", why))
    results: list[list[Bound]] = [[] for _ in node.outputs]
    for item in range(length or 0):
        inner = scope.inner(graph, name)
        for info, bound in zip(graph.inputs, inputs, strict=True):
            inner.bound[info.name] = _element(ctx, bound, item, f"{scope.prefix}{info.name}", ops)
        ops.extend(walk(ctx, graph.nodes, inner))
        found = ctx.outputs(inner, [i.name for i in graph.outputs], f"the body of {name!r}")
        for result, bound in zip(results, found, strict=True):
            result.append(bound)
    for output, info, result in zip(node.outputs, graph.outputs, results, strict=True):
        if not output:
            continue
        known = Known(dtype=info.type.dtype, shape=None, is_sequence=True)
        if length is not None:
            known = sequence_of(tuple([bound.known for bound in result]), info.type.dtype)
        bound = scope.bound[output] = ctx.bind(scope.prefix + output, known)
        tensors = tuple([b.tensor for b in result])
        ops.append(_handle(ctx, "SequenceConstruct", name, tensors, bound.tensor))
    return None


def _element(ctx: Context, bound: Bound, item: int, name: str, ops: list[Op]) -> Bound:
    """One element of a sequence, or the same tensor for every element."""
    if not bound.known.is_sequence or bound.known.items is None:
        return bound
    element = ctx.bind(name, bound.known.items[item])
    ops.append(_handle(ctx, "SequenceAt", name, (bound.tensor,), element.tensor))
    return element


def _handle(
    ctx: Context, op_type: str, name: str, inputs: tuple[Tensor, ...], output: Tensor
) -> Op:
    name = ctx.ops.unique(f"{name}/{op_type}")
    return Op(name=name, op_type=op_type, inputs=inputs, outputs=(output,))
