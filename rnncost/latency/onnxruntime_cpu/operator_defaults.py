"""Constants of the operators for a processor that was never calibrated.

Times are given in cycles, measured with ONNX Runtime 1.32 on a server core with AVX-512,
and scaled by the clock; MACs by the peak; far bytes by the bandwidths of the memory levels.
"""

from __future__ import annotations

from collections.abc import Sequence

from rnncost.profiles.onnxruntime_operators import (
    Convolutions,
    Nodes,
    Operators,
    Rates,
    StreamPoint,
)

FOOTPRINTS = (0.015, 0.06, 0.25, 0.6, 1.0, 1.6, 3.0, 12.0, 40.0)
"""Bytes that an operator touches, in sizes of the second cache."""

_NODES = {
    "view": 700,
    "unary": 570,
    "binary": 840,
    "broadcast": 920,
    "select": 2510,
    "copy": 900,
    "transpose": 680,
    "slice": 1330,
    "split": 1090,
    "pad": 1260,
    "gather": 780,
    "reduce": 840,
    "softmax": 800,
    "normalise": 1000,
    "product": 1150,
    "integer_product": 2530,
    "einsum": 7410,
    "conv": 1530,
    "blocked_conv": 960,
    "reorder": 2670,
    "pool": 1580,
    "quantize": 610,
    "change": 350,
    "refetch": 3400,
    "branch": 1700,
    "loop": 2910,
    "trip": 190,
}
_RATES = {
    "simple": 0.22,
    "divide": 0.53,
    "power": 15.0,
    "sigmoid": 0.81,
    "tanh": 0.75,
    "exp": 0.4,
    "erf": 1.3,
    "log": 4.4,
    "call": 27.0,
    "branch": 2.0,
    "compare": 0.34,
    "cast": 0.36,
    "span": 47.0,
    "piece": 8.5,
    "strided": 5.2,
    "shuffled": 9.6,
    "row": 9.2,
    "reorder": 0.22,
    "reduce": 0.23,
    "scan": 2.8,
    "softmax": 0.72,
    "normalise": 0.53,
    "pool": 0.36,
    "quantize": 0.58,
    "dequantize": 0.26,
}
NEAR_SHARE = 1.0
FAR_SHARE = 1.6
"""Below the one, in sizes of the second cache, all bytes are near; from the other on, far."""

_NEAR = 0.024
"""Cycles a byte in the near caches."""


def default_operators(
    *,
    isa: str,
    clock_hz: float,
    mac_s: float,
    second_cache_bytes: float,
    levels: Sequence[tuple[float, float]],
) -> Operators:
    """Constants from a clock, the seconds of a MAC at full pace, and the memory levels.

    ``levels`` are (size in bytes, bytes a second) from the second cache outwards.
    """
    tick = 1 / clock_hz
    near = _NEAR * tick
    return Operators(
        nodes=Nodes(**{name: cycles * tick for name, cycles in _NODES.items()}),
        rates=Rates(**{name: cycles * tick for name, cycles in _RATES.items()}),
        stream=tuple(
            [
                StreamPoint(
                    footprint_bytes=share * second_cache_bytes,
                    s_per_byte=near
                    if share < NEAR_SHARE
                    else max(
                        near,
                        min(1.0, share / FAR_SHARE) * _far_s(share * second_cache_bytes, levels),
                    ),
                )
                for share in FOOTPRINTS
            ]
        ),
        overlap=0.2,
        cold=0.05,
        convolutions=Convolutions(
            channels=channels_for(isa),
            direct_mac_s=0.96 * mac_s,
            pointwise_mac_s=0.98 * mac_s,
            position_s=2.7 * mac_s,
            chain_s=3.6 * tick,
            depthwise_mac_s=1.7 * mac_s,
            row_s=58 * tick,
            column_s=0.23 * tick,
            line_s=23 * tick,
            group_s=280 * tick,
            pack_s=0.45 * tick,
            vector_mac_s=0.14 * tick,
            scatter_s=1.5 * tick,
            integer_mac_s=0.17 * tick,
            unsigned_mac_s=0.031 * tick,
            integer_weight_s=0.42 * tick,
        ),
    )


def channels_for(isa: str) -> int:
    """Channels of a block in MLAS's layout for a vector extension such as avx512f; 1 for none."""
    if isa.startswith(("avx512", "amx")):
        return 16
    return 8 if isa.startswith("avx") else 1


def _far_s(footprint_bytes: float, levels: Sequence[tuple[float, float]]) -> float:
    for size, bytes_per_s in levels:
        if footprint_bytes <= size:
            return 1 / bytes_per_s
    return 1 / levels[-1][1] if levels else 0.0
