"""From the trips of a loop to operators: Loop or Scan with their bodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rnncost.frontends.onnx.context import Context
from rnncost.frontends.onnx.infer.base import Known
from rnncost.frontends.onnx.repeat import Group, Plan
from rnncost.frontends.onnx.scope import Bound, Scope
from rnncost.graph.dim import Dim
from rnncost.graph.ir import AttrValue, Carried, Graph, Op, Tensor


class Shell(msgspec.Struct, frozen=True, kw_only=True):
    """What surrounds a body: the operator's own inputs, attributes and outputs.

    ``head`` are the inputs before the states (Loop: trip count and condition), ``tail``
    those after (Scan: the scanned inputs). ``stack_axes`` has the axis along which the
    steps of each stacked output are laid. ``batch`` is the batch extent of a Scan-8, whose
    body sees one row; None otherwise.
    """

    op_type: str
    outputs: tuple[str, ...]
    attrs: Mapping[str, AttrValue]
    head: tuple[Tensor | None, ...] = ()
    states: tuple[Tensor, ...] = ()
    tail: tuple[Tensor, ...] = ()
    stack_axes: tuple[int, ...] = ()
    batch: Dim | None = None
    executions: Dim = 1


def emit(
    ctx: Context, plan: Plan, shell: Shell, scope: Scope, groups: Sequence[Group], ops: list[Op]
) -> None:
    """Append one operator for each run of equal trips, and bind the node's outputs."""
    width = len(plan.states)
    missing = width + len(shell.stack_axes) - len(shell.outputs)
    names = (*shell.outputs, *("",) * missing)
    states = shell.states
    parts: list[list[Bound]] = []
    for group in groups:
        entries = plan.graph.inputs[len(plan.lead) :]
        # A state that the node does not hand out still goes to the next run of trips.
        labels = [out or entry.name for out, entry in zip(names, entries, strict=False)][:width]
        finals = plan.state_exits(group.exits) if group.count != 0 else plan.states
        results = [
            ctx.bind(scope.prefix + label, _batched(known, shell.batch))
            for label, known in zip(labels, finals, strict=True)
        ]
        parts.append(_stack(ctx, plan, shell, scope, group, names[width:]))
        outputs = tuple(
            [
                bound.tensor if name or group is not groups[-1] else None
                for name, bound in zip(names, (*results, *parts[-1]), strict=True)
            ]
        )
        # The first run of trips has the node's own name, which is taken already.
        name = plan.name if group is groups[0] else ctx.ops.unique(plan.name)
        ops.append(_operator(plan, shell, group, name, states, outputs))
        states = tuple([bound.tensor for bound in results])
        scope.bound.update({n: b for n, b in zip(names, results, strict=False) if n})
    for output, axis, *part in zip(names[width:], shell.stack_axes, *parts, strict=True):
        if output:
            joined = part[0] if len(part) == 1 else _join(ctx, plan, scope, part, output, axis, ops)
            scope.bound[output] = joined


def _operator(
    plan: Plan,
    shell: Shell,
    group: Group,
    name: str,
    states: tuple[Tensor, ...],
    outputs: tuple[Tensor | None, ...],
) -> Op:
    captured = _captured(group.body)
    body = Graph(
        inputs=(*group.body.inputs, *captured), outputs=group.body.outputs, ops=group.body.ops
    )
    return Op(
        name=name,
        op_type=shell.op_type,
        inputs=(*shell.head, *states, *shell.tail, *captured),
        outputs=outputs,
        attrs=shell.attrs,
        executions=shell.executions,
        trips=group.count,
        body=body,
        carried=_carried(plan, group.body),
    )


def _stack(
    ctx: Context, plan: Plan, shell: Shell, scope: Scope, group: Group, names: Sequence[str]
) -> list[Bound]:
    """The stacked outputs of one run of trips."""
    steps = group.exits[len(plan.lead) // 2 + len(plan.states) :]
    return [
        ctx.bind(
            scope.prefix + output if output else step.tensor.name,
            _stacked(step.known, group.count, axis, shell.batch),
        )
        for output, step, axis in zip(names, steps, shell.stack_axes, strict=True)
    ]


def _carried(plan: Plan, body: Graph) -> tuple[Carried, ...]:
    entries = body.inputs[len(plan.lead) :]
    exits = body.outputs[len(plan.lead) // 2 :]
    return tuple(
        [
            Carried(entry.name, leave.name)
            for entry, leave, invariant in zip(entries, exits, plan.invariant, strict=False)
            if not invariant
        ]
    )


def _captured(body: Graph) -> tuple[Tensor, ...]:
    """The tensors from outside that a body uses, in the order of their first use."""
    own = {tensor.name for tensor in body.inputs}
    found: dict[str, Tensor] = {}
    for op in body.ops:
        if op.executions != 0:
            for tensor in op.inputs:
                if tensor is not None and tensor.name not in own:
                    found.setdefault(tensor.name, tensor)
        own.update([tensor.name for tensor in op.outputs if tensor is not None])
    for tensor in body.outputs:
        if tensor.name not in own:
            found.setdefault(tensor.name, tensor)
    return tuple(found.values())


def _stacked(known: Known, count: Dim, axis: int, batch: Dim | None) -> Known:
    """One step of a stacked output, laid ``count`` times along an axis."""
    if known.shape is None:
        return Known(dtype=known.dtype, shape=None)
    rank = len(known.shape) + 1
    at = axis + rank if axis < 0 else min(axis, rank - 1)
    shape = (*known.shape[:at], count, *known.shape[at:])
    return _batched(Known(dtype=known.dtype, shape=shape), batch)


def _batched(known: Known, batch: Dim | None) -> Known:
    if batch is None or known.shape is None:
        return known
    return Known(dtype=known.dtype, shape=(batch, *known.shape))


def _join(
    ctx: Context,
    plan: Plan,
    scope: Scope,
    parts: Sequence[Bound],
    output: str,
    axis: int,
    ops: list[Op],
) -> Bound:
    """The stacked outputs of several runs of trips, put together."""
    shape = parts[0].known.shape
    if shape is not None and all(part.known.shape is not None for part in parts):
        at = axis % len(shape)
        total: Dim = 0
        for part in parts:
            total = total + (part.known.shape or ())[at]
        shape = (*shape[:at], total, *shape[at + 1 :])
    joined = ctx.bind(scope.prefix + output, Known(dtype=parts[0].known.dtype, shape=shape))
    ops.append(
        Op(
            name=ctx.ops.unique(f"{plan.name}/joined"),
            op_type="Concat",
            inputs=tuple([part.tensor for part in parts]),
            outputs=(joined.tensor,),
            attrs={"axis": axis},
        )
    )
    return joined
