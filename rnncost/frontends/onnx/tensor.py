"""Stored tensors: their types and sizes now, their elements only when asked for.

Source: ``TensorProto`` and ``SparseTensorProto`` in onnx.proto3.
"""

from __future__ import annotations

import os
from functools import partial
from math import prod

from rnncost.frontends.onnx.elements import (
    DTYPE_BY_NUMBER,
    elements_from_raw,
    elements_from_words,
    raw_bytes,
    words_stored,
)
from rnncost.frontends.onnx.proto import Scalar, TensorProto
from rnncost.frontends.onnx.source import Source
from rnncost.frontends.onnx.wire import WireError, fields, reject_known, signed, text, varints
from rnncost.units import DTYPE_BITS

MAX_RANK = 64
"""No runtime takes more axes; the bound keeps products of dimensions cheap."""

_KNOWN = frozenset((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14))
_SPARSE_KNOWN = frozenset((1, 2, 3))

_RAW = 9
_DATA_FIELDS = {
    4: "float_data",
    5: "int32_data",
    6: "string_data",
    7: "int64_data",
    _RAW: "raw_data",
    10: "double_data",
    11: "uint64_data",
}
_TYPED_FIELD = {
    **dict.fromkeys(DTYPE_BITS, 5),
    **dict.fromkeys(("float32", "complex64"), 4),
    **dict.fromkeys(("float64", "complex128"), 10),
    **dict.fromkeys(("uint32", "uint64"), 11),
    "string": 6,
    "int64": 7,
}
# Bytes of one number of a data field; absent where they vary.
_WIDTH = {4: 4, 10: 8}
_WIRE_TYPE = {4: 5, 5: 0, 7: 0, 10: 1, 11: 0}
"""The wire type of an unpacked number; packed lists, strings and raw bytes have 2."""


def dtype_name(number: int, pos: int) -> str:
    """The name of ``TensorProto.DataType`` number ``number``; "" for 0, undefined."""
    if number == 0:
        return ""
    name = DTYPE_BY_NUMBER.get(number)
    if name is None:
        raise WireError(f"the element type {number} is not one of ONNX", pos)
    return name


def checked_dims(dims: list[int], pos: int, owner: str) -> tuple[int, ...]:
    """Unsigned varints as the dimensions of a stored tensor."""
    if len(dims) > MAX_RANK:
        raise WireError(f"{owner} has {len(dims):,} dimensions, more than {MAX_RANK}", pos)
    for dim in dims:
        if signed(dim) < 0:
            raise WireError(f"{owner} has the negative dimension {signed(dim)}", pos)
    return tuple(dims)


def decode_tensor(src: Source, start: int, end: int) -> TensorProto:
    """Decode a TensorProto, and check its data's size against its dimensions.

    A tensor without any data is taken: models are shared stripped of their weights.
    """
    buf = src.buf
    dims: list[int] = []
    number = 0
    name = ""
    field = low = high = 0
    external: list[tuple[int, int]] = []
    is_external = False
    for tag, a, b in fields(buf, start, end):
        if tag == 0x08:
            dims.append(a)
        elif tag == 0x10:
            number = a
        elif tag == 0x4A:
            if field and b > a:
                raise _twice(field, _RAW, a)
            field, low, high = (_RAW, b - a, b - a) if b > a else (field, low, high)
        elif tag == 0x42:
            name = text(buf, a, b)
        elif tag == 0x0A:
            dims.extend(varints(buf, a, b))
        elif tag >> 3 in _DATA_FIELDS:
            this = tag >> 3
            fewest, most = _numbers(tag, a, b)
            if field not in (0, this) and most:
                raise _twice(field, this, a)
            if most:
                field, low, high = this, low + fewest, high + most
        elif tag == 0x6A:
            external.append((a, b))
        elif tag == 0x70:
            if a > 1:
                raise WireError(f"a tensor has the unknown data location {a}", start)
            is_external = a == 1
        elif tag == 0x1A:
            raise WireError(
                "a tensor is stored in segments, which ONNX does not define fully",
                a,
                "save the model again with whole tensors",
            )
        else:
            reject_known(tag, a, _KNOWN, "tensor")
    owner = f"tensor {name!r}" if name else "a tensor without a name"
    dtype = dtype_name(number, start)
    if not dtype:
        raise WireError(f"{owner} has no element type", start)
    shape = checked_dims(dims, start, owner)
    numel = prod(shape)
    load = None
    if field:
        _check_size(owner, dtype, shape, numel, field, low, high, start)
    if (field or numel == 0) and dtype not in ("complex64", "complex128"):
        load = partial(_elements, src, start, end, dtype, numel, owner)
    location = None
    if is_external:
        location, load_external = _external(src, external, owner, dtype, numel, start)
        load = load or load_external
    return TensorProto(name=name, dtype=dtype, dims=shape, external=location, load=load)


def decode_sparse(src: Source, start: int, end: int) -> TensorProto:
    """Decode a SparseTensorProto into a tensor of its dense dimensions."""
    dims: list[int] = []
    parts: dict[int, TensorProto] = {}
    for tag, a, b in fields(src.buf, start, end):
        if tag in (0x0A, 0x12):
            if tag in parts:
                raise WireError("a sparse tensor has its values or indices twice", a)
            parts[tag] = decode_tensor(src, a, b)
        elif tag == 0x18:
            dims.append(a)
        elif tag == 0x1A:
            dims.extend(varints(src.buf, a, b))
        else:
            reject_known(tag, a, _SPARSE_KNOWN, "sparse tensor")
    values, indices = parts.get(0x0A), parts.get(0x12)
    if values is None:
        raise WireError("a sparse tensor has no values", start)
    owner = f"sparse tensor {values.name!r}"
    shape = checked_dims(dims, start, owner)
    if values.numel > prod(shape):
        raise WireError(
            f"{owner} has more values ({values.numel:,}) than {list(shape)} holds", start
        )
    if indices is not None and indices.dims[:1] != values.dims[:1]:
        raise WireError(
            f"{owner} has values of shape {list(values.dims)} and indices of shape "
            f"{list(indices.dims)}",
            start,
        )
    return TensorProto(name=values.name, dtype=values.dtype, dims=shape, stored_numel=values.numel)


def _numbers(tag: int, a: int, b: int) -> tuple[int, int]:
    """At least and at most how many numbers a data field holds.

    Varints are not read for this: each takes 1 to 10 bytes.
    """
    field, kind = tag >> 3, tag & 7
    if field == 6 and kind == 2:
        return 1, 1
    if kind == _WIRE_TYPE.get(field):
        return 1, 1
    if kind != 2:
        raise WireError(f"field {field} of a tensor has the wire type {kind}", a)
    width = _WIDTH.get(field)
    if width is None:
        return -(-(b - a) // 10), b - a
    if (b - a) % width:
        raise WireError(f"{_DATA_FIELDS[field]} ends inside a number", a)
    return (b - a) // width, (b - a) // width


def _twice(first: int, second: int, pos: int) -> WireError:
    names = f"{_DATA_FIELDS[first]} and again in {_DATA_FIELDS[second]}"
    return WireError(f"a tensor has its elements in {names}", pos)


def _check_size(
    owner: str,
    dtype: str,
    shape: tuple[int, ...],
    numel: int,
    field: int,
    low: int,
    high: int,
    pos: int,
) -> None:
    if field == _RAW and dtype != "string":
        needed, unit = raw_bytes(dtype, numel), "bytes"
    elif field == _TYPED_FIELD[dtype]:
        needed, unit = words_stored(dtype, numel), "numbers"
    else:
        raise WireError(f"{owner} is {dtype}, but has its elements in {_DATA_FIELDS[field]}", pos)
    if not low <= needed <= high:
        held = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        raise WireError(
            f"{owner} is {dtype} of shape {list(shape)}, but its {_DATA_FIELDS[field]} holds "
            f"{held} {unit} where {needed:,} are needed",
            pos,
        )


def _elements(
    src: Source, start: int, end: int, dtype: str, numel: int, owner: str
) -> tuple[Scalar, ...]:
    """Decode all elements of the tensor in ``buf[start:end]``."""
    buf = src.buf
    raw: list[bytes] = []
    words: list[int] = []
    strings: list[str] = []
    try:
        for tag, a, b in fields(buf, start, end):
            field, kind = tag >> 3, tag & 7
            if field in (_RAW, 4, 10):
                raw.append(buf[a:b])
            elif field in (5, 7, 11):
                words.extend((a,) if kind == 0 else varints(buf, a, b))
            elif field == 6:
                strings.append(text(buf, a, b))
        if dtype == "string":
            return tuple(strings)
        if not words:
            return elements_from_raw(dtype, b"".join(raw), numel)
        if len(words) != words_stored(dtype, numel):
            raise WireError(f"{owner} stores {len(words):,} numbers for {numel:,} elements", start)
        return elements_from_words(dtype, words, numel)
    except WireError as fault:
        raise src.error(fault) from None


def _external(
    src: Source, entries: list[tuple[int, int]], owner: str, dtype: str, numel: int, pos: int
) -> tuple[str, partial[tuple[Scalar, ...]] | None]:
    """The location of external data, and a way to its elements if the file has them."""
    found: dict[str, str] = {}
    for start, end in entries:
        pair = {t: text(src.buf, a, b) for t, a, b in fields(src.buf, start, end) if t & 7 == 2}
        found[pair.get(0x0A, "")] = pair.get(0x12, "")
    location = found.get("location", "")
    if not location:
        raise WireError(f"{owner} keeps its data in another file, but does not name it", pos)
    path = src.external_file(location)
    if path is None:
        raise WireError(
            f"{owner} keeps its data in {location!r}, which is outside the model's folder",
            pos,
            "save the model again with its data beside it",
        )
    offset = _natural(found.get("offset", ""), owner, "offset", pos)
    length = _natural(found.get("length", ""), owner, "length", pos)
    needed = raw_bytes(dtype, numel)
    if length and length != needed and dtype != "string":
        raise WireError(
            f"{owner} is {numel:,} elements of {dtype}, but {location!r} is said to hold "
            f"{length:,} bytes of it where {needed:,} are needed",
            pos,
        )
    if not path or dtype in ("string", "complex64", "complex128") or not os.path.isfile(path):
        return location, None
    if os.path.getsize(path) < offset + needed:
        return location, None
    return location, partial(_external_elements, src, path, offset, dtype, numel, owner, pos)


def _natural(digits: str, owner: str, key: str, pos: int) -> int:
    """A byte count written in decimal; 0 where it is left out."""
    if not digits:
        return 0
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise WireError(f"{owner} has {digits[:40]!r} as the {key} of its external data", pos)
    return int(digits)


def _external_elements(
    src: Source, path: str, offset: int, dtype: str, numel: int, owner: str, pos: int
) -> tuple[Scalar, ...]:
    size = raw_bytes(dtype, numel)
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            raw = file.read(size)
    except OSError as error:
        what = f"the data of {owner} in {path!r} cannot be read: {error.strerror or error}"
        raise src.error(WireError(what, pos, "check the data file")) from None
    if len(raw) != size:
        what = f"{path!r} ends inside the data of {owner}"
        raise src.error(WireError(what, pos, "download or save the data file again"))
    return elements_from_raw(dtype, raw, numel)
