"""The constants as a list of numbers, which a fit can move, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from rnncost.profiles.onnxruntime import OnnxRuntimeCpu

_FIXED = (
    *("kind", "source", "run_s", "row_tiles", "first_cache_bytes", "working_set_bytes"),
    *("int8_rows", "int8_depth", "operators"),
)
"""What is no constant of the recurrent kernels; the fit of the operators settles ``run_s``."""

_FRACTIONS = ("overlap", "first_cache_gain", "int8_overlap", "repeat_gain")


def numbers_of(constants: OnnxRuntimeCpu) -> dict[str, float]:
    """The constants that a fit may move, by their path, as ``products.mac_s.0``."""
    return dict(_leaves(msgspec.json.decode(msgspec.json.encode(constants)), ""))


def constants_of(base: OnnxRuntimeCpu, values: Sequence[float]) -> OnnxRuntimeCpu:
    """The constants with the numbers of ``numbers_of(base)`` replaced, in its order."""
    plain = msgspec.json.decode(msgspec.json.encode(base))
    for path, value in zip(numbers_of(base), values, strict=True):
        *parents, last = path.split(".")
        place: Any = plain
        for part in parents:
            place = place[int(part) if isinstance(place, list) else part]
        bounded = min(1.0, value) if last in _FRACTIONS else value
        place[int(last) if isinstance(place, list) else last] = bounded
    return msgspec.convert(plain, OnnxRuntimeCpu)


def _leaves(node: Any, path: str) -> Iterator[tuple[str, float]]:
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if key in _FIXED:
            continue
        inner = f"{path}.{key}" if path else str(key)
        if isinstance(value, (dict, list, tuple)):
            yield from _leaves(value, inner)
        else:
            yield inner, float(value)
