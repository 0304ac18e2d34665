"""The time of rows that are not recurrent nodes, as ONNX Runtime's CPU kernels run them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.dim import hint
from rnncost.latency.assembly import OpTime
from rnncost.latency.onnxruntime_cpu import dense, elementwise, movement
from rnncost.latency.onnxruntime_cpu.edges import loops_of
from rnncost.latency.onnxruntime_cpu.fusion import fused
from rnncost.latency.onnxruntime_cpu.kernels import Linear, kernel_time
from rnncost.latency.onnxruntime_cpu.products import second_cache_bytes
from rnncost.latency.onnxruntime_cpu.tensors import elements_of, output_of, size_of

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted
    from rnncost.graph.ir import Op
    from rnncost.latency.onnxruntime_cpu.kernels import Work
    from rnncost.latency.onnxruntime_cpu.plan import Planned
    from rnncost.profiles.onnxruntime import OnnxRuntimeCpu, Products
    from rnncost.profiles.onnxruntime_operators import Operators

_VIEWS = (
    *("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "Shape", "Size"),
    *("Constant", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt"),
    *("SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert"),
    *("SequenceLength", "com.microsoft::ExpandDims"),
)
_REDUCTIONS = (
    *("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1"),
    *("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "ArgMax", "ArgMin"),
)
_NORMALISATIONS = (
    *("BatchNormalization", "InstanceNormalization", "GroupNormalization", "LpNormalization"),
    *("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"),
    *("com.microsoft::SkipLayerNormalization", "com.microsoft::GroupNorm"),
    *("com.microsoft::SkipSimplifiedLayerNormalization",),
)
_POOLS = (
    *("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"),
    *("GlobalLpPool",),
)
_QUANTISATIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")

_KERNELS: dict[str, Callable[[Op], Work]] = {
    **dict.fromkeys(elementwise.UNARY, elementwise.unary),
    **dict.fromkeys(elementwise.BINARY, elementwise.binary),
    **dict.fromkeys(_VIEWS, movement.view),
    **dict.fromkeys(_REDUCTIONS, elementwise.reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), elementwise.softmax),
    **dict.fromkeys(_NORMALISATIONS, elementwise.normalisation),
    **dict.fromkeys(_QUANTISATIONS, elementwise.quantisation),
    **dict.fromkeys(("ConstantOfShape", "Range", "EyeLike", "OneHot"), movement.fill),
    **dict.fromkeys(("Gather", "GatherND", "GatherElements"), movement.gathering),
    **dict.fromkeys(("Expand", "Tile"), movement.expansion),
    **dict.fromkeys(("Pad", "com.microsoft::Pad"), movement.padding),
    **dict.fromkeys(("CumSum", "TopK"), movement.scan),
    **dict.fromkeys(("Resize", "Upsample", "DepthToSpace", "SpaceToDepth"), movement.alone),
    **dict.fromkeys(dense.INT8_PRODUCTS, dense.integer_product),
    **dict.fromkeys(
        ("ConvInteger", "QLinearConv", "com.microsoft::QLinearConv"), dense.integer_convolution
    ),
    "Transpose": movement.transposition,
    "Slice": movement.slicing,
    "Split": movement.splitting,
    "Concat": movement.concatenation,
    "ConvTranspose": dense.transposed_convolution,
}

_PRODUCTS = ("MatMul", "com.microsoft::FusedMatMul", "com.microsoft::TransposeMatMul")
_GEMMS = ("Gemm", "com.microsoft::FusedGemm")
_CONVOLUTIONS = ("Conv", "com.microsoft::FusedConv")


TRIP = Linear(node="trip")
"""A trip through the body of a loop, which is no node."""

KEPT_SHARE, LOST_SHARE = 0.4, 8.0
"""Bytes that are touched between two runs of a kernel, in sizes of the second cache, from which
its instructions and data begin to leave it, and at which fetching them takes longest. Measured
with 17 small nodes of as many kinds behind a product whose weights are 0.06 to 5 times the
second cache: a node takes no longer up to 0.4 times, 0.5 us longer at once, 0.9 us at 5 times."""


class Node(msgspec.Struct, frozen=True):
    """Something that runs: its work, and how often in one execution of its row."""

    work: Work
    count: int = 1


def nodes_of(planned: Planned, channels: int) -> tuple[Node, ...]:
    """What one execution of a row runs, its own kernel first; nothing if it is settled before."""
    if not planned.runs:
        return ()
    row = planned.row
    if row.op.op_type == "If":
        return (Node(Linear(node="branch")),)
    if row.op.body is not None:
        # What a loop hands on is copied once, at its end: its state, and what it collected.
        copied = size_of(row.op.outputs)
        around = Linear(node="loop", bytes=2 * copied, written=copied)
        return (Node(around), Node(TRIP, hint(row.op.trips)))
    work = _with_extras(_own_work(planned, channels), planned)
    written = min(work.bytes, size_of(row.op.outputs))
    nodes = [Node(msgspec.structs.replace(work, written=written))]
    nodes += [Node(dense.reorder(tensor)) for tensor in planned.reordered]
    if planned.views:
        nodes.append(Node(Linear(node="view"), planned.views))
    return tuple(nodes)


def operator_times(
    counted: Counted,
    constants: OnnxRuntimeCpu,
    operators: Operators,
    *,
    threads: int = 1,
    run_bytes: float = 0.0,
    outputs: Collection[str] = (),
) -> list[OpTime]:
    """The time of each row of a counted graph, in its order.

    Those of recurrent nodes are rough, as those of any operator without a kernel here:
    ``layers`` has them. ``outputs`` are those of ``fused``.
    """
    channels = operators.convolutions.channels
    plans = fused(counted, channels=channels, outputs=outputs)
    trip_bytes = trip_bytes_of(counted)
    return [
        operator_time(
            nodes_of(plan, channels),
            hint(plan.row.executions),
            constants,
            operators,
            threads,
            min(run_bytes, trip_bytes.get(plan.row.op.name, run_bytes)),
            reach,
            min(idle, trip_bytes.get(plan.row.op.name, idle)),
        )
        for plan, reach, idle in zip(plans, reaches_of(plans), idles_of(plans), strict=True)
    ]


def trip_bytes_of(counted: Counted) -> dict[str, int]:
    """For each operator in the body of a loop, the bytes that a trip reads from outside it.

    A body that runs again and again finds its weights where its own trips left them.
    """
    found: dict[str, int] = {}
    for _, body in loops_of(counted):
        made = {tensor.name for op in body.ops for tensor in op.outputs if tensor is not None}
        read = {t.name: t for op in body.ops for t in op.inputs if t is not None}
        outside = size_of(tensor for name, tensor in read.items() if name not in made)
        found.update((op.name, outside) for op in body.ops)
    return found


def reaches_of(plans: Sequence[Planned]) -> list[int]:
    """For each row, the bytes touched since memory as large as its result was last written.

    The runtime gives a result the memory of a value that is no longer needed. If a run has many
    values of its size, that memory is still near; a value of unusual size is written far away.
    """
    spent = _spent(plans)
    reaches = []
    last: list[tuple[int, int]] = []
    for plan, before in zip(plans, spent, strict=False):
        size = size_of(plan.row.op.outputs[:1]) if plan.runs else 0
        found = next((at for other, at in reversed(last) if 2 * other >= size), None)
        reaches.append(spent[-1] if found is None else before - found)
        if size:
            last.append((size, before))
    return reaches


def idles_of(plans: Sequence[Planned]) -> list[int]:
    """For each row, the bytes touched since its kernel last ran, in this run or the one before."""
    spent = _spent(plans)
    ended = {
        _kernel_of(plan): spent[at + 1] - spent[-1] for at, plan in enumerate(plans) if plan.runs
    }
    idles = []
    for at, plan in enumerate(plans):
        kernel = _kernel_of(plan)
        idles.append(spent[at] - ended.get(kernel, 0))
        if plan.runs:
            ended[kernel] = spent[at + 1]
    return idles


def _kernel_of(plan: Planned) -> str:
    return plan.as_type or plan.row.op.op_type


def _spent(plans: Sequence[Planned]) -> list[int]:
    """The bytes touched before each row in turn, and at last by all."""
    spent = [0]
    for plan in plans:
        op = plan.row.op
        touched = size_of(op.outputs) + size_of(t for t in op.inputs if t is not None)
        spent.append(spent[-1] + (touched if plan.runs and op.body is None else 0))
    return spent


def lost_share(products: Products, idle_bytes: float) -> float:
    """How far a kernel has left the near caches when so many bytes were touched since, to 1."""
    kept = KEPT_SHARE * second_cache_bytes(products)
    if idle_bytes <= kept:
        return 0.0
    return min(1.0, math.log(idle_bytes / kept) / math.log(LOST_SHARE / KEPT_SHARE))


def operator_time(
    nodes: Sequence[Node],
    executions: int,
    constants: OnnxRuntimeCpu,
    operators: Operators,
    threads: int = 1,
    run_bytes: float = 0.0,
    reach_bytes: float = 0.0,
    idle_bytes: float = 0.0,
    changed: bool = True,
) -> OpTime:
    """The time of all executions of a row; a trip through a body counts as a step.

    ``run_bytes`` is what a run of the model touches, ``reach_bytes`` one of ``reaches_of``,
    ``idle_bytes`` one of ``idles_of``; ``changed`` says that the node before ran another kernel,
    as nearly always.
    """
    change, cold = (operators.nodes.change, 1 + operators.cold) if changed else (0.0, 1.0)
    compute = memory = latency = 0.0
    fixed = operators.nodes.refetch * lost_share(constants.products, idle_bytes) if nodes else 0.0
    for node in nodes:
        time = kernel_time(node.work, constants, operators, threads, run_bytes, reach_bytes)
        if node.work == TRIP:
            latency += node.count * time.fixed_s
            continue
        fixed += node.count * (time.fixed_s + change)
        compute += node.count * time.compute_s * cold
        memory += node.count * time.memory_s * cold
    return OpTime(
        overhead_s=executions * fixed,
        compute_s=executions * compute,
        memory_s=executions * memory,
        latency_s=executions * latency,
        parallel_s=executions * (compute + memory),
        sequential_s=executions * latency,
    )


def _own_work(planned: Planned, channels: int) -> Work:
    """The work of a row's own kernel; of one whose extents are not known, what was counted."""
    row = planned.row
    tensors = (*row.op.inputs, *row.op.outputs)
    if any(tensor is not None and tensor.shape is None for tensor in tensors):
        return elementwise.other(row)
    try:
        return _kernel_work(planned, channels)
    except IndexError:  # operands of a rank, or a number, that the operator does not take
        return elementwise.other(row)


def _kernel_work(planned: Planned, channels: int) -> Work:
    row = planned.row
    op = row.op
    op_type = planned.as_type or op.op_type
    if op_type in _PRODUCTS:
        return dense.matrix_product(op, planned.packable)
    if op_type in _GEMMS:
        return (
            dense.gemm(op, planned.packable)
            if op.op_type in _GEMMS
            else dense.matrix_product(op, planned.packable)
        )
    if op_type in _CONVOLUTIONS:
        return dense.convolution(op, planned.blocked, channels)
    if op_type == "Einsum":
        return dense.einsum(row)
    if op_type in _POOLS:
        return elementwise.pooling(op, planned.blocked)
    kernel = _KERNELS.get(op_type)
    if kernel is not None and op.inputs and op.inputs[0] is not None:
        return kernel(op) if op_type == op.op_type else kernel(_renamed(op, op_type))
    if kernel in (movement.view, movement.fill):
        return kernel(op)
    if row.cost.kind == "product" and hint(row.cost.dense_macs):
        return dense.unknown_product(row)
    return elementwise.other(row)


def _renamed(op: Op, op_type: str) -> Op:
    return msgspec.structs.replace(op, op_type=op_type)


def _with_extras(work: Work, planned: Planned) -> Work:
    """The work with what was fused into it: the arithmetic stays, the node goes."""
    elements = elements_of(output_of(planned.row.op))
    units = planned.extra
    for op_type in planned.activations:
        units += elementwise.activation_units(op_type, elements)
    if not units:
        return work
    if isinstance(work, Linear):
        return msgspec.structs.replace(work, units=work.units + units)
    return msgspec.structs.replace(work, around=work.around + units)
