"""The equations of LSTM, GRU and RNN over a block of steps, and their reverse.

Sources: the ONNX operators LSTM-22, GRU-22 and RNN-22, and ONNX Runtime's kernels where
those differ (an LSTM's ``clip`` does not bound its cell state). The hidden state before each
step is not computed but taken from the runtime's own outputs, so that the gates are those of
the run itself, an error does not add up from step to step, and a block is a few products.
Arithmetic is in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rnncost.along_time.activations import Activation

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

Kind = Literal["lstm", "gru", "rnn"]
LETTERS: dict[Kind, str] = {"lstm": "iofc", "gru": "zrh", "rnn": "h"}
"""The gates of a cell in the order of its weights, by their ONNX letters."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One direction of a recurrent layer.

    ``w`` [G·H, I], ``r`` [G·H, H], ``bias_w`` and ``bias_r`` [G·H], ``peepholes`` [3, H] in the
    order i, o, f or None. ``coupled`` is ``input_forget``. ``quantised`` weights are
    dequantised ones, and x and h are quantised to 8 bits before they meet them.
    """

    kind: Kind
    units: int
    functions: tuple[Activation, ...]
    clip: float | None
    coupled: bool
    linear_before_reset: bool
    quantised: bool
    w: Array
    r: Array
    bias_w: Array
    bias_r: Array
    peepholes: Array | None

    def block(self, values: Array, letter: str) -> Array:
        """The rows of one gate."""
        at = LETTERS[self.kind].index(letter) * self.units
        return values[at : at + self.units]

    def clipped(self, x: Array) -> Array:
        """The input of an activation within ``clip``."""
        return x if self.clip is None else x.clip(-self.clip, self.clip)

    def slope(self, function: Activation, x: Array) -> Array:
        """The derivative of an activation of the clipped input, by the input before."""
        slope: Array = function.slope(self.clipped(x))
        return slope if self.clip is None else slope * (abs(x) < self.clip)


class Block(msgspec.Struct, frozen=True):
    """What some steps give, each [t, B, H]: states, the kept share of the state, factors.

    ``log_gate`` is the natural logarithm of the magnitude of the gate that keeps the state,
    None for an RNN. ``negative`` says whether that gate was below 0 in a row that had not ended.
    ``factors`` are what ``pull_back`` needs, for the rows that were asked for, [t, rows, H]; none
    without such rows.
    """

    h: Array
    c: Array | None
    log_gate: Array | None
    negative: bool
    factors: tuple[Array, ...]


def forward(
    cell: Cell, x: Array, before: Array, c: Array | None, active: Array, rows: int
) -> Block:
    """Run some steps.

    Args:
        cell: the layer's direction.
        x: its inputs [t, B, I].
        before: the hidden state before each step [t, B, H].
        c: an LSTM's cell state before the first step [B, H].
        active: whether a row has not ended [t, B]; one that has keeps its cell state.
        rows: give the factors of so many rows.
    """
    if cell.kind == "lstm":
        assert c is not None
        return _lstm(cell, _preactivations(cell, x, before), c, active, rows)
    if cell.kind == "gru":
        return _gru(cell, x, before, active, rows)
    a = _preactivations(cell, x, before)
    (function,) = cell.functions
    factors = (cell.slope(function, a[:, :rows]),) if rows else ()
    return Block(function(cell.clipped(a)), None, None, False, factors)


def pull_back(cell: Cell, factors: tuple[Array, ...], v: Array) -> Array:
    """Gradients by the state before a step, from those by the state after it.

    Args:
        cell: the layer's direction.
        factors: of that step, each [rows, H].
        v: gradients [n, rows, S]; the state is h, or h and c side by side (S = 2·H).
    """
    if cell.kind == "lstm":
        return _pull_back_lstm(cell, factors, v)
    if cell.kind == "gru":
        return _pull_back_gru(cell, factors, v)
    return _product(v * factors[0], cell.r)


def _product(v: Array, matrix: Array) -> Array:
    """Rows [n, rows, G] times a matrix [G, H], all in one product."""
    flat = v.reshape(-1, v.shape[-1]) @ matrix
    result: Array = flat.reshape(*v.shape[:-1], matrix.shape[-1])
    return result


def _preactivations(cell: Cell, x: Array, before: Array) -> Array:
    """W·x + R·h + both biases [t, B, G·H]."""
    result: Array = x @ cell.w.T + before @ cell.r.T + (cell.bias_w + cell.bias_r)
    return result


def _lstm(cell: Cell, a: Array, c: Array, active: Array, rows: int) -> Block:
    import numpy as np

    gate, candidate, output = cell.functions
    a_i, a_o, a_f, a_c = np.split(a, 4, axis=2)
    g = candidate(cell.clipped(a_c))
    peep = cell.peepholes
    i = np.empty_like(g) if peep is not None else gate(cell.clipped(a_i))
    f = np.empty_like(g) if peep is not None else _forget(cell, a_i, a_f)
    states = np.empty((len(a) + 1, *c.shape))
    states[0] = c
    whole = bool(active.all())
    for t in range(len(a)):
        if peep is not None:
            a_i[t] += peep[0] * c
            a_f[t] += peep[2] * c
            i[t] = gate(cell.clipped(a_i[t]))
            f[t] = _forget(cell, a_i[t], a_f[t])
        new = f[t] * c + i[t] * g[t]
        c = new if whole else np.where(active[t][:, None], new, c)
        states[t + 1] = c
    after = states[1:]
    if peep is not None:
        a_o += peep[1] * after
    o = gate(cell.clipped(a_o))
    shown = output(after)
    factors: tuple[Array, ...] = ()
    if rows:
        b = slice(rows)
        by_i = g[:, b] - states[:-1, b] if cell.coupled else g[:, b]
        by_f = np.zeros_like(by_i) if cell.coupled else states[:-1, b]
        factors = (
            o[:, b] * output.slope(after[:, b]),
            shown[:, b] * cell.slope(gate, a_o[:, b]),
            f[:, b],
            by_i * cell.slope(gate, a_i[:, b]),
            by_f * cell.slope(gate, a_f[:, b]),
            i[:, b] * cell.slope(candidate, a_c[:, b]),
        )
    return Block(o * shown, after, log_forget(cell, a_i, a_f), _negative(f, active), factors)


def _forget(cell: Cell, a_i: Array, a_f: Array) -> Array:
    gate = cell.functions[0]
    return 1.0 - gate(cell.clipped(a_i)) if cell.coupled else gate(cell.clipped(a_f))


def log_forget(cell: Cell, a_i: Array, a_f: Array) -> Array:
    """The natural logarithm of the forget gate's magnitude.

    Args:
        cell: an LSTM.
        a_i: what the input gate is computed from, before it is clipped.
        a_f: the same of the forget gate; it is not used where the two are coupled.
    """
    import numpy as np

    gate = cell.functions[0]
    if not cell.coupled:
        return gate.log_magnitude(cell.clipped(a_f))
    if gate.name == "sigmoid":  # 1 - sigmoid(a) is sigmoid(-a)
        return gate.log_magnitude(-cell.clipped(a_i))
    with np.errstate(divide="ignore"):
        return np.log(np.abs(_forget(cell, a_i, a_f)))


def _negative(gate: Array, active: Array) -> bool:
    """Whether a gate [t, B, H] is below 0 in a row that is live [t, B]."""
    return bool(((gate < 0) & active[..., None]).any())


def _pull_back_lstm(cell: Cell, factors: tuple[Array, ...], v: Array) -> Array:
    import numpy as np

    by_c, by_o, f, by_i, by_f, by_g = factors
    v_h, v_c = np.split(v, 2, axis=-1)
    peep = cell.peepholes
    d_o = v_h * by_o
    d_c = v_c + v_h * by_c
    if peep is not None:
        d_c = d_c + d_o * peep[1]
    d_i, d_f, d_g = d_c * by_i, d_c * by_f, d_c * by_g
    back = d_c * f
    if peep is not None:
        back = back + d_i * peep[0] + d_f * peep[2]
    h = _product(np.concatenate([d_i, d_o, d_f, d_g], axis=-1), cell.r)
    return np.concatenate([h, back], axis=-1)


def _gru(cell: Cell, x: Array, before: Array, active: Array, rows: int) -> Block:
    gate, candidate = cell.functions
    units = cell.units
    both = 2 * units
    fed = x @ cell.w.T + cell.bias_w
    back = before @ cell.r[:both].T + cell.bias_r[:both]
    a_z = fed[..., :units] + back[..., :units]
    a_r = fed[..., units:both] + back[..., units:]
    reset = gate(cell.clipped(a_r))
    recurrent, bias = cell.block(cell.r, "h"), cell.block(cell.bias_r, "h")
    if cell.linear_before_reset:
        linear = before @ recurrent.T + bias
        a_h = fed[..., both:] + reset * linear
    else:
        linear = before
        a_h = fed[..., both:] + (reset * before) @ recurrent.T + bias
    z = gate(cell.clipped(a_z))
    new = candidate(cell.clipped(a_h))
    factors: tuple[Array, ...] = ()
    if rows:
        b = slice(rows)
        factors = (
            z[:, b],
            (before[:, b] - new[:, b]) * cell.slope(gate, a_z[:, b]),
            (1.0 - z[:, b]) * cell.slope(candidate, a_h[:, b]),
            linear[:, b] * cell.slope(gate, a_r[:, b]),
            reset[:, b],
        )
    log = gate.log_magnitude(cell.clipped(a_z))
    return Block((1.0 - z) * new + z * before, None, log, _negative(z, active), factors)


def _pull_back_gru(cell: Cell, factors: tuple[Array, ...], v: Array) -> Array:
    z, by_z, by_h, by_r, reset = factors
    recurrent = cell.block(cell.r, "h")
    d_h = v * by_h
    back = v * z + _product(v * by_z, cell.block(cell.r, "z"))
    if cell.linear_before_reset:
        back = back + _product(d_h * reset, recurrent)
        d_r = d_h * by_r
    else:
        through = _product(d_h, recurrent)
        back = back + through * reset
        d_r = through * by_r
    return back + _product(d_r, cell.block(cell.r, "r"))
