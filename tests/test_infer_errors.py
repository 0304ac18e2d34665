"""Nodes that contradict their definition are refused in words; nothing else escapes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from infer_support import call, floats, ints, run, scalar

from rnncost.frontends.onnx import proto
from rnncost.frontends.onnx.infer import Call, InferenceError, Known, infer
from rnncost.frontends.onnx.infer.base import _RULES
from rnncost.graph.dim import symbol

SEQ = symbol("seq", 97)


@pytest.mark.parametrize(
    ("node", "text"),
    [
        (call("MatMul", floats(2, 3), floats(4, 5)), r"\[2, 3\] and \[4, 5\] differ: 3 and 4"),
        (call("Gemm", floats(2, 3), floats(3, 5, 1)), r"B must have 2 dimensions, not \[3, 5, 1\]"),
        (call("Add", floats(2, 3), floats(4)), r"\[2, 3\] and \[4\] cannot be broadcast"),
        (call("Add", floats(SEQ, 3), floats(5, 3)), r"\[seq, 3\] and \[5, 3\]"),
        (call("Concat", floats(2, 3), floats(2, 4), axis=0), r"\[2, 3\] and \[2, 4\] differ"),
        (call("Concat", floats(2, 3), floats(3), axis=0), "ranks differ"),
        (call("Concat", floats(2), axis=1), "axis 1 is outside a tensor of 1 dimensions"),
        (call("Concat", floats(2)), "axis is required"),
        (call("Reshape", floats(2, 3), ints(4, 2)), r"\[2, 3\] cannot be reshaped to \[4, 2\]"),
        (call("Reshape", floats(2, 3), ints(-1, 4)), r"\[2, 3\] cannot be reshaped"),
        (call("Reshape", floats(2, 3), ints(-1, -1)), "more than one -1"),
        (call("Reshape", floats(2, 3), ints(-2, 3)), "a negative dimension"),
        (call("Reshape", floats(6), ints(6, 0)), "has no dimension to copy"),
        (call("Squeeze", floats(2, 3), ints(0)), r"axis 0 of \[2, 3\] is not 1"),
        (call("Unsqueeze", floats(2), ints(0, 0)), "an axis is named twice"),
        (call("Transpose", floats(2, 3), perm=[0]), r"perm \[0\] does not fit \[2, 3\]"),
        (call("Split", floats(7), axis=0, outputs=2), "7 cannot be split into 2 equal parts"),
        (call("Split", floats(7), ints(3, 3), outputs=2), r"parts of \[3, 3\] do not make up 7"),
        (call("Slice", floats(7), ints(0), ints(3), ints(0), ints(0)), "step of a slice"),
        (call("Gather", ints(1, 2, 3), ints(3)), "index 3 is outside the 3 of axis 0"),
        (call("Pad", floats(3), ints(-2, -2)), r"the output would be \[-1\]"),
        (call("Pad", floats(3), ints(1)), "1 pads do not fit 1 axes"),
        (call("ConstantOfShape", ints(-1)), r"the output would be \[-1\]"),
        (call("Tile", floats(3), ints(1, 2)), "2 repeats do not fit the 1 dimensions"),
        (call("TopK", floats(3), ints(4), outputs=2), "k 4 is outside the 3 of axis 0"),
        (call("Range", scalar(0), scalar(5), scalar(0)), "must not be 0"),
        (call("Conv", floats(1, 3, 8), floats(4, 2, 3)), r"\[1, 3, 8\] and weights \[4, 2, 3\]"),
        (call("Conv", floats(1, 3, 2), floats(4, 3, 3)), "a window of 3 .* does not fit 2"),
        (call("Conv", floats(1, 3, 8), floats(4, 3, 3), strides=[0]), "must be positive"),
        (call("MaxPool", floats(1, 3, 8)), "kernel_shape does not fit"),
        (call("MaxPool", floats(1, 3, 8), kernel_shape=[0]), r"kernel_shape \[0\] must be pos"),
        (call("Tile", floats(3, 3), ints(2**62, -2)), "the repeats .* must not be negative"),
        (call("Einsum", floats(2, 3), floats(4, 5), equation="ij,jk"), "'j' is both 3 and 4"),
        (call("Einsum", floats(2, 3), equation="ijk->i"), r"term 'ijk' does not fit \[2, 3\]"),
        (call("DepthToSpace", floats(1, 6, 2, 2), blocksize=2), "6 is no multiple of 4"),
        (call("Cast", floats(2), to=99), "names no element type: 99"),
        (call("Reshape", floats(1), ints(*[1] * 300)), "300 dimensions"),
        (call("Relu", floats(*[1] * 300)), "300 dimensions"),
        (call("Softmax"), "input 0 is required and missing"),
        (call("Transpose", floats(2, 3), perm=1.5), "perm must be a list of integers"),
        (call("SequenceAt", Known(dtype="", shape=None, items=(), is_sequence=True), scalar(0)),
         "position 0 is outside a sequence of 0"),
    ],
)  # fmt: skip
def test_contradictions_are_named(node: Call, text: str) -> None:
    with pytest.raises(InferenceError, match=text):
        infer(node)


def lstm(w: Known, r: Known, *rest: Known | None, **attrs: Any) -> tuple[Known, ...]:
    return infer(call("LSTM", floats(5, 2, 6), w, r, *rest, outputs=3, **attrs))


@pytest.mark.parametrize(
    ("w", "r", "bias", "attrs"),
    [
        (floats(1, 16, 7), floats(1, 16, 4), None, {}),
        (floats(1, 12, 6), floats(1, 16, 4), None, {}),
        (floats(2, 16, 6), floats(1, 16, 4), None, {}),
        (floats(1, 16, 6), floats(1, 16, 5), None, {"hidden_size": 4}),
        (floats(1, 16, 6), floats(1, 16, 4), floats(1, 16), {}),
        (floats(1, 16, 6), floats(1, 16, 4), None, {"direction": "bidirectional"}),
        (floats(1, 16, 6), floats(1, 16, 4), None, {"direction": "sideways"}),
        (floats(16, 6), floats(1, 16, 4), None, {}),
    ],
)
def test_lstm_weights_that_do_not_fit(
    w: Known, r: Known, bias: Known | None, attrs: dict[str, Any]
) -> None:
    with pytest.raises(InferenceError):
        lstm(w, r, bias, **attrs)
    assert lstm(floats(1, 16, 6), floats(1, 16, 4))[2].shape == (1, 2, 4)


def test_an_operator_that_nobody_knows_leaves_its_outputs_unknown() -> None:
    outputs = infer(call("my.domain::Whatever", floats(2, 3), outputs=2))
    assert outputs == (Known(dtype="float32", shape=None),) * 2


def test_operators_without_a_rule_here_are_left_to_the_onnx_package() -> None:
    boxes, batch = floats(5, 4), Known(dtype="int64", shape=(5,))
    size = {"output_height": 2, "output_width": 3}
    assert run("RoiAlign", floats(1, 3, 8, 8), boxes, batch, **size).shape == (5, 3, 2, 3)
    free = run("RoiAlign", floats(1, 3, 8, SEQ), boxes, batch, **size)
    assert (free.dtype, free.shape) == ("float32", None)
    with pytest.raises(InferenceError):
        run("RoiAlign", floats(1, 3, 8), boxes, batch, **size)


def test_more_outputs_than_the_operator_has() -> None:
    with pytest.raises(InferenceError, match="3 outputs are listed, there are 1"):
        infer(call("Relu", floats(2), outputs=3))
    assert len(infer(call("Dropout", floats(2), outputs=1))) == 1


for _family in ("Attention", "com.microsoft::Gelu"):  # imports the rarer families' rules
    run(_family, *[floats(1, 2, 3, 4)] * 3)
OPERATORS = sorted(_RULES)

_DIM = st.sampled_from([0, 1, 2, 3, 4, 2**40, SEQ, 2 * SEQ - 1])
_ELEMENT = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([2**63 - 1, -(2**63), SEQ, 1.5, float("nan"), float("inf"), "text", True]),
)


@st.composite
def any_known(draw: st.DrawFn) -> Known | None:
    dtype = draw(st.sampled_from(["float32", "int64", "bool", "string", "int4", ""]))
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return None
    if kind == 1:
        return Known(dtype=dtype, shape=None, is_sequence=draw(st.booleans()))
    if kind == 2:
        items = (Known(dtype=dtype, shape=(2,)),) * draw(st.integers(0, 3))
        return Known(dtype=dtype, shape=None, is_sequence=True, items=items)
    if kind == 3:
        return Known(dtype=dtype, shape=tuple(draw(st.lists(_DIM, max_size=5))))
    elements = draw(st.lists(_ELEMENT, max_size=5))
    shape = () if len(elements) == 1 and draw(st.booleans()) else (len(elements),)
    return Known(dtype=dtype, shape=shape, value=tuple(elements))


ATTRIBUTES = [
    "axis", "axes", "perm", "to", "kernel_shape", "pads", "strides", "dilations", "group",
    "equation", "keepdims", "blocksize", "split", "num_outputs", "hidden_size", "direction",
    "layout", "starts", "ends", "value", "mode", "num_heads", "kv_num_heads", "q_num_heads",
    "K", "N", "scales", "shape", "dtype", "batch_dims", "start", "end", "output_shape",
    "auto_pad", "ceil_mode", "onesided",
]  # fmt: skip
_TENSOR = proto.TensorProto(name="t", dtype="int64", dims=(1,), load=lambda: (2**62,))
_ATTRIBUTE = st.one_of(
    st.integers(-3, 30),
    st.sampled_from(
        [2**63 - 1, 1.5, "NOTSET", "bidirectional", "ij,jk->ik", "...", None, proto.GraphProto()]
    ),
    st.just(_TENSOR),
    st.lists(st.integers(-3, 5), max_size=4).map(tuple),
    st.lists(st.sampled_from([0.5, "a", 2**62]), max_size=3).map(tuple),
)


@given(
    st.sampled_from(OPERATORS),
    st.lists(any_known(), max_size=9),
    st.dictionaries(st.sampled_from(ATTRIBUTES), _ATTRIBUTE, max_size=6),
    st.integers(1, 4),
    st.sampled_from([1, 7, 9, 10, 11, 13, 18, 21, 23]),
)
@settings(max_examples=1500, deadline=2000)
def test_hostile_nodes_end_in_a_result_or_a_sentence(
    op: str, inputs: list[Known | None], attrs: dict[str, Any], outputs: int, opset: int
) -> None:
    node = Call(op_type=op, opset=opset, attrs=attrs, inputs=tuple(inputs), outputs=outputs)
    try:
        made = infer(node)
    except InferenceError:
        with pytest.raises(InferenceError, match=r"\w+"):
            infer(node)
        return
    assert len(made) == outputs
    for output in made:
        if output.shape is not None:
            assert all(dim >= 0 for dim in output.shape)
        assert output.value is None or len(output.value) <= 4096


def test_no_heavy_package_is_imported_for_ordinary_operators() -> None:
    code = (
        "import sys; from rnncost.frontends.onnx.infer import *;"
        "x = Known(dtype='float32', shape=(2, 3));"
        "infer(Call(op_type='LayerNormalization', opset=17, attrs={}, inputs=(x,), outputs=1));"
        "print([m for m in ('onnx', 'numpy', 'onnxruntime', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
