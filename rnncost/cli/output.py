"""Where results go: ``-o FORMAT[:PATH]``, written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from rnncost.errors import ReportError, nearest
from rnncost.report.model import Report

if TYPE_CHECKING:
    from rnncost.profiles.schema import HardwareProfile

R_contra = TypeVar("R_contra", contravariant=True)
REPORT_FORMATS = ("table", "json", "csv", "markdown", "html")


class Output(msgspec.Struct, frozen=True):
    """One result to write; ``path`` is None for stdout."""

    format: str
    path: str | None = None


def parse_outputs(items: Iterable[str], formats: Sequence[str]) -> tuple[Output, ...]:
    """Parse ``FORMAT[:PATH]`` items, and refuse now what could not be written later.

    Raises:
        ReportError: an unknown format, two results in one place, or a missing folder.
        RuntimeUnavailableError: the package that a format needs is not installed.
    """
    outputs = tuple(_parse(item, formats) for item in items)
    places = [os.path.realpath(o.path) if o.path else None for o in outputs]
    if places.count(None) > 1:
        raise ReportError("two outputs go to stdout: give all but one a file, as in -o json:FILE")
    if len(set(places)) < len(places):
        raise ReportError("two outputs go to one file: give each its own")
    for output in outputs:
        if output.path:
            check_place(output.path)
    if any(output.format == "html" for output in outputs):
        from rnncost.webpage import require_bokeh

        require_bokeh()
    return outputs


def emit_report(
    report: Report,
    outputs: Sequence[Output],
    *,
    quiet: bool,
    verbose: bool,
    color: str,
    profiles: Sequence[str | HardwareProfile] = (),
) -> None:
    """Write a report in every format that was asked for.

    ``profiles`` are those of its estimates, whose ceilings a page shows; by default those
    that are found by their names.
    """

    def render(output: Output) -> str:
        if output.format == "html":
            from rnncost.webpage import known_profiles, render_page

            return render_page(report, profiles=known_profiles(report, profiles))
        return _render(report, output, quiet=quiet, verbose=verbose, color=color)

    emit(outputs, render, report.warnings, quiet=quiet)


def emit(
    outputs: Sequence[Output],
    render: Callable[[Output], str | bytes],
    warnings: Iterable[str],
    *,
    quiet: bool,
) -> None:
    """Write a result in every format that was asked for.

    With ``quiet``, a table on stdout is one line, and stands there even if all outputs go
    to files. Warnings go to stderr where no table on stdout shows them.
    """
    nothing_on_stdout = all(output.path for output in outputs)
    write_all([*outputs, Output("table")] if quiet and nothing_on_stdout else outputs, render)
    table_shown = any(o.path is None and o.format == "table" for o in outputs)
    if not (quiet or table_shown):
        for warning in warnings:
            note(f"warning: {warning}")


def write_all(outputs: Sequence[Output], render: Callable[[Output], str | bytes]) -> None:
    """Render everything first, so that a fault leaves nothing behind, then write it.

    Raises:
        ReportError: a file cannot be written.
    """
    texts = [render(output) for output in outputs]
    for output, text in zip(outputs, texts, strict=True):
        if isinstance(text, bytes):
            if output.path is None:
                raise ReportError(f"-o {output.format} is no text: give it a file")
            write_file(output.path, text)
            continue
        whole = text if text.endswith("\n") else f"{text}\n"
        if output.path:
            write_file(output.path, whole)
        else:
            write_stdout(whole, machine=output.format not in ("table", "markdown"))


def write_stdout(text: str, *, machine: bool = False) -> None:
    """Write to stdout: machine formats in UTF-8 whatever the terminal's encoding.

    Raises:
        ReportError: stdout is closed.
        BrokenPipeError: the reader has gone away.
    """
    if sys.stdout is None:
        raise ReportError("stdout is closed: give the output a file, as in -o json:FILE")
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # a text stream in the place of stdout
        sys.stdout.write(text)
        return
    encoding = "utf-8" if machine else sys.stdout.encoding or "utf-8"
    sys.stdout.flush()
    rest = memoryview(text.encode(encoding, "backslashreplace"))
    while rest:  # an unbuffered stdout (python -u) may take a part and say no more
        written = buffer.write(rest)
        if written is None:
            raise BlockingIOError(errno.EAGAIN, "stdout takes no more for now and does not wait")
        rest = rest[written:]
    buffer.flush()


def note(text: str) -> None:
    """Write one line to stderr."""
    from rnncost.report.text import printable

    sys.stderr.write(f"rnncost: {printable(text)}\n")


def wants_color(color: str) -> bool:
    """Whether to colour text on stdout: ``auto`` asks the terminal and NO_COLOR."""
    if color != "auto":
        return color == "always"
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return _on_terminal() and not plain


def _parse(item: str, formats: Sequence[str]) -> Output:
    name, _, path = item.partition(":")
    if name not in formats:
        hint = nearest(name, formats)
        raise ReportError(f"-o {item}: there is no format {name!r}{hint} ({', '.join(formats)})")
    return Output(name, None if path in ("", "-") else path)


def _render(report: Report, output: Output, *, quiet: bool, verbose: bool, color: str) -> str:
    on_stdout = output.path is None
    if output.format == "json":
        from rnncost.report.json_text import render_json

        return render_json(report)
    if output.format == "csv":
        from rnncost.report.csv_table import render_csv

        return render_csv(report)
    if output.format == "markdown":
        from rnncost.report.markdown import render_markdown

        return render_markdown(report, verbose=verbose)
    if quiet and on_stdout:
        from rnncost.report.summary import verdict

        return verdict(report)
    from rnncost.report.table import render_table

    width = text_width(on_stdout=on_stdout)
    colored = wants_color(color) if on_stdout else color == "always"
    return render_table(report, verbose=verbose, width=width, color=colored)


class Words(Protocol[R_contra]):
    """A module that lays a result out in words."""

    def one_line(self, result: R_contra, /) -> str: ...

    def render_markdown(self, result: R_contra, /, *, verbose: bool) -> str: ...

    def render_text(
        self, result: R_contra, /, *, verbose: bool, width: int, color: bool
    ) -> str: ...


class Plain(Protocol):
    """A result that has a form in plain values."""

    def to_dict(self) -> dict[str, Any]: ...


def render_words(
    words: Words[R_contra],
    result: R_contra,
    output: Output,
    *,
    quiet: bool,
    verbose: bool,
    color: str,
) -> str:
    """A result as Markdown, or as a table; with ``quiet``, as one line on stdout."""
    if output.format == "markdown":
        return words.render_markdown(result, verbose=verbose)
    on_stdout = output.path is None
    if quiet and on_stdout:
        return words.one_line(result)
    colored = wants_color(color) if on_stdout else color == "always"
    width = text_width(on_stdout=on_stdout)
    return words.render_text(result, verbose=verbose, width=width, color=colored)


def result_json(name: str, result: Plain) -> str:
    """A result as JSON, under its name and beside the version that made it."""
    from rnncost import __version__
    from rnncost.report.json_text import to_json

    return to_json({"rnncost": __version__, name: result.to_dict()})


def text_width(*, on_stdout: bool) -> int:
    """The columns that a table may take: those of the terminal, or the usual number."""
    from rnncost.report.table import DEFAULT_WIDTH

    return _terminal_width() if on_stdout and _on_terminal() else DEFAULT_WIDTH


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _terminal_width() -> int:
    return min(max(os.get_terminal_size(sys.stdout.fileno()).columns, 80), 160)


def check_place(path: str) -> None:
    """Refuse a path that cannot be written, before any work is done for it.

    Raises:
        ReportError: its folder does not exist, or it is a folder itself.
    """
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise ReportError(f"cannot write {path}: the folder {folder} does not exist")
    if os.path.isdir(path):
        raise ReportError(f"cannot write {path}: it is a folder; add a file name")


def write_file(path: str, text: str | bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        ReportError: it cannot be written.
    """
    try:
        if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
            with open(path, "wb") as device:  # a pipe or /dev/stdout: nothing to replace
                device.write(_encoded(text))
        else:
            _replace(os.path.realpath(path), _encoded(text))
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error


def _replace(path: str, data: bytes) -> None:
    """Write beside the file and rename, so that a reader sees the old or the new one."""
    mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else None
    part = os.path.join(os.path.dirname(path), f".rnncost-{os.getpid()}.part")
    try:
        with open(part, "xb") as file:
            file.write(data)
        if mode is not None:
            os.chmod(part, mode)
        os.replace(part, path)
    except BaseException:
        if os.path.exists(part):
            os.unlink(part)
        raise


def _encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace")
