"""Constants of ONNX Runtime's CPU kernels, as ``rnncost calibrate`` writes them.

They are fitted together, so that the block has one kind and one source for all of them.
Times are seconds; ``_s_per_…`` are seconds for one of what follows.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rnncost.profiles.onnxruntime_operators import Operators
from rnncost.profiles.quantities import Evidence, Strict, Text

Seconds = Annotated[float, Meta(ge=0)]
Bytes = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Rows = Annotated[int, Meta(ge=1, le=64)]


class FarPoint(Strict, frozen=True, kw_only=True):
    """Weights when so many bytes take turns in the caches: seconds for a byte.

    Of computation and waiting for weights, ``overlap`` of the smaller is added to the larger.
    """

    working_set_bytes: Bytes
    s_per_byte: Seconds
    overlap: Fraction


class Products(Strict, frozen=True, kw_only=True):
    """The product kernels: rows by a packed matrix of weights.

    A call of the kernel takes one of ``row_tiles`` rows; ``mac_s`` are the seconds for one
    MAC in each of them, with weights in the nearest caches. ``first_cache_gain`` is the part
    of a one-row call that goes away when the weights are in the first cache. Weights that
    do not fit into the second cache also cost what ``far`` says, interpolated; of the
    smaller of both times a share is added to the larger, and further calls over the same
    weights take longer by the share ``again``. ``sharing`` is how much slower the far levels
    are for each further thread.

    The unpacked products of the plain RNN copy the weights into a panel (``transpose_s`` an
    element, then ``panel_mac_s`` a MAC), or for one row take dot products (``dot_mac_s``,
    ``dot_output_s``, and ``dot_tail_s`` for an output whose depth is no multiple of 4). The
    8-bit products take ``int8_rows`` rows a call, whose depth is padded to a multiple of
    ``int8_depth``: ``int8_weight_s`` for each weight in the first call over it,
    ``int8_again_s`` in the others, and ``int8_mac_s`` for each MAC.
    """

    row_tiles: Annotated[tuple[Rows, ...], Meta(min_length=1, max_length=16)]
    mac_s: Annotated[tuple[Seconds, ...], Meta(min_length=1, max_length=16)]
    call_s: Seconds
    call_row_s: Seconds
    first_cache_bytes: Bytes
    first_cache_gain: Fraction
    far: Annotated[tuple[FarPoint, ...], Meta(min_length=2, max_length=16)]
    again: Seconds
    sharing: Seconds
    transpose_s: Seconds
    panel_mac_s: Seconds
    dot_mac_s: Seconds
    dot_output_s: Seconds
    dot_tail_s: Seconds
    int8_rows: Rows = 6
    int8_depth: Rows = 4
    int8_weight_s: Seconds
    int8_again_s: Seconds
    int8_mac_s: Seconds
    int8_overlap: Fraction


class Cell(Strict, frozen=True, kw_only=True):
    """Fixed and elementwise times of one recurrent kernel.

    Of a node; of a direction; of its set-up, for each unit and row (in 8 bits for each unit:
    the zero points of its columns); of a step; of a row of a
    step, and more where the units are no multiple of 8; of one unit and row of a step.
    """

    node_s: Seconds
    direction_s: Seconds
    setup_s: Seconds
    step_s: Seconds
    row_s: Seconds
    tail_s: Seconds
    unit_s: Seconds


class Cells(Strict, frozen=True, kw_only=True):
    """The kernels; ``gru_linear`` is a GRU with linear_before_reset."""

    lstm: Cell
    gru: Cell
    gru_linear: Cell
    rnn: Cell
    lstm_int8: Cell


class Copies(Strict, frozen=True, kw_only=True):
    """What surrounds the steps.

    A row and a byte that the reverse direction copies; a byte of the input products near
    and far; a bias element of the RNN; quantising an element and a row of activations;
    turning an 8-bit product's element back, and more where its columns are no multiple of
    16.
    """

    reverse_row_s: Seconds
    reverse_byte_s: Seconds
    near_byte_s: Seconds
    far_byte_s: Seconds
    bias_s: Seconds
    quantize_s: Seconds
    quantize_row_s: Seconds
    dequantize_s: Seconds
    ragged_s: Seconds


class OnnxRuntimeCpu(Strict, frozen=True, kw_only=True):
    """Constants of ONNX Runtime's CPU kernels; see ``rnncost.latency.onnxruntime_cpu``.

    ``run_s`` is a run of a model; ``fork_s`` handing work to the other threads and waiting
    for them, ``dispatch_s`` if it is done before they come; ``exchange_byte_s`` a byte that
    one of them wrote and another reads; ``split_step_s`` what a step of an LSTM takes longer
    where threads share out its batch, as they write to the same cache lines
    (``int8_split_step_s`` in 8 bits). ``repeat_gain`` is the part of the RNN's elementwise
    time that a short run saves when it repeats. ``operators`` are all others.
    """

    kind: Evidence
    source: Text
    run_s: Seconds
    fork_s: Seconds
    dispatch_s: Seconds
    exchange_byte_s: Seconds
    split_step_s: Seconds
    int8_split_step_s: Seconds
    repeat_gain: Fraction
    products: Products
    cells: Cells
    copies: Copies
    operators: Operators
