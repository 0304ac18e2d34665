"""A model rewritten so that it also returns what one recurrent operator reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rnncost.along_time.nodes import (
    OUTPUTS,
    WEIGHTS,
    FreshNames,
    Place,
    Step,
    all_names,
    bodies,
    graphs,
    inputs_of,
)

if TYPE_CHECKING:
    import onnx


def exposed(model: onnx.ModelProto, place: Place) -> tuple[onnx.ModelProto, dict[str, str]]:
    """A copy of a model with further outputs, and their names by the operator's own.

    Those are X, sequence_lens and initial states, where the operator has them, and all of its
    outputs, in single precision. Where a branch with the operator is not taken each is of
    one axis and empty; of an operator in a loop those of all trips are stacked.
    """
    copy = type(model)()
    copy.CopyFrom(model)
    way = graphs(copy, place.path)
    fresh = FreshNames(all_names(copy.graph))
    node = way[-1].node[place.index]
    count = 3 if "LSTM" in node.op_type else 2
    node.output.extend([""] * (count - len(node.output)))
    for number in range(count):
        node.output[number] = node.output[number] or fresh(OUTPUTS[number])
    values = {name: value for name, value in inputs_of(node).items() if name not in WEIGHTS} | dict(
        zip(OUTPUTS, node.output, strict=False)
    )
    return copy, returned(copy, place.path, values, fresh)


def returned(
    model: onnx.ModelProto, path: tuple[Step, ...], values: Mapping[str, str], fresh: FreshNames
) -> dict[str, str]:
    """Make a model return values of one of its graphs, and give their new names.

    Args:
        model: is changed.
        path: the way down to the graph.
        values: names of values in it, each by a key.
        fresh: makes names.
    """
    way = graphs(model, path)
    names = {key: fresh(key) for key in values}
    _cast_outputs(way[-1], {names[key]: value for key, value in values.items()})
    for graph, step in zip(reversed(way[:-1]), reversed(path), strict=True):
        names = _lifted(graph, step, names, fresh)
    return names


def _cast_outputs(graph: onnx.GraphProto, values: Mapping[str, str]) -> None:
    """Outputs of a graph that are casts of values to single precision."""
    from onnx import TensorProto, helper

    for name, value in values.items():
        graph.node.append(helper.make_node("Cast", [value], [name], to=TensorProto.FLOAT))
    _add_outputs(graph, list(values))


def _add_outputs(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    from onnx import TensorProto, helper

    for name in names:
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _lifted(
    graph: onnx.GraphProto, step: Step, names: Mapping[str, str], fresh: FreshNames
) -> dict[str, str]:
    """Hand outputs of a body on as outputs of the graph around it."""
    node = graph.node[step.index]
    outer = {key: fresh(key) for key in names}
    body = dict(bodies(node))[step.attribute]
    before = len(body.output) - len(names) - (step.op_type == "Loop")  # a Loop keeps its condition
    node.output.extend([""] * (before - len(node.output)))
    node.output.extend(outer.values())
    if step.op_type == "If":
        for attribute, other in bodies(node):
            if attribute != step.attribute:
                _empty_outputs(other, [fresh(key) for key in names])
    for attribute in node.attribute:
        # Of a Scan the axes and directions of all outputs are listed, or none.
        if attribute.name in ("scan_output_axes", "scan_output_directions"):
            attribute.ints.extend([0] * len(names))
    _add_outputs(graph, list(outer.values()))
    return outer


def _empty_outputs(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    from onnx import TensorProto, helper

    for name in names:
        empty = helper.make_tensor(name, TensorProto.FLOAT, [0], [])
        graph.node.append(helper.make_node("Constant", [], [name], value=empty))
    _add_outputs(graph, names)
