"""Whether a model can take its input piece by piece, with its state handed over."""

from __future__ import annotations

from collections.abc import Callable, Collection

from rnncost.counting.loops import loop_states
from rnncost.counting.recurrence import Recurrence
from rnncost.counting.scope import RUN, Node, Scope
from rnncost.graph.ir import Tensor

_INITIAL_H, _INITIAL_C = 5, 6
_MASKS = ("Add", "Mul", "Where")
_CELL_WORK = ("data", "elementwise", "normalisation")


def exposes_state(root: Scope, recurrence: Recurrence) -> bool:
    """Whether every state starts from a graph input and ends in a graph output.

    The state of a recurrent operator or of a loop must get there through data movement
    alone, or masked (reset) by a sum, a product or a choice. The state of a cell unrolled
    into products is not one tensor: for it the first product must read, and the last one
    reach, the outside through elementwise work. True for a graph without recurrence.
    """
    operators = [n for n in root.walk() if n.status == RUN and n.cost.kind == "recurrent"]
    if not (operators or recurrence.cells or recurrence.loops):
        return True
    given, returned = _from_inputs(root, _keeps_state), _to_outputs(root, _keeps_state)
    chained = {node.index for cell in recurrence.cells for node in cell.nodes}
    ends = [(node, node) for node in operators if node.index not in chained]
    chains = [cell.nodes for cell in recurrence.cells]
    ends.extend((n[0], n[-1]) for n in chains if n[0].cost.kind == "recurrent")
    if not all(_starts(first, given) and _ends(last, returned) for first, last in ends):
        return False
    for loop in recurrence.loops:
        for state in loop_states(loop.node.op):
            if state.entry.name in loop.entries and not (
                _is_in(state.initial, given) and _is_in(state.final, returned)
            ):
                return False
    products = [nodes for nodes in chains if nodes[0].cost.kind == "product"]
    if products:
        given, returned = _from_inputs(root, _is_cell_work), _to_outputs(root, _is_cell_work)
    return all(
        not given.isdisjoint(nodes[0].reads) and not returned.isdisjoint(nodes[-1].writes)
        for nodes in products
    )


def _starts(node: Node, given: Collection[str]) -> bool:
    """Whether a recurrent operator's initial states are given from outside."""
    slots = (_INITIAL_H, _INITIAL_C) if _has_cell_state(node) else (_INITIAL_H,)
    return all(_is_in(node.op.tensor(slot), given) for slot in slots)


def _ends(node: Node, returned: Collection[str]) -> bool:
    """Whether a recurrent operator's final states leave the graph: h also as the last of Y."""
    outputs = node.op.outputs
    if _has_cell_state(node) and not (len(outputs) > 2 and _is_in(outputs[2], returned)):
        return False
    return any(_is_in(tensor, returned) for tensor in outputs[:2])


def _has_cell_state(node: Node) -> bool:
    return "LSTM" in node.op.op_type


def _is_in(tensor: Tensor | None, names: Collection[str]) -> bool:
    return tensor is not None and tensor.name in names


def _keeps_state(node: Node) -> bool:
    return node.cost.kind == "data" or node.op.op_type in _MASKS


def _is_cell_work(node: Node) -> bool:
    return node.cost.kind in _CELL_WORK


def _from_inputs(root: Scope, follow: Callable[[Node], bool]) -> set[str]:
    """Everything that operators to follow make from graph inputs."""
    names = {t.name for t in root.graph.inputs}
    for node in root.walk():
        if node.body is not None:
            for outside, inside in zip(node.op.inputs, node.body.graph.inputs, strict=False):
                if _is_in(outside, names):
                    names.add(inside.name)
        elif node.status == RUN and follow(node) and not names.isdisjoint(node.reads):
            names.update(node.writes)
    return names


def _to_outputs(root: Scope, follow: Callable[[Node], bool]) -> set[str]:
    """Everything from which operators to follow make graph outputs."""
    names = {t.name for t in root.graph.outputs}
    _back(root, follow, names)
    return names


def _back(scope: Scope, follow: Callable[[Node], bool], names: set[str]) -> None:
    for node in reversed(scope.nodes):
        if node.body is not None:
            names.update(s.leave for s in loop_states(node.op) if _is_in(s.final, names))
            _back(node.body, follow, names)
        elif node.status == RUN and follow(node) and not names.isdisjoint(node.writes):
            names.update(node.reads)
