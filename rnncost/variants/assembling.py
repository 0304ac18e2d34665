"""From the rewritten graphs to a model: what is no longer used goes, types are up to date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rnncost.errors import VariantError
from rnncost.frontends.onnx.infer import Known
from rnncost.graph.dim import Dim, Expr, Shape
from rnncost.variants.facts import Body, Fact, Made
from rnncost.variants.flow import Name
from rnncost.variants.known import NUMBER_BY_DTYPE, subgraphs
from rnncost.variants.stored import Cut, make
from rnncost.variants.target import Key

if TYPE_CHECKING:
    import onnx

    from rnncost.variants.walk import Walk


class NothingLeftError(VariantError):
    """No output of the model depends on what is kept.

    ``lost`` are the nodes that picked only what is dropped out of a value.
    """

    def __init__(self, message: str, lost: Iterable[Key]) -> None:
        super().__init__(message)
        self.lost = frozenset(lost)


_WHOLE_NUMBERS = (NUMBER_BY_DTYPE["int64"], NUMBER_BY_DTYPE["int32"], NUMBER_BY_DTYPE["bool"])
_INITIALIZERS_APART = 4
"""From this IR version on, an initializer is no graph input."""


def assemble(walk: Walk, before: Body, seed: int) -> onnx.ModelProto:
    """The model of a walk; ``before`` is the walk through the model as it was.

    Nodes and stored tensors that nothing reads are left out, unless nothing read them
    before either. Stored tensors that stay are copied once.

    Raises:
        VariantError: nothing is left of the model's outputs.
    """
    model, root = walk.model, walk.root
    was_live: set[Name] = set()
    _live(before, was_live, frozenset())
    for position, name in enumerate(root.outputs):
        if root.find(name).gone:
            root.outputs[position] = ""
            walk.note(f"the output {name!r} is gone: nothing is left of what it returned")
    if not any(root.outputs):
        raise NothingLeftError("nothing is left of the model's outputs", walk.lost)
    live: set[Name] = set()
    _live(root, live, frozenset(set(_made(before)) - was_live))
    dead = was_live - live
    for key, names in walk.outputs_of.items():
        # Nothing may silently cut off a layer that is to be there.
        was_read = any((key[0], name) in was_live for name in walk.old_outputs[key])
        if was_read and not any((key[0], name) in live for name in names):
            raise NothingLeftError(f"nothing reads {walk.targets[key].name!r} any more", walk.lost)
    _note_inputs(walk, dead)
    _note_shapes(walk)
    _note_shared(walk, live)
    new = type(model)()
    for field in ("ir_version", "producer_name", "producer_version", "domain", "doc_string"):
        setattr(new, field, getattr(model, field))
    new.ir_version = max(new.ir_version, _INITIALIZERS_APART)
    new.model_version = model.model_version
    new.opset_import.extend(model.opset_import)
    new.metadata_props.extend(model.metadata_props)
    _graph(walk, root, new.graph, live, dead)
    _add_new(walk, new.graph, live, seed)
    return new


def _note_shapes(walk: Walk) -> None:
    """Say which inputs and outputs of the model have another shape."""
    for what, names in (("input", walk.inputs), ("output", walk.root.outputs)):
        for name in names:
            fact = walk.root.facts.get(name)
            if fact is not None and fact.layout is not None and not fact.gone:
                before, after = (_text(known.shape) for known in (fact.old, fact.new))
                if before != after:
                    walk.note(f"the {what} {name!r} is {after} instead of {before}")


def _note_inputs(walk: Walk, dead: set[Name]) -> None:
    """Say which inputs of the model are no longer there."""
    for name in walk.inputs:
        if ("", name) in dead:
            walk.note(f"the input {name!r} is gone: nothing reads it any more")


def _note_shared(walk: Walk, live: set[Name]) -> None:
    """Say which weights are stored in two sizes, since not all that read them changed."""
    stored = {name for _, name in live}
    for name, recipe in walk.recipes.items():
        if not isinstance(recipe, Cut) or ("", name) not in live:
            continue
        old = recipe.tensor.name
        if old in stored and recipe.tensor.data_type not in _WHOLE_NUMBERS:
            walk.note(f"the weights {old!r} are stored in two sizes: not all that read them change")


def _text(shape: Shape | None) -> str:
    return f"[{', '.join(map(str, shape or ()))}]"


def _live(body: Body, live: set[Name], spared: frozenset[Name]) -> None:
    """Collect the values that the outputs of a graph depend on, and those of spared nodes."""
    _read(body, body.outputs, live)
    for made in reversed(body.nodes):
        names = [(body.path, name) for name in made.node.output if name]
        if any(name in live or name in spared for name in names):
            live.update(names)
            _read(body, made.node.input, live)
            for attribute, graph in subgraphs(made.node):
                if attribute in made.inner:
                    _live(made.inner[attribute], live, spared)
                else:
                    _read(body, _read_within(graph), live)


def _read(body: Body, names: Iterable[str], live: set[Name]) -> None:
    for name in names:
        owner = body.owner(name) if name else None
        if owner is not None:
            live.add((owner.path, name))


def _read_within(graph: onnx.GraphProto) -> Iterator[str]:
    """What a branch that stays as it is may read from around it."""
    for node in graph.node:
        yield from node.input
        for _, inner in subgraphs(node):
            yield from _read_within(inner)
    yield from (info.name for info in graph.output)


def _made(body: Body) -> Iterator[Name]:
    """The values that the nodes of a graph make, and those of the graphs inside it."""
    for made in body.nodes:
        yield from ((body.path, name) for name in made.node.output if name)
        for inner in made.inner.values():
            yield from _made(inner)


def _graph(walk: Walk, body: Body, new: onnx.GraphProto, live: set[Name], dead: set[Name]) -> None:
    old = body.graph
    new.name, new.doc_string = old.name, old.doc_string
    for info in old.input:
        # A loop body keeps its inputs: they stand for those of the node.
        if body.parent is not None or ("", info.name) not in dead:
            _typed(new.input.add(), info, body.facts.get(info.name))
    for name in walk.new_inputs if body.parent is None else ():
        _declared(new.input.add(), name, body.facts[name])
    for tensor in old.initializer:
        if (body.path, tensor.name) not in dead:
            new.initializer.append(tensor)
    new.sparse_initializer.extend(old.sparse_initializer)
    for made in body.nodes:
        if any((body.path, name) in live for name in made.node.output if name):
            _node(walk, made, new, live, dead)
    for info, name in zip(old.output, body.outputs, strict=False):
        if name:
            _typed(new.output.add(), info, body.facts.get(name), name)
    for name in body.outputs[len(old.output) :]:
        _declared(new.output.add(), name, body.facts[name])
    defined = {name for node in new.node for name in node.output}
    for info in old.value_info:
        fact = body.facts.get(info.name)
        if info.name in defined and fact is not None and not fact.moved:
            new.value_info.append(info)
    new.metadata_props.extend(old.metadata_props)


def _node(walk: Walk, made: Made, new: onnx.GraphProto, live: set[Name], dead: set[Name]) -> None:
    node = new.node.add()
    if not made.inner:
        node.CopyFrom(made.node)
        return
    node.op_type, node.domain, node.name = made.node.op_type, made.node.domain, made.node.name
    node.doc_string = made.node.doc_string
    node.input.extend(made.node.input)
    node.output.extend(made.node.output)
    for old in made.node.attribute:
        attribute = node.attribute.add()
        inner = made.inner.get(old.name)
        if inner is None:
            attribute.CopyFrom(old)
            if attribute.HasField("g"):
                _forget_shapes(attribute.g)
            continue
        attribute.name, attribute.type = old.name, old.type
        _graph(walk, inner, attribute.g, live, dead)


def _forget_shapes(graph: onnx.GraphProto) -> None:
    """Drop the declared shapes of a branch that stays as it is: what it reads may have changed."""
    del graph.value_info[:]
    for info in graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for _, inner in subgraphs(node):
            _forget_shapes(inner)


def _add_new(walk: Walk, graph: onnx.GraphProto, live: set[Name], seed: int) -> None:
    import numpy as np

    generator = np.random.default_rng(seed)
    for name, recipe in walk.recipes.items():
        if ("", name) in live:
            graph.initializer.append(make(recipe, name, generator))


def _typed(
    new: onnx.ValueInfoProto, old: onnx.ValueInfoProto, fact: Fact | None, name: str = ""
) -> None:
    """A declared type, with the extents that changed brought up to date."""
    new.CopyFrom(old)
    new.name = name or old.name
    if fact is None or not fact.moved or not new.type.HasField("tensor_type"):
        return
    tensor = new.type.tensor_type
    if not tensor.HasField("shape") or fact.layout is None:
        return
    dims = tensor.shape.dim
    if fact.new.shape is None or len(dims) != len(fact.new.shape):
        for dim in dims:
            dim.Clear()
        return
    for dim, axis, extent in zip(dims, fact.layout, fact.new.shape, strict=True):
        if axis is not None and (dim.HasField("dim_value") or isinstance(extent, int)):
            _set(dim, extent)
        elif axis is not None:
            dim.Clear()


def _set(dim: onnx.TensorShapeProto.Dimension, extent: Dim) -> None:
    dim.Clear()
    if isinstance(extent, int):
        dim.dim_value = extent


def _declared(new: onnx.ValueInfoProto, name: str, fact: Fact) -> None:
    """The declaration of an input or output that the model did not have.

    Raises:
        VariantError: its type is not known.
    """
    from onnx import helper

    known: Known = fact.new
    if known.shape is None or known.dtype not in NUMBER_BY_DTYPE:
        raise VariantError(f"the type of the new state {name!r} is not known")
    shape = [str(dim) if isinstance(dim, Expr) else dim for dim in known.shape]
    new.CopyFrom(helper.make_tensor_value_info(name, NUMBER_BY_DTYPE[known.dtype], shape))
