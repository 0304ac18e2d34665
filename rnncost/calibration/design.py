"""Which layers are timed: each constant of the model shows in some of them.

Sizes follow the caches: units are chosen so that the recurrent weights are a given share of
the second cache. A part is drawn at random, so that the fit holds between the chosen points.
"""

from __future__ import annotations

import math
import random
from typing import get_args

from rnncost.latency.onnxruntime_cpu.layers import GATES, CellName, Layer

SHARES = (0.003, 0.02, 0.1, 0.35, 0.8, 1.2, 1.7, 3.0, 8.0, 18.0, 40.0)
"""Recurrent weights in sizes of the second cache."""

RANDOM_LAYERS = 120
THREADED_LAYERS = 45
"""Drawn at random, for one thread and for more."""

SEED = 20260
"""Of the random part; the accuracy suites draw with other seeds."""

MAX_MACS = 400_000_000
"""Of a random layer, so that a run takes some ten milliseconds at most."""

_ROWS = (1, 2, 3, 4, 5, 6, 8, 12, 16)


def chosen_layers(second_cache_bytes: float) -> list[Layer]:
    """The layers that are not random, for a machine with such a second cache."""
    chosen: list[Layer] = []
    cells: tuple[CellName, ...] = get_args(CellName)
    for cell in cells:
        chosen += [
            Layer(cell=cell, steps=1, rows=1, inputs=8, hidden=8),
            Layer(cell=cell, steps=1, rows=16, inputs=8, hidden=64),
            Layer(cell=cell, steps=100, rows=1, inputs=8, hidden=8),
            Layer(cell=cell, steps=100, rows=12, inputs=8, hidden=8),
            Layer(cell=cell, steps=100, rows=6, inputs=8, hidden=48, directions=2),
            Layer(cell=cell, steps=4, rows=1, inputs=8, hidden=16, directions=2),
        ]
        for number, share in enumerate(SHARES):
            hidden = hidden_for(cell, share * second_cache_bytes)
            # Every size meets one row and, in turn, other numbers of rows.
            for rows in {1, _ROWS[1 + number % 8], _ROWS[1 + (number + 3) % 8]}:
                chosen.append(
                    Layer(
                        cell=cell,
                        steps=steps_for(cell, rows, hidden),
                        rows=rows,
                        inputs=16,
                        hidden=hidden,
                    )
                )
        # Input products of many steps, which fill the near caches and more.
        for steps, rows, hidden in ((200, 4, 64), (200, 16, 96), (120, 9, 203), (60, 16, 330)):
            chosen.append(Layer(cell=cell, steps=steps, rows=rows, inputs=16, hidden=hidden))
        for inputs, hidden, rows in ((512, 32, 4), (1024, 128, 1), (256, 256, 12), (64, 512, 3)):
            chosen.append(Layer(cell=cell, steps=24, rows=rows, inputs=inputs, hidden=hidden))
            chosen.append(Layer(cell=cell, steps=1, rows=1, inputs=inputs, hidden=hidden))
    return chosen


def chosen_threaded_layers() -> list[Layer]:
    """The layers that are not random, for more threads: small steps, which show what handing
    work over takes, larger ones, which show what sharing takes, and batches that are split."""
    cells: tuple[CellName, ...] = get_args(CellName)
    return [
        Layer(cell=cell, steps=40, rows=rows, inputs=16, hidden=hidden)
        for cell in cells
        for rows, hidden in (
            *((1, 160), (1, 256), (1, 420), (1, 700)),
            *((3, 64), (6, 40), (4, 96), (4, 256), (12, 160)),
        )
    ]


def random_layers(count: int, seed: int, max_macs: int | None = None) -> list[Layer]:
    """Layers with extents drawn evenly on logarithms.

    Steps 1 to 200, rows 1 to 16, inputs 8 to 1024, units 8 to 1536, one or two directions;
    the cells in turn. Layers of more than ``max_macs`` are left out.
    """
    draw = random.Random(seed)
    cells: tuple[CellName, ...] = get_args(CellName)

    def between(low: int, high: int) -> int:
        return round(math.exp(draw.uniform(math.log(low), math.log(high))))

    drawn: list[Layer] = []
    while len(drawn) < count:
        layer = Layer(
            cell=cells[len(drawn) % len(cells)],
            steps=between(1, 200),
            rows=between(1, 16),
            inputs=between(8, 1024),
            hidden=between(8, 1536),
            directions=draw.choice((1, 2)),
        )
        if max_macs is None or layer.macs <= max_macs:
            drawn.append(layer)
    return drawn


def hidden_for(cell: CellName, recurrent_bytes: float) -> int:
    """The units whose recurrent weights in one direction take so many bytes."""
    size = 1 if cell == "lstm_int8" else 4
    return max(4, round(math.sqrt(recurrent_bytes / (GATES[cell] * size))))


def steps_for(cell: CellName, rows: int, hidden: int) -> int:
    """Enough steps to show what a step costs, few enough to be timed often."""
    macs = rows * GATES[cell] * hidden * hidden
    return max(3, min(60, 20_000_000 // max(macs, 1)))
