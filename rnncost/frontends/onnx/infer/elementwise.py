"""Elementwise operators: unary, binary and variadic ones with numpy broadcasting, and Cast."""

from __future__ import annotations

import math

from rnncost.frontends.onnx.infer import fold, views
from rnncost.frontends.onnx.infer.base import Call, Known, infers
from rnncost.frontends.onnx.infer.bounds import broadcast
from rnncost.frontends.onnx.infer.operands import dtype_attr, int_attr, known, like, operand
from rnncost.graph.dim import Shape

_UNARY = {
    "Abs": fold.absolute,
    "Neg": fold.negate,
    "Floor": fold.rounded(math.floor),
    "Ceil": fold.rounded(math.ceil),
    "Round": fold.rounded(round),
    "Sqrt": fold.root,
    "Sign": fold.sign,
    "Not": lambda element: not element,
}
_BINARY = {
    "Add": fold.add,
    "Sub": fold.subtract,
    "Mul": fold.multiply,
    "Pow": fold.power,
}
_COMPARISON = {
    "Equal": fold.equal,
    "Less": fold.less,
    "LessOrEqual": fold.less_or_equal,
    "Greater": lambda a, b: fold.less(b, a),
    "GreaterOrEqual": lambda a, b: fold.less_or_equal(b, a),
    "And": lambda a, b: bool(a) and bool(b),
    "Or": lambda a, b: bool(a) or bool(b),
    "Xor": lambda a, b: bool(a) != bool(b),
}
_VARIADIC = {"Max": fold.maximum, "Min": fold.minimum, "Sum": fold.add}


@infers(
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Celu", "Cos", "Cosh",
    "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Hardmax", "LRN", "LeakyRelu",
    "Log", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "Mish", "Reciprocal",
    "Relu", "ReverseSequence", "Selu", "Shrink", "Sigmoid", "Sin", "Sinh", "Softmax", "Softplus",
    "Softsign", "Swish", "Tan", "Tanh", "ThresholdedRelu", "Trilu",
)  # fmt: skip
def same_as_input(call: Call) -> tuple[Known, ...]:
    """One output with the element type and shape of the first input."""
    return (like(operand(call, 0)),)


@infers(*_UNARY)
def unary(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    if x.value is None:
        return (like(x),)
    return (known(x.dtype, x.shape, fold.fold(_UNARY[call.op_type], x.dtype, x.shape, x)),)


@infers("Identity")
def identity(call: Call) -> tuple[Known, ...]:
    return (operand(call, 0),)


@infers("Clip")
def clip(call: Call) -> tuple[Known, ...]:
    """Clip-11 and later take the limits as inputs."""
    x = operand(call, 0)
    if x.value is None or "min" in call.attrs or "max" in call.attrs:
        return (like(x),)
    low, high = call.input(1), call.input(2)
    value = x
    if low is not None:
        value = known(x.dtype, x.shape, fold.fold(fold.maximum, x.dtype, x.shape, value, low))
    if high is not None:
        value = known(x.dtype, x.shape, fold.fold(fold.minimum, x.dtype, x.shape, value, high))
    return (known(x.dtype, x.shape, value.value),)


def _aligned(*sources: Known) -> Shape | None:
    shapes = [source.shape for source in sources if source.shape is not None]
    return broadcast(*shapes) if len(shapes) == len(sources) else None


@infers(*_BINARY)
def binary(call: Call) -> tuple[Known, ...]:
    a, b = operand(call, 0), operand(call, 1)
    shape = _aligned(a, b)
    if a.value is None or b.value is None:
        return (known(a.dtype, shape),)
    return (known(a.dtype, shape, fold.fold(_BINARY[call.op_type], a.dtype, shape, a, b)),)


@infers("Div")
def div(call: Call) -> tuple[Known, ...]:
    a, b = operand(call, 0), operand(call, 1)
    shape = _aligned(a, b)
    divide = fold.divide_integers if fold.is_integer(a.dtype) else fold.divide_floats
    return (known(a.dtype, shape, fold.fold(divide, a.dtype, shape, a, b)),)


@infers("Mod")
def mod(call: Call) -> tuple[Known, ...]:
    a, b = operand(call, 0), operand(call, 1)
    shape = _aligned(a, b)
    rest = fold.remainder if int_attr(call, "fmod", 0) else fold.modulo
    return (known(a.dtype, shape, fold.fold(rest, a.dtype, shape, a, b)),)


@infers(*_COMPARISON)
def comparison(call: Call) -> tuple[Known, ...]:
    a, b = operand(call, 0), operand(call, 1)
    shape = _aligned(a, b)
    return (known("bool", shape, fold.fold(_COMPARISON[call.op_type], "bool", shape, a, b)),)


@infers("BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "PRelu", "StringConcat", "SwiGLU")
def binary_shape(call: Call) -> tuple[Known, ...]:
    """Two operands broadcast together, elements not followed."""
    a, b = operand(call, 0), operand(call, 1)
    return (known(a.dtype, _aligned(a, b)),)


@infers("Max", "Min", "Sum", "Mean")
def variadic(call: Call) -> tuple[Known, ...]:
    sources = tuple(operand(call, index) for index in range(max(1, len(call.inputs))))
    result = sources[0]
    shape = _aligned(*sources)
    fn = _VARIADIC.get(call.op_type)
    if fn is None:
        return (known(result.dtype, shape),)
    for source in sources[1:]:
        step = _aligned(result, source)
        result = known(result.dtype, step, fold.fold(fn, result.dtype, step, result, source))
    return (known(result.dtype, shape, result.value),)


@infers("IsInf", "IsNaN")
def predicate(call: Call) -> tuple[Known, ...]:
    return (known("bool", operand(call, 0).shape),)


@infers("Where")
def where(call: Call) -> tuple[Known, ...]:
    condition, x, y = operand(call, 0), operand(call, 1), operand(call, 2)
    shape = _aligned(condition, x, y)
    value = fold.fold(lambda c, a, b: a if c else b, x.dtype, shape, condition, x, y)
    return (known(x.dtype, shape, value),)


@infers("Cast", "CastLike", "BitCast")
def cast(call: Call) -> tuple[Known, ...]:
    """Cast keeps what is stored: a converted weight is the same parameter."""
    x = operand(call, 0)
    like_dtype = operand(call, 1).dtype if call.op_type == "CastLike" else ""
    dtype = like_dtype or dtype_attr(call, "to", x.dtype)
    value = None
    if call.op_type != "BitCast" and x.value is not None:
        value = fold.fold(fold.cast_to(dtype), dtype, x.shape, x)
    stored, seen = views.seen(x)
    return (Known(dtype=dtype, shape=x.shape, value=value, stored=stored, views=seen),)
