"""What the machine says of itself: its caches and its widest vector extension."""

from __future__ import annotations

import platform
from pathlib import Path

import msgspec

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_SIZES = {"K": 1024, "M": 1024**2, "G": 1024**3}
_X86 = (("amx_int8", "amx-int8"), ("avx512f", "avx512f"), ("avx2", "avx2"), ("avx", "avx"))
_ARM = (("sve", "sve"), ("asimddp", "neon-dotprod"), ("asimd", "neon"))


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """Caches of one core in bytes and the vector extension; ``assumed`` names what is not known."""

    first_cache_bytes: int
    second_cache_bytes: int
    isa: str
    assumed: tuple[str, ...]


def host(caches: Path = _CACHES, cpuinfo: Path = Path("/proc/cpuinfo")) -> Host:
    """The first two data caches of a core and its vector extension, as Linux reports them."""
    sizes = _cache_sizes(caches)
    isa = _isa(_read(cpuinfo))
    assumed = [
        name for name, level in (("first cache", 1), ("second cache", 2)) if level not in sizes
    ]
    if not isa:
        assumed.append("vector extension")
        isa = "neon" if platform.machine().lower().startswith(("arm", "aarch")) else "avx2"
    first = sizes.get(1, 32 * 1024)
    return Host(
        first_cache_bytes=first,
        second_cache_bytes=max(sizes.get(2, 1024 * 1024), 2 * first),
        isa=isa,
        assumed=tuple(assumed),
    )


def _cache_sizes(folder: Path) -> dict[int, int]:
    """The size in bytes of the data or unified cache of each level."""
    sizes: dict[int, int] = {}
    for index in sorted(folder.glob("index*")):
        kind, level, size = (_read(index / name).strip() for name in ("type", "level", "size"))
        digits = size.rstrip("KMG")
        if kind in ("Data", "Unified") and level.isdigit() and digits.isdigit():
            sizes[int(level)] = int(digits) * _SIZES.get(size[len(digits) :], 1)
    return sizes


def _isa(cpuinfo: str) -> str:
    """The widest vector extension among the flags of the first core, or ``""``."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        known = {"flags": _X86, "Features": _ARM}.get(key.strip(), ())
        words = set(value.split())
        for flag, name in known:
            if flag in words:
                return name
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
