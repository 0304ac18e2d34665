"""Element by element: arithmetic, comparisons, activations and conversions."""

from __future__ import annotations

from typing import Any

import torch

from rnncost.frontends.torch.call import RULES, Call, Rule, emits
from rnncost.frontends.torch.memory import dtype_name
from rnncost.frontends.torch.recorder import Recorder

_SAME = {
    "Abs": "abs absolute",
    "Acos": "acos arccos",
    "Acosh": "acosh arccosh",
    "And": "logical_and",
    "Asin": "asin arcsin",
    "Asinh": "asinh arcsinh",
    "Atan": "atan arctan",
    "Atanh": "atanh arctanh",
    "BitwiseAnd": "bitwise_and __and__",
    "BitwiseNot": "bitwise_not",
    "BitwiseOr": "bitwise_or __or__",
    "BitwiseXor": "bitwise_xor __xor__",
    "Ceil": "ceil",
    "Celu": "celu",
    "Clip": "clamp clamp_max clamp_min clip hardtanh relu6",
    "Cos": "cos",
    "Cosh": "cosh",
    "Div": "div divide true_divide",
    "Elu": "elu",
    "Equal": "eq",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor trunc fix",
    "Gelu": "gelu",
    "Greater": "gt greater",
    "GreaterOrEqual": "ge greater_equal",
    "HardSigmoid": "hardsigmoid",
    "HardSwish": "hardswish",
    "IsInf": "isinf",
    "IsNaN": "isnan",
    "LeakyRelu": "leaky_relu rrelu",
    "Less": "lt less",
    "LessOrEqual": "le less_equal",
    "Log": "log",
    "Max": "maximum fmax",
    "Min": "minimum fmin",
    "Mish": "mish",
    "Mod": "remainder fmod",
    "Mul": "mul multiply",
    "Neg": "neg negative",
    "Not": "logical_not",
    "Or": "logical_or",
    "PRelu": "prelu _prelu_kernel",
    "Pow": "pow",
    "Reciprocal": "reciprocal",
    "Relu": "relu",
    "Round": "round",
    "Selu": "selu",
    "Shrink": "hardshrink softshrink",
    "Sigmoid": "sigmoid special_expit",
    "Sign": "sign sgn",
    "Sin": "sin",
    "Sinh": "sinh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sqrt": "sqrt",
    "Swish": "silu",
    "Tan": "tan",
    "Tanh": "tanh",
    "ThresholdedRelu": "threshold",
    "Xor": "logical_xor",
}

_CHAINS = {
    "expm1": ("Exp", "Sub"),
    "floor_divide": ("Div", "Floor"),
    "log10": ("Log", "Mul"),
    "log1p": ("Add", "Log"),
    "log2": ("Log", "Mul"),
    "log_sigmoid": ("Softplus", "Neg"),
    "log_sigmoid_forward": ("Softplus", "Neg"),
    "ne": ("Equal", "Not"),
    "not_equal": ("Equal", "Not"),
    "rsqrt": ("Sqrt", "Reciprocal"),
    "tanhshrink": ("Tanh", "Sub"),
}
"""Operators that ONNX writes as one after another; the first takes the operands."""


def operands(call: Call) -> list[Any]:
    """Tensors and numbers in the order of the arguments, up to the second operand."""
    values = [call.arguments[name] for name, _, keyword in call.signature.arguments if not keyword]
    return [v for v in values[:2] if isinstance(v, (torch.Tensor, int, float))]


def _same(op_type: str) -> Rule:
    def rule(recorder: Recorder, call: Call) -> None:
        recorder.emit(call.site, op_type, operands(call), [call.out])

    return rule


def _chain(op_types: tuple[str, ...]) -> Rule:
    def rule(recorder: Recorder, call: Call) -> None:
        chain(recorder, call, op_types, operands(call))

    return rule


for _op_type, _names in _SAME.items():
    for _name in _names.split():
        RULES[_name] = _same(_op_type)
for _name, _op_types in _CHAINS.items():
    RULES[_name] = _chain(_op_types)


def chain(recorder: Recorder, call: Call, op_types: tuple[str, ...], inputs: list[Any]) -> None:
    """Several operators in a row; each after the first works on the result before it."""
    out = call.out
    for number, op_type in enumerate(op_types):
        last = number == len(op_types) - 1
        target = out if last else recorder.new(dtype_name(out.dtype), out.shape)
        inputs = [recorder.emit(call.site, op_type, inputs, [target])[0]]


@emits("add", "sub", "subtract", "rsub", "add_relu", "_add_relu")
def add(recorder: Recorder, call: Call) -> None:
    """``self ± alpha·other``; a factor other than 1 is one Mul more."""
    op_type = "Sub" if call.name in ("sub", "subtract", "rsub") else "Add"
    other: Any = call["other"]
    if call.get("alpha", 1) != 1:
        if isinstance(other, torch.Tensor):
            scaled = recorder.new(dtype_name(other.dtype), other.shape)
            other = recorder.emit(call.site, "Mul", [other, call["alpha"]], [scaled])[0]
        else:
            other = other * call["alpha"]
    pair = [other, call["self"]] if call.name == "rsub" else [call["self"], other]
    if call.name.endswith("add_relu"):
        chain(recorder, call, ("Add", "Relu"), pair)
    else:
        recorder.emit(call.site, op_type, pair, [call.out])


@emits("addcmul", "addcdiv")
def addcmul(recorder: Recorder, call: Call) -> None:
    """``self + value·tensor1·tensor2``, or with a quotient."""
    op_type = "Mul" if call.name == "addcmul" else "Div"
    product = recorder.new(dtype_name(call.out.dtype), call.out.shape)
    value = recorder.emit(call.site, op_type, [call["tensor1"], call["tensor2"]], [product])[0]
    if call.get("value", 1) != 1:
        scaled = recorder.new(dtype_name(call.out.dtype), call.out.shape)
        value = recorder.emit(call.site, "Mul", [value, call["value"]], [scaled])[0]
    recorder.emit(call.site, "Add", [call["self"], value], [call.out])


@emits("lerp")
def lerp(recorder: Recorder, call: Call) -> None:
    """``self + weight·(end - self)``."""
    dtype, shape = dtype_name(call.out.dtype), call.out.shape
    step = recorder.emit(
        call.site, "Sub", [call["end"], call["self"]], [recorder.new(dtype, shape)]
    )[0]
    part = recorder.emit(call.site, "Mul", [step, call["weight"]], [recorder.new(dtype, shape)])[0]
    recorder.emit(call.site, "Add", [call["self"], part], [call.out])


@emits("square")
def square(recorder: Recorder, call: Call) -> None:
    recorder.emit(call.site, "Mul", [call["self"], call["self"]], [call.out])


@emits("glu")
def glu(recorder: Recorder, call: Call) -> None:
    """The first half times the sigmoid of the second."""
    dtype, shape = dtype_name(call.out.dtype), call.out.shape
    left, right = [
        recorder.emit(call.site, "Slice", [call["self"]], [recorder.new(dtype, shape)])[0]
        for _ in range(2)
    ]
    gate = recorder.emit(call.site, "Sigmoid", [right], [recorder.new(dtype, shape)])[0]
    recorder.emit(call.site, "Mul", [left, gate], [call.out])


@emits("where", "masked_fill")
def where(recorder: Recorder, call: Call) -> None:
    """``condition ? self : other``; masked_fill takes the value where the mask is set."""
    if call.name == "where":
        inputs = [call["condition"], call["self"], call["other"]]
    else:
        inputs = [call["mask"], call["value"], call["self"]]
    recorder.emit(call.site, "Where", inputs, [call.out])


@emits("to", "_to_copy", "type_as", "float", "double", "half", "bfloat16", "long", "int", "bool")
def convert(recorder: Recorder, call: Call) -> None:
    """Another element type; another device or layout alone is a copy."""
    source = call.tensors[0]
    op_type = "torch::copy" if source.dtype == call.out.dtype else "Cast"
    zero = recorder.memory.is_zero(source)
    recorder.emit(call.site, op_type, [source], [call.out])
    recorder.memory.buffer(call.out).zero = zero


@emits("copy")
def copy(recorder: Recorder, call: Call) -> None:
    """``self[...] = src``: the written place holds the source, converted or spread out."""
    target, source = call["self"], call["src"]
    op_type = "torch::copy"
    if target.dtype != source.dtype:
        op_type = "Cast"
    elif target.shape != source.shape:
        op_type = "Expand"
    recorder.emit(call.site, op_type, [source], [target])


@emits("fill", "zero")
def fill(recorder: Recorder, call: Call) -> None:
    value = call.get("value", 0)
    recorder.emit(call.site, "Expand", [value], [call.out])
