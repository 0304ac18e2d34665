"""Recurrences that are no LSTM, GRU or RNN operator: cells written out, or carried by a loop."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from rnncost.counting.count import count
from rnncost.errors import RnncostError
from rnncost.frontends.onnx import load
from rnncost.graph.source import Request
from rnncost.variants.known import FOLLOWED_ELEMENTS
from rnncost.variants.target import CELLS

if TYPE_CHECKING:
    import onnx


def recurrences(model: onnx.ModelProto) -> tuple[str, ...]:
    """What waits for its own result and is no recurrent operator, described; none if unknown.

    Weights are left behind: their sizes are enough to find which products follow each other.
    """
    try:
        graph = load(without_weights(model).SerializeToString(), Request()).graph
        rows = count(graph).ops
    except RnncostError:
        return ()  # the model cannot be counted either, and analysing it says why
    found = []
    for row in rows:
        if row.counts.sequential_macs and row.op.op_type not in CELLS:
            what = f"the cell written out as {row.op.op_type}"
            if row.op.op_type in ("Loop", "Scan"):
                what = f"the {row.op.op_type} that carries a state"
            found.append(f"{what} {row.name!r}")
    return tuple(dict.fromkeys(found))


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    new = type(model)()
    new.ir_version = model.ir_version
    new.opset_import.extend(model.opset_import)
    new.functions.extend(model.functions)
    _copy_graph(model.graph, new.graph)
    return new


def _copy_graph(old: onnx.GraphProto, new: onnx.GraphProto) -> None:
    new.name = old.name
    new.input.extend(old.input)
    new.output.extend(old.output)
    new.value_info.extend(old.value_info)
    new.sparse_initializer.extend(old.sparse_initializer)
    for tensor in old.initializer:
        _copy_tensor(tensor, new.initializer.add())
    for node in old.node:
        _copy_node(node, new.node.add())


def _copy_node(old: onnx.NodeProto, new: onnx.NodeProto) -> None:
    new.op_type, new.domain, new.name = old.op_type, old.domain, old.name
    new.input.extend(old.input)
    new.output.extend(old.output)
    for attribute in old.attribute:
        copy = new.attribute.add()
        if attribute.HasField("t") or attribute.HasField("g"):
            copy.name, copy.type = attribute.name, attribute.type
        if attribute.HasField("t"):
            _copy_tensor(attribute.t, copy.t)
        elif attribute.HasField("g"):
            _copy_graph(attribute.g, copy.g)
        else:
            copy.CopyFrom(attribute)


def _copy_tensor(old: onnx.TensorProto, new: onnx.TensorProto) -> None:
    if prod(old.dims) <= FOLLOWED_ELEMENTS:
        new.CopyFrom(old)
        return
    new.name, new.data_type = old.name, old.data_type
    new.dims.extend(old.dims)
