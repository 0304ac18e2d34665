"""What elementwise operators, reductions, normalisations and copies ask of their kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnncost.graph.dim import hint
from rnncost.latency.onnxruntime_cpu.kernels import Linear
from rnncost.latency.onnxruntime_cpu.tensors import (
    element_bytes,
    elements_of,
    integers_of,
    output_of,
    scalar_of,
    shape_of,
    size_of,
)

if TYPE_CHECKING:
    from rnncost.counting.counted import CountedOp
    from rnncost.graph.ir import Op, Tensor

Units = tuple[tuple[str, float], ...]

UNARY: dict[str, Units] = {
    **dict.fromkeys(
        ("Relu", "Clip", "Abs", "Neg", "LeakyRelu", "HardSigmoid", "ThresholdedRelu", "Floor"),
        (("simple", 1.0),),
    ),
    **dict.fromkeys(("Ceil", "Round", "Sign", "Shrink", "PRelu", "Dropout"), (("simple", 1.0),)),
    **dict.fromkeys(("Sqrt", "Reciprocal"), (("divide", 1.0),)),
    **dict.fromkeys(("Sigmoid", "HardSwish", "Softsign"), (("sigmoid", 1.0),)),
    **dict.fromkeys(("Swish", "com.microsoft::QuickGelu"), (("sigmoid", 1.0), ("simple", 2.0))),
    "Tanh": (("tanh", 1.0),),
    **dict.fromkeys(("Exp", "Elu", "Selu", "Celu"), (("exp", 1.0),)),
    "Erf": (("erf", 1.0),),
    **dict.fromkeys(("Log", "Sin", "Cos"), (("log", 1.0),)),
    **dict.fromkeys(("Gelu", "com.microsoft::Gelu"), (("erf", 1.0), ("simple", 1.0))),
    **dict.fromkeys(
        ("com.microsoft::BiasGelu", "com.microsoft::FastGelu"), (("tanh", 1.0), ("simple", 3.0))
    ),
    **dict.fromkeys(
        (
            *("Softplus", "Mish", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh"),
            *("Acosh", "Atanh"),
        ),
        (("call", 1.0),),
    ),
    **dict.fromkeys(("Not", "IsNaN", "IsInf", "BitwiseNot"), (("compare", 0.5),)),
    **dict.fromkeys(("Cast", "CastLike"), (("cast", 1.0),)),
}
"""What one element takes, in units of ``Rates``."""

BINARY: dict[str, Units] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Min", "Max", "Sum", "Mean"), (("simple", 1.0),)),
    **dict.fromkeys(("Div", "Mod"), (("divide", 1.0),)),
    **dict.fromkeys(
        (
            *("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Xor"),
            *("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift"),
        ),
        (("compare", 1.0),),
    ),
    "Pow": (("power", 1.0),),
    "Where": (("branch", 1.0),),
}

STILL = 0.5
"""A stretch in which an operand stands still, as a share of one in which all run along."""

ACROSS = 5.0
"""How much longer an element takes in a reduction across rows than along them."""

BLOCKED_POOL = 0.25
"""A tap of a pool on the blocked layout, in those of the ordinary one."""

ACTIVATIONS = frozenset(
    ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "Softplus", "Softsign", "Elu")
)
"""What ONNX Runtime lets a product or a convolution apply to its own result."""


def times(units: Units, count: float) -> Units:
    """Units of so many elements."""
    return tuple([(rate, share * count) for rate, share in units])


def activation_units(op_type: str, elements: int) -> Units:
    """What an activation costs that another kernel applies."""
    return times(UNARY.get(op_type, (("simple", 1.0),)), elements)


def unary(op: Op) -> Linear:
    """One element after the other."""
    out = output_of(op)
    return Linear(
        node="unary",
        units=times(UNARY[op.op_type], elements_of(out) * _width(out)),
        bytes=size_of((op.inputs[0] if op.inputs else None, out)),
    )


def binary(op: Op) -> Linear:
    """Operands of which some may be broadcast, in stretches that are one call each."""
    out = output_of(op)
    elements = elements_of(out)
    units = _pow_units(op) if op.op_type == "Pow" else BINARY[op.op_type]
    operands = [tensor for tensor in op.inputs if tensor is not None]
    passes = max(1, len(operands) - 1) if op.op_type != "Where" else 1
    stretches, along = stretches_of([shape_of(t) for t in operands], shape_of(out))
    wide = max([_width(out), *[_width(t) for t in operands if elements_of(t) > 1]])
    node = "select" if op.op_type == "Where" else "broadcast" if stretches > 1 else "binary"
    return Linear(
        node=node,
        units=(
            *times(units, passes * elements * wide),
            *((("span", stretches * (1.0 if along else STILL)),) if stretches > 1 else ()),
        ),
        bytes=size_of((*operands, out)),
    )


def stretches_of(operands: Sequence[tuple[int, ...]], out: tuple[int, ...]) -> tuple[int, bool]:
    """How many stretches an output has in which each operand either runs along or stands still.

    The second value tells whether all operands run along.
    """
    rank = len(out)
    padded = [(1,) * (rank - len(shape)) + shape for shape in operands]
    inner, kind = 1, None
    for axis in range(rank - 1, -1, -1):
        if out[axis] == 1:
            continue
        now = tuple([shape[axis] == 1 for shape in padded])
        if kind is not None and now != kind:
            break
        kind = now
        inner *= out[axis]
    return math.prod(out) // inner if inner else 0, not any(kind or ())


def reduction(op: Op) -> Linear:
    """A sum, mean or maximum over axes."""
    source = op.inputs[0]
    shape, axes = shape_of(source), axes_of(op)
    elements = elements_of(source)
    last = not axes or axes == tuple(range(len(shape) - len(axes), len(shape)))
    rate = "scan" if op.op_type in ("ArgMax", "ArgMin") else "reduce"
    share = 1.0 if last else ACROSS
    return Linear(
        node="reduce",
        units=((rate, share * elements * _width(source)),),
        bytes=size_of((source, output_of(op))),
    )


def axes_of(op: Op) -> tuple[int, ...]:
    """The axes of a reduction, counted from the front and sorted; empty means all."""
    rank = len(shape_of(op.inputs[0]))
    axes = op.ints_attr("axes") or integers_of(op.tensor(1)) or ()
    if "axis" in op.attrs or op.op_type in ("ArgMax", "ArgMin"):
        axes = (op.int_attr("axis", 0),)
    return tuple(sorted([axis % rank for axis in axes])) if rank else ()


def softmax(op: Op) -> Linear:
    """Rows that are normalised; a row that is not contiguous is arranged first and after."""
    source = op.inputs[0]
    shape, elements = shape_of(source), elements_of(source)
    axis = op.int_attr("axis", -1) % len(shape) if shape else 0
    rows = elements // shape[axis] if shape and shape[axis] else 0
    units: Units = (("softmax", elements), ("span", 2.0 * rows))
    if shape and math.prod(shape[axis + 1 :]) > 1:
        units += (("strided", 2.0 * elements),)
    return Linear(node="softmax", units=units, bytes=size_of((source, output_of(op))))


def normalisation(op: Op) -> Linear:
    """Layers, groups or batches normalised: a few passes over each row."""
    source = op.inputs[0]
    shape, elements = shape_of(source), elements_of(source)
    name = op.op_type.split("::")[-1]
    if name == "BatchNormalization":
        return Linear(node="normalise", units=(("simple", elements),), bytes=2 * size_of((source,)))
    if name in ("InstanceNormalization", "GroupNormalization", "GroupNorm"):
        rows = math.prod(shape[:2])
    else:
        rows = elements // shape[-1] if shape and shape[-1] else 0
    units: Units = (("normalise", elements), ("span", 2.0 * rows))
    if name.startswith("Skip"):
        units += (("simple", elements),)
    return Linear(node="normalise", units=units, bytes=size_of((source, output_of(op))))


def quantisation(op: Op) -> Linear:
    """Between floating point and 8 bits."""
    source, out = op.inputs[0], output_of(op)
    rate = "dequantize" if "Dequantize" in op.op_type else "quantize"
    passes = 1.5 if "Dynamic" in op.op_type else 1.0
    return Linear(
        node="quantize",
        units=((rate, passes * elements_of(source)),),
        bytes=size_of((source, out)),
    )


def pooling(op: Op, blocked: bool = False) -> Linear:
    """A window an output; a global pool is a reduction."""
    source, out = op.inputs[0], output_of(op)
    kernel = op.ints_attr("kernel_shape")
    if kernel is None:
        units: Units = (("reduce", float(elements_of(source))),)
    else:
        taps = math.prod(kernel) * elements_of(out)
        share = BLOCKED_POOL if blocked else 1.0
        units = (("pool", share * (taps + 2 * elements_of(source))),)
    return Linear(node="pool", units=units, bytes=size_of((source, out)))


def other(row: CountedOp) -> Linear:
    """An operator without a kernel of its own here: its bytes and its arithmetic."""
    op, cost = row.op, row.cost
    arithmetic = sum(hint(n) for n in (cost.multiplies, cost.adds, cost.bias_adds))
    units: Units = (("simple", float(arithmetic)), ("exp", float(hint(cost.activations))))
    written = sum(elements_of(tensor) for tensor in op.outputs)
    if cost.kind != "elementwise":
        units += (("strided", float(written)),)
    read = [t for t in op.inputs if t is not None and not t.stored]
    return Linear(node="copy", units=units, bytes=size_of((*read, *op.outputs)))


def _pow_units(op: Op) -> Units:
    exponent = scalar_of(op.tensor(1))
    if exponent == 2:
        return (("divide", 2.0),)
    if exponent == 3:
        return (("divide", 4.0),)
    return BINARY["Pow"]


def _width(tensor: Tensor | None) -> float:
    """Elements of 8 bytes take twice the time of those of 4."""
    return max(1.0, element_bytes(tensor) / 4)
