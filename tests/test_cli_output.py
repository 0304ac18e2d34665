"""Outputs are written whole or not at all, and never two in one place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rnncost.cli.output import Output, parse_outputs, wants_color, write_all
from rnncost.errors import ReportError

FORMATS = ("table", "json")


def test_parsing(tmp_path: Path) -> None:
    file = tmp_path / "a:b.json"
    assert parse_outputs(["table", f"json:{file}"], FORMATS) == (
        Output("table"),
        Output("json", str(file)),
    )
    assert parse_outputs(["json:-"], FORMATS) == (Output("json"),)
    assert parse_outputs(["json:"], FORMATS) == (Output("json"),)


def test_an_unknown_format_gets_a_suggestion() -> None:
    with pytest.raises(ReportError, match=r"no format 'jsn', did you mean 'json'\? \(table, json"):
        parse_outputs(["jsn:x"], FORMATS)


def test_two_outputs_in_one_place_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="two outputs go to stdout"):
        parse_outputs(["table", "json"], FORMATS)
    link = tmp_path / "link.json"
    link.symlink_to(tmp_path / "file.json")
    with pytest.raises(ReportError, match="two outputs go to one file"):
        parse_outputs([f"json:{tmp_path}/file.json", f"table:{link}"], FORMATS)


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"the folder .*absent does not exist"):
        parse_outputs([f"json:{tmp_path}/absent/r.json"], FORMATS)
    with pytest.raises(ReportError, match="it is a folder"):
        parse_outputs([f"json:{tmp_path}"], FORMATS)


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    path.chmod(0o640)
    write_all((Output("json", str(path)),), lambda _: "µ new")
    assert path.read_bytes() == "µ new\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["r.json"]


def test_a_new_file_has_the_mode_that_the_umask_asks_for(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_all((Output("json", str(tmp_path / "r.json")),), lambda _: "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "r.json").stat().st_mode) == 0o640


def test_a_link_is_followed_not_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_all((Output("json", str(link)),), lambda _: "new")
    assert link.is_symlink()
    assert target.read_text() == "new\n"


def test_devices_and_pipes_are_written_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_all((Output("json", str(pipe)),), lambda _: "through")
        assert os.read(reader, 100) == b"through\n"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_fault_in_one_output_leaves_none(tmp_path: Path) -> None:
    def render(output: Output) -> str:
        if output.format == "json":
            raise ReportError("cannot be rendered")
        return "text"

    outputs = (Output("table", str(tmp_path / "t")), Output("json", str(tmp_path / "j")))
    with pytest.raises(ReportError, match="cannot be rendered"):
        write_all(outputs, render)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ReportError, match=r"cannot write .*r\.json: No space left"):
        write_all((Output("json", str(path)),), lambda _: "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.json"]


def test_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert wants_color("auto")
    assert not wants_color("never")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_color("auto")
    assert wants_color("always")
    monkeypatch.setenv("NO_COLOR", "")
    assert wants_color("auto")
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_color("auto")
