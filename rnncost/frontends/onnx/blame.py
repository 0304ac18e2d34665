"""Which model inputs a value depends on, for messages that say how to settle it."""

from __future__ import annotations

from rnncost.frontends.onnx.context import Context
from rnncost.frontends.onnx.order import captured, shown, subgraphs
from rnncost.frontends.onnx.scope import Scope

_FEW = 16
"""An input of at most this many elements is one that a person can give by hand."""


def how_to_settle(ctx: Context, scope: Scope, *names: str) -> str:
    """What to give so that values become known: ``give --value sr=…, or --trace …``."""
    inputs = dict.fromkeys(i for name in names for i in unknown_inputs(ctx, scope, name))
    if not inputs:
        return "give --trace to see what one run does"
    listed = " ".join(f"--value {shown(i)}=…" for i in inputs)
    return f"give {listed}, or --trace to see what one run does"


def unknown_inputs(ctx: Context, scope: Scope, name: str) -> list[str]:
    """Small graph inputs without a value that the named value depends on."""
    found: dict[str, None] = {}
    seen: set[tuple[int, str]] = set()
    pending = [(scope, name)]
    while pending:
        place, wanted = pending.pop()
        home = next((s for s in place.chain() if _provides(s, wanted)), None)
        if home is None or (id(home), wanted) in seen:
            continue
        seen.add((id(home), wanted))
        bound = home.bound.get(wanted)
        if bound is not None and bound.known.value is not None:
            continue
        if wanted in home.origins:
            pending.append(home.origins[wanted])
        elif wanted in home.producers:
            node = home.producers[wanted]
            pending.extend((home, read) for read in node.inputs if read)
            for _, graph in subgraphs(node):
                pending.extend((home, read) for read in captured(graph, ctx.captures))
        elif bound is not None and home.parent is None and home.depth == 0:
            shape = None if bound.known.is_sequence else bound.known.shape
            numel = 1
            for dim in shape or ():
                numel *= dim if isinstance(dim, int) else _FEW + 1
            if shape is not None and numel <= _FEW:
                found[wanted] = None
    return list(found)


def _provides(scope: Scope, name: str) -> bool:
    return name in scope.producers or name in scope.bound or name in scope.origins
