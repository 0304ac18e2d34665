"""Scan: a loop over the steps of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from rnncost.errors import ModelError, ShapeError
from rnncost.frontends.onnx.context import Context, Walk
from rnncost.frontends.onnx.emit import Shell, emit
from rnncost.frontends.onnx.idle import lower_idle
from rnncost.frontends.onnx.infer.base import Known, View
from rnncost.frontends.onnx.order import describe
from rnncost.frontends.onnx.proto import GraphProto, NodeProto
from rnncost.frontends.onnx.repeat import Plan, group_frames, group_trips, passes_through
from rnncost.frontends.onnx.scope import Bound, Scope
from rnncost.graph.dim import Dim
from rnncost.graph.ir import Op

Item = TypeVar("Item")


class _Extent(msgspec.Struct, frozen=True):
    """How often a Scan's body runs: ``executions`` times ``trips``."""

    trips: Dim
    batch: Dim | None = None
    executions: Dim = 1


def lower_scan(
    ctx: Context, walk: Walk, node: NodeProto, index: int, scope: Scope, ops: list[Op]
) -> None:
    """Append a Scan; its trip count is the extent of the scanned axis.

    Source: ONNX operators Scan-9 to Scan-24; Scan-8, where axis 0 is a batch and axis 1
    the steps, runs its body for each row in turn.

    Raises:
        ModelError: the body does not fit the node, or the steps of its inputs differ.
    """
    graph = node.attrs.get("body")
    scanned = node.attrs.get("num_scan_inputs")
    if not isinstance(graph, GraphProto) or not isinstance(scanned, int):
        raise ModelError(f"{describe(node)} has no body or no num_scan_inputs")
    batched = scope.opset.get("", 1) < 9
    skipped = 1 if batched else 0
    if scope.tolerant:
        return lower_idle(ctx, walk, node, graph, scope, ops, skipped)
    read = ctx.read(node, scope)
    inputs = [bound for bound in read[skipped:] if bound is not None]
    width, outputs = len(inputs) - scanned, len(graph.outputs)
    complete = len(inputs) == len(graph.inputs) == len(read) - skipped
    if not complete or width < 0 or not width <= outputs >= len(node.outputs):
        raise ModelError(f"{describe(node)} does not fit its body")
    states, sequences = inputs[:width], inputs[width:]
    axes = _axes(node, "scan_input_axes", scanned, 1 if batched else 0)
    name = ctx.op_name(node, index, scope)
    extent = _extent(node, sequences, axes)
    first = [bound.known for bound in states]
    slices = [_step(bound.known, axis) for bound, axis in zip(sequences, axes, strict=True)]
    if batched:
        extent = _batched(ctx, node, read[0], sequences, extent.trips)
        first = [_step(known, 0) for known in first]
        slices = [_step(known, 0) for known in slices]
    pairs = zip(graph.inputs, graph.outputs, strict=False)
    plan = Plan(
        node=node,
        name=name,
        graph=graph,
        states=tuple(first),
        slices=tuple(slices),
        sources=node.inputs[skipped:],
        invariant=tuple([passes_through(graph, a.name, b.name) for a, b in pairs][:width]),
    )
    event = scope.event(index)
    frames = event.frames.get("body", ()) if event is not None else ()
    if frames and not batched:
        groups = group_frames(ctx, walk, plan, scope, frames)
    else:
        groups = group_trips(ctx, walk, plan, scope, extent.trips)
    stacked = len(graph.outputs) - width
    shell = Shell(
        op_type="Scan",
        outputs=node.outputs,
        attrs={"num_scan_inputs": scanned},
        states=tuple([bound.tensor for bound in states]),
        tail=tuple([bound.tensor for bound in sequences]),
        stack_axes=_axes(node, "scan_output_axes", stacked, 0),
        batch=extent.batch,
        executions=extent.executions,
    )
    emit(ctx, plan, shell, scope, groups, ops)
    return None


def _axes(node: NodeProto, name: str, count: int, default: int) -> tuple[int, ...]:
    given = node.attrs.get(name)
    axes = [a for a in given if isinstance(a, int)] if isinstance(given, tuple) else []
    return tuple(axes) if len(axes) == count else (default,) * count


def _extent(node: NodeProto, sequences: Sequence[Bound], axes: Sequence[int]) -> _Extent:
    """The number of steps, which all scanned inputs must share."""
    extents: list[Dim] = []
    for bound, axis in zip(sequences, axes, strict=True):
        shape = bound.known.shape
        if shape is None:
            raise ShapeError(
                f"the number of steps of {describe(node)} is not known, because the shape of "
                f"{bound.tensor.name!r} is not: give --trace to see what one run does"
            )
        if not -len(shape) <= axis < len(shape):
            raise ShapeError(
                f"{describe(node)} scans axis {axis} of {bound.tensor.name!r}, "
                f"which has {len(shape)} dimensions"
            )
        extents.append(shape[axis])
    if any(extent != extents[0] for extent in extents[1:]):
        listed = ", ".join(map(str, extents))
        raise ShapeError(f"{describe(node)} scans inputs with different numbers of steps: {listed}")
    return _Extent(extents[0] if extents else 0)


def _batched(
    ctx: Context,
    node: NodeProto,
    lengths: Bound | None,
    sequences: Sequence[Bound],
    steps: Dim,
) -> _Extent:
    """The extent of a Scan-8: rows one after another, each for as many steps as it has."""
    batch = (sequences[0].known.shape or (1,))[0]
    if lengths is None:
        return _Extent(steps, batch, batch)
    values = lengths.known.value
    if values is None:
        ctx.warnings.append(
            f"{describe(node)} is counted with every row at full length, for its "
            "sequence lengths are not known"
        )
        return _Extent(steps, batch, batch)
    total: Dim = sum(value for value in values if isinstance(value, int))
    return _Extent(total, batch, 1)


def _step(known: Known, axis: int) -> Known:
    """One step of a scanned input: a tensor without the scanned axis.

    The slices of a stored tensor are all its elements over the trips, so that the step is
    taken for the whole of it.
    """
    if known.shape is None:
        return Known(dtype=known.dtype, shape=None)
    at = axis % len(known.shape)
    shape = (*known.shape[:at], *known.shape[at + 1 :])
    views = known.views
    if known.stored and not views:
        views = (View(tuple(range(len(known.shape))), (None,) * len(known.shape)),)
    views = tuple([View(_without(v.axes, at), _without(v.box, at)) for v in views])
    return Known(dtype=known.dtype, shape=shape, stored=known.stored, views=views)


def _without(items: tuple[Item, ...], at: int) -> tuple[Item, ...]:
    return (*items[:at], *items[at + 1 :])
