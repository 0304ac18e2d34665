"""The weights of a recurrent operator, computed by ONNX Runtime from what the model stores.

Weights are often not stored as the operator reads them: exporters write concatenations,
slices and further axes. The nodes that lead to them make a small model of their own, which
reads no input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnncost.along_time.nodes import (
    WEIGHTS,
    FreshNames,
    Place,
    all_names,
    bodies,
    graphs,
    inputs_of,
)
from rnncost.errors import MeasurementError

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, np.dtype[Any]]


def stored_weights(model: onnx.ModelProto, place: Place, folder: Path | None) -> dict[str, Array]:
    """The weights of an operator by their ONNX name, in single precision.

    Args:
        model: the model.
        place: where the operator stands.
        folder: where the files of weights outside the model lie.

    Raises:
        MeasurementError: a weight depends on an input of the model, or cannot be computed.
    """
    from rnncost.runtime.session import create_session, reason

    way = graphs(model, place.path)
    inputs = inputs_of(way[-1].node[place.index])
    wanted = {name: value for name, value in inputs.items() if name in WEIGHTS}
    nodes, initializers = _ancestors(way, wanted.values())
    fresh = FreshNames(all_names(model.graph))
    names = {name: fresh(name) for name in wanted}
    small = _model(model, nodes, initializers, {names[n]: value for n, value in wanted.items()})
    session = create_session(small.SerializeToString(), external_data_folder=folder)
    try:
        values = session.run(list(names.values()), {})
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise MeasurementError(f"its weights cannot be computed: {reason(error)}") from None
    return dict(zip(wanted, values, strict=True))


def _ancestors(
    way: Sequence[onnx.GraphProto], wanted: Iterable[str]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes and stored tensors that values are made of, of all graphs on a way down."""
    makers: dict[str, tuple[int, int]] = {}
    stored: dict[str, onnx.TensorProto] = {}
    for depth, graph in enumerate(way):
        stored.update({tensor.name: tensor for tensor in graph.initializer})
        for index, node in enumerate(graph.node):
            makers.update(dict.fromkeys(filter(None, node.output), (depth, index)))
    used: set[tuple[int, int]] = set()
    tensors: dict[str, onnx.TensorProto] = {}
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name in stored:
            tensors[name] = stored[name]
            continue
        if name not in makers:
            raise MeasurementError(f"its weights depend on {name!r}, which is not stored")
        at = makers[name]
        if at in used:
            continue
        used.add(at)
        node = way[at[0]].node[at[1]]
        if any(True for _ in bodies(node)):
            raise MeasurementError(f"its weights are made by a {node.op_type}")
        waiting.extend(filter(None, node.input))
    return [way[depth].node[index] for depth, index in sorted(used)], list(tensors.values())


def _model(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[onnx.TensorProto],
    values: Mapping[str, str],
) -> onnx.ModelProto:
    """A model of some nodes that returns casts of values to single precision, by new names."""
    from onnx import TensorProto, helper

    casts = [
        helper.make_node("Cast", [value], [name], to=TensorProto.FLOAT)
        for name, value in values.items()
    ]
    graph = helper.make_graph(
        [*nodes, *casts],
        "weights",
        [],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in values],
        initializers,
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
