"""States that come with a change: their inputs and outputs beside those that are there.

An LSTM that was another cell has a cell state; a layer that is added has states of its own.
Where the states of the model come in and go out, so do these.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Union

from rnncost.variants.facts import Body, Fact, moved
from rnncost.variants.flow import VIEWS
from rnncost.variants.known import full_type
from rnncost.variants.site import Site
from rnncost.variants.target import Target

if TYPE_CHECKING:
    from rnncost.variants.walk import Walk

Twin = Callable[[str], Union[str, None]]


def twin_input(walk: Walk, site: Site, target: Target) -> str:
    """An initial cell state beside the initial hidden state.

    Where that comes from graph inputs, so does this, the same way; otherwise both are one.
    """
    name = site.inputs[5]
    if target.fed:
        made = _twin(walk, site.body, name)
        if made is not None:
            return made
    if not is_filled(site.body, name):
        walk.note(f"the initial cell state of {target.name!r} is its initial hidden state")
    return name


def is_filled(body: Body, name: str) -> bool:
    """Whether a value is one number all over, as an initial state of zeros is."""
    node = body.producer(name)
    while node is not None and node.input and full_type(node) in (*VIEWS, "Expand", "Tile"):
        name = node.input[0]
        node = body.producer(name)
    if node is not None and full_type(node) == "ConstantOfShape":
        return True
    tensor = body.tensor(name)
    if tensor is None:
        return False
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    return bool((array == array.reshape(-1)[:1]).all())


def _twin(walk: Walk, body: Body, name: str) -> str | None:
    owner = body.owner(name)
    if owner is None:
        return None
    if owner.parent is None and name in walk.inputs:
        made = walk.twins.get(("", name))
        if made is None:
            made = walk.twins[("", name)] = new_input(walk, f"{name}_c", owner.facts[name])
        return made
    return _cloned(walk, body, name, lambda source: _twin(walk, body, source))


def _cloned(walk: Walk, body: Body, name: str, twin: Twin) -> str | None:
    """The node that makes a value once more, on the twins of what it rearranges."""
    known = walk.twins.get((body.path, name))
    if known is not None:
        return known
    node = body.producer(name)
    if node is None or full_type(node) not in VIEWS:
        return None
    inputs = list(node.input)
    for index in range(len(inputs) if node.op_type == "Concat" else min(1, len(inputs))):
        made = twin(inputs[index])
        if made is None:
            return None
        inputs[index] = made
    clone = type(node)()
    clone.CopyFrom(node)
    del clone.input[:], clone.output[:]
    clone.input.extend(inputs)
    outputs = [walk.fresh(f"{output}_c") if output else "" for output in node.output]
    clone.output.extend(outputs)
    clone.name = f"{node.name}_c" if node.name else ""
    walk.add(body, clone)
    for old, new in zip(node.output, outputs, strict=True):
        walk.twins[(body.path, old)] = new
    return walk.twins[(body.path, name)]


def twin_output(walk: Walk, site: Site, target: Target) -> str:
    """The name of a cell state that leaves the model beside the hidden state, or ""."""
    hidden = site.outputs[1] if len(site.outputs) > 1 else ""
    if not hidden or not target.streams:
        return ""
    if site.body.parent is not None:
        walk.note(f"the cell state of {target.name!r} stays inside its branch or body")
        return ""
    name = walk.fresh(f"{hidden}_c")
    walk.twins[(site.body.path, hidden)] = name
    return name


def add_outputs(walk: Walk) -> None:
    """Hand out the cell states that came, each as the hidden state beside it."""
    root = walk.root
    for name in list(root.outputs):
        made = _twin_of_state(walk, name)
        if made:
            root.outputs.append(made)
            walk.note(f"the cell state goes out as {made!r}, beside {name!r}")


def _twin_of_state(walk: Walk, name: str) -> str | None:
    known = walk.twins.get(("", name))
    if known is not None and name not in walk.inputs:
        return known
    return _cloned(walk, walk.root, name, lambda source: _twin_of_state(walk, source))


def new_input(walk: Walk, like: str, fact: Fact) -> str:
    """A further input of the model, of the shape of another."""
    name = walk.fresh(like)
    walk.new_inputs.append(name)
    walk.root.facts[name] = moved(fact.new, fact.new, None, fact.origin, False)
    walk.note(f"the model has a further input {name!r}")
    return name


def feed(walk: Walk, site: Site, target: Target, number: int) -> None:
    """Initial states of an added layer: inputs of the model, as those of the layer below."""
    for index, letter in ((5, "h"), (6, "c")):
        if site.has(index):
            fact = site.body.find(site.inputs[index])
            site.inputs[index] = new_input(walk, f"{target.name}_{number + 1}_{letter}0", fact)


def hand_out(walk: Walk, site: Site, target: Target, raw: list[str], number: int) -> None:
    """Final states of an added layer: outputs of the model, as those of the layer below."""
    if site.body.parent is not None:
        walk.note(f"the states of the layers added to {target.name!r} stay inside")
        return
    for at, letter in ((1, "h"), (2, "c")) if target.cell == "lstm" else ((1, "h"),):
        if not raw[at]:
            raw[at] = walk.fresh(f"{target.name}_{number + 1}_{letter}n")
        walk.root.outputs.append(raw[at])
