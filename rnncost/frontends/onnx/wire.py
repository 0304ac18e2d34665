"""The protobuf wire format: a walk over the fields of a message, without copying them.

A length-delimited field is given by where it starts and stops, and is read only by who
wants it; the bytes of a large tensor are never touched.
Source: the encoding chapter of the Protocol Buffers documentation.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Union

Buffer = Union[bytes, mmap.mmap]

DAMAGED = "the file is damaged or was not fully written: download or export it again"
UTF8_ERRORS = "backslashreplace"
"""How text that is not UTF-8 is read: without failing, and distinct names stay distinct."""
MAX_DEPTH = 64

_SIGN = 1 << 63
_MODULUS = 1 << 64
_float32 = struct.Struct("<f").unpack_from


class WireError(Exception):
    """The bytes at ``offset`` break the format; ``what`` says how, ``mend`` what to do."""

    def __init__(self, what: str, offset: int, mend: str = DAMAGED) -> None:
        super().__init__(what)
        self.what = what
        self.offset = offset
        self.mend = mend


def fields(buf: Buffer, pos: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield ``(tag, a, b)`` for each field of the message in ``buf[pos:end]``.

    ``tag`` is ``number << 3 | wire type``. For a varint (wire type 0) ``a`` is its value as
    an unsigned 64-bit number; for the others ``buf[a:b]`` is the payload.

    Raises:
        WireError: a field leaves the message, or is not one that protobuf writes.
    """
    start = pos
    try:
        while pos < end:
            start = pos
            tag = buf[pos]
            pos += 1
            if tag > 127:
                tag, pos = varint(buf, start)
            kind = tag & 7
            if kind == 2:
                size = buf[pos]
                pos += 1
                if size > 127:
                    size, pos = varint(buf, pos - 1)
                stop = pos + size
            elif kind == 0:
                size = buf[pos]
                stop = pos + 1
                if size > 127:
                    size, stop = varint(buf, pos)
                pos = size
            elif kind == 5:
                stop = pos + 4
            elif kind == 1:
                stop = pos + 8
            else:
                raise WireError(f"field {tag >> 3} has the wire type {kind}", start)
            if stop > end:
                raise WireError(f"field {tag >> 3} runs {stop - end:,} bytes past its end", start)
            if tag < 8:
                raise WireError("a field has the number 0", start)
            yield tag, pos, stop
            pos = stop
    except IndexError:
        raise WireError("the file ends inside a field", start) from None


def varint(buf: Buffer, pos: int) -> tuple[int, int]:
    """The unsigned 64-bit varint at ``pos``, and the position after it."""
    value = shift = 0
    for at in range(pos, pos + 10):
        byte = buf[at]
        value |= (byte & 127) << shift
        if byte < 128:
            if value >= _MODULUS:
                break
            return value, at + 1
        shift += 7
    raise WireError("a number is longer than 64 bits", pos)


def varints(buf: Buffer, pos: int, end: int) -> list[int]:
    """The unsigned 64-bit varints packed in ``buf[pos:end]``."""
    values = []
    data = buf[pos:end]
    at = 0
    try:
        while at < len(data):
            value = data[at]
            at += 1
            if value > 127:
                value, at = varint(data, at - 1)
            values.append(value)
    except IndexError:
        raise WireError("a packed list ends inside a number", pos + at) from None
    except WireError as error:
        raise WireError(error.what, pos + error.offset) from None
    return values


def signed(value: int) -> int:
    """An unsigned 64-bit number as the two's-complement number with the same bits."""
    return value - _MODULUS if value >= _SIGN else value


def float32(buf: Buffer, pos: int) -> float:
    value: float = _float32(buf, pos)[0]
    return value


def float32s(buf: Buffer, pos: int, end: int) -> tuple[float, ...]:
    """The float32 numbers packed in ``buf[pos:end]``."""
    if (end - pos) % 4:
        raise WireError("a packed list of float32 ends inside a number", pos)
    return struct.unpack(f"<{(end - pos) // 4}f", buf[pos:end])


def text(buf: Buffer, pos: int, end: int) -> str:
    return buf[pos:end].decode("utf-8", UTF8_ERRORS)


def reject_known(tag: int, pos: int, known: frozenset[int], message: str) -> None:
    """Let an unknown field pass, and refuse a known one of an unexpected wire type.

    Protobuf skips both; a known field in another wire type is damage, and to skip it would
    drop a part of the model without a word.
    """
    if tag >> 3 in known:
        raise WireError(f"field {tag >> 3} of a {message} has the wire type {tag & 7}", pos)


def check_depth(depth: int, pos: int) -> None:
    """Bound the recursion of messages that hold messages of their own kind."""
    if depth > MAX_DEPTH:
        raise WireError(
            f"subgraphs or types are nested more than {MAX_DEPTH} deep",
            pos,
            "this is deeper than any exporter writes; export the model again",
        )
