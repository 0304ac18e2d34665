"""A traced run: the model executed once in ONNX Runtime, as a tree of what ran.

Every node of a copy of the model gets a name of its own, so that each event of the profile
belongs to one node. Events come in the order in which nodes end, so those inside a branch
or body stand before that of the node around them: an If or Loop takes the events inside it
that have come since its last execution, and a node that comes again starts the next trip.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rnncost.errors import MeasurementError
from rnncost.frontends.onnx.bind import Binding
from rnncost.frontends.onnx.functions import function_of
from rnncost.frontends.onnx.order import subgraphs
from rnncost.frontends.onnx.proto import ModelProto, NodeProto
from rnncost.frontends.onnx.scope import Event, Frame

if TYPE_CHECKING:
    import onnx

_PREFIX = "rnncost:"


class _Node(msgspec.Struct, frozen=True):
    """Where a node stands: its graph, its position there, and the graphs inside it."""

    graph: int
    position: tuple[int, ...]
    inside: tuple[tuple[str, int], ...]


class _Open:
    """The executions of one graph since the node around it ran last."""

    def __init__(self) -> None:
        self.done: list[Frame] = []
        self.events: dict[tuple[int, ...], Event] = {}

    def close(self) -> None:
        """End an execution; one like the last shares its record."""
        if self.events:
            frame = Frame(self.events)
            self.done.append(self.done[-1] if self.done and self.done[-1] == frame else frame)
            self.events = {}

    def frames(self) -> tuple[Frame, ...]:
        self.close()
        return tuple(self.done)


def trace(model: str | Path | bytes, proto: ModelProto, binding: Binding) -> Frame:
    """Run a model once and return what its main graph executed.

    Raises:
        MeasurementError: the model cannot be run.
        RuntimeUnavailableError: ONNX Runtime is not installed.
    """
    from rnncost.runtime.profiling import profile_nodes

    named, nodes = _named(model, proto)
    folder = None if isinstance(model, bytes) else Path(os.path.realpath(model)).parent
    events = profile_nodes(
        named,
        shapes=binding.shapes(),
        values={
            name: {"shape": value.shape, "elements": value.elements}
            for name, value in binding.values().items()
        },
        external_data_folder=folder,
    )
    graphs: dict[int, _Open] = {}
    for event in events:
        node = nodes.get(event.name)
        if node is None:  # a node that ONNX Runtime itself put in
            continue
        frames = {attr: graphs.pop(inner, _Open()).frames() for attr, inner in node.inside}
        place = graphs.setdefault(node.graph, _Open())
        if node.position in place.events:
            place.close()
        place.events[node.position] = Event(
            inputs=event.inputs, outputs=event.outputs, frames=frames
        )
    return Frame(graphs[0].events) if 0 in graphs else Frame({})


def _named(model: str | Path | bytes, proto: ModelProto) -> tuple[bytes, dict[str, _Node]]:
    """The model with its functions inlined and its nodes renamed, and the table of names."""
    import onnx

    try:
        if isinstance(model, bytes):
            copy = onnx.load_model_from_string(model)
        else:
            copy = onnx.load(os.fspath(model), load_external_data=False)
        if proto.functions:
            from onnx import inliner

            copy = inliner.inline_local_functions(copy)
        namer = _Namer(proto)
        namer.rename(copy.graph.node, proto.graph.nodes)
        return copy.SerializeToString(), namer.table
    except MeasurementError:
        raise
    except Exception as error:  # onnx and protobuf raise errors of many kinds
        text = str(error).strip().split("\n", 1)[0]
        raise MeasurementError(f"the model cannot be traced: {text}") from None


class _Namer:
    """Renames the nodes of an inlined copy, those of a called function in place of its call.

    ``table`` has the place of each node by its new name; the main graph has number 0. The
    copy and the walk through functions meet the nodes in the same order.
    """

    def __init__(self, proto: ModelProto) -> None:
        self.table: dict[str, _Node] = {}
        self._proto = proto
        self._graphs = 0

    def rename(self, copies: Sequence[onnx.NodeProto], nodes: Sequence[NodeProto]) -> int:
        """Rename the nodes of one graph and of those inside it; returns its number."""
        graph = self._graphs
        self._graphs += 1
        rest = iter(copies)
        pending: list[tuple[tuple[int, ...], NodeProto]] = []
        pending.extend([((index,), node) for index, node in enumerate(nodes)][::-1])
        copy = next(rest, None)
        while pending:
            position, node = pending.pop()
            function = function_of(self._proto, node)
            same = copy is not None and (copy.op_type, copy.domain) == (node.op_type, node.domain)
            if function is not None and not same:
                inner = [((*position, i), n) for i, n in enumerate(function.nodes)]
                pending.extend(inner[::-1])
                continue
            if copy is None or not same:
                raise MeasurementError("the model cannot be traced: its functions do not unfold")
            copy.name = f"{_PREFIX}{len(self.table)}"
            name = copy.name
            self.table[name] = _Node(graph, position, ())
            inside = self._subgraphs(copy, node)
            if inside:
                # ONNX Runtime 1.32 crashes where it profiles a Loop with an omitted output.
                for index, output in enumerate(copy.output):
                    copy.output[index] = output or f"{name}:{index}"
            self.table[name] = _Node(graph, position, inside)
            copy = next(rest, None)
        return graph

    def _subgraphs(self, copy: onnx.NodeProto, node: NodeProto) -> tuple[tuple[str, int], ...]:
        copies = {attribute.name: attribute.g for attribute in copy.attribute}
        return tuple(
            [
                (name, self.rename(copies[name].node, graph.nodes))
                for name, graph in subgraphs(node)
                if name in copies
            ]
        )
