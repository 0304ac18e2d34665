"""The totals of stacks of recurrent layers in closed form, for arrays of extents.

docs/counting.md defines each metric. A test holds them against the counts of real models.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rnncost.latency.arrays import Layer, Sizes, Stack, Values
from rnncost.latency.assembly import byte_scale


def total(metric: str, stack: Stack) -> Values:
    """A total of each design; bytes are those of the stack's precision."""
    values = COUNTS[metric](stack)
    return values * byte_scale("fp32", stack.precision) if metric.endswith("_bytes") else values


def sizes_of(stack: Stack) -> Sizes:
    """What estimates need of the counts, as stored in fp32."""
    return Sizes(
        weight_bytes=_weight_bytes(stack),
        peak_activation_bytes=_peak_activation_bytes(stack),
        macs=_macs(stack),
    )


def _sum(stack: Stack, part: Callable[[Layer], Values]) -> Values:
    """A part of all layers together; all but the first are alike."""
    first = part(stack.first)
    return first if stack.layers == 1 else first + (stack.layers - 1) * part(stack.further)


def _summed(part: Callable[[Layer], Values]) -> Callable[[Stack], Values]:
    return lambda stack: _sum(stack, part)


def _weight_bytes(stack: Stack) -> Values:
    return _sum(stack, lambda layer: layer.input_bytes + layer.recurrent_bytes)


def _activation_bytes(stack: Stack) -> Values:
    made = _sum(stack, lambda layer: layer.output_bytes + layer.state_bytes)
    return stack.first.read_bytes + made


def _peak_activation_bytes(stack: Stack) -> Values:
    """While a layer runs: its input, its output and final states, and the gate buffer."""

    def alive(layer: Layer) -> Values:
        return layer.traffic_bytes + layer.buffer_bytes

    first = alive(stack.first)
    return first if stack.layers == 1 else np.maximum(first, alive(stack.further))


def _compulsory_bytes(stack: Stack) -> Values:
    return _weight_bytes(stack) + stack.first.read_bytes + stack.first.output_bytes


def _macs(stack: Stack) -> Values:
    return _sum(stack, lambda layer: layer.parallel_macs + layer.sequential_macs)


def _sequential_share(stack: Stack) -> Values:
    return _sum(stack, lambda layer: layer.sequential_macs) / _macs(stack)


def _sequential_steps(stack: Stack) -> Values:
    return stack.layers * stack.steps


def _lookahead_steps(stack: Stack) -> Values:
    return stack.steps - 1 if stack.directions == 2 else 0.0 * stack.steps


def _wavefront_steps(stack: Stack) -> Values:
    """A layer that looks ahead starts when the one below has ended, others a step behind it."""
    if stack.directions == 2:
        return _sequential_steps(stack)
    return stack.steps + (stack.layers - 1)


COUNTS: dict[str, Callable[[Stack], Values]] = {
    "params": _summed(lambda layer: layer.params),
    "active_params": _summed(lambda layer: layer.params),
    "weight_bytes": _weight_bytes,
    "macs": _macs,
    "dense_macs": _macs,
    "parallel_macs": _summed(lambda layer: layer.parallel_macs),
    "sequential_macs": _summed(lambda layer: layer.sequential_macs),
    "elementwise_ops": _summed(lambda layer: layer.elementwise_ops),
    "multiplies": _summed(lambda layer: layer.multiplies),
    "adds": _summed(lambda layer: layer.adds),
    "bias_adds": _summed(lambda layer: layer.bias_adds),
    "activations": _summed(lambda layer: layer.activations),
    "activation_bytes": _activation_bytes,
    "state_bytes": _summed(lambda layer: layer.state_bytes),
    "peak_activation_bytes": _peak_activation_bytes,
    "compulsory_bytes": _compulsory_bytes,
    "streamed_bytes": _summed(lambda layer: layer.streamed_bytes),
    "sequential_steps": _sequential_steps,
    "executed_steps": _summed(lambda layer: layer.executed_steps),
    "lookahead_steps": _lookahead_steps,
    "wavefront_steps": _wavefront_steps,
    "sequential_share": _sequential_share,
}
"""The totals of a report that a bare stack has, by name."""
