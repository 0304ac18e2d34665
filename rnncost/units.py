"""Rendering of quantities: base units inside, scaled units only in text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def format_count(value: float) -> str:
    """Render a count with an SI prefix: ``361_088`` -> ``"361.1 k"``."""
    for scale, prefix in _SI:
        if abs(value) >= scale:
            return f"{value / scale:.4g} {prefix}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def format_bytes(value: float) -> str:
    """Render bytes in decimal multiples (1 MB = 10**6 B)."""
    for scale, prefix in _SI:
        if abs(value) >= scale:
            return f"{value / scale:.4g} {prefix}B"
    return f"{value:g} B"


def format_seconds(value: float) -> str:
    """Render a duration in s, ms, µs or ns."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if abs(value) >= scale:
            return f"{value / scale:.4g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def format_joules(value: float) -> str:
    """Render an energy in J, mJ, µJ or nJ."""
    for scale, unit in ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ")):
        if abs(value) >= scale:
            return f"{value / scale:.4g} {unit}"
    return f"{value / 1e-9:.3g} nJ"


_TEN = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12}
_TWO = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}
_SMALL = {"": 0, "m": -3, "u": -6, "µ": -6, "μ": -6, "n": -9}

UNITS: dict[str, dict[str, tuple[int, int]]] = {
    "count": {prefix: (10, power) for prefix, power in _TEN.items()},
    "bytes": {
        "": (10, 0),
        **{f"{prefix}B": (10, power) for prefix, power in _TEN.items()},
        **{f"{prefix}B": (2, power) for prefix, power in _TWO.items()},
    },
    "seconds": {"": (10, 0), **{f"{prefix}s": (10, power) for prefix, power in _SMALL.items()}},
    "joules": {"": (10, 0), **{f"{prefix}J": (10, power) for prefix, power in _SMALL.items()}},
    "share": {"": (10, 0), "%": (10, -2)},
}
"""The units of each kind of quantity, as powers of ten or two of its base unit."""

LARGEST_QUANTITY = 10**280
"""No count and no figure of a report is larger."""

_LONGEST = 60
_NUMBER = r"([+-]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)"
_KINDS = {
    "count": ("a count", "1.2M"),
    "bytes": ("a size", "512 kB"),
    "seconds": ("a time", "5 ms"),
    "joules": ("an energy", "3 mJ"),
    "share": ("a share", "5%"),
}


def parse_quantity(text: str, kind: str) -> Fraction:
    """Read a number with or without a unit, exactly: ``("512 kB", "bytes")`` -> ``512000``.

    ``kind`` is one of ``UNITS``. Without a unit the number is in base units; ``_`` may group
    its digits.

    Raises:
        ValueError: no number, a unit of something else, below 0, or beyond all bounds.
    """
    from fractions import Fraction

    units = UNITS[kind]
    match = re.fullmatch(rf"\s*{_NUMBER}\s*(\S*)\s*", text) if len(text) <= _LONGEST else None
    if match is None or match[2] not in units:
        noun, example = _KINDS[kind]
        known = ", ".join(unit for unit in units if unit)
        shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        raise ValueError(f"{shown!r} is not {noun}: write it as {example!r} (units: {known})")
    base, power = units[match[2]]
    value = Fraction(match[1].replace("_", "")) * Fraction(base) ** power
    if value < 0:
        raise ValueError(f"{text!r} is below 0")
    if value > LARGEST_QUANTITY:
        raise ValueError(f"{text!r} is larger than any figure of a report")
    return value


DTYPE_BITS: dict[str, int] = {
    "float64": 64,
    "float32": 32,
    "float16": 16,
    "bfloat16": 16,
    "float8_e4m3fn": 8,
    "float8_e4m3fnuz": 8,
    "float8_e5m2": 8,
    "float8_e5m2fnuz": 8,
    "float8_e8m0": 8,
    "float6_e2m3": 6,
    "float6_e3m2": 6,
    "float4_e2m1": 4,
    "int64": 64,
    "int32": 32,
    "int16": 16,
    "int8": 8,
    "int4": 4,
    "int2": 2,
    "uint64": 64,
    "uint32": 32,
    "uint16": 16,
    "uint8": 8,
    "uint4": 4,
    "uint2": 2,
    "bool": 8,
    "complex64": 64,
    "complex128": 128,
    "string": 0,
}
"""Bits per element; types narrower than a byte are stored packed, text has no fixed size."""

FLOAT_DTYPES = frozenset(d for d in DTYPE_BITS if "float" in d)

PRECISIONS: dict[str, str] = {
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "int8": "int8",
    "uint8": "int8",
}
"""The precision that an element type is computed in; types not listed keep their name."""
