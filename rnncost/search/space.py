"""The design space: every combination of cells, directions, layers, sizes and precisions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnncost.errors import BindingError, nearest
from rnncost.latency.arrays import CELLS, Cell, Stack
from rnncost.latency.arrays.layer import GATES
from rnncost.latency.assembly import PRECISION_BITS
from rnncost.search.axis import Axis, axis_of
from rnncost.search.stack import Design

DIRECTIONS = {"uni": 1, "bi": 2}
_SPELLINGS = {"unidirectional": "uni", "bidirectional": "bi"}
_CELLS: dict[str, Cell] = {cell: cell for cell in CELLS}
_FLAGS = {
    "layers": "--layers ",
    "inputs": "--input ",
    "steps": "--dim seq=",
    "batch": "--dim batch=",
    "hidden": "--hidden ",
}
EXTENTS = tuple(_FLAGS)
ASSUMED = {"seq": 100, "batch": 1}
"""The dimensions of the input that a caller may leave open."""

MOST_DESIGNS = 10**9
MOST_LAYERS = 1000
MOST_THREADS = 65_536
BLOCK = 8192
"""Designs at a time: their arrays stay in the second cache."""

_EXACT = 2**53
"""Floats hold every whole number up to here."""


class Block(msgspec.Struct, frozen=True, eq=False):
    """Some designs that share cell, direction, layers and precision, by number and as arrays."""

    numbers: NDArray[np.int64]
    stack: Stack


class Extent(msgspec.Struct, frozen=True):
    """The values of one axis in words, and how many there are."""

    values: str
    count: int


class Space(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Designs by number: cells, directions, precisions and layers outermost, hidden innermost."""

    cells: tuple[Cell, ...]
    directions: tuple[str, ...]
    precisions: tuple[str, ...]
    layers: Axis
    inputs: Axis
    steps: Axis
    batch: Axis
    hidden: Axis
    assumed: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many designs there are."""
        return self._groups * self._inner

    @property
    def _groups(self) -> int:
        names = len(self.cells) * len(self.directions) * len(self.precisions)
        return names * len(self.layers)

    @property
    def _inner(self) -> int:
        return math.prod(map(len, (self.inputs, self.steps, self.batch, self.hidden)))

    def blocks(self) -> Iterator[Block]:
        """All designs, in order."""
        inner = self._inner
        for group in range(self._groups):
            for start in range(0, inner, BLOCK):
                places = np.arange(start, min(start + BLOCK, inner), dtype=np.int64)
                yield self._block(group, places)

    def blocks_of(self, numbers: NDArray[np.int64]) -> Iterator[Block]:
        """Some designs, those that share a cell and the like together."""
        groups = numbers // self._inner
        for group in np.unique(groups).tolist():
            own = numbers[groups == group]
            for start in range(0, len(own), BLOCK):
                yield self._block(group, own[start : start + BLOCK] - group * self._inner)

    def first_of_each(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of designs that share a cell and the like the first one, in the order given."""
        _, places = np.unique(numbers // self._inner, return_index=True)
        return numbers[np.sort(places)]

    def design(self, number: int) -> Design:
        """One design."""
        block = next(self.blocks_of(np.array([number], np.int64)))
        stack = block.stack
        return Design(
            cell=stack.cell,
            directions=stack.directions,
            layers=stack.layers,
            precision=stack.precision,
            **{name: int(np.ravel(getattr(stack, name))[0]) for name in EXTENTS[1:]},
        )

    def described(self) -> dict[str, Extent]:
        """The axes in words, by the names of a table's columns."""
        names = {"cell": self.cells, "direction": self.directions, "precision": self.precisions}
        sizes = {
            "layers": self.layers,
            "hidden": self.hidden,
            "input": self.inputs,
            "seq": self.steps,
            "batch": self.batch,
        }
        return {name: Extent(", ".join(values), len(values)) for name, values in names.items()} | {
            name: Extent(str(axis), len(axis)) for name, axis in sizes.items()
        }

    def _block(self, group: int, places: NDArray[np.int64]) -> Block:
        rest, layer = divmod(group, len(self.layers))
        rest, precision = divmod(rest, len(self.precisions))
        cell, direction = divmod(rest, len(self.directions))
        extents: dict[str, Any] = {}
        left = places
        for name in ("hidden", "batch", "steps", "inputs"):
            axis: Axis = getattr(self, name)
            if len(axis) == 1:
                extents[name] = np.float64(axis.largest)
            else:
                left, own = np.divmod(left, len(axis))
                extents[name] = axis.at(own)
        kind = kind_of(self.cells[cell], self.directions[direction], self.precisions[precision])
        stack = Stack(**kind, layers=self.layers.values[layer], **extents)
        return Block(places + group * self._inner, stack)


def space_of(
    *,
    cells: Any,
    directions: Any,
    precisions: Any,
    layers: Any,
    inputs: Any,
    hidden_sizes: Any,
    dims: Mapping[str, Any] | None,
    threads: int = 1,
) -> Space:
    """The space that a caller describes.

    Raises:
        BindingError: a name is unknown, numbers are none, or the space is too large.
    """
    extents = dict(dims or {})
    for name in extents:
        if name not in ASSUMED:
            raise BindingError(
                f"a stack of layers has no dimension {name!r}{nearest(str(name), ASSUMED)} "
                f"({', '.join(ASSUMED)})"
            )
    space = Space(
        cells=tuple(_CELLS[name] for name in _names("cell", cells, _CELLS)),
        directions=tuple(_names("direction", directions, DIRECTIONS, _SPELLINGS)),
        precisions=tuple(_names("precision", precisions, PRECISION_BITS)),
        layers=axis_of("layers", layers),
        inputs=axis_of("input", inputs),
        steps=axis_of("dimension seq", extents.get("seq", ASSUMED["seq"])),
        batch=axis_of("dimension batch", extents.get("batch", ASSUMED["batch"])),
        hidden=axis_of("hidden", hidden_sizes),
        assumed=tuple([name for name in ASSUMED if name not in extents]),
    )
    if space.layers.largest > MOST_LAYERS:
        raise BindingError(f"layers: a stack may have {MOST_LAYERS:,} layers")
    _check_size(space)
    check_exact(
        layers=space.layers.largest,
        inputs=space.inputs.largest,
        steps=space.steps.largest,
        batch=space.batch.largest,
        hidden=space.hidden.largest,
        threads=threads,
    )
    return space


def kind_of(cell: str, direction: str, precision: str) -> dict[str, Any]:
    """Cell, directions and precision of a stack, by their names.

    Raises:
        BindingError: a name is unknown.
    """
    (cell,) = _names("cell", [cell], _CELLS)
    (direction,) = _names("direction", [direction], DIRECTIONS, _SPELLINGS)
    (precision,) = _names("precision", [precision], PRECISION_BITS)
    return {
        "cell": _CELLS[cell],
        "directions": DIRECTIONS[direction],
        "precision": None if precision == "fp32" else precision,
    }


def check_exact(
    *, layers: int, inputs: int, steps: int, batch: int, hidden: int, threads: int
) -> None:
    """Refuse extents with which a count, or a step on the way to one, may not fit a float.

    Products are padded by a tile of 128 by 64 at most; 8 covers bytes and sums of the four
    products of an LSTM.

    Raises:
        BindingError: the largest design may be too large.
    """
    columns, rows = max(GATES.values()) * hidden + 128, steps * batch + 64
    depth = max(inputs, 2 * hidden) + hidden + 128
    largest = max(8 * 2 * layers * columns * rows * depth, 4 * columns * rows * threads)
    if largest >= _EXACT:
        raise BindingError(
            f"the largest design (hidden {hidden:,}, layers {layers:,}, input {inputs:,}, seq "
            f"{steps:,}, batch {batch:,}) is too large to be counted exactly on arrays, which ends "
            "at about 10^14 MACs: give smaller sizes"
        )


def _check_size(space: Space) -> None:
    size = space.size
    if size <= MOST_DESIGNS:
        return
    axes = {name: getattr(space, name) for name in EXTENTS}
    longest = max(axes, key=lambda name: len(axes[name]))
    values = axes[longest].values
    step = -(-size // MOST_DESIGNS) * (values.step if isinstance(values, range) else 1)
    raise BindingError(
        f"the space has {size:,} designs and may have {MOST_DESIGNS:,}: narrow it, for example by "
        f"a step, as in {_FLAGS[longest]}{values[0]}-{values[-1]}:{step}"
    )


def _names(
    what: str, given: Any, known: Iterable[str], spellings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Each name once, in lower case; ``spellings`` are others for the same."""
    if isinstance(given, str):
        items: list[Any] = given.split(",")
    else:
        items = list(given) if isinstance(given, Iterable) else [given]
    names, others = tuple(known), spellings or {}
    found: dict[str, None] = {}
    for item in items:
        text = str(item).strip().lower()
        text = others.get(text, text)
        if text not in names:
            hint = nearest(text, (*names, *others))
            raise BindingError(f"there is no {what} {str(item)!r}{hint} ({', '.join(names)})")
        found[text] = None
    if not found:
        raise BindingError(f"there is no {what}: give one of {', '.join(names)}")
    return iter(found)
