"""The constants of the execution models, a block for each runtime that a profile can name."""

from __future__ import annotations

from rnncost.profiles.quantities import Strict


class OnnxRuntimeCpu(Strict, frozen=True, kw_only=True):
    """Constants of ONNX Runtime's CPU kernels; see ``rnncost.latency.onnxruntime_cpu``."""


class Cudnn(Strict, frozen=True, kw_only=True):
    """Constants of cuDNN's recurrent kernels; see ``rnncost.latency.cudnn``."""


class PytorchCpu(Strict, frozen=True, kw_only=True):
    """Constants of PyTorch's recurrent layers on a CPU; see ``rnncost.latency.pytorch_cpu``."""


class Mcu(Strict, frozen=True, kw_only=True):
    """Cycles of a microcontroller's kernels; see ``rnncost.latency.mcu``."""
