"""The memory that PyTorch's recurrent layers keep for the backward pass, on a CPU.

An fp32 LSTM without projection and without a packed sequence runs in oneDNN, one layer and
direction at a time. What it keeps are its input, states and outputs, and oneDNN's
workspace, whose parts start on pages of 4096 bytes (T steps, B rows, I inputs, H units)::

    gates T·B·ld(4H), h T·B·ld(H), states 2(T+1)·B·ld(max(I, H)), cell states 2(T+1)·B·H,
    their gradients: twice 2(T+1)·B·ld(max(I, H)), once 2(T+1)·B·H        4 bytes each

ld(n) rounds n up to 16, and adds 16 to a multiple of 256. Source: oneDNN 3.12,
``src/cpu/rnn/rnn_utils.hpp`` (set_workspace_sizes) and ``rnn_utils.cpp`` (get_good_ld).

Everything else is a loop of single operators (``aten/src/ATen/native/RNN.cpp``), of which
autograd keeps, a step and row::

    LSTM   7H (+ P): gates 4H, tanh of the cell state, cell state and state before the step
    GRU    7H: gates 3H, new gate, old state, and two values that are changed in place
    RNN    H: the state, and at the first step the one before it
"""

from __future__ import annotations

from itertools import pairwise

import msgspec

from rnncost.graph.ir import Op
from rnncost.training.recurrent import Shape
from rnncost.units import DTYPE_BITS

ONEDNN, NATIVE, CELL = "oneDNN", "native", "cell"

_PAGE_BYTES = 4096
_BOOKKEEPING_BYTES = 4664
"""What a scratchpad holds beside its parts, as measured."""
_MERGED_ROWS = 128
"""From so many rows on, oneDNN's forward pass holds the gates of one step at a time."""


class LayerMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of one execution of a recurrent operator, beside tensors of the graph.

    ``kept_bytes`` stay until its backward pass. ``forward_bytes`` are needed on top of them
    and of its output while it runs forwards; ``backward_bytes`` on top of them and of the
    gradient of its output while it runs backwards, the gradients that it makes included.
    ``sum_bytes`` of the latter are the running sum of the gradients of R. Of what is kept,
    ``idle_bytes`` are never written to and ``late_bytes`` only in the backward pass, so that
    the system gives no memory for them, or later. ``keeps_output``: its output is kept too.
    """

    path: str
    kept_bytes: int
    forward_bytes: int
    backward_bytes: int
    sum_bytes: int = 0
    idle_bytes: int = 0
    late_bytes: int = 0
    keeps_output: bool = False


def path_of(op: Op) -> str:
    """Which of PyTorch's implementations runs an operator on a CPU."""
    if op.op_type.endswith("Cell"):
        return CELL
    x = op.tensor(0)
    packed = op.ints_attr("batch_sizes") is not None or op.tensor(4) is not None
    plain = op.op_type == "LSTM" and not packed and op.tensor(8) is None
    return ONEDNN if plain and x is not None and x.dtype == "float32" else NATIVE


def layer_memory(
    op: Op, shape: Shape, *, given_states: bool, copied_input: bool, paged: bool = True
) -> LayerMemory:
    """The memory of one execution; ``shape`` may be that of a window of steps.

    ``copied_input``: the input is kept in an order of its own (``batch_first``). ``paged``:
    the parts of oneDNN's workspace start on pages.
    """
    x = op.tensor(0)
    size = DTYPE_BITS.get(x.dtype, 32) // 8 if x is not None else 4
    path = path_of(op)
    if path == ONEDNN:
        return _onednn(shape, given_states, copied_input, _PAGE_BYTES if paged else 1)
    return _native(op, shape, size, path, given_states, copied_input)


def forward_only_bytes(op: Op, shape: Shape, *, without_gradients: bool) -> int:
    """What a layer that no backward pass visits needs beside its output while it runs.

    oneDNN fills one direction's workspace all the same, but not under ``no_grad``, where it
    computes the gates of all steps at once; single operators collect the states of all steps
    before they join them.
    """
    one = msgspec.structs.replace(shape, directions=1)
    memory = layer_memory(op, shape, given_states=True, copied_input=False)
    x = op.tensor(0)
    size = DTYPE_BITS.get(x.dtype, 32) // 8 if x is not None else 4
    sequence = size * shape.rows * shape.output
    if memory.path != ONEDNN:
        return memory.forward_bytes + shape.directions * sequence
    if without_gradients:
        reordered = size * (shape.inputs + shape.hidden) * good_ld(4 * shape.hidden)
        first_and_last = 4 * size * shape.batch * shape.hidden
        return reordered + first_and_last + _scratch_bytes(shape.steps, shape.batch, shape.hidden)
    own = layer_memory(op, one, given_states=True, copied_input=False)
    return own.forward_bytes + own.kept_bytes + (shape.directions - 1) * sequence


def good_ld(columns: int) -> int:
    """Columns of a row in oneDNN's memory, in elements of 4 bytes."""
    rounded = -(-columns // 16) * 16
    return rounded + 16 if rounded % 256 == 0 else rounded


def workspace_bytes(
    steps: int, batch: int, inputs: int, hidden: int, page_bytes: int = _PAGE_BYTES
) -> int:
    """oneDNN's workspace of one direction of an fp32 LSTM layer."""
    rows, states = steps * batch, 2 * (steps + 1) * batch
    wide = good_ld(max(inputs, hidden))
    total = 0
    for part in (
        rows * good_ld(4 * hidden),
        rows * good_ld(hidden),
        *(states * wide, states * hidden),
        *(states * wide, states * wide, states * hidden),
    ):
        total = _pages(total, page_bytes) + 4 * part
    return _pages(total, page_bytes)


def _pages(nbytes: int, page_bytes: int = _PAGE_BYTES) -> int:
    return -(-nbytes // page_bytes) * page_bytes


def _onednn(shape: Shape, given_states: bool, copied_input: bool, page_bytes: int) -> LayerMemory:
    t, b, i, h = shape.steps, shape.batch, shape.inputs, shape.hidden
    state, sequence, weights = 4 * b * h, 4 * t * b * h, 4 * 4 * h * (i + h)
    final, initial = 2 * state, 0 if given_states else 2 * state
    each = workspace_bytes(t, b, i, h, page_bytes) + final + initial
    if not shape.biased:
        each += weights  # zeros in the shape of the weights stand for the biases
    both = shape.directions == 2
    kept = shape.directions * each + (2 * sequence if both else 0)
    copy = 4 * t * b * i if copied_input else 0
    reordered = 4 * (i + h) * good_ld(4 * h)
    forward_steps = t if b < _MERGED_ROWS else 1
    forward = reordered + _scratch_bytes(forward_steps, b, h)
    # A gradient of the input is made even where nothing asks for it; of the second
    # direction while that of the first is there, and with a copy of its half of ∂y.
    gradient = 4 * t * b * i
    backward = weights + reordered + _scratch_bytes(t, b, h) + gradient + 4 * state
    backward += sum(16 * h * good_ld(k) for k in (i, h) if good_ld(k) != k)
    if both:
        backward += sequence + gradient
    # Input and output are read and written in place, so that of the two layers of states that
    # the workspace has room for one stays unused, and so does the room before a projection.
    states = 4 * (t + 1) * b
    wide = good_ld(max(i, h))
    idle = 4 * t * b * good_ld(h) + states * (3 * wide + 2 * h)
    return LayerMemory(
        path=ONEDNN,
        kept_bytes=kept + copy,
        forward_bytes=forward,
        backward_bytes=backward,
        idle_bytes=shape.directions * idle,
        late_bytes=shape.directions * states * (2 * wide + h),
        keeps_output=not both,
    )


def _scratch_bytes(steps: int, batch: int, hidden: int) -> int:
    """oneDNN's scratchpad: the gates of the steps that run as one product, and two states."""
    gates = 4 * steps * batch * good_ld(4 * hidden)
    return _pages(gates) + 2 * _pages(4 * batch * good_ld(hidden)) + _BOOKKEEPING_BYTES


def _native(
    op: Op, shape: Shape, size: int, path: str, given_states: bool, copied_input: bool
) -> LayerMemory:
    h, out, rows, batch = shape.hidden, shape.output, shape.rows, shape.batch
    sizes = shape.batch_sizes
    last = sizes[-1] if sizes else batch
    # What is kept of the state before each step: of all steps but the last one, and of the
    # initial state.
    before = max(0, rows - (last if shape.steps else 0))
    states = h + out if shape.gates == 4 and path != CELL else h
    if shape.gates == 4:
        each = rows * 5 * h + before * (h + out) + (rows * h if shape.projected else 0)
    elif shape.gates == 3:
        each = rows * 6 * h + before * h
    else:
        each = rows * h if path != CELL else 0
    initial = 0 if given_states else shape.directions * batch * states
    kept = shape.directions * each + _joined_rows(op, shape) * h
    both = shape.directions == 2
    sequence, gates = rows * out, rows * shape.gates * h
    copies = shape.directions * rows * shape.inputs if copied_input else 0
    kept_total = kept + initial + copies
    recurrent = shape.gates * h * out
    weights = shape.gates * h * (shape.inputs + out)
    # At the start the gradient of R of one step, the sum so far and the new sum (of a single
    # step there is nothing to add); at the end, when the values kept and the gradient of the
    # output are gone, the gradients of all gates twice, or once beside that of the input.
    backward = (
        min(3, max(0, 2 * shape.steps - 1)) * recurrent,
        recurrent + 2 * gates - kept_total - sequence,
        weights + gates + rows * shape.inputs - kept_total - sequence,
    )
    return LayerMemory(
        path=path,
        kept_bytes=size * kept_total,
        forward_bytes=size * (gates + (2 * sequence if both else 0)),
        backward_bytes=size * max(backward),
        sum_bytes=size * recurrent,
        keeps_output=path == CELL and shape.gates == 1,
    )


def _joined_rows(op: Op, shape: Shape) -> int:
    """Rows of states that the backward direction of a packed sequence joins and keeps anew."""
    sizes = shape.batch_sizes
    reverse = shape.directions == 2 or op.str_attr("direction", "") == "reverse"
    if sizes is None or not reverse or shape.gates != 1:
        return 0
    return sum(now for now, later in pairwise(sizes) if now > later)
