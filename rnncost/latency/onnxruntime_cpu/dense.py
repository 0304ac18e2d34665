"""What products and convolutions ask of their kernels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rnncost.graph.dim import hint
from rnncost.latency.onnxruntime_cpu.convolutions import Convolution
from rnncost.latency.onnxruntime_cpu.kernels import Linear, Product
from rnncost.latency.onnxruntime_cpu.tensors import elements_of, output_of, shape_of, size_of

if TYPE_CHECKING:
    from rnncost.counting.counted import CountedOp
    from rnncost.graph.ir import Op, Tensor
    from rnncost.latency.onnxruntime_cpu.convolutions import ConvolutionKind
    from rnncost.latency.onnxruntime_cpu.kernels import ProductKind, Work

INT8_PRODUCTS = {
    "MatMulInteger": (0, 1),
    "com.microsoft::MatMulIntegerToFloat": (0, 1),
    "com.microsoft::DynamicQuantizeMatMul": (0, 1),
    "QLinearMatMul": (0, 3),
    "com.microsoft::QGemm": (0, 3),
}
"""Where the operands of an 8-bit product are."""

FLOAT_OPERANDS = 3
"""An operator with no more inputs stands as its floating-point form between quantised values."""


def matrix_product(op: Op, packable: bool) -> Product:
    """MatMul, and FusedMatMul with a transposed operand.

    A second operand of two dimensions meets all rows of the first at once, and is
    packed beforehand where it is stored.
    """
    left, right = shape_of(op.inputs[0]), shape_of(op.inputs[1])
    flipped = op.int_attr("transB", 0) == 1
    if len(left) < 2:
        left = (1, *(left or (1,)))
    if len(right) < 2:
        right = (*(right or (1,)), 1)
    depth, columns = (right[-1], right[-2]) if flipped else (right[-2], right[-1])
    batch = math.prod(right[:-2])
    stored = op.inputs[1] is not None and bool(op.inputs[1].stored)
    if batch == 1:
        rows, batch = math.prod(left) // max(1, depth), 1
    else:
        rows = left[-1] if op.int_attr("transA", 0) else left[-2]
        batch = max(batch, math.prod(left[:-2]))
    kind: ProductKind = "transposed" if flipped else "plain"
    if packable and stored and len(right) == 2:
        kind = "packed"
    return Product(
        kind=kind,
        rows=rows,
        depth=depth,
        columns=columns,
        batch=batch,
        bytes=size_of((op.inputs[0], output_of(op))),
    )


def gemm(op: Op, packable: bool) -> Product:
    """Gemm: the bias is spread over the output first."""
    left, right = shape_of(op.inputs[0]), shape_of(op.inputs[1])
    rows = left[1] if op.int_attr("transA", 0) else left[0]
    flipped = op.int_attr("transB", 0) == 1
    depth, columns = (right[1], right[0]) if flipped else (right[0], right[1])
    stored = op.inputs[1] is not None and bool(op.inputs[1].stored)
    kind: ProductKind = "packed" if stored and packable else "transposed" if flipped else "plain"
    around: tuple[tuple[str, float], ...] = ()
    if op.tensor(2) is not None:
        around = (("simple", float(rows * columns)),)
    return Product(
        kind=kind,
        rows=rows,
        depth=depth,
        columns=columns,
        around=around,
        bytes=size_of((op.inputs[0], output_of(op))),
    )


def integer_product(op: Op) -> Product:
    """An 8-bit product; what is quantised before and scaled after it belongs to it."""
    at_left, at_right = INT8_PRODUCTS[op.op_type] if len(op.inputs) > FLOAT_OPERANDS else (0, 1)
    left, right = shape_of(op.inputs[at_left]), shape_of(op.inputs[at_right])
    depth = left[-1] if left else 1
    rows = math.prod(left[:-1])
    columns = right[-1] if len(right) > 1 else 1
    if op.int_attr("transB", 0) == 1:
        columns = right[0]
    around: tuple[tuple[str, float], ...] = ()
    if "Dynamic" in op.op_type:
        around = (("quantize", 1.5 * rows * depth),)
    if op.op_type != "MatMulInteger":
        around += (("dequantize", float(rows * columns)),)
    return Product(
        kind="int8",
        rows=rows,
        depth=depth,
        columns=columns,
        batch=max(1, math.prod(right[:-2])),
        node="integer_product",
        around=around,
        bytes=size_of((op.inputs[at_left], output_of(op))),
    )


def einsum(row: CountedOp) -> Work:
    """Two operands as a batch of products; the left one is rearranged if its batch is inside."""
    op = row.op
    equation = op.str_attr("equation", "").replace(" ", "")
    terms, _, result = equation.partition("->")
    names = terms.split(",")
    if len(names) != 2 or "." in equation or not result:
        return unknown_product(row)
    left, right = names
    extent = dict(zip(left, shape_of(op.inputs[0]), strict=False))
    extent.update(zip(right, shape_of(op.inputs[1]), strict=False))
    both = [c for c in left if c in right and c in result]
    summed = [c for c in left if c in right and c not in result]
    only_left = [c for c in left if c not in right and c in result]
    only_right = [c for c in right if c not in left and c in result]

    def size(letters: list[str]) -> int:
        return math.prod(extent.get(c, 1) for c in letters)

    batch = size(both)
    elements = float(elements_of(op.inputs[0]))
    around: tuple[tuple[str, float], ...] = (("strided", 0.5 * elements),)
    if batch > 1 and not left.startswith("".join(both)):
        around = (("shuffled", elements), ("strided", 0.1 * elements_of(output_of(op))))
    return Product(
        kind="plain",
        rows=size(only_left),
        depth=size(summed),
        columns=size(only_right),
        batch=batch,
        node="einsum",
        around=around,
        bytes=size_of((op.inputs[0], output_of(op))),
    )


def unknown_product(row: CountedOp) -> Product:
    """A product known by its MACs alone: as one of equal extents."""
    macs = max(1, hint(row.cost.dense_macs))
    edge = max(1, round(macs ** (1 / 3)))
    return Product(kind="plain", rows=max(1, macs // (edge * edge)), depth=edge, columns=edge)


def convolution(op: Op, blocked: bool, channels: int) -> Convolution:
    """Conv, on the blocked layout or as a product."""
    x, w = shape_of(op.inputs[0]), shape_of(op.inputs[1])
    out = shape_of(output_of(op))
    groups = op.int_attr("group", 1)
    inputs, filters, taps = w[1], w[0] // groups, math.prod(w[2:])
    space = out[2:]
    shares, edge = _valid_shares(op, x[2:], w[2:], space)
    kind: ConvolutionKind = "columns"
    if blocked:
        kind = "depthwise" if groups > 1 and inputs == 1 else "blocked"
    elif taps == 1 and all(s == 1 for s in op.ints_attr("strides") or (1,)):
        kind = "pointwise"
    if kind == "depthwise":
        groups = -(-groups // channels) * channels
    return Convolution(
        kind=kind,
        images=x[0],
        groups=groups,
        inputs=inputs,
        filters=filters,
        taps=taps,
        positions=math.prod(space),
        lines=math.prod(space[:-1]),
        width=space[-1] if space else 1,
        edge=edge,
        valid=math.prod(shares),
        bytes=size_of((op.inputs[0], output_of(op))),
    )


def transposed_convolution(op: Op) -> Convolution:
    """ConvTranspose: a product whose results are added to overlapping places."""
    x, w = shape_of(op.inputs[0]), shape_of(op.inputs[1])
    groups = op.int_attr("group", 1)
    return Convolution(
        kind="transposed",
        images=x[0],
        groups=groups,
        inputs=w[0] // groups,
        filters=w[1],
        taps=math.prod(w[2:]),
        positions=math.prod(x[2:]),
        bytes=size_of((op.inputs[0], output_of(op))),
    )


def integer_convolution(op: Op) -> Product:
    """An 8-bit convolution: a product of output positions by filters.

    ConvInteger has no packed filters: it multiplies them by the positions of each image, in
    a faster kernel where they are unsigned.
    """
    quantised = op.op_type.endswith("QLinearConv")
    weights = op.inputs[3 if quantised and len(op.inputs) > FLOAT_OPERANDS else 1]
    w = shape_of(weights)
    signed = weights is None or weights.dtype == "int8"
    out = shape_of(output_of(op))
    groups = op.int_attr("group", 1)
    channels_last = op.int_attr("channels_last", 0) == 1
    positions = math.prod(out[1:-1] if channels_last else out[2:])
    depth = w[1] * math.prod(w[2:])
    images = out[0] if out else 1
    filters = w[0] // groups
    around: tuple[tuple[str, float], ...] = (("cast", float(images * groups * positions * depth)),)
    if quantised:
        around += (("dequantize", float(math.prod(out))),)
    return Product(
        kind="int8" if quantised else "integer" if signed else "unsigned",
        rows=positions if quantised else filters,
        depth=depth,
        columns=filters if quantised else positions,
        batch=images * groups,
        node="conv",
        around=around,
    )


def reorder(tensor: Tensor | None) -> Linear:
    """A tensor that changes to or from the blocked layout."""
    elements = elements_of(tensor)
    return Linear(node="reorder", units=(("reorder", float(elements)),), bytes=8 * elements)


def _valid_shares(
    op: Op, source: tuple[int, ...], kernel: tuple[int, ...], out: tuple[int, ...]
) -> tuple[list[float], int]:
    """For each axis the share of taps that meet the input; and the last axis's edge."""
    rank = len(kernel)
    strides = op.ints_attr("strides") or (1,) * rank
    dilations = op.ints_attr("dilations") or (1,) * rank
    begins = (op.ints_attr("pads") or ())[:rank]
    if len(begins) < rank:
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
        begins = tuple(
            [
                max(0, (o - 1) * s + span - i) // 2
                for o, s, span, i in zip(out, strides, spans, source, strict=True)
            ]
        )
    shares, edge = [], 0
    for size, taps, places, stride, dilation, begin in zip(
        source, kernel, out, strides, dilations, begins, strict=True
    ):
        met = 0
        for tap in range(taps):
            # Output positions whose input position lies inside for this tap.
            low = max(0, -(-(begin - tap * dilation) // stride))
            high = min(places - 1, (size - 1 + begin - tap * dilation) // stride)
            met += max(0, high - low + 1)
        shares.append(met / (taps * places) if places else 1.0)
        first = max(0, -(-begin // stride))
        final = max(0, places - 1 - (size - 1 + begin - (taps - 1) * dilation) // stride)
        edge = min(places, first + final)
    return shares, edge
