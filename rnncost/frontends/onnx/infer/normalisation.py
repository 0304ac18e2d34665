"""Normalisations and Dropout: an output shaped like the input, and by-products."""

from __future__ import annotations

from rnncost.frontends.onnx.infer.base import Call, Known, infers
from rnncost.frontends.onnx.infer.operands import (
    axis_of,
    dtype_attr,
    int_attr,
    known,
    like,
    operand,
    unknown,
)


@infers("BatchNormalization")
def batch_normalization(call: Call) -> tuple[Known, ...]:
    """Y, then running mean and variance (and the saved ones before opset 14), all [C]."""
    mean, variance = operand(call, 3), operand(call, 4)
    return (like(operand(call, 0)), like(mean), like(variance), like(mean), like(variance))


@infers("GroupNormalization", "InstanceNormalization", "RMSNormalization")
def same_shape(call: Call) -> tuple[Known, ...]:
    return (like(operand(call, 0)),)


@infers("LayerNormalization", "SimplifiedLayerNormalization", "com.microsoft::LayerNormalization")
def layer_normalization(call: Call) -> tuple[Known, ...]:
    """Y, then mean and inverse deviation with the normalised dimensions 1.

    The simplified form has no mean: its second output is the inverse deviation.
    """
    x = operand(call, 0)
    dtype = dtype_attr(call, "stash_type", "float32")
    if x.shape is None:
        return unknown(x.dtype, dtype, dtype)
    axis = axis_of(int_attr(call, "axis", -1), len(x.shape))
    statistics = known(dtype, x.shape[:axis] + (1,) * len(x.shape[axis:]))
    return (like(x), statistics, statistics)


@infers("Dropout")
def dropout(call: Call) -> tuple[Known, ...]:
    """The input itself unless training; the mask is bool from opset 10 on."""
    x, training = operand(call, 0), call.input(2)
    idle = training is None or training.value == (False,)
    mask = known("bool" if call.opset >= 10 else x.dtype, x.shape)
    return (x if idle else like(x), mask)
