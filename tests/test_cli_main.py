"""The command as a process: exit codes, one sentence for every fault, pipes and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from report_samples import hostile, lstm, report_of, spotter

import rnncost
from rnncost.cli.main import COMMANDS, cli, main
from rnncost.errors import EXIT_ERROR, ReportError
from rnncost.report.json_text import render_json

Capture = pytest.CaptureFixture[str]


def run(*args: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "rnncost", *args]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def long_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose table is longer than the buffer of a pipe."""
    path = tmp_path_factory.mktemp("reports") / "long.json"
    path.write_text(render_json(report_of([lstm(f"layer {i}", i=8, h=8) for i in range(2000)])))
    return path


def test_help_and_version(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    assert main([]) == 0
    assert capsys.readouterr().out == text
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rnncost, version {rnncost.__version__}\n"


def test_the_summaries_are_those_of_the_commands() -> None:
    context = click.Context(cli)
    for name, summary in COMMANDS.items():
        command = cli.get_command(context, name)  # type: ignore[attr-defined]
        assert command.name == name
        assert command.get_short_help_str(limit=200) == summary


@pytest.mark.parametrize("command", ["analyze", "validate", "render", "profiles"])
def test_every_command_has_help(command: str, capsys: Capture) -> None:
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: rnncost {command}")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["anlyze", "m.onnx"], ["there is no command 'anlyze', did you mean 'analyze'?"]),
        (["zzz"], ["there is no command 'zzz'; the commands are analyze, "]),
        (["--colour"], ["no such option", "--colour"]),
        (["analyze"], ["missing argument 'MODEL'"]),
        (["analyze", "m", "--dims", "x=1"], ["no such option", "--dims", "id you mean", "--dim"]),
        (["analyze", "m", "--threads", "many"], ["'--threads'", "'many' is not a valid integer"]),
        (["analyze", "m", "--precision", "fp8"], ["'--precision'", "'fp32', 'tf32', 'fp16'"]),
        (["analyze", "a", "b"], ["unexpected extra argument"]),
        (["profiles", "lst"], ["there is no command 'lst', did you mean 'list'?"]),
        (["render"], ["missing argument 'REPORT'"]),
    ],
)
def test_faulty_command_lines(args: list[str], parts: list[str], capsys: Capture) -> None:
    assert main(args) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnncost: error: ")
    assert all(part in err for part in parts)
    assert "--help)" in err
    assert err.count("\n") == 1


FAILURES = [
    (ReportError("a sentence"), "a sentence"),
    (FileNotFoundError(2, "No such file or directory", "m.onnx"), "m.onnx: no such file"),
    (PermissionError(13, "Permission denied", "m.onnx"), "m.onnx: permission denied"),
    (MemoryError(), "memory"),
    (RecursionError(), "nested too deeply"),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "encoding"),
    (
        ZeroDivisionError("division\nby zero"),
        "internal error (ZeroDivisionError: division by zero)",
    ),
]


@pytest.mark.parametrize(("error", "message"), FAILURES, ids=lambda x: type(x).__name__)
def test_every_failure_is_one_sentence(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(rnncost, "analyze", fail, raising=False)
    monkeypatch.delenv("RNNCOST_DEBUG", raising=False)
    assert main(["analyze", "m.onnx"]) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnncost: error: ")
    assert message in err
    assert err.count("\n") == 1

    monkeypatch.setenv("RNNCOST_DEBUG", "1")
    assert main(["analyze", "m.onnx"]) == EXIT_ERROR
    assert capsys.readouterr().err.startswith("Traceback")


def test_an_interrupt_ends_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rnncost, "analyze", interrupt, raising=False)
    assert main(["analyze", "m.onnx"]) == 130
    assert capsys.readouterr().err == "rnncost: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_signal_to_the_process_ends_it_with_130(tmp_path: Path) -> None:
    pipe = tmp_path / "report.json"
    os.mkfifo(pipe)  # the process waits for a writer until the signal comes
    command = [sys.executable, "-m", "rnncost", "render", str(pipe)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b"rnncost: interrupted\n"


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_a_reader_that_goes_away_is_no_fault(output: str, long_report: Path) -> None:
    command = [sys.executable, "-m", "rnncost", "render", str(long_report), "-o", output]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=30)
    assert err == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("output", ["table", "json"])
def test_a_full_disk_is_one_sentence(output: str, long_report: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "rnncost", "render", str(long_report), "-o", output]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == EXIT_ERROR
    assert done.stderr == b"rnncost: error: no space left on device\n"


def test_stdout_without_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(render_json(spotter()), encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = run("render", str(path), env=environment)
    assert done.returncode == 0
    assert b"5.2 \\xb5s" in done.stdout
    done = run("render", str(path), "-o", "json", env=environment)
    assert done.stdout == path.read_bytes() + b"\n"


def test_stdin_is_a_report_and_its_names_do_no_harm() -> None:
    done = run("render", "-", input=render_json(hostile()).encode())
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout
    assert b"\x1b" not in done.stderr


def test_closed_stdout_is_one_sentence(long_report: Path) -> None:
    command = f'exec "{sys.executable}" -m rnncost render "{long_report}" >&-'
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60, check=False)
    assert done.returncode == EXIT_ERROR
    assert done.stderr.startswith(b"rnncost: error: ")
    assert done.stderr.count(b"\n") == 1


def test_shell_completion() -> None:
    environment = os.environ | {
        "_RNNCOST_COMPLETE": "bash_complete",
        "COMP_WORDS": "rnncost ana",
        "COMP_CWORD": "1",
    }
    done = run(env=environment)
    assert done.stdout.split() == [b"plain,analyze"]
