"""Profiles that extend others, and the user's own folder of profiles."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rnncost import load_profile
from rnncost.errors import ProfileError
from rnncost.profiles import folders
from rnncost.profiles.extends import merged
from rnncost.profiles.reader import read_document
from rnncost.profiles.schema import profile_json_schema
from rnncost.profiles.store import MAX_CHAIN, host_profile, list_profiles, user_profile_folder
from rnncost.profiles.writer import profile_text

Write = Callable[[str, str], Path]

SHARE = """schema_version: 1
name: mine
extends: h100-sxm
title: One H100 of a shared server
price_per_hour: {value: 2.5, currency: USD, source: our contract}
energy: null
peak_macs_per_s:
  fp16: {value: 2.0e+14, kind: measured, source: a matrix product of 8192 rows}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def refusal(path: Path | str) -> str:
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    return str(caught.value)


def test_what_a_profile_does_not_say_comes_from_the_one_it_extends(write: Write) -> None:
    mine, parent = load_profile(write("mine.yaml", SHARE)), load_profile("h100-sxm")
    assert (mine.name, mine.extends, mine.title) == (
        "mine",
        "h100-sxm",
        "One H100 of a shared server",
    )
    assert mine.price_per_hour is not None
    assert mine.price_per_hour.value == 2.5
    assert mine.memory == parent.memory
    assert mine.peak_macs_per_s.fp16.value == 2e14
    assert mine.peak_macs_per_s.fp16.note == ""
    assert mine.peak_macs_per_s.fp32 == parent.peak_macs_per_s.fp32


def test_a_list_is_replaced_as_a_whole(write: Write) -> None:
    text = f"{SHARE}memory:\n  - name: all\n    bandwidth_bytes_per_s: "
    text += "{value: 1e12, kind: assumed, source: a test}\n"
    assert [level.name for level in load_profile(write("mine.yaml", text)).memory] == ["all"]


def test_a_path_starts_at_the_folder_of_the_file(write: Write) -> None:
    write("base/server.yaml", SHARE.replace("name: mine", "name: server"))
    child = "schema_version: 1\nname: child\nextends: ../base/server.yaml\n"
    profile = load_profile(write("team/child.yaml", child))
    assert profile.name == "child"
    assert profile.title == "One H100 of a shared server"


def test_a_fault_is_told_where_it_stands(write: Write) -> None:
    base = write("base.yaml", SHARE.replace("value: 2.5", "value: -1").replace("mine", "base"))
    child = "schema_version: 1\nname: child\nextends: base.yaml\nthread: 3\n"
    told = refusal(write("child.yaml", child)).split("\n")
    assert told[0].endswith("child.yaml has 2 faults:")
    assert told[1:] == [
        f"  {base.parent}/child.yaml:4: thread: unknown key, did you mean 'threads'?",
        f"  {base}:5: price_per_hour.value: must be greater than 0, got -1",
    ]


def test_a_fault_of_the_parent_that_is_overridden_is_none(write: Write) -> None:
    write("base.yaml", SHARE.replace("value: 2.5", "value: -1").replace("mine", "base"))
    child = "schema_version: 1\nname: child\nextends: base.yaml\nprice_per_hour: null\n"
    assert load_profile(write("child.yaml", child)).price_per_hour is None


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("h100-sxm", "h100-sx", 3, "no hardware profile is named 'h100-sx', did you mean 'h100-s"),
        ("h100-sxm", "nowhere.yaml", 3, "extends: no such file: "),
        ("h100-sxm", "./", 3, "extends: no such file: "),
        ("h100-sxm", "mine.yaml", 3, "cannot extend itself (mine.yaml extends mine.yaml)"),
        ("h100-sxm", "[a, b]", 3, "extends: must be the name of a profile or the path"),
        ("h100-sxm", "''", 3, "extends: must be the name of a profile or the path"),
        ("h100-sxm", "7", 3, "extends: must be the name of a profile or the path"),
        ("name: mine\n", "", 1, "name: missing"),
        ("schema_version: 1\n", "", 1, "schema_version: missing"),
        ("value: 2.0e+14", "value: 0", 8, "peak_macs_per_s.fp16.value: must be greater than 0"),
        ("value: 2.0e+14, kind: measured", "value: 1", 8, "peak_macs_per_s.fp16.kind: missing"),
        (
            "title:",
            "runtime: mcu\ntitle:",
            4,
            "mcu does not run on a gpu; choose one of roofline, cudnn",
        ),
        ("energy: null", "energy: {byte_j: 1}", 6, "energy.mac_j: missing"),
        ("energy: null", "memory: {}", 6, "memory: must be a list, got a mapping"),
        ("currency: USD", "currency: dollar", 5, "must be the three capital letters of a currency"),
        ("energy: null", "name: again", 6, "'name' is given again; it stands on line 2"),
    ],
)
def test_a_wrong_extension_is_refused(
    old: str, new: str, line: int, message: str, write: Write
) -> None:
    text = SHARE.replace(old, new, 1)
    assert text != SHARE
    path = write("mine.yaml", text)
    told = refusal(path).split("\n")
    assert any(f"{path}:{line}: " in one and message in one for one in told), told


def test_a_circle_is_refused(write: Write) -> None:
    for name, parent in (("a", "b"), ("b", "c"), ("c", "a")):
        path = write(f"{name}.yaml", f"schema_version: 1\nname: {name}\n\nextends: {parent}.yaml\n")
    assert refusal(path) == (
        f"{path.parent}/b.yaml:4: extends: a profile cannot extend itself "
        "(c.yaml extends a.yaml extends b.yaml extends c.yaml)"
    )


def test_a_long_chain_is_refused(write: Write) -> None:
    write("p0.yaml", SHARE.replace("mine", "p0"))
    for i in range(1, 12):
        write(f"p{i}.yaml", f"schema_version: 1\nname: p{i}\nextends: p{i - 1}.yaml\n")
    folder = write("x.yaml", "").parent
    # p6 to p0 and the shipped one are eight.
    assert load_profile(folder / f"p{MAX_CHAIN - 2}.yaml").kind == "gpu"
    assert "at most 8 profiles may extend one another" in refusal(folder / "p11.yaml")


def test_the_schema_lets_an_extension_leave_things_out_and_checks_the_rest() -> None:
    schema = profile_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    mine = yaml.safe_load(SHARE)
    assert check.is_valid(mine)
    assert not check.is_valid({key: value for key, value in mine.items() if key != "extends"})
    assert not check.is_valid({key: value for key, value in mine.items() if key != "name"})
    assert not check.is_valid({**mine, "thread": 3})
    assert not check.is_valid({**mine, "peak_macs_per_s": {"fp16": {"value": 1}}})
    assert not check.is_valid({**mine, "peak_macs_per_s": {"fp17": mine["peak_macs_per_s"]}})
    assert not check.is_valid({**mine, "memory": [{"name": "all"}]})


values = st.recursive(
    st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "value", "c"]), inner, max_size=3),
    max_leaves=12,
)
mappings = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), values, max_size=4)


def overlaid(over: object, under: object) -> object:
    """The rule of docs/profiles.md, on plain values."""
    if not (isinstance(over, dict) and isinstance(under, dict)):
        return over
    if "value" in over or "value" in under:
        return over
    return {**under, **{k: overlaid(v, under[k]) if k in under else v for k, v in over.items()}}


@settings(deadline=None)
@given(over=mappings, under=mappings)
def test_any_documents_merge_by_the_rule_and_keep_their_places(
    over: dict[str, object], under: dict[str, object]
) -> None:
    child = read_document(json.dumps(over, indent=1), "child")
    parent = read_document(json.dumps({**under, "name": "parent"}, indent=1), "parent")
    both = merged(child, parent)
    assert both.data == overlaid(over, under)
    for path, place in both.places.items():
        source = {"child": child, "parent": parent}[place.file]
        assert source.places[path] == place
    for key, value in both.data.items():
        assert both.place((key,)).file == ("child" if key in over else "parent"), value


def test_a_profile_of_the_user_has_a_name(profile_folder: Path) -> None:
    (profile_folder / "mine.yaml").write_text(SHARE)
    assert load_profile("mine").title == "One H100 of a shared server"
    assert "mine" in [profile.name for profile in list_profiles()]
    assert "did you mean 'mine'?" in refusal("min")


def test_the_user_s_own_goes_before_a_shipped_one_and_may_extend_it(profile_folder: Path) -> None:
    shipped = load_profile("h100-sxm")
    (profile_folder / "h100-sxm.yaml").write_text(SHARE.replace("mine", "h100-sxm"))
    mine = load_profile("h100-sxm")
    assert mine.title == "One H100 of a shared server"
    assert mine.memory == shipped.memory
    assert len(list_profiles()) == len({profile.name for profile in list_profiles()})


def test_a_file_in_the_user_s_folder_is_called_as_its_profile(profile_folder: Path) -> None:
    (profile_folder / "other.yaml").write_text(SHARE)
    told = refusal("other")
    assert "other.yaml:2: name: must be 'other' as the file is called, got 'mine'" in told
    assert load_profile(profile_folder / "other.yaml").name == "mine"


def test_the_host_profile_is_the_one_of_that_name(profile_folder: Path) -> None:
    assert host_profile() is None
    (profile_folder / "host.yaml").write_text(SHARE.replace("mine", "host"))
    host = host_profile()
    assert host is not None
    assert host == load_profile("host")
    (profile_folder / "host.yaml").write_text("name: host")
    with pytest.raises(ProfileError, match=r"host\.yaml"):
        host_profile()


def test_no_folder_is_no_profile_and_an_unreadable_one_is_told(
    profile_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNCOST_PROFILES", str(profile_folder / "none"))
    assert folders.user_files() == {}
    monkeypatch.setenv("RNNCOST_PROFILES", "x" * 5000)
    with pytest.raises(ProfileError, match="RNNCOST_PROFILES can name another"):
        folders.user_files()


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, "/home/ada/.local/share/rnncost"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/rnncost"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "/home/ada/.local/share/rnncost"),
        ("darwin", {"XDG_DATA_HOME": "/data"}, "/home/ada/Library/Application Support/rnncost"),
        ("win32", {}, "/home/ada/AppData/Local/rnncost"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/rnncost"),
        ("win32", {"RNNCOST_PROFILES": "/mine"}, "/mine"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="paths of POSIX")
def test_the_folder_is_where_the_system_keeps_data(
    platform: str, variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RNNCOST_PROFILES", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ada", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(folders.sys, "platform", platform)
    assert user_profile_folder() == Path(folder)


def test_a_profile_written_as_text_reads_back_the_same(write: Write) -> None:
    for profile in list_profiles():
        assert load_profile(write("copy.yaml", profile_text(profile))) == profile
    mine = load_profile(write("mine.yaml", SHARE))
    whole = load_profile(write("whole.yaml", profile_text(mine)))
    assert whole == msgspec.structs.replace(mine, extends=None)
    assert yaml.safe_load(profile_text(mine))["peak_macs_per_s"]["fp16"]["value"] == 2e14
