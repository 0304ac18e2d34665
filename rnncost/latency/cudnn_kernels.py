"""The time of cuDNN's recurrent kernels from plain numbers: a shape, a GPU and constants.

Standard algorithm, a product and its gates launched for every step::

    step    = directions x floor + product
    product = the 4-norm of (depth x time of a position, tiles at peak / share, bytes / share)
    layer   = call + start-up + steps x step

A product of ``columns`` x ``rows`` over ``depth`` runs as tiles of 128 columns by 8, 32 or
64 rows, in whole waves over the multiprocessors. A tile walks along the depth at a pace of
its own however idle the GPU is, which is what bounds most recurrent steps. Up to four rows
run as matrix-vector products, bound by the bandwidth of the level that holds the weights.
The 4-norm is a maximum that is rounded where two bounds meet. Two directions run side by
side: launches, tiles and bytes add up, the walk along the depth does not.

The first steps of a call take longer where the weights come from memory: the extra time of
a step fades over about a hundred steps. This is seen in every published sheet; no source
explains it.

Persistent algorithms keep the recurrent matrix in registers for the whole sequence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

TILE_COLUMNS = 128
TILE_ROWS = (8, 32, 64, 64)
"""Rows of a tile for products of 5 to 16, to 32, to 64 and of more rows."""
START_STEPS = 100
_MOST_ROWS = (4, 16, 32, 64)
_NORM = 4.0


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """What a data sheet says of a GPU. ``macs_per_s`` is the peak in the products' precision.

    ``weight_levels`` are size and bytes a second of each memory level that all
    multiprocessors share, the nearest first; a size of infinity holds everything.
    """

    macs_per_s: float
    cores: int
    weight_levels: tuple[tuple[float, float], ...]
    register_bytes: float = 262144.0

    def holder(self, size_bytes: float) -> tuple[bool, float]:
        """Whether a cache holds so many bytes, and the bandwidth that they come with."""
        last = len(self.weight_levels) - 1
        for i, (size, bytes_per_s) in enumerate(self.weight_levels):
            if size_bytes <= size or i == last:
                return i < last, bytes_per_s
        raise ValueError("a GPU needs a memory level")


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a layer. ``output`` is the width that R multiplies: H or P."""

    gates: int
    hidden: int
    output: int
    batch: int
    steps: int
    directions: int
    element_bytes: float

    @property
    def recurrent_bytes(self) -> float:
        """R, and the projection where there is one, of all directions."""
        projection = self.output * self.hidden if self.output != self.hidden else 0
        one = self.gates * self.hidden * self.output + projection
        return self.directions * one * self.element_bytes


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """The constants of one generation of kernels, and where they come from.

    ``depth_s`` is the time of one position of the depth and ``tile_share`` the share of the
    peak that whole waves of tiles reach (above 1 where the kernels use smaller tiles), for
    each of ``TILE_ROWS``. ``interval`` holds two ratios of measured to predicted time.
    """

    source: str
    call_s: float
    startup_s: float
    floor_s: float
    bandwidth_share: float
    depth_s: tuple[float, float, float, float]
    tile_share: tuple[float, float, float, float]
    peak_share: float = 0.9
    persistent: bool = False
    interval: tuple[float, float] | None = None


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds a product: ``kernel`` is an index of ``TILE_ROWS``, or None for few rows."""

    kernel: int | None
    depth: int
    tiles_s: float
    peak_s: float
    memory_s: float


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What a layer asks of a GPU, free of the constants."""

    steps: int
    directions: int
    resident: bool
    products: tuple[Product, ...]


def product_of(
    columns: int,
    rows: int,
    depth: int,
    gpu: Gpu,
    *,
    copies: int = 1,
    bytes_per_s: float,
    element_bytes: float,
) -> Product:
    """A matrix product of [rows, depth] by [depth, columns], ``copies`` of them at once."""
    kernel = sum(rows > most for most in _MOST_ROWS) - 1
    macs = copies * columns * rows * depth
    tiles_s = 0.0
    if kernel >= 0:
        wide = TILE_ROWS[kernel]
        tiles = copies * -(-columns // TILE_COLUMNS) * -(-rows // wide)
        waves = -(-tiles // gpu.cores)
        tiles_s = waves * TILE_COLUMNS * wide * depth / (gpu.macs_per_s / gpu.cores)
    return Product(
        kernel=kernel if kernel >= 0 else None,
        depth=depth,
        tiles_s=tiles_s,
        peak_s=macs / gpu.macs_per_s,
        memory_s=copies * columns * depth * element_bytes / bytes_per_s,
    )


def work_of_layer(layer: Layer, gpu: Gpu) -> Work:
    """The products of a step of a layer, for all its directions."""
    shapes = [(layer.gates * layer.hidden, layer.output)]
    if layer.output != layer.hidden:
        shapes.append((layer.output, layer.hidden))
    return work_of_products(layer, shapes, gpu)


def work_of_products(layer: Layer, shapes: Iterable[tuple[int, int]], gpu: Gpu) -> Work:
    """Steps that are products of the layer's rows, of so many columns over so deep a sum."""
    resident, bytes_per_s = gpu.holder(layer.recurrent_bytes)
    return Work(
        steps=layer.steps,
        directions=layer.directions,
        resident=resident,
        products=tuple(
            [
                product_of(
                    columns,
                    layer.batch,
                    depth,
                    gpu,
                    copies=layer.directions,
                    bytes_per_s=bytes_per_s,
                    element_bytes=layer.element_bytes,
                )
                for columns, depth in shapes
            ]
        ),
    )


def bounds_of(product: Product, constants: Constants) -> dict[str, float]:
    """Seconds that a product takes by each bound: latency, compute and memory."""
    memory_s = product.memory_s / constants.bandwidth_share
    if product.kernel is None:
        return {"latency": 0.0, "compute": 0.0, "memory": memory_s}
    return {
        "latency": product.depth * constants.depth_s[product.kernel],
        "compute": product.tiles_s / constants.tile_share[product.kernel],
        "memory": memory_s,
    }


def product_s(product: Product, constants: Constants) -> float:
    """Seconds of one product; never less than its MACs take near the peak."""
    bounds = bounds_of(product, constants).values()
    norm = math.pow(sum([math.pow(bound, _NORM) for bound in bounds]), 1 / _NORM)
    return max(norm, product.peak_s / constants.peak_share)


def step_s(work: Work, constants: Constants) -> float:
    """Seconds of one step of all directions, once the call has settled."""
    products = sum([product_s(product, constants) for product in work.products])
    return work.directions * constants.floor_s + products


def startup_s(work: Work, constants: Constants) -> float:
    """Seconds by which the first steps of a call are longer, together."""
    if work.resident:
        return 0.0
    return constants.startup_s * work.steps / (1 + work.steps / START_STEPS)


def standard_s(work: Work, constants: Constants) -> float:
    """Seconds of one execution of a layer, without its input product."""
    return constants.call_s + startup_s(work, constants) + work.steps * step_s(work, constants)


class Persistent(msgspec.Struct, frozen=True, kw_only=True):
    """Constants of the persistent algorithms.

    Small H: one multiprocessor holds R, and further ones take ``rows`` rows each.
    ``register_macs_per_s`` is its rate where R fits its registers, else
    ``spilled_macs_per_s``. Static: R lies in the registers of all multiprocessors, a step
    takes ``grid_s`` and its MACs at ``grid_share`` of the peak.
    """

    source: str
    floor_s: float
    rows: float
    register_macs_per_s: float
    spilled_macs_per_s: float
    grid_s: float
    grid_share: float


def small_step_s(layer: Layer, gpu: Gpu, constants: Persistent) -> float:
    """Seconds of a step of the persistent algorithm for small H, of all directions in turn."""
    macs = layer.gates * layer.hidden * layer.hidden
    # The table was measured with 4 bytes an element, and 2 bytes take as long.
    resident = 4 * macs <= gpu.register_bytes
    rate = constants.register_macs_per_s if resident else constants.spilled_macs_per_s
    rows = max(1.0, layer.batch / constants.rows)
    return layer.directions * (constants.floor_s + macs * rows / rate)


def static_step_s(layer: Layer, gpu: Gpu, constants: Persistent) -> float:
    """Seconds of a step of the static persistent algorithm."""
    macs = layer.gates * layer.hidden * layer.hidden * layer.batch
    return constants.grid_s + macs / (gpu.macs_per_s * constants.grid_share)
