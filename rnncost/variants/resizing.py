"""Constants in another size, and shape tensors with other elements, made beside the old ones.

What else reads the old ones is not touched.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from rnncost.errors import VariantError
from rnncost.frontends.onnx.infer import Known
from rnncost.graph.dim import Dim
from rnncost.variants.facts import Body, Fact, moved, unchanged
from rnncost.variants.known import attribute, full_type, inferred
from rnncost.variants.parts import Axis, Layout, changed, new_shape
from rnncost.variants.stored import Cut, Drawn, drawn

if TYPE_CHECKING:
    import onnx

    from rnncost.variants.walk import Walk

_FLOATS = ("float16", "float32", "float64", "bfloat16")
_RENAMES = frozenset(("Identity", "Cast"))
_AS_THEY_ARE = frozenset(("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape"))
"""Operators that keep the order of the elements of a tensor of one axis."""


def resized(walk: Walk, body: Body, name: str, layout: Layout) -> str | None:
    """A constant in the extents of a layout; None where it cannot be made.

    A stored tensor is cut or repeated. Of a computed one, types and quantisation are kept;
    where it is put together from others, random weights stand for the result.
    """
    fact = body.find(name)
    if fact.old.shape is None:
        return None
    shape = new_shape(layout, fact.old.shape)
    if not all(isinstance(dim, int) for dim in shape):
        return None
    extents = [dim for dim in shape if isinstance(dim, int)]
    new = Known(dtype=fact.new.dtype, shape=tuple(extents))
    made = moved(fact.old, new, layout, "", True)
    tensor = body.tensor(name)
    if tensor is not None:
        return walk.shared(("cut", _signature(body, name), layout), name, Cut(tensor, layout), made)
    node = body.producer(name)
    if node is not None:
        inputs = _resized_inputs(walk, body, node, layout)
        if inputs is not None:
            return _clone(walk, body, node, inputs, made)
    if not fact.new.dtype.startswith(_FLOATS):
        return None
    key = ("drawn", _signature(body, name), tuple(extents))
    return walk.shared(key, name, drawn(fact.new.dtype, extents), made)


def drawn_for(
    walk: Walk, body: Body, name: str, shape: tuple[int, ...], bound: float, layer: int = 0
) -> str:
    """Random weights in the place of a constant; the same where the same constant is replaced.

    ``layer`` is 1 for the first layer that is added on top of the one with the constant, and
    so on: nodes that share weights, as branches of an If do, share those that are added.

    Raises:
        VariantError: the constant is of whole numbers.
    """
    fact = body.find(name)
    if not fact.new.dtype.startswith(_FLOATS):
        raise VariantError(f"the weights {name!r} are no floating-point numbers")
    known = Known(dtype=fact.new.dtype, shape=shape)
    key = ("drawn", _signature(body, name), shape, layer)
    recipe = Drawn(fact.new.dtype, shape, bound)
    return walk.shared(key, name, recipe, unchanged(known, constant=True))


def _signature(body: Body, name: str) -> Hashable:
    """What a constant is made of: equal for equal ones, in different branches too."""
    owner = body.owner(name)
    if owner is None:
        return ("", "")
    known = owner.facts[name].old
    if known.value is not None and known.dtype.startswith("int"):
        # Bounds and indices, which are written down once a use.
        return (known.dtype, known.shape, known.value)
    if body.tensor(name) is not None:
        return (owner.path, name)
    node = body.producer(name)
    if node is None:
        return (owner.path, name)
    attributes = tuple([a.SerializeToString() for a in node.attribute])
    inputs = tuple([_signature(owner, source) if source else "" for source in node.input])
    return (full_type(node), attributes, list(node.output).index(name), inputs)


def _resized_inputs(
    walk: Walk, body: Body, node: onnx.NodeProto, layout: Layout
) -> list[str] | None:
    """The inputs of a node that gives another extent; None for one that is not looked through."""
    op = full_type(node)
    inputs = list(node.input)
    wanted: list[Layout]
    if op in _RENAMES:
        wanted = [layout]
    elif op == "DequantizeLinear":
        wanted = [layout]
        axis = attribute(node, "axis", 1)
        for scale in inputs[1:]:
            shape = body.find(scale).old.shape
            if shape and shape != (1,):
                wanted.append((layout[axis],))
    elif op == "Transpose":
        perm = attribute(node, "perm") or tuple(reversed(range(len(layout))))
        back: list[Axis | None] = [None] * len(layout)
        for to, source in enumerate(perm):
            back[source] = layout[to]
        wanted = [tuple(back)]
    else:
        return None
    for index, axes in enumerate(wanted):
        if changed(axes):
            made = resized(walk, body, inputs[index], axes)
            if made is None:
                return None
            inputs[index] = made
    return inputs


def _clone(walk: Walk, body: Body, node: onnx.NodeProto, inputs: Sequence[str], fact: Fact) -> str:
    name = walk.fresh(node.output[0])
    walk.add_quietly(body, _copy(node, inputs, name))
    body.facts[name] = fact
    return name


def edited(walk: Walk, body: Body, name: str, elements: Sequence[Dim | None]) -> str | None:
    """A shape tensor with some elements changed (None: as it is); None where it is computed.

    Elements that come from the shapes of other tensors follow by themselves: the parts that
    are constant are replaced beside them. Only where that cannot be is all written out.
    """
    fact = body.find(name)
    known = fact.new.value
    if all(e is None for e in elements) or known == tuple(elements):
        return name
    if not fact.constant:
        made = _edited_chain(walk, body, name, elements)
        if made is not None:
            return made
    if known is None or len(known) != len(elements):
        return None
    full = [k if e is None else e for e, k in zip(elements, known, strict=True)]
    whole = [e for e in full if isinstance(e, int)]
    if len(whole) < len(full):
        return None
    if not fact.constant:
        walk.note(f"the shape {name!r} holds for these dimensions alone")
    return walk.literal(name, whole, fact.new.dtype, scalar=fact.new.shape == ())


def _edited_chain(walk: Walk, body: Body, name: str, elements: Sequence[Dim | None]) -> str | None:
    node, fact = body.producer(name), body.find(name)
    inputs = None if node is None else _edited_inputs(walk, body, node, elements)
    if node is None or inputs is None:
        return None
    output = walk.fresh(name)
    clone = _copy(node, inputs, output)
    (new,) = inferred(clone, [body.find(i).new if i else None for i in inputs], walk.opsets)
    walk.add_quietly(body, clone)
    body.facts[output] = moved(fact.old, new, None, fact.origin, False)
    return output


def _edited_inputs(
    walk: Walk, body: Body, node: onnx.NodeProto, elements: Sequence[Dim | None]
) -> list[str] | None:
    inputs = list(node.input)
    op = full_type(node)
    if op in _AS_THEY_ARE:
        made = edited(walk, body, inputs[0], elements)
        return None if made is None else [made, *inputs[1:]]
    if op != "Concat":
        return None
    at = 0
    for index, source in enumerate(inputs):
        shape = body.find(source).new.shape
        if shape is None or len(shape) != 1 or not isinstance(shape[0], int):
            return None
        made = edited(walk, body, source, elements[at : at + shape[0]])
        if made is None:
            return None
        inputs[index] = made
        at += shape[0]
    return inputs


def _copy(node: onnx.NodeProto, inputs: Sequence[str], output: str) -> onnx.NodeProto:
    copy = type(node)()
    copy.CopyFrom(node)
    del copy.input[:], copy.output[:]
    copy.input.extend(inputs)
    copy.output.append(output)
    copy.name = output
    return copy
