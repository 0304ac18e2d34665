"""Recurrence: which products wait for the step before, and how long the chains are.

Three things make steps: a recurrent operator (one a time step), a weight that a chain of
dependence multiplies by again (an unrolled cell, one a use) and a loop whose next trip
waits for arithmetic of this one (one a trip). A loop that only counts trips or collects
results does not make its trips wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rnncost.counting.cells import Cell, find_cells, own_steps
from rnncost.counting.cost import OpCost
from rnncost.counting.loops import loop_states
from rnncost.counting.memory import tensor_bytes
from rnncost.counting.scope import RUN, Node, Scope
from rnncost.counting.wavefront import wavefront_steps
from rnncost.graph.dim import Dim, product
from rnncost.graph.ir import Op
from rnncost.graph.paths import Preds, Region, cycles, gathered, larger, longest_chain, predecessors
from rnncost.units import FLOAT_DTYPES

_NO_ARITHMETIC = ("data", "constant", "control")


class Steps(msgspec.Struct, frozen=True):
    """The sequential work of one run of a graph or a loop.

    ``sequential`` is the longest chain of dependent steps; ``executed`` the same with the
    directions of a layer in turn; ``wavefront`` the steps when a layer starts as soon as
    the one below has its first output.
    """

    sequential: Dim = 0
    executed: Dim = 0
    wavefront: Dim = 0


class Recurrent(msgspec.Struct, frozen=True, kw_only=True):
    """An operator after recurrence is known.

    ``cost`` is that of one execution. ``steps`` and ``executed`` are its own, ``turns``
    how often enclosing loops run it one after another. ``cell`` numbers the weights that
    a chain uses again. ``local`` is the operator's number in ``preds``, its scope.
    """

    cost: OpCost
    steps: Dim
    executed: Dim
    turns: Dim
    cell: int | None
    local: int
    preds: Preds


class UnrolledCell(msgspec.Struct, frozen=True):
    """The operators that use one weight of an unrolled cell, and their longest chain."""

    nodes: tuple[Node, ...]
    steps: Dim


class StatefulLoop(msgspec.Struct, frozen=True):
    """A loop whose trips wait, and the names on entry of the values that they wait for."""

    node: Node
    entries: frozenset[str]


class Recurrence(msgspec.Struct, frozen=True):
    """All operators by index that recurrence concerns, and the steps of the whole graph."""

    nodes: Mapping[int, Recurrent]
    steps: Steps
    cells: tuple[UnrolledCell, ...]
    loops: tuple[StatefulLoop, ...]

    def row_steps(self, indices: Sequence[int]) -> Dim:
        """The longest chain of steps through operators of one scope that share a row."""
        members = [self.nodes[index] for index in indices]
        first = members[0]
        if len(members) == 1:
            return first.steps * first.turns
        if first.cell is not None:
            cell = self.cells[first.cell]
            if len(cell.nodes) == len(members):
                return cell.steps * first.turns
        weights = {member.local: member.steps for member in members}
        return longest_chain(first.preds, weights) * first.turns


def find_recurrence(root: Scope) -> Recurrence:
    """Find every recurrence of a graph and of its loop bodies."""
    analysis = _Analysis()
    steps = analysis.graph(root)
    return Recurrence(analysis.nodes, steps, tuple(analysis.cells), tuple(analysis.loops))


class _Waits(msgspec.Struct, frozen=True):
    """What enclosing loops do to an operator: whether it waits, and for how many turns."""

    waits: bool = False
    turns: Dim = 1


class _Paths(msgspec.Struct, frozen=True):
    """The steps that operators of one scope add to a chain, by their place in it."""

    sequential: dict[int, Dim]
    executed: dict[int, Dim]
    regions: Mapping[int, Region]

    def add(self, local: int, steps: Dim, executed: Dim) -> None:
        if steps != 0:
            self.sequential[local] = steps
        if executed != 0:
            self.executed[local] = executed


_UNKNOWN_DIRECTION = (
    "a cell without an RNN operator: its steps are taken to follow time, so a reversed one "
    "needs more lookahead than is counted"
)
_FREE = _Waits()
_NO_NAMES: frozenset[str] = frozenset()
_NO_CELL: tuple[int | None, Cell | None] = (None, None)


class _Analysis:
    """One walk over a graph that collects the recurrence of every scope."""

    def __init__(self) -> None:
        self.nodes: dict[int, Recurrent] = {}
        self.cells: list[UnrolledCell] = []
        self.loops: list[StatefulLoop] = []

    def graph(self, root: Scope) -> Steps:
        preds = _preds(root)
        paths = self.scope(root, preds, [_FREE] * len(root.nodes), _NO_NAMES)
        if not (paths.sequential or paths.regions):
            return Steps()
        return Steps(
            sequential=longest_chain(preds, paths.sequential, paths.regions),
            executed=longest_chain(preds, paths.executed, paths.regions),
            wavefront=wavefront_steps(root, paths.sequential, paths.regions),
        )

    def scope(
        self, scope: Scope, preds: Preds, waits: Sequence[_Waits], fed: frozenset[str]
    ) -> _Paths:
        """Settle every operator; ``fed`` names what the trip before had a part in."""
        unrolled = find_cells(scope.nodes, preds)
        paths = _Paths({}, {}, unrolled.regions)
        cells: dict[int, tuple[int | None, Cell | None]] = {}
        for found in unrolled.cells:
            cells.update((use, (len(self.cells), found)) for use in found.uses)
            users = tuple([scope.nodes[use] for use in found.uses])
            self.cells.append(UnrolledCell(users, found.steps))
        for local, node in enumerate(scope.nodes):
            if node.status != RUN:
                continue
            number, cell = cells.get(local, _NO_CELL)
            wait = waits[local]
            cost = node.cost
            steps: Dim = 0
            executed: Dim = 0
            if node.body is not None:
                steps, executed, cost = self.loop(node, node.body, wait, fed)
                steps = steps * node.op.executions
                paths.add(local, steps, executed * node.op.executions)
            elif cost.kind == "recurrent":
                steps, executed = own_steps(node), cost.executed_steps
                if (cell and cell.fed_back) or (wait.waits and _reads_itself(node, fed)):
                    cost = _all_sequential(cost)
                paths.add(local, steps, executed * node.op.executions)
            elif cost.kind == "product" and (cell or wait.waits) and cost.macs != 0:
                steps, executed = own_steps(node), 1
                cost = _recurrent_product(
                    node,
                    steps=(cell.steps if cell else 1) * wait.turns,
                    state_bytes=cell.state_bytes if cell else 0,
                )
            if number is not None or cost is not node.cost or steps != 0:
                self.nodes[node.index] = Recurrent(
                    cost=cost,
                    steps=steps,
                    executed=executed,
                    turns=wait.turns,
                    cell=number,
                    local=local,
                    preds=preds,
                )
        return paths

    def loop(
        self, node: Node, body: Scope, outer: _Waits, fed: frozenset[str]
    ) -> tuple[Dim, Dim, OpCost]:
        """The dependent and the executed steps of one execution of a loop, and its cost.

        Where trips wait, each adds the steps on the cycle, at least one; what only leads
        up to the cycle or away from it adds to the first or the last trip alone.
        """
        nodes, trips = body.nodes, node.op.trips
        reads, writes = [n.reads for n in nodes], [n.writes for n in nodes]
        preds = predecessors(reads, writes)
        carried = [(c.entry, c.exit) for c in node.op.carried]
        through = cycles(preds, reads, writes, carried)
        state = 0
        for member, mask in zip(nodes, through, strict=True):
            if mask and _computes(member):
                state |= mask
        on_cycle = [bool(mask & state) for mask in through]
        entries = frozenset(c.entry for k, c in enumerate(node.op.carried) if state >> k & 1)
        fed = fed.union(_handed_in(node.op, fed))
        follows = gathered(preds, [not fed.isdisjoint(names) for names in reads])
        inner = _Waits(True, outer.turns * trips)
        waits = [
            inner if on else outer if follow else _FREE
            for on, follow in zip(on_cycle, follows, strict=True)
        ]
        fed = fed.union(entries, *(w for w, on in zip(writes, on_cycle, strict=True) if on))
        paths = self.scope(body, preds, waits, fed)
        whole = longest_chain(preds, paths.sequential, paths.regions)
        executed = longest_chain(preds, paths.executed, paths.regions)
        if not state:
            return whole, trips * executed, node.cost
        self.loops.append(StatefulLoop(node, entries))
        each = longest_chain(
            preds,
            {at: steps for at, steps in paths.sequential.items() if on_cycle[at]},
            {at: region for at, region in paths.regions.items() if on_cycle[at]},
        )
        each, whole = larger(1, each), larger(1, whole)
        steps = trips * each if trips == 0 or each == whole else (trips - 1) * each + whole
        cost = _stateful_loop(node, body, entries)
        return steps, trips * larger(1, executed), cost


def _preds(scope: Scope) -> list[tuple[int, ...]]:
    return predecessors([n.reads for n in scope.nodes], [n.writes for n in scope.nodes])


def _reads_itself(node: Node, fed: frozenset[str]) -> bool:
    """Whether input and state of a recurrent operator both come from the trip before."""
    return all(
        any(t is not None and t.name in fed for t in part)
        for part in (node.op.inputs[:1], node.op.inputs[1:])
    )


def _handed_in(op: Op, names: frozenset[str]) -> list[str]:
    """What a loop's body calls those of its inputs that are among ``names``."""
    inside = op.body.inputs if op.body is not None else ()
    pairs = zip(op.inputs, inside, strict=False)
    return [b.name for a, b in pairs if a is not None and a.name in names]


def _stateful_loop(node: Node, body: Scope, entries: frozenset[str]) -> OpCost:
    """A loop's own cost: the state that it carries, unless operators in its body hold it."""
    state: Dim = 0
    if not any(inner.cost.state_bytes != 0 for inner in body.walk()):
        for carried in loop_states(node.op):
            if carried.entry.name in entries and carried.entry.dtype in FLOAT_DTYPES:
                state = state + tensor_bytes(carried.entry)
    dims = {"T": node.op.trips}
    return msgspec.structs.replace(node.cost, state_bytes=state, dims=dims)


def _computes(node: Node) -> bool:
    """Whether an operator does arithmetic on real numbers (taken for granted if unknown)."""
    if node.status == RUN and node.body is None and node.cost.kind in _NO_ARITHMETIC:
        return False
    tensors = (*node.op.inputs, *node.op.outputs)
    return any(t is not None and t.dtype in FLOAT_DTYPES for t in tensors)


def _all_sequential(cost: OpCost) -> OpCost:
    formulas = dict(cost.formulas)
    if "macs" in formulas:
        formulas["sequential_macs"] = formulas["macs"]
    return msgspec.structs.replace(cost, sequential_macs=cost.macs, formulas=formulas)


def _recurrent_product(node: Node, steps: Dim, state_bytes: Dim) -> OpCost:
    """The cost of a product in an unrolled cell or a loop, as a recurrent operator's.

    A matrix product of B rows has the letters H (its depth) and G, how many times H its
    width is; any other product has T alone.
    """
    dims: dict[str, Dim] = {"T": steps}
    output = next((t for t in node.op.outputs if t is not None), None)
    op_type = node.op.op_type
    if ("MatMul" in op_type or "Gemm" in op_type) and output is not None and output.shape:
        outputs, width = product(output.shape), output.shape[-1]
        if outputs != 0:
            depth = node.cost.macs // outputs
            dims.update(B=outputs // width, H=depth)
            if width % depth == 0:
                dims["G"] = width // depth
    cost = _all_sequential(node.cost)
    return msgspec.structs.replace(
        cost,
        kind="recurrent",
        dims=dims,
        state_bytes=state_bytes,
        notes=(*cost.notes, _UNKNOWN_DIRECTION),
    )
