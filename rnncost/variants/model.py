"""What a change of a model asks for, what a model has that can change, and the result."""

from __future__ import annotations

from typing import Any, Literal, Union

import msgspec

Cell = Literal["lstm", "gru", "rnn"]
Direction = Literal["uni", "bi"]
Policy = Literal["same hidden size", "same output width"]

SAME_HIDDEN_SIZE: Policy = "same hidden size"
SAME_OUTPUT_WIDTH: Policy = "same output width"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What to make of every recurrent layer of a model; None leaves it as it is.

    ``hidden_size`` is in units a direction, ``layers`` the length of the stack. ``policy``
    decides about a change of direction: with "same hidden size" each direction keeps its
    units, and what reads the layer shrinks or grows with its output; with "same output
    width" one direction of 2H units stands for two of H, and two of H/2 for one of H. Two
    directions that are added up are as wide as one: one of H units stands for them.
    """

    cell: Union[Cell, None] = None
    direction: Union[Direction, None] = None
    hidden_size: Union[int, None] = None
    layers: Union[int, None] = None
    policy: Policy = SAME_HIDDEN_SIZE


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One recurrent layer. ``nodes`` has two names where each direction is a node of its own.

    ``name`` is that of the first node, or of its first output where it has none.
    ``input_size`` and ``hidden_size`` (units a direction) are 0 where the file does not say.
    A layer that runs backwards alone counts as "uni". ``quantised`` marks weights of 8 bits,
    which exist for the LSTM alone.
    """

    name: str
    nodes: tuple[str, ...]
    cell: Cell
    direction: Direction
    input_size: int
    hidden_size: int
    quantised: bool = False


class Structure(msgspec.Struct, frozen=True, kw_only=True):
    """The recurrent layers of a model.

    ``stacks`` has the names of layers that feed each other, first to last; a layer that
    feeds none is a stack of one. ``others`` describe recurrences that cannot be rewritten:
    cells written out as products, or carried by a Loop or Scan.
    """

    layers: tuple[Layer, ...]
    stacks: tuple[tuple[str, ...], ...]
    others: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells in use, each once, in order of appearance."""
        return tuple(dict.fromkeys(layer.cell for layer in self.layers))

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions in use, each once, in order of appearance."""
        return tuple(dict.fromkeys(layer.direction for layer in self.layers))

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """The hidden sizes in use, each once, in order of appearance."""
        return tuple(dict.fromkeys(layer.hidden_size for layer in self.layers))


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A rewritten model, an ``onnx.ModelProto``, and what the rewriting had to decide."""

    model: Any
    notes: list[str]
