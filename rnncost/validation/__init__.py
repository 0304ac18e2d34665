"""``validate``: the estimated latency of a model beside its time in ONNX Runtime."""

from __future__ import annotations

from rnncost.validation.measure import validate
from rnncost.validation.model import Comparison, NodeLine, Validation

__all__ = ["Comparison", "NodeLine", "Validation", "validate"]
