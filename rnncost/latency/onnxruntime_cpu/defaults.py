"""Constants for a processor that was never calibrated, from its data sheet.

Kernel times are given in cycles, measured with ONNX Runtime 1.32 on a server core with
AVX-512, and scaled by the clock; products by the peak; far weights by the bandwidths of
the profile's memory levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rnncost.latency.onnxruntime_cpu.operator_defaults import default_operators
from rnncost.profiles.onnxruntime import Cell, Cells, Copies, FarPoint, OnnxRuntimeCpu, Products

ROW_TILES = {"avx512": (1, 2, 3, 4, 5, 6, 12), "avx2": (1, 2, 3, 4, 5, 6), "neon": (1, 2, 4)}
"""Rows that one call of MLAS's float kernel takes, by the widest vector extension."""

_INT8_TILES = {"amx": (16, 64)}
_INT8_TILE = (6, 4)
"""Rows that one call of MLAS's 8-bit kernel takes, and the depth that it pads to."""

_TILE_SHARE = {1: 0.38, 2: 0.6, 3: 0.8, 4: 0.88, 5: 0.9, 6: 0.92, 12: 1.0}
"""Share of the product's peak rate that a call of so many rows reaches."""

_PEAK_SHARE = 0.9

FAR_FACTORS = (0.85, 1.0, 1.15, 1.4, 1.8, 3.0, 8.0, 20.0, 45.0)
"""Working sets at which far weights are measured, in sizes of the second cache."""

_OUTGROWN = 1.5
"""A working set of so many sizes of a cache comes from the level behind it."""


def tiles_for(isa: str) -> tuple[int, ...]:
    """The rows of the kernel's calls for a vector extension such as avx512f or neon."""
    for prefix, tiles in ROW_TILES.items():
        if isa.startswith((prefix, "amx") if prefix == "avx512" else prefix):
            return tiles
    return ROW_TILES["neon"] if isa.startswith(("sve", "arm")) else ROW_TILES["avx2"]


def default_constants(
    *,
    isa: str,
    clock_hz: float,
    peak_macs_per_s: float,
    first_cache_bytes: float,
    second_cache_bytes: float,
    levels: Sequence[tuple[float, float]],
) -> OnnxRuntimeCpu:
    """Constants from a clock, the peak of one thread, two cache sizes, and the memory levels.

    ``levels`` are (size in bytes, bytes a second) from the second cache outwards.
    """
    tick = 1 / clock_hz
    mac_s = 1 / (peak_macs_per_s * _PEAK_SHARE)
    tiles = tiles_for(isa)
    int8_rows, int8_depth = _INT8_TILES.get(isa[:3], _INT8_TILE)
    int8_s = mac_s / 4
    working_sets = [factor * second_cache_bytes for factor in FAR_FACTORS]
    for size, _ in levels:  # an outer cache may be larger than the last of them
        if working_sets[-1] < size < math.inf:
            working_sets += [size, _OUTGROWN * size]
    cells = {
        "lstm": (5000, 3.0, 100, 300, 4.0),
        "gru": (5000, 0.5, 100, 160, 12.0),
        "gru_linear": (5000, 0.5, 60, 210, 12.5),
        "rnn": (2000, 0.2, 30, 100, 30.0),
        "lstm_int8": (8000, 0.2, 230, 200, 4.3),
    }
    return OnnxRuntimeCpu(
        kind="assumed",
        source="ONNX Runtime 1.32 on a server core with AVX-512, scaled by clock and peak",
        run_s=4.3e-6,
        fork_s=2.0e-6,
        dispatch_s=3.5e-7,
        exchange_byte_s=2e-10,
        split_step_s=3e-7,
        int8_split_step_s=6e-7,
        repeat_gain=0.2,
        products=Products(
            row_tiles=tiles,
            mac_s=tuple(mac_s / _TILE_SHARE[rows] for rows in tiles),
            call_s=24 * tick,
            call_row_s=1 * tick,
            first_cache_bytes=first_cache_bytes,
            first_cache_gain=0.4,
            far=tuple(
                FarPoint(working_set_bytes=size, s_per_byte=_far_s(size, levels), overlap=0.3)
                for size in working_sets
            ),
            again=0.3,
            sharing=0.2,
            transpose_s=0.45 * tick,
            panel_mac_s=1.7 * mac_s,
            dot_mac_s=0.16 * tick,
            dot_output_s=1 * tick,
            dot_tail_s=10 * tick,
            int8_rows=int8_rows,
            int8_depth=int8_depth,
            int8_weight_s=2 * int8_s,
            int8_again_s=3 * int8_s,
            int8_mac_s=int8_s,
            int8_overlap=0.6,
        ),
        cells=Cells(
            **{
                name: Cell(
                    node_s=node * tick,
                    direction_s=node * tick / 2,
                    setup_s=setup * tick,
                    step_s=step * tick,
                    row_s=row * tick,
                    tail_s=60 * tick,
                    unit_s=unit * tick,
                )
                for name, (node, setup, step, row, unit) in cells.items()
            }
        ),
        copies=Copies(
            reverse_row_s=3 * tick,
            reverse_byte_s=0.13 * tick,
            near_byte_s=0.03 * tick,
            far_byte_s=0.3 * tick,
            bias_s=0.3 * tick,
            quantize_s=1.3 * tick,
            quantize_row_s=33 * tick,
            dequantize_s=0.6 * tick,
            ragged_s=1.0 * tick,
        ),
        operators=default_operators(
            isa=isa,
            clock_hz=clock_hz,
            mac_s=mac_s,
            second_cache_bytes=second_cache_bytes,
            levels=levels,
        ),
    )


def _far_s(working_set_bytes: float, levels: Sequence[tuple[float, float]]) -> float:
    """Seconds a byte at the level that holds so much; the size of the last may be infinite."""
    for size, bytes_per_s in levels:
        if working_set_bytes <= size:
            return 1 / bytes_per_s
    return 1 / levels[-1][1] if levels else math.inf
