"""How often a Loop runs when its condition is computed from counters.

The condition is first solved as a formula: every integer in it is ``start + step * trip``,
so a comparison of two is true up to some trip, which also holds where ``start`` has free
dimensions. Where that fails, the part of the body that decides the condition is followed
with values, trip by trip.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Union

import msgspec

from rnncost.errors import ControlFlowError
from rnncost.frontends.onnx.context import Context, Walk
from rnncost.frontends.onnx.infer.base import Element
from rnncost.frontends.onnx.order import captured, describe, subgraphs
from rnncost.frontends.onnx.proto import NodeProto, TensorProto
from rnncost.frontends.onnx.repeat import Plan
from rnncost.frontends.onnx.scope import Scope
from rnncost.graph.dim import Dim, Expr, ceil_div, hint, maximum, minimum

MAX_FOLLOWED_TRIPS = 100_000
MAX_FOLLOWED_S = 3.0


class Affine(msgspec.Struct, frozen=True):
    """An integer that is ``start + step * trip`` in trip number ``trip``."""

    start: Dim
    step: int


class Until(msgspec.Struct, frozen=True):
    """A condition that holds in every trip before ``end``; in all of them if that is None."""

    end: Dim | None


Form = Union[Affine, Until, None]
_ALWAYS, _NEVER = Until(None), Until(0)
_RENAMES = frozenset(("Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape"))
_MAX_CHAIN = 100  # operators between a counter and the condition


def solve(ctx: Context, plan: Plan, scope: Scope) -> Until | None:
    """Until which trip a Loop's condition holds, or None where no formula says it."""
    form = _Solver(ctx, plan, scope).form(plan.graph.outputs[0].name)
    return form if isinstance(form, Until) else None


class _Solver:
    """The forms of the values of one body."""

    def __init__(self, ctx: Context, plan: Plan, scope: Scope) -> None:
        self._ctx = ctx
        self._scope = scope
        self._graph = plan.graph
        self._made = {o: node for node in plan.graph.nodes for o in node.outputs if o}
        self._depth = 0
        trip, condition, *states = [info.name for info in plan.graph.inputs]
        self._forms: dict[str, Form] = {trip: Affine(0, 1), condition: _ALWAYS}
        invariant = dict(zip(states, plan.invariant, strict=True))
        given = {
            name: _literal(known.value) for name, known in zip(states, plan.states, strict=True)
        }
        self._forms.update({name: f if invariant[name] else None for name, f in given.items()})
        known = dict(self._forms)
        for name, info in zip(states, plan.graph.outputs[1:], strict=False):
            start = given[name]
            if isinstance(start, Affine) and not invariant[name]:
                known[name] = self._counter(name, start.start, info.name, trip)
        self._forms = known

    def form(self, name: str) -> Form:
        """The form of a value inside the body; None for one that has none."""
        if name not in self._forms:
            self._forms[name] = None
            self._depth += 1
            if self._depth <= _MAX_CHAIN:
                self._forms[name] = self._evaluate(name)
            self._depth -= 1
        return self._forms[name]

    def _counter(self, name: str, start: Dim, leave: str, trip: str) -> Form:
        """The form of a state: what one trip adds to it, or to the trip number."""
        step = self._added(leave, name)
        if step is not None:
            return Affine(start, step)
        offset = self._added(leave, trip)
        return Affine(start, 1) if offset is not None and start == offset - 1 else None

    def _added(self, name: str, base: str) -> int | None:
        """The constant c of ``name = base + c``, or None where that is not its form."""
        total = 0
        for _ in range(_MAX_CHAIN):
            if name == base:
                return total
            node = self._made.get(name)
            if node is None or not node.inputs:
                return None
            if node.op_type in _RENAMES:
                name = node.inputs[0]
                continue
            if node.op_type not in ("Add", "Sub") or len(node.inputs) != 2:
                return None
            left, right = node.inputs
            term = _constant(self.form(right))
            if term is None and node.op_type == "Add":
                left, term = right, _constant(self.form(left))
            if term is None:
                return None
            total += term if node.op_type == "Add" else -term
            name = left
        return None

    def _evaluate(self, name: str) -> Form:
        node = self._made.get(name)
        if node is None:
            return _literal(self._outside(name))
        if node.op_type == "Constant":
            return _literal(_elements(node))
        if node.op_type in _RENAMES:
            return self.form(node.inputs[0]) if node.inputs else None
        if node.op_type == "Not" and len(node.inputs) == 1:
            form = self.form(node.inputs[0])
            return _NEVER if form == _ALWAYS else _ALWAYS if form == _NEVER else None
        rule = _BINARY.get(node.op_type)
        if rule is None or len(node.inputs) != 2:
            return None
        return rule(self.form(node.inputs[0]), self.form(node.inputs[1]))

    def _outside(self, name: str) -> Sequence[Element] | None:
        proto = self._graph.initializers.get(name)
        if proto is not None:
            return proto.load() if proto.load is not None and proto.numel == 1 else None
        try:
            bound = self._ctx.find(self._scope, name)
        except KeyError:
            return None
        return None if bound is None else bound.known.value


def _elements(node: NodeProto) -> Sequence[Element] | None:
    for value in node.attrs.values():
        if isinstance(value, TensorProto):
            return value.load() if value.load is not None and value.numel == 1 else None
        if isinstance(value, (int, float)):
            return (value,)
    return None


def _literal(value: Sequence[Element] | None) -> Form:
    if value is None or len(value) != 1:
        return None
    element = value[0]
    if isinstance(element, bool):
        return _ALWAYS if element else _NEVER
    if isinstance(element, (int, Expr)):
        return Affine(element, 0)
    if isinstance(element, float) and element.is_integer():
        return Affine(int(element), 0)
    return None


def _constant(form: Form) -> int | None:
    if isinstance(form, Affine) and form.step == 0 and isinstance(form.start, int):
        return form.start
    return None


def _sum(a: Form, b: Form) -> Form:
    if isinstance(a, Affine) and isinstance(b, Affine):
        return Affine(a.start + b.start, a.step + b.step)
    return None


def _difference(a: Form, b: Form) -> Form:
    if isinstance(a, Affine) and isinstance(b, Affine):
        return Affine(a.start - b.start, a.step - b.step)
    return None


def _positive(form: Form, add: int = 0) -> Form:
    """Until when ``form + add`` is above zero."""
    if not isinstance(form, Affine):
        return None
    start = form.start + add
    if hint(start) <= 0:
        return _NEVER if form.step <= 0 else None
    return _ALWAYS if form.step >= 0 else Until(ceil_div(start, -form.step))


def _and(a: Form, b: Form) -> Form:
    if not isinstance(a, Until) or not isinstance(b, Until):
        return None
    if a.end is None or b.end is None:
        return b if a.end is None else a
    return Until(minimum(a.end, b.end))


def _or(a: Form, b: Form) -> Form:
    if not isinstance(a, Until) or not isinstance(b, Until):
        return None
    return _ALWAYS if a.end is None or b.end is None else Until(maximum(a.end, b.end))


_BINARY: dict[str, Callable[[Form, Form], Form]] = {
    "Add": _sum,
    "Sub": _difference,
    "Less": lambda a, b: _positive(_difference(b, a)),
    "LessOrEqual": lambda a, b: _positive(_difference(b, a), 1),
    "Greater": lambda a, b: _positive(_difference(a, b)),
    "GreaterOrEqual": lambda a, b: _positive(_difference(a, b), 1),
    "And": _and,
    "Or": _or,
}


def follow(ctx: Context, walk: Walk, plan: Plan, scope: Scope, limit: Dim | None) -> int | None:
    """The trip count, from following the values that decide the condition; None if unknown.

    Raises:
        ControlFlowError: the loop runs longer than is followed.
    """
    nodes, names = _deciding(ctx, plan)
    states = dict(zip((info.name for info in plan.graph.inputs[2:]), plan.states, strict=True))
    leaves = dict(zip(states, (info.name for info in plan.graph.outputs[1:]), strict=False))
    states = {name: known for name, known in states.items() if name in names}
    trip, condition = (info.name for info in plan.graph.inputs[:2])
    visits, started = ctx.visits, time.monotonic()
    for number in range(MAX_FOLLOWED_TRIPS):
        if limit is not None and number >= hint(limit):
            return number if isinstance(limit, int) else None
        if time.monotonic() - started > MAX_FOLLOWED_S:
            break
        mark = ctx.mark()
        inner = scope.inner(plan.graph, plan.name)
        lead = (msgspec.structs.replace(plan.lead[0], value=(number,)), plan.lead[1])
        for name, known in (*zip((trip, condition), lead, strict=True), *states.items()):
            inner.bound[name] = ctx.bind(name, known)
        walk(ctx, nodes, inner)
        verdict = ctx.outputs(inner, (plan.graph.outputs[0].name,), plan.name)[0].known.value
        found = ctx.outputs(inner, [leaves[name] for name in states], plan.name)
        before, states = states, dict(zip(states, [b.known for b in found], strict=True))
        ctx.rollback(mark)
        ctx.visits = visits
        if verdict is None or len(verdict) != 1 or isinstance(verdict[0], Expr):
            return None
        if not verdict[0]:
            return number + 1
        if states == before and trip not in names:
            # Nothing that the condition tests changes any more, so only the limit ends it.
            if limit is None:
                raise ControlFlowError(
                    f"{describe(plan.node)} never ends: its condition stays true"
                )
            return limit if isinstance(limit, int) else None
    raise ControlFlowError(
        f"{describe(plan.node)} runs more than {number:,} trips before its condition turns "
        "false, which is more than can be followed: give --trace"
    )


def inside(ctx: Context, plan: Plan, scope: Scope) -> tuple[Scope, tuple[str, ...]]:
    """A scope of the body, not lowered, and the names in it that decide the condition."""
    inner = scope.inner(plan.graph, plan.name)
    inner.producers = {o: node for node in plan.graph.nodes for o in node.outputs if o}
    for info, source in zip(plan.graph.inputs[len(plan.lead) :], plan.sources, strict=True):
        inner.origins[info.name] = (scope, source)
    return inner, tuple(_deciding(ctx, plan)[1])


def _deciding(ctx: Context, plan: Plan) -> tuple[list[NodeProto], set[str]]:
    """The nodes of a body that its condition depends on in any trip, and all their names."""
    made = {o: node for node in plan.graph.nodes for o in node.outputs if o}
    leaves = dict(
        zip(
            (info.name for info in plan.graph.inputs[2:]),
            (info.name for info in plan.graph.outputs[1:]),
            strict=False,
        )
    )
    names: set[str] = set()
    wanted: set[int] = set()
    pending = [plan.graph.outputs[0].name]
    while pending:
        name = pending.pop()
        if not name or name in names:
            continue
        names.add(name)
        if name in leaves:
            pending.append(leaves[name])
        elif name in made:
            node = made[name]
            wanted.add(id(node))
            pending.extend(node.inputs)
            for _, graph in subgraphs(node):
                pending.extend(captured(graph, ctx.captures))
    return [node for node in plan.graph.nodes if id(node) in wanted], names
