"""ONNX Runtime on a CPU, as its kernels run: calibrated, or scaled from a data sheet."""

from __future__ import annotations

from rnncost.latency.onnxruntime_cpu.predict import onnxruntime_cpu

__all__ = ["onnxruntime_cpu"]
