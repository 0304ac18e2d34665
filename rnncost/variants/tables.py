"""The tables of rules: how a change passes through an operator, forward and back.

A forward rule edits the node whose inputs changed and says how its outputs change; it
may ask for other inputs to change with them (``Site.conform``). A backward rule makes a node
give an output of another extent, by asking the same of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rnncost.variants.parts import Layout
from rnncost.variants.site import Site

Layouts = Sequence[Layout | None]
Forward = Callable[[Site], Layouts]
Backward = Callable[[Site, int, Layout], None]
F = TypeVar("F", bound=Forward)
B = TypeVar("B", bound=Backward)

FORWARD: dict[str, Forward] = {}
BACKWARD: dict[str, Backward] = {}


def forward(*op_types: str) -> Callable[[F], F]:
    """Register a forward rule for operators, by ONNX name or ``domain::Name``."""

    def register(rule: F) -> F:
        FORWARD.update(dict.fromkeys(op_types, rule))
        return rule

    return register


def backward(*op_types: str) -> Callable[[B], B]:
    """Register a backward rule for operators, by ONNX name or ``domain::Name``."""

    def register(rule: B) -> B:
        BACKWARD.update(dict.fromkeys(op_types, rule))
        return rule

    return register
