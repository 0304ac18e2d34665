"""What a row of the count asks of a device: products, steps and bytes, as plain numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.dim import hint, product
from rnncost.units import DTYPE_BITS

if TYPE_CHECKING:
    from rnncost.counting.counted import CountedOp
    from rnncost.graph.ir import Tensor


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The work of all executions of one row.

    ``steps`` is 0 for a row that is not recurrent, else the recurrent steps that run one
    after another, both directions included. ``weight_bytes`` are read once by every
    execution; ``recurrent_bytes`` at every step, ``step_bytes`` of them by a single step.
    ``activation_set_bytes`` is what one execution reads and writes, ``activation_bytes``
    what all of them do.
    """

    executions: int
    trips: int
    steps: int
    parallel_macs: int
    sequential_macs: int
    elementwise: int
    weight_bytes: int
    recurrent_bytes: int
    step_bytes: float
    activation_set_bytes: int
    activation_bytes: int


def work_of(row: CountedOp) -> Work:
    """The work of one row. Padded rows are included, as runtimes multiply them too."""
    counts, cost = row.counts, row.cost
    executions = hint(row.executions)
    recurrent = cost.kind == "recurrent"
    macs, dense = hint(counts.macs), hint(counts.dense_macs)
    sequential = hint(counts.sequential_macs) if recurrent else 0
    sequential = dense * sequential // macs if macs else 0
    steps = hint(counts.executed_steps) if recurrent else 0
    sizes = {
        position: tensor_bytes(tensor)
        for position, tensor in enumerate(row.op.inputs)
        if tensor is not None and (tensor.stored or position in cost.weight_reads)
    }
    # A row without a loop of its own is recurrent because it runs again and again: all its
    # weights are read at each step.
    again = (set(cost.weight_reads) or set(sizes)) if steps else set()
    each_step = sum(
        size * hint(cost.weight_reads.get(i, 1)) for i, size in sizes.items() if i in again
    )
    once = sum(size for i, size in sizes.items() if i not in again)
    traffic = hint(counts.streamed_bytes) - executions * (once + each_step)
    if cost.kind == "data":
        # A lookup reads the rows that it copies, not the table.
        once, traffic = 0, hint(counts.streamed_bytes)
    traffic = max(0, traffic)
    return Work(
        executions=executions,
        trips=executions * hint(row.op.trips) if row.op.body is not None else 0,
        steps=steps,
        parallel_macs=dense - sequential,
        sequential_macs=sequential,
        elementwise=sum(
            hint(part)
            for part in (counts.multiplies, counts.adds, counts.bias_adds, counts.activations)
        ),
        weight_bytes=once,
        recurrent_bytes=sum(size for i, size in sizes.items() if i in again),
        step_bytes=executions * each_step / steps if steps else 0.0,
        activation_set_bytes=traffic // executions if executions else 0,
        activation_bytes=traffic,
    )


def tensor_bytes(tensor: Tensor) -> int:
    """The bytes of a tensor; of a stored one, in the types in which it is stored."""
    if not tensor.stored:
        return hint(product(tensor.shape or ())) * DTYPE_BITS.get(tensor.dtype, 0) // 8
    bits = 0
    for slab in tensor.stored:
        lengths = (max(0, -(-(stop - start) // step)) for start, stop, step in slab.ranges)
        bits += hint(product(lengths)) * DTYPE_BITS.get(slab.dtype, 0)
    return -(-bits // 8)
