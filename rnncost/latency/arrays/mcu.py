"""``rnncost.latency.mcu`` for recurrent layers, on arrays: term for term as there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rnncost.latency import mcu as scalar
from rnncost.latency.arrays.estimate import Model
from rnncost.latency.arrays.layer import Layer, Values
from rnncost.latency.arrays.roofline import bandwidth, from_level
from rnncost.latency.assembly import byte_scale

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile


def model_of(profile: HardwareProfile, threads: int, precision: str | None) -> Model:
    """A microcontroller's cycles.

    Raises:
        ProfileError: the profile has no clock.
    """
    rates = scalar.rates_of(profile)
    scale = byte_scale("fp32", precision)
    wanted = precision or "fp32"
    kernel = wanted if wanted in scalar.PRECISIONS else "fp32"
    second = 1.0 / rates.clock_hz
    mac_s = rates.mac[kernel] * second
    name = profile.memory[-1].name

    def layer_s(layer: Layer, run_bytes: Values) -> Values:
        steps = layer.executed_steps
        lstm = layer.cell == "lstm"
        activation = (rates.lstm_activation if lstm else rates.activation)[kernel]
        cycles = (
            layer.activations * activation
            + (layer.multiplies + layer.adds) * rates.elementwise[kernel]
        )
        gates_s = second * cycles
        held = layer.traffic_bytes * scale
        read_s = layer.input_bytes * scale / rates.weights[-1].bytes_per_s
        read_s = read_s + held / bandwidth(rates.activations, held)
        step_bytes = layer.recurrent_bytes / layer.directions * scale
        step_read_s = steps * step_bytes / bandwidth(rates.weights, step_bytes) / steps
        parallel_s = np.maximum(layer.parallel_macs * mac_s, read_s)
        product_s = np.maximum(layer.sequential_macs / steps * mac_s, step_read_s)
        operators = scalar.STEP_OPERATORS.get(layer.cell.upper())
        wait_s = (rates.step if operators is None else operators * rates.op) * second
        step_s = wait_s + product_s + gates_s / steps
        return rates.op * second + parallel_s + steps * step_s

    def dram_bytes(layer: Layer) -> Values:
        held = layer.traffic_bytes * scale
        step_bytes = layer.recurrent_bytes / layer.directions * scale
        steps_bytes = layer.executed_steps * step_bytes
        total = from_level(rates.activations, name, held, held)
        total = total + from_level(rates.weights, name, step_bytes, steps_bytes)
        if rates.weights[-1].name == name:
            total = total + layer.input_bytes * scale
        return np.rint(total)

    return Model(run_s=rates.run / rates.clock_hz, layer_s=layer_s, dram_bytes=dram_bytes)
