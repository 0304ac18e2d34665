"""What is to become of one recurrent node."""

from __future__ import annotations

import msgspec

from rnncost.variants.model import Cell

Key = tuple[str, int]
"""A node: the path of its graph, and its index there."""

GATES: dict[Cell, int] = {"lstm": 4, "gru": 3, "rnn": 1}
OP_TYPES: dict[Cell, str] = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
QUANTISED = "com.microsoft::DynamicQuantizeLSTM"
CELLS: dict[str, Cell] = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn", QUANTISED: "lstm"}


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The new form of a recurrent node.

    ``hidden`` is in units a direction. ``halve`` drops the second direction of a
    bidirectional node, ``double`` adds one. ``removed`` nodes go; where ``stands_in`` names
    another node, that node's outputs take the place of theirs. ``copies`` are appended as
    further layers of the stack.

    ``read_as`` says of Y_h and Y_c whether they stand in for those of a removed layer, which
    something computes with. ``state_only`` says of Y_h and Y_c whether they are only handed
    on as states; otherwise they are features, which something computes with. ``streams`` says
    whether Y_h leaves the model, and ``fed`` whether the initial state comes in from outside.
    """

    name: str
    cell: Cell
    hidden: int
    halve: bool = False
    double: bool = False
    removed: bool = False
    stands_in: Key | None = None
    copies: int = 0
    read_as: tuple[bool, bool] = (False, False)
    state_only: tuple[bool, bool] = (False, False)
    streams: bool = False
    fed: bool = False
