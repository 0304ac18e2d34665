"""Estimates of stacks of recurrent layers on one profile, for arrays of extents."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnncost.latency.arrays.exact import fsum
from rnncost.latency.arrays.layer import Layer, Stack, Values
from rnncost.latency.assembly import byte_scale

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile

ESTIMATED = ("latency_s", "energy_j", "dram_bytes", "fits")
"""What there is an array of for each profile."""

_MODULES = {
    "roofline": "roofline",
    "cudnn": "cudnn",
    "mcu": "mcu",
    "onnxruntime-cpu": "onnxruntime",
    "pytorch-cpu": "pytorch",
}


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """An execution model on a device, for one number of threads and one precision.

    ``run_s`` is spent once a run. ``layer_s`` gives the seconds of a layer from the layer and the
    bytes that a run of all layers touches, ``dram_bytes`` the bytes of the farthest memory level.
    """

    run_s: float
    layer_s: Callable[[Layer, Values], Values]
    dram_bytes: Callable[[Layer], Values]


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of whole stacks that estimates rest on."""

    weight_bytes: Values
    peak_activation_bytes: Values
    macs: Values


class Estimator(msgspec.Struct, frozen=True, kw_only=True):
    """A profile ready for arrays; make it once with ``estimator_of``."""

    profile: HardwareProfile
    precision: str | None
    model: Model

    def latency_s(self, stack: Stack, sizes: Sizes) -> Values:
        """Seconds of a run."""
        run_bytes = sizes.weight_bytes + sizes.peak_activation_bytes
        terms = [self.model.run_s, self.model.layer_s(stack.first, run_bytes)]
        if stack.layers > 1:
            terms += [self.model.layer_s(stack.further, run_bytes)] * (stack.layers - 1)
        return fsum(terms)

    def dram_bytes(self, stack: Stack) -> Values:
        """Bytes from and to the farthest memory level."""
        total = self.model.dram_bytes(stack.first)
        if stack.layers > 1:
            total = total + (stack.layers - 1) * self.model.dram_bytes(stack.further)
        return total

    def energy_j(self, stack: Stack, sizes: Sizes) -> Values | None:
        """Joules of a run; None where the profile has no figures."""
        energy = self.profile.energy
        if energy is None:
            return None
        return sizes.macs * energy.mac_j.value + self.dram_bytes(stack) * energy.byte_j.value

    def filling(self, sizes: Sizes) -> Values | None:
        """The share of the fuller of both memories, above 1 where weights or activations do not
        fit; None where the profile does not know its memory."""
        capacity = self.profile.capacity
        if capacity is None:
            return None
        scale = byte_scale("fp32", self.precision)
        return np.maximum(
            sizes.weight_bytes * scale / capacity.weight_bytes.value,
            sizes.peak_activation_bytes * scale / capacity.activation_bytes.value,
        )

    def fits(self, sizes: Sizes) -> NDArray[np.bool_] | None:
        """Whether weights and activations fit; None where the profile does not know its memory."""
        capacity = self.profile.capacity
        if capacity is None:
            return None
        scale = byte_scale("fp32", self.precision)
        weights = np.asarray(sizes.weight_bytes * scale <= capacity.weight_bytes.value)
        activations = sizes.peak_activation_bytes * scale <= capacity.activation_bytes.value
        return weights & activations


def estimator_of(
    profile: HardwareProfile, *, threads: int = 1, precision: str | None = None
) -> Estimator:
    """A profile ready for arrays, with its constants looked up.

    Raises:
        ProfileError: the profile lacks what its runtime needs.
    """
    module = import_module(f"rnncost.latency.arrays.{_MODULES[profile.runtime]}")
    make: Callable[[HardwareProfile, int, str | None], Model] = module.model_of
    return Estimator(profile=profile, precision=precision, model=make(profile, threads, precision))
