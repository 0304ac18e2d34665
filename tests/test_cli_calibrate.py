"""``rnncost calibrate`` as a user runs it, on a made-up machine; once for real, but tiny."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from calibration_machine import CORES, MadeUpMachine, true_constants

import rnncost
from rnncost.calibration import measuring, run
from rnncost.calibration.design import random_layers
from rnncost.cli.main import EXIT_INTERRUPTED, main
from rnncost.errors import EXIT_ERROR
from rnncost.runtime.timing import time_interleaved

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> MadeUpMachine:
    """A quiet machine, a short design and no fit: what is written does not matter here."""
    short_design(monkeypatch)
    monkeypatch.setattr(run, "fit_constants", lambda base, *_: base)
    monkeypatch.setattr(run, "fit_threads", lambda base, *_: base)
    return MadeUpMachine(true_constants(), drift=0).take_over(monkeypatch)


def short_design(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(run, "RANDOM_LAYERS", 5)
    patch.setattr(run, "THREADED_LAYERS", 5)
    patch.setattr(run, "chosen_layers", lambda _: random_layers(5, 4, 1_000_000))
    patch.setattr(run, "MAX_P90_ERROR", float("inf"))


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_profile_goes_to_the_user_s_folder_and_is_used_from_then_on(
    machine: MadeUpMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    monkeypatch.setenv("RNNCOST_PROFILES", str(folder))
    assert main(["calibrate"]) == 0
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first == str(folder / "host.yaml")
    assert re.fullmatch(
        r"on layers left out of the fit, 1 thread: median error [\d.]+%, 9 of 10 within "
        r"[\d.]+%; 2 threads: median error [\d.]+%, 9 of 10 within [\d.]+%",
        second,
    )
    assert files_in(folder) == ["host.yaml"]
    assert rnncost.load_profile("host").threads == CORES
    assert all(line.startswith("rnncost: ") for line in err.splitlines())
    assert "timing 194 models" in err
    assert main(["profiles", "check"]) == 0
    capsys.readouterr()
    assert main(["profiles", "list", "--kind", "cpu"]) == 0
    (listed,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("host ")]
    assert "Made-up CPU, calibrated" in listed


def test_another_file_and_its_name(machine: MadeUpMachine, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "My Build Server_2.yaml"
    assert main(["calibrate", "-o", str(path), "--threads", "1"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith(f"{path}\n")
    assert "2 threads" not in out
    assert [threads for threads, _ in machine.timed] == [1]
    assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=")
    assert rnncost.load_profile(path).name == "my-build-server-2"
    assert files_in(tmp_path) == [path.name]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("host", "host"),
        ("..yaml", "host"),
        (".hidden.yaml", "hidden"),
        ("Größe.yaml", "gr-e"),
        ("日本.yaml", "host"),
        ("a.b.yaml", "a.b"),
        (f"{'long' * 50}.yaml", ("long" * 50)[:100]),
        (f"{'x' * 99}-y.yaml", "x" * 99),
    ],
)
@pytest.mark.usefixtures("machine")
def test_any_file_name_makes_a_profile_that_can_be_read(
    tmp_path: Path, file: str, name: str
) -> None:
    assert main(["calibrate", "-q", "-o", str(tmp_path / file), "--threads", "1"]) == 0
    assert rnncost.load_profile(tmp_path / file).name == name


def test_quiet_says_nothing_on_the_way(machine: MadeUpMachine, capsys: Capture) -> None:
    assert main(["calibrate", "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[0].endswith("host.yaml")


def test_too_many_threads(machine: MadeUpMachine, profile_folder: Path, capsys: Capture) -> None:
    assert main(["calibrate", "--threads", "64"]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "rnncost: error: threads must be 1 to 2, the cores of this process; got 64\n"
    assert main(["calibrate", "--threads", "0"]) == EXIT_ERROR
    assert "--threads" in capsys.readouterr().err
    assert machine.timed == []
    assert files_in(profile_folder) == []


def test_a_noisy_machine(machine: MadeUpMachine, profile_folder: Path, capsys: Capture) -> None:
    machine.noise = 1.0
    assert main(["calibrate", "-q"]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnncost: error: this machine is too noisy to calibrate: ")
    assert err.endswith("or give --force\n")
    assert err.count("\n") == 1
    assert files_in(profile_folder) == []
    assert main(["calibrate", "-q", "--force"]) == 0
    calibration = rnncost.load_profile("host").calibration
    assert calibration is not None
    assert calibration.scatter is not None
    assert calibration.scatter > run.MAX_SCATTER


def test_places_that_cannot_be_written_are_refused_before_measuring(
    machine: MadeUpMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "file").write_text("")

    def refused(*args: str) -> str:
        assert main(["calibrate", *args]) == EXIT_ERROR
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    missing = tmp_path / "none" / "host.yaml"
    assert "none does not exist" in refused("-o", str(missing))
    assert "is a directory" in refused("-o", str(tmp_path))
    assert "does not exist" in refused("-o", str(tmp_path / "file" / "host.yaml"))
    monkeypatch.setenv("RNNCOST_PROFILES", str(tmp_path / "file"))
    assert "-o names another file" in refused()
    monkeypatch.setenv("RNNCOST_PROFILES", str(tmp_path / "file" / "folder"))
    assert "-o names another file" in refused()
    assert machine.timed == []
    assert files_in(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="folders of Windows have no such modes")
def test_a_folder_that_takes_no_files_is_refused_before_measuring(
    machine: MadeUpMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    import tempfile

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.access(folder, os.W_OK):  # the superuser writes everywhere
        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    path = folder / "host.yaml"
    assert main(["calibrate", "-o", str(path)]) == EXIT_ERROR
    assert capsys.readouterr().err == f"rnncost: error: cannot write {path}: Permission denied\n"
    assert machine.timed == []
    folder.chmod(stat.S_IRWXU)


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs /dev/null")
@pytest.mark.usefixtures("machine")
def test_a_device_may_stand_for_the_file() -> None:
    assert main(["calibrate", "-q", "-o", "/dev/null", "--threads", "1"]) == 0
    assert not os.path.isfile("/dev/null")


@pytest.mark.parametrize("at", [(1, 0), (1, 3), (2, 2)], ids=["at once", "one thread", "two"])
def test_ctrl_c_leaves_nothing(
    machine: MadeUpMachine, profile_folder: Path, capsys: Capture, at: tuple[int, int]
) -> None:
    old = profile_folder / "host.yaml"
    old.write_text("an older profile")

    def before(number: int) -> None:
        if (machine.timed[-1][0], number) == at:
            raise KeyboardInterrupt

    machine.before = before
    assert main(["calibrate"]) == EXIT_INTERRUPTED == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == "rnncost: interrupted"
    assert "Traceback" not in err
    assert files_in(profile_folder) == ["host.yaml"]
    assert old.read_text() == "an older profile"


@pytest.mark.usefixtures("machine")
def test_an_older_profile_is_replaced_as_a_whole_or_not_at_all(
    profile_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    old = profile_folder / "host.yaml"
    old.write_text("an older profile")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert main(["calibrate", "-q"]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"rnncost: error: cannot write {old}: No space left on device\n"
    assert old.read_text() == "an older profile"
    assert files_in(profile_folder) == ["host.yaml"]
    assert main(["calibrate", "-q"]) == 0
    assert rnncost.load_profile("host").calibrated
    assert files_in(profile_folder) == ["host.yaml"]


@pytest.mark.usefixtures("machine")
def test_a_broken_older_profile_is_in_nobody_s_way(profile_folder: Path) -> None:
    (profile_folder / "host.yaml").write_text("}{")
    assert main(["calibrate", "-q"]) == 0
    assert rnncost.load_profile("host").calibrated


def test_help_says_what_it_does(capsys: Capture) -> None:
    assert main(["calibrate", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("ONNX Runtime", "--threads", "--force", "-o, --output", "host.yaml"):
        assert part in text


def test_for_real_in_a_second(
    profile_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Five cells in ONNX Runtime itself: that models load, run and are written down."""
    short_design(monkeypatch)
    monkeypatch.setattr(
        measuring,
        "time_interleaved",
        lambda runs, **options: time_interleaved(
            runs, **{**options, "rounds": 2, "min_time_s": 1e-4, "min_runs": 3}
        ),
    )
    assert main(["calibrate", "-q", "--threads", "1", "--force"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["profiles", "check", str(profile_folder / "host.yaml")]) == 0
    profile = rnncost.load_profile("host")
    assert profile.calibration is not None
    assert profile.calibration.held_out[0].cases == 5
    constants = profile.onnxruntime_cpu
    assert constants is not None
    # A run takes 3 to 12 µs on the machines that we know; a year is a fault of units.
    assert 1e-7 < constants.run_s < 1e-3
