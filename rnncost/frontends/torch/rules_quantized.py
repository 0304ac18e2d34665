"""``quantize_dynamic``: recurrent layers, cells and linear layers with 8- or 16-bit weights.

Torch keeps such weights packed in opaque objects. They are unpacked once for their shapes
and are named as the float module named them.
"""

from __future__ import annotations

from typing import Any

import torch

from rnncost.frontends.torch.call import Call, emits
from rnncost.frontends.torch.memory import dtype_name
from rnncost.frontends.torch.recorder import Recorder
from rnncost.frontends.torch.rules_dense import flat_rows, reshaped
from rnncost.frontends.torch.rules_recurrent import (
    Weights,
    cell_shapes,
    emit_cell,
    emit_stack,
    layer_shapes,
    plain_shape,
    stack_of,
)
from rnncost.frontends.torch.shapes import Answer, shapes
from rnncost.graph.ir import Slab, Tensor

_LAYERS = {"quantized_lstm": "lstm", "quantized_gru": "gru"}
_CELLS = {
    "quantized::quantized_lstm_cell_dynamic": "lstm",
    "quantized::quantized_gru_cell_dynamic": "gru",
    "quantized::quantized_rnn_relu_cell_dynamic": "rnn_relu",
    "quantized::quantized_rnn_tanh_cell_dynamic": "rnn_tanh",
}
_LINEAR = (
    "quantized::linear_dynamic",
    "quantized::linear_relu_dynamic",
    "quantized::linear_dynamic_fp16",
    "quantized::linear_relu_dynamic_fp16",
)


@emits(*_LAYERS)
def layers(recorder: Recorder, call: Call) -> None:
    """One packed object a layer and direction, each with two matrices and two biases."""
    both = 2 if call["bidirectional"] else 1
    found: list[Weights] = []
    for number, packed in enumerate(call["params"]):
        end = "_reverse" if number % both else ""
        suffix = f"l{number // both}{end}"
        ih, hh = packed.__getstate__()[0][4][:2]
        found.append(_pair(call, ih, hh, f"ih_{suffix}", f"hh_{suffix}"))
    emit_stack(recorder, call, stack_of(call, _LAYERS[call.name], found, both))


@emits(*_CELLS)
def cells(recorder: Recorder, call: Call) -> None:
    weights = _pair(call, call["w_ih"], call["w_hh"], "ih", "hh")
    emit_cell(recorder, call, _CELLS[call.name], weights)


def _pair(call: Call, ih: Any, hh: Any, ih_name: str, hh_name: str) -> Weights:
    path = call.site.path
    w, w_bias, *w_scales = _unpack(ih, path, ih_name)
    r, r_bias, *r_scales = _unpack(hh, path, hh_name)
    biases = tuple([b for b in (w_bias, r_bias) if b is not None])
    scales = tuple([s for s in (*w_scales, *r_scales) if s is not None])
    return Weights(w=w, r=r, biases=biases, scales=scales)


def _unpack(packed: Any, path: str, name: str) -> tuple[Tensor, Tensor | None, Any, Any]:
    """The matrix [N, K], the bias [N], and the scale and zero point of a packed object."""
    weight, bias = torch.ops.quantized.linear_unpack(packed)
    prefix = f"{path}." if path else ""
    dot = "_" if name else ""
    quantised = weight.is_quantized
    dtype = dtype_name(weight.dtype) if quantised else "float16"
    matrix = _stored(f"{prefix}weight{dot}{name}", dtype, tuple(weight.shape))
    vector = None
    if bias is not None:
        vector = _stored(f"{prefix}bias{dot}{name}", dtype_name(bias.dtype), tuple(bias.shape))
    if not quantised:
        return matrix, vector, None, None
    channels = weight.qscheme() in (torch.per_channel_affine, torch.per_channel_symmetric)
    count = (weight.shape[0],) if channels else (1,)
    scale = _stored(f"{prefix}weight{dot}{name}.scale", "float32", count)
    zero_point = _stored(f"{prefix}weight{dot}{name}.zero_point", "int8", count)
    return matrix, vector, scale, zero_point


def _stored(name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    slab = Slab(name, dtype, tuple([(0, n, 1) for n in shape]))
    return Tensor(name, dtype, shape, stored=(slab,))


@emits(*_LINEAR)
def linear(recorder: Recorder, call: Call) -> None:
    """x [..., K] quantised on the way in, W [N, K] stored in 8 bits, b [N] in float."""
    weight, bias, scale, zero_point = _unpack(call["W_prepack"], call.site.path, "")
    n, k = plain_shape(weight)
    x = flat_rows(recorder, call["X"])
    out: Any = call.out
    if "relu" in call.name:
        out = recorder.new(dtype_name(call.out.dtype), call.out.shape)
    if scale is None:
        slots = [x, weight] if bias is None else [x, weight, bias]
        made = recorder.emit(call.site, "Gemm", slots, [out], {"transB": 1})
    else:
        slots = [x, reshaped(weight, (k, n)), scale, zero_point]
        if bias is not None:
            slots.append(bias)
        made = recorder.emit(call.site, "com.microsoft::DynamicQuantizeMatMul", slots, [out])
    if "relu" in call.name:
        recorder.emit(call.site, "Relu", [made[0]], [call.out])


# -- shapes -------------------------------------------------------------------------------


shapes(*_LAYERS)(layer_shapes)
shapes(*_CELLS)(cell_shapes)


@shapes(*_LINEAR)
def linear_shapes(call: Call) -> Answer:
    x = call["X"]
    weight, _ = torch.ops.quantized.linear_unpack(call["W_prepack"])
    return (*x.shape[:-1], weight.shape[0]), x.dtype, None
