"""What the roofline takes where a profile is silent. Each use is said in a note."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile

_OVERHEADS_S = {
    # ONNX Runtime 1.32 on a Zen 3 server, from Python with bound inputs and outputs.
    "cpu": {"run_s": 4.3e-6, "op_s": 2.7e-7, "step_s": 2.2e-7, "loop_s": 9.5e-7},
    # Two dependent kernels a step at 5 µs each; a run and a trip wait for the host.
    "gpu": {"run_s": 2.0e-5, "op_s": 5.0e-6, "step_s": 1.0e-5, "loop_s": 2.0e-5},
    # An interpreter's 5000, 2000, 1000 and 2000 cycles at 480 MHz.
    "mcu": {"run_s": 1.0e-5, "op_s": 4.0e-6, "step_s": 2.0e-6, "loop_s": 4.0e-6},
}
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
    for name, assumed in _OVERHEADS_S[profile.kind].items():
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
