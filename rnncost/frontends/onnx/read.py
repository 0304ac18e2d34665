"""Reading an ONNX model: from the path of a file, or from bytes."""

from __future__ import annotations

import mmap
import os
import stat

from rnncost.errors import ModelFileError
from rnncost.frontends.onnx.decode import decode_model
from rnncost.frontends.onnx.proto import ModelProto
from rnncost.frontends.onnx.source import Source
from rnncost.frontends.onnx.wire import Buffer, WireError

MAPPED_BYTES = 16 << 20
"""Files from this size on are mapped into memory, so that weights stay on the disk."""

_EXPORT = "export the module to ONNX with torch.onnx.export and give that file"
_UNPACK = "unpack it and give the .onnx file"

# First bytes of files that are taken for ONNX models; offset, bytes, what, what to do.
_LOOKALIKES = (
    (
        0,
        b"version https://git-lfs",
        "is a Git LFS pointer, not the model itself",
        "run `git lfs pull` in its repository",
    ),
    (0, b"PK\x03\x04", "is a ZIP archive (PyTorch writes .pt and .pt2 so), not ONNX", _EXPORT),
    (4, b"ORTM", "is in the ORT format of ONNX Runtime", "give the .onnx file it was made from"),
    (4, b"TFL3", "is a TensorFlow Lite model", "convert it with tf2onnx"),
    (0, b"\x89HDF", "is an HDF5 file (Keras writes .h5 so)", "convert it with tf2onnx"),
    (0, b"\x1f\x8b", "is compressed with gzip", _UNPACK),
    (0, b"BZh", "is compressed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ", "is compressed with xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "is compressed with Zstandard", _UNPACK),
    (0, b"7z\xbc\xaf", "is a 7-Zip archive", _UNPACK),
    (257, b"ustar", "is a tar archive", _UNPACK),
)


def read_model(path: str | os.PathLike[str]) -> ModelProto:
    """Read a .onnx file without its weights.

    Raises:
        ModelFileError: the file is missing, damaged or not an ONNX model, or keeps tensors
            outside its folder.
    """
    where = os.fspath(path)
    try:
        buf = _open(where)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelFileError(f"{where}: cannot be read: {reason}; check the path") from None
    return _decode(Source(buf, where, where))


def read_model_bytes(data: bytes, where: str) -> ModelProto:
    """Read a serialised ModelProto; ``where`` names it in messages.

    Raises:
        ModelFileError: as for ``read_model``.
    """
    return _decode(Source(data, where, None))


def _open(path: str) -> Buffer:
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise ModelFileError(f"{path}: is a directory; give the path of the .onnx file in it")
    if not stat.S_ISREG(mode):
        raise ModelFileError(f"{path}: is not a regular file; save the model to one first")
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < MAPPED_BYTES:
            return file.read()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _decode(src: Source) -> ModelProto:
    if not len(src.buf):
        raise ModelFileError(f"{src.where}: is empty; export or download the model again")
    try:
        return decode_model(src)
    except WireError as fault:
        other = _lookalike(src.buf[:4096])
        if other:
            raise ModelFileError(f"{src.where}: {other}") from None
        raise src.error(fault) from None


def _lookalike(head: bytes) -> str | None:
    """What a file that is not ONNX is, and what to do about it; None if it is unknown."""
    for offset, magic, what, mend in _LOOKALIKES:
        if head.startswith(magic, offset):
            return f"{what}; {mend}"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return f"is a Python pickle (PyTorch and scikit-learn write so), not ONNX; {_EXPORT}"
    # A cut through a character at the end of the head is not an error of the text.
    words = head.decode("utf-8", "ignore")
    if len(words.encode()) < len(head) - 3 or any(c < " " and c not in "\t\n\r\f" for c in words):
        return None
    start = words.lstrip("\ufeff \t\r\n")[:64].lower()
    if start.startswith(("<!doctype", "<html", "<?xml")):
        return "is a web page or XML, not ONNX; download the model file itself"
    if start.startswith(("{", "[")):
        return "is JSON, not binary ONNX; load it with onnx.load(path, format='json') and save it"
    if start.startswith(("ir_version", "<ir_version", "<\n")):
        return "is ONNX written as text; load it with onnx.load or onnx.parser and save it"
    return "is a text file, not an ONNX model; give the path of the .onnx file"
