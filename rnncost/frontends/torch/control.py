"""Running the graph of an exported program, with its branches and loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import torch

from rnncost.errors import ControlFlowError, ModuleError
from rnncost.frontends.torch.dispatch import Tracer
from rnncost.frontends.torch.memory import dtype_name, tensors_in
from rnncost.frontends.torch.recorder import Pending, Site
from rnncost.graph.dim import Dim, hint
from rnncost.graph.ir import Carried, Graph, Tensor

CostOf = Callable[[Graph], Dim]

_ARITHMETIC = frozenset(
    (
        *("abs", "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "index", "le", "lshift"),
        *("lt", "mod", "mul", "ne", "neg", "not_", "or_", "pos", "pow", "rshift", "sub"),
        *("truediv", "xor"),
    )
)

TRIP_LIMIT = 20_000
"""The most trips of a while loop that are followed one by one."""


class Interpreter:
    """Executes graphs of ``torch.fx`` nodes, so that the tracer sees each operator.

    ``root`` names the places that belong to no submodule, ``cost_of`` compares the two
    branches of a condition that is not known.
    """

    def __init__(self, tracer: Tracer, root: str, cost_of: CostOf) -> None:
        self.tracer = tracer
        self.cost_of = cost_of
        self.recorder = tracer.recorder
        self.root = root
        self._node: Any = None
        tracer.locate = self.locate

    def locate(self, label: str) -> Site:
        """The module that a node came from, and the source line as its place."""
        meta = self._node.meta if self._node is not None else {}
        stack = [path for path, _ in (meta.get("nn_module_stack") or {}).values()]
        path = str(stack[-1]) if stack else ""
        place = meta.get("stack_trace") or (self._node.name if self._node is not None else "")
        return Site(path or self.root, label, (place,))

    def graph(self, module: Any, arguments: Sequence[Any]) -> Any:
        """Run one graph; what it returns."""
        values: dict[Any, Any] = {}
        waiting = iter(arguments)

        def value(node: Any) -> Any:
            return values[node]

        for node in module.graph.nodes:
            if node.op == "placeholder":
                values[node] = next(waiting)
            elif node.op == "get_attr":
                values[node] = _attribute(module, node.target)
            elif node.op == "output":
                return torch.fx.map_arg(node.args[0], value)
            else:
                args = torch.fx.map_arg(node.args, value)
                kwargs = torch.fx.map_arg(node.kwargs, value)
                before, self._node = self._node, node
                values[node] = self._call(node, args, kwargs)
                self._node = before
        return None

    def _call(self, node: Any, args: Any, kwargs: Any) -> Any:
        if node.op != "call_function":
            raise ModuleError(f"the program holds {node.op}, which exports do not have")
        if not isinstance(node.target, torch._ops.HigherOrderOperator):
            if not _is_operator(node.target):
                raise ModuleError(f"the program calls {node.target}, which is no operator")
            return node.target(*args, **kwargs)
        name = node.target.name()
        known: dict[str, Callable[..., Any]] = {
            "cond": self._cond,
            "while_loop": self._while_loop,
            "scan": self._scan,
        }
        if name in known:
            return known[name](*args, **kwargs)
        return self._inline(name, args)

    def _inline(self, name: str, args: Sequence[Any]) -> Any:
        """Operators that only wrap a graph: its arguments follow it."""
        for at, argument in enumerate(args):
            if isinstance(argument, torch.fx.GraphModule):
                rest = [a for a in args[at + 1 :] if not isinstance(a, str)]
                return self.graph(argument, rest)
        raise ModuleError(f"the program's operator {name} cannot be followed")

    def _cond(self, predicate: Any, true: Any, false: Any, operands: Sequence[Any] = ()) -> Any:
        """The branch that the predicate takes; the costlier one where it is not known."""
        reads = self._settled(operands)
        taken = self._known(predicate)
        if taken is not None:
            result, other = (true, false) if taken else (false, true)
            self._stored_only(other, operands)
            return self.graph(result, operands)
        ops = self.recorder.ops
        runs = []
        for branch in (true, false):
            self.recorder.ops = []
            outputs = self.graph(branch, operands)
            cost = self.cost_of(self.recorder.graph(reads, ()))
            runs.append((cost, self.recorder.ops, outputs))
        self.recorder.ops = ops
        runs.sort(key=lambda run: hint(run[0]))
        (_, cheap, _), (_, costly, outputs) = runs
        ops.extend(costly)
        ops.extend(_idle(cheap))
        where = self.locate("cond").path
        self.recorder.warnings.append(f"the branch in {where} is assumed to be the costlier one")
        return outputs

    def _settled(self, operands: Any) -> list[Tensor]:
        """The values of what a graph is given, written down before its own operators."""
        return [self.recorder.read(t) for t in tensors_in(operands)]

    def _stored_only(self, branch: Any, operands: Sequence[Any]) -> None:
        """Note the weights of a branch that is not taken."""
        ops, self.recorder.ops = self.recorder.ops, []
        self.graph(branch, operands)
        ops.extend(_idle(self.recorder.ops))
        self.recorder.ops = ops

    def _while_loop(
        self, condition: Any, body: Any, carried: Sequence[Any], more: Sequence[Any] = ()
    ) -> Any:
        """Trip by trip, as long as the condition depends on known integers."""
        state = tuple(carried)
        for _ in range(TRIP_LIMIT):
            again = self._known(self.graph(condition, (*state, *more)))
            if again is None:
                raise self.tracer.needs("the condition of a while loop")
            if not again:
                return state
            state = tuple(self.graph(body, (*state, *more)))
        raise ControlFlowError(
            f"the while loop in {self.locate('while_loop').path} runs more than {TRIP_LIMIT} trips"
        )

    def _known(self, condition: Any) -> bool | None:
        """A condition as a bool, or None where it depends on data."""
        if isinstance(condition, (tuple, list)):
            (condition,) = condition
        if not isinstance(condition, torch.Tensor):
            return bool(condition)
        if not self.tracer.real and not self.tracer.memory.valued(condition):
            return None
        return bool(condition)

    def _scan(
        self, combine: Any, init: Sequence[Any], xs: Sequence[Any], more: Sequence[Any] = ()
    ) -> Any:
        """One Scan operator: a trip for each element of the first axis of ``xs``."""
        if not xs:
            raise ModuleError("a scan without inputs has no known number of trips")
        trips = int(xs[0].shape[0])
        if self.tracer.real:
            return self._scan_for_real(combine, init, xs, more, trips)
        recorder, site = self.recorder, self.locate("scan")
        outside = self._settled((*init, *xs))
        self._settled(more)
        entries = [self._stand_in(t.shape, t.dtype) for t in init]
        slices = [self._stand_in(x.shape[1:], x.dtype) for x in xs]
        ops, recorder.ops = recorder.ops, []
        results = list(tensors_in(self.graph(combine, (*entries, *slices, *more))))
        started = [recorder.read(t) for t in (*entries, *slices)]
        ended = [recorder.read(t) for t in results]
        body = recorder.graph(started, ended)
        recorder.ops = ops
        carried = [
            Carried(a.name, b.name)
            for a, b in zip(started[: len(init)], ended[: len(init)], strict=True)
        ]
        finals = [_empty(t.shape, t.dtype) for t in init]
        stacked = [_empty((trips, *t.shape), t.dtype) for t in results[len(init) :]]
        outputs = [*finals, *stacked]
        values = [recorder.new(dtype_name(t.dtype), t.shape) for t in outputs]
        ops.append(
            Pending(
                site=site,
                suffix="",
                op_type="Scan",
                inputs=tuple(outside),
                outputs=tuple(values),
                attrs={},
                trips=trips,
                body=body,
                carried=tuple(carried),
            )
        )
        for tensor, value in zip(outputs, values, strict=True):
            recorder.write(tensor, value, site)
        return tuple(outputs)

    def _scan_for_real(
        self, combine: Any, init: Sequence[Any], xs: Sequence[Any], more: Sequence[Any], trips: int
    ) -> Any:
        state, rows = tuple(init), []
        for trip in range(trips):
            results = self.graph(combine, (*state, *[x[trip] for x in xs], *more))
            state, row = tuple(results[: len(init)]), results[len(init) :]
            rows.append(row)
        return (*state, *[torch.stack(list(column)) for column in zip(*rows, strict=True)])

    def _stand_in(self, shape: Sequence[int], dtype: Any) -> Any:
        """A value that each trip brings anew."""
        tensor = _empty(shape, dtype)
        value: Tensor = self.recorder.new(dtype_name(dtype), tuple(shape))
        self.recorder.write(tensor, value, Site(self.root, "scan"))
        return tensor


def _is_operator(target: Any) -> bool:
    """Whether a function only computes: a file can name any function within torch."""
    if isinstance(target, torch._ops.OpOverload):
        return True
    home, name = getattr(target, "__module__", None), getattr(target, "__name__", "")
    if home == "torch":
        return name.startswith(("sym_", "_sym_"))
    return home == "math" or (home == "_operator" and name in _ARITHMETIC)


def _empty(shape: Sequence[int], dtype: Any) -> Any:
    """A tensor whose elements nobody computed, made out of the tracer's sight."""
    with torch.utils._python_dispatch._disable_current_modes():
        return torch.empty(tuple(shape), dtype=dtype, device="meta")


def _attribute(module: Any, target: str) -> Any:
    found = module
    for part in target.split("."):
        found = getattr(found, part)
    return found


def _idle(ops: Sequence[Pending]) -> list[Pending]:
    """What a branch that does not run stores."""
    return [
        msgspec.structs.replace(op, executions=0)
        for op in ops
        if any(t is not None and t.stored for t in op.inputs)
    ]
