"""Recurrent operators with the batch first (``layout`` 1) as ones with time first.

ONNX Runtime runs only the latter; transpositions around the operator make them the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncost.along_time.nodes import FreshNames, all_names, graphs, node_at, places

if TYPE_CHECKING:
    import onnx

_TO_TIME_FIRST = {0: (1, 0, 2), 5: (1, 0, 2), 6: (1, 0, 2)}
"""The axes of X, initial_h and initial_c, by their position among the inputs."""

_FROM_TIME_FIRST = ((2, 0, 1, 3), (1, 0, 2), (1, 0, 2))
"""The axes of Y, Y_h and Y_c."""


def time_first(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, or a copy without operators of ``layout`` 1."""
    found = [place for place in places(model.graph) if _batch_first(node_at(model, place))]
    if not found:
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    fresh = FreshNames(all_names(copy.graph))
    for place in reversed(found):  # so that the numbers of those before stay
        _turn(graphs(copy, place.path)[-1], place.index, fresh)
    return copy


def _batch_first(node: onnx.NodeProto) -> bool:
    return any(a.name == "layout" and a.i == 1 for a in node.attribute)


def _turn(graph: onnx.GraphProto, index: int, fresh: FreshNames) -> None:
    from onnx import helper

    nodes = [_copied(node) for node in graph.node]
    node = nodes[index]
    for attribute in node.attribute:
        if attribute.name == "layout":
            attribute.i = 0
    before, after = [], []
    for position, axes in _TO_TIME_FIRST.items():
        if position < len(node.input) and node.input[position]:
            name = fresh("time_first")
            before.append(helper.make_node("Transpose", [node.input[position]], [name], perm=axes))
            node.input[position] = name
    for position, name in enumerate(node.output):
        if name:
            node.output[position] = fresh("time_first")
            after.append(
                helper.make_node(
                    "Transpose", [node.output[position]], [name], perm=_FROM_TIME_FIRST[position]
                )
            )
    del graph.node[:]
    graph.node.extend([*nodes[:index], *before, node, *after, *nodes[index + 1 :]])


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = type(node)()
    copy.CopyFrom(node)
    return copy
