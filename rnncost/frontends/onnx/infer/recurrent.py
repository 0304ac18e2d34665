"""RNN, GRU and LSTM layers: output and states for either layout and direction."""

from __future__ import annotations

from rnncost.frontends.onnx.infer.base import Call, InferenceError, Known, infers
from rnncost.frontends.onnx.infer.bounds import same, shape_text
from rnncost.frontends.onnx.infer.operands import (
    expect_rank,
    int_attr,
    known,
    operand,
    quoted,
    str_attr,
    unknown,
)
from rnncost.graph.dim import Dim, Shape

_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@infers("RNN", "GRU", "LSTM")
def recurrent(call: Call) -> tuple[Known, ...]:
    """Y [T, D, B, H], Y_h and (LSTM) Y_c [D, B, H]; with layout 1 the batch comes first.

    The weights are W [D, G·H, I], R [D, G·H, H] and B [D, 2·G·H] (ONNX operator LSTM-22).

    Raises:
        InferenceError: a weight contradicts the input, the direction or ``hidden_size``.
    """
    x, w, r = operand(call, 0), operand(call, 1), operand(call, 2)
    gates = _GATES[call.op_type]
    return _layer(call, x, gates, _transposed(w.shape), _transposed(r.shape))


@infers("com.microsoft::DynamicQuantizeLSTM")
def dynamic_quantize_lstm(call: Call) -> tuple[Known, ...]:
    """An LSTM with 8-bit weights W [D, I, 4·H] and R [D, H, 4·H], no layout."""
    x, w, r = operand(call, 0), operand(call, 1), operand(call, 2)
    return _layer(call, x, 4, w.shape, r.shape)


def _transposed(shape: Shape | None) -> Shape | None:
    """[D, out, in] as [D, in, out]."""
    return shape if shape is None or len(shape) != 3 else (shape[0], shape[2], shape[1])


def _layer(call: Call, x: Known, gates: int, w: Shape | None, r: Shape | None) -> tuple[Known, ...]:
    """Outputs from weights given as [D, in, out], after checking them."""
    outputs = 3 if gates == 4 else 2
    hidden = _hidden_size(call, r)
    if x.shape is None or hidden is None:
        return unknown(*(x.dtype,) * outputs)
    expect_rank(x.shape, 3, "the input X")
    directions = _directions(call)
    _check(x.shape, gates, directions, hidden, w, r)
    _check_bias(call.input(3), directions, gates, hidden)
    if int_attr(call, "layout", 0):
        batch, steps = x.shape[:2]
        sequence: Shape = (batch, steps, directions, hidden)
        state: Shape = (batch, directions, hidden)
    else:
        steps, batch = x.shape[:2]
        sequence, state = (steps, directions, batch, hidden), (directions, batch, hidden)
    _check_shape(call.input(4), "sequence_lens", (batch,))
    _check_shape(call.input(5), "initial_h", state)
    if gates == 4:
        _check_shape(call.input(6), "initial_c", state)
    return (known(x.dtype, sequence),) + (known(x.dtype, state),) * (outputs - 1)


def _directions(call: Call) -> int:
    direction = str_attr(call, "direction", "forward")
    if direction not in ("forward", "reverse", "bidirectional"):
        raise InferenceError(f"direction is {quoted(direction)}")
    return 2 if direction == "bidirectional" else 1


def _hidden_size(call: Call, r: Shape | None) -> Dim | None:
    """The attribute, or where it is left out the recurrent weights' input size."""
    given = int_attr(call, "hidden_size", 0)
    if given:
        return given
    if r is None:
        return None
    expect_rank(r, 3, "the recurrent weights R")
    return r[1]


def _check(
    x: Shape, gates: int, directions: int, hidden: Dim, w: Shape | None, r: Shape | None
) -> None:
    for name, shape, size in (("W", w, x[2]), ("R", r, hidden)):
        if shape is None:
            continue
        expect_rank(shape, 3, f"the weights {name}")
        for axis, want in enumerate((directions, size, gates * hidden)):
            what = f"{name} {shape_text(shape)} as [directions, input, gates] and its layer's sizes"
            same(shape[axis], want, what)


def _check_bias(bias: Known | None, directions: int, gates: int, hidden: Dim) -> None:
    _check_shape(bias, "the bias B", (directions, 2 * gates * hidden))


def _check_shape(source: Known | None, name: str, due: Shape) -> None:
    if source is None or source.shape is None:
        return
    expect_rank(source.shape, len(due), name)
    what = f"{name} {shape_text(source.shape)} and {shape_text(due)}"
    for extent, want in zip(source.shape, due, strict=True):
        same(extent, want, what)
