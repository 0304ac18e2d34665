"""Recurrent operators in an ONNX model, wherever they stand, and the values around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import onnx

QUANTISED = "DynamicQuantizeLSTM"
RECURRENT = ("LSTM", "GRU", "RNN", QUANTISED)
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
"""Inputs by position; GRU and RNN end with initial_h."""

SCALES = ("W_scale", "W_zero_point", "R_scale", "R_zero_point")
"""Inputs 8 to 11 of a DynamicQuantizeLSTM."""

OUTPUTS = ("Y", "Y_h", "Y_c")
WEIGHTS = ("W", "R", "B", "P", *SCALES)
"""Inputs that stay the same; the others belong to a call."""

_LOOPS = ("Loop", "Scan")


class Step(msgspec.Struct, frozen=True):
    """One step down: the number of a control-flow node and the attribute that is its body."""

    index: int
    attribute: str
    op_type: str


class Place(msgspec.Struct, frozen=True):
    """Where a recurrent operator stands: steps down from the main graph, and its number."""

    name: str
    op_type: str
    path: tuple[Step, ...]
    index: int

    @property
    def loops(self) -> int:
        """How many loops are around it."""
        return sum(step.op_type in _LOOPS for step in self.path)


def places(graph: onnx.GraphProto, path: tuple[Step, ...] = ()) -> Iterator[Place]:
    """Every recurrent operator, in the order of the nodes."""
    for index, node in enumerate(graph.node):
        standard = node.domain in ("", "ai.onnx")
        if (standard and node.op_type in RECURRENT[:3]) or node.op_type == QUANTISED:
            yield Place(label(node), node.op_type, path, index)
        for name, body in bodies(node):
            yield from places(body, (*path, Step(index, name, node.op_type)))


def label(node: onnx.NodeProto) -> str:
    """What a node is called: its name, or else its first output."""
    return str(node.name or next(filter(None, node.output), node.op_type))


def bodies(node: onnx.NodeProto) -> Iterator[tuple[str, onnx.GraphProto]]:
    """The graphs inside a node, by their attribute."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g


def graphs(model: onnx.ModelProto, path: tuple[Step, ...]) -> list[onnx.GraphProto]:
    """The graphs on a way down, the main graph first."""
    found = [model.graph]
    for step in path:
        found.append(dict(bodies(found[-1].node[step.index]))[step.attribute])
    return found


def node_at(model: onnx.ModelProto, place: Place) -> onnx.NodeProto:
    """The operator at a place."""
    return graphs(model, place.path)[-1].node[place.index]


def inputs_of(node: onnx.NodeProto) -> dict[str, str]:
    """The inputs that a recurrent operator has, by their ONNX name."""
    names = (*INPUTS, *SCALES) if node.op_type == QUANTISED else INPUTS
    return {name: value for name, value in zip(names, node.input, strict=False) if value}


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node, text as str."""
    from onnx import helper

    def plain(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return value

    return {a.name: plain(helper.get_attribute_value(a)) for a in node.attribute}


def all_names(graph: onnx.GraphProto) -> set[str]:
    """Every name of a value in a graph and the graphs inside it."""
    names = {info.name for info in (*graph.input, *graph.output)}
    names.update(tensor.name for tensor in graph.initializer)
    for node in graph.node:
        names.update(node.input)
        names.update(node.output)
        for _, body in bodies(node):
            names |= all_names(body)
    return names


class FreshNames:
    """Names that no value of a model has."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def __call__(self, wanted: str) -> str:
        name, number = f"rnncost.{wanted}", 1
        while name in self._taken:
            number += 1
            name = f"rnncost.{wanted}.{number}"
        self._taken.add(name)
        return name
