"""The states that a plot shows: each with its curve in every precision."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rnncost.along_time.drift.model import Drift, StateDrift


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """A state of one direction of a layer; ``curves`` are by precision."""

    state: str
    layer: str
    direction: str
    curves: dict[str, StateDrift]


def panels(drift: Drift) -> list[Panel]:
    """Every state that was compared step by step.

    Layers that have the same name are told apart by their order.
    """
    found: dict[tuple[str, str, int, str], Panel] = {}
    for one in drift.precisions:
        alike: dict[tuple[str, str], int] = {}
        for layer in one.layers:
            number = alike.setdefault((layer.name, layer.direction), 0)
            alike[layer.name, layer.direction] += 1
            for state in layer.states:
                if state.steps:
                    panel = found.setdefault(
                        (layer.name, layer.direction, number, state.state),
                        Panel(
                            state=state.state,
                            layer=layer.name,
                            direction=layer.direction,
                            curves={},
                        ),
                    )
                    panel.curves[one.precision] = state
    return list(found.values())


def alone(values: Sequence[float | None]) -> list[int]:
    """The places of values without a neighbour, of which a line shows nothing."""
    known = [False, *(value is not None for value in values), False]
    return [
        place
        for place in range(len(values))
        if known[place + 1] and not known[place] and not known[place + 2]
    ]
