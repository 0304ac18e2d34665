"""Operators that make tensors from attributes: constants, random numbers, windows."""

from __future__ import annotations

from rnncost.frontends.onnx.infer import flat
from rnncost.frontends.onnx.infer.base import (
    VALUE_LIMIT,
    Call,
    Element,
    InferenceError,
    Known,
    infers,
)
from rnncost.frontends.onnx.infer.operands import (
    dtype_attr,
    int_attr,
    int_of,
    ints_attr,
    ints_of,
    known,
    operand,
    unknown,
)
from rnncost.frontends.onnx.proto import TensorProto

_SCALARS = {"value_float": "float32", "value_int": "int64", "value_string": "string"}
_LISTS = {"value_floats": "float32", "value_ints": "int64", "value_strings": "string"}


@infers("Constant")
def constant(call: Call) -> tuple[Known, ...]:
    """Any form of Constant. What is stored is for the caller to add: only it has the name."""
    for name, value in call.attrs.items():
        if isinstance(value, TensorProto):
            return (tensor(value),)
        if name in _SCALARS and isinstance(value, (int, float, str)):
            return (known(_SCALARS[name], (), (value,)),)
        if name in _LISTS and isinstance(value, tuple):
            elements = tuple([v for v in value if isinstance(v, (int, float, str))])
            held = elements if len(elements) <= VALUE_LIMIT else None
            return (known(_LISTS[name], (len(value),), held),)
    raise InferenceError("a Constant without a value")


def tensor(proto: TensorProto) -> Known:
    """A stored tensor as a value: its shape, and its elements when they are few."""
    value: tuple[Element, ...] | None = None
    if proto.load is not None and proto.numel <= VALUE_LIMIT:
        value = proto.load()
    return known(proto.dtype, proto.dims, value)


@infers("ConstantOfShape")
def constant_of_shape(call: Call) -> tuple[Known, ...]:
    dims = ints_of(operand(call, 0), "the shape")
    fill = call.attrs.get("value")
    one = known("float32", (1,), (0.0,))
    if fill is not None:
        if not isinstance(fill, TensorProto) or fill.numel != 1:
            raise InferenceError("attribute value must be a tensor of one element")
        one = tensor(fill)
    total = None if dims is None else flat.count(dims)
    if total is None or one.value is None:
        return (known(one.dtype, dims),)
    return (known(one.dtype, dims, one.value * total),)


@infers("Bernoulli", "EyeLike", "RandomNormalLike", "RandomUniformLike")
def random_like(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    return (known(dtype_attr(call, "dtype", x.dtype), x.shape),)


@infers("RandomNormal", "RandomUniform")
def random(call: Call) -> tuple[Known, ...]:
    shape = ints_attr(call, "shape")
    if shape is None:
        raise InferenceError("attribute shape is required and missing")
    return (known(dtype_attr(call, "dtype", "float32"), shape),)


@infers("Multinomial")
def multinomial(call: Call) -> tuple[Known, ...]:
    dtype, shape = dtype_attr(call, "dtype", "int32"), operand(call, 0).shape
    if shape is None:
        return unknown(dtype)
    return (known(dtype, (shape[0], int_attr(call, "sample_size", 1))),)


@infers("HannWindow", "HammingWindow", "BlackmanWindow")
def window(call: Call) -> tuple[Known, ...]:
    size = int_of(operand(call, 0), "the window size")
    dtype = dtype_attr(call, "output_datatype", "float32")
    return unknown(dtype) if size is None else (known(dtype, (size,)),)


@infers("MelWeightMatrix")
def mel_weight_matrix(call: Call) -> tuple[Known, ...]:
    """[dft_length // 2 + 1, num_mel_bins] (ONNX operator MelWeightMatrix-17)."""
    bins = int_of(operand(call, 0), "num_mel_bins")
    length = int_of(operand(call, 1), "dft_length")
    dtype = dtype_attr(call, "output_datatype", "float32")
    if bins is None or length is None:
        return unknown(dtype)
    return (known(dtype, (length // 2 + 1, bins)),)
