"""The recurrent layers of a model, and which of them feed each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rnncost.graph.dim import hint, product
from rnncost.graph.source import Request
from rnncost.variants.flow import End, Flow
from rnncost.variants.known import attribute, full_type, label
from rnncost.variants.load import inlined
from rnncost.variants.model import Layer, Structure
from rnncost.variants.survey import surveys
from rnncost.variants.target import CELLS, QUANTISED, Key
from rnncost.variants.written_out import recurrences

if TYPE_CHECKING:
    import onnx

_JOINS = frozenset("Add Concat Max Mean Mul Sum".split())
_REDUCTIONS = frozenset("ReduceMax ReduceMean ReduceSum".split())


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A layer and its nodes: one, or the forward and the backward one of a pair.

    ``summed`` says that the directions are added up or the like instead of laid side by side,
    ``backward`` that a layer of one direction runs from the end to the start.
    """

    keys: tuple[Key, ...]
    layer: Layer
    summed: bool = False
    backward: bool = False

    @property
    def scope(self) -> str:
        """The path of the graph that it stands in."""
        return self.keys[0][0]


def applicable(model: onnx.ModelProto) -> Structure:
    """The recurrent layers of a model, with what a change could apply to.

    Raises:
        BindingError: an input has no rank, so that nothing can be followed.
        VariantError: the model is not in order.
    """
    model = inlined(model)
    flow = surveys(model, Request())[0].flow
    layers = find_layers(flow)
    stacks = [tuple(found.layer.name for found in stack) for stack in find_stacks(flow, layers)]
    return Structure(
        layers=tuple(found.layer for found in layers),
        stacks=tuple(stacks),
        others=recurrences(model),
    )


def find_layers(flow: Flow) -> list[Found]:
    """The recurrent layers in order; two nodes that read one sequence both ways are one layer."""
    single = {key: _layer(flow, key) for key in flow.recurrent()}
    paired: dict[Key, Key] = {}
    for key in single:
        for other in single:
            if key not in paired and other not in paired.values() and _is_pair(flow, key, other):
                paired[key] = other
    backward = set(paired.values())
    layers = []
    for key, layer in single.items():
        if key in paired:
            names = (layer.name, single[paired[key]].name)
            both = msgspec.structs.replace(layer, nodes=names, direction="bi")
            joins = _joins(flow, key, paired[key])
            summed = all(full_type(flow.nodes[join]) != "Concat" for join in joins)
            layers.append(Found(keys=(key, paired[key]), layer=both, summed=summed))
        elif key not in backward:
            alone = layer.direction == "uni" and _is_backward(flow, key)
            summed = layer.direction == "bi" and _adds_directions(flow, key, layer.hidden_size)
            layers.append(Found(keys=(key,), layer=layer, summed=summed, backward=alone))
    return layers


def _layer(flow: Flow, key: Key) -> Layer:
    node = flow.nodes[key]
    body = flow.bodies[key[0]]
    quantised = full_type(node) == QUANTISED
    r = body.find(node.input[2]).old.shape
    w = body.find(node.input[1]).old.shape
    last, first = (1, 1) if quantised else (2, 2)
    name = label(node)
    both = attribute(node, "direction", "forward") == "bidirectional"
    return Layer(
        name=name,
        nodes=(name,),
        cell=CELLS[full_type(node)],
        direction="bi" if both else "uni",
        input_size=0 if w is None else hint(w[first]),
        hidden_size=attribute(node, "hidden_size") or (0 if r is None else hint(r[last])),
        quantised=quantised,
    )


def _is_pair(flow: Flow, ahead: Key, back: Key) -> bool:
    """Whether two nodes are the forward and the backward half of one layer."""
    first, second = flow.nodes[ahead], flow.nodes[back]
    if ahead == back or ahead[0] != back[0] or full_type(first) != full_type(second):
        return False
    sizes = [attribute(node, "hidden_size") for node in (first, second)]
    if sizes[0] != sizes[1] or _is_backward(flow, ahead) or not _is_backward(flow, back):
        return False
    origins = [flow.sequence(key[0], flow.nodes[key].input[0]) for key in (ahead, back)]
    return origins[0] == origins[1] and bool(_joins(flow, ahead, back))


def _is_backward(flow: Flow, key: Key) -> bool:
    node = flow.nodes[key]
    turned = attribute(node, "direction", "forward") == "reverse"
    return bool(turned) != flow.is_reversed(key[0], node.input[0])


def _joins(flow: Flow, *keys: Key) -> set[Key]:
    """The nodes that join the outputs of all of these nodes."""
    found: list[set[Key]] = []
    for key in keys:
        names = [name for name in flow.nodes[key].output[:2] if name]
        read = set().union(*(flow.readers((key[0], name)) for name in names))
        found.append({other for other in read if full_type(flow.nodes[other]) in _JOINS})
    return set.intersection(*found)


def _adds_directions(flow: Flow, key: Key, hidden: int) -> bool:
    """Whether all that reads the output of a node with two directions first adds these up."""
    ends: set[End] = set()
    for name in flow.nodes[key].output[:2]:
        ends = ends or flow.ends((key[0], name))
    adders: dict[Key | None, set[int]] = {}
    for end in ends:
        adders.setdefault(end.key, set()).add(end.position)
    if any(end.kind != "compute" for end in ends):
        return False
    return bool(adders) and all(
        reader is not None and _adds(flow, reader, positions, hidden)
        for reader, positions in adders.items()
    )


def _adds(flow: Flow, key: Key, positions: set[int], hidden: int) -> bool:
    """Whether a node makes one direction of what is read at these positions."""
    node, body = flow.nodes[key], flow.bodies[key[0]]
    before, after = [body.find(name).old.shape for name in (node.input[0], node.output[0])]
    if before is None or after is None or hidden not in after or 2 * hidden in after:
        return False
    if full_type(node) in _REDUCTIONS:
        return product(before) == 2 * product(after)
    return full_type(node) in _JOINS and len(positions) > 1


def find_stacks(flow: Flow, layers: list[Found]) -> list[list[Found]]:
    """Runs of layers of which each feeds the next and nothing else."""
    feeds: dict[int, int] = {}
    for index, found in enumerate(layers):
        ends = [end for key in found.keys for end in flow.ends((key[0], flow.nodes[key].output[0]))]
        read = {end.key for end in ends}
        for above, other in enumerate(layers):
            if read == set(other.keys) and all(end.kind == "input" for end in ends):
                feeds[index] = above
    starts = [index for index in range(len(layers)) if index not in feeds.values()]
    stacks = []
    for start in starts:
        run = [start]
        while run[-1] in feeds:
            run.append(feeds[run[-1]])
        stacks.append([layers[index] for index in run])
    return stacks
