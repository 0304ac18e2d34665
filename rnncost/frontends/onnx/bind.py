"""The model's inputs: what is free in their declared shapes, and what the caller bound."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from math import isqrt

import msgspec

from rnncost.errors import BindingError, nearest
from rnncost.frontends.onnx.infer.base import VALUE_LIMIT, Known
from rnncost.frontends.onnx.order import shown
from rnncost.frontends.onnx.proto import GraphProto, ValueInfo
from rnncost.graph.dim import Dim, Shape, symbol
from rnncost.graph.source import InputValue, Request
from rnncost.units import FLOAT_DTYPES

ASSUMED_BATCH = 1
ASSUMED_OTHER = 100
OTHER_SIZES = (32, 128, 256, 512, 1024, 16000)
"""What is tried where 100 does not fit: images, spectra, windows of audio."""

_TENSORS = frozenset(("tensor", "sparse"))
_BATCH_NAMES = frozenset(("n", "b", "bs", "nbatch"))
_NO_NAMES = frozenset(("", "?", "none", "null", "unknown", "unk"))


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """A graph input with every dimension an int or the name of a free one.

    ``dims`` is None for an input without a tensor's shape (a map, an opaque value).
    """

    name: str
    kind: str
    dtype: str
    dims: tuple[int | str, ...] | None
    value: InputValue | None = None

    def known(self, dims: Mapping[str, Dim]) -> Known:
        """What is known of the input where each free dimension has the given value."""
        if self.value is not None and len(self.value.elements) <= VALUE_LIMIT:
            return Known(dtype=self.dtype, shape=self.value.shape, value=self.value.elements)
        shape: Shape | None = None
        if self.dims is not None:
            shape = tuple([dims[d] if isinstance(d, str) else d for d in self.dims])
        return Known(dtype=self.dtype, shape=shape, is_sequence=self.kind == "sequence")


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a model, and a value for every free dimension.

    ``assumed`` names the dimensions that nobody gave; ``settled`` those that the shape of a
    given value fixes, which therefore cannot stay free in a formula.
    """

    inputs: tuple[Input, ...]
    dims: Mapping[str, int]
    assumed: tuple[str, ...] = ()
    settled: frozenset[str] = frozenset()

    def describe(self) -> str:
        """The bound dimensions for a message: ``batch=1 (assumed), seq=40``."""
        return ", ".join(
            f"{shown(name)}={value}" + (" (assumed)" if name in self.assumed else "")
            for name, value in self.dims.items()
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor input."""
        return {
            i.name: tuple(self.dims[d] if isinstance(d, str) else d for d in i.dims)
            for i in self.inputs
            if i.dims is not None and i.kind in _TENSORS
        }

    def values(self) -> dict[str, InputValue]:
        return {i.name: i.value for i in self.inputs if i.value is not None}

    def symbols(self, *, distinct: bool) -> dict[str, Dim]:
        """Each free dimension as an expression, its bound value as the sample if possible.

        Samples are above 1, so that none is taken for one that broadcasts. Distinct ones
        keep dimensions apart that only happen to be bound to the same value; otherwise the
        same value is the same sample, for a model that needs two dimensions to be equal.
        """
        taken = set(self.dims.values())
        samples: dict[int, int] = {}
        latest: dict[int, int] = {}  # the prime to search on from
        found: dict[str, Dim] = {}
        for name, value in self.dims.items():
            if name in self.settled:
                found[name] = value
                continue
            if value not in samples or distinct:
                unused = value > 1 and value not in samples
                if not unused:
                    latest[value] = _prime(latest.get(value, 7 if value < 2 else value), taken)
                samples[value] = value if unused else latest[value]
                taken.add(samples[value])
            found[name] = symbol(name, samples[value])
        return found

    def may_be_equal(self) -> bool:
        """Whether two free dimensions are bound to the same value."""
        free = [value for name, value in self.dims.items() if name not in self.settled]
        return len(set(free)) < len(free)


def alternatives(binding: Binding) -> Iterator[Binding]:
    """Other assumptions, for a model that the usual ones contradict.

    One dimension may be a batch that nothing names so, or all may need another size.
    """
    others = [name for name in binding.assumed if binding.dims[name] == ASSUMED_OTHER]
    for size in (ASSUMED_OTHER, *OTHER_SIZES) if others else ():
        dims = {**binding.dims, **dict.fromkeys(others, size)}
        if size != ASSUMED_OTHER:
            yield msgspec.structs.replace(binding, dims=dims)
        if len(others) > 1:
            for name in others:
                yield msgspec.structs.replace(binding, dims={**dims, name: ASSUMED_BATCH})


def bind(graph: GraphProto, request: Request) -> Binding:
    """Settle the shape of every input of a graph.

    Raises:
        BindingError: a name is unknown, values contradict each other or the model, or a
            dimension stays free and ``request.assume`` is False.
    """
    declared = [info for info in graph.inputs if info.name not in graph.initializers]
    names = [info.name for info in declared]
    _known_names((*request.shapes, *request.values), names, "input")
    aliases: dict[str, str] = {}
    inputs = [_input(info, request, aliases) for info in declared]
    free = list(dict.fromkeys(d for i in inputs for d in i.dims or () if isinstance(d, str)))
    wanted = {aliases.get(name, name): value for name, value in request.dims.items()}
    _known_names(wanted, free, "dimension")
    for name, value in wanted.items():
        if value < 1:
            raise BindingError(f"dimension {name!r} cannot be {value}: give 1 or more")
    dims = dict(wanted)
    inputs = [_bind_given(item, request, dims) for item in inputs]
    unbound = [name for name in free if name not in dims]
    if unbound and not request.assume:
        raise BindingError(
            f"dimension {', '.join(map(repr, unbound))} of the model is free: "
            f"give --dim {shown(unbound[0])}=N"
        )
    first = {f"{item.name}.0" for item in inputs}
    for name in unbound:
        dims[name] = ASSUMED_BATCH if name in first or _batch_like(name) else ASSUMED_OTHER
    settled = [d for item in inputs if item.value is not None for d in item.dims or ()]
    return Binding(
        inputs=tuple(inputs),
        dims={name: dims[name] for name in free},
        assumed=tuple(unbound),
        settled=frozenset(d for d in settled if isinstance(d, str)),
    )


def _input(info: ValueInfo, request: Request, aliases: dict[str, str]) -> Input:
    """Name the free dimensions of an input, ``input.axis`` where the model does not."""
    dims: list[int | str] = []
    for axis, dim in enumerate(info.type.shape or ()):
        # Zero stands for "any" in files of some exporters: no input is empty by declaration.
        if (isinstance(dim, int) and dim > 0) or (isinstance(dim, str) and not _nameless(dim)):
            dims.append(dim)
        else:
            name = f"{info.name}.{axis}"
            # tf2onnx numbers its unknown dimensions: the same number is the same dimension.
            if isinstance(dim, str) and dim.startswith("unk__"):
                name = aliases.setdefault(dim, name)
            dims.append(name)
    value = request.values.get(info.name)
    if value is not None:
        value = _typed(info, value)
    held = info.type.element if info.type.kind == "optional" else None
    return Input(
        name=info.name,
        kind=held.kind if held is not None else info.type.kind,
        dtype=info.type.dtype,
        dims=None if info.type.shape is None else tuple(dims),
        value=value,
    )


def _given(item: Input, request: Request) -> tuple[tuple[int, ...] | None, str]:
    """The shape that the caller gave for an input, and with which flag."""
    shape = request.shapes.get(item.name)
    if shape is not None:
        bad = next((dim for dim in shape if dim < 1), None)
        if bad is not None:
            raise BindingError(
                f"the shape given for input {item.name!r} has a dimension of {bad}: "
                "every dimension must be 1 or more"
            )
    if item.value is None:
        return shape, "shape"
    if shape is not None and shape != item.value.shape:
        raise BindingError(
            f"the shape given for input {item.name!r} is {_text(shape)}, "
            f"but its value has the shape {_text(item.value.shape)}"
        )
    return item.value.shape, "value"


def _bind_given(item: Input, request: Request, dims: dict[str, int]) -> Input:
    """Bind the free dimensions of an input to the shape that was given for it, if one was."""
    shape, origin = _given(item, request)
    if item.dims is None:
        if shape is None and item.kind in _TENSORS:
            raise BindingError(
                f"the model does not say how many dimensions input {item.name!r} has: "
                f"give --shape {shown(item.name)}=AxBxC"
            )
        return msgspec.structs.replace(item, dims=shape)
    if shape is not None:
        if len(item.dims) != len(shape):
            raise BindingError(
                f"the {origin} given for input {item.name!r} has {len(shape)} dimensions, "
                f"but the model declares {_text(item.dims)}"
            )
        _match(item, shape, dims, origin)
    return item


def _match(item: Input, shape: tuple[int, ...], dims: dict[str, int], origin: str) -> None:
    """Bind the free dimensions of an input to those of its given shape."""
    for axis, (dim, size) in enumerate(zip(item.dims or (), shape, strict=True)):
        fixed = dims.setdefault(dim, size) if isinstance(dim, str) else dim
        if fixed != size:
            what = f"dimension {dim!r} is bound to" if isinstance(dim, str) else "the model has"
            raise BindingError(
                f"the {origin} given for input {item.name!r} has {size} on axis {axis}, "
                f"where {what} {fixed}"
            )


def _typed(info: ValueInfo, value: InputValue) -> InputValue:
    """A given value in the element type and rank that the model declares."""
    dtype, declared = info.type.dtype, info.type.shape
    shape = value.shape
    if declared is not None and len(value.elements) == 1 and len(declared) != len(shape):
        shape = (1,) * len(declared)
    try:
        elements = tuple([_element(element, dtype) for element in value.elements])
    except (ValueError, OverflowError):
        raise BindingError(
            f"the value given for input {info.name!r} does not fit its type, {dtype}"
        ) from None
    return InputValue(shape, elements)


def _element(element: int | float | bool | str, dtype: str) -> int | float | bool | str:
    """An element as Python holds one of this type; ValueError when it does not fit."""
    if dtype == "string" or isinstance(element, str):
        if dtype != "string" or not isinstance(element, str):
            raise ValueError
        return element
    if dtype == "bool":
        return bool(element)
    if dtype in FLOAT_DTYPES:
        return float(element)
    if int(element) != element:
        raise ValueError
    return int(element)


def _known_names(given: Iterable[str], known: Sequence[str], what: str) -> None:
    for name in given:
        if name not in known:
            listed = f"it has {', '.join(map(repr, known))}" if known else "it has none"
            free = "free " if what == "dimension" else ""
            raise BindingError(
                f"the model has no {free}{what} {name!r}{nearest(name, known)} ({listed})"
            )


def _nameless(dim: str) -> bool:
    text = dim.lower().strip()
    return text in _NO_NAMES or text.startswith("unk__") or text.lstrip("-").isdigit()


def _batch_like(name: str) -> bool:
    text = name.lower()
    return text in _BATCH_NAMES or text.startswith("batch") or text.endswith("batch")


def _text(shape: Sequence[int | str]) -> str:
    return f"[{', '.join([shown(str(dim)) for dim in shape])}]"


def _prime(start: int, taken: Container[int]) -> int:
    """The first prime from ``start`` on that is not taken."""
    number = start
    while number in taken or any(number % d == 0 for d in range(2, isqrt(number) + 1)):
        number += 1
    return number
