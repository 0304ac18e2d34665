"""Seconds of matrix products in ONNX Runtime's CPU kernels (MLAS).

Read from onnxruntime/core/mlas/lib/sgemm.cpp: the packed matrix is walked in blocks of 128
columns by 256 rows; within a block the kernel is called for a few rows of the other
operand at a time, as many as its register tile holds, and then for what remains. The first
call of a block brings the weights in from wherever they are, the others find them near.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnncost.profiles.onnxruntime import Products

COLUMN_TILE = 16
CALL_COLUMNS = 32
PACKED_DEPTH = 256
UNPACKED_DEPTH = 128
MACS_A_THREAD = 65536
"""A product is split among threads when each gets at least so many MACs."""


def row_calls(rows: int, tiles: tuple[int, ...]) -> list[tuple[int, int]]:
    """How a number of rows is split into kernel calls: pairs of (index of the tile, calls)."""
    calls = []
    for index in range(len(tiles) - 1, -1, -1):
        count, rows = divmod(rows, tiles[index])
        if count:
            calls.append((index, count))
    return calls


def far(products: Products, working_set_bytes: float) -> tuple[float, float]:
    """Seconds a byte of weights and their overlap when so many bytes take turns in the caches.

    Interpolated between the measured working sets, on their logarithms; below the first
    the seconds soon fall to zero, above the last they stay.
    """
    points = products.far
    at = math.log2(max(working_set_bytes, 1.0))
    left = math.log2(points[0].working_set_bytes)
    if at <= left:
        return points[0].s_per_byte * max(0.0, 1.0 - 4.0 * (left - at)), points[0].overlap
    for near, beyond in pairwise(points):
        right = math.log2(beyond.working_set_bytes)
        if at <= right:
            share = (at - left) / (right - left)
            return (
                (1 - share) * near.s_per_byte + share * beyond.s_per_byte,
                (1 - share) * near.overlap + share * beyond.overlap,
            )
        left = right
    return points[-1].s_per_byte, points[-1].overlap


def second_cache_bytes(products: Products) -> float:
    """The size of the second cache: the working sets are those around it, itself the second."""
    return products.far[1].working_set_bytes


def first_cache_gain(products: Products, working_set_bytes: float) -> float:
    """The part of a one-row product that weights in the first cache save."""
    near = working_set_bytes < products.first_cache_bytes
    return products.first_cache_gain if near else 0.0


def combined_s(compute_s: float, memory_s: float, overlap: float) -> float:
    """Seconds when memory and computation overlap, but not quite."""
    return max(compute_s, memory_s) + overlap * min(compute_s, memory_s)


def packed_s(
    products: Products,
    rows: int,
    depth: int,
    columns: int,
    working_set_bytes: float,
    slowdown: float,
) -> float:
    """Seconds of ``rows x depth`` times a packed ``depth x columns`` on one thread."""
    padded = -(-columns // COLUMN_TILE) * COLUMN_TILE
    calls = -(-columns // CALL_COLUMNS) * -(-depth // PACKED_DEPTH)
    byte_s, overlap = far(products, working_set_bytes)
    memory = slowdown * byte_s * 4.0 * depth * padded
    gain = first_cache_gain(products, working_set_bytes)
    seconds, first = 0.0, True
    again = 1 + products.again * min(1.0, byte_s / (products.far[-1].s_per_byte or math.inf))
    for index, count in row_calls(rows, products.row_tiles):
        tile = products.row_tiles[index]
        compute = tile * depth * padded * products.mac_s[index] * (1 - gain / tile)
        fixed = calls * (products.call_s + tile * products.call_row_s)
        seconds += count * (compute * again + fixed)
        if first:
            seconds += combined_s(compute, memory, overlap) - compute * again
            first = False
    return seconds


def unpacked_s(
    products: Products,
    rows: int,
    depth: int,
    columns: int,
    working_set_bytes: float,
    slowdown: float,
) -> float:
    """Seconds of a product whose weights are not packed but stored transposed."""
    byte_s, overlap = far(products, working_set_bytes)
    memory = slowdown * byte_s * 4.0 * depth * columns
    if rows == 1:
        gain = first_cache_gain(products, working_set_bytes)
        dot = columns * (depth * products.dot_mac_s * (1 - gain) + products.dot_output_s)
        # What is left of the depth: half a vector, and single values one by one.
        tails = 0.5 * (depth % 8 >= 4) + (depth % 4 > 0)
        dot += columns * tails * products.dot_tail_s
        return combined_s(dot, memory, overlap)
    padded = -(-columns // COLUMN_TILE) * COLUMN_TILE
    seconds = combined_s(depth * padded * products.transpose_s, memory, overlap)
    calls = -(-columns // CALL_COLUMNS) * -(-depth // UNPACKED_DEPTH)
    return seconds + rows * (depth * padded * products.panel_mac_s + calls * products.call_row_s)


def int8_s(
    products: Products,
    rows: int,
    depth: int,
    columns: int,
    working_set_bytes: float,
    slowdown: float,
) -> float:
    """Seconds of an 8-bit product with packed weights."""
    tile = products.int8_rows
    calls = -(-rows // tile)
    padded = -(-depth // products.int8_depth) * products.int8_depth
    weights = padded * -(-columns // COLUMN_TILE) * COLUMN_TILE
    byte_s, _ = far(products, working_set_bytes)
    memory = slowdown * byte_s * weights
    first = min(rows, tile) * products.int8_mac_s + products.int8_weight_s
    again = max(0, rows - tile) * products.int8_mac_s + (calls - 1) * products.int8_again_s
    return weights * again + combined_s(weights * first, memory, products.int8_overlap)


def threads_for(rows: int, depth: int, columns: int, threads: int) -> int:
    """How many threads a product is split among."""
    return min(threads, rows * depth * columns // MACS_A_THREAD + 1)
