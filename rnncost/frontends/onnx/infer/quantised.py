"""Quantisation: to and from 8 bits and less, and ONNX Runtime's operators on such values."""

from __future__ import annotations

from rnncost.frontends.onnx.infer import views
from rnncost.frontends.onnx.infer.base import Call, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import broadcast
from rnncost.frontends.onnx.infer.cutting import joined
from rnncost.frontends.onnx.infer.operands import (
    dtype_attr,
    known,
    like,
    operand,
    required_int,
)


@infers("QuantizeLinear", "com.microsoft::QuantizeLinear")
def quantize_linear(call: Call) -> tuple[Known, ...]:
    """The zero point or ``output_dtype`` names the type, else it is uint8."""
    x, zero_point = operand(call, 0), call.input(2)
    dtype = dtype_attr(call, "output_dtype", "uint8") if zero_point is None else zero_point.dtype
    return (_converted(x, dtype),)


@infers("DequantizeLinear", "com.microsoft::DequantizeLinear")
def dequantize_linear(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    return (_converted(x, dtype_attr(call, "output_dtype", operand(call, 1).dtype)),)


def _converted(x: Known, dtype: str) -> Known:
    """A weight, quantised or not, stays the same parameter."""
    stored, seen = views.seen(x)
    return Known(dtype=dtype, shape=x.shape, stored=stored, views=seen)


@infers("DynamicQuantizeLinear")
def dynamic_quantize_linear(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    return (known("uint8", x.shape), known("float32", ()), known("uint8", ()))


@infers("com.microsoft::QLinearAdd", "com.microsoft::QLinearMul")
def qlinear_binary(call: Call) -> tuple[Known, ...]:
    """A, its scale and zero point, B, its scale and zero point, then those of the result."""
    a, b = operand(call, 0), operand(call, 3)
    shape = None if a.shape is None or b.shape is None else broadcast(a.shape, b.shape)
    return (known(a.dtype, shape),)


@infers(
    "com.microsoft::QLinearLeakyRelu",
    "com.microsoft::QLinearSigmoid",
    "com.microsoft::QLinearSoftmax",
)
def qlinear_unary(call: Call) -> tuple[Known, ...]:
    return (like(operand(call, 0)),)


@infers("com.microsoft::QLinearConcat")
def qlinear_concat(call: Call) -> tuple[Known, ...]:
    """The result's scale and zero point, then tensor, scale and zero point for each part."""
    sources = [operand(call, index) for index in range(2, len(call.inputs), 3)]
    if not sources:
        raise InferenceError("there is nothing to concatenate")
    made = joined(sources, required_int(call, "axis"))
    return (known(operand(call, 1).dtype, made.shape),)
