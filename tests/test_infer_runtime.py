"""Inferred shapes are those that ONNX Runtime produces, where it has a kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from infer_support import array_known
from onnx import helper

from rnncost.frontends.onnx.infer import Call, InferenceError, Known, infer

onnxruntime.set_default_logger_severity(4)
Arrays = list["np.ndarray | None"]
Facts = list["tuple[str, tuple[int, ...]]"]


def executed(op: str, arrays: Arrays, outputs: int, domain: str, **attrs: Any) -> Facts:
    """Element types and shapes of the outputs of one node, as ONNX Runtime runs it."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(arrays)]
    made = [f"y{i}" for i in range(outputs)]
    present = [(n, a) for n, a in zip(names, arrays, strict=True) if a is not None]
    graph = helper.make_graph(
        [helper.make_node(op, names, made, domain=domain, **attrs)],
        "g",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in present
        ],
        [onnx.ValueInfoProto(name=name) for name in made],
    )
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [(str(y.dtype), y.shape) for y in session.run(None, dict(present))]


def inferred(op: str, arrays: Arrays, outputs: int, domain: str, **attrs: Any) -> tuple[Known, ...]:
    return infer(
        Call(
            op_type=f"{domain}::{op}" if domain else op,
            opset=1 if domain else 19,
            attrs={k: tuple(v) if isinstance(v, list) else v for k, v in attrs.items()},
            inputs=tuple(None if a is None else array_known(a) for a in arrays),
            outputs=outputs,
        )
    )


def f(*shape: int) -> np.ndarray:
    return np.zeros(shape, "float32")


def u8(*shape: int) -> np.ndarray:
    return np.zeros(shape, "uint8")


def i8(*shape: int) -> np.ndarray:
    return np.zeros(shape, "int8")


def i32(*values: int) -> np.ndarray:
    return np.array(values, "int32")


ONE, U0, I0 = np.array(1, "float32"), np.array(0, "uint8"), np.array(0, "int8")
IDS, MASK = np.zeros((2, 4), "int32"), np.ones((2, 4), "int32")
QUERY, KEY = f(2, 4, 32), f(2, 4, 16)

CONTRIB: list[tuple[str, Arrays, int, dict[str, Any]]] = [
    ("DynamicQuantizeMatMul", [f(2, 3, 8), i8(8, 5), f(1), i8(1)], 1, {}),
    ("MatMulIntegerToFloat", [u8(2, 3, 8), i8(8, 5), ONE, f(5)], 1, {}),
    ("MatMulInteger16", [np.zeros((3, 4), "int16"), np.zeros((4, 5), "int16")], 1, {}),
    ("FusedMatMul", [f(2, 3, 8), f(2, 5, 8)], 1, {"transB": 1}),
    ("FusedMatMul", [f(3, 2, 8), f(2, 8, 5)], 1, {"transBatchA": 1}),
    ("FusedMatMul", [f(8, 2, 3), f(2, 8, 5)], 1, {"transBatchA": 1, "transA": 1}),
    (
        "FusedMatMul",
        [f(4, 2, 3, 8), f(5, 2, 3, 8)],
        1,
        {"transBatchA": 1, "transBatchB": 1, "transB": 1},
    ),
    ("FusedGemm", [f(3, 8), f(5, 8), f(5)], 1, {"activation": "Relu", "transB": 1}),
    ("FusedConv", [f(1, 3, 9, 9), f(4, 3, 3, 3)], 1, {"activation": "Relu", "strides": [2, 1]}),
    ("QLinearAdd", [u8(2, 3), ONE, U0, u8(3), ONE, U0, ONE, U0], 1, {}),
    ("QLinearMul", [u8(2, 3), ONE, U0, u8(4, 1, 3), ONE, U0, ONE, U0], 1, {}),
    ("QLinearSigmoid", [u8(2, 3), ONE, U0, ONE, U0], 1, {}),
    ("QLinearLeakyRelu", [u8(2, 3), ONE, U0, ONE, U0], 1, {"alpha": 0.1}),
    ("QLinearConcat", [ONE, U0, u8(2, 3), ONE, U0, u8(2, 4), ONE, U0], 1, {"axis": 1}),
    ("QLinearGlobalAveragePool", [u8(1, 3, 4, 5), ONE, U0, ONE, U0], 1, {"channels_last": 0}),
    ("QLinearGlobalAveragePool", [u8(1, 3, 4, 5), ONE, U0, ONE, U0], 1, {"channels_last": 1}),
    (
        "QLinearAveragePool",
        [u8(1, 8, 9, 3), ONE, U0, ONE, U0],
        1,
        {"kernel_shape": [2, 3], "strides": [2, 2], "channels_last": 1, "ceil_mode": 1},
    ),
    ("QLinearConv", [u8(1, 9, 8, 3), ONE, U0, u8(4, 3, 3, 3), ONE, U0, ONE, U0], 1,
     {"channels_last": 1}),
    ("QGemm", [u8(3, 8), ONE, U0, i8(8, 5), ONE, I0, i32(*[0] * 5), ONE, U0], 1, {}),
    ("QGemm", [u8(3, 8), ONE, U0, i8(8, 5), ONE, I0], 1, {}),
    (
        "QAttention",
        [u8(2, 4, 8), i8(8, 24), f(24), ONE, ONE, None, U0, I0, f(2, 2, 2, 3, 4)],
        2,
        {"num_heads": 2, "unidirectional": 1},
    ),
    ("Attention", [f(2, 4, 8), f(8, 24), f(24)], 2, {"num_heads": 2, "unidirectional": 1}),
    (
        "Attention",
        [f(2, 4, 8), f(8, 24), f(24), None, f(2, 2, 2, 3, 4)],
        2,
        {"num_heads": 2, "unidirectional": 1},
    ),
    (
        "Attention",
        [f(2, 4, 8), f(8, 28), f(28)],
        1,
        {"num_heads": 2, "qkv_hidden_sizes": [8, 8, 12]},
    ),
    ("MultiHeadAttention", [f(2, 4, 8), f(2, 5, 8), f(2, 5, 12)], 1, {"num_heads": 2}),
    ("MultiHeadAttention", [f(2, 4, 8), f(2, 5, 8), f(2, 5, 8)], 3, {"num_heads": 2}),
    ("MultiHeadAttention", [f(2, 4, 8), f(2, 2, 5, 4), f(2, 2, 5, 4)], 1, {"num_heads": 2}),
    (
        "MultiHeadAttention",
        [f(2, 4, 8), f(2, 5, 8), f(2, 5, 8), None, None, None, f(2, 2, 3, 4), f(2, 2, 3, 4)],
        3,
        {"num_heads": 2},
    ),
    (
        "GroupQueryAttention",
        [QUERY, KEY, KEY, None, None, i32(3, 3), np.array(4, "int32")],
        3,
        {"num_heads": 4, "kv_num_heads": 2},
    ),
    (
        "GroupQueryAttention",
        [f(2, 4, 64), None, None, None, None, i32(3, 3), np.array(4, "int32")],
        3,
        {"num_heads": 4, "kv_num_heads": 2},
    ),
    (
        "GroupQueryAttention",
        [f(2, 1, 32), f(2, 1, 16), f(2, 1, 16), f(2, 2, 5, 8), f(2, 2, 5, 8), i32(5, 5),
         np.array(6, "int32")],
        3,
        {"num_heads": 4, "kv_num_heads": 2},
    ),
    (
        "EmbedLayerNormalization",
        [IDS, IDS, f(9, 8), f(9, 8), f(2, 8), f(8), f(8), MASK],
        3,
        {},
    ),
    ("SkipLayerNormalization", [f(2, 4, 8), f(2, 4, 8), f(8), f(8)], 1, {}),
    ("SkipSimplifiedLayerNormalization", [f(2, 4, 8), f(2, 4, 8), f(8)], 1, {}),
    ("Gelu", [f(2, 4)], 1, {}),
    ("FastGelu", [f(2, 4)], 1, {}),
    ("QuickGelu", [f(2, 4)], 1, {}),
    ("BiasGelu", [f(2, 4), f(4)], 1, {}),
    ("NhwcMaxPool", [u8(1, 8, 8, 3)], 1, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    (
        "MatMulNBits",
        [f(2, 4, 32), u8(16, 1, 16), f(16)],
        1,
        {"K": 32, "N": 16, "bits": 4, "block_size": 32},
    ),
    (
        "ConvTransposeWithDynamicPads",
        [f(1, 3, 5, 5), f(3, 4, 3, 3), np.ones(4, "int64")],
        1,
        {"strides": [2, 2], "output_padding": [1, 1]},
    ),
    ("QuantizeLinear", [f(2, 3), ONE, I0], 1, {}),
    ("DequantizeLinear", [u8(2, 3), ONE, U0], 1, {}),
    ("Inverse", [np.eye(3, dtype="float32")], 1, {}),
    (
        "DynamicQuantizeLSTM",
        [f(5, 2, 6), i8(2, 6, 16), i8(2, 4, 16), f(2, 32), None, None, None, None,
         f(2), i8(2), f(2), i8(2)],
        3,
        {"hidden_size": 4, "direction": "bidirectional"},
    ),
    (
        "RotaryEmbedding",
        [f(2, 4, 16), np.zeros(1, "int64"), f(10, 4), f(10, 4)],
        1,
        {"num_heads": 2},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("op", "arrays", "outputs", "attrs"), CONTRIB)
def test_contrib_operators(op: str, arrays: Arrays, outputs: int, attrs: dict[str, Any]) -> None:
    truth = executed(op, arrays, outputs, "com.microsoft", **attrs)
    mine = inferred(op, arrays, outputs, "com.microsoft", **attrs)
    assert [(known.dtype, known.shape) for known in mine] == truth


MAIN: list[tuple[str, Arrays, int, dict[str, Any]]] = [
    ("LSTM", [f(5, 2, 6), f(2, 16, 6), f(2, 16, 4)], 3,
     {"hidden_size": 4, "direction": "bidirectional"}),
    ("GRU", [f(5, 2, 6), f(1, 12, 6), f(1, 12, 4)], 2, {"hidden_size": 4}),
    ("RNN", [f(5, 2, 6), f(1, 4, 6), f(1, 4, 4)], 2, {"hidden_size": 4, "direction": "reverse"}),
    ("SimplifiedLayerNormalization", [f(2, 4, 8), f(8)], 2, {"axis": -1}),
    ("LayerNormalization", [f(2, 4, 8), f(4, 8), f(4, 8)], 3, {"axis": 1}),
    ("QLinearConv", [u8(1, 3, 9, 9), ONE, U0, u8(4, 3, 3, 3), ONE, U0, ONE, U0], 1, {}),
    ("MaxPool", [f(1, 1, 4)], 1, {"kernel_shape": [2], "pads": [1, 1], "ceil_mode": 1}),
    ("MaxPool", [f(1, 1, 4)], 1, {"kernel_shape": [1], "strides": [3], "ceil_mode": 1}),
    ("Einsum", [f(2, 3, 4), f(2, 4, 5)], 1, {"equation": "bij,bjk->bik"}),
    ("Resize", [f(1, 2, 7), None, np.array([1, 1, 1.7], "float32")], 1, {"mode": "nearest"}),
]  # fmt: skip


@pytest.mark.parametrize(("op", "arrays", "outputs", "attrs"), MAIN)
def test_main_operators(op: str, arrays: Arrays, outputs: int, attrs: dict[str, Any]) -> None:
    mine = inferred(op, arrays, outputs, "", **attrs)
    truth = executed(op, arrays, outputs, "", **attrs)
    assert [(known.dtype, known.shape) for known in mine] == truth


@given(st.data(), st.sampled_from(["MaxPool", "AveragePool", "LpPool", "Conv", "ConvTranspose"]))
@settings(max_examples=200, deadline=None)
def test_windows(data: st.DataObject, op: str) -> None:
    """Kernel, stride, dilation, pads and rounding, as the kernels of the runtime do them."""
    extent = data.draw(st.integers(1, 14))
    kernel, stride, dilation = (data.draw(st.integers(1, n)) for n in (4, 3, 2))
    mode = data.draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    # The runtime's pads forget the dilation with SAME_*: the standard's formula stands here.
    assume(dilation == 1 or mode in ("NOTSET", "VALID"))
    attrs: dict[str, Any] = {"strides": [stride], "dilations": [dilation], "auto_pad": mode}
    attrs["kernel_shape"] = [kernel]
    if mode == "NOTSET":
        pads = st.integers(0, kernel - 1)
        attrs["pads"] = [data.draw(pads), data.draw(pads)]
    arrays: Arrays = [f(1, 4, extent)]
    if op.endswith("Pool"):
        attrs["ceil_mode"] = data.draw(st.integers(0, 1))
    else:
        group = attrs["group"] = data.draw(st.sampled_from([1, 2]))
        arrays.append(f(6, 4 // group, kernel) if op == "Conv" else f(4, 6 // group, kernel))
    try:
        (mine,) = inferred(op, arrays, 1, "", **attrs)
    except InferenceError:  # a window larger than its input, for which the runtime has no rule
        assert (kernel - 1) * dilation + 1 > extent
        return
    try:
        ((_, shape),) = executed(op, arrays, 1, "", **attrs)
    except onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException:
        assume(False)  # MaxPool refuses pads as large as the kernel, which SAME_* can give
    except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument:
        assert mine.shape == (1, 6, 0)
        return
    assert mine.shape == shape
