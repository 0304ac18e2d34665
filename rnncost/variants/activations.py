"""The activation functions of a recurrent node when its cell or directions change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rnncost.variants.model import Cell
from rnncost.variants.site import Site
from rnncost.variants.target import Target

if TYPE_CHECKING:
    from rnncost.variants.walk import Walk

_DEFAULTS: dict[Cell, tuple[str, ...]] = {
    "lstm": ("Sigmoid", "Tanh", "Tanh"),
    "gru": ("Sigmoid", "Tanh"),
    "rnn": ("Tanh",),
}
"""One direction's functions where the node lists none (ONNX operators LSTM, GRU, RNN)."""


def new_activations(
    site: Site, target: Target, cell: Cell, directions: int, walk: Walk
) -> dict[str, Any]:
    """The attributes ``activations``, ``activation_alpha`` and ``activation_beta``.

    Gates keep the function of the gates, the candidate that of the candidate. Parameters of
    functions stay where cell and directions do; otherwise the functions' defaults hold.
    """
    listed = site.attr("activations")
    extra = {
        name: list(site.attr(name))
        for name in ("activation_alpha", "activation_beta")
        if site.attr(name)
    }
    same = target.cell == cell and not target.halve and not target.double
    if same:
        return {**({"activations": list(listed)} if listed else {}), **extra}
    if extra:
        walk.note(f"the functions of {target.name!r} have their default parameters")
    if not listed:
        return {}
    one = _converted(listed[: len(_DEFAULTS[cell])], cell, target.cell)
    usual = _DEFAULTS[target.cell]
    if [name.lower() for name in one] == [name.lower() for name in usual]:
        return {}
    return {"activations": list(one) * directions}


def _converted(functions: Sequence[str], cell: Cell, new: Cell) -> tuple[str, ...]:
    gates = functions[0] if cell != "rnn" else "Sigmoid"
    candidate = functions[0] if cell == "rnn" else functions[1]
    output = functions[2] if cell == "lstm" else candidate
    return {"lstm": (gates, candidate, output), "gru": (gates, candidate), "rnn": (candidate,)}[new]
