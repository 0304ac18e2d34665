"""The walk: from nodes to operators, with shapes and small values known on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from rnncost.errors import ModelError, ShapeError
from rnncost.frontends.onnx.context import Context
from rnncost.frontends.onnx.functions import function_of, lower_call, resolved
from rnncost.frontends.onnx.infer import infer
from rnncost.frontends.onnx.infer.base import Call, InferenceError, Known, find
from rnncost.frontends.onnx.order import describe, ordered, producers, shown
from rnncost.frontends.onnx.proto import Attribute, NodeProto, TensorProto, ValueType
from rnncost.frontends.onnx.scope import Event, Frame, Scope
from rnncost.graph.dim import Dim
from rnncost.graph.ir import AttrValue, Graph, Op, Tensor

_CONTROL = frozenset(("If", "Loop", "Scan", "SequenceMap"))
_NO_ATTRS: dict[str, AttrValue] = {}
_LITERAL_DTYPES = {"value_int": "int64", "value_float": "float32", "value_string": "string"}


def lower_graph(ctx: Context, frame: Frame | None = None) -> Graph:
    """Lower the main graph of a model, by a traced run where there is one.

    Raises:
        ModelError: the graph cannot be followed.
    """
    graph = ctx.model.graph
    scope = Scope(
        None,
        opset=ctx.model.opset,
        initializers=graph.initializers,
        declared={**graph.value_info, **{info.name: info.type for info in graph.outputs}},
        frame=frame,
    )
    tensors = []
    for item in ctx.binding.inputs:
        bound = scope.bound[item.name] = ctx.bind(item.name, item.known(ctx.dims))
        tensors.append(bound.tensor)
    ops = walk(ctx, graph.nodes, scope)
    outputs = ctx.outputs(scope, [info.name for info in graph.outputs], "the graph")
    unused = [t for name, t in graph.initializers.items() if name not in scope.bound]
    if unused:
        ctx.warnings.append(_unused(unused))
    if ctx.declared:
        ctx.warnings.append(
            "the shapes of "
            + ", ".join(dict.fromkeys(ctx.declared))
            + " are those that the file declares, for no rule knows the operator"
        )
    return Graph(
        inputs=tuple(tensors),
        outputs=tuple([bound.tensor for bound in outputs]),
        ops=tuple(ops),
        uncounted=tuple(ctx.uncounted),
    )


def walk(ctx: Context, nodes: Sequence[NodeProto], scope: Scope) -> list[Op]:
    """Lower nodes in an order that respects their dependencies, and bind their outputs.

    Raises:
        ModelError: a name is missing or made twice, nodes form a cycle, a shape contradicts
            an operator, or a branch or trip count cannot be settled.
    """
    made = scope.producers = producers(nodes, scope.bound, scope.initializers)
    ctx.visit(len(nodes))
    ops: list[Op] = []
    for index, listed in ordered(nodes, made, ctx.captures):
        node = listed if scope.attrs is None else resolved(listed, scope.attrs)
        if node.domain in ("", "ai.onnx"):
            if node.op_type == "Constant":
                _constant(ctx, node, scope)
                continue
            if node.op_type in _CONTROL:
                from rnncost.frontends.onnx.control import CONTROL

                CONTROL[node.op_type](ctx, walk, node, index, scope, ops)
                continue
        function = function_of(ctx.model, node)
        if function is not None:
            lower_call(ctx, walk, node, index, scope, ops, function)
        else:
            _operator(ctx, node, index, scope, ops)
    return ops


def _operator(ctx: Context, node: NodeProto, index: int, scope: Scope, ops: list[Op]) -> None:
    inputs = ctx.read(node, scope)
    domain = "" if node.domain == "ai.onnx" else node.domain
    op_type = f"{domain}::{node.op_type}" if domain else node.op_type
    call = Call(
        op_type=op_type,
        opset=scope.opset.get(domain, 1),
        attrs=node.attrs,
        inputs=tuple([None if bound is None else bound.known for bound in inputs]),
        outputs=len(node.outputs),
    )
    results = _infer(ctx, node, scope, call, scope.event(index))
    outputs: list[Tensor | None] = []
    for name, known in zip(node.outputs, results, strict=True):
        if name:
            bound = scope.bound[name] = ctx.bind(scope.prefix + name, known)
            outputs.append(bound.tensor)
        else:
            outputs.append(None)
    ops.append(
        Op(
            name=ctx.op_name(node, index, scope),
            op_type=op_type,
            inputs=tuple([None if bound is None else bound.tensor for bound in inputs]),
            outputs=tuple(outputs),
            attrs=_plain(node.attrs),
        )
    )


def _infer(
    ctx: Context, node: NodeProto, scope: Scope, call: Call, event: Event | None
) -> Sequence[Known]:
    """What is known of an operator's outputs: by rule, by trace, or as declared."""
    results: Sequence[Known] = (Known(dtype="", shape=None),) * call.outputs
    if scope.tolerant:
        # Only stored tensors are followed there, so only constant expressions matter.
        if all(k is None or k.stored or k.value is not None for k in call.inputs):
            try:
                return infer(call)
            except InferenceError:
                return results
        return results
    try:
        results = infer(call)
    except InferenceError as error:
        if event is None:
            raise ShapeError(_contradiction(ctx, node, str(error))) from None
    if event is not None:
        results = _traced(event, node.outputs, results)
    elif find(call.op_type) is None:
        results = _declared(ctx, node, scope, results)
    return results


def _traced(event: Event, names: Sequence[str], results: Sequence[Known]) -> Sequence[Known]:
    """Results with the element types and shapes that a traced run had."""
    present = [position for position, name in enumerate(names) if name]
    if len(present) != len(event.outputs):  # sequences are not recorded
        return results
    merged = list(results)
    for position, (dtype, shape) in zip(present, event.outputs, strict=True):
        known = merged[position]
        if (known.dtype, known.shape) != (dtype, shape):
            merged[position] = Known(dtype=dtype, shape=shape)
    return merged


def _declared(
    ctx: Context, node: NodeProto, scope: Scope, results: Sequence[Known]
) -> Sequence[Known]:
    """Results of an unknown operator with the shapes that the file declares for them."""
    merged = list(results)
    for position, name in enumerate(node.outputs):
        declared = scope.declared.get(name)
        if declared is None or merged[position].shape is not None:
            continue
        shape = _declared_shape(declared, ctx.dims)
        if shape is not None:
            ctx.declared.append(shown(node.name or node.op_type))
            merged[position] = Known(dtype=declared.dtype, shape=shape)
    return merged


def _declared_shape(declared: ValueType, dims: Mapping[str, Dim]) -> tuple[Dim, ...] | None:
    if declared.kind != "tensor" or declared.shape is None:
        return None
    shape: list[Dim] = []
    for dim in declared.shape:
        size = dims.get(dim) if isinstance(dim, str) else dim
        if size is None or size < 1:
            return None
        shape.append(size)
    return tuple(shape)


def _constant(ctx: Context, node: NodeProto, scope: Scope) -> None:
    """Bind the output of a Constant node; like an initializer it becomes no operator."""
    if len(node.outputs) != 1 or not node.outputs[0]:
        raise ModelError(f"{describe(node)} must have exactly one output")
    output = node.outputs[0]
    name = scope.prefix + output
    for attr, value in node.attrs.items():
        if isinstance(value, TensorProto):
            scope.bound[output] = ctx.bind(name, ctx.stored.tensor(value, name))
            return
        dtype = _LITERAL_DTYPES.get(attr.removesuffix("s"))
        if dtype is None or not isinstance(value, (int, float, str, tuple)):
            continue
        several = value if isinstance(value, tuple) else (value,)
        elements = tuple([v for v in several if isinstance(v, (int, float, str))])
        shape = (len(elements),) if isinstance(value, tuple) else ()
        known = Known(dtype=dtype, shape=shape, value=elements)
        scope.bound[output] = ctx.bind(name, ctx.stored.literal(node, known, shape, name))
        return
    raise ModelError(f"{describe(node)} has no value")


def _plain(attrs: Mapping[str, Attribute]) -> Mapping[str, AttrValue]:
    """The attributes that counting rules may read: numbers, text and lists of them."""
    if not attrs:
        return _NO_ATTRS
    kept: dict[str, AttrValue] = {}
    for name, value in attrs.items():
        several = value if isinstance(value, tuple) else (value,)
        if all(isinstance(v, (int, float, str)) for v in several):
            kept[name] = cast(AttrValue, value)
    return kept


def _contradiction(ctx: Context, node: NodeProto, reason: str) -> str:
    text = f"{describe(node)}: {reason.rstrip('.')}"
    if ctx.dims and not ctx.symbolic:
        bound = ctx.binding.describe()
        text += f"; the model's dimensions are bound to {bound}, set others with --dim"
    return text


def _unused(tensors: Sequence[TensorProto]) -> str:
    elements = sum(tensor.numel for tensor in tensors)
    if len(tensors) == 1:
        return f"the stored tensor {tensors[0].name!r} is used by no operator and not counted"
    return (
        f"{len(tensors)} stored tensors ({elements:,} elements) are used by no operator and "
        "not counted"
    )
