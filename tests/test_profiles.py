"""Hardware profiles: what a wrong one is told, and hostile files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnncost import list_profiles, load_profile
from rnncost.errors import ProfileError
from rnncost.profiles.reader import MAX_DEPTH
from rnncost.profiles.schema import profile_json_schema
from rnncost.profiles.store import MAX_FILE_BYTES, profile_files

FOLDER = Path(__file__).parent.parent / "hardware_profiles"
FILES = sorted(FOLDER.glob("*/*.yaml"))
TEXT = (FOLDER / "cpu" / "x86-64-server-core.yaml").read_text(encoding="utf-8")


def refusal(text: str | bytes, folder: Path) -> list[str]:
    """The lines of the error that a file with this content meets, without the folder."""
    path = folder / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    return str(caught.value).replace(f"{folder}/", "").split("\n")


def line_of(text: str, part: str) -> int:
    return next(n for n, line in enumerate(text.split("\n"), start=1) if part in line)


def test_the_committed_schema_is_current() -> None:
    committed = json.loads((FOLDER / "profile.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(committed)
    assert committed == profile_json_schema()


def test_an_unknown_name_gets_the_nearest_one_and_the_command_that_lists_all() -> None:
    with pytest.raises(ProfileError, match=r"'cortex-m8'.*mean 'cortex-m7'.*profiles list"):
        load_profile("cortex-m8")
    with pytest.raises(ProfileError, match="profiles list"):
        load_profile("")


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no such profile file"):
        load_profile(tmp_path / "none.yaml")
    with pytest.raises(ProfileError, match="is a folder"):
        load_profile(tmp_path)
    with pytest.raises(ProfileError):
        load_profile("nul\0l.yaml")


def test_every_fault_is_listed_at_once_with_its_line(tmp_path: Path) -> None:
    text = (
        TEXT.replace("kind: cpu", "kind: cpuu")
        .replace("threads: 64", "thread: 64")
        .replace("value: 5.0e+10", "value: 50 GB/s", 1)
        .replace("value: 5.5e+10", "value: -3")
        .replace("value: 6.4e+9", "value: .inf")
        .replace("per_core: true", 'per_core: "true"', 1)
        .replace('version: "1"', "version: 1")
        .replace("schema_version: 1", "schema_version: 9")
    )
    first, *faults = refusal(text, tmp_path)
    at = {part: line_of(text, part) for part in ("kind: cpuu", "thread: 64", "50 GB/s", "-3")}
    assert first == f"mine.yaml has {len(faults)} faults:"
    assert faults == [
        "  mine.yaml:2: schema_version: must be 1, got 9",
        "  mine.yaml:2: threads: missing",
        f"  mine.yaml:{at['kind: cpuu']}: kind: must be one of cpu, gpu, mcu, got 'cpuu', "
        "did you mean 'cpu'?",
        "  mine.yaml:7: version: must be text, got 1; put it in quotes",
        f"  mine.yaml:{at['thread: 64']}: thread: unknown key, did you mean 'threads'?",
        f"  mine.yaml:{at['50 GB/s']}: peak_macs_per_s.fp32.value: must be a number, got the "
        "text '50 GB/s'; give base units and no unit: 900 GB/s is 900e9, 64 KiB is 65536",
        f"  mine.yaml:{at['-3']}: peak_macs_per_s.int8.value: must be greater than 0, got -3",
        f"  mine.yaml:{line_of(text, '.inf')}: elementwise_per_s.value: must be a finite "
        "number, got inf",
        f"  mine.yaml:{line_of(text, 'true')}: memory[0].per_core: must be true or false, "
        "got 'true'",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: 8.75e+9", "value: 0", "bandwidth_bytes_per_s.value: must be greater than 0"),
        ("value: 8.75e+9", "value: .nan", "must be a finite number, got nan"),
        ("value: 8.75e+9", "value: 1e400", "must be a finite number, got inf"),
        ("value: 8.75e+9", "value:", "must be a number, got nothing"),
        ("value: 8.75e+9", 'value: "8.75e9"', "leave out the quotes"),
        ("value: 8.75e+9", "value: 6e10", "DRAM is faster than L3 share before it"),
        ("value: 524288", "value: 9e6", "L3 share is smaller than L2 before it"),
        ("value: 2.2e-7", "value: -1e-7", "overheads.step_s.value: must be at least 0"),
        ("value: 2.2e-7", "value: 1\n    value: 2", "'value' is given again; it stands on line"),
        ("value: 2.2e-7", "value: [1]", "must be a number, got a list"),
        ("threads: 64", "threads: 1.5", "threads: must be a whole number, got 1.5"),
        ("threads: 64", "threads: 0", "threads: must be at least 1, got 0"),
        ("threads: 64", "threads: yes", "threads: must be a whole number"),
        ("name: x86-64-server-core", "name: My CPU", "name: must be lower-case letters"),
        ("name: DRAM", "name: L2", "memory[2].name: 'L2' names an earlier level too"),
        ("name: DRAM", "name: DRAM\n    holds: weights", ""),
        ("kind: measured", "kind: guessed", "must be one of assumed, datasheet, measured"),
        ("threads: 64", "threads: 64\n1: 2", "a key must be text"),
        ("threads: 64", "threads: &a 64", "no anchors or aliases"),
        ("threads: 64", "threads: !!python/object:os.system 64", "no tags"),
        ("threads: 64", "threads: 64\n---\nname: second", "a second YAML document"),
        ("threads: 64", "threads: 64\n  bad: indent", "not readable as YAML"),
        ("threads: 64", "threads: " + "9" * 5000, "threads: must be a whole number"),
        ("memory:", "memory: []\nmemori:", "memory: needs at least 1 entry"),
        ("memory:", "memory: {}\nmemori:", "memory: must be a list, got a mapping"),
        ("overheads:", "overheads: 3\nx:", "overheads: must be a mapping, got 3"),
        (
            "runtime: onnxruntime-cpu",
            "runtime: cudnn",
            "cudnn does not run on a cpu; choose one of",
        ),
        ("kind: cpu", "kind: mcu\nx: 1", "x: unknown key"),
        ("runtime: onnxruntime-cpu", "runtime: onnxruntime", "did you mean 'onnxruntime-cpu'?"),
        (
            "name: DRAM",
            "name: DRAM\n    core_bandwidth_bytes_per_s: {value: 9e9, kind: assumed, source: x}",
            "memory[2].core_bandwidth_bytes_per_s: one core cannot draw more than",
        ),
        (
            "name: L2",
            "name: L2\n    core_bandwidth_bytes_per_s: {value: 9e9, kind: assumed, source: x}",
            "a level of each core has it in bandwidth_bytes_per_s; leave one out",
        ),
        ("overheads:", "energy: {mac_j: 3}\noverheads:", "energy.mac_j: must be a mapping"),
        ("overheads:", "energy: {mac_j: 3}\noverheads:", "energy.byte_j: missing"),
    ],
)
def test_one_fault_is_told_with_its_place(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    if not message:
        (tmp_path / "mine.yaml").write_text(text)
        assert load_profile(tmp_path / "mine.yaml").memory[2].holds == "weights"
        return
    told = refusal(text, tmp_path)
    assert any(message in line for line in told), told
    assert all("mine.yaml" in line for line in told)


def test_levels_that_hold_different_things_have_no_order(tmp_path: Path) -> None:
    text = (FOLDER / "mcu" / "cortex-m4.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    # 4 MiB of fast memory for activations before 1 MiB of flash for weights.
    path.write_text(text.replace("value: 131072", "value: 4194304"))
    assert load_profile(path).memory[0].size_bytes.value == 4194304
    (told,) = refusal(
        text.replace("value: 131072", "value: 4194304").replace("holds: weights", "holds: all"),
        tmp_path,
    )
    assert told.endswith(
        "memory[1].size_bytes: flash is smaller than SRAM before it; list the nearest level first"
    )


def test_the_order_is_that_of_one_core(tmp_path: Path) -> None:
    text = (FOLDER / "cpu" / "epyc-7763.yaml").read_text(encoding="utf-8")
    assert load_profile("epyc-7763").memory[2].name == "L3"
    # All cores together draw more from L3 than one draws from its own L2.
    level = load_profile("epyc-7763").memory
    assert level[2].bandwidth_bytes_per_s.value > level[1].bandwidth_bytes_per_s.value
    at = text.rindex("value: 1.12e+11")
    (told,) = refusal(f"{text[:at]}value: 1.2e+11{text[at + 15 :]}", tmp_path)
    assert "memory[2].core_bandwidth_bytes_per_s: L3 is faster than L2 before it" in told


def test_what_nothing_holds_is_told(tmp_path: Path) -> None:
    levels = TEXT.replace("per_core: true", "holds: activations")
    text = levels.replace("name: DRAM", "name: DRAM\n    holds: activations")
    (line,) = refusal(text, tmp_path)
    assert "memory: no level holds weights" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"- a list", "a profile is a YAML mapping"),
        (b"plain text", "a profile is a YAML mapping"),
        (b"null", "a profile is a YAML mapping"),
        (b"\xff\xfe\x00\x01", "not UTF-8 text"),
        (b"a: \x00", "not readable as YAML"),
        (b"a: [1, 2", "not readable as YAML"),
        (b"{}", "name: missing"),
        (b"[" * 100_000, f"nested deeper than the {MAX_DEPTH} levels"),
        (b"a: " * 50, "not readable as YAML"),
        (b"x" * (MAX_FILE_BYTES + 1), "is larger than"),
        (
            b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
            "no anchors or aliases",
        ),
    ],
)
def test_a_file_that_is_no_profile_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    told = refusal(content, tmp_path)
    assert any(message in line for line in told), told


def test_a_device_file_does_not_hang() -> None:
    with pytest.raises(ProfileError):
        load_profile(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("50e9", 50e9), ("5.0e+10", 5e10), ("50_000_000_000", 5e10), ("+5e10", 5e10), (".5e11", 5e10)],
)
def test_numbers_may_be_written_as_people_do(text: str, value: float, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace("value: 5.0e+10", f"value: {text}", 1))
    assert load_profile(path).peak_macs_per_s.fp32.value == value


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT, encoding="utf-8-sig")
    assert load_profile(str(path)).name == "x86-64-server-core"


def test_the_pure_python_yaml_reader_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = list_profiles()
    monkeypatch.delattr(yaml, "CBaseLoader", raising=False)
    assert list_profiles() == expected
    (line,) = refusal(TEXT.replace("threads: 64", "threads: [[["), tmp_path)
    assert "not readable as YAML" in line


def test_calibrated_means_that_a_calibration_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{TEXT}\ncalibration: {{date: 2030-01-31, host: bench-1}}\n")
    profile = load_profile(path)
    assert profile.calibrated
    assert profile.calibration is not None
    assert profile.calibration.date == "2030-01-31"
    assert not any(p.calibrated for p in list_profiles())


def test_a_good_profile_needs_no_jsonschema_and_yaml_loads_on_use() -> None:
    code = (
        "import sys, rnncost.profiles.store as s, rnncost.latency; "
        "assert not {'yaml', 'jsonschema', 'numpy'} & set(sys.modules); "
        "s.list_profiles(); assert 'jsonschema' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


LINES = TEXT.split("\n")
JUNK = st.sampled_from(
    ["", ":", "- ", "{", "[", "&x", "*x", "!!t", "\t", "%", '"', "\x00", "é", "|"]
)


@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_mutated_profile_loads_or_is_refused_with_lines(
    data: st.DataObject, tmp_path: Path
) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(("drop", "double", "junk", "cut", "indent", "number")))
        if change == "drop":
            del lines[at]
        elif change == "double":
            lines.insert(at, lines[at])
        elif change == "junk":
            column = data.draw(st.integers(0, len(lines[at])))
            lines[at] = lines[at][:column] + data.draw(JUNK) + lines[at][column:]
        elif change == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at])))]
        elif change == "indent":
            lines[at] = f"  {lines[at]}"
        else:
            key = lines[at].split(":")[0]
            lines[at] = f"{key}: {data.draw(st.floats() | st.integers() | st.text(max_size=5))}"
    path = tmp_path / "mine.yaml"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    told = ""
    try:
        load_profile(path)
    except ProfileError as error:
        told = str(error)
    assert told.count("mine.yaml") == len(told.split("\n")) * bool(told)


@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ProfileError):
        load_profile(path)


def test_the_files_are_found_beside_the_package_in_a_source_tree() -> None:
    assert {p.resolve() for p in profile_files().values()} == {p.resolve() for p in FILES}
