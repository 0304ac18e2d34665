"""One call of a torch operator, and the table of rules that turn calls into ONNX operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import torch

from rnncost.frontends.torch.memory import tensors_in
from rnncost.frontends.torch.recorder import Recorder, Site


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What the schema of an operator says: ``aten::add_.Tensor`` has the name ``add``.

    ``writes`` names the arguments changed in place. ``composite`` operators can be taken
    apart into others.
    """

    name: str
    qualified: str
    arguments: tuple[tuple[str, Any, bool], ...]
    """Name, default and whether it is keyword-only, for each argument."""
    writes: tuple[str, ...]
    composite: bool


_SIGNATURES: dict[Any, Signature] = {}


def signature(func: Any) -> Signature:
    """The schema of a torch operator, read once."""
    known = _SIGNATURES.get(func)
    if known is None:
        known = _SIGNATURES[func] = _read_schema(func)
    return known


def _read_schema(func: Any) -> Signature:
    schema = func._schema
    space, _, plain = schema.name.partition("::")
    inplace = plain.endswith("_") and not plain.endswith("__")
    name = plain.rstrip("_") if inplace else plain
    composite = torch._C._dispatch_has_kernel_for_dispatch_key(
        func.name(), "CompositeImplicitAutograd"
    )
    return Signature(
        name=name if space == "aten" else f"{space}::{name}",
        qualified=schema.name,
        arguments=tuple(
            [
                (a.name, a.default_value if a.has_default_value() else None, a.kwarg_only)
                for a in schema.arguments
            ]
        ),
        writes=tuple([a.name for a in schema.arguments if a.alias_info and a.alias_info.is_write]),
        composite=bool(composite),
    )


class Call:
    """A call with its arguments by name and, once it has run, its results."""

    __slots__ = ("arguments", "func", "outputs", "signature", "site", "tensors")

    def __init__(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], site: Site) -> None:
        self.func = func
        self.signature = signature(func)
        self.site = site
        arguments: dict[str, Any] = {}
        for number, (name, default, _) in enumerate(self.signature.arguments):
            arguments[name] = args[number] if number < len(args) else kwargs.get(name, default)
        self.arguments = arguments
        self.tensors: list[Any] = list(tensors_in(arguments))
        self.outputs: list[Any] = []

    @property
    def name(self) -> str:
        return self.signature.name

    @property
    def out(self) -> Any:
        """The first tensor of the result."""
        return self.outputs[0]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        value = self.arguments.get(name, default)
        return default if value is None else value

    def written(self) -> list[Any]:
        """The tensors that the call changes in place."""
        return list(tensors_in([self.arguments[name] for name in self.signature.writes]))

    def apply(self, change: Callable[[Any], Any], **replaced: Any) -> Any:
        """Run the operator with ``change`` applied to each tensor argument."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, default, keyword in self.signature.arguments:
            value = replaced.get(name, self.arguments[name])
            value = _changed(value, change)
            if not keyword:
                args.append(value)
            elif value is not default:
                kwargs[name] = value
        return self.func(*args, **kwargs)


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in value):
        return [_changed(v, change) for v in value]
    return value


Rule = Callable[[Recorder, Call], None]
R = TypeVar("R", bound=Rule)
RULES: dict[str, Rule] = {}


def emits(*names: str) -> Callable[[R], R]:
    """Register the rule for torch operators by name: ``"linear"``, ``"quantized::linear"``.

    An operator in ``aten`` has no prefix, and its in-place form no trailing underscore.
    """

    def register(rule: R) -> R:
        for name in names:
            RULES[name] = rule
        return rule

    return register
