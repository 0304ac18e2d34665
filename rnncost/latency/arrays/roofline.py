"""``rnncost.latency.roofline`` for recurrent layers, on arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rnncost.latency.arrays.estimate import Model
from rnncost.latency.arrays.layer import Layer, Values
from rnncost.latency.assembly import byte_scale
from rnncost.latency.roofline import Device, Level, device_of

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile


def model_of(profile: HardwareProfile, threads: int, precision: str | None) -> Model:
    """The roofline of a profile."""
    device = device_of(profile, threads)
    rates = device.rates
    scale = byte_scale("fp32", precision)
    peak = device.macs_per_s(precision or "fp32")

    def layer_s(layer: Layer, run_bytes: Values) -> Values:
        parallel_s, step_s = parts_s(layer, device, peak, scale)
        return rates.op_s + parallel_s + layer.executed_steps * step_s

    return Model(
        run_s=rates.run_s, layer_s=layer_s, dram_bytes=dram_bytes_of(profile, threads, precision)
    )


def parts_s(layer: Layer, device: Device, peak: float, scale: float) -> tuple[Values, Values]:
    """Seconds outside the steps, and of one step."""
    memory_s = layer.input_bytes * scale / device.weights[-1].bytes_per_s
    held = layer.traffic_bytes * scale
    memory_s = memory_s + held / bandwidth(device.activations, held)
    parallel_s = np.maximum(layer.parallel_macs / peak, memory_s)
    steps = layer.executed_steps
    step_bytes = layer.recurrent_bytes / layer.directions * scale
    bound_s = np.maximum(
        np.maximum(device.rates.step_s, layer.sequential_macs / steps / peak),
        step_bytes / bandwidth(device.weights, step_bytes),
    )
    first_s = np.maximum(0.0, step_bytes / device.weights[-1].bytes_per_s - bound_s)
    gates_s = layer.elementwise_ops / steps / device.rates.elementwise_per_s
    return parallel_s + layer.directions * first_s, bound_s + gates_s


def dram_bytes_of(
    profile: HardwareProfile, threads: int, precision: str | None
) -> Callable[[Layer], Values]:
    """The bytes of a layer from and to the farthest level, as all but two runtimes have them."""
    device = device_of(profile, threads)
    scale = byte_scale("fp32", precision)
    name = profile.memory[-1].name

    def dram_bytes(layer: Layer) -> Values:
        step_bytes = layer.recurrent_bytes / layer.directions * scale
        steps_bytes = layer.executed_steps * step_bytes
        cached = step_bytes <= _largest_cache(device.weights)
        first = np.where(cached, layer.recurrent_bytes * scale, 0.0)
        held = layer.traffic_bytes * scale
        total = from_level(device.activations, name, held, held)
        total = total + from_level(device.weights, name, step_bytes, steps_bytes - first)
        if device.weights[-1].name == name:
            total = total + layer.input_bytes * scale + first
        return np.rint(total)

    return dram_bytes


def bandwidth(levels: tuple[Level, ...], held_bytes: Values) -> Values:
    """Bytes a second of the nearest level that holds so much, or of memory."""
    found: Values = levels[-1].bytes_per_s
    for level in reversed(levels[:-1]):
        found = np.where(held_bytes <= level.size_bytes, level.bytes_per_s, found)
    return found


def from_level(
    levels: tuple[Level, ...], name: str, held_bytes: Values, moved_bytes: Values
) -> Values:
    """The part of the bytes moved that comes from the level of a name."""
    found: Values = moved_bytes if levels[-1].name == name else 0.0
    for level in reversed(levels[:-1]):
        own = moved_bytes if level.name == name else 0.0
        found = np.where(held_bytes <= level.size_bytes, own, found)
    return found


def _largest_cache(levels: tuple[Level, ...]) -> float:
    return max((level.size_bytes for level in levels[:-1]), default=0.0)
