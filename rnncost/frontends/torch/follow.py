"""Following one run of a module, and turning what was seen into a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import torch

from rnncost.errors import ModelError, ModuleError
from rnncost.frontends.torch import (  # noqa: F401  (importing a rule registers it)
    rules_dense,
    rules_elementwise,
    rules_quantized,
    rules_recurrent,
    rules_reduce,
    rules_shape,
)
from rnncost.frontends.torch.dispatch import DataNeededError, IntegerNeededError, Tracer
from rnncost.frontends.torch.factory import describe
from rnncost.frontends.torch.inputs import Arguments, Fed, feed
from rnncost.frontends.torch.memory import dtype_name
from rnncost.frontends.torch.recorder import Pending, Recorder, Site
from rnncost.frontends.torch.sandbox import paths, undisturbed
from rnncost.frontends.torch.slabs import Root
from rnncost.graph.dim import hint
from rnncost.graph.ir import Graph, Op, Tensor
from rnncost.units import FLOAT_DTYPES

_WITHOUT_DATA = ("meta tensor", "meta device", "'meta'", "unallocated storage", "no data")
_OTHER_LAYOUT = "view size is not compatible"
_WEIGHING = frozenset(
    (
        "Add",
        "BatchNormalization",
        "Conv",
        "ConvTranspose",
        "Einsum",
        "GRU",
        "GRUCell",
        "Gather",
        "Gemm",
        "GroupNormalization",
        "InstanceNormalization",
        "LSTM",
        "LSTMCell",
        "LayerNormalization",
        "MatMul",
        "Mul",
        "PRelu",
        "RMSNormalization",
        "RNN",
        "RNNCell",
        "Sub",
    )
)
"""Operators whose stored operands are weights without doubt."""

_STATISTICS = {"BatchNormalization": (3, 4)}


class Followed(msgspec.Struct, frozen=True):
    """A graph with the inputs it was made from, and what the user should know.

    ``trained`` names the stored tensors that ask for gradients.
    """

    graph: Graph
    fed: Fed
    warnings: tuple[str, ...]
    trained: frozenset[str] = frozenset()


def follow(
    module: Any,
    given: Arguments,
    integers: Sequence[str],
    *,
    real: bool,
    training: bool = False,
) -> Followed:
    """Run a module's forward once, in evaluation or training mode, and write down its operators.

    Raises:
        DataNeededError: forward reads elements of a tensor that is only a shape.
        IntegerNeededError: an input taken for floating point holds indices.
        ModuleError: forward raises.
    """
    recorder = Recorder(training=training)
    tracer = Tracer(recorder, real=real)
    root = type(module).__name__
    names = {id(one): path or root for path, one in module.named_modules()}
    tracer.path[:] = [root]
    keep(recorder, module, root)
    undone = undisturbed(module, training=training)
    with undone, restored(recorder), paths(tracer.path, names):
        fed = feed(given, real=real, integers=integers, device=_device(module))
        inputs = take_in(recorder, fed)
        outputs = run(tracer, lambda: module(*fed.args, **fed.kwargs), names, root)
    return finish(recorder, fed, inputs, outputs)


@contextmanager
def restored(recorder: Recorder) -> Iterator[None]:
    """Undo writes to tensors from before the run."""
    try:
        yield
    finally:
        recorder.memory.restore()


def keep(recorder: Recorder, module: Any, root: str) -> None:
    """Take in every tensor that a module keeps: parameters, buffers, plain attributes."""
    for path, one in module.named_modules():
        prefix = f"{path}." if path else ""
        kept = [
            *((name, value, "parameter") for name, value in one._parameters.items()),
            *((name, value, "buffer") for name, value in one._buffers.items()),
            *((name, value, "attribute") for name, value in one.__dict__.items()),
        ]
        for name, value, kind in kept:
            if isinstance(value, torch.Tensor):
                store(recorder, value, prefix + name, path or root, kind)


def store(recorder: Recorder, tensor: Any, name: str, owner: str, kind: str) -> None:
    """Take in one stored tensor. Integers other than 8-bit weights are plain constants.

    Raises:
        ModuleError: the parameter has no shape yet.
    """
    if torch.nn.parameter.is_lazy(tensor):
        raise ModuleError(f"the parameter {name} has no shape yet: run the module once first")
    dtype = dtype_name(tensor.dtype)
    if kind == "parameter" or dtype in FLOAT_DTYPES or dtype in ("int8", "uint8"):
        recorder.memory.store(tensor, name, owner, kind)


def take_in(recorder: Recorder, fed: Fed) -> list[Tensor]:
    """The inputs of the graph."""
    inputs: list[Tensor] = []
    for one in fed.feeds:
        value = Tensor(one.label, dtype_name(one.tensor.dtype), tuple(one.tensor.shape))
        recorder.memory.feed(one.tensor, value, one.label)
        inputs.append(value)
    return inputs


def run(
    tracer: Tracer, program: Callable[[], Any], names: dict[int, str], root: str
) -> list[Tensor]:
    """Run a program under the tracer; the values that it returns.

    Raises:
        DataNeededError: elements are needed.
        IntegerNeededError: an input holds indices.
        ModuleError: the program raises.
    """
    try:
        with tracer.mode:
            result = program()
        outputs = tracer.outputs(result)
    except (IntegerNeededError, ModelError):
        raise
    except (Exception, SystemExit) as error:
        if tracer.real:
            raise ModuleError(f"{_failing(error, names, root)} raised {describe(error)}") from error
        if tracer.needed:
            raise DataNeededError(tracer.needed) from error
        text = str(error)
        if _OTHER_LAYOUT in text:
            raise DataNeededError(
                f"strides are needed in {_failing(error, names, root)}"
            ) from error
        if isinstance(error, DataNeededError) or any(part in text for part in _WITHOUT_DATA):
            where = _failing(error, names, root)
            raise DataNeededError(f"{where} reads the elements of a tensor") from error
        if type(error).__module__.startswith("torch._dynamo"):
            raise ModuleError(
                f"{_failing(error, names, root)} uses torch.compile, torch.cond or another control-"
                "flow operator: analyse torch.export.export(module, inputs) instead"
            ) from error
        raise ModuleError(f"{_failing(error, names, root)} raised {describe(error)}") from error
    if tracer.needed:
        raise DataNeededError(tracer.needed)
    return outputs


def _failing(error: BaseException, names: dict[int, str], root: str) -> str:
    """The innermost module that an exception came from."""
    found = root
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "forward":
            found = names.get(id(trace.tb_frame.f_locals.get("self")), found)
        trace = trace.tb_next
    return f"the forward of {found}"


def finish(
    recorder: Recorder, fed: Fed, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> Followed:
    """The graph, with an entry for what is stored and never used."""
    warnings = list(recorder.warnings)
    used = _used(recorder)
    parameters = [root for root in recorder.memory.roots if root.kind == "parameter"]
    idle = [root.name for root in parameters if root.name not in used]
    if idle:
        warnings.append(f"never used in this run, but stored: {_listed(idle)}")
    lent = _buffers_as_weights(recorder)
    if lent:
        warnings.append(f"buffers used as weights are counted in params: {_listed(lent)}")
    for root in parameters:
        if not used.get(root.name, False):
            _set_aside(recorder, root)
    results = [t for t in outputs if not recorder.is_constant(t)]
    trained = frozenset(root.name for root in recorder.memory.roots if root.trained)
    return Followed(recorder.graph(inputs, results), fed, tuple(warnings), trained)


def _used(recorder: Recorder) -> dict[str, bool]:
    """Stored tensors that operators read; True where one reads all of it as a weight."""
    roots = {root.name: root for root in recorder.memory.roots}
    used: dict[str, bool] = {}
    for op in _all(recorder.ops):
        for tensor in op.inputs:
            for slab in tensor.stored if tensor is not None else ():
                root = roots.get(slab.root)
                whole = root is not None and slab == root.whole() and _is_weight(root, op, tensor)
                used[slab.root] = used.get(slab.root, False) or whole
    return used


def _all(ops: Sequence[Pending | Op]) -> Iterator[Pending | Op]:
    """Operators and those in the bodies of loops."""
    for op in ops:
        yield op
        if op.body is not None:
            yield from _all(op.body.ops)


def _is_weight(root: Root, op: Pending | Op, operand: Tensor | None) -> bool:
    """Whether an operator surely takes an operand for weights.

    A single element, an integer, or an operand of a rarer operator may pass for a constant
    of a formula; and an operator that makes a stored value of stored ones leaves them to
    the one that uses it.
    """
    if root.dtype not in FLOAT_DTYPES or operand is None or 1 in (root.numel, _numel(operand)):
        return False
    kept = all(t.stored for t in op.outputs if t is not None)
    return op.op_type in _WEIGHING and not kept


def _numel(tensor: Tensor) -> int:
    total = 1
    for size in tensor.shape or ():
        total *= hint(size)
    return total


def _buffers_as_weights(recorder: Recorder) -> list[str]:
    buffers = {
        root.name for root in recorder.memory.roots if root.kind == "buffer" and root.numel > 1
    }
    found: dict[str, None] = {}
    for op in _all(recorder.ops):
        statistics = _STATISTICS.get(op.op_type, ())
        for slot, tensor in enumerate(op.inputs):
            if tensor is None or slot in statistics:
                continue
            found.update((s.root, None) for s in tensor.stored if s.root in buffers)
    return list(found)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _set_aside(recorder: Recorder, root: Root) -> None:
    """An operator that never runs and holds a stored tensor, so that it is counted."""
    value = Tensor(root.name, root.dtype, root.shape, stored=(root.whole(),))
    recorder.ops.append(
        Pending(
            site=Site(root.owner, root.name.rpartition(".")[2], ("stored", root.name)),
            suffix="",
            op_type="Identity",
            inputs=(value,),
            outputs=(recorder.new(root.dtype, root.shape),),
            attrs={},
            executions=0,
        )
    )


def _device(module: Any) -> Any:
    for parameter in module.parameters():
        return parameter.device
    return torch.device("cpu")
