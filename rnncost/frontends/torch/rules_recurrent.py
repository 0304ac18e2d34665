"""RNN, GRU and LSTM layers and cells as the ONNX operators of the same name.

Slots: X, W, R, B, sequence_lens, initial_h, initial_c, (peepholes), W_hr, and for 8-bit
weights W_scale, W_zero_point, R_scale, R_zero_point. A stack of layers is one operator a
layer, each reading the Y of the layer below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from rnncost.frontends.torch.call import Call, emits
from rnncost.frontends.torch.memory import dtype_name
from rnncost.frontends.torch.recorder import Recorder
from rnncost.frontends.torch.rules_dense import reshaped
from rnncost.frontends.torch.shapes import Answer, shapes
from rnncost.graph.dim import hint
from rnncost.graph.ir import AttrValue, Tensor

LAYERS = ("lstm", "gru", "rnn_tanh", "rnn_relu")
CELLS = ("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_OP_TYPES = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}


class Weights(msgspec.Struct, frozen=True, kw_only=True):
    """The weights of one layer and direction, as values of the graph.

    ``w`` [G·H, I], ``r`` [G·H, H or P], ``biases`` none or two [G·H], ``projection`` [P, H];
    ``scales`` are w_scale, w_zero_point, r_scale, r_zero_point of 8-bit weights.
    """

    w: Tensor
    r: Tensor
    biases: tuple[Tensor, ...] = ()
    projection: Tensor | None = None
    scales: tuple[Tensor, ...] = ()


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a recurrent function over a sequence.

    ``x`` is [T, B, I] ([B, T, I] with ``batch_first``), or [rows, I] with ``batch_sizes``.
    ``layers`` has the weights of each layer, one entry a direction.
    """

    cell: str
    x: Any
    states: tuple[Any, ...]
    layers: tuple[tuple[Weights, ...], ...]
    batch_first: bool
    batch_sizes: tuple[int, ...] | None

    @property
    def batch(self) -> int:
        if self.batch_sizes is not None:
            return self.batch_sizes[0]
        return int(self.x.shape[0 if self.batch_first else 1])

    def lead(self) -> tuple[int, int]:
        """Steps and batch; a packed sequence as if it were padded."""
        if self.batch_sizes is not None:
            return (len(self.batch_sizes), self.batch)
        return (int(self.x.shape[1 if self.batch_first else 0]), self.batch)


@emits(*LAYERS)
def layers(recorder: Recorder, call: Call) -> None:
    """nn.LSTM, nn.GRU and nn.RNN: ``aten::lstm.input``, and ``.data`` for packed sequences."""
    both = 2 if call["bidirectional"] else 1
    params = call["params"]
    each = len(params) // (call["num_layers"] * both)
    biased = bool(call["has_biases"])
    found = [
        _weights(recorder, params[at : at + each], biased) for at in range(0, len(params), each)
    ]
    emit_stack(recorder, call, stack_of(call, call.name, found, both))


def stack_of(call: Call, cell: str, weights: Sequence[Weights], both: int) -> Stack:
    """The arguments that float and quantised recurrent functions share."""
    hx = call["hx"]
    sizes = call.get("batch_sizes")
    return Stack(
        cell=cell,
        x=call.get("input", call.get("data")),
        states=tuple(hx) if isinstance(hx, (list, tuple)) else (hx,),
        layers=tuple([tuple(weights[at : at + both]) for at in range(0, len(weights), both)]),
        batch_first=bool(call.get("batch_first", False)),
        batch_sizes=None if sizes is None else tuple(sizes.tolist()),
    )


def _weights(recorder: Recorder, params: Sequence[Any], biased: bool) -> Weights:
    values = [recorder.read(p) for p in params]
    return Weights(
        w=values[0],
        r=values[1],
        biases=tuple(values[2:4]) if biased else (),
        projection=values[-1] if len(values) in (3, 5) else None,
    )


def emit_stack(recorder: Recorder, call: Call, stack: Stack) -> None:
    """One operator a layer; the call's results are the last Y and the final states."""
    lead = stack.lead()
    features = int(stack.x.shape[-1])
    x = reshaped(recorder.read(stack.x), (*lead, features))
    final: list[list[Tensor]] = [[] for _ in stack.states]
    dropped = bool(call.get("train", False) and call.get("dropout", 0.0))
    for number, weights in enumerate(stack.layers):
        if number and dropped:
            x = _dropped(recorder, call, x)
        suffix = f".l{number}" if len(stack.layers) > 1 else ""
        initial = [_initial(recorder, state, number, stack) for state in stack.states]
        y, *ends = _layer(recorder, call, stack, weights, x, initial, suffix)
        x = reshaped(y, (*lead, len(weights) * _columns(weights[0].r)))
        for state, value in zip(final, ends, strict=True):
            state.append(value)
    output, *states = call.outputs
    recorder.write(output, reshaped(x, output.shape), call.site)
    for tensor, values in zip(states, final, strict=True):
        if len(values) == 1:
            recorder.write(tensor, reshaped(values[0], tensor.shape), call.site)
        else:
            recorder.later(tensor, _stacked(recorder, call, tensor, values))


def _dropped(recorder: Recorder, call: Call, x: Tensor) -> Tensor:
    """Dropout between two layers, in training alone: a mask and a product."""
    site = msgspec.structs.replace(call.site, label="dropout")
    result = recorder.new(x.dtype, [hint(size) for size in x.shape or ()])
    return recorder.emit(site, "Mul", [x], [result])[0] or result


def _stacked(recorder: Recorder, call: Call, tensor: Any, values: list[Tensor]) -> Any:
    """The final states of all layers as one tensor, joined only if something reads it."""
    dtype, shape = dtype_name(tensor.dtype), tuple(tensor.shape)

    def produce() -> Tensor:
        whole = recorder.new(dtype, shape)
        site = msgspec.structs.replace(call.site, label="final_state")
        return recorder.emit(site, "Concat", values, [whole], {"axis": 0})[0] or whole

    return produce


def _layer(
    recorder: Recorder,
    call: Call,
    stack: Stack,
    weights: tuple[Weights, ...],
    x: Tensor,
    initial: Sequence[Tensor | None],
    suffix: str,
) -> list[Tensor]:
    """Write down one layer; its Y, Y_h and for an LSTM Y_c."""
    both, batch = len(weights), stack.batch
    hidden = _rows(weights[0].r) // _GATES[stack.cell]
    width = _columns(weights[0].r)
    results = [
        recorder.new(x.dtype, (stack.lead()[0], both, batch, width)),
        recorder.new(x.dtype, (both, batch, width)),
    ]
    if stack.cell == "lstm":
        results.append(recorder.new(x.dtype, (both, batch, hidden)))
    attrs = _attrs(stack.cell, hidden, both)
    if weights[0].projection is not None:
        attrs["proj_size"] = width
    if stack.batch_sizes is not None:
        attrs["batch_sizes"] = stack.batch_sizes
    if recorder.training and stack.batch_first:
        attrs["batch_first"] = 1  # a copy of the input, which training keeps
    slots = _slots(recorder, call, x, weights, initial)
    made = recorder.emit(call.site, _OP_TYPES[stack.cell], slots, results, attrs, suffix)
    return [value for value in made if value is not None]


def _attrs(cell: str, hidden: int, both: int) -> dict[str, AttrValue]:
    attrs: dict[str, AttrValue] = {
        "hidden_size": hidden,
        "direction": "bidirectional" if both == 2 else "forward",
    }
    if cell == "gru":
        attrs["linear_before_reset"] = 1
    elif cell.startswith("rnn"):
        attrs["activations"] = ("Tanh" if cell == "rnn_tanh" else "Relu",) * both
    return attrs


def _slots(
    recorder: Recorder,
    call: Call,
    x: Tensor,
    weights: Sequence[Weights],
    initial: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The inputs of the ONNX operator, without empty slots at the end."""

    def joined(parts: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
        return join(recorder, call, parts, (len(weights), *shape))

    first = weights[0]
    biases = [b for one in weights for b in one.biases]
    slots: list[Tensor | None] = [None] * 13
    slots[0] = x
    slots[1] = joined([one.w for one in weights], (_rows(first.w), _columns(first.w)))
    slots[2] = joined([one.r for one in weights], (_rows(first.r), _columns(first.r)))
    if biases:
        slots[3] = joined(biases, (2 * _rows(first.w),))
    slots[5 : 5 + len(initial)] = initial
    if first.projection is not None:
        projections = [one.projection for one in weights if one.projection is not None]
        slots[8] = joined(projections, plain_shape(first.projection))
    for at in range(len(first.scales)):
        scales = [one.scales[at] for one in weights]
        slots[9 + at] = joined(scales, plain_shape(scales[0]))
    while slots[-1] is None:
        slots.pop()
    return slots


def join(recorder: Recorder, call: Call, parts: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    """Several weights as one operand; stored ones need no operator for it."""
    if len(parts) == 1:
        return reshaped(parts[0], shape)
    if all(part.stored for part in parts):
        name = "+".join([part.name for part in parts])
        stored = tuple([slab for part in parts for slab in part.stored])
        return Tensor(name, parts[0].dtype, shape, stored=stored)
    whole = recorder.new(parts[0].dtype, shape)
    site = msgspec.structs.replace(call.site, label="weights")
    return recorder.emit(site, "Concat", list(parts), [whole], {"axis": 0})[0] or whole


def _initial(recorder: Recorder, state: Any, number: int, stack: Stack) -> Tensor | None:
    """The given state of one layer, [D, B, H]; None for zeros that the program made."""
    memory = recorder.memory
    if memory.is_zero(state):
        return None
    both = len(stack.layers[0])
    if len(stack.layers) == 1:
        return recorder.read(state)
    part = state.narrow(0, number * both, both)
    return recorder.value(memory.view_from(part, memory.view(state), None))


@emits(*CELLS)
def cell(recorder: Recorder, call: Call) -> None:
    """One step of nn.LSTMCell, nn.GRUCell or nn.RNNCell: X [B, I], states [B, H]."""
    biases = [call[name] for name in ("b_ih", "b_hh") if call[name] is not None]
    weights = Weights(
        w=recorder.read(call["w_ih"]),
        r=recorder.read(call["w_hh"]),
        biases=tuple([recorder.read(b) for b in biases]),
    )
    emit_cell(recorder, call, call.name.removesuffix("_cell"), weights)


def emit_cell(recorder: Recorder, call: Call, kind: str, weights: Weights) -> None:
    """Write down one step; the call's results are the new states."""
    hx = call["hx"]
    states = list(hx) if isinstance(hx, (list, tuple)) else [hx]
    initial = [
        None if recorder.memory.is_zero(s) else reshaped(recorder.read(s), (1, *s.shape))
        for s in states
    ]
    x = call["input"]
    step = reshaped(recorder.read(x), (1, *x.shape))
    slots = _slots(recorder, call, step, [weights], initial)
    results = [recorder.new(dtype_name(t.dtype), (1, *t.shape)) for t in call.outputs]
    attrs = _attrs(kind, _columns(weights.r), 1)
    made = recorder.emit(call.site, f"{_OP_TYPES[kind]}Cell", slots, [None, *results], attrs)
    for tensor, value in zip(call.outputs, made[1:], strict=True):
        if value is not None:
            recorder.write(tensor, reshaped(value, tensor.shape), call.site)


def _rows(matrix: Tensor) -> int:
    return plain_shape(matrix)[0]


def _columns(matrix: Tensor) -> int:
    return plain_shape(matrix)[1]


def plain_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape of a value, all of whose dimensions are numbers."""
    return tuple([n for n in tensor.shape or () if isinstance(n, int)])


# -- shapes -------------------------------------------------------------------------------


@shapes(*LAYERS)
def layer_shapes(call: Call) -> Answer:
    """Y and the final states; the states have the shapes of the initial ones."""
    hx = call["hx"]
    states = tuple(hx) if isinstance(hx, (list, tuple)) else (hx,)
    x = call.get("input", call.get("data"))
    width = states[0].shape[-1] * (2 if call["bidirectional"] else 1)
    finals = [(tuple(s.shape), s.dtype, None) for s in states]
    return [((*x.shape[:-1], width), x.dtype, None), *finals]


@shapes(*CELLS)
def cell_shapes(call: Call) -> Answer:
    hx = call["hx"]
    if not isinstance(hx, (list, tuple)):
        return tuple(hx.shape), hx.dtype, None
    return [(tuple(s.shape), s.dtype, None) for s in hx]
