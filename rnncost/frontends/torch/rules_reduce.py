"""Reductions, normalisations, pooling and resizing."""

from __future__ import annotations

from typing import Any

from rnncost.frontends.torch.call import RULES, Call, Rule, emits
from rnncost.frontends.torch.memory import dtype_name
from rnncost.frontends.torch.recorder import Recorder
from rnncost.frontends.torch.rules_dense import reshaped
from rnncost.frontends.torch.shapes import spread
from rnncost.graph.ir import AttrValue

_REDUCTIONS = {
    "ArgMax": "argmax",
    "ArgMin": "argmin",
    "CumProd": "cumprod",
    "CumSum": "cumsum",
    "ReduceLogSumExp": "logsumexp",
    "ReduceMax": "amax max any",
    "ReduceMean": "mean nanmean",
    "ReduceMin": "amin min all",
    "ReduceProd": "prod",
    "ReduceSum": "sum nansum count_nonzero",
    "TopK": "topk sort argsort median kthvalue mode msort",
    "NonZero": "nonzero nonzero_numpy argwhere",
}


def _reduction(op_type: str) -> Rule:
    def rule(recorder: Recorder, call: Call) -> None:
        x, dim = call.tensors[0], call.arguments.get("dim")
        if call.name in ("max", "min") and call.arguments.get("other") is not None:
            pair = [x, call["other"]]
            recorder.emit(call.site, "Max" if call.name == "max" else "Min", pair, call.outputs)
            return
        inputs: list[Any] = [x]
        if op_type.startswith("Cum") and dim is not None:
            inputs.append(int(dim))
        recorder.emit(call.site, op_type, inputs, call.outputs)

    return rule


for _op_type, _names in _REDUCTIONS.items():
    for _name in _names.split():
        RULES[_name] = _reduction(_op_type)


@emits("var", "std", "var_mean", "std_mean")
def variance(recorder: Recorder, call: Call) -> None:
    """Mean, deviations, their squares and the mean of those; a root for std."""
    x, out = call["self"], call.outputs[0]
    dtype = dtype_name(x.dtype)
    small = recorder.new(dtype, out.shape)
    mean = recorder.emit(call.site, "ReduceMean", [x], [small])[0]
    apart = recorder.emit(call.site, "Sub", [x, mean], [recorder.new(dtype, x.shape)])[0]
    last: Any = out if call.name.startswith("var") else recorder.new(dtype, out.shape)
    squares = recorder.emit(call.site, "Mul", [apart, apart], [recorder.new(dtype, x.shape)])[0]
    value = recorder.emit(call.site, "ReduceMean", [squares], [last])[0]
    if call.name.startswith("std"):
        recorder.emit(call.site, "Sqrt", [value], [out])
    if len(call.outputs) > 1 and mean is not None:
        recorder.write(call.outputs[1], mean, call.site)


@emits("norm", "linalg_vector_norm", "frobenius_norm")
def norm(recorder: Recorder, call: Call) -> None:
    """L1 and L2 norms; other orders are listed as not counted."""
    order = call.get("p", call.get("ord", 2))
    op_type = {1: "ReduceL1", 2: "ReduceL2"}.get(order, f"torch::{call.name}")
    recorder.emit(call.site, op_type, call.tensors[:1], [call.out])


@emits("softmax", "_softmax", "_safe_softmax", "log_softmax", "_log_softmax")
def softmax(recorder: Recorder, call: Call) -> None:
    op_type = "LogSoftmax" if "log" in call.name else "Softmax"
    recorder.emit(call.site, op_type, call.tensors[:1], [call.out], {"axis": call["dim"]})


@emits("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm")
def layer_norm(recorder: Recorder, call: Call) -> None:
    """x [..., normalized_shape], weight and bias of that shape, or none."""
    shape = call["normalized_shape"]
    rms = "rms" in call.name
    attrs: dict[str, AttrValue] = {"axis": -len(shape)}
    slots = [call["input"], call["weight"]]
    if not rms and call["bias"] is not None:
        slots.append(call["bias"])
    op_type = "RMSNormalization" if rms else "LayerNormalization"
    recorder.emit(call.site, op_type, slots, call.outputs[:1], attrs)
    _statistics(recorder, call)


@emits("group_norm", "native_group_norm")
def group_norm(recorder: Recorder, call: Call) -> None:
    groups = call.get("num_groups", call.get("group"))
    slots = [call["input"], call["weight"], call["bias"]]
    attrs: dict[str, AttrValue] = {"num_groups": int(groups)}
    recorder.emit(call.site, "GroupNormalization", slots, call.outputs[:1], attrs)
    _statistics(recorder, call)


@emits(
    "batch_norm",
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update",
    "cudnn_batch_norm",
)
def batch_norm(recorder: Recorder, call: Call) -> None:
    """x [N, C, ...]; running statistics, or those of the batch without them."""
    slots = [call["input"], call["weight"], call["bias"]]
    training = bool(call.get("training", False)) or call.get("running_mean") is None
    if not training:
        slots += [call["running_mean"], call["running_var"]]
    attrs: dict[str, AttrValue] = {"training_mode": 1} if training else {}
    recorder.emit(call.site, "BatchNormalization", slots, call.outputs[:1], attrs)
    _statistics(recorder, call)


@emits("instance_norm")
def instance_norm(recorder: Recorder, call: Call) -> None:
    """x [N, C, ...], with the statistics of each sample and channel, or stored ones."""
    slots = [call["input"], call["weight"], call["bias"]]
    if not call["use_input_stats"]:
        slots += [call["running_mean"], call["running_var"]]
        recorder.emit(call.site, "BatchNormalization", slots, call.outputs)
        return
    recorder.emit(call.site, "InstanceNormalization", slots, call.outputs)


def _statistics(recorder: Recorder, call: Call) -> None:
    """Saved statistics beside the result: part of the same operator."""
    for tensor in call.outputs[1:]:
        recorder.mark_constant(tensor)


_POOLS = {
    "MaxPool": "max_pool1d max_pool2d max_pool3d max_pool1d_with_indices "
    "max_pool2d_with_indices max_pool3d_with_indices",
    "AveragePool": "avg_pool1d avg_pool2d avg_pool3d",
}


def _pool(op_type: str) -> Rule:
    def rule(recorder: Recorder, call: Call) -> None:
        digit = next(c for c in call.name if c.isdigit())
        kernel = spread(call["kernel_size"], int(digit))
        attrs: dict[str, AttrValue] = {"kernel_shape": kernel}
        recorder.emit(call.site, op_type, call.tensors[:1], call.outputs[:1], attrs)
        _statistics(recorder, call)

    return rule


for _op_type, _names in _POOLS.items():
    for _name in _names.split():
        RULES[_name] = _pool(_op_type)


@emits(
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
)
def adaptive_pool(recorder: Recorder, call: Call) -> None:
    """Windows of input over output size, rounded up where they do not divide."""
    x, out = call["self"], call.outputs[0]
    rank = len(spread(call["output_size"], 1))
    kernel = tuple([-(-n // m) for n, m in zip(x.shape[-rank:], out.shape[-rank:], strict=True)])
    average = "avg" in call.name
    if all(m == 1 for m in out.shape[-rank:]):
        op_type = "GlobalAveragePool" if average else "GlobalMaxPool"
    else:
        op_type = "AveragePool" if average else "MaxPool"
    attrs: dict[str, AttrValue] = {"kernel_shape": kernel}
    recorder.emit(call.site, op_type, [x], [out], attrs)
    _statistics(recorder, call)


_RESIZES = {
    "nearest": "upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d",
    "linear": "upsample_linear1d upsample_bilinear2d upsample_trilinear3d _upsample_bilinear2d_aa",
    "cubic": "upsample_bicubic2d _upsample_bicubic2d_aa",
}


def _resize(mode: str) -> Rule:
    def rule(recorder: Recorder, call: Call) -> None:
        x = call.tensors[0]
        recorder.emit(call.site, "Resize", [x], [call.out], {"mode": mode})

    return rule


for _mode, _names in _RESIZES.items():
    for _name in _names.split():
        RULES[_name] = _resize(_mode)


@emits("cosine_similarity")
def cosine_similarity(recorder: Recorder, call: Call) -> None:
    """The products and two norms of each pair, and their quotient."""
    a, b, out = call["x1"], call["x2"], call.out
    dtype, small = dtype_name(out.dtype), tuple(out.shape)
    shape = max((tuple(a.shape), tuple(b.shape)), key=len)
    both = recorder.emit(call.site, "Mul", [a, b], [recorder.new(dtype, shape)])[0]
    top = recorder.emit(call.site, "ReduceSum", [both], [recorder.new(dtype, small)])[0]
    norms = [
        recorder.emit(call.site, "ReduceL2", [x], [recorder.new(dtype, small)])[0] for x in (a, b)
    ]
    below = recorder.emit(call.site, "Mul", norms, [recorder.new(dtype, small)])[0]
    recorder.emit(call.site, "Div", [top, below], [out])


@emits("stft")
def stft(recorder: Recorder, call: Call) -> None:
    """Frames of the signal times the window, then a Fourier transform of each."""
    x, window, out = call["self"], call["window"], call.out
    signal = reshaped(recorder.read(x), (*((1,) if x.dim() == 1 else ()), *x.shape, 1))
    step = int(call.get("hop_length", call["n_fft"] // 4))
    length = int(call.get("win_length", call["n_fft"]))
    recorder.emit(call.site, "STFT", [signal, step, window, length], [out], {"onesided": 1})
