"""``rnncost.latency.onnxruntime_cpu.products`` on arrays: the same formulas, term for term."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnncost.latency.arrays.exact import mapped
from rnncost.latency.arrays.layer import Values
from rnncost.latency.onnxruntime_cpu.products import (
    CALL_COLUMNS,
    COLUMN_TILE,
    PACKED_DEPTH,
    UNPACKED_DEPTH,
    row_calls,
)
from rnncost.profiles.onnxruntime import Products

Floats = NDArray[np.float64]

_MARGIN = 1e-9
"""Working sets this close to a measured one still get a logarithm, which may round either way."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Where the weights of a product are.

    Seconds a byte that they take beyond the near caches, how that overlaps with computation, the
    factor of further calls over them, and 1.0 where the first cache holds them, else 0.0.
    """

    byte_s: Values
    overlap: Values
    again: Values
    in_first_cache: Values


class Calls(msgspec.Struct, frozen=True):
    """Calls of the kernel in turn: their rows, the seconds of a MAC, the part of them that the
    first cache saves, and how many there are (there may be none)."""

    tile: Values
    mac_s: Values
    gain: Values
    count: Values


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Constants of the products, laid out for arrays.

    ``ends`` are the logarithms of the far points, each at least as large as those before, so that
    the first one at or above a value is where a search from the left would stop. ``slots`` has
    the calls for each number of rows below the widest tile, then the same behind a call of it.
    """

    products: Products
    lefts: Floats
    ends: Floats
    s_per_byte: Floats
    overlaps: Floats
    near_below: float
    far_above: float
    slots: tuple[tuple[Floats, Floats, Floats, Floats], ...]


def table_of(products: Products) -> Table:
    """The constants laid out for arrays."""
    points = products.far
    sizes = [point.working_set_bytes for point in points]
    lefts = np.array([math.log2(size) for size in sizes])
    return Table(
        products=products,
        lefts=lefts,
        ends=np.maximum.accumulate(lefts),
        s_per_byte=np.array([point.s_per_byte for point in points]),
        overlaps=np.array([point.overlap for point in points]),
        # A quarter of a power of two below the first point nothing is left of its seconds.
        near_below=sizes[0] * 2**-0.25 * (1 - _MARGIN),
        far_above=max(sizes) * (1 + _MARGIN),
        slots=_slots(products),
    )


def _slots(products: Products) -> tuple[tuple[Floats, Floats, Floats, Floats], ...]:
    widest = products.row_tiles[-1]
    last = len(products.row_tiles) - 1
    below = [row_calls(rows, products.row_tiles) for rows in range(widest)]
    lists = [*below, *([(last, 0), *calls] for calls in below)]
    slots = []
    for at in range(max(map(len, lists))):
        found = [calls[at] if at < len(calls) else (last, 0) for calls in lists]
        tiles = np.array([float(products.row_tiles[index]) for index, _ in found])
        mac_s = np.array([products.mac_s[index] for index, _ in found])
        counts = np.array([float(count) for _, count in found])
        slots.append((tiles, mac_s, products.first_cache_gain / tiles, counts))
    return tuple(slots)


def calls_of(table: Table, rows: Values) -> list[Calls]:
    """How rows are split into kernel calls."""
    products = table.products
    if not isinstance(rows, np.ndarray) or rows.ndim == 0:
        tiles, gain = products.row_tiles, products.first_cache_gain
        return [
            Calls(float(tiles[index]), products.mac_s[index], gain / tiles[index], float(count))
            for index, count in row_calls(int(rows), tiles)
        ]
    widest = float(products.row_tiles[-1])
    whole = np.floor(rows / widest)
    key = (rows - whole * widest + widest * (whole > 0)).astype(np.intp)
    found: list[Calls] = []
    for wide, mac_s, share, number in table.slots:
        counts = number.take(key) if found else number.take(key) + whole
        if found and not counts.any():
            break
        found.append(Calls(wide.take(key), mac_s.take(key), share.take(key), counts))
    return found


def far(table: Table, working_set_bytes: Values) -> tuple[Values, Values]:
    """Seconds a byte of weights and their overlap, as ``products.far``."""
    sizes = np.atleast_1d(np.maximum(working_set_bytes, 1.0))
    last = len(table.s_per_byte) - 1
    inner = np.flatnonzero((sizes > table.near_below) & (sizes < table.far_above))
    beyond = (sizes >= table.far_above).astype(np.intp) * last
    byte_s = np.where(beyond, table.s_per_byte[last], 0.0)
    overlap = table.overlaps.take(beyond)
    if not inner.size:
        return byte_s, overlap
    at = mapped(math.log2, sizes[inner])
    end = np.searchsorted(table.ends, at)
    right = np.clip(end, 1, last)
    left = right - 1
    share = (at - table.lefts[left]) / (table.lefts[right] - table.lefts[left])
    rest = 1 - share
    seconds = rest * table.s_per_byte[left] + share * table.s_per_byte[right]
    overlaps = rest * table.overlaps[left] + share * table.overlaps[right]
    first, outside = end == 0, end > last
    below = table.s_per_byte[0] * np.maximum(0.0, 1.0 - 4.0 * (table.lefts[0] - at))
    seconds = np.where(first, below, np.where(outside, table.s_per_byte[last], seconds))
    overlaps = np.where(first, table.overlaps[0], np.where(outside, table.overlaps[last], overlaps))
    byte_s[inner] = seconds
    overlap[inner] = overlaps
    return byte_s, overlap


def held_in(table: Table, working_set_bytes: Values) -> Held:
    """Where weights are when so many bytes take turns in the caches."""
    products = table.products
    byte_s, overlap = far(table, working_set_bytes)
    slowest = products.far[-1].s_per_byte or math.inf
    return Held(
        byte_s=byte_s,
        overlap=overlap,
        again=1 + products.again * np.minimum(1.0, byte_s / slowest),
        in_first_cache=(working_set_bytes < np.float64(products.first_cache_bytes)) * 1.0,
    )


def combined_s(compute_s: Values, memory_s: Values, overlap: Values) -> Values:
    """Seconds when memory and computation overlap, but not quite."""
    return np.maximum(compute_s, memory_s) + overlap * np.minimum(compute_s, memory_s)


def up(values: Values, size: Values) -> Values:
    """How many pieces of a size cover so many: ``-(-values // size)``."""
    pieces: Values = np.ceil(values / size)
    return pieces


def packed_s(
    table: Table, rows: Values, depth: Values, columns: Values, held: Held, slowdown: Values
) -> Values:
    """Seconds of a product with packed weights, as ``products.packed_s``."""
    products = table.products
    padded = up(columns, COLUMN_TILE) * COLUMN_TILE
    kernel_calls = up(columns, CALL_COLUMNS) * up(depth, PACKED_DEPTH)
    memory = slowdown * held.byte_s * 4.0 * depth * padded
    area = depth * padded
    seconds: Values = 0.0 * area
    for at, calls in enumerate(calls_of(table, rows)):
        gain = 1 - held.in_first_cache * calls.gain
        compute = calls.tile * area * calls.mac_s * gain
        fixed = kernel_calls * (products.call_s + calls.tile * products.call_row_s)
        later = compute * held.again
        seconds = seconds + calls.count * (later + fixed)
        if at == 0:
            first = combined_s(compute, memory, held.overlap) - later
            seconds = seconds + np.minimum(calls.count, 1.0) * first
    return seconds


def unpacked_s(
    table: Table, rows: Values, depth: Values, columns: Values, held: Held, slowdown: Values
) -> Values:
    """Seconds of a product with weights stored transposed, as ``products.unpacked_s``."""
    products = table.products
    memory = slowdown * held.byte_s * 4.0 * depth * columns
    one = np.equal(rows, 1.0)
    if one.all():
        return _dots_s(products, depth, columns, held, memory)
    padded = up(columns, COLUMN_TILE) * COLUMN_TILE
    seconds = combined_s(depth * padded * products.transpose_s, memory, held.overlap)
    calls = up(columns, CALL_COLUMNS) * up(depth, UNPACKED_DEPTH)
    each = depth * padded * products.panel_mac_s + calls * products.call_row_s
    panels = seconds + rows * each
    if not one.any():
        return panels
    return np.where(one, _dots_s(products, depth, columns, held, memory), panels)


def _dots_s(
    products: Products, depth: Values, columns: Values, held: Held, memory: Values
) -> Values:
    gain = products.first_cache_gain * held.in_first_cache
    dot = columns * (depth * products.dot_mac_s * (1 - gain) + products.dot_output_s)
    eighths = depth - 8 * np.floor(depth / 8)
    fourths = depth - 4 * np.floor(depth / 4)
    tails = 0.5 * (eighths >= 4) + (fourths > 0)
    dot = dot + columns * tails * products.dot_tail_s
    return combined_s(dot, memory, held.overlap)


def int8_s(
    table: Table, rows: Values, depth: Values, columns: Values, held: Held, slowdown: Values
) -> Values:
    """Seconds of an 8-bit product with packed weights, as ``products.int8_s``."""
    products = table.products
    tile = products.int8_rows
    calls = up(rows, tile)
    padded = up(depth, products.int8_depth) * products.int8_depth
    weights = padded * up(columns, COLUMN_TILE) * COLUMN_TILE
    memory = slowdown * held.byte_s * weights
    first = np.minimum(rows, tile) * products.int8_mac_s + products.int8_weight_s
    later = np.maximum(0, rows - tile) * products.int8_mac_s
    again = later + (calls - 1) * products.int8_again_s
    return weights * again + combined_s(weights * first, memory, products.int8_overlap)
