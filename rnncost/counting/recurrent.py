"""Recurrent layers and cells: RNN, GRU and LSTM, as ONNX RNN-22, GRU-22 and LSTM-22 define them.

A cell is the same operator without the time axis, run for one step. The letters are those
of docs/counting.md: T steps, B rows, I inputs, H units, P projected outputs, D directions.
"""

from __future__ import annotations

from rnncost.counting.cost import OpCost
from rnncost.counting.formula import ZERO, Term, formulas, term, values
from rnncost.counting.recurrent_layer import (
    INITIAL_C,
    INITIAL_H,
    LENGTHS,
    PEEPHOLES,
    PROJECTION,
    B,
    Layer,
    R,
    W,
    read_layer,
)
from rnncost.counting.registry import (
    ROLE_CONSTANT,
    ROLE_QUANTIZATION,
    ROLE_STATE,
    ROLE_WEIGHT,
    counts,
    has,
)
from rnncost.graph.dim import Dim
from rnncost.graph.ir import Op

# Scales and zero points of W and R stand at 9 to 12, after the projection, and in
# DynamicQuantizeLSTM, which has no projection, at 8 to 11.
_COMMON = {
    **dict.fromkeys((W, R, B, PEEPHOLES), ROLE_WEIGHT),
    **dict.fromkeys((INITIAL_H, INITIAL_C), ROLE_STATE),
    **dict.fromkeys((9, 10, 11), ROLE_QUANTIZATION),
    LENGTHS: ROLE_CONSTANT,
}
_ROLES = {**_COMMON, PROJECTION: ROLE_WEIGHT, 12: ROLE_QUANTIZATION}
_DYNAMIC_ROLES = {**_COMMON, 8: ROLE_QUANTIZATION}


@counts("RNN", "RNNCell", roles=_ROLES)
def rnn(op: Op) -> OpCost:
    """One gate: ``h = f(W·x + R·h + b)``.

    x [T, B, I], w [D, H, I], r [D, H, H]  ->  T·B·D·H·(I+H) MACs. Source: ONNX RNN-22.
    """
    layer = read_layer(op, gates=1)
    each = layer.rows * layer.directions * layer.hidden
    # ONNX Runtime's RNN kernel keeps one direction's input products at a time.
    buffer = layer.steps_padded * layer.batch * layer.hidden
    return _cost(layer, multiplies=ZERO, adds=each, activations=each, buffer=buffer)


@counts("GRU", "GRUCell", roles=_ROLES)
def gru(op: Op) -> OpCost:
    """Three gates z, r, n; ``linear_before_reset`` moves the product with r, not its cost.

    x [T, B, I], w [D, 3H, I], r [D, 3H, H]  ->  T·B·D·3H·(I+H) MACs. Multiplies: r∘h,
    (1-z)∘n, z∘h. Adds: the gate sums 3H, 1-z and the blend. Source: ONNX GRU-22.
    """
    layer = read_layer(op, gates=3)
    rows = layer.rows * layer.directions
    return _cost(
        layer,
        multiplies=rows * 3 * layer.hidden,
        adds=rows * 5 * layer.hidden,
        activations=rows * 3 * layer.hidden,
        buffer=_gate_buffer(layer),
    )


@counts("LSTM", "LSTMCell", roles=_ROLES)
def lstm(op: Op) -> OpCost:
    """Four gates, or three with ``input_forget`` (f = 1 - i, so its rows are never used).

    x [T, B, I], w [D, 4H, I], r [D, 4H, H]  ->  T·B·D·4H·(I+H) MACs; with a projection
    w_hr [D, P, H] and r [D, 4H, P]  ->  T·B·D·(4H·(I+P) + PH).
    Multiplies: f∘c, i∘g, o∘tanh(c) and three peepholes. Adds: the gate sums 4H, the cell
    update H, the peepholes; with ``input_forget`` 1 - i stands for the gate sum it saves.
    Source: ONNX LSTM-22; torch.nn.LSTM for the projection.
    """
    return _lstm(op, read_layer(op, gates=4, projected=has(op, PROJECTION)))


@counts("com.microsoft::DynamicQuantizeLSTM", roles=_DYNAMIC_ROLES)
def dynamic_quantize_lstm(op: Op) -> OpCost:
    """An LSTM with 8-bit weights, w [D, I, 4H] and r [D, H, 4H]: counted as the LSTM is.

    Source: ONNX Runtime contrib operator DynamicQuantizeLSTM-1.
    """
    return _lstm(op, read_layer(op, gates=4, transposed=True))


def _lstm(op: Op, layer: Layer) -> OpCost:
    coupled = op.int_attr("input_forget", 0) != 0
    peepholes = (2 if coupled else 3) if layer.peepholes else 0
    rows = layer.rows * layer.directions
    return _cost(
        layer,
        live_gates=3 if coupled else 4,
        multiplies=rows * (3 + peepholes) * layer.hidden,
        adds=rows * (5 + peepholes) * layer.hidden,
        activations=rows * (4 if coupled else 5) * layer.hidden,
        buffer=_gate_buffer(layer),
    )


def _gate_buffer(layer: Layer) -> Term:
    """The input products of the whole sequence, which ONNX Runtime holds for each direction."""
    return layer.directions * layer.steps_padded * layer.batch * layer.gates * layer.hidden


def _cost(
    layer: Layer,
    *,
    multiplies: Term,
    adds: Term,
    activations: Term,
    buffer: Term,
    live_gates: int | None = None,
) -> OpCost:
    used = layer.gates if live_gates is None else live_gates
    d, h, output = layer.directions, layer.hidden, layer.output
    rows, padded_rows = layer.rows * d, layer.steps_padded * layer.batch * d
    macs = _products(layer, rows, used, layer.inputs + output)
    dense = _products(layer, padded_rows, layer.gates, layer.inputs + output)
    sequential = _products(layer, rows, used, output)
    bias_adds = rows * (2 * used) * h if layer.biased else ZERO
    state = layer.batch * d * (h + output if layer.gates == 4 else h)
    extents = {} if layer.rows.text == "T*B" else values(L=layer.rows)
    textbook = _params(layer, biases=1).value
    return OpCost(
        kind="recurrent",
        macs=macs.value,
        dense_macs=dense.value,
        sequential_macs=sequential.value,
        multiplies=multiplies.value,
        adds=adds.value,
        bias_adds=bias_adds.value,
        activations=activations.value,
        state_bytes=state.value * layer.element_bytes,
        scratch_bytes=buffer.value * layer.element_bytes,
        sequential_steps=layer.steps,
        executed_steps=d.value * layer.steps,
        lookahead_steps=layer.lookahead,
        weight_reads=_weight_reads(layer),
        textbook_params=textbook if isinstance(textbook, int) else None,
        dims=_dims(layer),
        extents=extents,
        formulas=formulas(
            macs=macs,
            dense_macs=dense,
            sequential_macs=sequential,
            multiplies=multiplies,
            adds=adds,
            bias_adds=bias_adds,
            activations=activations,
            params=_params(layer, biases=2),
        ),
        notes=layer.notes,
    )


def _products(layer: Layer, rows: Term, gates: int, width: Term) -> Term:
    """MACs of the gates over ``width`` columns, and of the projection."""
    if layer.projected:
        return rows * (gates * layer.hidden * width + layer.output * layer.hidden)
    return rows * gates * layer.hidden * width


def _params(layer: Layer, biases: int) -> Term:
    """Stored scalars with this many bias vectors a gate, if there are any."""
    h = layer.hidden
    total = layer.gates * h * (layer.inputs + layer.output)
    if layer.projected:
        total = total + layer.output * h
    if layer.peepholes:
        total = total + 3 * h
    if layer.biased:
        total = total + biases * layer.gates * h
    return layer.directions * total


def _weight_reads(layer: Layer) -> dict[int, Dim]:
    """The recurrent matrix and the projection are read again at every step."""
    return dict.fromkeys((R, PROJECTION) if layer.projected else (R,), layer.steps)


def _dims(layer: Layer) -> dict[str, Dim]:
    letters = values(
        T=layer.steps_padded,
        B=layer.batch,
        I=layer.inputs,
        H=layer.hidden,
        D=layer.directions,
        G=term(layer.gates),
    )
    return {**letters, "P": layer.output.value} if layer.projected else letters
