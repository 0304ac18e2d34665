"""``rnncost profiles`` lists, shows and checks."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

import rnncost
from rnncost.cli.main import main
from rnncost.errors import EXIT_ERROR

Capture = pytest.CaptureFixture[str]


def test_list_names_every_profile(capsys: Capture) -> None:
    assert main(["profiles", "list"]) == 0
    header, _, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "kind", "runtime", "calibrated", "title"]
    assert [line.split()[0] for line in lines] == [p.name for p in rnncost.list_profiles()]
    assert max(map(len, lines)) <= 140


def test_list_shows_one_kind(capsys: Capture) -> None:
    assert main(["profiles", "list", "--kind", "mcu"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    expected = [p.name for p in rnncost.list_profiles() if p.kind == "mcu"]
    assert [line.split()[0] for line in lines] == expected
    assert main(["profiles", "list", "--kind", "fpga"]) == EXIT_ERROR


def test_list_tells_which_are_the_user_s_own_and_which_are_wrong(
    profile_folder: Path, capsys: Capture
) -> None:
    (profile_folder / "mine.yaml").write_text("schema_version: 1\nname: mine\nextends: t4\n")
    (profile_folder / "bad.yaml").write_text("name: bad\ncolour: red\n")
    assert main(["profiles", "list"]) == 0
    out, err = capsys.readouterr()
    (mine,) = [line for line in out.splitlines() if line.startswith("mine ")]
    assert mine.split()[:2] == ["mine", "gpu"]
    assert mine.split()[3] == "yours"
    assert out.count("yours") == 2
    assert err.startswith("rnncost: warning: left out: ")
    assert "bad.yaml" in err
    assert main(["profiles", "check"]) == EXIT_ERROR
    assert "bad.yaml:2: colour: unknown key" in capsys.readouterr().err


def test_check_without_a_file_checks_all(profile_folder: Path, capsys: Capture) -> None:
    assert main(["profiles", "check"]) == 0
    assert capsys.readouterr().out == f"all {len(rnncost.list_profiles())} profiles are right\n"


def test_show_tells_what_is_extended_and_can_resolve_it(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "mine.yaml"
    text = "schema_version: 1\nname: mine\nextends: t4  # the card of our servers\n"
    path.write_text(text)
    assert main(["profiles", "show", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out == text
    assert err == (
        f"rnncost: the rest comes from t4: 'rnncost profiles show --resolved {path}' "
        "shows the whole\n"
    )
    assert main(["profiles", "show", "--resolved", str(path)]) == 0
    whole = tmp_path / "whole.yaml"
    whole.write_text(capsys.readouterr().out)
    assert rnncost.load_profile(whole).memory == rnncost.load_profile("t4").memory
    assert "extends" not in whole.read_text()


def test_show_prints_the_file_and_check_accepts_it(tmp_path: Path, capsys: Capture) -> None:
    assert main(["profiles", "show", "x86-64-server-core"]) == 0
    text = capsys.readouterr().out
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["profiles", "check", str(path)]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: x86-64-server-core ")
    assert main(["profiles", "show", str(path)]) == 0
    assert capsys.readouterr().out == text


def test_schema_accepts_what_show_prints(capsys: Capture) -> None:
    assert main(["profiles", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert main(["profiles", "show", "cortex-m7"]) == 0
    jsonschema.validate(yaml.safe_load(capsys.readouterr().out), schema)


def test_check_names_the_faults_of_every_file(tmp_path: Path, capsys: Capture) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    assert main(["profiles", "show", "cortex-m7"]) == 0
    text = capsys.readouterr().out
    good.write_text(text, encoding="utf-8")
    bad.write_text(text.replace("kind: mcu", "kind: toaster") + "\ncolour: red\n")
    absent = tmp_path / "absent.yaml"
    assert main(["profiles", "check", str(bad), str(good), str(absent)]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == f"{good}: cortex-m7 1 is right\n"
    assert err.startswith("rnncost: error: ")
    assert "bad.yaml" in err
    assert "colour" in err
    assert "toaster" in err
    assert "absent.yaml" in err


def test_unknown_names_are_refused(capsys: Capture) -> None:
    assert main(["profiles", "show", "cortex-m8"]) == EXIT_ERROR
    assert "did you mean 'cortex-m7'?" in capsys.readouterr().err
    assert main(["profiles"]) == 0
    assert "schema" in capsys.readouterr().out
