"""Spectral operators: DFT, STFT and ONNX Runtime's Rfft and Irfft."""

from __future__ import annotations

from rnncost.frontends.onnx.infer.base import Call, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import shape_text
from rnncost.frontends.onnx.infer.operands import axis_of, int_attr, int_of, known, operand, unknown
from rnncost.graph.dim import Dim


@infers("DFT")
def dft(call: Call) -> tuple[Known, ...]:
    """[..., n, ..., 1 or 2] -> [..., m, ..., 2]; DFT-20 takes the axis as an input.

    ``onesided`` keeps ``m // 2 + 1`` values; an inverse one takes them back to m real ones.
    """
    x, length_input = operand(call, 0), call.input(1)
    if x.shape is None:
        return unknown(x.dtype)
    axis_input = call.input(2)
    default = 1 if call.opset < 20 else -2
    axis: Dim | None = int_attr(call, "axis", default)
    if axis_input is not None:
        axis = int_of(axis_input, "the axis")
    length = None if length_input is None else int_of(length_input, "dft_length")
    if axis is None or (length_input is not None and length is None):
        return unknown(x.dtype)
    at = axis_of(axis, len(x.shape))
    onesided, inverse = int_attr(call, "onesided", 0), int_attr(call, "inverse", 0)
    extent = x.shape[at] if length is None else length
    if onesided and inverse and length is None:
        extent = 2 * (extent - 1)
    dims = list(x.shape)
    dims[at] = extent // 2 + 1 if onesided and not inverse else extent
    dims[-1] = 1 if onesided and inverse else 2
    return (known(x.dtype, tuple(dims)),)


@infers("STFT")
def stft(call: Call) -> tuple[Known, ...]:
    """[B, L, 1 or 2] -> [B, (L - frame) // step + 1, frame // 2 + 1 or frame, 2]."""
    x, window = operand(call, 0), call.input(2)
    step = int_of(operand(call, 1), "frame_step")
    length = int_of(call.input(3), "frame_length")
    if length is None and call.input(3) is None and window is not None and window.shape:
        length = window.shape[0]
    if x.shape is None or step is None or length is None:
        return unknown(x.dtype)
    if len(x.shape) < 2:
        raise InferenceError(f"the signal must have 2 or 3 dimensions, not {shape_text(x.shape)}")
    frames = (x.shape[1] - length) // step + 1
    bins = length // 2 + 1 if int_attr(call, "onesided", 1) else length
    return (known(x.dtype, (x.shape[0], frames, bins, 2)),)


@infers("com.microsoft::Rfft")
def rfft(call: Call) -> tuple[Known, ...]:
    """The last ``signal_ndim`` dimensions, the last of them halved, then real and imaginary."""
    x = operand(call, 0)
    if x.shape is None:
        return unknown(x.dtype)
    return (known(x.dtype, (*x.shape[:-1], x.shape[-1] // 2 + 1, 2)),)


@infers("com.microsoft::Irfft")
def irfft(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    if x.shape is None:
        return unknown(x.dtype)
    return (known(x.dtype, (*x.shape[:-2], 2 * (x.shape[-2] - 1))),)


@infers("com.microsoft::Inverse")
def inverse(call: Call) -> tuple[Known, ...]:
    x = operand(call, 0)
    return (known(x.dtype, x.shape),)
