"""The order of a graph's nodes, and the names that a subgraph takes from around it."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterator, Mapping, Sequence

from rnncost.errors import ModelError
from rnncost.frontends.onnx.proto import GraphProto, NodeProto

_MAX_NAME = 200  # of a name, what a message shows

Captures = dict[int, frozenset[str]]
"""The captured names of each subgraph met so far, by the identity of the subgraph."""


def subgraphs(node: NodeProto) -> Iterator[tuple[str, GraphProto]]:
    """The subgraphs of a node by attribute name, in alphabetical order."""
    for name in sorted(node.attrs):
        value = node.attrs[name]
        if isinstance(value, GraphProto):
            yield name, value
        elif isinstance(value, tuple):
            for number, item in enumerate(value):
                if isinstance(item, GraphProto):
                    yield f"{name}[{number}]", item


def captured(graph: GraphProto, cache: Captures) -> frozenset[str]:
    """The names that a subgraph reads and does not define."""
    found = cache.get(id(graph))
    if found is not None:
        return found
    defined = {info.name for info in graph.inputs}
    defined.update(graph.initializers)
    used = {info.name for info in graph.outputs}
    for node in graph.nodes:
        used.update(node.inputs)
        defined.update(node.outputs)
        if node.attrs:
            for _, inner in subgraphs(node):
                used |= captured(inner, cache)
    defined.add("")
    found = cache[id(graph)] = frozenset(used - defined)
    return found


def producers(
    nodes: Sequence[NodeProto], inputs: Container[str], initializers: Container[str]
) -> dict[str, NodeProto]:
    """The node that makes each name.

    Raises:
        ModelError: a name is made by two nodes, or is an input or initializer as well.
    """
    made: dict[str, NodeProto] = {}
    for node in nodes:
        for name in node.outputs:
            if not name:
                continue
            if name in made or name in inputs or name in initializers:
                raise ModelError(
                    f"{describe(node)} makes {name!r}, which the graph defines already: "
                    "each value may be made once"
                )
            made[name] = node
    return made


def ordered(
    nodes: Sequence[NodeProto], made: Mapping[str, NodeProto], cache: Captures
) -> Sequence[tuple[int, NodeProto]]:
    """The nodes with their indices, so that each follows those that it reads from.

    A file that lists them so keeps its order; others are sorted, earlier nodes first.

    Raises:
        ModelError: nodes wait for each other in a ring.
    """
    listed = list(enumerate(nodes))
    seen: set[str] = set()
    for _, node in listed:
        for name in _reads(node, cache):
            if name in made and name not in seen:
                return _sorted(nodes, made, cache)
        seen.update(node.outputs)
    return listed


def _sorted(
    nodes: Sequence[NodeProto], made: Mapping[str, NodeProto], cache: Captures
) -> list[tuple[int, NodeProto]]:
    index_of = {id(node): index for index, node in enumerate(nodes)}
    waiting: list[set[int]] = []
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        before = {index_of[id(made[name])] for name in _reads(node, cache) if name in made}
        waiting.append(before)
        for other in before:
            readers.setdefault(other, []).append(index)
    ready = [index for index, before in enumerate(waiting) if not before]
    result: list[tuple[int, NodeProto]] = []
    while ready:
        index = heapq.heappop(ready)
        result.append((index, nodes[index]))
        for reader in readers.get(index, ()):
            waiting[reader].discard(index)
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(result) < len(nodes):
        raise ModelError(_ring(nodes, waiting))
    return result


def _ring(nodes: Sequence[NodeProto], waiting: Sequence[set[int]]) -> str:
    """Name a node that waits for itself: follow what waits until something comes again."""
    index = next(i for i, before in enumerate(waiting) if before)
    seen: set[int] = set()
    while index not in seen:
        seen.add(index)
        index = min(waiting[index])
    return f"the graph has a cycle: {describe(nodes[index])} reads what depends on its own output"


def _reads(node: NodeProto, cache: Captures) -> Iterator[str]:
    yield from node.inputs
    if node.attrs:
        for _, graph in subgraphs(node):
            yield from captured(graph, cache)


def describe(node: NodeProto) -> str:
    """A node in a message: its name and type, or its output where it has no name."""
    op_type = shown(node.op_type)
    if node.name:
        return f"node {node.name[:_MAX_NAME]!r} ({op_type})"
    made = next((name for name in node.outputs if name), "nothing")
    return f"the {op_type} node that makes {made[:_MAX_NAME]!r}"


def shown(name: str) -> str:
    """A name for a message without quotes around it, as far as it is short and printable."""
    name = name[:_MAX_NAME]
    return name if name.isprintable() else repr(name)
