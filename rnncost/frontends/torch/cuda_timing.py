"""Timing recurrent layers, products and copies on an NVIDIA GPU through PyTorch.

Torch is imported by the functions, not by this module. A time is that of the host: from
the call until the GPU has finished, as an application waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import msgspec

from rnncost.errors import MeasurementError, RuntimeUnavailableError
from rnncost.runtime.timing import Run

CellType = Literal["LSTM", "GRU", "RNN"]
CudaPrecision = Literal["fp32", "tf32", "fp16", "bf16"]

DTYPES = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""The element type of each precision, as torch and ONNX call it."""

_TENSOR_CORES = (7, 0)
_AMPERE = (8, 0)
"""The compute capabilities with fp16 products on tensor cores, and with tf32 and bf16 too."""


class CudaLayer(msgspec.Struct, frozen=True, kw_only=True):
    """One recurrent layer: x [steps, batch, inputs] -> y [steps, batch, directions·hidden]."""

    cell: CellType
    precision: CudaPrecision
    inputs: int
    hidden: int
    batch: int
    steps: int
    directions: int = 1


class CudaDevice(msgspec.Struct, frozen=True, kw_only=True):
    """What PyTorch tells of a GPU; None where it does not tell.

    ``precisions`` are those that the GPU has kernels for and that PyTorch hands to cuDNN
    (not bf16 in torch 2.13). ``register_bytes`` and ``shared_bytes`` are those of one
    multiprocessor. ``software`` names the versions of torch, CUDA and cuDNN.
    """

    name: str
    capability: tuple[int, int]
    precisions: tuple[CudaPrecision, ...]
    multiprocessors: int
    memory_bytes: int
    l2_bytes: int | None
    register_bytes: int | None
    shared_bytes: int | None
    software: str


class CudaTimings(msgspec.Struct, frozen=True, kw_only=True):
    """Makes runs that time something on the GPU. ``place`` is torch's name of the device.

    Each method raises MeasurementError where PyTorch fails, as for lack of memory, and so
    do the runs.
    """

    device: CudaDevice
    place: str = "cuda"

    def layer(self, layer: CudaLayer) -> Run:
        """``nn.LSTM``, ``nn.GRU`` or ``nn.RNN`` in inference mode, without initial states."""
        import torch

        with _failures(_text(layer)):
            module = getattr(torch.nn, layer.cell)(
                layer.inputs,
                layer.hidden,
                bidirectional=layer.directions == 2,
                device=self.place,
                dtype=getattr(torch, DTYPES[layer.precision]),
            ).eval()
            x = self._values((layer.steps, layer.batch, layer.inputs), layer.precision)
        return self._run(lambda: module(x), layer.precision, _text(layer))

    def operators(self, count: int) -> Run:
        """``count`` elementwise operators on one element, one after another."""
        x = self._values((1,), "fp32")

        def work() -> None:
            for _ in range(count):
                x.add_(1.0)

        return self._run(work, "fp32", "an addition")

    def product(self, size: int, precision: CudaPrecision) -> Run:
        """A product of two square matrices of ``size`` rows: size³ MACs."""
        import torch

        a, b = (self._values((size, size), precision) for _ in "ab")
        return self._run(lambda: torch.mm(a, b), precision, f"a {precision} product")

    def copies(self, size_bytes: int, count: int) -> Run:
        """``count`` copies of ``size_bytes`` from one place to another, one after another."""
        source, goal = (self._values((size_bytes // 4,), "fp32") for _ in "sg")

        def work() -> None:
            for _ in range(count):
                goal.copy_(source)

        return self._run(work, "fp32", f"a copy of {size_bytes:,} B")

    def _values(self, shape: tuple[int, ...], precision: CudaPrecision) -> Any:
        import torch

        with _failures(f"a tensor of {shape}"):
            return torch.randn(shape, device=self.place, dtype=getattr(torch, DTYPES[precision]))

    def _run(self, work: Callable[[], Any], precision: CudaPrecision, what: str) -> Run:
        import torch

        def run() -> float:
            with _failures(what), _tf32(precision == "tf32"), torch.inference_mode():
                torch.cuda.synchronize()
                start = time.perf_counter()
                work()
                torch.cuda.synchronize()
                return time.perf_counter() - start

        return Run(run)


def open_cuda() -> CudaTimings:
    """The GPU that PyTorch uses by default, which CUDA_VISIBLE_DEVICES can choose.

    Raises:
        RuntimeUnavailableError: PyTorch, its CUDA build, a GPU or cuDNN is missing.
    """
    try:
        import torch
    except ImportError as error:
        raise RuntimeUnavailableError(
            "calibrating a GPU needs PyTorch, which is not installed: install a build of torch "
            "for CUDA, as https://pytorch.org/get-started says"
        ) from error
    if torch.version.cuda is None:
        raise RuntimeUnavailableError(
            f"calibrating a GPU needs PyTorch for CUDA, and torch {torch.__version__} is built "
            "without it: install a build for CUDA, as https://pytorch.org/get-started says"
        )
    if not torch.cuda.is_available():
        raise RuntimeUnavailableError(
            f"torch {torch.__version__} finds no CUDA device: check the driver with nvidia-smi, "
            "and what CUDA_VISIBLE_DEVICES allows"
        )
    if not (torch.backends.cudnn.is_available() and torch.backends.cudnn.enabled):
        raise RuntimeUnavailableError(
            f"torch {torch.__version__} has no cuDNN or has it turned off, and the layers of "
            "cuDNN are what is timed: install a build with cuDNN"
        )
    try:
        return CudaTimings(device=_device())
    except RuntimeError as error:  # a GPU or driver that this build does not support
        reason = str(error).strip().split("\n")[0]
        raise RuntimeUnavailableError(
            f"torch {torch.__version__} cannot use the CUDA device: {reason}"
        ) from error


def _device() -> CudaDevice:
    import torch

    facts = torch.cuda.get_device_properties(torch.cuda.current_device())

    def told(name: str) -> int | None:
        # Older versions of torch lack some of them.
        return int(getattr(facts, name, 0)) or None

    registers = told("regs_per_multiprocessor")
    return CudaDevice(
        name=facts.name,
        capability=(facts.major, facts.minor),
        precisions=tuple([p for p in _precisions((facts.major, facts.minor)) if _in_cudnn(p)]),
        multiprocessors=facts.multi_processor_count,
        memory_bytes=facts.total_memory,
        l2_bytes=told("L2_cache_size"),
        register_bytes=None if registers is None else 4 * registers,
        shared_bytes=told("shared_memory_per_multiprocessor"),
        software=(
            f"torch {torch.__version__}, CUDA {torch.version.cuda}, "
            f"cuDNN {torch.backends.cudnn.version()}"
        ),
    )


def _precisions(capability: tuple[int, int]) -> tuple[CudaPrecision, ...]:
    """The precisions for which a GPU has kernels of their own."""
    if capability >= _AMPERE:
        return ("fp32", "tf32", "fp16", "bf16")
    return ("fp32", "fp16") if capability >= _TENSOR_CORES else ("fp32",)


def _in_cudnn(precision: CudaPrecision) -> bool:
    """Whether PyTorch runs layers of this precision in cuDNN, with their weights in one piece."""
    import torch

    sample = torch.empty(1, device="cuda", dtype=getattr(torch, DTYPES[precision]))
    return bool(torch.backends.cudnn.is_acceptable(sample))


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    """Whether fp32 products may run in tf32. The switches of all versions of torch since 1.7."""
    import torch

    switches = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [switch.allow_tf32 for switch in switches]
    try:
        for switch in switches:
            switch.allow_tf32 = allowed
        yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.allow_tf32 = was


@contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # out of memory and errors of CUDA and cuDNN are of this class
        reason = str(error).strip().split("\n")[0]
        raise MeasurementError(f"PyTorch cannot time {what} on the GPU: {reason}") from None


def _text(layer: CudaLayer) -> str:
    return (
        f"an {layer.cell} in {layer.precision} of {layer.hidden} units, {layer.inputs} inputs, "
        f"batch {layer.batch} and {layer.steps} steps"
    )
