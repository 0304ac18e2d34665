"""What the roofline takes where a profile is silent. Each use is said in a note."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile

_CYCLES = {
    # ONNX Runtime 1.32 on a Zen 3 server at 3.5 GHz, from Python with bound inputs and
    # outputs: 4.3, 0.27, 0.22 and 0.95 µs. A smaller core takes more cycles.
    "cpu": {"run_s": 15000, "op_s": 950, "step_s": 770, "loop_s": 3300},
    # What an interpreter is taken to need for a run, an operator, a step and a trip.
    "mcu": {"run_s": 5000, "op_s": 2000, "step_s": 1000, "loop_s": 2000},
}
_CLOCK_HZ = {"cpu": 3.5e9, "mcu": 4.8e8}
"""The clock of a device that does not tell it."""

_GPU_S = {"run_s": 2.0e-5, "op_s": 5.0e-6, "step_s": 1.0e-5, "loop_s": 2.0e-5}
"""Seconds on a GPU. A launch takes 4 to 6 µs in published measurements. A step is two
dependent kernels; the fastest LSTM step in DeepBench's inference results takes 13.3 µs (Titan
Xp, 256 units, batch 1). A run and a trip wait for the host."""

_MACS_AN_ELEMENT = 8.0
"""How many MACs take as long as an elementwise operation, sigmoid and tanh among them."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Fixed times and the elementwise rate, from the profile or assumed."""

    run_s: float
    op_s: float
    step_s: float
    loop_s: float
    elementwise_per_s: float
    notes: tuple[str, ...]


def rates_of(profile: HardwareProfile) -> Rates:
    """The profile's own figures, and an assumption with a note for each that it lacks."""
    notes: list[str] = []
    times: dict[str, float] = {}
    for name, assumed in _overheads_s(profile).items():
        known = getattr(profile.overheads, name)
        times[name] = assumed if known is None else known.value
    missing = [name for name in times if getattr(profile.overheads, name) is None]
    if missing:
        notes.append(f"no {', '.join(missing)} in the profile: those of a common {profile.kind}")
    elementwise = profile.elementwise_per_s
    if elementwise is None:
        notes.append("no elementwise_per_s in the profile: an eighth of the fp32 peak")
        per_s = profile.peak_macs_per_s.fp32.value / _MACS_AN_ELEMENT
    else:
        per_s = elementwise.value
    return Rates(**times, elementwise_per_s=per_s, notes=tuple(notes))


def _overheads_s(profile: HardwareProfile) -> dict[str, float]:
    if profile.kind == "gpu":
        return _GPU_S
    clock = profile.processor.clock_hz
    clock_hz = _CLOCK_HZ[profile.kind] if clock is None else clock.value
    return {name: cycles / clock_hz for name, cycles in _CYCLES[profile.kind].items()}
