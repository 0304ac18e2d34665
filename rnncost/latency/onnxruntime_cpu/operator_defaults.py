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

FOOTPRINTS = (0.015, 0.06, 0.25, 0.6, 1.0, 1.6, 3.0)
"""Bytes that an operator touches, in sizes of the second cache."""

_NODES = {
    "view": 480,
    "unary": 600,
    "binary": 750,
    "broadcast": 950,
    "select": 1300,
    "copy": 750,
    "transpose": 650,
    "slice": 1100,
    "split": 1500,
    "pad": 1100,
    "gather": 650,
    "reduce": 800,
    "softmax": 1000,
    "normalise": 1000,
    "product": 950,
    "integer_product": 2200,
    "einsum": 5000,
    "conv": 1600,
    "blocked_conv": 1200,
    "reorder": 1000,
    "pool": 1500,
    "quantize": 1000,
    "change": 300,
    "loop": 3000,
    "trip": 2500,
}
_RATES = {
    "simple": 0.25,
    "divide": 0.6,
    "power": 13.0,
    "sigmoid": 0.85,
    "tanh": 0.8,
    "exp": 0.45,
    "erf": 1.3,
    "log": 4.4,
    "call": 26.0,
    "branch": 3.0,
    "compare": 0.35,
    "cast": 0.75,
    "span": 40.0,
    "piece": 9.0,
    "strided": 4.5,
    "shuffled": 9.0,
    "row": 12.0,
    "reorder": 0.3,
    "reduce": 0.2,
    "scan": 2.7,
    "softmax": 0.7,
    "normalise": 1.0,
    "pool": 0.3,
    "quantize": 0.5,
    "dequantize": 0.35,
}
_NEAR = 0.008
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
                    if share <= 0.25
                    else max(near, min(1.0, share) * _far_s(share * second_cache_bytes, levels)),
                )
                for share in FOOTPRINTS
            ]
        ),
        overlap=0.15,
        convolutions=Convolutions(
            channels=channels_for(isa),
            direct_mac_s=0.9 * mac_s,
            pointwise_mac_s=mac_s,
            position_s=2 * mac_s,
            chain_s=4 * tick,
            depthwise_mac_s=2 * mac_s,
            row_s=60 * tick,
            column_s=0.6 * tick,
            line_s=15 * tick,
            group_s=150 * tick,
            pack_s=0.35 * tick,
            vector_mac_s=0.17 * tick,
            scatter_s=1.3 * tick,
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
