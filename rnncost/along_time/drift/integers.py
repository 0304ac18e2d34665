"""Recurrent operators with 8-bit products, as ONNX Runtime's DynamicQuantizeLSTM has them.

ONNX Runtime quantises LSTMs alone. What it does to them is done here to any recurrent operator
that stayed in 32 bits: the operator becomes Scans (``cells``) whose products are
DynamicQuantizeLinear and MatMulInteger. X is quantised once, with its own range, and so is at each
step what a product reads of the state; weights are int8, symmetric, with one scale for W and one
for R of each direction. States, biases and activations are of 32 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time.cells import Cell
from rnncost.along_time.constants import stored_weights
from rnncost.along_time.drift.cells import Emit, Scans, add_scans
from rnncost.along_time.drift.rounding import newer
from rnncost.along_time.layers import cells, directions
from rnncost.along_time.nodes import (
    QUANTISED,
    FreshNames,
    Place,
    Step,
    all_names,
    bodies,
    inputs_of,
    places,
)
from rnncost.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, np.dtype[Any]]

_OPSET_OF_DYNAMIC_QUANTISATION = 11
_MOST = 127
"""The largest magnitude of an 8-bit weight: -128 is not used."""


class InIntegers(msgspec.Struct, frozen=True):
    """A rewritten model, and of each operator that was rewritten where its values are now.

    ``weights`` is how many numbers their W and R have.
    """

    model: onnx.ModelProto
    operators: Mapping[Place, Scans]
    weights: int


def in_integers(model: onnx.ModelProto) -> InIntegers:
    """A copy of a model whose recurrent operators of 32 bits multiply in 8 bits.

    Args:
        model: with its weights in it.

    Raises:
        MeasurementError: a layer of it cannot be rewritten.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    copy = newer(copy, _OPSET_OF_DYNAMIC_QUANTISATION, "DynamicQuantizeLinear")
    work = _Work(copy)
    work.follow(copy.graph, (), ())
    return InIntegers(copy, work.operators, sum(work.sizes.values()))


class BytesProducts(msgspec.Struct, frozen=True):
    """Products of uint8 and int8 with sums of 32 bits; what is kept stays as it is."""

    def kept(self, emit: Emit, value: str) -> str:
        return value

    def product(self, emit: Emit, value: str, cell: Cell, matrix: Array, letter: str) -> str:
        from onnx import TensorProto

        weights, scale = as_bytes(matrix)
        quantised, own_scale, zero = (emit.fresh(name) for name in ("bytes", "scale", "zero"))
        emit.named("DynamicQuantizeLinear", [value], [quantised, own_scale, zero])
        block = emit.stored(cell.block(weights, letter).T)
        whole = emit(
            "Cast", [emit("MatMulInteger", [quantised, block, zero])], to=TensorProto.FLOAT
        )
        return emit("Mul", [whole, emit("Mul", [own_scale, emit.stored(scale)])])


def as_bytes(matrix: Array) -> tuple[Array, Array]:
    """Weights as ``quantize_dynamic`` quantises an LSTM's: int8, and their scale.

    q = round(w / s) with ties to even, s = max(abs(w)) / 127; of weights that are all 0 it is 1.
    """
    import numpy as np

    values = matrix.astype(np.float32)
    largest = np.abs(values).max(initial=np.float32(0))
    scale = np.float32(largest / np.float32(_MOST)) if largest else np.float32(1)
    return np.rint(values / scale).clip(-_MOST, _MOST).astype(np.int8), np.asarray(scale)


def _until_all_end(emit: Emit, x: str, lengths: str) -> str:
    """X with zeros after the longest row: these steps have no part in the range of X."""
    from onnx import TensorProto

    longest = emit("ReduceMax", [emit("Cast", [lengths], to=TensorProto.INT64)], keepdims=0)
    steps = emit("Gather", [emit("Shape", [x]), emit.stored(0)], axis=0)
    counted = emit("Range", [emit.stored(0), steps, emit.stored(1)])
    live = emit("Less", [emit("Reshape", [counted, emit.stored([-1, 1, 1])]), longest])
    return emit("Where", [live, x, emit.stored(0.0)])


class _Work:
    """What the walk through the graphs needs and finds.

    ``sizes`` has the numbers in each W and R, by the names of their values.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.original = type(model)()
        self.original.CopyFrom(model)
        self.fresh = FreshNames(all_names(model.graph))
        self.operators: dict[Place, Scans] = {}
        self.sizes: dict[str, int] = {}
        found = (place for place in places(model.graph) if place.op_type != QUANTISED)
        self._places = {(place.path, place.index): place for place in found}

    def follow(self, graph: onnx.GraphProto, old: tuple[Step, ...], new: tuple[Step, ...]) -> None:
        """Rewrite a graph; ``old`` and ``new`` are the ways down to it before and after."""
        nodes = list(graph.node)
        del graph.node[:]
        for index, node in enumerate(nodes):
            place = self._places.get((old, index))
            if place is not None:
                self.operators[place] = Scans(new, self._rewritten(graph, node, place))
                continue
            graph.node.append(node)
            at = len(graph.node) - 1
            for name, body in bodies(graph.node[at]):
                step, now = (Step(number, name, node.op_type) for number in (index, at))
                self.follow(body, (*old, step), (*new, now))

    def _rewritten(
        self, graph: onnx.GraphProto, node: onnx.NodeProto, place: Place
    ) -> dict[str, str]:
        try:
            weights = stored_weights(self.original, place, None)
            parts = list(zip(cells(node, weights), directions(node), strict=True))
        except ValueError as error:
            raise MeasurementError(f"{place.name}: {error}") from None
        names = inputs_of(node)
        self.sizes |= {names[key]: weights[key].size for key in "WR"}
        if "sequence_lens" in names:
            emit = Emit(graph.node, graph.initializer, self.fresh)
            node.input[0] = _until_all_end(emit, names["X"], names["sequence_lens"])
        return add_scans(graph, node, parts, BytesProducts(), self.fresh)
