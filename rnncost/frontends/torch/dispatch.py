"""Following a run: every torch operator is caught, its shapes are worked out on the meta
device, and it is written down. Nothing is computed but small integers and constants.

The run stands in inference mode, where operators arrive whole (``linear``, ``lstm``) and
not yet taken apart for automatic differentiation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rnncost.frontends.torch.call import RULES, Call, signature
from rnncost.frontends.torch.memory import CONSTANT_LIMIT, View, tensors_in
from rnncost.frontends.torch.recorder import Recorder, Site
from rnncost.frontends.torch.shapes import SHAPES
from rnncost.graph.ir import Tensor

INTEGER_LIMIT = 1 << 22
"""The most elements of an integer or bool result that is computed."""

_SMALL = 4096
"""Inputs up to this many elements in all are computed with at once."""

_READS = frozenset(("item", "_local_scalar_dense", "is_nonzero", "equal", "allclose"))
_TAKEN_APART = frozenset(("repeat_interleave",))
"""Operators whose parts need the values of known integers, which the whole would lose."""

_SILENT = frozenset(
    (
        "_assert_async",
        "_assert_scalar",
        "_assert_tensor_metadata",
        "profiler::_record_function_enter_new",
        "profiler::_record_function_exit",
        "sym_constrain_range",
        "sym_constrain_range_for_size",
        "sym_numel",
        "sym_size",
        "sym_storage_offset",
        "sym_stride",
    )
)
_RESHAPED_IN_PLACE = frozenset(
    ("as_strided", "detach", "squeeze", "swapaxes", "swapdims", "t", "transpose", "unsqueeze")
)
_INTEGER_ARGUMENTS = {
    "embedding": "indices",
    "embedding_bag": "indices",
    "gather": "index",
    "index_select": "index",
    "one_hot": "self",
    "take_along_dim": "indices",
}
_MODULE_FILE = sys.modules["torch.nn.modules.module"].__file__


class DataNeededError(RuntimeError):
    """The program asks for the elements of a tensor that is only a shape."""


class IntegerNeededError(RuntimeError):
    """An input that was taken for floating point holds indices; ``label`` names it."""

    def __init__(self, label: str) -> None:
        super().__init__(f"the input {label!r} holds indices")
        self.label = label


class Tracer:
    """Catches the operators of one run.

    With ``real`` the operators are executed as they are; otherwise floating-point tensors
    are shapes. ``path`` is the stack of the modules that are running.
    """

    def __init__(self, recorder: Recorder, *, real: bool) -> None:
        self.recorder = recorder
        self.memory = recorder.memory
        self.real = real
        self.path: list[str] = [""]
        self.needed = ""
        self.locate: Callable[[str], Site] = self._locate
        self.mode = _mode(self)

    def handle(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run one operator and write it down."""
        if not isinstance(func, torch._ops.OpOverload):
            raise self.needs(f"the operator {func}")
        schema = signature(func)
        if schema.name in _SILENT:
            return func(*args, **kwargs)
        whole = schema.name in RULES or schema.name in _READS
        if schema.composite and (not whole or schema.name in _TAKEN_APART):
            with self.mode:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        call = Call(func, args, kwargs, self.locate(schema.name))
        if schema.writes and schema.name in _RESHAPED_IN_PLACE:
            return func(*args, **kwargs)
        if schema.name == "detach" and self.recorder.training:
            return self._cut_off(call)
        parents = [self.memory.view(t) for t in call.tensors]
        self._check_indices(call)
        result = self._run(call)
        call.outputs = call.written() if schema.writes else list(tensors_in(result))
        self._record(call, parents)
        if schema.writes and call.outputs:
            return call.outputs[0] if len(call.outputs) == 1 else tuple(call.outputs)
        return result

    def _cut_off(self, call: Call) -> Any:
        """``detach`` as an operator of its own: what reads the result sends no gradient back."""
        source = call.tensors[0]
        value = self.recorder.read(source)
        zero = self.memory.is_zero(source)
        result = source.clone()
        self.recorder.emit(call.site, "torch::detach", [value], [result])
        self.memory.buffer(result).zero = zero
        return result

    def needs(self, what: str) -> DataNeededError:
        self.needed = f"{what} in {self.path[-1]!r}" if self.path[-1] else what
        return DataNeededError(self.needed)

    # -- running -----------------------------------------------------------------------

    def _run(self, call: Call) -> Any:
        if self.real:
            for tensor in call.written():
                self.memory.save(tensor)
            return call.apply(_unchanged)
        if all(self.memory.valued(t) for t in call.tensors):
            return self._compute(call)
        if call.name in _READS:
            raise self.needs(f"{call.signature.qualified} reads the elements of a tensor")
        result = self._shapes(call)
        for tensor in call.written():
            self.memory.forget(tensor)
        return result

    def _compute(self, call: Call) -> Any:
        """Run with real elements, unless the result would be large."""
        written = call.written()
        for tensor in written:
            self.memory.save(tensor)
        inputs = sum(t.numel() for t in call.tensors)
        if not written and (not call.tensors or inputs > _SMALL) and call.name not in _READS:
            try:
                shapes = self._shapes(call)
            except DataNeededError:
                shapes = None
            if any(_is_large(t) for t in tensors_in(shapes)):
                return shapes
        replaced = {"device": "cpu"} if "device" in call.arguments else {}
        return call.apply(_on_cpu, **replaced)

    def _shapes(self, call: Call) -> Any:
        """Run on the meta device: shapes and element types alone."""
        shaped = SHAPES.get(call.name)
        if shaped is not None:
            made = shaped(call)
            if made is not None:
                return _empty(made)
        replaced: dict[str, Any] = {}
        if "device" in call.arguments and (call["device"] is not None or not call.tensors):
            replaced["device"] = "meta"
        if call.name in ("index", "index_put", "_unsafe_index"):
            replaced["indices"] = [p for i in call["indices"] for p in _positions(i)]
        try:
            return call.apply(self.memory.twin, **replaced)
        except NotImplementedError as error:
            raise self.needs(f"{call.signature.qualified} has no shape function") from error

    def _check_indices(self, call: Call) -> None:
        name = _INTEGER_ARGUMENTS.get(call.name)
        if name is None or not call[name].is_floating_point():
            return
        buffer = self.memory.buffer(call[name])
        if buffer.label:
            raise IntegerNeededError(buffer.label)

    # -- writing down --------------------------------------------------------------------

    def _record(self, call: Call, parents: Sequence[View]) -> None:
        recorder = self.recorder
        if not call.signature.writes:
            fresh = [t for t in call.outputs if not self._alias(t, call, parents)]
            if not fresh:
                return
            if len(fresh) != len(call.outputs):
                call.outputs = fresh
        rule = RULES.get(call.name)
        if rule is not None:
            rule(recorder, call)
            return
        named = f"torch::{call.name}"
        recorder.emit(call.site, named, call.tensors, call.outputs)

    def _alias(self, tensor: Any, call: Call, parents: Sequence[View]) -> bool:
        """Take in a result that shows an argument's storage; False if it has its own."""
        if not self.memory.known(tensor):
            return False
        buffer = self.memory.buffer(tensor)
        parent = next((p for p in parents if p.buffer is buffer), buffer.whole)
        self.memory.view_from(tensor, parent, call.site)
        return True

    def _locate(self, label: str) -> Site:
        key: list[int] = []
        frame = sys._getframe(2)
        while frame.f_back is not None and frame.f_code.co_filename != _MODULE_FILE:
            key.append(id(frame.f_code))
            key.append(frame.f_lasti)
            frame = frame.f_back
        return Site(self.path[-1], label, tuple(key))

    def outputs(self, result: Any) -> list[Tensor]:
        """The values of the tensors in what a program returned."""
        return [self.recorder.read(t) for t in tensors_in(result)]


def _mode(tracer: Tracer) -> Any:
    """A dispatch mode that hands every operator to the tracer."""

    def dispatch(
        _: Any, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return tracer.handle(func, args, kwargs or {})

    methods = {
        "__torch_dispatch__": dispatch,
        "supports_higher_order_operators": True,
        # Otherwise the first operator imports the compiler, which takes a second.
        "_should_skip_dynamo": classmethod(lambda _: False),
    }
    return type("FollowMode", (TorchDispatchMode,), methods)()


def _unchanged(tensor: Any) -> Any:
    return tensor


def _on_cpu(tensor: Any) -> Any:
    return tensor if tensor.device.type == "cpu" else tensor.cpu()


def _positions(index: Any) -> Sequence[Any]:
    """A bool mask whose elements are known, as the positions that it selects on each axis."""
    if index is None or index.is_meta or index.dtype not in (torch.bool, torch.uint8):
        return (index,)
    return tuple(index.nonzero(as_tuple=True))


def _is_large(tensor: Any) -> bool:
    real = tensor.is_floating_point() or tensor.is_complex()
    return bool(tensor.numel() > (CONSTANT_LIMIT if real else INTEGER_LIMIT))


def _empty(made: Any) -> Any:
    if isinstance(made, list):
        return tuple([_empty(m) for m in made])
    if isinstance(made, torch.Tensor):
        return made
    shape, dtype, stride = made
    if stride is None:
        return torch.empty(shape, dtype=dtype, device="meta")
    return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
