"""``analyze``: from a model to its report."""

from __future__ import annotations

SYMBOLIC_METRICS = (
    "macs",
    "dense_macs",
    "sequential_macs",
    "activations",
    "activation_bytes",
    "streamed_bytes",
    "sequential_steps",
)
