"""``rnncost render``: an earlier JSON report in another format."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

import click

from rnncost.cli.options import output_options, table_options
from rnncost.cli.output import REPORT_FORMATS, emit_report, parse_outputs
from rnncost.errors import ReportError


@click.command("render")
@click.argument("report", metavar="REPORT", type=click.File("rb"))
@output_options(REPORT_FORMATS)
@table_options
def command(
    report: BinaryIO,
    outputs: tuple[str, ...],
    quiet: bool,
    verbose: bool,
    color: str,
) -> None:
    """Show an earlier JSON report in another format.

    REPORT is a file that "analyze -o json:FILE" wrote; - reads it from stdin.
    """
    from rnncost.report.codec import report_from_json

    places = parse_outputs(outputs, REPORT_FORMATS)
    if _endless(report):
        raise ReportError(f"{report.name} is a device, not a report: give the path of a JSON file")
    data = report.read()
    parsed = report_from_json(data, report.name)
    emit_report(parsed, places, quiet=quiet, verbose=verbose, color=color)


def _endless(file: BinaryIO) -> bool:
    """Whether the file is a device such as /dev/zero, which never ends; a terminal does."""
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (AttributeError, OSError):  # stdin that a caller replaced has no descriptor
        return False
    return stat.S_ISCHR(mode) and not file.isatty()
