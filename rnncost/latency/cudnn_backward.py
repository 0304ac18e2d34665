"""The time of the backward pass of cuDNN's recurrent layers, from plain numbers.

Backward data goes through the steps in the opposite order: a step multiplies the gradients of
its gates by the transposed recurrent matrix, so that the depth of the product is G·H where it
is H forwards, and its columns are H. It follows the same three bounds as the forward step
(``rnncost.latency.cudnn_kernels``). Backward weight is one product over all steps and rows,
near the peak of the card.

The constants are one set for all cards (docs/training.md has their accuracy). Of cuDNN 7 and
later no backward times are published: there the forward constants stand in.
"""

from __future__ import annotations

import msgspec

from rnncost.latency.cudnn_constants import CUDNN_6
from rnncost.latency.cudnn_kernels import (
    Constants,
    Gpu,
    Layer,
    Work,
    product_of,
    product_s,
    standard_s,
    work_of_products,
)

CUDNN_6_BACKWARD = Constants(
    source="cuDNN 5 and 6, fitted to forward and backward-data times of DeepBench together",
    call_s=3.57e-5,
    startup_s=3.39e-5,
    floor_s=1.28e-5,
    bandwidth_share=0.768,
    depth_s=(1.28e-8, 9.40e-8, 8.19e-8, 2.97e-8),
    tile_share=(0.200, 0.436, 0.700, 0.744),
)


class WeightConstants(msgspec.Struct, frozen=True):
    """A call of backward weight, and the share of the peak that its product reaches."""

    call_s: float
    peak_share: float


STEP_INTERVAL = (0.56, 1.28)
"""5 % and 95 % quantiles of measured to predicted time of a whole training step of a layer, on
265 published ones, each card left out of the fit in turn."""
WEIGHTS = WeightConstants(call_s=9.77e-5, peak_share=0.779)


def backward_constants(forward: Constants) -> tuple[Constants, bool]:
    """The constants of backward data beside those of the forward pass; whether they were fitted."""
    if forward.persistent:  # the newer kernels
        return forward, False
    own = CUDNN_6_BACKWARD
    if (forward.call_s, forward.floor_s) != (CUDNN_6.call_s, CUDNN_6.floor_s):
        # A profile's own launches hold for both passes.
        own = msgspec.structs.replace(own, call_s=forward.call_s, floor_s=forward.floor_s)
    return own, True


def backward_work(layer: Layer, gpu: Gpu) -> Work:
    """The products of one backward step of a layer, for all its directions."""
    shapes = [(layer.output, layer.gates * layer.hidden)]
    if layer.output != layer.hidden:
        shapes.append((layer.hidden, layer.output))
    return work_of_products(layer, shapes, gpu)


def backward_data_s(layer: Layer, gpu: Gpu, constants: Constants) -> float:
    """Seconds of backward data of one execution, without the gradient of the input."""
    return standard_s(backward_work(layer, gpu), constants)


def input_gradient_s(layer: Layer, inputs: int, gpu: Gpu, constants: Constants) -> float:
    """Seconds of the gradient of the input: one product of all steps."""
    product = product_of(
        inputs,
        layer.batch * layer.steps,
        layer.gates * layer.hidden,
        gpu,
        copies=layer.directions,
        bytes_per_s=gpu.weight_levels[-1][1],
        element_bytes=layer.element_bytes,
    )
    return product_s(product, constants)


def backward_weight_s(macs: float, gpu: Gpu, constants: WeightConstants = WEIGHTS) -> float:
    """Seconds of the gradients of a layer's weights, of so many MACs."""
    return constants.call_s + macs / (gpu.macs_per_s * constants.peak_share)
