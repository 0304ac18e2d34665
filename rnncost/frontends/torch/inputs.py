"""The inputs of a module: what the caller gave, or shapes and values by parameter name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import msgspec
import torch
from torch.nn.utils.rnn import PackedSequence

from rnncost.errors import BindingError, ModuleError, nearest
from rnncost.graph.source import InputValue, Request


class Blank(msgspec.Struct, frozen=True):
    """An input of which the caller gave the shape alone."""

    shape: tuple[int, ...]
    dtype: Any


class Arguments(msgspec.Struct, frozen=True):
    """The arguments of forward, by position and by keyword, each with its parameter's name.

    A leaf is a tensor, a ``Blank`` or a plain value; a leaf inside a tuple or mapping is
    labelled with its place: ``hx.0``.
    """

    args: tuple[tuple[str, Any], ...]
    kwargs: tuple[tuple[str, Any], ...]

    def mapped(self, change: Callable[[str, Any], Any]) -> Arguments:
        """The same arguments with each leaf changed."""
        return Arguments(
            tuple([(label, _walk(label, value, change)) for label, value in self.args]),
            tuple([(label, _walk(label, value, change)) for label, value in self.kwargs]),
        )

    def labels(self, *, empty: bool = False) -> list[str]:
        """The labels of the tensors and blanks, or only of those without elements."""
        found: list[str] = []

        def note(label: str, value: Any) -> Any:
            tensor = isinstance(value, torch.Tensor)
            if isinstance(value, Blank) or (tensor and (value.is_meta or not empty)):
                found.append(label)
            return value

        self.mapped(note)
        return found


def _walk(label: str, value: Any, change: Callable[[str, Any], Any]) -> Any:
    if isinstance(value, PackedSequence):
        rest = (value.batch_sizes, value.sorted_indices, value.unsorted_indices)
        return PackedSequence(change(f"{label}.data", value.data), *rest)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = zip(value._fields, value, strict=True)
        return type(value)(*[_walk(f"{label}.{name}", part, change) for name, part in parts])
    if isinstance(value, (list, tuple)):
        return type(value)([_walk(f"{label}.{at}", part, change) for at, part in enumerate(value)])
    if isinstance(value, dict):
        return {key: _walk(f"{label}.{key}", part, change) for key, part in value.items()}
    return change(label, value)


def arguments(module: Any, inputs: Any, request: Request) -> Arguments:
    """What forward is called with.

    ``inputs`` is a tuple of arguments, one tensor, a mapping of keyword arguments, or
    nothing (None or an empty tuple); then the shapes and values of the request stand for
    the parameters of forward. Beside inputs, a shape or value of the request replaces the
    one of that name.

    Raises:
        BindingError: a shape or value names no parameter of forward.
        ModuleError: inputs are needed and none are given.
    """
    required, optional, takes_any = _parameters(module)
    names = [*required, *optional]
    floating = _floating(module)
    if inputs is None or (isinstance(inputs, tuple) and not inputs):
        given = _from_names((*request.shapes, *request.values), names)
        known = names if not takes_any else [*names, *(label for label, _ in given.kwargs)]
        check_names(request, known)
        missing = [name for name in required if name not in dict(given.kwargs)]
        if missing:
            shapes = " ".join(f"--shape {name}=1x100x40" for name in missing)
            raise ModuleError(
                f"{type(module).__name__} takes {', '.join(missing)}: give example inputs, or "
                f"the shape of each, as in {shapes}"
            )
    else:
        given = _from_values(inputs, names)
        check_names(request, given.labels())

    return override(given, names, request, floating)


def override(given: Arguments, names: list[str], request: Request, floating: Any) -> Arguments:
    """The arguments with the shapes and values that a request gives some of them.

    ``names`` are the parameters in order, which a request may also call 0, 1 …
    """

    def settled(label: str, value: Any) -> Any:
        name = label if label in request.shapes or label in request.values else None
        name = name or _position(label, names)
        if name in request.values:
            return _tensor(request.values[name], floating)
        if name in request.shapes and (value is None or isinstance(value, (torch.Tensor, Blank))):
            dtype = floating if value is None else value.dtype
            return Blank(tuple(request.shapes[name]), dtype)
        return value

    return given.mapped(settled)


def _from_values(inputs: Any, names: list[str]) -> Arguments:
    if isinstance(inputs, Mapping):
        return Arguments((), tuple(inputs.items()))
    several = isinstance(inputs, (tuple, list)) and not isinstance(inputs, PackedSequence)
    values = tuple(inputs) if several else (inputs,)
    labels = [names[at] if at < len(names) else f"args.{at}" for at in range(len(values))]
    return Arguments(tuple(zip(labels, values, strict=True)), ())


def _from_names(wanted: Iterable[str], names: list[str]) -> Arguments:
    """Keyword arguments to be filled in; ``hx.0`` and ``hx.1`` make the tuple ``hx``."""
    kwargs: dict[str, Any] = {}
    for name in dict.fromkeys(wanted):
        head, _, place = name.partition(".")
        if head.isdigit() and int(head) < len(names):
            head = names[int(head)]
        if place.isdigit():
            kwargs[head] = (None,) * (int(place) + 1) if head not in kwargs else kwargs[head]
            kwargs[head] += (None,) * (int(place) + 1 - len(kwargs[head]))
        else:
            kwargs[head] = None
    return Arguments((), tuple(kwargs.items()))


def _position(label: str, names: list[str]) -> str:
    """The other name of an input: its position instead of its parameter's name."""
    head, dot, place = label.partition(".")
    return f"{names.index(head)}{dot}{place}" if head in names else label


def check_names(request: Request, known: Collection[str]) -> None:
    """Make sure that a request's shapes and values name inputs.

    Raises:
        BindingError: a name is unknown.
    """
    heads = {label.partition(".")[0] for label in known}
    for name in (*request.shapes, *request.values):
        head = name.partition(".")[0]
        if name in known or head in heads or (head.isdigit() and int(head) < len(heads)):
            continue
        raise BindingError(
            f"the module has no input {name!r}{nearest(name, known)}; its inputs are "
            f"{', '.join(known)}"
        )


def _parameters(module: Any) -> tuple[list[str], list[str], bool]:
    """The parameters of forward: required, optional, and whether it takes any keyword."""
    required: list[str] = []
    optional: list[str] = []
    takes_any = False
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            takes_any = takes_any or parameter.kind is parameter.VAR_KEYWORD
        elif parameter.default is parameter.empty:
            required.append(parameter.name)
        else:
            optional.append(parameter.name)
    return required, optional, takes_any


def _floating(module: Any) -> Any:
    """The floating-point type of the module's weights, which its inputs then have too."""
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return parameter.dtype
    return torch.get_default_dtype()


def _tensor(value: InputValue, floating: Any) -> Any:
    first = value.elements[0] if value.elements else 0.0
    dtype = torch.bool if isinstance(first, bool) else torch.int64
    if any(isinstance(element, float) for element in value.elements):
        dtype = floating
    return torch.tensor(value.elements, dtype=dtype).reshape(value.shape)


# -- what the run is fed ------------------------------------------------------------------


class Feed(msgspec.Struct, frozen=True):
    """One tensor that the model is fed."""

    label: str
    tensor: Any


class Fed(msgspec.Struct, frozen=True):
    """Arguments as they are passed to forward, and the tensors among them."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    feeds: tuple[Feed, ...]


def feed(given: Arguments, *, real: bool, integers: Collection[str], device: Any) -> Fed:
    """Tensors for a run.

    Without ``real`` floating-point inputs are shapes on the meta device; with it, they hold
    the caller's elements or, where there are none, random ones. Inputs named in
    ``integers`` are indices, all zero. A tensor given twice is fed once.
    """
    feeds: list[Feed] = []
    same: dict[int, Any] = {}

    def make(label: str, value: Any) -> Any:
        if not isinstance(value, (torch.Tensor, Blank)):
            return value
        if id(value) in same:
            return same[id(value)]
        index = label in integers
        tensor = _elements(value, index, device) if real else _shape(value, index)
        feeds.append(Feed(label, tensor))
        if isinstance(value, torch.Tensor):
            same[id(value)] = tensor
        return tensor

    ready = given.mapped(make)
    args = tuple([value for _, value in ready.args])
    return Fed(args, dict(ready.kwargs), tuple(feeds))


def _elements(value: Any, index: bool, device: Any) -> Any:
    """The caller's tensor; zeros for indices and random numbers else where there is none."""
    if not (isinstance(value, Blank) or value.is_meta or index):
        return value
    dtype = torch.int64 if index else value.dtype
    if dtype.is_floating_point or dtype.is_complex:
        return torch.randn(tuple(value.shape), dtype=dtype, device=device)
    return torch.zeros(tuple(value.shape), dtype=dtype, device=device)


def _shape(value: Any, index: bool) -> Any:
    """A tensor on the meta device; integers keep the elements that they have."""
    dtype = torch.int64 if index else value.dtype
    if isinstance(value, Blank) or index:
        return torch.empty(tuple(value.shape), dtype=dtype, device="meta")
    if not (dtype.is_floating_point or dtype.is_complex):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=dtype, device="meta")
