"""The machine that timings are taken on."""

from __future__ import annotations

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where a timing was taken. ``cores`` are those that this process may use."""

    cpu: str
    cores: int
    system: str

    def __str__(self) -> str:
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        return f"{self.cpu}, {cores}, {self.system}"


def machine() -> Machine:
    """The processor, the usable cores and the system of this machine."""
    import os
    import platform

    affinity = getattr(os, "sched_getaffinity", None)
    return Machine(
        cpu=_cpu_name() or platform.processor() or platform.machine(),
        cores=len(affinity(0)) if affinity is not None else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.release()}",
    )


def runtime_version() -> str:
    """``onnxruntime`` and its version."""
    import onnxruntime as ort

    return f"onnxruntime {ort.__version__}"


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Model"):
                    return value.strip()
    except OSError:
        pass
    return ""
