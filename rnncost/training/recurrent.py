"""Backward products of recurrent layers and cells, as PyTorch's autograd executes them.

With T steps, B rows, I inputs, H units, G gates, P projected outputs (H without a
projection) and L live rows over all steps, for each direction::

    backward weight   L·G·H·I (W)  +  L·G·H·P (R)  +  L·P·H (projection)
    backward data     L·G·H·I (input)  +  (L - first)·G·H·P (state)  +  L·P·H (projection)

The input has a gradient from the second layer on. The state before the first step has one
only where it is learned or computed; else the rows of that step, ``first``, send nothing back.
Its product with R is executed forwards, and so is its gradient of R, though it is zero.
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from rnncost.counting.recurrent_layer import (
    INITIAL_C,
    INITIAL_H,
    PROJECTION,
    B,
    Layer,
    R,
    W,
    X,
    read_layer,
)
from rnncost.counting.registry import has
from rnncost.counting.scope import Node
from rnncost.graph.dim import hint
from rnncost.graph.ir import Op
from rnncost.training.gradients import Gradients

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
RECURRENT = frozenset((*GATES, *(f"{name}Cell" for name in GATES)))


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The extents of a recurrent operator as integers; ``live_gates`` are those that are used.

    ``batch_sizes`` are the live rows of each step, the first step first.
    """

    steps: int
    batch: int
    inputs: int
    hidden: int
    output: int
    directions: int
    gates: int
    live_gates: int
    projected: bool
    biased: bool
    batch_sizes: tuple[int, ...] | None
    rows: int

    def first_rows(self, backwards: bool) -> int:
        """The live rows of the step that a direction runs first."""
        if self.steps == 0 or self.rows == 0:
            return 0
        if self.batch_sizes is None:
            return self.batch
        return self.batch_sizes[-1 if backwards else 0]


def shape_of(op: Op) -> Shape:
    """The extents of a recurrent operator, layer or cell."""
    gates = GATES[op.op_type.removesuffix("Cell")]
    projected = gates == 4 and has(op, PROJECTION)
    layer = read_layer(op, gates=gates, projected=projected)
    coupled = op.int_attr("input_forget", 0) != 0
    return Shape(
        steps=hint(layer.steps_padded.value),
        batch=hint(layer.batch.value),
        inputs=hint(layer.inputs.value),
        hidden=hint(layer.hidden.value),
        output=hint(layer.output.value),
        directions=hint(layer.directions.value),
        gates=gates,
        live_gates=3 if coupled else gates,
        projected=projected,
        biased=layer.biased,
        batch_sizes=_batch_sizes(op, layer),
        rows=hint(layer.rows.value),
    )


def _batch_sizes(op: Op, layer: Layer) -> tuple[int, ...] | None:
    """The live rows of each step, of a packed sequence or from known sequence lengths."""
    sizes = op.ints_attr("batch_sizes")
    if sizes is not None:
        return sizes
    lengths = op.tensor(4)
    if lengths is None or lengths.value is None:
        return None
    values = [hint(v) for v in lengths.value if not isinstance(v, (float, str))]
    return tuple([sum(n > t for n in values) for t in range(hint(layer.steps))])


def recurrent_products(node: Node, gradients: Gradients, windows: int = 1) -> tuple[int, int]:
    """Backward-data and backward-weight MACs of one execution.

    Where truncation cuts a sequence into ``windows``, each but the first starts from a state
    without a gradient too.
    """
    shape = shape_of(node.op)
    wide = shape.live_gates * shape.hidden
    each = shape.rows * shape.directions
    inputs_macs, states_macs = each * wide * shape.inputs, each * wide * shape.output
    projection_macs = each * shape.output * shape.hidden if shape.projected else 0

    weight = sum(
        macs * gradients.share_trained(node, slot)
        for macs, slot in ((inputs_macs, W), (states_macs, R), (projection_macs, PROJECTION))
    )
    data = inputs_macs if gradients.asked(node, X) else 0
    first_rows = sum(shape.first_rows(way) for way in _ways(node.op, shape.directions))
    learned = gradients.asked(node, INITIAL_H)
    cuts = windows - 1 if learned else windows
    data += states_macs - cuts * first_rows * wide * shape.output
    if shape.projected:
        # Before the first projection stands what the gates of the first step made.
        slots = (X, W, R, B, INITIAL_H, INITIAL_C)
        idle = not any(gradients.asked(node, slot) for slot in slots)
        data += projection_macs - (first_rows * shape.output * shape.hidden if idle else 0)
    return data, int(Fraction(weight))


def _ways(op: Op, directions: int) -> tuple[bool, ...]:
    """For each direction whether it runs backwards in time."""
    return (False, True) if directions == 2 else (op.str_attr("direction", "") == "reverse",)
