"""Convolutions and pools, whole and quantised: output extents from kernel, stride and pads."""

from __future__ import annotations

from rnncost.frontends.onnx.infer.base import Call, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import same, shape_text, smaller
from rnncost.frontends.onnx.infer.operands import (
    expect_rank,
    int_attr,
    ints_attr,
    ints_of,
    known,
    operand,
    quoted,
    str_attr,
    unknown,
)
from rnncost.graph.dim import Dim, Shape, ceil_div


def _spatial(call: Call, name: str, number: int, default: int) -> tuple[int, ...]:
    values = ints_attr(call, name)
    if values is None:
        return (default,) * number
    if len(values) != number:
        raise InferenceError(f"{name} {shape_text(values)} must have {number} entries")
    if min(values, default=0) < 0 or (default and 0 in values):
        raise InferenceError(f"{name} {shape_text(values)} must be positive")
    return values


def _auto_pad(call: Call) -> str:
    mode = str_attr(call, "auto_pad", "NOTSET")
    if mode not in ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"):
        raise InferenceError(f"auto_pad is {quoted(mode)}")
    return mode


def window_extents(
    call: Call, spatial: Shape, kernel: Shape, *, rounds_up: bool = False
) -> tuple[Dim, ...]:
    """``(x + pads - ((k - 1)·dilation + 1)) // stride + 1`` along each spatial axis.

    With ``rounds_up`` (ceil_mode of the pools) the division rounds up, but a window must
    start inside the input or its left pad (ONNX operator MaxPool-22, and ONNX Runtime).

    Raises:
        InferenceError: the window does not fit the padded input.
    """
    number = len(spatial)
    strides = _spatial(call, "strides", number, 1)
    dilations = _spatial(call, "dilations", number, 1)
    pads = _spatial(call, "pads", 2 * number, 0)
    mode = _auto_pad(call)
    extents: list[Dim] = []
    for axis, (x, k) in enumerate(zip(spatial, kernel, strict=True)):
        stride = strides[axis]
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            extents.append(ceil_div(x, stride))
            continue
        before, after = (0, 0) if mode == "VALID" else (pads[axis], pads[axis + number])
        room = x + (before + after) - ((k - 1) * dilations[axis] + 1)
        extent = room // stride + 1
        if rounds_up:
            extent = smaller(ceil_div(room, stride) + 1, ceil_div(x + before, stride))
        if extent < 1:
            raise InferenceError(
                f"a window of {k} (dilation {dilations[axis]}) does not fit"
                f" {x} with pads {before} and {after}"
            )
        extents.append(extent)
    return tuple(extents)


def conv_shape(call: Call, x: Shape, w: Shape) -> Shape:
    """[N, C, *S] with weights [M, C / group, *K] -> [N, M, *S'].

    Raises:
        InferenceError: ranks or channels do not fit.
    """
    if len(x) < 2 or len(w) != len(x):
        raise InferenceError(f"weights {shape_text(w)} do not fit an input {shape_text(x)}")
    group = int_attr(call, "group", 1)
    if group < 1 or w[0] % group:
        raise InferenceError(f"weights {shape_text(w)} cannot be split into {group} groups")
    what = f"channels of input {shape_text(x)} and weights {shape_text(w)} in {group} groups"
    same(x[1], w[1] * group, what)
    kernel = _kernel(call, w[2:])
    return (x[0], w[0], *window_extents(call, x[2:], kernel))


def _kernel(call: Call, spatial: Shape) -> Shape:
    kernel = ints_attr(call, "kernel_shape")
    if kernel is None:
        return spatial
    if len(kernel) != len(spatial):
        raise InferenceError(f"kernel_shape {shape_text(kernel)} is not {shape_text(spatial)}")
    for axis, (given, stored) in enumerate(zip(kernel, spatial, strict=True)):
        same(given, stored, f"kernel_shape and the weights along axis {axis}")
    return kernel


def _convolved(call: Call, x: Known, w: Known, dtype: str) -> tuple[Known, ...]:
    if x.shape is None or w.shape is None:
        return unknown(dtype)
    return (known(dtype, conv_shape(call, x.shape, w.shape)),)


@infers("Conv", "com.microsoft::FusedConv")
def conv(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    return _convolved(call, x, operand(call, 1), x.dtype)


@infers("ConvInteger")
def conv_integer(call: Call) -> tuple[Known, ...]:
    return _convolved(call, operand(call, 0), operand(call, 1), "int32")


@infers("QLinearConv", "com.microsoft::QLinearConv")
def qlinear_conv(call: Call) -> tuple[Known, ...]:
    x, w, dtype = operand(call, 0), operand(call, 3), operand(call, 7).dtype
    if not int_attr(call, "channels_last", 0):
        return _convolved(call, x, w, dtype)
    if x.shape is None or w.shape is None:
        return unknown(dtype)
    return (known(dtype, _last(conv_shape(call, _first(x.shape), w.shape))),)


@infers("com.microsoft::NhwcConv", "com.microsoft::NhwcFusedConv")
def nhwc_conv(call: Call) -> tuple[Known, ...]:
    """Channels last: input [N, *S, C], weights [M, *K, C / group]."""
    x, w = operand(call, 0), operand(call, 1)
    if x.shape is None or w.shape is None:
        return unknown(x.dtype)
    return (known(x.dtype, _last(conv_shape(call, _first(x.shape), _first(w.shape)))),)


def _first(shape: Shape) -> Shape:
    """Channels moved from the last axis to axis 1."""
    return (*shape[:1], *shape[-1:], *shape[1:-1])


def _last(shape: Shape) -> Shape:
    return (*shape[:1], *shape[2:], *shape[1:2])


@infers("CausalConvWithState")
def causal_conv(call: Call) -> tuple[Known, ...]:
    """Depthwise over [N, C, L]: the output keeps the shape, the state is the last K - 1."""
    x, w = operand(call, 0), operand(call, 1)
    if x.shape is None or w.shape is None:
        return unknown(x.dtype, x.dtype)
    expect_rank(x.shape, 3, "the input")
    expect_rank(w.shape, 3, "the weight")
    return (known(x.dtype, x.shape), known(x.dtype, (*x.shape[:2], w.shape[2] - 1)))


@infers("ConvTranspose")
def conv_transpose(call: Call) -> tuple[Known, ...]:
    """``stride·(x - 1) + output_padding + (k - 1)·dilation + 1 - pads`` along each axis.

    SAME_UPPER and SAME_LOWER cut that down to ``x·stride``; ``output_shape`` overrides both.
    """
    return _transposed(call, ())


@infers("com.microsoft::ConvTransposeWithDynamicPads")
def conv_transpose_with_dynamic_pads(call: Call) -> tuple[Known, ...]:
    pads = ints_of(call.input(2), "the pads")
    if call.input(2) is not None and pads is None:
        return unknown(operand(call, 0).dtype)
    return _transposed(call, pads or ())


def _transposed(call: Call, pads: Shape) -> tuple[Known, ...]:
    x, w = operand(call, 0), operand(call, 1)
    if x.shape is None or w.shape is None:
        return unknown(x.dtype)
    shape, weights = x.shape, w.shape
    if len(shape) < 2 or len(weights) != len(shape):
        raise InferenceError(f"weights {shape_text(weights)} do not fit {shape_text(shape)}")
    same(shape[1], weights[0], f"channels of {shape_text(shape)} and {shape_text(weights)}")
    number = len(shape) - 2
    channels = weights[1] * int_attr(call, "group", 1)
    given = ints_attr(call, "output_shape")
    if given is not None:
        # Some exporters write the batch and the channels too.
        return (known(x.dtype, (shape[0], channels, *given[len(given) - number :])),)
    kernel = _kernel(call, weights[2:])
    strides = _spatial(call, "strides", number, 1)
    dilations = _spatial(call, "dilations", number, 1)
    extra = _spatial(call, "output_padding", number, 0)
    pads = pads or _spatial(call, "pads", 2 * number, 0)
    mode = _auto_pad(call)
    extents: list[Dim] = []
    for axis in range(number):
        wide = shape[2 + axis] * strides[axis]
        full = wide - strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1 + extra[axis]
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            extents.append(smaller(full, wide))
        else:
            extents.append(full if mode == "VALID" else full - pads[axis] - pads[axis + number])
    return (known(x.dtype, (shape[0], channels, *extents)),)


@infers("MaxPool", "AveragePool", "LpPool", "com.microsoft::NhwcMaxPool")
def pool(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    outputs = (x.dtype, "int64")[: max(call.outputs, 1)]
    if x.shape is None:
        return unknown(*outputs)
    last = call.op_type.startswith("com.microsoft")
    shape = _pooled(call, _first(x.shape) if last else x.shape)
    return tuple(known(dtype, _last(shape) if last else shape) for dtype in outputs)


@infers("com.microsoft::QLinearAveragePool")
def qlinear_average_pool(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    if x.shape is None:
        return unknown(x.dtype)
    if not int_attr(call, "channels_last", 0):
        return (known(x.dtype, _pooled(call, x.shape)),)
    return (known(x.dtype, _last(_pooled(call, _first(x.shape)))),)


def _pooled(call: Call, shape: Shape) -> Shape:
    kernel = ints_attr(call, "kernel_shape")
    if kernel is None or len(kernel) != len(shape) - 2:
        raise InferenceError(f"kernel_shape does not fit an input {shape_text(shape)}")
    if min(kernel, default=1) < 1:
        raise InferenceError(f"kernel_shape {shape_text(kernel)} must be positive")
    rounds_up = bool(int_attr(call, "ceil_mode", 0))
    return (*shape[:2], *window_extents(call, shape[2:], kernel, rounds_up=rounds_up))


@infers("MaxUnpool")
def max_unpool(call: Call) -> tuple[Known, ...]:
    """``(x - 1)·stride + kernel - pads`` along each axis, unless ``output_shape`` is given."""
    x = operand(call, 0)
    given = call.input(2)
    if given is not None:
        return (known(x.dtype, ints_of(given, "output_shape")),)
    if x.shape is None:
        return unknown(x.dtype)
    number = len(x.shape) - 2
    kernel = _spatial(call, "kernel_shape", number, 1)
    strides = _spatial(call, "strides", number, 1)
    pads = _spatial(call, "pads", 2 * number, 0)
    extents = [
        (x.shape[2 + axis] - 1) * strides[axis] + kernel[axis] - pads[axis] - pads[axis + number]
        for axis in range(number)
    ]
    return (known(x.dtype, (*x.shape[:2], *extents)),)


@infers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    if x.shape is None:
        return unknown(x.dtype)
    return (known(x.dtype, x.shape[:2] + (1,) * len(x.shape[2:])),)


@infers("com.microsoft::QLinearGlobalAveragePool")
def qlinear_global_average_pool(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    if x.shape is None:
        return unknown(x.dtype)
    ones = (1,) * (len(x.shape) - 2)
    if int_attr(call, "channels_last", 0):
        return (known(x.dtype, (x.shape[0], *ones, x.shape[-1])),)
    return (known(x.dtype, (*x.shape[:2], *ones)),)
