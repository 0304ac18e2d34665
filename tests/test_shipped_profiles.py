"""The profiles that ship: their files, their figures, and what the documentation says of them."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml

from rnncost import HardwareProfile, list_profiles, load_profile
from rnncost.profiles.schema import profile_json_schema

FOLDER = Path(__file__).parent.parent / "hardware_profiles"
DOCS = FOLDER.parent / "docs"
FILES = sorted(FOLDER.glob("*/*.yaml"))


def test_every_kind_of_device_has_a_profile() -> None:
    assert {p.kind for p in list_profiles()} == {"cpu", "gpu", "mcu"}
    assert len(list_profiles()) == len(FILES) >= 40


# CUDA cores of a multiprocessor by compute capability, CUDA C++ programming guide: 64 on
# GP100, GV100, Turing and GA100, 128 on the others from Maxwell to Blackwell.
SMALL = ("p100", "v100", "t4", "rtx-20", "a100", "jetson-xavier")


@pytest.mark.parametrize(
    "profile", [p for p in list_profiles() if p.kind == "gpu"], ids=lambda p: p.name
)
def test_a_gpu_does_one_mac_a_core_and_clock(profile: HardwareProfile) -> None:
    cores, clock = profile.processor.cores, profile.processor.clock_hz
    assert cores is not None
    assert clock is not None
    lanes = 64 if profile.name.startswith(SMALL) else 128
    peak = cores.value * lanes * clock.value
    # Makers round, and tables disagree by some percent on clocks.
    assert profile.peak_macs_per_s.fp32.value == pytest.approx(peak, rel=0.07)


@pytest.mark.parametrize(
    ("name", "precision", "teraflops"),
    [
        # NVIDIA's data sheets, dense; two operations are one MAC.
        ("a100-80gb-sxm", "tf32", 156),
        ("a100-80gb-sxm", "int8", 624),
        ("h100-sxm", "fp16", 989),
        ("h100-sxm", "tf32", 495),
        ("t4", "fp16", 65),
        ("l4", "bf16", 121),
        ("v100-sxm", "fp16", 125),
        ("l40s", "tf32", 183),
    ],
)
def test_tensor_peaks_are_dense_and_halved(name: str, precision: str, teraflops: float) -> None:
    peak = getattr(load_profile(name).peak_macs_per_s, precision)
    assert peak.value == pytest.approx(teraflops * 1e12 / 2, rel=0.02)


@pytest.mark.parametrize("profile", list_profiles(), ids=lambda p: p.name)
def test_a_shipped_profile_has_no_price_and_says_what_is_assumed(profile: HardwareProfile) -> None:
    assert profile.price_per_hour is None
    assert profile.calibration is None
    for number in numbers(msgspec.to_builtins(profile)):
        assert number["kind"] != "measured" or profile.name == "x86-64-server-core"
        known = "general knowledge" not in number["source"]
        assert known or number["kind"] == "assumed", number


def numbers(data: object) -> list[dict[str, str]]:
    """All numbers of a profile that carry a source."""
    if isinstance(data, dict):
        if "value" in data:
            return [data]
        return [found for value in data.values() for found in numbers(value)]
    return (
        [found for value in data for found in numbers(value)]
        if isinstance(data, (list, tuple))
        else []
    )


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_shipped_profile_is_named_as_its_file_and_points_to_the_schema(path: Path) -> None:
    profile = load_profile(path)
    assert profile == load_profile(path.stem)
    assert (profile.name, profile.kind) == (path.stem, path.parent.name)
    first = path.read_text(encoding="utf-8").split("\n")[0]
    assert first == "# yaml-language-server: $schema=../profile.schema.json"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_shipped_profile_reads_the_same_with_another_yaml_reader(path: Path) -> None:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(profile_json_schema()).validate(data)
    assert msgspec.convert(data, HardwareProfile) == load_profile(path)


def test_the_documentation_lists_every_profile_with_its_sources() -> None:
    text = (DOCS / "profiles.md").read_text(encoding="utf-8")
    rows = [line for line in text.split("\n") if re.search(r"\| \d+ of \d+ \|$", line)]
    expected = []
    for profile in list_profiles():
        kinds = [number["kind"] for number in numbers(msgspec.to_builtins(profile))]
        known = sum(kind != "assumed" for kind in kinds)
        expected.append(f"| `{profile.name}` | {profile.title} | {known} of {len(kinds)} |")
    assert rows == expected


def test_the_documentation_explains_every_key() -> None:
    text = (DOCS / "profiles.md").read_text(encoding="utf-8")
    definitions = profile_json_schema()["$defs"]
    parts = {"HardwareProfile": "", "Processor": "processor.", "MemoryLevel": "memory[]."}
    parts["Overheads"] = "overheads."
    for title, prefix in parts.items():
        for key in definitions[title]["properties"]:
            assert f"`{prefix}{key}`" in text or f"`{prefix}{key}." in text, key


def test_the_example_of_the_documentation_is_right(tmp_path: Path) -> None:
    text = (DOCS / "profiles.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n([^`]*\nextends: [^`]*)```", text)
    path = tmp_path / "mine.yaml"
    path.write_text(example, encoding="utf-8")
    assert load_profile(path).memory == load_profile("h100-sxm").memory
