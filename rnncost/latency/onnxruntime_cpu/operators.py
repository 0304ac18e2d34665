"""The time of rows that are not recurrent nodes, as ONNX Runtime's CPU kernels run them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.dim import hint
from rnncost.latency.assembly import OpTime
from rnncost.latency.onnxruntime_cpu import dense, elementwise, movement
from rnncost.latency.onnxruntime_cpu.kernels import Convolution, Linear, Product, kernel_time
from rnncost.latency.onnxruntime_cpu.tensors import elements_of, output_of

if TYPE_CHECKING:
    from rnncost.graph.ir import Op
    from rnncost.latency.onnxruntime_cpu.kernels import Work
    from rnncost.latency.onnxruntime_cpu.plan import Planned
    from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
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
    **dict.fromkeys(_POOLS, elementwise.pooling),
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


class Node(msgspec.Struct, frozen=True):
    """Something that runs: its work, and how often in one execution of its row."""

    work: Work
    count: int = 1


def nodes_of(planned: Planned, channels: int) -> tuple[Node, ...]:
    """What one execution of a row runs, its own kernel first; nothing if it is settled before."""
    if not planned.runs:
        return ()
    row = planned.row
    if row.op.body is not None:
        return (Node(Linear(node="loop")), Node(TRIP, hint(row.op.trips)))
    nodes = [Node(_with_extras(_own_work(planned, channels), planned))]
    nodes += [Node(dense.reorder(tensor)) for tensor in planned.reordered]
    if planned.views:
        nodes.append(Node(Linear(node="view"), planned.views))
    return tuple(nodes)


def operator_time(
    nodes: Sequence[Node],
    executions: int,
    constants: OnnxRuntimeCpu,
    operators: Operators,
    threads: int = 1,
    run_bytes: float = 0.0,
) -> OpTime:
    """The time of all executions of a row; a trip through a body counts as a step."""
    fixed = compute = memory = latency = 0.0
    for node in nodes:
        time = kernel_time(node.work, constants, operators, threads, run_bytes)
        if node.work == TRIP:
            latency += node.count * time.fixed_s
            continue
        fixed += node.count * (time.fixed_s + operators.nodes.change)
        compute += node.count * time.compute_s
        memory += node.count * time.memory_s
    return OpTime(
        overhead_s=executions * fixed,
        compute_s=executions * compute,
        memory_s=executions * memory,
        latency_s=executions * latency,
        parallel_s=executions * (compute + memory),
        sequential_s=executions * latency,
    )


def _own_work(planned: Planned, channels: int) -> Work:
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
    if isinstance(work, (Product, Convolution)):
        return msgspec.structs.replace(work, around=work.around + units)
    return work
