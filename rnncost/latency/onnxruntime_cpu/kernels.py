"""Seconds of one execution of a kernel that is not recurrent, from plain extents.

Three shapes of work: ``Linear`` (so many units at so many seconds each, or the bytes that
it moves), ``Product`` (matrix products of every kind) and ``Convolution``.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, Union

import msgspec

from rnncost.latency.onnxruntime_cpu.convolutions import Convolution, convolution_s, panel_s
from rnncost.latency.onnxruntime_cpu.products import (
    combined_s,
    far,
    int8_s,
    packed_s,
    threads_for,
    unpacked_s,
)

if TYPE_CHECKING:
    from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
    from rnncost.profiles.onnxruntime_operators import Operators

CROWDING = 1.15
"""What the weights of many nodes take in the caches, with all that runs between them."""

HIDDEN = 0.5
"""Share of the time for activations that shows beside a product."""

COLUMN_TILE = 16
"""Columns that the kernels of products compute at least."""

SPLIT_UNITS = 40000
"""Elementwise work is split among threads from about so many elements."""


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """Work that grows with its parts: ``units`` are pairs of a rate's name and how many.

    ``node`` is the kernel's name among ``Nodes``, ``bytes`` what is read and written, of which
    ``written`` is written.
    """

    node: str
    units: tuple[tuple[str, float], ...] = ()
    bytes: int = 0
    written: int = 0


ProductKind = Literal["packed", "plain", "transposed", "int8", "integer", "unsigned"]


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """``batch`` products of ``rows x depth`` by ``depth x columns``.

    ``kind`` is ``packed`` for stored weights, ``plain`` and ``transposed`` for a second
    operand that is computed (or stored where it cannot be packed), ``int8`` for 8-bit
    operands, ``integer`` for those of ConvInteger, whose filters are the rows, and ``unsigned``
    where its filters are; ``around`` are units of elementwise work before and after it, ``bytes``
    those of activations.
    """

    kind: ProductKind
    rows: int
    depth: int
    columns: int
    batch: int = 1
    node: str = "product"
    around: tuple[tuple[str, float], ...] = ()
    bytes: int = 0
    written: int = 0


Work = Union[Linear, Product, Convolution]


class KernelTime(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one execution: fixed, computing, and waiting for memory on top of that."""

    fixed_s: float
    compute_s: float
    memory_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.fixed_s + self.compute_s + self.memory_s


def kernel_time(
    work: Work,
    constants: OnnxRuntimeCpu,
    operators: Operators,
    threads: int = 1,
    run_bytes: float = 0.0,
    reach_bytes: float = 0.0,
) -> KernelTime:
    """The time of one execution.

    ``run_bytes`` is what a whole run of the model touches, which decides where weights are;
    ``reach_bytes`` what it touched since the memory of the result was last in use.
    """
    crowded = run_bytes * CROWDING
    memory = (work.bytes - work.written) * stream_s(operators, work.bytes)
    memory += work.written * stream_s(operators, max(work.bytes, reach_bytes))
    if isinstance(work, Linear):
        return _linear_time(work, memory, constants, operators, threads)
    if isinstance(work, Product):
        node = work.node
        seconds = _product_s(work, constants, operators, threads, crowded)
    else:
        node = "blocked_conv" if work.kind in ("blocked", "depthwise") else "conv"
        seconds = units_s(work.around, operators)
        seconds += convolution_s(work, constants, operators.convolutions, crowded, threads)
    return KernelTime(
        fixed_s=float(getattr(operators.nodes, node)),
        compute_s=seconds,
        memory_s=combined_s(seconds, memory, HIDDEN) - seconds,
    )


def stream_s(operators: Operators, footprint_bytes: float) -> float:
    """Seconds a byte for an operator that touches so many, interpolated on logarithms."""
    points = operators.stream
    if footprint_bytes <= points[0].footprint_bytes:
        return points[0].s_per_byte
    for near, beyond in pairwise(points):
        if footprint_bytes <= beyond.footprint_bytes:
            span = math.log(beyond.footprint_bytes / near.footprint_bytes)
            share = math.log(footprint_bytes / near.footprint_bytes) / span
            return (1 - share) * near.s_per_byte + share * beyond.s_per_byte
    return points[-1].s_per_byte


def units_s(units: tuple[tuple[str, float], ...], operators: Operators) -> float:
    """Seconds of units of work."""
    return sum(count * float(getattr(operators.rates, rate)) for rate, count in units)


def _linear_time(
    work: Linear, memory: float, constants: OnnxRuntimeCpu, operators: Operators, threads: int
) -> KernelTime:
    compute = units_s(work.units, operators)
    used = 1
    if threads > 1:
        most = max((count for _, count in work.units), default=work.bytes / 8)
        used = min(threads, int(most // SPLIT_UNITS) + 1)
    whole = _shared(combined_s(compute, memory, operators.overlap), used, constants)
    part = min(whole, compute / used)
    return KernelTime(
        fixed_s=float(getattr(operators.nodes, work.node)), compute_s=part, memory_s=whole - part
    )


def _shared(seconds: float, used: int, constants: OnnxRuntimeCpu) -> float:
    """Work that threads share evenly."""
    return seconds if used == 1 else seconds / used + constants.fork_s


def _product_s(
    work: Product,
    constants: OnnxRuntimeCpu,
    operators: Operators,
    threads: int,
    run_bytes: float,
) -> float:
    products, convolutions = constants.products, operators.convolutions
    rows, depth, columns, batch = work.rows, work.depth, work.columns, work.batch
    around = units_s(work.around, operators)
    if work.kind in ("integer", "unsigned"):
        # Each image is a product of its own, and packs its operands anew.
        used = threads_for(rows, depth, columns, threads)
        column_s = columns * convolutions.integer_mac_s
        if work.kind == "unsigned":
            column_s = -(-columns // COLUMN_TILE) * COLUMN_TILE * convolutions.unsigned_mac_s
        column_s += convolutions.integer_weight_s
        each = rows * depth * column_s / used + (constants.fork_s if used > 1 else 0.0)
        return around + batch * each
    used = threads_for(rows * batch, depth, columns, threads)
    working_set = run_bytes / used
    if used > 1:
        around += constants.fork_s
        if batch > 1:
            batch = -(-batch // used)
        elif columns > rows:
            blocks = -(-columns // COLUMN_TILE)
            columns = min(columns, -(-blocks // used) * COLUMN_TILE)
        else:
            rows = -(-rows // used)
    slowdown = 1 + products.sharing * (used - 1)
    if work.kind == "packed":
        each = packed_s(products, rows, depth, columns, working_set, slowdown)
    elif work.kind == "int8":
        each = int8_s(products, rows, depth, max(columns, COLUMN_TILE), working_set, slowdown)
    elif work.kind == "transposed":
        each = unpacked_s(products, rows, depth, columns, working_set, slowdown)
    else:
        byte_s, overlap = far(products, working_set)
        compute = panel_s(products, convolutions, rows, depth, columns)
        compute += convolutions.group_s if batch > 1 else 0.0
        each = combined_s(compute, slowdown * byte_s * 4 * depth * columns, overlap)
    return around + batch * each
