"""Running a module so that nothing of it is changed afterwards, also when it raises."""

from __future__ import annotations

import copy
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

_CONTAINERS = (list, dict, set, deque)


@contextmanager
def undisturbed(module: Any, *, training: bool = False) -> Iterator[None]:
    """Evaluation or training mode for a block; then every submodule as it was.

    For training, gradients count as enabled, so that ``torch.no_grad`` inside forward shows.

    Put back are training flags, attributes (also what a list, dict or set of a module
    holds), the registered parameters, buffers and submodules, and torch's random state.
    """
    kept = [(one, _attributes(one)) for one in module.modules()]
    with ExitStack() as stack:
        stack.callback(_restore, kept)
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(_no_fused_attention())
        stack.enter_context(_no_compiler())
        stack.enter_context(torch.inference_mode())
        if training:
            stack.enter_context(torch.set_grad_enabled(True))
        for one, _ in kept:
            one.__dict__["training"] = training
        yield


def _attributes(module: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes of a module, and what its containers hold."""
    held = {
        name: copy.copy(value)
        for name, value in module.__dict__.items()
        if isinstance(value, _CONTAINERS)
    }
    return dict(module.__dict__), held


def _restore(kept: list[tuple[Any, tuple[dict[str, Any], dict[str, Any]]]]) -> None:
    for module, (attributes, held) in kept:
        module.__dict__.clear()
        module.__dict__.update(attributes)
        for name, content in held.items():
            container = attributes[name]
            if _same(container, content):
                continue
            container.clear()
            if isinstance(container, (dict, set)):
                container.update(content)
            else:
                container.extend(content)


def _same(a: Any, b: Any) -> bool:
    """Whether two containers hold the very same objects in the same order."""
    if len(a) != len(b):
        return False
    if isinstance(a, dict):
        return _same(list(a.keys()), list(b.keys())) and _same(list(a.values()), list(b.values()))
    return all(x is y for x, y in zip(a, b, strict=True))


@contextmanager
def _no_fused_attention() -> Iterator[None]:
    """Transformer layers as they are written, not as one opaque operator."""
    backend = getattr(torch.backends, "mha", None)
    if backend is None:
        yield
        return
    before = backend.get_fastpath_enabled()
    backend.set_fastpath_enabled(False)
    try:
        yield
    finally:
        backend.set_fastpath_enabled(before)


@contextmanager
def _no_compiler() -> Iterator[None]:
    """Functions under torch.compile run as plain Python, if the compiler is loaded at all."""
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def paths(stack: list[str], names: Mapping[int, str]) -> Iterator[None]:
    """Keep the path of the running module on top of ``stack``.

    A module without a name (one made inside forward) is called after its class.
    """

    def enter(module: Any, _: Any) -> None:
        name = names.get(id(module))
        if name is None:
            name = ".".join(part for part in (stack[-1], type(module).__name__) if part)
        stack.append(name)

    def leave(module: Any, args: Any, result: Any) -> None:
        stack.pop()

    depth = len(stack)
    entered = register_module_forward_pre_hook(enter)
    left = register_module_forward_hook(leave, always_call=True)
    try:
        yield
    finally:
        entered.remove()
        left.remove()
        del stack[depth:]
