"""Caches and vector extension from what Linux would report of other machines."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from rnncost.calibration.host import host
from rnncost.latency.onnxruntime_cpu.defaults import ROW_TILES, tiles_for

Caches = list[tuple[str, str, str]]

INTEL = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz
flags\t\t: fpu vme sse sse2 ssse3 fma sse4_1 avx f16c avx2 avx512f avx512dq avx512_vnni
vmx flags\t: vnmi preemption_timer avx512f
"""
AMD = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 7763 64-Core Processor
flags\t\t: fpu vme sse sse2 fma avx f16c avx2 vaes
bugs\t\t: sysret_ss_attrs spectre_v1
"""
OLD = "processor\t: 0\nflags\t\t: fpu sse2 ssse3 avx\n"
ARM = """processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes crc32 atomics asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
"""
PI = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nHardware\t: BCM2835\n"
SVE = "processor\t: 0\nFeatures\t: fp asimd asimddp sve i8mm bf16\n"


def made_up(folder: Path, cpuinfo: str, caches: Caches) -> tuple[Path, Path]:
    """Files as /sys/devices/system/cpu/cpu0/cache and /proc/cpuinfo have them."""
    for number, (level, kind, size) in enumerate(caches):
        index = folder / "cache" / f"index{number}"
        index.mkdir(parents=True)
        for name, text in (("level", level), ("type", kind), ("size", size)):
            (index / name).write_text(f"{text}\n")
    (folder / "cpuinfo").write_text(cpuinfo)
    return folder / "cache", folder / "cpuinfo"


@pytest.mark.parametrize(
    ("cpuinfo", "caches", "expected"),
    [
        pytest.param(
            INTEL,
            [
                ("1", "Data", "32K"),
                ("1", "Instruction", "64K"),
                ("2", "Unified", "1024K"),
                ("3", "Unified", "28160K"),
            ],
            (32 * 1024, 1024 * 1024, "avx512f"),
            id="intel",
        ),
        pytest.param(
            AMD,
            [
                ("1", "Instruction", "16K"),
                ("1", "Data", "32K"),
                ("2", "Unified", "512K"),
                ("3", "Unified", "32768K"),
            ],
            (32 * 1024, 512 * 1024, "avx2"),
            id="amd",
        ),
        pytest.param(
            ARM,
            [("1", "Data", "64K"), ("1", "Instruction", "48K"), ("2", "Unified", "1M")],
            (64 * 1024, 1024 * 1024, "neon-dotprod"),
            id="graviton",
        ),
        pytest.param(
            PI, [("1", "Data", "32K"), ("2", "Unified", "512K")], (32768, 524288, "neon"), id="pi"
        ),
        pytest.param(
            SVE,
            [("1", "Data", "64K"), ("2", "Unified", "1024K")],
            (65536, 1048576, "sve"),
            id="sve",
        ),
        pytest.param(
            OLD, [("1", "Data", "32K"), ("2", "Unified", "256K")], (32768, 262144, "avx"), id="old"
        ),
    ],
)
def test_a_machine_as_linux_reports_it(
    tmp_path: Path, cpuinfo: str, caches: Caches, expected: tuple[int, int, str]
) -> None:
    found = host(*made_up(tmp_path, cpuinfo, caches))
    assert (found.first_cache_bytes, found.second_cache_bytes, found.isa) == expected
    assert found.assumed == ()


@pytest.mark.parametrize(
    ("machine", "isa"),
    [
        ("x86_64", "avx2"),
        ("AMD64", "avx2"),
        ("aarch64", "neon"),
        ("arm64", "neon"),
        ("armv7l", "neon"),
    ],
)
def test_a_machine_that_reports_nothing_is_assumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, isa: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    found = host(tmp_path / "none", tmp_path / "nothing")
    assert (found.first_cache_bytes, found.second_cache_bytes) == (32 * 1024, 1024 * 1024)
    assert found.isa == isa
    assert found.assumed == ("first cache", "second cache", "vector extension")


def test_only_what_is_missing_is_assumed(tmp_path: Path) -> None:
    found = host(*made_up(tmp_path, AMD, [("1", "Data", "48K"), ("3", "Unified", "16M")]))
    assert found.first_cache_bytes == 48 * 1024
    assert found.assumed == ("second cache",)


@pytest.mark.parametrize("size", ["", "unknown", "K", "-32K", "32KiB"])
def test_a_size_that_cannot_be_read_is_assumed(tmp_path: Path, size: str) -> None:
    found = host(*made_up(tmp_path, AMD, [("1", "Data", size), ("2", "Unified", "2048K")]))
    assert found.first_cache_bytes == 32 * 1024
    assert found.second_cache_bytes == 2048 * 1024
    assert found.assumed == ("first cache",)


def test_an_instruction_cache_is_no_cache_for_weights(tmp_path: Path) -> None:
    caches = [("1", "Instruction", "128K"), ("1", "Data", "32K"), ("2", "Unified", "512K")]
    assert host(*made_up(tmp_path, AMD, caches)).first_cache_bytes == 32 * 1024


def test_bytes_that_are_no_text_break_nothing(tmp_path: Path) -> None:
    caches, cpuinfo = made_up(tmp_path, "", [("1", "Data", "32K"), ("2", "Unified", "512K")])
    cpuinfo.write_bytes(b"\xff\xfe\x00model\nflags\t: avx2 \xff\n")
    (caches / "index0" / "size").write_bytes(b"\xff32K")
    found = host(caches, cpuinfo)
    assert found.isa == "avx2"
    assert found.assumed == ("first cache",)


def test_this_machine_has_caches_and_tiles() -> None:
    found = host()
    assert 4 * 1024 <= found.first_cache_bytes < found.second_cache_bytes
    assert tiles_for(found.isa) in ROW_TILES.values()


@pytest.mark.parametrize(
    ("isa", "tiles"),
    [
        ("avx512f", "avx512"),
        ("avx512", "avx512"),
        ("amx", "avx512"),
        ("avx2", "avx2"),
        ("avx", "avx2"),
        ("neon", "neon"),
        ("neon-dotprod", "neon"),
        ("sve", "neon"),
        ("", "avx2"),
    ],
)
def test_each_extension_has_the_tiles_of_its_kernel(isa: str, tiles: str) -> None:
    assert tiles_for(isa) == ROW_TILES[tiles]
