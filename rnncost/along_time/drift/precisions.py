"""A model in another precision: made by ONNX Runtime's tools, or with its rounding emulated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time.drift.capture import matching
from rnncost.along_time.drift.cells import Scans
from rnncost.along_time.drift.integers import in_integers
from rnncost.along_time.drift.model import EMULATED, INT8_EMULATED, RUNTIME
from rnncost.along_time.drift.rounding import Narrow, rounded
from rnncost.along_time.feeds import Feeds
from rnncost.along_time.nodes import QUANTISED, Place, bodies, node_at, places
from rnncost.along_time.source import OnnxModel
from rnncost.errors import MeasurementError
from rnncost.report.text import plural
from rnncost.runtime.quantize import (
    crash,
    prepare_quantization,
    quantize_dynamic,
    quantize_static,
    to_float16,
)
from rnncost.runtime.session import create_session, reason

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, np.dtype[Any]]

_LARGEST = (1 << 31) - 1
"""Bytes of a protocol buffer."""

_NO_KERNELS = (
    "ONNX Runtime has no float16 kernels of LSTM, GRU and RNN for a CPU: it computes them in 32 "
    "bits from 16-bit weights and inputs, so their states are not rounded at each step "
    "(fp16-emulated rounds them)"
)

_FEW = 4
"""So many operators are named in a note."""


class Stored(msgspec.Struct, frozen=True):
    """A model with its weights in it, and the file that it was written to.

    Its recurrent operators have names, by which they are found in what is made of it. ``bytes``
    is the size of the model as it was given: of its file and those of its weights.
    """

    proto: onnx.ModelProto
    path: Path
    bytes: int


class Quantised(msgspec.Struct, frozen=True, kw_only=True):
    """A model in a precision; ``source`` is what is run.

    ``path`` is the file of a model that ONNX Runtime runs as it is, None for an emulated one.
    ``operators`` says where the values are of those recurrent operators that are emulated, by the
    place that each has in the model before.
    """

    precision: str
    source: OnnxModel
    bytes: int
    path: Path | None = None
    operators: Mapping[Place, Scans] = {}
    notes: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """How it was made."""
        return EMULATED if self.path is None else RUNTIME

    @property
    def left(self) -> bool:
        """Whether recurrent operators have not become such of 8 bits."""
        return any(place.op_type != QUANTISED for place in places(self.source.proto.graph))


def store(source: OnnxModel, folder: Path) -> Stored:
    """Write a model with its weights in it.

    Raises:
        MeasurementError: they are too large for one file.
    """
    from onnx import external_data_helper

    copy = type(source.proto)()
    copy.CopyFrom(source.proto)
    if source.folder is not None:
        external_data_helper.load_external_data_for_model(copy, str(source.folder))
    if copy.ByteSize() > _LARGEST:
        raise MeasurementError("a model with more than 2 GB of weights cannot be quantised here")
    for place in places(copy.graph):
        node_at(copy, place).name = place.name
    path = folder / "float.onnx"
    path.write_bytes(copy.SerializeToString())
    return Stored(copy, path, _size(path if source.path is None else source.path))


def _size(path: Path) -> int:
    """Bytes of a model's file and of the files that its weights lie in."""
    import onnx

    found = {path}
    waiting = [onnx.load(path, load_external_data=False).graph]
    while waiting:
        graph = waiting.pop()
        waiting += [body for node in graph.node for _, body in bodies(node)]
        for tensor in graph.initializer:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                entries = {entry.key: entry.value for entry in tensor.external_data}
                found.add(path.parent / entries["location"])
    return sum(one.stat().st_size for one in found)


def quantised(
    precision: str, source: OnnxModel, stored: Stored, feeds: Feeds, folder: Path
) -> Quantised:
    """A model in a precision.

    Args:
        precision: one of ``PRECISIONS``.
        source: the model.
        stored: the same with its weights in it.
        feeds: what it is fed; the ranges of static quantisation are taken from it.
        folder: where files are written.

    Raises:
        MeasurementError: it cannot be made.
    """
    path = folder / f"{precision}.onnx"
    notes: tuple[str, ...] = ()
    if precision == "fp32":
        same = _real(precision, source, stored.path, notes)
        return msgspec.structs.replace(same, bytes=stored.bytes)
    if precision in ("int8", "qdq"):
        prepared, notes = _prepared(stored, folder)
        if precision == "int8":
            notes += _dynamic(prepared, path, branches=_branches(stored.proto))
        else:
            quantize_static(prepared, path, _fed(source, feeds))
            notes += _calibrated(feeds, branches=_branches(stored.proto))
    elif precision == "fp16":
        try:
            _float16(stored.proto, path)
        except MeasurementError as error:
            try:
                made = _emulated(precision, "fp16", source, stored)
            except MeasurementError as other:
                raise MeasurementError(
                    f"ONNX Runtime's own conversion to float16 fails: {error}; and it cannot be "
                    f"emulated: {other}"
                ) from None
            notes = (f"emulated, as ONNX Runtime's own conversion to float16 fails: {error}",)
            return msgspec.structs.replace(made, notes=(*made.notes, *notes))
        if any(True for _ in places(stored.proto.graph)):
            notes = (_NO_KERNELS,)
    elif precision == INT8_EMULATED:
        return _in_integers(quantised("int8", source, stored, feeds, folder), source)
    else:
        narrow: Narrow = "bf16" if precision == "bf16" else "fp16"
        return _emulated(precision, narrow, source, stored)
    return _real(precision, source, path, notes)


def _real(precision: str, source: OnnxModel, path: Path, notes: tuple[str, ...]) -> Quantised:
    import onnx

    return Quantised(
        precision=precision,
        source=msgspec.structs.replace(source, proto=onnx.load(path), path=path, folder=None),
        bytes=path.stat().st_size,
        path=path,
        notes=notes,
    )


def _prepared(stored: Stored, folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The model as ONNX Runtime advises it to be quantised, or as it is, and why."""
    path = folder / "prepared.onnx"
    if path.exists():
        return path, ()
    try:
        prepare_quantization(stored.path, path)
        create_session(path)
    except MeasurementError as error:
        path.unlink(missing_ok=True)
        return stored.path, (f"quantised without folding of constants: {error}",)
    return path, ()


def _branches(proto: onnx.ModelProto) -> bool:
    return any(True for node in proto.graph.node for _ in bodies(node))


def _dynamic(model: Path, path: Path, *, branches: bool) -> tuple[str, ...]:
    if not branches:
        quantize_dynamic(model, path)
        return ()
    try:
        quantize_dynamic(model, path, subgraphs=True)
        create_session(path)
    except MeasurementError as error:
        quantize_dynamic(model, path)
        return (f"what stands in branches and loops is left as it is: {error}",)
    return ()


def _calibrated(feeds: Feeds, *, branches: bool) -> tuple[str, ...]:
    data = "the given data" if feeds.given else "made-up inputs: give --data for real ones"
    found = f"ranges of activations are those of {plural(feeds.chunks, 'run')} on {data}"
    if not branches:
        return (found,)
    return found, "static quantisation leaves what stands in branches and loops as it is"


def _fed(source: OnnxModel, feeds: Feeds) -> Iterator[Mapping[str, Array]]:
    """The inputs of each run, its states those that the run before gave."""
    session = create_session(_bytes(source.proto), external_data_folder=source.folder)
    handed: dict[str, Array] = {}
    states = feeds.states
    for chunk in range(feeds.chunks):
        feed = feeds.first(session, chunk) | handed
        yield feed
        if states:
            try:
                values = session.run(list(states.values()), feed)
            except Exception as error:  # ONNX Runtime's exceptions share no base class
                raise MeasurementError(
                    f"ONNX Runtime cannot run the model: {reason(error)}"
                ) from None
            handed = dict(zip(states, values, strict=True))


def _bytes(proto: onnx.ModelProto) -> bytes:
    data: bytes = proto.SerializeToString()
    return data


def _float16(proto: onnx.ModelProto, path: Path) -> None:
    copy = type(proto)()
    copy.CopyFrom(proto)
    path.write_bytes(_bytes(to_float16(copy)))
    fault = crash(path)
    if fault:
        raise MeasurementError(fault)
    create_session(path)


def _emulated(precision: str, narrow: Narrow, source: OnnxModel, stored: Stored) -> Quantised:
    made = rounded(stored.proto, narrow)
    before: list[Place] = list(places(stored.proto.graph))
    if len(before) != len(made.operators):
        raise MeasurementError("its recurrent layers cannot be told apart after the rewriting")
    return Quantised(
        precision=precision,
        source=msgspec.structs.replace(source, proto=made.model, path=None, folder=None),
        bytes=stored.bytes - 2 * _floats(stored.proto.graph),
        operators=dict(zip(before, made.operators.values(), strict=True)),
        notes=(
            f"weights, inputs of operators and states at each step are rounded to {narrow}; "
            "arithmetic inside an operator is of 32 bits; the size is that with 2 bytes a weight",
            *_not_rounded(made.untyped),
        ),
    )


def _in_integers(real: Quantised, source: OnnxModel) -> Quantised:
    """The model that ONNX Runtime quantised, with what it left of recurrent operators emulated."""
    if not real.left:
        raise MeasurementError(
            "ONNX Runtime quantises all of its recurrent layers: int8 is the real thing"
        )
    made = in_integers(real.source.proto)
    pairs = matching(source, real.source)
    operators = {
        place: made.operators[other]
        for place, other in pairs.items()
        if other is not None and other in made.operators
    }
    if len(operators) != len(made.operators):
        raise MeasurementError("its recurrent layers cannot be told apart in the quantised model")
    kinds = [place.op_type for place in operators]
    told = " and ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    return Quantised(
        precision=INT8_EMULATED,
        source=msgspec.structs.replace(real.source, proto=made.model, path=None),
        # 3 bytes less a weight
        bytes=real.bytes - 3 * made.weights,
        operators=operators,
        notes=(
            f"the model of int8, in which the products of {told} that it leaves in 32 bits are "
            "emulated in 8 bits, as DynamicQuantizeLSTM does those of an LSTM; the size is that "
            "with 1 byte a weight",
            *real.notes,
        ),
    )


def _not_rounded(operators: Sequence[str]) -> Iterator[str]:
    if operators:
        shown = ", ".join(operators[:_FEW])
        more = f" and {len(operators) - _FEW} more" if len(operators) > _FEW else ""
        yield f"not rounded, as their types cannot be inferred: results of {shown}{more}"


def _floats(graph: onnx.GraphProto) -> int:
    """How many stored numbers of single precision a graph has, and those inside it."""
    import math

    from onnx import TensorProto

    tensors = list(graph.initializer)
    count = 0
    for node in graph.node:
        tensors += [a.t for a in node.attribute if a.HasField("t")]
        count += sum(_floats(body) for _, body in bodies(node))
    own = [math.prod(tensor.dims) for tensor in tensors if tensor.data_type == TensorProto.FLOAT]
    return count + int(sum(own))
