"""Which layers are timed on a GPU: each constant of cuDNN's model shows in some of them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import get_args

from rnncost.counting.count import count
from rnncost.counting.counted import Counted
from rnncost.frontends.torch.cuda_timing import DTYPES, CellType, CudaLayer, CudaPrecision
from rnncost.graph.ir import Graph, Op, Slab, Tensor

RANDOM_LAYERS = 45
SEED = 20263
MAX_MACS = 20_000_000_000
"""Of a random layer, so that a run takes some ten milliseconds at most."""

_BEYOND = 1.2
"""Weights in sizes of the cache that come from memory; more of them would only take longer."""

_MULTIPLE = 32
_MOST = {"hidden": 2048, "batch": 64, "steps": 256}
_GATES: dict[CellType, int] = {"LSTM": 4, "GRU": 3, "RNN": 1}


def chosen_layers(cache_bytes: float) -> list[CudaLayer]:
    """The layers that are not random, in fp32, by the constant that they are there for.

    ``cache_bytes`` is the size of the cache that all multiprocessors share.
    """
    beyond: dict[CellType, int] = {
        cell: _hidden_for(cell, _BEYOND * cache_bytes) for cell in ("LSTM", "GRU")
    }
    return [
        # A call: next to no steps.
        *[_layer(cell, hidden=32, batch=1, steps=8) for cell in _GATES],
        # A step of the persistent algorithm for small hidden sizes.
        *[_layer(cell, hidden=64, batch=1, steps=256) for cell in _GATES],
        _layer("LSTM", hidden=32, batch=4, steps=200, directions=2),
        # A launch: small steps of the standard algorithm.
        _layer("LSTM", hidden=224, batch=1, steps=256),
        _layer("GRU", hidden=256, batch=2, steps=256, directions=2),
        _layer("RNN", hidden=416, batch=4, steps=256),
        # Bandwidth: few rows and large weights, from the cache or from memory.
        _layer("LSTM", hidden=1024, batch=1, steps=128),
        _layer("GRU", hidden=768, batch=2, steps=128, directions=2),
        # The first steps of a call, whose weights come from memory.
        *[
            _layer(cell, hidden=hidden, batch=batch, steps=steps)
            for cell, hidden in beyond.items()
            for batch, steps in ((1, 16), (2, 24), (4, 12), (1, 256))
        ],
        # The peak: the input product is most of the work.
        _layer("LSTM", inputs=4096, hidden=512, batch=64, steps=128),
        _layer("GRU", inputs=4096, hidden=768, batch=64, steps=128),
    ]


def random_layers(count: int, seed: int, precisions: Sequence[CudaPrecision]) -> list[CudaLayer]:
    """Layers with extents drawn evenly on logarithms; cells and precisions in turn.

    Units and inputs are multiples of 32 up to 2048, the batch 1 to 64, steps 8 to 256, in one
    or two directions. Layers of more than ``MAX_MACS`` are left out.
    """
    draw = random.Random(seed)
    cells = get_args(CellType)

    def between(low: int, high: int) -> int:
        return round(math.exp(draw.uniform(math.log(low), math.log(high))))

    drawn: list[CudaLayer] = []
    while len(drawn) < count:
        layer = CudaLayer(
            cell=cells[len(drawn) % len(cells)],
            precision=precisions[len(drawn) // len(cells) % len(precisions)],
            inputs=_MULTIPLE * between(1, _MOST["hidden"] // _MULTIPLE),
            hidden=_MULTIPLE * between(1, _MOST["hidden"] // _MULTIPLE),
            batch=between(1, _MOST["batch"]),
            steps=between(8, _MOST["steps"]),
            directions=draw.choice((1, 2)),
        )
        if macs_of(layer) <= MAX_MACS:
            drawn.append(layer)
    return drawn


def _hidden_for(cell: CellType, recurrent_bytes: float) -> int:
    """The units, a multiple of 32, whose recurrent weights in fp32 take so many bytes or more."""
    return _MULTIPLE * math.ceil(math.sqrt(recurrent_bytes / (4 * _GATES[cell])) / _MULTIPLE)


def macs_of(layer: CudaLayer) -> int:
    """The MACs of a layer: T·B·D·G·H·(I + H)."""
    columns = layer.directions * _GATES[layer.cell] * layer.hidden
    return layer.steps * layer.batch * columns * (layer.inputs + layer.hidden)


def counted_layer(layer: CudaLayer) -> Counted:
    """The count of a model that is one layer, with biases, as PyTorch's layers have them."""
    dtype = DTYPES[layer.precision]
    d, h, n = layer.directions, layer.hidden, _GATES[layer.cell] * layer.hidden

    def stored(name: str, *shape: int) -> Tensor:
        whole = Slab(name, dtype, tuple([(0, extent, 1) for extent in shape]))
        return Tensor(name, dtype, shape, (whole,))

    x = Tensor("X", dtype, (layer.steps, layer.batch, layer.inputs))
    y = Tensor("Y", dtype, (layer.steps, d, layer.batch, h))
    op = Op(
        name="layer",
        op_type=layer.cell,
        inputs=(
            x,
            stored("W", d, n, layer.inputs),
            stored("R", d, n, h),
            stored("B", d, 2 * n),
        ),
        outputs=(y,),
        attrs={
            "hidden_size": h,
            "direction": "bidirectional" if d == 2 else "forward",
            "linear_before_reset": 1,
        },
    )
    return count(Graph(inputs=(x,), outputs=(y,), ops=(op,)))


def _layer(
    cell: CellType,
    *,
    hidden: int,
    batch: int,
    steps: int,
    inputs: int = 64,
    directions: int = 1,
) -> CudaLayer:
    return CudaLayer(
        cell=cell,
        precision="fp32",
        inputs=inputs,
        hidden=hidden,
        batch=batch,
        steps=steps,
        directions=directions,
    )
