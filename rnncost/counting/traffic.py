"""Memory traffic: what operators read and write, and how much of it is alive at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from rnncost.counting.loops import is_captured, loop_states
from rnncost.counting.memory import activation_sizes, peak_bytes, tensor_bytes
from rnncost.counting.params import Weights, looked_up_bytes, looks_up, stored_bytes
from rnncost.counting.registry import ROLE_WEIGHT
from rnncost.counting.scope import CONSTANT, IDLE, RUN, UNCOUNTED, Node, Scope
from rnncost.graph.dim import Dim

_SELECTS = frozenset(("Gather", "GatherElements", "GatherND", "Slice"))


class Traffic(msgspec.Struct, frozen=True):
    """The bytes that all executions of one operator move, and what is alive meanwhile."""

    activation_bytes: Dim = 0
    compulsory_bytes: Dim = 0
    streamed_bytes: Dim = 0
    peak_activation_bytes: Dim = 0


def measure_traffic(
    root: Scope, nodes: Sequence[Node], weights: Sequence[Weights]
) -> list[Traffic]:
    """The traffic of every operator, in the order of ``nodes``.

    ``activation_bytes`` has each tensor once, where it is made (graph inputs where they
    are first read); a view of another tensor has none. ``compulsory_bytes`` has each
    weight, graph input and graph output once. ``streamed_bytes`` is what every execution
    reads and writes; Gather and Slice read as much as they write.
    """
    sizes = activation_sizes(root, nodes)
    peaks = peak_bytes(root, nodes, sizes)
    folded = _folded(nodes)
    unread = {t.name for t in root.graph.inputs}
    leaving = {t.name: tensor_bytes(t) for t in root.graph.outputs}
    result: list[Traffic] = []
    for node in nodes:
        compulsory = weights[node.index].read_bytes
        activation: Dim = 0
        streamed: Dim = 0
        if node.status == RUN:
            for at, tensor in enumerate(node.op.inputs if unread else ()):
                if tensor is not None and tensor.name in unread and not is_captured(node.op, at):
                    unread.discard(tensor.name)
                    activation = activation + sizes[tensor.name]
            compulsory = compulsory + activation
            read, written = _moved(node, sizes, folded)
            activation = activation + written * node.executions
            streamed = (read + written) * node.executions
        if node.status not in (IDLE, UNCOUNTED) and leaving:
            for tensor in node.op.outputs:
                if tensor is not None and tensor.name in leaving:
                    compulsory = compulsory + leaving.pop(tensor.name)
        result.append(Traffic(activation, compulsory, streamed, peaks.get(node.index, 0)))
    return result


def _folded(nodes: Sequence[Node]) -> set[str]:
    """The weights that are computed before the run from stored ones."""
    names: set[str] = set()
    for node in nodes:
        if node.status == CONSTANT:
            made = [t.name for t in node.op.outputs if t is not None and not t.stored]
            if made and (
                any(stored.role == ROLE_WEIGHT for stored in node.stored)
                or any(t is not None and t.name in names for t in node.op.inputs)
            ):
                names.update(made)
    return names


def _moved(node: Node, sizes: Mapping[str, Dim], folded: Collection[str]) -> tuple[Dim, Dim]:
    """The bytes that one execution reads, weights included, and writes.

    A loop itself writes the results that it stacks, trip by trip; its body does the rest.
    """
    op, cost = node.op, node.cost
    if not cost.moves:
        return 0, 0
    written: Dim = 0
    same = {s.final.name for s in loop_states(op) if s.final is not None} if op.body else ()
    for tensor in op.outputs:
        if tensor is not None and tensor.name in sizes and tensor.name not in same:
            written = written + sizes[tensor.name]
    if op.body is not None:
        return 0, written
    read: Dim = 0
    seen: set[str] = set()
    for slot, tensor in enumerate(op.inputs):
        if tensor is None or tensor.stored or tensor.name in seen:
            continue
        size = sizes.get(tensor.name)
        if size is not None:
            seen.add(tensor.name)
            if slot == 0 and op.op_type in _SELECTS:
                size = written
        elif tensor.name in folded:
            size = tensor_bytes(tensor) * cost.weight_reads.get(slot, 1)
        else:
            continue
        read = read + size
    for stored in node.stored:
        if looks_up(node, stored):
            size = looked_up_bytes(node, stored)
        else:
            size = stored_bytes(stored.tensor)
        read = read + size * cost.weight_reads.get(stored.slot, 1)
    return read, written
