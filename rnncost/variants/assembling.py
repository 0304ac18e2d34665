"""From the rewritten graphs to a model: what is no longer used goes, types are up to date."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rnncost.errors import VariantError
from rnncost.frontends.onnx.infer import Known
from rnncost.graph.dim import Dim, Expr, Shape
from rnncost.variants.facts import Body, Fact, Made
from rnncost.variants.known import NUMBER_BY_DTYPE
from rnncost.variants.stored import make

if TYPE_CHECKING:
    import onnx

    from rnncost.variants.walk import Walk


class NothingLeftError(VariantError):
    """No output of the model depends on what is kept."""


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
    was_live: set[str] = set()
    _live(before, before.outputs, was_live, frozenset())
    for position, name in enumerate(root.outputs):
        if root.find(name).gone:
            root.outputs[position] = ""
            walk.note(f"the output {name!r} is gone: nothing is left of what it returned")
    if not any(root.outputs):
        raise NothingLeftError("nothing is left of the model's outputs")
    live: set[str] = set()
    _live(root, root.outputs, live, frozenset(walk.names - was_live))
    dead = was_live - live
    for key, names in walk.outputs_of.items():
        # Nothing may silently cut off a layer that is to be there.
        if not live.intersection(names) and was_live.intersection(walk.old_outputs[key]):
            raise NothingLeftError(f"nothing reads {walk.targets[key].name!r} any more")
    _note_shapes(walk)
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


def _text(shape: Shape | None) -> str:
    return f"[{', '.join(map(str, shape or ()))}]"


def _live(body: Body, outputs: Sequence[str], live: set[str], spared: frozenset[str]) -> None:
    """Collect the names that the outputs of a graph depend on, and those of spared nodes."""
    live.update(name for name in outputs if name)
    for made in reversed(body.nodes):
        names = [name for name in made.node.output if name]
        if any(name in live or name in spared for name in names):
            live.update(name for name in (*made.node.input, *names) if name)
            for inner in made.inner.values():
                _live(inner, inner.outputs, live, spared)


def _graph(walk: Walk, body: Body, new: onnx.GraphProto, live: set[str], dead: set[str]) -> None:
    old = body.graph
    new.name, new.doc_string = old.name, old.doc_string
    for info in old.input:
        # A loop body keeps its inputs: they stand for those of the node.
        if body.parent is not None or info.name not in dead:
            _typed(new.input.add(), info, body.facts.get(info.name))
    for name in walk.new_inputs if body.parent is None else ():
        _declared(new.input.add(), name, body.facts[name])
    for tensor in old.initializer:
        if tensor.name not in dead:
            new.initializer.append(tensor)
    new.sparse_initializer.extend(old.sparse_initializer)
    for made in body.nodes:
        if any(name in live for name in made.node.output if name):
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


def _node(walk: Walk, made: Made, new: onnx.GraphProto, live: set[str], dead: set[str]) -> None:
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
            continue
        attribute.name, attribute.type = old.name, old.type
        _graph(walk, inner, attribute.g, live, dead)


def _add_new(walk: Walk, graph: onnx.GraphProto, live: set[str], seed: int) -> None:
    import numpy as np

    generator = np.random.default_rng(seed)
    for name, recipe in walk.recipes.items():
        if name in live:
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
