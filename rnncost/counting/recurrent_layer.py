"""The extents of a recurrent operator, read from its inputs and checked against each other.

Inputs by position: X, W, R, B, sequence_lens, initial_h, and for an LSTM initial_c and the
peepholes P. Position 8 is the output projection of PyTorch (``proj_size``), W_hr
[D, P, H]. D is 1 or 2 directions and G the number of gates: RNN 1, GRU 3, LSTM 4. A cell
is a layer of one step.
"""

from __future__ import annotations

import msgspec

from rnncost.counting.formula import Term, letter
from rnncost.counting.registry import agree, element_bytes, expect, has, numel, shape_of
from rnncost.graph.dim import Dim, Shape, hint, maximum
from rnncost.graph.ir import Op, Tensor

X, W, R, B, LENGTHS, INITIAL_H, INITIAL_C, PEEPHOLES, PROJECTION = range(9)

_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_UNKNOWN_LENGTHS = "sequence lengths unknown: every row is counted at full length"


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """The extents of a recurrent operator.

    ``output`` is the width that R multiplies: H, or P with a projection. ``rows`` is the
    number of live rows over all steps, T·B when none ends early. ``steps`` is the longest
    live length, and ``lookahead`` how many steps beyond t an output at t needs.
    """

    steps_padded: Term
    batch: Term
    inputs: Term
    hidden: Term
    directions: Term
    gates: int
    output: Term
    rows: Term
    steps: Dim
    lookahead: Dim
    projected: bool
    biased: bool
    peepholes: bool
    element_bytes: int
    notes: tuple[str, ...]


def read_layer(op: Op, *, gates: int, transposed: bool = False, projected: bool = False) -> Layer:
    """Read a recurrent operator.

    Weights are [D, G·H, ·], or [D, ·, G·H] where ``transposed``.

    Raises:
        UncountableError: a shape is unknown or contradicts another.
    """
    direction = op.str_attr("direction", "forward")
    expect(direction in _DIRECTIONS, f"direction {direction!r} is not one that exists")
    directions = _DIRECTIONS[direction]
    hidden, output = _widths(op, gates, directions, transposed, projected)
    time, batch, features = _input_extents(op)
    inputs = _input_width(op, gates, directions, hidden, features, transposed)
    _check_vector(op, B, "B", directions, 2 * gates * hidden)
    peepholes = gates == 4 and has(op, PEEPHOLES)
    if peepholes:
        _check_vector(op, PEEPHOLES, "P", directions, 3 * hidden)

    t, b = letter("T", time), letter("B", batch)
    live = _live(op, time, batch)
    rows = t * b
    if live.rows is not None and live.rows != rows.value:
        rows = letter("L", live.rows)
    causal = direction == "forward" or live.steps == 0
    h = letter("H", hidden)
    return Layer(
        steps_padded=t,
        batch=b,
        inputs=letter("I", inputs),
        hidden=h,
        directions=letter("D", directions),
        gates=gates,
        output=letter("P", output) if projected else h,
        rows=rows,
        steps=live.steps,
        lookahead=0 if causal else live.steps - 1,
        projected=projected,
        biased=has(op, B),
        peepholes=peepholes,
        element_bytes=element_bytes(op, X),
        notes=live.notes,
    )


class _Live(msgspec.Struct, frozen=True):
    """Live rows over all steps (None: all of them), the longest live length, and notes."""

    rows: Dim | None
    steps: Dim
    notes: tuple[str, ...] = ()


def _live(op: Op, time: Dim, batch: Dim) -> _Live:
    """Live rows from a packed sequence's ``batch_sizes`` or from the sequence lengths."""
    sizes = op.ints_attr("batch_sizes")
    if sizes is not None:
        expect(agree(len(sizes), time), f"{len(sizes)} batch_sizes for {time} steps")
        return _Live(sum(sizes), time)
    tensor = op.tensor(LENGTHS)
    if tensor is None:
        return _Live(None, time)
    lengths = _lengths(tensor)
    if lengths is None:
        return _Live(None, time, (_UNKNOWN_LENGTHS,))
    expect(agree(len(lengths), batch), f"{len(lengths)} sequence lengths for a batch of {batch}")
    rows: Dim = 0
    longest: Dim = 0
    for length in lengths:
        if isinstance(length, int) and isinstance(time, int):
            expect(0 <= length <= time, f"sequence length {length} does not lie in 0 … {time}")
        rows = rows + length
        longest = maximum(longest, length)
    return _Live(rows, longest)


def _lengths(tensor: Tensor) -> tuple[Dim, ...] | None:
    if tensor.value is None:
        return None
    return tuple(v for v in tensor.value if not isinstance(v, (float, str)))


def _widths(
    op: Op, gates: int, directions: int, transposed: bool, projected: bool
) -> tuple[Dim, Dim]:
    """The hidden size, and the width of the output that feeds back: H, or P."""
    declared = op.int_attr("hidden_size", 0)
    weights = op.tensor(R)
    if weights is None or weights.shape is None:
        expect(declared > 0, "neither the shape of R nor hidden_size is known")
        hidden: Dim = declared
        output: Dim = op.int_attr("proj_size", 0) if projected else declared
        expect(not projected or hint(output) > 0, "the projection's size is unknown")
        return hidden, output
    rows, output = _matrix(weights.shape, "R", directions, transposed)
    hidden = output
    if projected:
        output_again, hidden = _matrix(shape_of(op, PROJECTION), "W_hr", directions, False)
        expect(agree(output_again, output), f"W_hr gives {output_again} outputs, R takes {output}")
    expect(
        agree(rows, gates * hidden),
        f"R has {rows} rows where {gates} gates of {hidden} units need {gates * hidden}",
    )
    expect(
        declared == 0 or agree(declared, hidden),
        f"hidden_size is {declared}, but R is made for {hidden} units",
    )
    return hidden, output


def _matrix(shape: Shape, name: str, directions: int, transposed: bool) -> tuple[Dim, Dim]:
    """Rows and columns of one direction's weights."""
    expect(len(shape) == 3, f"{name} has {len(shape)} dimensions where 3 are due")
    expect(
        agree(shape[0], directions),
        f"{name} has {shape[0]} directions, the operator {directions}",
    )
    return (shape[2], shape[1]) if transposed else (shape[1], shape[2])


def _input_extents(op: Op) -> tuple[Dim, Dim, Dim]:
    """Time steps, batch and features of X: [T, B, I], or [B, T, I] with layout 1."""
    shape = shape_of(op, X)
    expect(len(shape) == 3, f"X has {len(shape)} dimensions where 3 are due")
    if op.int_attr("layout", 0):
        return shape[1], shape[0], shape[2]
    return shape[0], shape[1], shape[2]


def _input_width(
    op: Op, gates: int, directions: int, hidden: Dim, features: Dim, transposed: bool
) -> Dim:
    """I, from W where its shape is known, else from X."""
    weights = op.tensor(W)
    if weights is None or weights.shape is None:
        return features
    rows, inputs = _matrix(weights.shape, "W", directions, transposed)
    expect(
        agree(rows, gates * hidden),
        f"W has {rows} rows where {gates} gates of {hidden} units need {gates * hidden}",
    )
    expect(agree(inputs, features), f"W takes {inputs} features, X has {features}")
    return inputs


def _check_vector(op: Op, index: int, name: str, directions: int, per_direction: Dim) -> None:
    tensor = op.tensor(index)
    if tensor is None or tensor.shape is None:
        return
    expected = directions * per_direction
    expect(
        agree(numel(tensor.shape), expected),
        f"{name} has {numel(tensor.shape)} elements where {expected} are due",
    )
