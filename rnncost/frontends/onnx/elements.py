"""Element types of ONNX tensors, and their elements as Python values.

Source: ``TensorProto`` in onnx.proto3 for numbers and packing; the OCP 8-bit floating point
and microscaling (MX) specifications, and arXiv:2206.02915 for the "fnuz" types, for the
narrow floating-point formats.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import gcd, inf, ldexp, nan

from rnncost.frontends.onnx.proto import Scalar
from rnncost.units import DTYPE_BITS

DTYPE_BY_NUMBER: dict[int, str] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1",
    24: "float8_e8m0",
    25: "uint2",
    26: "int2",
    27: "float6_e2m3",
    28: "float6_e3m2",
}

_STRUCT_CODES = {
    "float64": "d",
    "float32": "f",
    "float16": "e",
    "int64": "q",
    "int32": "i",
    "int16": "h",
    "int8": "b",
    "uint64": "Q",
    "uint32": "I",
    "uint16": "H",
    "uint8": "B",
    "bool": "?",
}
_UNSIGNED_CODES = {8: "B", 16: "H", 32: "I", 64: "Q"}

# Exponent bits, mantissa bits, exponent bias, and which codes are not numbers:
# "ieee" infinities and NaNs at the top exponent, "fn" only all ones, "fnuz" only minus zero.
_NARROW_FLOATS = {
    "float8_e4m3fn": (4, 3, 7, "fn"),
    "float8_e4m3fnuz": (4, 3, 8, "fnuz"),
    "float8_e5m2": (5, 2, 15, "ieee"),
    "float8_e5m2fnuz": (5, 2, 16, "fnuz"),
    "float6_e2m3": (2, 3, 1, ""),
    "float6_e3m2": (3, 2, 3, ""),
    "float4_e2m1": (2, 1, 1, ""),
}


def raw_bytes(dtype: str, numel: int) -> int:
    """Bytes that ``numel`` elements take in ``raw_data``, the last byte padded."""
    return -(-numel * DTYPE_BITS[dtype] // 8)


def elements_from_raw(dtype: str, raw: bytes, numel: int) -> tuple[Scalar, ...]:
    """Decode little-endian, packed elements; ``raw`` has ``raw_bytes(dtype, numel)`` bytes.

    Complex numbers and strings are not for this function.
    """
    code = _STRUCT_CODES.get(dtype)
    if code:
        return struct.unpack(f"<{numel}{code}", raw)
    if dtype == "bfloat16":
        halves = struct.unpack(f"<{numel}H", raw)
        return struct.unpack(f"<{numel}f", struct.pack(f"<{numel}I", *(h << 16 for h in halves)))
    return _from_codes(dtype, _unpack(raw, DTYPE_BITS[dtype])[:numel])


def elements_from_words(dtype: str, words: Sequence[int], numel: int) -> tuple[Scalar, ...]:
    """Decode elements that were stored one a number, or one byte of packed ones a number."""
    if dtype in ("float6_e2m3", "float6_e3m2"):  # the one narrow type stored one by one
        return _from_codes(dtype, [word & 63 for word in words])
    bits = max(8, DTYPE_BITS[dtype])
    mask = (1 << bits) - 1
    layout = f"<{len(words)}{_UNSIGNED_CODES[bits]}"
    return elements_from_raw(dtype, struct.pack(layout, *(w & mask for w in words)), numel)


def words_stored(dtype: str, numel: int) -> int:
    """How many numbers hold ``numel`` elements in the typed list of their element type."""
    bits = DTYPE_BITS[dtype]
    if dtype in ("complex64", "complex128"):
        return 2 * numel
    return -(-numel * bits // 8) if bits in (2, 4) else numel


def _unpack(raw: bytes, bits: int) -> list[int]:
    """Split a bit stream, least significant bit first, into codes of ``bits`` bits."""
    group = bits // gcd(bits, 8)
    mask = (1 << bits) - 1
    codes: list[int] = []
    for at in range(0, len(raw), group):
        word = int.from_bytes(raw[at : at + group], "little")
        codes.extend((word >> shift) & mask for shift in range(0, 8 * group, bits))
    return codes


def _from_codes(dtype: str, codes: Sequence[int]) -> tuple[Scalar, ...]:
    if dtype in ("uint4", "uint2"):
        return tuple(codes)
    if dtype in ("int4", "int2"):
        half = 1 << (DTYPE_BITS[dtype] - 1)
        return tuple(code - 2 * half if code >= half else code for code in codes)
    if dtype == "float8_e8m0":
        return tuple(nan if code == 255 else ldexp(1.0, code - 127) for code in codes)
    return tuple(_narrow_float(code, *_NARROW_FLOATS[dtype]) for code in codes)


def _narrow_float(code: int, exponent_bits: int, mantissa_bits: int, bias: int, kind: str) -> float:
    top = (1 << exponent_bits) - 1
    mantissa = code & ((1 << mantissa_bits) - 1)
    exponent = (code >> mantissa_bits) & top
    sign = -1.0 if code >> (exponent_bits + mantissa_bits) else 1.0
    if kind == "fnuz" and sign < 0 and not exponent and not mantissa:
        return nan
    if kind == "fn" and exponent == top and mantissa + 1 == 1 << mantissa_bits:
        return nan
    if kind == "ieee" and exponent == top:
        return nan if mantissa else sign * inf
    if not exponent:
        return sign * ldexp(mantissa, 1 - bias - mantissa_bits)
    return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits)
