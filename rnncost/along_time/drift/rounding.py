"""A model rewritten so that its values are rounded to 16 bits, as ONNX Runtime then runs it.

Every stored weight is rounded, and every value that one operator hands to another: a cast to
the narrow type and back stands behind each operator. Inside an operator arithmetic is of 32 bits,
as that of matrix units with 16-bit operands is. Recurrent operators become Scans (``cells``), so
that their states are rounded at each step too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rnncost.along_time.constants import stored_weights
from rnncost.along_time.drift.cells import RoundedValues, Scans, add_scans
from rnncost.along_time.layers import cells, directions
from rnncost.along_time.nodes import (
    QUANTISED,
    RECURRENT,
    FreshNames,
    Place,
    Step,
    all_names,
    bodies,
    label,
)
from rnncost.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, np.dtype[Any]]

Narrow = Literal["fp16", "bf16"]

_VIEWS = frozenset(
    "Concat DepthToSpace Expand Flatten Gather Identity Pad Relu Reshape Slice SpaceToDepth Split "
    "Squeeze Tile Transpose Unsqueeze If Loop Scan Shape Size ConstantOfShape".split()
)
"""What they give is rounded where what they read is."""

_SIZES = frozenset({"Range", "Resize", "Upsample"})
"""Operators whose further inputs say how large the result is."""

_OPSET_OF_BF16 = 13


class Rounded(msgspec.Struct, frozen=True):
    """A rewritten model, and of each recurrent operator where its values are now.

    ``untyped`` names operators whose results are not rounded, because nobody knows their types.
    """

    model: onnx.ModelProto
    operators: Mapping[Place, Scans]
    untyped: Sequence[str]


def rounded(model: onnx.ModelProto, narrow: Narrow) -> Rounded:
    """A copy of a model, rounded throughout.

    Args:
        model: as ``along_time.source`` prepares it, with its weights in it.
        narrow: what to round to.

    Raises:
        MeasurementError: a layer of it cannot be rounded step by step.
    """
    from onnx import shape_inference

    copy = type(model)()
    copy.CopyFrom(model)
    if narrow == "bf16":
        copy = newer(copy, _OPSET_OF_BF16, "bfloat16")
    try:
        typed = shape_inference.infer_shapes(copy)
    except Exception as error:  # it raises what C++ throws
        raise MeasurementError(f"the types of its values cannot be inferred: {error}") from None
    types = _types(typed.graph)
    work = _Work(copy, narrow, types)
    work.follow(copy.graph, (), ())
    return Rounded(copy, work.operators, list(_untyped(model.graph, types)))


def round_bf16(values: Array) -> Array:
    """Single precision rounded to bfloat16, as single precision: to nearest, ties to even."""
    import numpy as np

    bits = np.asarray(values, dtype=np.float32, order="C").view(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    with np.errstate(over="ignore"):
        up = (bits + half) & np.uint32(0xFFFF0000)
    result: Array = np.where(np.isnan(values), np.float32(np.nan), up.view(np.float32))
    return result


def round_to(values: Array, narrow: Narrow) -> Array:
    """Single precision rounded to a type of 16 bits, as single precision."""
    import numpy as np

    if narrow == "bf16":
        return round_bf16(values)
    with np.errstate(over="ignore"):
        result: Array = values.astype(np.float16).astype(np.float32)
    return result


def newer(model: onnx.ModelProto, least: int, what: str) -> onnx.ModelProto:
    """A model in a version of ONNX's operators that is ``least`` or newer, as ``what`` needs it.

    Raises:
        MeasurementError: it is older and cannot be converted.
    """
    from onnx import version_converter

    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    if version >= least:
        return model
    try:
        return version_converter.convert_version(model, least)
    except Exception as error:  # it raises what C++ throws
        reason = str(error).strip().splitlines()[-1][:200]
        raise MeasurementError(
            f"{what} needs ONNX opset {least}, the model has {version} and cannot be converted: "
            f"{reason}"
        ) from None


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    """The element types of values, in a graph and those inside it, 0 where there is none."""
    infos = (*graph.input, *graph.output, *graph.value_info)
    found = {tensor.name: int(tensor.data_type) for tensor in graph.initializer}
    found |= {info.name: int(info.type.tensor_type.elem_type) for info in infos}
    for node in graph.node:
        for _, body in bodies(node):
            found |= _types(body)
    return found


def _is_whole(kind: int) -> bool:
    from onnx import TensorProto

    names = ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
    return TensorProto.DataType.Name(kind) in names


def _untyped(graph: onnx.GraphProto, types: Mapping[str, int]) -> Iterator[str]:
    """The operators that give a value without a type, in a graph and those inside it."""
    for node in graph.node:
        if node.op_type not in RECURRENT and any(n and n not in types for n in node.output):
            yield f"{label(node)} ({node.op_type})"
        for _, body in bodies(node):
            yield from _untyped(body, types)


class _Work:
    """What the walk through the graphs needs and finds."""

    def __init__(self, model: onnx.ModelProto, narrow: Narrow, types: Mapping[str, int]) -> None:
        from onnx import TensorProto

        self.original = type(model)()
        self.original.CopyFrom(model)
        self.narrow = narrow
        self.type = TensorProto.BFLOAT16 if narrow == "bf16" else TensorProto.FLOAT16
        self.floats = {name for name, kind in types.items() if kind == TensorProto.FLOAT}
        self.whole = {name for name, kind in types.items() if _is_whole(kind)}
        self.fresh = FreshNames(all_names(model.graph))
        self.operators: dict[Place, Scans] = {}

    def follow(self, graph: onnx.GraphProto, old: tuple[Step, ...], new: tuple[Step, ...]) -> None:
        """Rewrite a graph; ``old`` and ``new`` are the ways down to it before and after."""
        from onnx import TensorProto

        sizes = {n for node in graph.node if node.op_type in _SIZES for n in node.input[1:]}
        sizes |= {n for node in graph.node if node.op_type == "Range" for n in node.input}
        for tensor in graph.initializer:
            if tensor.data_type == TensorProto.FLOAT and tensor.name not in sizes:
                tensor.CopyFrom(self._tensor(tensor))
        nodes = list(graph.node)
        del graph.node[:]
        if not old:
            self._inputs(graph, nodes)
        for index, node in enumerate(nodes):
            if node.op_type in RECURRENT:
                self._recurrent(graph, node, Place(label(node), node.op_type, old, index), new)
                continue
            # Whole numbers are counters and lengths, which decide how often a loop runs.
            counts = node.op_type == "Cast" and node.input[0] in self.whole
            behind = [] if node.op_type in _VIEWS or counts else self._behind(node, sizes)
            graph.node.append(node)
            at = len(graph.node) - 1
            for name, body in bodies(graph.node[at]):
                step, now = (Step(n, name, node.op_type) for n in (index, at))
                self.follow(body, (*old, step), (*new, now))
            graph.node.extend(behind)

    def _tensor(self, tensor: onnx.TensorProto) -> onnx.TensorProto:
        from onnx import numpy_helper

        return numpy_helper.from_array(
            round_to(numpy_helper.to_array(tensor), self.narrow), tensor.name
        )

    def _inputs(self, graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
        """Round what the model is fed."""
        stored = {tensor.name for tensor in graph.initializer}
        for info in graph.input:
            if info.name in self.floats and info.name not in stored:
                inner = self.fresh(info.name)
                graph.node.extend(self.casts(info.name, inner))
                for node in nodes:
                    _rename(node, info.name, inner)

    def _behind(self, node: onnx.NodeProto, sizes: set[str]) -> list[onnx.NodeProto]:
        """Casts that give the outputs of a node their names."""
        found = []
        for number, name in enumerate(node.output):
            if name in self.floats and name not in sizes:
                node.output[number] = self.fresh(name)
                found += self.casts(node.output[number], name)
        return found

    def casts(self, value: str, result: str) -> list[onnx.NodeProto]:
        """There and back."""
        from onnx import TensorProto, helper

        between = self.fresh(f"{value}.narrow")
        return [
            helper.make_node("Cast", [value], [between], to=self.type),
            helper.make_node("Cast", [between], [result], to=TensorProto.FLOAT),
        ]

    def _recurrent(
        self, graph: onnx.GraphProto, node: onnx.NodeProto, place: Place, path: tuple[Step, ...]
    ) -> None:
        if node.op_type == QUANTISED:
            raise MeasurementError(f"{place.name}: its weights are of 8 bits already")
        try:
            weights = stored_weights(self.original, place, None)
            parts = cells(
                node, {name: round_to(value, self.narrow) for name, value in weights.items()}
            )
            ways = directions(node)
        except ValueError as error:
            raise MeasurementError(f"{place.name}: {error}") from None
        arithmetic = RoundedValues(self.casts)
        values = add_scans(graph, node, list(zip(parts, ways, strict=True)), arithmetic, self.fresh)
        self.operators[place] = Scans(path, values)


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    """Let a node and the graphs inside it read another value."""
    for number, name in enumerate(node.input):
        if name == old:
            node.input[number] = new
    for _, body in bodies(node):
        for inner in body.node:
            _rename(inner, old, new)
