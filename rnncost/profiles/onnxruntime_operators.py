"""Constants of ONNX Runtime's CPU kernels other than the recurrent ones.

They belong to the block of ``rnncost.profiles.onnxruntime`` and are fitted like it. Times are
seconds; products take theirs from the block's ``Products``.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from rnncost.profiles.quantities import Strict

Seconds = Annotated[float, Meta(ge=0)]
Bytes = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Nodes(Strict, frozen=True, kw_only=True):
    """What one execution of a kernel takes, however little it has to do.

    ``view`` is the least that any node takes. ``change`` is added where the node
    before ran another kernel, as nearly always, and up to ``refetch`` where much was touched
    since the kernel last ran; ``branch`` is an If, ``loop`` a Loop or Scan, ``trip`` a trip
    through its body, each on top of the nodes in it.
    """

    view: Seconds
    unary: Seconds
    binary: Seconds
    broadcast: Seconds
    select: Seconds
    copy: Seconds
    transpose: Seconds
    slice: Seconds
    split: Seconds
    pad: Seconds
    gather: Seconds
    reduce: Seconds
    softmax: Seconds
    normalise: Seconds
    product: Seconds
    integer_product: Seconds
    einsum: Seconds
    conv: Seconds
    blocked_conv: Seconds
    reorder: Seconds
    pool: Seconds
    quantize: Seconds
    change: Seconds
    refetch: Seconds
    branch: Seconds
    loop: Seconds
    trip: Seconds


class Rates(Strict, frozen=True, kw_only=True):
    """Seconds for one unit of work with its operands in the near caches.

    An element of elementwise work: ``simple`` is an add, multiply or maximum, ``call`` a
    function that is called for each element, ``branch`` a choice between two. ``span``
    is a stretch of a broadcast or a softmax that is one call. A copied stretch takes ``piece``, an
    element copied alone ``strided``, an element of a general transposition ``shuffled``; ``row`` is
    one row that is looked up, ``reorder`` an element that changes to or from a blocked layout.
    """

    simple: Seconds
    divide: Seconds
    power: Seconds
    sigmoid: Seconds
    tanh: Seconds
    exp: Seconds
    erf: Seconds
    log: Seconds
    call: Seconds
    branch: Seconds
    compare: Seconds
    cast: Seconds
    span: Seconds
    piece: Seconds
    strided: Seconds
    shuffled: Seconds
    row: Seconds
    reorder: Seconds
    reduce: Seconds
    scan: Seconds
    softmax: Seconds
    normalise: Seconds
    pool: Seconds
    quantize: Seconds
    dequantize: Seconds


class StreamPoint(Strict, frozen=True, kw_only=True):
    """Seconds to read or write a byte where an operator touches so many."""

    footprint_bytes: Bytes
    s_per_byte: Seconds


class Convolutions(Strict, frozen=True, kw_only=True):
    """Convolutions: seconds for one MAC of each kernel on its blocked layout, and around it.

    ``channels`` are those of a block; 1 where the processor has no such kernels. A step
    of the kernel multiplies one input channel of a few positions by up to four blocks of
    filters: each MAC takes ``direct_mac_s``, ``pointwise_mac_s`` where the kernel is 1, each
    position ``position_s`` on top, and the step no less than ``chain_s``, as it waits for
    the one before. ``depthwise_mac_s`` is a MAC of a depthwise kernel, ``row_s`` a call for
    an output row of one block.

    Convolutions in the ordinary layout are products: ``column_s`` an element of the matrix
    of columns, ``line_s`` a line of it, ``group_s`` a group of an image. ``pack_s`` is an element
    of a second operand that is packed on the way, ``vector_mac_s`` a MAC of one row by such
    an operand. ``scatter_s`` is an element that a transposed convolution adds back.
    """

    channels: Annotated[int, Meta(ge=1, le=64)]
    direct_mac_s: Seconds
    pointwise_mac_s: Seconds
    position_s: Seconds
    chain_s: Seconds
    depthwise_mac_s: Seconds
    row_s: Seconds
    column_s: Seconds
    line_s: Seconds
    group_s: Seconds
    pack_s: Seconds
    vector_mac_s: Seconds
    scatter_s: Seconds
    integer_mac_s: Seconds
    unsigned_mac_s: Seconds
    integer_weight_s: Seconds


class Operators(Strict, frozen=True, kw_only=True):
    """Constants of every operator that is not a recurrent layer.

    Of computation and waiting for memory, ``overlap`` of the smaller is added to the larger.
    ``cold`` is the share by which the work of a node takes longer after another kernel, whose
    data and instructions are in the nearest caches.
    """

    nodes: Nodes
    rates: Rates
    stream: Annotated[tuple[StreamPoint, ...], Meta(min_length=2, max_length=16)]
    overlap: Fraction
    cold: Fraction
    convolutions: Convolutions
