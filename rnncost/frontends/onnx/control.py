"""The operators that hold graphs of their own, imported when a model has one."""

from __future__ import annotations

from collections.abc import Callable

from rnncost.frontends.onnx.branches import lower_if
from rnncost.frontends.onnx.loops import lower_loop
from rnncost.frontends.onnx.scans import lower_scan
from rnncost.frontends.onnx.sequences import lower_sequence_map

CONTROL: dict[str, Callable[..., None]] = {
    "If": lower_if,
    "Loop": lower_loop,
    "Scan": lower_scan,
    "SequenceMap": lower_sequence_map,
}
"""By ONNX name: ``lower(context, walk, node, index, scope, operators)``."""
