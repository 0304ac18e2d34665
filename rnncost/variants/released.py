"""Parts of a state input that are no longer read: what becomes of the input.

A model may take all states as one tensor, h and c of each layer stacked along some axis. Where
cell states go, or layers, the input shrinks along that axis by what nothing reads any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Union

import msgspec

from rnncost.graph.dim import Dim, Shape
from rnncost.variants.flow import Flow, Name
from rnncost.variants.known import attribute, full_type
from rnncost.variants.parts import Axis, Layout, Part, tidy
from rnncost.variants.target import CELLS, Key, Target

if TYPE_CHECKING:
    import onnx

_PASSED = frozenset("Cast Dropout Identity Reshape Squeeze Transpose Unsqueeze".split())
_PICKS = frozenset(("Gather", "Slice", "Split"))
_INPUTS_SINCE = 10
Box = tuple[tuple[Dim, Dim], ...]
"""The stretch of each axis that is read."""
Values = list[Union[tuple[int, ...], None]]
"""The elements of a node's inputs after the first, where they are known integers."""


class _Pick(msgspec.Struct, frozen=True):
    """A part of a tensor that a node takes: the tensor, the part, and the node's output."""

    source: Name
    box: Box
    output: Name


def released(flow: Flow, targets: Mapping[Key, Target], opset: int) -> dict[Name, Layout]:
    """How the state inputs shrink, by the value that shrinks."""
    free = set(_released_inputs(flow, targets))
    inputs = flow.state_inputs()
    found: dict[Name, Layout] = {}
    sources: set[Name] = set()
    for key, position in free:
        name = flow.nodes[key].input[position]
        sources.update(pick.source for pick in _picks_of(flow, key[0], name, opset))
    for source in sources:
        origins = flow.sources(*source)
        if not all(path == "" and name in inputs for path, name in origins):
            continue
        layout = _shrunk(flow, source, free, opset)
        if layout is not None:
            found[source] = layout
    return found


def _released_inputs(flow: Flow, targets: Mapping[Key, Target]) -> Iterator[tuple[Key, int]]:
    """Initial states that no node reads any more."""
    for key, target in targets.items():
        node = flow.nodes[key]
        for position in (5, 6):
            gone = target.removed or (position == 6 and target.cell != CELLS[full_type(node)])
            if gone and position < len(node.input) and node.input[position]:
                yield key, position


def _picks_of(flow: Flow, path: str, name: str, opset: int) -> Iterator[_Pick]:
    """The nodes that take a value out of a larger one, through branches too."""
    waiting = [flow.owner(path, name)]
    while waiting:
        value = waiting.pop()
        key = flow.producer.get(value)
        if key is None:
            continue
        node = flow.nodes[key]
        op = full_type(node)
        if op in _PICKS:
            pick = _pick(flow, key, list(node.output).index(value[1]), opset)
            if pick is not None:
                yield pick
        elif op in _PASSED:
            waiting.append(flow.owner(key[0], node.input[0]))
        elif op == "If":
            waiting.extend(flow.branch_outputs(key, list(node.output).index(value[1])))


def _shrunk(flow: Flow, source: Name, free: set[tuple[Key, int]], opset: int) -> Layout | None:
    """The layout of a value that loses what only released states read; None if it cannot."""
    shape = flow.bodies[source[0]].find(source[1]).old.shape
    if shape is None:
        return None
    dropped: list[Box] = []
    kept: list[Box] = []
    for use in flow.uses.get(source, ()):
        if use.key is None:
            return None
        node = flow.nodes[use.key]
        op = full_type(node)
        if op == "Shape":
            continue
        if op not in _PICKS or use.position:
            return None
        for number, output in enumerate(node.output):
            pick = _pick(flow, use.key, number, opset)
            if pick is None:
                return None
            ends = flow.ends((use.key[0], output))
            gone = all(end.kind == "state" and (end.key, end.position) in free for end in ends)
            (dropped if gone else kept).append(pick.box)
    for axis in range(len(shape)):
        along = _without(axis, shape[axis], dropped, kept)
        if along is not None:
            layout: list[Axis | None] = [None] * len(shape)
            layout[axis] = along
            return tuple(layout)
    return None


def _without(axis: int, extent: Dim, dropped: list[Box], kept: list[Box]) -> Axis | None:
    """The axis without the stretches that are dropped, where nothing kept touches them."""
    stretches = sorted({box[axis] for box in dropped}, key=str)
    whole = [(start, stop) for start, stop in stretches if isinstance(start, int)]
    if not whole or len(whole) < len(stretches) or not isinstance(extent, int):
        return None
    whole.sort()
    parts: list[Part] = []
    at: Dim = 0
    for start, stop in whole:
        if start < at or (start == 0 and stop == extent):
            return None
        if any(box[axis][0] < stop and start < box[axis][1] for box in kept):
            return None
        parts += [Part(start - at, start - at), Part(stop - start, 0)]
        at = stop
    return tidy((*parts, Part(extent - at, extent - at)))


def _pick(flow: Flow, key: Key, output: int, opset: int) -> _Pick | None:
    """What one output of a Gather, Slice or Split takes; None where it is not known."""
    node = flow.nodes[key]
    body = flow.bodies[key[0]]
    facts = [body.find(name).old if name else None for name in node.input]
    shape = facts[0].shape if facts and facts[0] is not None else None
    if not shape:
        return None
    values: Values = []
    for fact in facts[1:]:
        value = None if fact is None else fact.value
        values.append(None if value is None else tuple([v for v in value if isinstance(v, int)]))
    box = {"Gather": _gathered, "Slice": _sliced, "Split": _part}[full_type(node)](
        node, shape, values, output, opset
    )
    if box is None:
        return None
    return _Pick(flow.owner(key[0], node.input[0]), box, (key[0], node.output[output]))


def _gathered(
    node: onnx.NodeProto, shape: Shape, values: Values, output: int, opset: int
) -> Box | None:
    axis = attribute(node, "axis", 0) % len(shape)
    if not values or values[0] is None or len(values[0]) != 1:
        return None
    index = values[0][0] if values[0][0] >= 0 else values[0][0] + shape[axis]
    return _boxed(shape, {axis: (index, index + 1)})


def _sliced(
    node: onnx.NodeProto, shape: Shape, values: Values, output: int, opset: int
) -> Box | None:
    if opset < _INPUTS_SINCE:
        starts, ends = attribute(node, "starts"), attribute(node, "ends")
        axes = attribute(node, "axes")
    elif len(values) < 2:
        return None
    else:
        starts, ends = values[0], values[1]
        axes = values[2] if len(values) > 2 else None
        if len(values) > 3 and values[3] is not None and any(step != 1 for step in values[3]):
            return None
    if starts is None or ends is None or not len(starts) == len(ends) >= len(axes or ()):
        return None
    stretches: dict[int, tuple[Dim, Dim]] = {}
    for number, axis in enumerate(axes or range(len(starts))):
        extent = shape[axis % len(shape)]
        start, end = (b + extent if b < 0 else b for b in (starts[number], ends[number]))
        stretches[axis % len(shape)] = (start, extent if end > extent else end)
    return _boxed(shape, stretches)


def _part(
    node: onnx.NodeProto, shape: Shape, values: Values, output: int, opset: int
) -> Box | None:
    axis = attribute(node, "axis", 0) % len(shape)
    sizes = values[0] if values else attribute(node, "split")
    if sizes is None:
        extent, count = shape[axis], len(node.output)
        if not isinstance(extent, int) or extent % count:
            return None
        sizes = (extent // count,) * count
    start = sum(sizes[:output])
    return _boxed(shape, {axis: (start, start + sizes[output])})


def _boxed(shape: Shape, stretches: dict[int, tuple[Dim, Dim]]) -> Box:
    return tuple([stretches.get(axis, (0, extent)) for axis, extent in enumerate(shape)])
