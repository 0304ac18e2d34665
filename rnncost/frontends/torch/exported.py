"""A ``torch.export.ExportedProgram``: its graph is run node by node under the tracer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import msgspec
import torch

from rnncost.errors import BindingError, ModuleError, nearest
from rnncost.frontends.torch.control import CostOf, Interpreter
from rnncost.frontends.torch.dispatch import DataNeededError, Tracer
from rnncost.frontends.torch.follow import Followed, finish, restored, run, store, take_in
from rnncost.frontends.torch.inputs import Arguments, Blank, check_names, feed, override
from rnncost.frontends.torch.recorder import Recorder
from rnncost.graph.source import Request

_STORED = {"PARAMETER": "parameter", "BUFFER": "buffer", "CONSTANT_TENSOR": "attribute"}
_ASSUMED = 100


def follow_program(
    program: Any, request: Request, cost_of: CostOf
) -> tuple[Followed, dict[str, int], tuple[str, ...]]:
    """The graph of a program, its free dimensions as bound, and those bound by default.

    A free dimension takes its value from the request's shapes or dims, else the size that
    the program was exported with. ``cost_of`` weighs the branches of a condition.

    Raises:
        BindingError: a name is unknown, or a dimension is free and nothing may be assumed.
        ModuleError: the program cannot be followed.
    """
    declared = _declared(program)
    check_names(request, list(declared))
    dims, assumed = _bound(declared, request)
    blanks = tuple([(name, _blank(value, dims)) for name, value in declared.items()])
    given = override(Arguments((), blanks), list(declared), request, torch.get_default_dtype())
    try:
        followed = _followed(program, given, cost_of, request, real=request.trace)
        return followed, dims, assumed
    except DataNeededError as error:
        if request.trace:
            raise ModuleError(f"the program cannot be followed: {error}") from error
        made_up = ", ".join(given.labels(empty=True))
        warning = f"ran the program for real on random {made_up}: {error}"
    try:
        followed = _followed(program, given, cost_of, request, real=True)
    except DataNeededError as error:
        raise ModuleError(f"the program cannot be followed: {error}") from error
    warnings = (warning, *followed.warnings)
    return msgspec.structs.replace(followed, warnings=warnings), dims, assumed


def _declared(program: Any) -> dict[str, Any]:
    """What the program was exported with for each input: a fake tensor or a number."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    return {
        spec.arg.name: nodes[spec.arg.name].meta.get("val", getattr(spec.arg, "value", None))
        for spec in program.graph_signature.input_specs
        if spec.kind.name == "USER_INPUT" and spec.arg.name in nodes
    }


def _bound(declared: Mapping[str, Any], request: Request) -> tuple[dict[str, int], tuple[str, ...]]:
    """The value of each free dimension, and the names of those nobody gave."""
    samples: dict[str, int] = {}
    shaped: dict[str, int] = {}
    for name, value in declared.items():
        given = request.shapes.get(name)
        if given is None and name in request.values:
            given = request.values[name].shape
        for at, size in enumerate(getattr(value, "shape", ())):
            if isinstance(size, int):
                continue
            samples.setdefault(str(size), _sample(size))
            if given is not None and at < len(given):
                shaped[str(size)] = given[at]
    free = {name: size for name, size in samples.items() if name.isidentifier()}
    for name, size in request.dims.items():
        if name not in free:
            known = f"; it has {', '.join(free)}" if free else "; all its dimensions are fixed"
            raise BindingError(
                f"the program has no free dimension {name!r}{nearest(name, free)}{known}"
            )
        if size < 1:
            raise BindingError(f"dimension {name!r} cannot be {size}: give 1 or more")
    dims = {**free, **shaped, **request.dims}
    assumed = tuple([n for n in free if n not in shaped and n not in request.dims])
    if assumed and not request.assume:
        raise BindingError(f"the dimension {assumed[0]!r} is free: bind it with --dim")
    return dims, assumed


def _sample(size: Any) -> int:
    """The size that a free dimension had at export."""
    found = getattr(size.node, "hint", None)
    return int(found) if found is not None else _ASSUMED


def _blank(value: Any, dims: Mapping[str, int]) -> Any:
    """An input as ``Blank``; a number stays as it is."""
    if not isinstance(value, torch.Tensor):
        return value if value is None or isinstance(value, (int, float, str)) else _sample(value)
    shape = [size if isinstance(size, int) else _size(size, dims) for size in value.shape]
    return Blank(tuple(shape), value.dtype)


def _size(size: Any, dims: Mapping[str, int]) -> int:
    """The value of a free dimension, or of an expression of some."""
    if str(size) in dims:
        return dims[str(size)]
    expression = size.node.expr
    return int(expression.subs({s: dims[str(s)] for s in expression.free_symbols}))


def _followed(
    program: Any, given: Arguments, cost_of: CostOf, request: Request, *, real: bool
) -> Followed:
    recorder = Recorder(training=request.training)
    tracer = Tracer(recorder, real=real)
    root = _root_name(program)
    state = _state(program, recorder, root)
    with ExitStack() as stack:
        stack.enter_context(restored(recorder))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(torch.set_grad_enabled(request.training))
        fed = feed(given, real=real, integers=(), device="cpu")
        inputs = take_in(recorder, fed)
        values = {**state, **fed.kwargs}
        interpreter = Interpreter(tracer, root, cost_of)
        module = program.graph_module
        names = [node.name for node in module.graph.nodes if node.op == "placeholder"]
        arguments = [values.get(name) for name in names]
        outputs = run(tracer, lambda: interpreter.graph(module, arguments), {}, root)
    return finish(recorder, fed, inputs, outputs)


def _root_name(program: Any) -> str:
    """The class of the exported module."""
    for node in program.graph.nodes:
        for path, kind in (node.meta.get("nn_module_stack") or {}).values():
            if path == "":
                return str(kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]
    return "program"


def _state(program: Any, recorder: Recorder, root: str) -> dict[str, Any]:
    """The parameters, buffers and constants by the name of their placeholder."""
    held: dict[str, Any] = {}
    for spec in program.graph_signature.input_specs:
        target, kind = spec.target, spec.kind.name
        if target in program.state_dict:
            tensor = program.state_dict[target]
        elif target in program.constants:
            tensor = program.constants[target]
        else:
            continue
        held[spec.arg.name] = tensor
        if kind in _STORED and isinstance(tensor, torch.Tensor):
            owner = target.rpartition(".")[0] or root
            store(recorder, tensor, target, owner, _STORED[kind])
    return held
