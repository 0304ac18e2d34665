"""Work per element: one multiply, one add or one activation for each output element.

``adds`` holds every operation of an adder's cost: sums, comparisons, selections, sign and
bit operations, rounding. ``multiplies`` holds products and quotients, ``activations``
every other function of one element. Type conversion and copying are data movement.
"""

from __future__ import annotations

from rnncost.counting.cost import OpCost
from rnncost.counting.registry import (
    ROLE_CONSTANT,
    ROLE_WEIGHT,
    counts,
    is_parameter,
    numel,
    output_shape,
)
from rnncost.graph.dim import Dim
from rnncost.graph.ir import Op

_KIND = "elementwise"


@counts("Add")
def add(op: Op) -> OpCost:
    """One add an output; a bias add where exactly one operand is a stored weight."""
    outputs = numel(output_shape(op))
    if is_parameter(op, 0) != is_parameter(op, 1):
        return OpCost(kind=_KIND, bias_adds=outputs)
    return OpCost(kind=_KIND, adds=outputs)


@counts(
    "Sub",
    "Neg",
    "Abs",
    "Sign",
    "Ceil",
    "Floor",
    "Round",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "IsInf",
    "IsNaN",
    "And",
    "Or",
    "Xor",
    "Not",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
)
def one_add(op: Op) -> OpCost:
    """One operation of an adder's cost an output."""
    return OpCost(kind=_KIND, adds=numel(output_shape(op)))


@counts("Where", roles={0: ROLE_CONSTANT})
def where(op: Op) -> OpCost:
    """One selection an output, counted as an add."""
    return OpCost(kind=_KIND, adds=numel(output_shape(op)))


@counts("Mul", "Div", "Mod", "Reciprocal")
def one_multiply(op: Op) -> OpCost:
    """One product, quotient or remainder an output."""
    return OpCost(kind=_KIND, multiplies=numel(output_shape(op)))


@counts("Pow", roles={1: ROLE_CONSTANT})
def power(op: Op) -> OpCost:
    """A known exponent of 2 is one multiply, 3 two, 1 none; any other one activation."""
    outputs = numel(output_shape(op))
    exponent = op.tensor(1)
    value = exponent.value if exponent is not None else None
    for small in (1, 2, 3):
        if value == (small,):
            return OpCost(kind=_KIND, multiplies=(small - 1) * outputs)
    return OpCost(kind=_KIND, activations=outputs)


@counts(
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Celu",
    "Cos",
    "Cosh",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Log",
    "Mish",
    "Relu",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Swish",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "com.microsoft::Gelu",
    "com.microsoft::QuickGelu",
)
def one_activation(op: Op) -> OpCost:
    """One function of one element an output, whatever it takes to evaluate."""
    return OpCost(kind=_KIND, activations=numel(output_shape(op)))


@counts("PRelu", roles={1: ROLE_WEIGHT})
def prelu(op: Op) -> OpCost:
    """One activation an output; the slope is a parameter."""
    return OpCost(kind=_KIND, activations=numel(output_shape(op)))


@counts("Clip", roles={1: ROLE_CONSTANT, 2: ROLE_CONSTANT})
def clip(op: Op) -> OpCost:
    """One activation an output, as the bounded ReLU that it mostly is."""
    return OpCost(kind=_KIND, activations=numel(output_shape(op)))


@counts("SwiGLU")
def swiglu(op: Op) -> OpCost:
    """Swish of the gate and one multiply an output. Source: ONNX SwiGLU-28."""
    outputs = numel(output_shape(op))
    return OpCost(kind=_KIND, multiplies=outputs, activations=outputs)


@counts("Sum", "Max", "Min")
def variadic_adds(op: Op) -> OpCost:
    """One add or comparison an output for each operand after the first."""
    return OpCost(kind=_KIND, adds=(_operands(op) - 1) * numel(output_shape(op)))


@counts("Mean")
def variadic_mean(op: Op) -> OpCost:
    """The sum of the operands, and one multiply an output."""
    outputs = numel(output_shape(op))
    return OpCost(kind=_KIND, adds=(_operands(op) - 1) * outputs, multiplies=outputs)


@counts("com.microsoft::BiasGelu", "com.microsoft::FastGelu")
def bias_gelu(op: Op) -> OpCost:
    """One activation an output, after the bias if there is one."""
    outputs = numel(output_shape(op))
    biased: Dim = outputs if op.tensor(1) is not None else 0
    return OpCost(kind=_KIND, bias_adds=biased, activations=outputs)


@counts("com.microsoft::BiasAdd")
def bias_add(op: Op) -> OpCost:
    """A bias and a residual, each added once an output."""
    outputs = numel(output_shape(op))
    return OpCost(kind=_KIND, bias_adds=outputs, adds=outputs)


@counts("Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
def random_draw(op: Op) -> OpCost:
    """One draw an output, counted as an activation."""
    return OpCost(kind=_KIND, activations=numel(output_shape(op)))


@counts("HannWindow", "HammingWindow", "BlackmanWindow", default_role=ROLE_CONSTANT)
def window(op: Op) -> OpCost:
    """One cosine with its angle, weight and sum an output; Blackman has two."""
    cosines = 2 if op.op_type == "BlackmanWindow" else 1
    work = cosines * numel(output_shape(op))
    return OpCost(kind=_KIND, activations=work, multiplies=2 * work, adds=work)


@counts("RotaryEmbedding", roles={1: ROLE_CONSTANT, 2: ROLE_CONSTANT, 3: ROLE_CONSTANT})
def rotary(op: Op) -> OpCost:
    """Two multiplies and one add for each rotated element. Source: ONNX RotaryEmbedding-23."""
    return _rotary(op, cosines_at=1)


@counts("com.microsoft::RotaryEmbedding", default_role=ROLE_CONSTANT)
def contrib_rotary(op: Op) -> OpCost:
    """As RotaryEmbedding, with the position ids before the caches."""
    return _rotary(op, cosines_at=2)


def _rotary(op: Op, cosines_at: int) -> OpCost:
    shape = output_shape(op)
    elements = numel(shape)
    width = op.int_attr("rotary_embedding_dim", 0)
    if width:
        heads = op.int_attr("num_heads", 0)
        head = shape[-1] if len(shape) == 4 else shape[-1] // max(heads, 1)
        elements = elements // head * width
    return OpCost(kind=_KIND, multiplies=2 * elements, adds=elements)


def _operands(op: Op) -> int:
    return sum(tensor is not None for tensor in op.inputs)
