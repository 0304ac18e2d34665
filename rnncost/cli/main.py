"""The ``rnncost`` command: finds the subcommand, and turns every failure into one sentence."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import click

from rnncost import __version__
from rnncost.cli.groups import LazyGroup
from rnncost.errors import EXIT_ERROR, EXIT_OK, RnncostError

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE
_COMPLETE = "_RNNCOST_COMPLETE"

COMMANDS = {
    "analyze": "Count what a model costs and estimate its latency.",
    "validate": "Time models in ONNX Runtime beside their estimates, whole and node by node.",
    "numerics": "Measure how long recurrent layers remember.",
    "compare": "Show a model beside variants of itself, and say what each buys and costs.",
    "check": "Hold models to the budgets of a project.",
    "fit": "Find the designs that meet limits, and say how far the rest miss.",
    "calibrate": "Measure this machine and write its profile.",
    "profiles": "List, show and check hardware profiles.",
    "diff": "Show what changed between two models or two reports.",
    "render": "Show an earlier JSON report in another format.",
}


@click.command(
    cls=LazyGroup,
    package="rnncost.cli",
    summaries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="rnncost")
def cli() -> None:
    """What a recurrent network costs before it is deployed.

    Parameters, multiply-accumulates, memory traffic, sequential steps and latency, from
    an ONNX file or a PyTorch module. Exit code 0: done; 1: over budget, or an
    estimate outside its tolerance; 2: a fault, told on stderr.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line with ``args`` (those of the process by default); the exit code."""
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        _accept_any_character()
        code = _run(arguments)
        _flush()
    except BrokenPipeError:
        _discard_output()
        return EXIT_BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except Exception as error:
        with contextlib.suppress(OSError):
            _flush()
        if os.environ.get("RNNCOST_DEBUG"):
            import traceback

            traceback.print_exc()
        _complain(f"error: {_sentence(error)}")
        return error.exit_code if isinstance(error, RnncostError) else EXIT_ERROR
    return code


def _run(args: list[str]) -> int:
    if instruction := os.environ.get(_COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "rnncost", _COMPLETE, instruction)
    try:
        with cli.make_context("rnncost", args) as context:
            code = cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return code if isinstance(code, int) else EXIT_OK


def _sentence(error: Exception) -> str:
    if isinstance(error, RnncostError):
        return str(error)
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "rnncost"
        return f"{_lower(error.format_message().rstrip('.'))} (see {command} --help)"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{_lower(error.strerror)}"
    if isinstance(error, UnicodeError):
        return f"text cannot be read or written in its encoding: {error}"
    if isinstance(error, MemoryError):
        return "the memory of this machine is not enough for this model"
    if isinstance(error, RecursionError):
        return "the model is nested too deeply to be followed"
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"internal error ({what}); please report it, with the traceback that RNNCOST_DEBUG=1 shows"
    )


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _complain(text: str) -> None:
    """Write to stderr; what a model or file name would do to a terminal is escaped."""
    from rnncost.report.text import printable

    safe = "\n".join(map(printable, text.split("\n")))
    click.echo(f"rnncost: {safe}", err=True)


def _accept_any_character() -> None:
    """Escape what the encoding of the terminal lacks instead of failing on it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _flush() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _discard_output()
        raise


def _discard_output() -> None:
    """Point stdout at nothing, so that the flush at the end of the process cannot fail."""
    import io

    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
