"""If, Loop and Scan: the graphs inside them are rewritten with what they see from around."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rnncost.errors import VariantError
from rnncost.frontends.onnx.infer import Known
from rnncost.graph.dim import Dim, Expr, Shape, symbol
from rnncost.variants.dropped import drop
from rnncost.variants.facts import Body, Fact, moved, unchanged
from rnncost.variants.known import UNKNOWN, attribute, full_type, label, subgraphs
from rnncost.variants.parts import Axis, Layout, changed, fits
from rnncost.variants.target import Key

if TYPE_CHECKING:
    import onnx

    from rnncost.variants.walk import Walk

_SAMPLE = 10007  # of an extent that differs between branches; a prime above usual extents


def follow(walk: Walk, body: Body, node: onnx.NodeProto, key: Key) -> None:
    """Rewrite a node that holds graphs.

    Raises:
        VariantError: a change inside or around it cannot be followed.
    """
    if node.op_type == "If" and node.domain in ("", "ai.onnx"):
        _follow_if(walk, body, node, key)
    else:
        _follow_loop(walk, body, node, key)


def inner_path(key: Key, name: str) -> str:
    """The path of a graph inside a node."""
    return f"{key[0]}/{key[1]}.{name}"


def _follow_if(walk: Walk, body: Body, node: onnx.NodeProto, key: Key) -> None:
    condition = body.find(node.input[0])
    taken = _taken(condition.old)
    branches: dict[str, Body] = {}
    for name, graph in subgraphs(node):
        inner = Body(graph, body, inner_path(key, name))
        branches[name] = inner
        try:
            walk.graph(inner)
        except VariantError:
            if taken in (None, name):
                raise
            if walk.has_targets(inner.path):
                walk.note(f"the {name} of If {label(node)!r} never runs here and stays as it is")
            walk.forget(inner.path)
            del branches[name]
    wanted = walk.wanted(body, node.output)
    gone: list[int] = []
    facts: list[Fact] = []
    for position in range(len(node.output)):
        if position in wanted:
            _conform_branches(walk, node, branches, position, wanted[position], taken)
        found = {name: b.find(b.outputs[position]) for name, b in branches.items()}
        fact = found[taken] if taken in found else _joined(walk, node, branches, position)
        facts.append(fact)
        if fact.gone:
            gone.append(position)
    for inner in branches.values():
        for position in gone:
            inner.outputs[position] = ""
    names = [name for at, name in enumerate(node.output) if at not in gone]
    if len(branches) < len(list(subgraphs(node))) and gone:
        raise VariantError(f"If {label(node)!r} has a branch that cannot be followed")
    if names:
        walk.add_quietly(body, _without_outputs(node, gone, 0), branches)
    for name, fact in zip(node.output, facts, strict=True):
        if name and fact.gone:
            drop(body, name, fact.old, fact.origin)
        elif name:
            body.facts[name] = fact


def _taken(condition: Known) -> str | None:
    """The branch that runs, where nothing but the model itself decides it."""
    if condition.value is None or len(condition.value) != 1:
        return None
    value = condition.value[0]
    if isinstance(value, Expr):
        return None
    return "then_branch" if value else "else_branch"


def _conform_branches(
    walk: Walk,
    node: onnx.NodeProto,
    branches: Mapping[str, Body],
    position: int,
    layout: Layout,
    taken: str | None = None,
) -> None:
    """Let the branches that may run give an output of another extent."""
    for name, inner in branches.items():
        shape = inner.find(inner.outputs[position]).old.shape
        # A branch that never runs may give a tensor of another rank.
        if taken in (None, name) or (shape is not None and len(shape) == len(layout)):
            _conform(walk, inner, position, layout, f"If {label(node)!r}")


def _conform(walk: Walk, inner: Body, position: int, layout: Layout, why: str) -> None:
    """Let an output of an inner graph have the extents of a layout."""
    name = inner.outputs[position]
    fact = inner.find(name)
    shape = fact.old.shape
    if shape is None or len(shape) != len(layout):
        raise VariantError(f"the width of {name!r} cannot be followed through {why}")
    if fits(fact.layout, layout, shape):
        return
    if fact.constant:
        made = walk.resized(inner, name, layout)
        if made is None:
            raise VariantError(f"the width of {name!r} cannot be followed through {why}")
        output = walk.fresh(name)
        from onnx import helper

        # A branch may not return a tensor that is stored outside it.
        walk.add_quietly(inner, helper.make_node("Identity", [made], [output], name=output))
        inner.facts[output] = inner.find(made)
        inner.outputs[position] = output
        return
    walk.demand(inner, name, layout, why)


def _joined(walk: Walk, node: onnx.NodeProto, branches: Mapping[str, Body], position: int) -> Fact:
    """What is known of an output that either branch may give."""
    found = [inner.find(inner.outputs[position]) for inner in branches.values()]
    gone = [fact for fact in found if fact.gone]
    if gone and len(gone) < len(found):
        raise VariantError(
            f"only one branch of If {label(node)!r} has something left of {node.output[position]!r}"
        )
    if gone:
        return gone[0]
    layouts = [fact.layout for fact in found if changed(fact.layout)]
    if layouts and layouts[0] is not None:
        _conform_branches(walk, node, branches, position, layouts[0])
        found = [inner.find(inner.outputs[position]) for inner in branches.values()]
    ranks = {None if fact.old.shape is None else len(fact.old.shape) for fact in found}
    if len(ranks) > 1 or None in ranks:
        if layouts:
            raise VariantError(
                f"the width cannot be followed through If {label(node)!r}: its branches give "
                "tensors of different ranks"
            )
        return unchanged(Known(dtype=found[0].old.dtype, shape=None))
    place = f"{label(node)}.{position}"
    old = _either([fact.old.shape or () for fact in found], place)
    new = _either([fact.new.shape or () for fact in found], place)
    origin = next((fact.origin for fact in found if fact.origin), "")
    dtype = found[0].old.dtype
    return moved(
        Known(dtype=dtype, shape=old),
        Known(dtype=dtype, shape=new),
        layouts[0] if layouts else None,
        origin,
        False,
    )


def _either(shapes: list[Shape], place: str) -> Shape:
    """Extents in common; one that differs becomes free."""
    first = shapes[0]
    joined: list[Dim] = []
    for at, dim in enumerate(first):
        same = all(shape[at] == dim for shape in shapes)
        joined.append(dim if same else symbol(f"{place}.{at}", _SAMPLE))
    return tuple(joined)


def _follow_loop(walk: Walk, body: Body, node: onnx.NodeProto, key: Key) -> None:
    """Loop and Scan: a state has one layout on entry and on exit, or the change is refused."""
    why = f"{full_type(node)} {label(node)!r}"
    ((name, graph),) = list(subgraphs(node))
    inner = Body(graph, body, inner_path(key, name))
    plan = _entries(walk, body, node, graph)
    _pass_in(walk, body, node, inner, plan)
    inner.facts.update(plan)
    walk.graph(inner)
    states, skipped = _states(node, graph)
    lead = 2 if node.op_type == "Loop" else 0
    for number in range(states):
        entry = plan[graph.input[lead + number].name]
        position = number + skipped
        leave = inner.find(inner.outputs[position])
        if entry.gone or leave.gone:
            raise VariantError(f"a state of {why} is dropped, which cannot be followed")
        if changed(leave.layout) and not changed(entry.layout):
            _wish(walk, body, node.input[lead + number], leave.layout, why)
        elif changed(entry.layout) and entry.layout is not None:
            _conform(walk, inner, position, entry.layout, why)
    for at, layout in walk.wanted(body, node.output).items():
        inside = layout if at < states else _one_step(node, layout, at - states)
        _conform(walk, inner, at + skipped, inside, why)
    facts = [inner.find(inner.outputs[at + skipped]) for at in range(len(node.output))]
    gone = [at for at, fact in enumerate(facts) if fact.gone]
    for at in gone:
        inner.outputs[at + skipped] = ""
    walk.add_quietly(body, _without_outputs(node, gone, states), {name: inner})
    for at, (output, fact) in enumerate(zip(node.output, facts, strict=True)):
        if at in gone:
            drop(body, output, fact.old, fact.origin)
        elif output:
            body.facts[output] = fact if at < states else _stacked(node, fact, at - states)


def _without_outputs(node: onnx.NodeProto, gone: list[int], states: int) -> onnx.NodeProto:
    """A node that no longer gives some of its outputs; a Scan lists the axes of what it stacks."""
    if not gone:
        return node
    new = type(node)()
    new.CopyFrom(node)
    del new.output[:]
    new.output.extend([name for at, name in enumerate(node.output) if at not in gone])
    for listed in new.attribute:
        if listed.name in ("scan_output_axes", "scan_output_directions"):
            kept = [n for at, n in enumerate(listed.ints) if at + states not in gone]
            del listed.ints[:]
            listed.ints.extend(kept)
    return new


def _pass_in(
    walk: Walk, body: Body, node: onnx.NodeProto, inner: Body, plan: Mapping[str, Fact]
) -> None:
    """Hand wishes about the inputs of a body on to what the node reads."""
    states, _ = _states(node, inner.graph)
    scanned = states + (2 if node.op_type == "Loop" else 0)
    for at, info in enumerate(inner.graph.input):
        layout = walk.demands.get((inner.path, info.name))
        fact = plan[info.name]
        if layout is None or fact.old.shape is None or fits(fact.layout, layout, fact.old.shape):
            continue
        if at >= scanned:
            axis = _axis(node, "scan_input_axes", at - states, len(layout) + 1)
            layout = (*layout[:axis], None, *layout[axis:])
        walk.demand(body, node.input[at], layout, f"{full_type(node)} {label(node)!r}")


def _one_step(node: onnx.NodeProto, layout: Layout, number: int) -> Layout:
    """The layout of one step of what is stacked."""
    axis = _axis(node, "scan_output_axes", number, len(layout))
    if layout[axis] is not None:
        raise VariantError(f"{node.op_type} {label(node)!r} stacks along the axis that changes")
    return (*layout[:axis], *layout[axis + 1 :])


def _axis(node: onnx.NodeProto, attr: str, number: int, rank: int) -> int:
    """The axis along which a Scan takes or lays its steps; a Loop lays them along the first."""
    axes = attribute(node, attr) or ()
    axis: int = axes[number] if number < len(axes) else 0
    return axis % rank


def _wish(walk: Walk, body: Body, name: str, layout: Layout | None, why: str) -> None:
    if layout is not None:
        walk.demand(body, name, layout, why)


def _states(node: onnx.NodeProto, graph: onnx.GraphProto) -> tuple[int, int]:
    """How many states there are, and how many outputs of the body come before them."""
    if node.op_type == "Loop":
        return len(graph.input) - 2, 1
    return len(graph.input) - attribute(node, "num_scan_inputs", 0), 0


def _entries(
    walk: Walk, body: Body, node: onnx.NodeProto, graph: onnx.GraphProto
) -> dict[str, Fact]:
    """What a body knows of its inputs: states as they come, one step of what is scanned."""
    given = [body.find(name) if name else unchanged(UNKNOWN) for name in node.input]
    states, _ = _states(node, graph)
    facts: dict[str, Fact] = {}
    for at, info in enumerate(graph.input):
        if node.op_type == "Loop" and at < 2:
            facts[info.name] = unchanged(Known(dtype="int64" if at == 0 else "bool", shape=()))
        elif at < states + (2 if node.op_type == "Loop" else 0):
            facts[info.name] = _without_value(given[at])
        else:
            facts[info.name] = _step(node, given[at], at - states)
    return facts


def _without_value(fact: Fact) -> Fact:
    """A state changes from trip to trip: its elements are not known, its shape is taken to stay."""
    return Fact(
        old=Known(dtype=fact.old.dtype, shape=fact.old.shape),
        new=Known(dtype=fact.new.dtype, shape=fact.new.shape),
        layout=fact.layout,
        gone=fact.gone,
        origin=fact.origin,
    )


def _step(node: onnx.NodeProto, fact: Fact, number: int) -> Fact:
    def one(known: Known) -> Known:
        if known.shape is None:
            return Known(dtype=known.dtype, shape=None)
        at = _axis(node, "scan_input_axes", number, len(known.shape))
        return Known(dtype=known.dtype, shape=(*known.shape[:at], *known.shape[at + 1 :]))

    layout = fact.layout
    if layout is not None:
        at = _axis(node, "scan_input_axes", number, len(layout))
        if layout[at] is not None:
            raise VariantError(f"Scan {label(node)!r} goes along the axis that changes")
        layout = (*layout[:at], *layout[at + 1 :])
    return moved(one(fact.old), one(fact.new), layout, fact.origin, False)


def _stacked(node: onnx.NodeProto, fact: Fact, number: int) -> Fact:
    """One step of an output, laid along an axis as often as there are trips."""
    trips = symbol(f"{label(node)}.trips", _SAMPLE)

    def all_steps(known: Known) -> Known:
        if known.shape is None:
            return Known(dtype=known.dtype, shape=None)
        at = _axis(node, "scan_output_axes", number, len(known.shape) + 1)
        return Known(dtype=known.dtype, shape=(*known.shape[:at], trips, *known.shape[at:]))

    layout: tuple[Axis | None, ...] | None = fact.layout
    if layout is not None:
        at = _axis(node, "scan_output_axes", number, len(layout) + 1)
        layout = (*layout[:at], None, *layout[at:])
    return moved(all_steps(fact.old), all_steps(fact.new), layout, fact.origin, False)
