"""Stacks of recurrent layers whose extents are arrays: one design at each place.

The letters are those of docs/counting.md. Numbers of things are whole but held as floats, exact
below 2**53. An extent that all designs share may be a plain float.
"""

from __future__ import annotations

from typing import Literal, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

Values = Union[float, NDArray[np.float64]]
"""A number for each design, or one for all."""

Truth = Union[bool, np.bool_, NDArray[np.bool_]]
"""Whether something holds, for each design or for all."""

Cell = Literal["lstm", "gru", "rnn"]
CELLS: tuple[Cell, ...] = ("lstm", "gru", "rnn")

GATES: dict[Cell, int] = {"lstm": 4, "gru": 3, "rnn": 1}
STATES: dict[Cell, int] = {"lstm": 2, "gru": 1, "rnn": 1}
_OPERATIONS: dict[Cell, tuple[int, int, int]] = {
    "lstm": (3, 5, 5),
    "gru": (3, 5, 3),
    "rnn": (0, 1, 1),
}
"""Multiplies, adds and activations of a unit in a step."""

ELEMENT_BYTES = 4.0


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One recurrent layer with two bias vectors a gate, from a state of zeros; all of it fp32."""

    cell: Cell
    directions: int
    steps: Values
    batch: Values
    inputs: Values
    hidden: Values

    @property
    def gates(self) -> int:
        return GATES[self.cell]

    @property
    def executed_steps(self) -> Values:
        """Steps of both directions, in turn."""
        return self.directions * self.steps

    @property
    def parallel_macs(self) -> Values:
        """Input products."""
        return self._rows * (self.gates * self.hidden * self.inputs)

    @property
    def sequential_macs(self) -> Values:
        """Recurrent products."""
        return self._rows * (self.gates * self.hidden * self.hidden)

    @property
    def multiplies(self) -> Values:
        return self._rows * (_OPERATIONS[self.cell][0] * self.hidden)

    @property
    def adds(self) -> Values:
        return self._rows * (_OPERATIONS[self.cell][1] * self.hidden)

    @property
    def bias_adds(self) -> Values:
        return self._rows * (2 * self.gates * self.hidden)

    @property
    def activations(self) -> Values:
        return self._rows * (_OPERATIONS[self.cell][2] * self.hidden)

    @property
    def elementwise_ops(self) -> Values:
        each = sum(_OPERATIONS[self.cell]) + 2 * self.gates
        return self._rows * (each * self.hidden)

    @property
    def input_bytes(self) -> Values:
        """The input weights of all directions, and the biases: read once a run."""
        columns = self.directions * self.gates * self.hidden
        return ELEMENT_BYTES * (columns * self.inputs + 2 * columns)

    @property
    def recurrent_bytes(self) -> Values:
        """The recurrent weights of all directions: read at every step."""
        return ELEMENT_BYTES * (self.directions * self.gates * self.hidden * self.hidden)

    @property
    def params(self) -> Values:
        return (self.input_bytes + self.recurrent_bytes) / ELEMENT_BYTES

    @property
    def state_bytes(self) -> Values:
        units = self.directions * STATES[self.cell] * self.hidden
        return ELEMENT_BYTES * (self.batch * units)

    @property
    def read_bytes(self) -> Values:
        """The input sequence."""
        return ELEMENT_BYTES * (self.steps * self.batch * self.inputs)

    @property
    def output_bytes(self) -> Values:
        """The output sequence of all directions."""
        return ELEMENT_BYTES * (self._rows * self.hidden)

    @property
    def buffer_bytes(self) -> Values:
        """The input products that ONNX Runtime holds: in an RNN those of one direction."""
        held = 1 if self.cell == "rnn" else self.directions
        return ELEMENT_BYTES * (self.steps * self.batch * (held * self.gates * self.hidden))

    @property
    def traffic_bytes(self) -> Values:
        """What is read and written besides weights; final states are written too."""
        return self.read_bytes + self.output_bytes + self.state_bytes

    @property
    def streamed_bytes(self) -> Values:
        """All traffic when nothing stays on chip."""
        return self.input_bytes + self.steps * self.recurrent_bytes + self.traffic_bytes

    @property
    def _rows(self) -> Values:
        return self.steps * self.batch * self.directions


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """Layers of equal hidden size on top of each other, as ``torch.nn.LSTM(num_layers)``.

    ``inputs`` is the input size of the first layer; the others take the ``directions * hidden``
    outputs of the layer below. ``precision`` is that of the estimates, None for fp32.
    """

    cell: Cell
    directions: int
    layers: int
    steps: Values
    batch: Values
    inputs: Values
    hidden: Values
    precision: Union[str, None] = None

    @property
    def first(self) -> Layer:
        return self._layer(self.inputs)

    @property
    def further(self) -> Layer:
        """Any layer but the first."""
        return self._layer(self.directions * self.hidden)

    def _layer(self, inputs: Values) -> Layer:
        return Layer(
            cell=self.cell,
            directions=self.directions,
            steps=self.steps,
            batch=self.batch,
            inputs=inputs,
            hidden=self.hidden,
        )
