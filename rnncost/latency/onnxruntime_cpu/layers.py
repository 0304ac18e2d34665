"""Seconds of recurrent nodes in ONNX Runtime's CPU kernels.

Read from onnxruntime/core/providers/cpu/rnn: one input product a direction for all steps,
then one product a step (two in a GRU; none in the first step of an RNN that starts from
zero), elementwise loops a row, and copies around the reverse direction (not in the RNN).
The LSTM splits its batch among threads, or its products; the others split products only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec

from rnncost.latency.onnxruntime_cpu.products import (
    COLUMN_TILE,
    far,
    int8_s,
    packed_s,
    second_cache_bytes,
    threads_for,
    unpacked_s,
)

if TYPE_CHECKING:
    from rnncost.profiles.onnxruntime import Cell, OnnxRuntimeCpu

CellName = Literal["lstm", "gru", "gru_linear", "rnn", "lstm_int8"]
GATES: dict[str, int] = {"lstm": 4, "gru": 3, "gru_linear": 3, "rnn": 1, "lstm_int8": 4}
OTHERS_WEIGHT = 1.7
"""How much more than a node's own bytes those of other nodes count that run between two uses
of its weights. Measured with an LSTM behind a growing chain of products: its weights begin to
leave the second cache when a run touches six tenths of it."""

COLD, FEW_STEPS = 1.4, 3
"""How much longer a byte takes that other nodes have pushed out than one of a steady stream from
there, in runs of up to so many steps; in longer ones, less. Measured with 8 LSTMs and GRUs of one
and three steps behind a product of 3 MB, with 0.4 to 0.75 MB of weights: 4.4e-11 to 6.5e-11 s a
byte more than without it, against 3.2e-11 in a stream; with 12 and 40 steps 2.3e-11 to 5.5e-11."""

LEARNT_VALUES, FORGOTTEN_VALUES = 1_000, 8_000
"""Activations of a run whose branches are all predicted, and none."""

VECTOR = 8
"""Units that the elementwise loops take at a time."""

QUANTIZED_TOGETHER = 8192
"""Elements from which threads share out their quantising."""

START_CYCLES = THREAD_CYCLES = 100_000
"""Of work: what it takes to start on other threads, and to add one."""

SPLIT_ROWS = 4
SPLIT_UNITS = 256
"""A batch is split among threads above so many rows, or from 2 rows up to so many units."""


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """The extents of a recurrent node. ``initial_state`` matters to the RNN alone.

    ``reverse`` says that the one direction is the reverse one.
    """

    cell: CellName
    steps: int
    rows: int
    inputs: int
    hidden: int
    directions: int = 1
    initial_state: bool = False
    reverse: bool = False

    @property
    def columns(self) -> int:
        return GATES[self.cell] * self.hidden

    @property
    def weight_size_bytes(self) -> int:
        return 1 if self.cell == "lstm_int8" else 4

    @property
    def recurrent_bytes(self) -> int:
        """The recurrent weights of one direction."""
        return self.columns * self.hidden * self.weight_size_bytes

    @property
    def input_bytes(self) -> int:
        """The input weights of one direction."""
        return self.columns * self.inputs * self.weight_size_bytes

    @property
    def macs(self) -> int:
        """Products of all steps, rows and directions."""
        width = self.inputs + self.hidden
        return self.directions * self.steps * self.rows * self.columns * width

    @property
    def footprint_bytes(self) -> int:
        """What a run of the node touches: weights, input products, input and output.

        The RNN makes the input products of one direction at a time.
        """
        buffers = 1 if self.cell == "rnn" else self.directions
        values = (
            self.steps
            * self.rows
            * (buffers * self.columns + self.inputs + self.directions * self.hidden)
        )
        biases = 2 * 4 * self.columns
        return self.directions * (self.recurrent_bytes + self.input_bytes + biases) + 4 * values

    @property
    def step_set_bytes(self) -> int:
        """What a step touches: recurrent weights, gates and state of each row."""
        return self.recurrent_bytes + 4 * self.rows * (self.columns + 3 * self.hidden)


class LayerTime(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a node: fixed, around the steps, and of one step; first steps apart.

    ``step_memory_s`` is what a step waits for weights beyond the near caches.
    """

    fixed_s: float
    input_s: float
    first_steps_s: float
    steps: int
    step_s: float

    @property
    def total_s(self) -> float:
        return self.fixed_s + self.input_s + self.first_steps_s + self.steps * self.step_s


class Split(msgspec.Struct, frozen=True):
    """How the steps use threads: rows of one thread, and whether the batch is what is split."""

    rows: int
    by_batch: bool
    threads: int


def split_of(layer: Layer, threads: int) -> Split:
    """How a node's steps are spread over threads."""
    lstm = layer.cell in ("lstm", "lstm_int8")
    many = layer.rows > SPLIT_ROWS or (layer.rows >= 2 and layer.hidden <= SPLIT_UNITS)
    if threads == 1 or not (lstm and many):
        return Split(layer.rows, by_batch=lstm and many, threads=threads)
    # The thread pool keeps small work on one thread; see Eigen's TensorCostModel.
    cycles = layer.steps * layer.rows * (layer.columns * layer.hidden + 1)
    wanted = max(1, int((cycles - START_CYCLES) / THREAD_CYCLES + 0.9))
    if wanted == 1:
        return Split(layer.rows, by_batch=True, threads=1)
    rows = -(-layer.rows // threads)
    return Split(rows, by_batch=True, threads=-(-layer.rows // rows))


def layer_time(
    layer: Layer, constants: OnnxRuntimeCpu, threads: int, run_bytes: float | None = None
) -> LayerTime:
    """The time of one execution of a recurrent node.

    ``run_bytes`` is what a whole run of the model touches, which decides where weights
    are when the node starts; by default the node is alone.
    """
    cell: Cell = getattr(constants.cells, layer.cell)
    own = layer.footprint_bytes
    split = split_of(layer, threads)
    # In 8 bits the zero points of the columns are set up, else the state of each row.
    set_up = layer.hidden * (1 if layer.cell == "lstm_int8" else layer.rows)
    fixed = cell.node_s + layer.directions * (cell.direction_s + set_up * cell.setup_s)
    # Weights come from where other nodes left them: the first products of a run bring them in.
    whole = own + OTHERS_WEIGHT * max(0.0, (run_bytes or own) - own)
    cold = _coldness(layer, constants, whole)
    around = _input_s(layer, constants, threads, whole, cold)
    if (layer.directions == 2 or layer.reverse) and layer.cell != "rnn":
        around += reverse_s(layer, constants)
    if split.by_batch and split.threads > 1:
        fixed += layer.directions * constants.fork_s
    first = _step_product_s(layer, constants, split, whole, cold)
    each = _step_product_s(layer, constants, split, layer.step_set_bytes)
    if layer.cell == "rnn" and not layer.initial_state:
        first = 0.0
    tail = cell.tail_s if layer.hidden % VECTOR else 0.0
    unit_s = cell.unit_s
    if layer.cell == "rnn":
        unit_s *= 1 - constants.repeat_gain * _repeated(layer)
    split_s = 0.0
    if split.by_batch and split.threads > 1:
        int8 = layer.cell == "lstm_int8"
        split_s = constants.int8_split_step_s if int8 else constants.split_step_s
    gates = cell.step_s + split_s + split.rows * (cell.row_s + tail + layer.hidden * unit_s)
    return LayerTime(
        fixed_s=fixed,
        input_s=around,
        first_steps_s=layer.directions * (first - each) if layer.steps else 0.0,
        steps=layer.directions * layer.steps,
        step_s=each + gates,
    )


def _coldness(layer: Layer, constants: OnnxRuntimeCpu, whole: float) -> float:
    """How much longer a byte takes where other nodes make the working set ``whole``."""
    alone_s, _ = far(constants.products, layer.footprint_bytes)
    among_s, _ = far(constants.products, whole)
    if among_s <= alone_s:
        return 1.0
    few = min(1.0, FEW_STEPS / max(1, layer.steps))
    return 1 + (COLD - 1) * few * (1 - alone_s / among_s)


def _repeated(layer: Layer) -> float:
    """How well a processor has learnt the branches of a run's activations, from 0 to 1.

    The RNN calls a branching function for each value; runs that repeat the same input take
    the same branches, which processors predict up to a thousand or some thousands of them.
    """
    values = max(1, layer.directions * layer.steps * layer.rows * layer.hidden)
    span = math.log(FORGOTTEN_VALUES / LEARNT_VALUES)
    return min(1.0, max(0.0, math.log(FORGOTTEN_VALUES / values) / span))


def reverse_s(layer: Layer, constants: OnnxRuntimeCpu) -> float:
    """Seconds for turning input and output round in time for the reverse direction."""
    copies = constants.copies
    values = layer.steps * layer.rows * (layer.inputs + layer.hidden)
    return 2 * layer.steps * layer.rows * copies.reverse_row_s + 4 * values * copies.reverse_byte_s


def _input_s(
    layer: Layer, constants: OnnxRuntimeCpu, threads: int, whole: float, cold: float
) -> float:
    """The input products of all steps and directions, with their buffer."""
    copies = constants.copies
    rows, columns = layer.steps * layer.rows, layer.columns
    seconds = _product_s(layer, constants, rows, layer.inputs, columns, threads, whole, cold)
    buffer = 4 * rows * columns
    # Beyond the near caches when it does not fit there beside the recurrent weights.
    room = second_cache_bytes(constants.products)
    beyond = min(1.0, max(0.0, (buffer + layer.recurrent_bytes) / room - 1))
    seconds += buffer * (beyond * copies.far_byte_s + (1 - beyond) * copies.near_byte_s)
    if layer.cell == "rnn":
        seconds += rows * columns * copies.bias_s
    return layer.directions * seconds


def _step_product_s(
    layer: Layer, constants: OnnxRuntimeCpu, split: Split, working_set: float, cold: float = 1.0
) -> float:
    """The products of one step, on the busiest thread."""
    threads = 1 if split.by_batch else split.threads
    slowdown = 1 + constants.products.sharing * (split.threads - 1) if split.by_batch else 1.0
    widths = (2, 1) if layer.cell in ("gru", "gru_linear") else (GATES[layer.cell],)
    return sum(
        _product_s(
            layer,
            constants,
            split.rows,
            layer.hidden,
            width * layer.hidden,
            threads,
            working_set,
            slowdown * cold,
        )
        for width in widths
    )


def _product_s(
    layer: Layer,
    constants: OnnxRuntimeCpu,
    rows: int,
    depth: int,
    columns: int,
    threads: int,
    working_set: float,
    slowdown: float = 1.0,
) -> float:
    """One product of a layer: split among threads by columns, or by rows if there are more."""
    products, copies = constants.products, constants.copies
    used = threads_for(rows, depth, columns, threads)
    seconds = 0.0
    if layer.cell == "lstm_int8":
        # Quantising is shared out from some size on, turning back with the product.
        parts = threads if rows * depth >= QUANTIZED_TOGETHER else 1
        seconds += rows * depth * copies.quantize_s / parts
        seconds += rows * (copies.quantize_row_s + columns * copies.dequantize_s / used)
        if parts > 1:
            seconds += 2 * constants.fork_s
        # Activations are read twice: for their range, then to quantise them.
        byte_s, _ = far(products, 4 * rows * depth)
        seconds += 2 * 4 * rows * depth * byte_s / parts
        if columns % COLUMN_TILE:
            seconds += rows * columns * copies.ragged_s / used
    kernel = {"rnn": unpacked_s, "lstm_int8": int8_s}.get(layer.cell, packed_s)
    alone = kernel(products, rows, depth, columns, working_set, slowdown)
    if used == 1:
        return seconds + alone
    handed = constants.fork_s + 4 * rows * columns * (used - 1) / used * constants.exchange_byte_s
    slowdown *= 1 + products.sharing * (used - 1)
    if columns > rows:
        columns = min(columns, -(-columns // (COLUMN_TILE * used)) * COLUMN_TILE)
        working_set /= used
    else:
        rows = -(-rows // used)
    shared = handed + kernel(products, rows, depth, columns, working_set, slowdown)
    # What is done before the others come is done by the first thread alone.
    return seconds + min(alone + constants.dispatch_s, shared)
