"""Recurrent cells computed one row and one step at a time, counting what they do.

Written from the equations of the ONNX operators and of torch.nn.LSTM's projection. Tests
hold its outputs against ONNX Runtime and PyTorch, so that what it counts is the work of a
correct implementation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Step = Callable[["Tally", Array, tuple[Array, ...]], tuple[Array, ...]]


class Tally:
    """Arithmetic on vectors that counts each scalar operation."""

    def __init__(self) -> None:
        self.macs = self.recurrent_macs = 0
        self.multiplies = self.adds = self.bias_adds = self.activations = 0

    def input_product(self, w: Array, x: Array) -> Array:
        self.macs += w.size
        return w @ x

    def recurrent_product(self, r: Array, h: Array) -> Array:
        self.macs += r.size
        self.recurrent_macs += r.size
        return r @ h

    def multiply(self, a: Array, b: Array) -> Array:
        self.multiplies += a.size
        return a * b

    def add(self, a: Array, b: Array) -> Array:
        self.adds += a.size
        return a + b

    def one_minus(self, a: Array) -> Array:
        self.adds += a.size
        return 1.0 - a

    def bias(self, a: Array, b: Array | None) -> Array:
        if b is None:
            return a
        self.bias_adds += b.size
        return a + b

    def sigmoid(self, a: Array) -> Array:
        self.activations += a.size
        return 1.0 / (1.0 + np.exp(-a))

    def tanh(self, a: Array) -> Array:
        self.activations += a.size
        return np.tanh(a)


class Weights:
    """One direction: w [G·H, I], r [G·H, H or P], b [2·G·H] or None, p [3·H], w_hr [P, H]."""

    def __init__(
        self,
        w: Array,
        r: Array,
        b: Array | None = None,
        p: Array | None = None,
        w_hr: Array | None = None,
    ) -> None:
        self.w, self.r, self.b, self.p, self.w_hr = w, r, b, p, w_hr

    def gate(self, at: int, size: int) -> tuple[Array, Array, Array | None, Array | None]:
        """Rows of gate ``at``: its w, r and the two biases."""
        rows = slice(at * size, (at + 1) * size)
        if self.b is None:
            return self.w[rows], self.r[rows], None, None
        half = len(self.b) // 2
        return self.w[rows], self.r[rows], self.b[:half][rows], self.b[half:][rows]


def lstm_step(weights: Weights, size: int, coupled: bool) -> Step:
    """Gates in ONNX order i, o, f, c; peepholes in the order i, o, f."""

    def gate(t: Tally, at: int, x: Array, h: Array, peep: Array | None) -> Array:
        w, r, wb, rb = weights.gate(at, size)
        total = t.add(t.input_product(w, x), t.recurrent_product(r, h))
        total = t.bias(t.bias(total, wb), rb)
        if weights.p is not None and peep is not None:
            total = t.add(total, t.multiply(weights.p[at * size : (at + 1) * size], peep))
        return total

    def step(t: Tally, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        h, c = state
        i = t.sigmoid(gate(t, 0, x, h, c))
        f = t.one_minus(i) if coupled else t.sigmoid(gate(t, 2, x, h, c))
        g = t.tanh(gate(t, 3, x, h, None))
        c = t.add(t.multiply(f, c), t.multiply(i, g))
        o = t.sigmoid(gate(t, 1, x, h, c))
        h = t.multiply(o, t.tanh(c))
        if weights.w_hr is not None:
            h = t.recurrent_product(weights.w_hr, h)
        return h, c

    return step


def gru_step(weights: Weights, size: int, linear_before_reset: bool) -> Step:
    """Gates in ONNX order z, r, h."""

    def gate(t: Tally, at: int, x: Array, h: Array) -> Array:
        w, r, wb, rb = weights.gate(at, size)
        total = t.add(t.input_product(w, x), t.recurrent_product(r, h))
        return t.bias(t.bias(total, wb), rb)

    def step(t: Tally, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        (h,) = state
        z, reset = t.sigmoid(gate(t, 0, x, h)), t.sigmoid(gate(t, 1, x, h))
        w, r, wb, rb = weights.gate(2, size)
        fed = t.bias(t.input_product(w, x), wb)
        if linear_before_reset:
            back = t.multiply(reset, t.bias(t.recurrent_product(r, h), rb))
        else:
            back = t.bias(t.recurrent_product(r, t.multiply(reset, h)), rb)
        new = t.tanh(t.add(fed, back))
        return (t.add(t.multiply(t.one_minus(z), new), t.multiply(z, h)),)

    return step


def rnn_step(weights: Weights, size: int) -> Step:
    def step(t: Tally, x: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        w, r, wb, rb = weights.gate(0, size)
        total = t.add(t.input_product(w, x), t.recurrent_product(r, state[0]))
        return (t.tanh(t.bias(t.bias(total, wb), rb)),)

    return step


def run_layer(
    tally: Tally,
    steps: list[Step],
    x: Array,
    sizes: tuple[int, ...],
    lengths: list[int],
    reverse_only: bool = False,
) -> Array:
    """Y [T, D, B, output] of x [T, B, I]; ``sizes`` are the widths of the states."""
    time, batch, _ = x.shape
    y = np.zeros((time, len(steps), batch, sizes[0]))
    for direction, step in enumerate(steps):
        backwards = reverse_only or direction == 1
        for row in range(batch):
            state = tuple(np.zeros(size) for size in sizes)
            order = range(lengths[row])
            for at in reversed(order) if backwards else order:
                state = step(tally, x[at, row], state)
                y[at, direction, row] = state[0]
    return y
