"""``rnncost.latency.pytorch_cpu`` for recurrent layers, on arrays: term for term as there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from rnncost.latency import pytorch_cpu as scalar
from rnncost.latency.arrays.estimate import Model
from rnncost.latency.arrays.exact import summed
from rnncost.latency.arrays.layer import Layer, Values
from rnncost.latency.arrays.roofline import from_level
from rnncost.latency.assembly import PRECISION_BITS, byte_scale
from rnncost.latency.roofline import Level, device_of

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of a product, and the weight bytes that it reads."""

    compute_s: Values
    memory_s: Values
    read_bytes: Values
    size_bytes: Values


def model_of(profile: HardwareProfile, threads: int, precision: str | None) -> Model:
    """PyTorch's layers on a CPU."""
    constants, _ = scalar.constants_of(profile)
    device = device_of(scalar.with_overheads(profile, constants), threads)
    used = precision or "fp32"
    element_bytes = PRECISION_BITS[used] / 8
    peak = device.macs_per_s(used)
    name = profile.memory[-1].name
    scale = byte_scale("fp32", precision)

    def kind_of(layer: Layer) -> str:
        return "unfused_lstm" if layer.cell == "lstm" and used == "int8" else layer.cell

    def products(layer: Layer) -> tuple[Product, Product]:
        fused = kind_of(layer) == "lstm"
        width = layer.gates * layer.hidden

        def product(m: Values, k: Values) -> Product:
            size_bytes = k * width * element_bytes
            bytes_per_s = _bandwidth(device.weights, size_bytes)
            padded = np.ceil(width / scalar.TILE_COLUMNS) * scalar.TILE_COLUMNS
            macs_s = m * k * padded / peak
            if fused:
                compute_s = macs_s / constants.packed_efficiency
                return _larger(compute_s, size_bytes, size_bytes, bytes_per_s)
            return _product(m, macs_s, size_bytes, bytes_per_s, constants)

        return product(layer.steps * layer.batch, layer.inputs), product(layer.batch, layer.hidden)

    def layer_s(layer: Layer, run_bytes: Values) -> Values:
        kind = kind_of(layer)
        fused = kind == "lstm"
        inputs, step = products(layer)
        width = layer.gates * layer.hidden
        weight_bytes = width * (layer.inputs + layer.hidden) * element_bytes
        reorder_s = weight_bytes / constants.reorder_bytes_per_s if fused else 0.0
        unit_s: float = 0.0 if fused else getattr(constants, f"{kind}_unit_s")
        fixed_s: float = getattr(constants, f"{kind}_layer_s")
        step_fixed_s: float = getattr(constants, f"{kind}_step_s")
        gates_s = unit_s * layer.batch * layer.hidden
        step_s = step_fixed_s + gates_s + step.compute_s + step.memory_s
        parallel_s = layer.directions * (reorder_s + inputs.compute_s + inputs.memory_s)
        return layer.directions * fixed_s + parallel_s + layer.executed_steps * step_s

    def dram_bytes(layer: Layer) -> Values:
        total: Values = 0.0
        at = next((i for i, level in enumerate(device.weights) if level.name == name), None)
        if at is not None:
            inputs, step = products(layer)
            for product, times in ((inputs, layer.directions), (step, layer.executed_steps)):
                share = _shares(device.weights, product.size_bytes)[at]
                total = total + times * share * product.read_bytes
        held = layer.traffic_bytes * scale
        return np.rint(total + from_level(device.activations, name, held, held))

    return Model(run_s=device.rates.run_s, layer_s=layer_s, dram_bytes=dram_bytes)


def _product(
    m: Values, macs_s: Values, size_bytes: Values, bytes_per_s: Values, c: scalar.Constants
) -> Product:
    """A product of MKL, as ``pytorch_cpu._product``."""
    reads_bytes = np.ceil(m / scalar.FEW_ROWS) * size_bytes
    few = _larger(macs_s / c.few_rows_efficiency, reads_bytes, size_bytes, bytes_per_s)
    is_few = np.less(m, scalar.MANY_ROWS)
    return Product(
        compute_s=np.where(is_few, few.compute_s, macs_s / c.many_rows_efficiency),
        memory_s=np.where(is_few, few.memory_s, 2 * size_bytes / bytes_per_s),
        read_bytes=np.where(is_few, few.read_bytes, 2 * size_bytes),
        size_bytes=size_bytes,
    )


def _larger(
    compute_s: Values, read_bytes: Values, size_bytes: Values, bytes_per_s: Values
) -> Product:
    memory_s = read_bytes / bytes_per_s
    computes = compute_s >= memory_s
    return Product(
        compute_s=np.where(computes, compute_s, 0.0),
        memory_s=np.where(computes, 0.0, memory_s),
        read_bytes=read_bytes,
        size_bytes=size_bytes,
    )


def _bandwidth(levels: Sequence[Level], size_bytes: Values) -> Values:
    shares = _shares(levels, size_bytes)
    parts = [share / level.bytes_per_s for share, level in zip(shares, levels, strict=True)]
    return 1 / summed(parts)


def _shares(levels: Sequence[Level], size_bytes: Values) -> list[Values]:
    left: Values = 1.0
    shares: list[Values] = []
    for level in levels[:-1]:
        misses = (size_bytes / level.size_bytes - scalar.FILLING) / (scalar.FULL - scalar.FILLING)
        hit = left * (1 - np.minimum(1.0, np.maximum(0.0, misses)))
        shares.append(hit)
        left = left - hit
    return [*shares, left]
