"""Which measured nodes belong to which rows of a report.

ONNX Runtime fuses, renames, moves and adds nodes before it runs them. The model that it
runs (the optimised model) keeps the names of the tensors between its nodes, so that a
fused node can be traced: it makes a tensor that some node of the file made, and computes
all the nodes in between that are gone. Rows and nodes that belong together make a line;
each row and each node is in one line, so that sums over lines are sums over both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.ir import Graph, Op

if TYPE_CHECKING:
    from rnncost.counting.counted import CountedOp
    from rnncost.frontends.onnx.proto import GraphProto, NodeProto
    from rnncost.runtime.node_times import NodeTime

_REPEATED = re.compile(r"#\d+$")
_CONTROL = ("If", "Loop", "Scan")
_LAYOUT = ("ReorderOutput", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


class Line(msgspec.Struct, frozen=True):
    """Rows, by their number in the report, and the nodes measured for them, by theirs."""

    rows: tuple[int, ...]
    nodes: tuple[int, ...]


class _Original(msgspec.Struct, frozen=True):
    """A node of the file that runs, and the number of its row; None where it has none.

    ``settled`` nodes are known before the run, so that nothing computes them in it.
    """

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    row: int | None
    settled: bool


def match(
    graph: Graph,
    rows: Sequence[CountedOp],
    times: Sequence[NodeTime],
    optimized: GraphProto,
) -> list[Line]:
    """Group the rows of a graph with the nodes that were measured for them.

    Args:
        graph: the graph that the rows were counted from.
        rows: all rows, in the order of the report.
        times: the measured nodes, each after the control-flow node around it.
        optimized: the graph that ONNX Runtime ran.
    """
    originals = list(_originals(graph, rows))
    nodes = _located(times, optimized)
    claims = _claims(originals, times, nodes)
    owners = _owners(originals, claims)
    groups = _Groups(len(rows) + len(times))
    for number, claimed in enumerate(claims):
        _join(groups, (originals[o] for o in claimed), len(rows) + number)
    for number, owner in owners.items():
        _join(groups, [originals[number]], len(rows) + owner)
    types = [{originals[o].op_type for o in claimed} for claimed in claims]
    for helper, helped in _helpers(times, nodes, types):
        groups.join(len(rows) + helper, len(rows) + helped)
    return [
        Line(
            tuple(member for member in group if member < len(rows)),
            tuple(member - len(rows) for member in group if member >= len(rows)),
        )
        for group in groups.all()
    ]


class _Groups:
    """Sets of numbers below ``size``, joined two by two."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def find(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def join(self, a: int, b: int) -> None:
        self._parents[self.find(a)] = self.find(b)

    def all(self) -> list[list[int]]:
        groups: dict[int, list[int]] = {}
        for number in range(len(self._parents)):
            groups.setdefault(self.find(number), []).append(number)
        return list(groups.values())


def _join(groups: _Groups, originals: Iterable[_Original], node: int) -> None:
    for original in originals:
        if original.row is not None:
            groups.join(original.row, node)


def _originals(graph: Graph, rows: Sequence[CountedOp]) -> Iterator[_Original]:
    row_of = {name: number for number, row in enumerate(rows) for name in row.members}
    for op in _walk(graph):
        number = row_of.get(op.name)
        yield _Original(
            name=_plain(op.name),
            op_type=op.op_type,
            inputs=tuple(_plain(t.name) for t in op.inputs if t is not None and not t.stored),
            outputs=tuple(_plain(t.name) for t in op.outputs if t is not None),
            row=number,
            settled=number is None or rows[number].cost.kind == "constant",
        )


def _walk(graph: Graph) -> Iterator[Op]:
    for op in graph.ops:
        if op.executions != 0:
            yield op
            if op.body is not None:
                yield from _walk(op.body)


def _plain(name: str) -> str:
    """A name without the number that tells it from the same name in another body."""
    return _REPEATED.sub("", name)


def _located(times: Sequence[NodeTime], optimized: GraphProto) -> list[NodeProto | None]:
    """The node of the optimised model that each measured node is; None if it is not found.

    A node without a name is measured as its type and a number. Those of one type are run
    in the order in which the file lists them.
    """
    from rnncost.frontends.onnx.order import subgraphs

    levels: dict[tuple[str, ...], _Level] = {(): _Level([optimized])}
    found: list[NodeProto | None] = []
    for time in times:
        level = levels.get(time.path)
        node = None if level is None else level.take(time.name, time.op_type)
        found.append(node)
        if node is not None and time.op_type in _CONTROL:
            inside = (*time.path, time.name)
            levels[inside] = _Level([inner for _, inner in subgraphs(node)])
    return found


class _Level:
    """The nodes of a graph, or of the branches of an If."""

    def __init__(self, graphs: Sequence[GraphProto]) -> None:
        nodes = [node for graph in graphs for node in graph.nodes]
        self._named = {(n.name, n.op_type): n for n in nodes if n.name}
        self._unnamed: dict[str, list[NodeProto]] = {}
        for node in reversed(nodes):
            if not node.name:
                self._unnamed.setdefault(node.op_type, []).append(node)

    def take(self, name: str, op_type: str) -> NodeProto | None:
        node = self._named.get((name, op_type))
        if node is None and re.fullmatch(rf"{re.escape(op_type)}_\d+", name):
            left = self._unnamed.get(op_type)
            node = left.pop() if left else None
        return node


def _claims(
    originals: Sequence[_Original],
    times: Sequence[NodeTime],
    nodes: Sequence[NodeProto | None],
) -> list[list[int]]:
    """The nodes of the file that each measured node surely computes: by tensor, else by name."""
    by_name: dict[str, list[int]] = {}
    by_output: dict[str, list[int]] = {}
    for number, original in enumerate(originals):
        by_name.setdefault(original.name, []).append(number)
        for output in original.outputs:
            by_output.setdefault(output, []).append(number)
    claims = []
    for time, node in zip(times, nodes, strict=True):
        made = () if node is None else node.outputs
        claimed = [number for output in made for number in by_output.get(output, ())]
        if not claimed:
            tensor = time.name.removesuffix("_nchwc")  # a Conv in blocked layout is named so
            claimed = by_output.get(tensor, []) if tensor != time.name else []
        if not claimed:
            named = by_name.get(_base_name(time.name), [])
            # The branches and bodies around a node may stand under its name too.
            control = time.op_type in _CONTROL
            claimed = [n for n in named if (originals[n].op_type in _CONTROL) == control]
        claims.append(list(dict.fromkeys(claimed)))
    return claims


def _base_name(name: str) -> str:
    """The name of the node that a fused node was made from, as ONNX Runtime marks it."""
    return re.sub(r"/\w+(Fusion|_transformed)$", "", name.removeprefix("fused "))


def _owners(originals: Sequence[_Original], claims: Sequence[Sequence[int]]) -> dict[int, int]:
    """The measured node that each node of the file which is gone went into.

    That is where its result went to; failing that, where its inputs came from. What was
    settled before the run went nowhere.
    """
    owners: dict[int, int] = {}
    for node, claimed in enumerate(claims):
        for number in claimed:
            owners.setdefault(number, node)
    readers: dict[str, list[int]] = {}
    makers: dict[str, list[int]] = {}
    for number, original in enumerate(originals):
        for name in original.inputs:
            readers.setdefault(name, []).append(number)
        for name in original.outputs:
            makers.setdefault(name, []).append(number)
    gone = [n for n, o in enumerate(originals) if n not in owners and not o.settled]
    for number in reversed(gone):
        after = [n for name in originals[number].outputs for n in readers.get(name, ())]
        _adopt(owners, number, sorted(after, key=lambda n: originals[n].settled))
    for number in gone:
        before = [n for name in originals[number].inputs for n in makers.get(name, ())]
        _adopt(owners, number, before)
    return owners


def _adopt(owners: dict[int, int], number: int, candidates: Sequence[int]) -> None:
    owner = next((owners[n] for n in candidates if n in owners), None)
    if owner is not None:
        owners.setdefault(number, owner)


def _helpers(
    times: Sequence[NodeTime],
    nodes: Sequence[NodeProto | None],
    types: Sequence[set[str]],
) -> Iterator[tuple[int, int]]:
    """Measured nodes that no node of the file stands for, each with the one that it serves.

    ONNX Runtime adds nodes that change the layout of a tensor: for the nodes that read it,
    or after the one that made it, whose result then has the name of the original's.
    ``types`` are those of the file's nodes that each measured node surely computes.
    """
    made: dict[str, int] = {}
    readers: dict[str, list[int]] = {}
    for number, node in enumerate(nodes):
        if node is not None:
            made.update(dict.fromkeys(filter(None, node.outputs), number))
            for name in filter(None, node.inputs):
                readers.setdefault(name, []).append(number)
    served = {n: n for n, claimed in enumerate(types) if claimed}
    new = [
        (number, node)
        for number, node in enumerate(nodes)
        if node is not None and number not in served and times[number].op_type not in _CONTROL
    ]
    for number, node in reversed(new):
        after = [n for name in node.outputs for n in readers.get(name, ())]
        _adopt(served, number, after)
    for number, node in new:
        _adopt(served, number, [made[name] for name in node.inputs if name in made])
    yield from ((number, served[number]) for number, _ in new if number in served)
    for number, node in enumerate(nodes):
        kind = times[number].op_type
        if node is not None and kind in _LAYOUT and types[number] and kind not in types[number]:
            yield from ((number, made[name]) for name in node.inputs[:1] if name in made)
