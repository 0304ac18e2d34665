"""Seconds of convolutions in ONNX Runtime's CPU kernels (MLAS).

Read from onnxruntime/core/mlas/lib: snchwc.cpp for the blocked layout, in which channels
stand together in blocks of a vector and the kernel serves up to four blocks of filters at a
time; convolve.cpp for the ordinary layout, in which a convolution is a product of the
filters by a matrix of columns; and conv_transpose.cc, where such a product is added back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from rnncost.latency.onnxruntime_cpu.products import (
    combined_s,
    far,
    row_calls,
    threads_for,
    unpacked_s,
)

if TYPE_CHECKING:
    from rnncost.profiles.onnxruntime import OnnxRuntimeCpu, Products
    from rnncost.profiles.onnxruntime_operators import Convolutions

FILTER_SET = 4
"""Blocks of filters that a pass over the input serves."""

POSITIONS = {16: 6, 8: 3}
"""Output positions that a step takes, by the channels of a block."""

COLUMN_TILE = 16
CALL_COLUMNS = 32
PANEL_DEPTH = 128


ConvolutionKind = Literal["blocked", "depthwise", "columns", "pointwise", "transposed"]


class Convolution(msgspec.Struct, frozen=True, kw_only=True):
    """The extents of a convolution.

    ``inputs`` and ``filters`` are those of one group, ``taps`` the elements of a filter
    for one input channel, ``valid`` the share of them that does not fall on padding.
    ``lines`` are the output's rows in one image, ``width`` their length and ``edge`` how
    many positions of a row touch padding. ``positions`` are output positions, in a
    transposed convolution input positions. ``around`` are units of elementwise work,
    ``bytes`` those of input and output, ``written`` those of the output.
    """

    kind: ConvolutionKind
    images: int
    groups: int
    inputs: int
    filters: int
    taps: int
    positions: int
    lines: int = 1
    width: int = 1
    edge: int = 0
    valid: float = 1.0
    around: tuple[tuple[str, float], ...] = ()
    bytes: int = 0
    written: int = 0

    @property
    def macs(self) -> int:
        return self.images * self.groups * self.inputs * self.filters * self.taps * self.positions

    @property
    def weight_bytes(self) -> int:
        return 4 * self.groups * self.inputs * self.filters * self.taps


def convolution_s(
    conv: Convolution,
    constants: OnnxRuntimeCpu,
    convolutions: Convolutions,
    run_bytes: float,
    threads: int = 1,
) -> float:
    """Seconds on one or more threads, without what the node takes anyway."""
    byte_s, overlap = far(constants.products, run_bytes)
    memory = conv.weight_bytes * byte_s
    if conv.kind == "blocked":
        seconds = _blocked_s(conv, convolutions)
    elif conv.kind == "depthwise":
        edges = 1 + conv.edge / max(1, conv.width)
        seconds = conv.macs * conv.valid * edges * convolutions.depthwise_mac_s
        blocks = -(-conv.groups // convolutions.channels)
        seconds += conv.images * blocks * conv.lines * convolutions.row_s
    else:
        return combined_s(_gemms_s(conv, constants, convolutions, threads), memory, overlap)
    return _shared_s(combined_s(seconds, memory, overlap), conv.macs, constants, threads)


def _shared_s(seconds: float, macs: int, constants: OnnxRuntimeCpu, threads: int) -> float:
    """Work that threads share evenly, if there is enough of it."""
    used = threads_for(1, 1, macs, threads)
    return seconds if used == 1 else seconds / used + constants.fork_s


def _gemms_s(
    conv: Convolution, constants: OnnxRuntimeCpu, convolutions: Convolutions, threads: int
) -> float:
    """The products of all images and groups, one after the other.

    Threads share the images where no columns are made. Else they share each single product,
    and of the rest only columns that outnumber the filters, which are made piece by piece.
    """
    count = conv.images * conv.groups
    around, product = _gemm_s(conv, constants.products, convolutions)
    if conv.kind == "pointwise" and count > 1:
        used = min(threads, count)
        each = around + product
        return -(-count // used) * each + (constants.fork_s if used > 1 else 0.0)
    macs = conv.macs // max(1, count)
    if conv.kind == "columns" and conv.filters <= conv.positions:
        return count * _shared_s(around + product, macs, constants, threads)
    return count * (around + _shared_s(product, macs, constants, threads))


def _blocked_s(conv: Convolution, convolutions: Convolutions) -> float:
    """A step for each valid tap and input channel, of each group of positions and filters."""
    channels = convolutions.channels
    whole, rest = divmod(-(-conv.filters // channels), FILTER_SET)
    sets = [FILTER_SET] * whole + ([rest] if rest else [])
    mac_s = convolutions.pointwise_mac_s if conv.taps == 1 else convolutions.direct_mac_s
    inputs = conv.inputs if conv.inputs < channels else -(-conv.inputs // channels) * channels
    if conv.taps == 1:
        groups, edges, lines = _position_groups(conv.positions, channels), 0, 1
    else:
        groups = _position_groups(max(0, conv.width - conv.edge), channels)
        edges, lines = min(conv.edge, conv.width), conv.lines
    steps = conv.images * conv.groups * inputs * conv.taps * conv.valid * lines
    calls = conv.images * conv.groups * lines * -(-inputs // channels)
    seconds = 0.0
    for blocks in sets:
        row = sum(
            count
            * max(
                convolutions.chain_s,
                at * (blocks * channels * mac_s + convolutions.position_s),
            )
            for at, count in (*groups, (1, edges))
        )
        seconds += steps * row + calls * convolutions.row_s
    return seconds


def _position_groups(width: int, channels: int) -> list[tuple[int, int]]:
    size = POSITIONS.get(channels, 3)
    whole, rest = divmod(width, size)
    return [(size, whole), (rest, 1)] if rest else [(size, whole)]


def _gemm_s(
    conv: Convolution, products: Products, convolutions: Convolutions
) -> tuple[float, float]:
    """One group of one image as a product: seconds around it, and its own."""
    depth, columns, rows = conv.inputs * conv.taps, conv.positions, conv.filters
    if conv.kind == "transposed":
        depth, rows = conv.inputs, conv.filters * conv.taps
        seconds = rows * columns * convolutions.scatter_s + rows * depth * convolutions.pack_s
    elif conv.kind == "columns":
        seconds = depth * columns * convolutions.column_s
        seconds += depth * conv.lines * convolutions.line_s
    else:
        seconds = 0.0
    seconds += convolutions.group_s
    if columns == 1:
        return seconds, unpacked_s(products, 1, depth, rows, 0.0, 1.0)
    return seconds, panel_s(products, convolutions, rows, depth, columns)


def panel_s(
    products: Products, convolutions: Convolutions, rows: int, depth: int, columns: int
) -> float:
    """A product whose second operand is packed on the way and then is near."""
    if rows == 1:
        return depth * columns * convolutions.vector_mac_s
    padded = -(-columns // COLUMN_TILE) * COLUMN_TILE
    calls = -(-columns // CALL_COLUMNS) * -(-depth // PANEL_DEPTH)
    seconds = depth * columns * convolutions.pack_s
    for index, count in row_calls(rows, products.row_tiles):
        tile = products.row_tiles[index]
        compute = tile * depth * padded * products.mac_s[index]
        seconds += count * (compute + calls * (products.call_s + tile * products.call_row_s))
    return seconds
