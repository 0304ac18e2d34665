"""Constants of ONNX Runtime's CPU kernels other than the recurrent ones.

They belong to the block of ``rnncost.profiles.onnxruntime`` and are fitted like it. Times are
seconds; products take theirs from the block's ``Products``.
"""

from __future__ import annotations

from rnncost.profiles.onnxruntime import Bytes, Seconds
from rnncost.profiles.quantities import Strict


class Nodes(Strict, frozen=True, kw_only=True):
    """What one execution of a node takes, however little it has to do, by its kernel.

    ``view_s`` is a node that only renames, and the least that any node takes; ``trip_s``
    a trip through the body of a Loop or Scan, on top of the nodes in it; ``branch_s`` an If.
    """

    view_s: Seconds
    elementwise_s: Seconds
    binary_s: Seconds
    transpose_s: Seconds
    slice_s: Seconds
    split_s: Seconds
    concat_s: Seconds
    pad_s: Seconds
    gather_s: Seconds
    expand_s: Seconds
    reduce_s: Seconds
    softmax_s: Seconds
    normalise_s: Seconds
    product_s: Seconds
    einsum_s: Seconds
    conv_s: Seconds
    blocked_conv_s: Seconds
    quantize_s: Seconds
    pool_s: Seconds
    other_s: Seconds
    branch_s: Seconds
    loop_s: Seconds
    trip_s: Seconds


class Elements(Strict, frozen=True, kw_only=True):
    """Elementwise work: seconds for one element, operands in the near caches.

    ``simple_s`` is an add, multiply or maximum; ``span_s`` each stretch of a broadcast that
    is one call; ``exp_s`` also what a softmax takes.
    """

    simple_s: Seconds
    divide_s: Seconds
    root_s: Seconds
    power_s: Seconds
    sigmoid_s: Seconds
    tanh_s: Seconds
    exp_s: Seconds
    erf_s: Seconds
    call_s: Seconds
    compare_s: Seconds
    cast_s: Seconds
    span_s: Seconds


class Moves(Strict, frozen=True, kw_only=True):
    """Copies and sums: a byte near and far, a stretch that is one copy, an element out of line.

    A far byte is one of an operator that touches more than ``second_cache_bytes``.
    """

    second_cache_bytes: Bytes
    near_byte_s: Seconds
    far_byte_s: Seconds
    span_s: Seconds
    strided_s: Seconds
    gather_row_s: Seconds
    reorder_in_s: Seconds
    reorder_out_s: Seconds
    reduce_s: Seconds
    reduce_across_s: Seconds


class Convolutions(Strict, frozen=True, kw_only=True):
    """Convolutions: seconds for one MAC in each algorithm, and what surrounds them."""

    direct_mac_s: Seconds
    planar_mac_s: Seconds
    pointwise_mac_s: Seconds
    depthwise_mac_s: Seconds
    row_s: Seconds
    column_s: Seconds
    pack_s: Seconds
    scatter_s: Seconds
    pool_s: Seconds


class Operators(Strict, frozen=True, kw_only=True):
    """Constants of every operator that is not a recurrent layer."""

    nodes: Nodes
    elements: Elements
    moves: Moves
    convolutions: Convolutions
