"""The profile that a GPU's calibration begins with: data-sheet facts, or measured ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from rnncost.frontends.torch.cuda_timing import CudaDevice, CudaLayer, CudaPrecision
from rnncost.profiles.folders import shipped_files
from rnncost.profiles.quantities import Duration, Quantity
from rnncost.profiles.runtimes import Cudnn
from rnncost.profiles.schema import Capacity, HardwareProfile, MemoryLevel, Peaks, Processor
from rnncost.profiles.store import load_profile
from rnncost.runtime.timing import Run

SHIPPED = {
    "A10": "a10",
    "A100-PCIE-40GB": "a100-40gb-pcie",
    "A100-SXM4-40GB": "a100-40gb-sxm",
    "A100 80GB PCIe": "a100-80gb-pcie",
    "A100-SXM4-80GB": "a100-80gb-sxm",
    "B200": "b200",
    "GeForce GTX 1070": "gtx-1070",
    "GeForce GTX 1080": "gtx-1080",
    "GeForce GTX 1080 Ti": "gtx-1080-ti",
    "GeForce GTX 980 Ti": "gtx-980-ti",
    "GeForce GTX TITAN X": "gtx-titan-x",
    "H100 PCIe": "h100-pcie",
    "H100 80GB HBM3": "h100-sxm",
    "H200": "h200-sxm",
    "L4": "l4",
    "L40S": "l40s",
    "GeForce RTX 2070": "rtx-2070",
    "GeForce RTX 2070 SUPER": "rtx-2070-super",
    "GeForce RTX 2080 Ti": "rtx-2080-ti",
    "GeForce RTX 3080": "rtx-3080",
    "GeForce RTX 3090": "rtx-3090",
    "GeForce RTX 4080": "rtx-4080",
    "GeForce RTX 4090": "rtx-4090",
    "GeForce RTX 5080": "rtx-5080",
    "GeForce RTX 5090": "rtx-5090",
    "TITAN X (Pascal)": "titan-x-pascal",
    "TITAN Xp": "titan-xp",
    "Tesla M40": "m40",
    "Tesla P100-PCIE-16GB": "p100-pcie",
    "Tesla P100-SXM2-16GB": "p100-sxm",
    "Tesla T4": "t4",
    "Tesla V100-PCIE-16GB": "v100-pcie",
    "Tesla V100-SXM2-16GB": "v100-sxm",
}
"""The profile of a GPU by the name that its driver gives; newer drivers put NVIDIA first."""

_MEMORY_SPREAD = 0.1
"""How far the memory that a driver reports may be from the data sheet's: a part is reserved."""

_CHAIN = 200
_ROWS = 4096
_COPIED_BYTES = 2**28
_NEAR_COPIES = 100
_PASCAL = (6, 0)
"""From here on cuDNN has the persistent algorithm for small hidden sizes."""


class Timings(Protocol):
    """Something that makes runs on a GPU; see ``CudaTimings``."""

    @property
    def device(self) -> CudaDevice: ...

    def layer(self, layer: CudaLayer) -> Run: ...

    def operators(self, count: int) -> Run: ...

    def product(self, size: int, precision: CudaPrecision) -> Run: ...

    def copies(self, size_bytes: int, count: int) -> Run: ...


def shipped_profile(device: CudaDevice) -> HardwareProfile | None:
    """The shipped profile of a GPU, or None.

    The number of multiprocessors and the memory have to agree as well: some names stand for
    several cards, and a part of a card (MIG) is not that card.
    """
    name = SHIPPED.get(device.name.removeprefix("NVIDIA "))
    if name is None:
        return None
    profile = load_profile(shipped_files()[name])
    cores, memory = profile.processor.cores, profile.memory[-1].size_bytes
    if cores is None or memory is None or cores.value != device.multiprocessors:
        return None
    same = abs(device.memory_bytes / memory.value - 1) <= _MEMORY_SPREAD
    return profile if same else None


def fact_runs(timings: Timings, *, measure_peaks: bool) -> dict[str, Run]:
    """What is timed besides layers: launches and, on request, products and copies."""
    runs = {"one": timings.operators(1), "chain": timings.operators(_CHAIN)}
    if not measure_peaks:
        return runs
    device = timings.device
    runs |= {precision: timings.product(_ROWS, precision) for precision in device.precisions}
    runs["copy"] = timings.copies(_COPIED_BYTES, 1)
    if device.l2_bytes is not None:
        runs["near copy"] = timings.copies(_near_bytes(device.l2_bytes), _NEAR_COPIES)
    return runs


def base_profile(
    device: CudaDevice,
    known: HardwareProfile | None,
    seconds: Mapping[str, float],
    source: str,
) -> HardwareProfile:
    """A profile without fitted constants. ``seconds`` are the times of ``fact_runs``."""
    profile = _measured_profile(device, seconds, source) if known is None else known
    op_s = max(0.0, (seconds["chain"] - seconds["one"]) / (_CHAIN - 1))
    run_s = max(0.0, seconds["one"] - op_s)

    def taken(value: float, note: str) -> Duration:
        return Duration(value=value, kind="measured", source=source, note=note)

    overheads = msgspec.structs.replace(
        profile.overheads,
        op_s=taken(op_s, f"an elementwise operator in a chain of {_CHAIN}"),
        run_s=taken(run_s, "one such operator and waiting for the GPU, without the operator"),
    )
    kernels = Cudnn(kernels="cudnn-8" if device.capability >= _PASCAL else "cudnn-6")
    return msgspec.structs.replace(profile, overheads=overheads, cudnn=kernels)


def _measured_profile(
    device: CudaDevice, seconds: Mapping[str, float], source: str
) -> HardwareProfile:
    def measured(value: float, note: str) -> Quantity:
        return Quantity(value=value, kind="measured", source=source, note=note)

    def told(value: float) -> Quantity:
        return Quantity(value=value, kind="datasheet", source="as the driver reports it")

    def optional(value: int | None) -> Quantity | None:
        return None if value is None else told(float(value))

    peaks = {
        precision: measured(_ROWS**3 / seconds[precision], f"a product of {_ROWS} rows")
        for precision in device.precisions
    }
    # A copy reads and writes each byte.
    far = 2 * _COPIED_BYTES / seconds["copy"]
    levels = [
        MemoryLevel(
            name="memory",
            size_bytes=told(float(device.memory_bytes)),
            bandwidth_bytes_per_s=measured(far, f"a copy of {_COPIED_BYTES // 2**20} MiB"),
        )
    ]
    if device.l2_bytes is not None:
        near_bytes = _near_bytes(device.l2_bytes)
        near = max(far, 2 * near_bytes * _NEAR_COPIES / seconds["near copy"])
        level = MemoryLevel(
            name="L2",
            size_bytes=told(float(device.l2_bytes)),
            bandwidth_bytes_per_s=measured(
                near, f"copies of {near_bytes} B with their launches, a lower bound"
            ),
        )
        levels.insert(0, level)
    memory = told(float(device.memory_bytes))
    return HardwareProfile(
        schema_version=1,
        name="cuda",
        title=device.name,
        kind="gpu",
        runtime="cudnn",
        version="1",
        threads=1,
        processor=Processor(
            cores=told(float(device.multiprocessors)),
            register_bytes=optional(device.register_bytes),
            shared_bytes=optional(device.shared_bytes),
        ),
        peak_macs_per_s=Peaks(**peaks),
        memory=tuple(levels),
        capacity=Capacity(weight_bytes=memory, activation_bytes=memory),
    )


def _near_bytes(l2_bytes: int) -> int:
    """The size of a copy whose two ends take half of the second cache."""
    return max(4, l2_bytes // 4 // 4 * 4)
