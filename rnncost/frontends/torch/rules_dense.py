"""Matrix work: linear layers, products, convolutions, attention and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from rnncost.frontends.torch.call import Call, emits
from rnncost.frontends.torch.memory import dtype_name
from rnncost.frontends.torch.recorder import Recorder
from rnncost.frontends.torch.shapes import spread
from rnncost.graph.ir import AttrValue, Tensor


def reshaped(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """The same value seen with another shape of as many elements; this costs nothing."""
    return msgspec.structs.replace(tensor, shape=tuple(shape))


def flat_rows(recorder: Recorder, x: Any) -> Tensor:
    """``x`` [..., K] as a matrix [M, K]."""
    columns = x.shape[-1]
    rows = x.numel() // columns if columns else 0
    return reshaped(recorder.read(x), (rows, columns))


@emits("linear", "mkldnn_linear", "_mkldnn_linear_pointwise")
def linear(recorder: Recorder, call: Call) -> None:
    """``x·Wᵀ + b`` with x [..., K], W [N, K], b [N]."""
    x, weight = call["input"], call["weight"]
    inputs = [flat_rows(recorder, x), recorder.read(weight)]
    if weight.dim() == 1:
        recorder.emit(call.site, "MatMul", [x, weight], [call.out])
        return
    if call["bias"] is not None:
        inputs.append(recorder.read(call["bias"]))
    recorder.emit(call.site, "Gemm", inputs, [call.out], {"transB": 1})


@emits("mm", "bmm", "matmul", "mv", "dot", "vdot", "inner", "__matmul__")
def matmul(recorder: Recorder, call: Call) -> None:
    recorder.emit(call.site, "MatMul", call.tensors[:2], [call.out])


@emits("addmm", "addmv")
def addmm(recorder: Recorder, call: Call) -> None:
    """``beta·self + alpha·(mat1 @ mat2)``."""
    a = call.get("mat1", call.get("mat"))
    b = call.get("mat2", call.get("vec"))
    second = recorder.read(b)
    if b.dim() == 1:
        second = reshaped(second, (b.shape[0], 1))
    attrs: dict[str, AttrValue] = {}
    for name in ("alpha", "beta"):
        if call.get(name, 1) != 1:
            attrs[name] = float(call[name])
    recorder.emit(call.site, "Gemm", [a, second, call["self"]], [call.out], attrs)


@emits("baddbmm", "addbmm")
def baddbmm(recorder: Recorder, call: Call) -> None:
    a, b = call["batch1"], call["batch2"]
    product = recorder.new(dtype_name(call.out.dtype), (a.shape[0], a.shape[1], b.shape[2]))
    value: Any = recorder.emit(call.site, "MatMul", [a, b], [product])[0]
    if call.name == "addbmm":
        summed = recorder.new(product.dtype, call.out.shape)
        value = recorder.emit(call.site, "ReduceSum", [value], [summed])[0]
    value = _scaled(recorder, call, value, "alpha")
    if call.get("beta", 1) == 0:
        recorder.write(call.out, value, call.site)
        return
    bias = _scaled(recorder, call, recorder.read(call["self"]), "beta")
    recorder.emit(call.site, "Add", [value, bias], [call.out])


def _scaled(recorder: Recorder, call: Call, value: Any, factor: str) -> Any:
    if call.get(factor, 1) == 1:
        return value
    scaled = recorder.new(value.dtype, value.shape)
    return recorder.emit(call.site, "Mul", [value, call[factor]], [scaled])[0]


@emits("outer", "ger")
def outer(recorder: Recorder, call: Call) -> None:
    recorder.emit(call.site, "Mul", call.tensors[:2], [call.out])


@emits("einsum")
def einsum(recorder: Recorder, call: Call) -> None:
    attrs: dict[str, AttrValue] = {"equation": call["equation"]}
    recorder.emit(call.site, "Einsum", call["tensors"], [call.out], attrs)


@emits(
    "conv1d",
    "conv2d",
    "conv3d",
    "convolution",
    "_convolution",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "mkldnn_convolution",
    "_convolution_mode",
)
def convolution(recorder: Recorder, call: Call) -> None:
    """x [N, C, ...], W [M, C/group, kernel...], or [C, M/group, kernel...] transposed."""
    x, weight = call.tensors[0], call["weight"]
    rank = weight.dim() - 2
    transposed = call.name.startswith("conv_transpose") or bool(call.get("transposed", False))
    attrs: dict[str, AttrValue] = {
        "group": int(call["groups"]),
        "kernel_shape": tuple(weight.shape[2:]),
        "strides": spread(call["stride"], rank),
        "dilations": spread(call["dilation"], rank),
    }
    padding = call["padding"]
    if isinstance(padding, str):
        attrs["auto_pad"] = "SAME_UPPER" if padding == "same" else "VALID"
    else:
        attrs["pads"] = spread(padding, rank) * 2
    if transposed:
        attrs["output_padding"] = spread(call.get("output_padding", 0), rank)
    value, out = recorder.read(x), call.out
    result: Any = out
    if x.dim() == rank + 1:
        value = reshaped(value, (1, *x.shape))
        result = recorder.new(dtype_name(out.dtype), (1, *out.shape))
    op_type = "ConvTranspose" if transposed else "Conv"
    made = recorder.emit(call.site, op_type, [value, weight, call["bias"]], [result], attrs)[0]
    if result is not out and made is not None:
        recorder.write(out, reshaped(made, out.shape), call.site)


@emits(
    "scaled_dot_product_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_attention_math",
)
def attention(recorder: Recorder, call: Call) -> None:
    """q [..., heads, Tq, d], k and v [..., heads, Tk, d]; further batch dimensions joined."""
    mask = call.get("attn_mask", call.get("attn_bias"))
    inputs: list[Any] = [_heads(recorder, call[name]) for name in ("query", "key", "value")]
    if mask is not None:
        inputs.append(mask)
    attrs: dict[str, AttrValue] = {"is_causal": int(bool(call.get("is_causal", False)))}
    if dropout := float(call.get("dropout_p", 0.0)):
        attrs["dropout"] = dropout
    out = call.out
    result = recorder.new(dtype_name(out.dtype), _four(tuple(out.shape)))
    made = recorder.emit(call.site, "Attention", inputs, [result], attrs)[0]
    if made is not None:
        recorder.write(out, reshaped(made, out.shape), call.site)


def _heads(recorder: Recorder, tensor: Any) -> Tensor:
    return reshaped(recorder.read(tensor), _four(tuple(tensor.shape)))


def _four(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) < 4:
        return (1,) * (4 - len(shape)) + shape
    batch = 1
    for size in shape[:-3]:
        batch *= size
    return (batch, *shape[-3:])


@emits("embedding")
def embedding(recorder: Recorder, call: Call) -> None:
    recorder.emit(call.site, "Gather", [call["weight"], call["indices"]], [call.out], {"axis": 0})


@emits("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(recorder: Recorder, call: Call) -> None:
    """Rows of the table, weighted if weights are given, then reduced bag by bag."""
    weight, indices = call["weight"], call["indices"]
    out = call.outputs[0]
    dtype = dtype_name(weight.dtype)
    shape = (indices.numel(), weight.shape[1])
    rows = recorder.new(dtype, shape)
    value = recorder.emit(call.site, "Gather", [weight, indices], [rows], {"axis": 0})[0]
    if call["per_sample_weights"] is not None:
        scaled = recorder.new(dtype, shape)
        value = recorder.emit(call.site, "Mul", [value, call["per_sample_weights"]], [scaled])[0]
    mode = ("ReduceSum", "ReduceMean", "ReduceMax")[int(call["mode"])]
    recorder.emit(call.site, mode, [value], [out])
    for other in call.outputs[1:]:
        recorder.mark_constant(other)


@emits("bilinear")
def bilinear(recorder: Recorder, call: Call) -> None:
    """``x1·W·x2 + b`` with W [N, I, J]."""
    left, right, weight = call["input1"], call["input2"], call["weight"]
    inputs = [flat_rows(recorder, left), recorder.read(weight), flat_rows(recorder, right)]
    attrs: dict[str, AttrValue] = {"equation": "bi,nij,bj->bn"}
    if call["bias"] is None:
        recorder.emit(call.site, "Einsum", inputs, [call.out], attrs)
        return
    product = recorder.new(dtype_name(call.out.dtype), call.out.shape)
    value = recorder.emit(call.site, "Einsum", inputs, [product], attrs)[0]
    recorder.emit(call.site, "Add", [value, call["bias"]], [call.out])
