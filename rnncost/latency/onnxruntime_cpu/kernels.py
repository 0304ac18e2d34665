"""Seconds of one execution of a kernel that is not recurrent, from plain extents.

Three shapes of work: ``Linear`` (so many units at so many seconds each, or the bytes that
it moves), ``Product`` (matrix products of every kind) and ``Convolution``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Union

import msgspec

from rnncost.latency.onnxruntime_cpu.convolutions import Convolution

if TYPE_CHECKING:
    pass

SPLIT_UNITS = 40000
"""Elementwise work is split among threads from about so many elements."""


class Linear(msgspec.Struct, frozen=True, kw_only=True):
    """Work that grows with its parts: ``units`` are pairs of a rate's name and how many.

    ``node`` is the kernel's name among ``Nodes``, ``bytes`` what is read and written,
    ``splits`` whether more threads share it.
    """

    node: str
    units: tuple[tuple[str, float], ...] = ()
    bytes: int = 0
    splits: bool = True


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """``batch`` products of ``rows x depth`` by ``depth x columns``.

    ``kind`` is ``packed`` for stored weights, ``plain`` and ``transposed`` for a second
    operand that is computed (or stored where it cannot be packed), ``int8`` for 8-bit
    operands; ``epilogue`` and ``before`` are units of elementwise work around it.
    """

    kind: Literal["packed", "plain", "transposed", "int8"]
    rows: int
    depth: int
    columns: int
    batch: int = 1
    node: str = "product"
    around: tuple[tuple[str, float], ...] = ()


Work = Union[Linear, Product, Convolution]


class KernelTime(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one execution: fixed, computing, and waiting for memory on top of that."""

    fixed_s: float
    compute_s: float
    memory_s: float = 0.0

    @property
    def total_s(self) -> float:
        return self.fixed_s + self.compute_s + self.memory_s
