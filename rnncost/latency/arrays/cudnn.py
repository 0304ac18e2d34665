"""``rnncost.latency.cudnn`` for recurrent layers, on arrays: term for term as there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rnncost.latency import cudnn as scalar
from rnncost.latency.arrays import roofline
from rnncost.latency.arrays.estimate import Model
from rnncost.latency.arrays.exact import mapped, summed
from rnncost.latency.arrays.layer import Layer, Truth, Values
from rnncost.latency.assembly import PRECISION_BITS, byte_scale
from rnncost.latency.cudnn_kernels import START_STEPS, TILE_COLUMNS, TILE_ROWS, Constants, Gpu
from rnncost.latency.roofline import device_of

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile

_NORM = 4.0
_MOST_ROWS = (4, 16, 32, 64)


def model_of(profile: HardwareProfile, threads: int, precision: str | None) -> Model:
    """cuDNN's kernels, or a roofline where it has none."""
    used = precision or "fp32"
    device = device_of(profile, threads)
    model = scalar.model_of(profile, device)
    base = roofline.model_of(profile, threads, precision)
    if model is None or used == "int8":
        return base
    gpu = model.gpu(used)
    constants = model.constants
    element_bytes = PRECISION_BITS[used] / 8
    peak, scale = device.macs_per_s(used), byte_scale("fp32", precision)

    def layer_s(layer: Layer, run_bytes: Values) -> Values:
        input_s = _product_s(
            gpu,
            constants,
            columns=layer.gates * layer.hidden,
            rows=layer.batch * layer.steps,
            depth=layer.inputs,
            copies=layer.directions,
            bytes_per_s=gpu.weight_levels[-1][1],
            element_bytes=element_bytes,
        )
        own_s, _ = roofline.parts_s(layer, device, peak, scale)
        setup_s, pair_s = _steps_s(layer, model, gpu, used, element_bytes)
        parallel_s = np.maximum(input_s, own_s) + setup_s
        return constants.call_s + parallel_s + layer.steps * pair_s

    return Model(run_s=base.run_s, layer_s=layer_s, dram_bytes=base.dram_bytes)


def _steps_s(
    layer: Layer, model: scalar.Model, gpu: Gpu, precision: str, element_bytes: float
) -> tuple[Values, Values]:
    """Seconds besides the steps and of a step of all directions, by the algorithm picked."""
    constants, persistent = model.constants, model.persistent
    macs = layer.gates * layer.hidden * layer.hidden
    recurrent_bytes = layer.directions * macs * element_bytes
    resident, bytes_per_s = _holder(gpu, recurrent_bytes)
    product_s = _product_s(
        gpu,
        constants,
        columns=layer.gates * layer.hidden,
        rows=layer.batch,
        depth=layer.hidden,
        copies=layer.directions,
        bytes_per_s=bytes_per_s,
        element_bytes=element_bytes,
    )
    pair_s = layer.directions * constants.floor_s + product_s
    starting = constants.startup_s * layer.steps / (1 + layer.steps / START_STEPS)
    setup_s = np.where(resident, 0.0, starting)
    if model.framework != "pytorch" or not constants.persistent or precision == "fp64":
        return setup_s, pair_s
    small = layer.hidden <= (384 if layer.gates == 1 else 192)
    rates = np.where(
        4 * macs <= gpu.register_bytes,
        persistent.register_macs_per_s,
        persistent.spilled_macs_per_s,
    )
    rows = np.maximum(1.0, layer.batch / persistent.rows)
    small_s = layer.directions * (persistent.floor_s + macs * rows / rates)
    pair_s = np.where(small, small_s, pair_s)
    kept_s = recurrent_bytes / gpu.weight_levels[-1][1]
    setup_s = np.where(small, kept_s, setup_s)
    if precision != "fp16" or layer.directions != 1:
        return setup_s, pair_s
    static = (
        np.logical_not(small)
        & (layer.hidden <= 1024)
        & _divides(128, layer.hidden)
        & _divides(128, layer.inputs)
    )
    static = np.logical_and(static, _suits(layer, model))
    static_s = persistent.grid_s + macs * layer.batch / (gpu.macs_per_s * persistent.grid_share)
    return np.where(static, kept_s, setup_s), np.where(static, static_s, pair_s)


def _holder(gpu: Gpu, size_bytes: Values) -> tuple[Truth, Values]:
    """Whether a cache holds so many bytes, and the bandwidth that they come with."""
    resident: Truth = False
    bytes_per_s: Values = gpu.weight_levels[-1][1]
    for size, speed in reversed(gpu.weight_levels[:-1]):
        holds = size_bytes <= size
        resident = np.logical_or(resident, holds)
        bytes_per_s = np.where(holds, speed, bytes_per_s)
    return resident, bytes_per_s


def _divides(number: int, size: Values) -> Truth:
    divides: Truth = np.equal(np.floor(size / number) * number, size)
    return divides


def _suits(layer: Layer, model: scalar.Model) -> Truth:
    """Whether PyTorch expects the static persistent algorithm to pay, as ``cudnn._suits``."""
    batch, steps = layer.batch, layer.steps
    peaks = model.device.profile.peak_macs_per_s
    if model.cores >= 98:
        if layer.gates == 3:
            return False
        least = np.logical_or(batch < 96, layer.hidden < 896) | (layer.gates == 4)
        return _divides(8, batch) & np.less_equal(batch, 128) & least
    tensor_cores = peaks.fp16 is not None and peaks.fp16.value >= 4 * peaks.fp32.value
    if not (model.cores >= 80 and tensor_cores and peaks.bf16 is None):
        return False
    good = _divides(16, batch) & np.not_equal(batch, 80) & np.not_equal(batch, 112)
    long: Truth = False
    for fewest, most in ((40, 128), (20, 96), (10, 32)):
        long = np.logical_or(long, np.logical_and(steps >= fewest, batch <= most))
    return np.logical_or(good, np.equal(batch, 8)) & long


def _product_s(
    gpu: Gpu,
    constants: Constants,
    *,
    columns: Values,
    rows: Values,
    depth: Values,
    copies: int,
    bytes_per_s: Values,
    element_bytes: float,
) -> Values:
    """Seconds of a product, as ``product_of`` and ``product_s``."""
    memory_s = copies * columns * depth * element_bytes / bytes_per_s / constants.bandwidth_share
    kernel = sum((rows > most) * 1 for most in _MOST_ROWS)
    tiled = np.greater(kernel, 0)
    at = np.maximum(0, np.subtract(kernel, 1))
    wide = np.array(TILE_ROWS, np.float64).take(at)
    tiles = copies * np.ceil(columns / TILE_COLUMNS) * np.ceil(rows / wide)
    waves = np.ceil(tiles / gpu.cores)
    tiles_s = waves * TILE_COLUMNS * wide * depth / (gpu.macs_per_s / gpu.cores)
    bounds = (
        np.where(tiled, depth * np.array(constants.depth_s).take(at), 0.0),
        np.where(tiled, tiles_s / np.array(constants.tile_share).take(at), 0.0),
        memory_s,
    )
    norm = mapped(math.pow, summed([mapped(math.pow, b, _NORM) for b in bounds]), 1 / _NORM)
    peak_s = copies * columns * rows * depth / gpu.macs_per_s
    return np.maximum(norm, peak_s / constants.peak_share)
