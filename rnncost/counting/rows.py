"""The rows of a report: operators that are one module or one cell share a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from rnncost.counting.cost import OpCost
from rnncost.counting.counted import CountedOp, Counts
from rnncost.counting.params import NO_WEIGHTS, Weights
from rnncost.counting.recurrence import Recurrence
from rnncost.counting.registry import ROLE_WEIGHT
from rnncost.counting.scope import IDLE, UNCOUNTED, Node
from rnncost.counting.traffic import Traffic
from rnncost.graph.dim import Dim, hint
from rnncost.units import DTYPE_BITS, FLOAT_DTYPES, PRECISIONS

LARGEST = ("peak_activation_bytes", "lookahead_steps")
STEPS = ("sequential_steps", "executed_steps")


class _Row(msgspec.Struct, frozen=True):
    cost: OpCost
    members: list[Node]


def build_rows(
    nodes: Sequence[Node],
    weights: Sequence[Weights],
    traffic: Sequence[Traffic],
    recurrence: Recurrence,
) -> tuple[CountedOp, ...]:
    """One row for each operator, or for several of one name or one unrolled cell.

    Operators share a row when one execution costs the same and they have type and name
    in common (a module called several times) or are uses of one weight along a chain. An
    operator that is not counted has a row for the weights it stores, if it stores any.
    """
    rows: list[_Row] = []
    known: dict[tuple[object, ...], list[_Row]] = {}
    for node in nodes:
        stored = weights[node.index] is not NO_WEIGHTS
        if node.status in (IDLE, UNCOUNTED) and not stored:
            continue
        recurrent = recurrence.nodes.get(node.index)
        cost = _uncounted(node) if node.status == UNCOUNTED else node.cost
        key: tuple[object, ...] = (node.op.op_type, node.op.name, node.status)
        if recurrent is not None:
            cost = recurrent.cost
            key = (*key, id(recurrent.preds)) if recurrent.cell is None else (recurrent.cell,)
        alike = known.setdefault(key, [])
        row = next((row for row in alike if row.cost == cost), None)
        if row is None:
            row = _Row(cost, [])
            alike.append(row)
            rows.append(row)
        row.members.append(node)
    return tuple([_count_row(row, weights, traffic, recurrence) for row in rows])


def sum_rows(rows: Iterable[CountedOp]) -> Counts:
    """The totals of rows, but for their steps: sums, and the largest peak and look-ahead."""
    columns = zip(*(msgspec.structs.astuple(row.counts) for row in rows), strict=True)
    total: dict[str, Dim] = {}
    for field, column in zip(Counts.__struct_fields__, columns, strict=False):
        if field in LARGEST:
            total[field] = max(column, key=hint)
        elif field not in STEPS:
            total[field] = sum(column)
    return Counts(**total)


def _count_row(
    row: _Row,
    weights: Sequence[Weights],
    traffic: Sequence[Traffic],
    recurrence: Recurrence,
) -> CountedOp:
    cost, members, first = row.cost, row.members, row.members[0]
    runs = first.executions
    held, moved = weights[first.index], traffic[first.index]
    for member in members[1:]:
        runs = runs + member.executions
        held = _add_weights(held, weights[member.index])
        moved = _add_traffic(moved, traffic[member.index])
    steps: Dim = 0
    executed: Dim = 0
    recurrent = recurrence.nodes.get(first.index)
    if recurrent is not None and recurrent.steps != 0:
        steps = recurrence.row_steps([member.index for member in members])
        executed = recurrent.executed * runs
    ran = runs != 0
    counts = Counts(
        params=held.params,
        active_params=held.active_params,
        quantization_params=held.quantization_params,
        weight_bytes=held.weight_bytes,
        macs=cost.macs * runs,
        dense_macs=cost.dense_macs * runs,
        parallel_macs=(cost.macs - cost.sequential_macs) * runs,
        sequential_macs=cost.sequential_macs * runs,
        multiplies=cost.multiplies * runs,
        adds=cost.adds * runs,
        bias_adds=cost.bias_adds * runs,
        activations=cost.activations * runs,
        activation_bytes=moved.activation_bytes,
        # A state belongs to the layer or cell, however often it is run.
        state_bytes=cost.state_bytes if ran else 0,
        peak_activation_bytes=moved.peak_activation_bytes,
        compulsory_bytes=moved.compulsory_bytes,
        streamed_bytes=moved.streamed_bytes,
        sequential_steps=steps,
        executed_steps=executed,
        lookahead_steps=cost.lookahead_steps if ran else 0,
    )
    return CountedOp(
        name=first.op.name,
        op=first.op,
        cost=cost,
        counts=counts,
        executions=runs,
        precision=_precision(first),
        members=tuple([member.op.name for member in row.members]),
    )


def _add_weights(a: Weights, b: Weights) -> Weights:
    return Weights(
        a.params + b.params,
        a.active_params + b.active_params,
        a.quantization_params + b.quantization_params,
        a.weight_bytes + b.weight_bytes,
        a.read_bytes + b.read_bytes,
    )


def _add_traffic(a: Traffic, b: Traffic) -> Traffic:
    return Traffic(
        a.activation_bytes + b.activation_bytes,
        a.compulsory_bytes + b.compulsory_bytes,
        a.streamed_bytes + b.streamed_bytes,
        max(a.peak_activation_bytes, b.peak_activation_bytes, key=hint),
    )


def _uncounted(node: Node) -> OpCost:
    return OpCost(kind="constant", notes=(f"only its weights are counted: {node.reason}",))


def _precision(node: Node) -> str:
    """The type that an operator computes in: that of its quantised weights, or its result's."""
    for stored in node.stored:
        dtype = stored.tensor.stored[0].dtype
        if stored.role == ROLE_WEIGHT and dtype not in FLOAT_DTYPES and DTYPE_BITS[dtype] <= 8:
            if stored.slot in node.cost.params_of:
                return f"int{node.op.int_attr('bits', 8)}"
            return PRECISIONS.get(dtype, dtype)
    first = ""
    for tensor in (*node.op.outputs, *node.op.inputs):
        if tensor is not None:
            if tensor.dtype in FLOAT_DTYPES:
                return PRECISIONS.get(tensor.dtype, tensor.dtype)
            first = first or tensor.dtype
    return PRECISIONS.get(first, first)
