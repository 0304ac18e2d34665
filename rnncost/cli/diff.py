"""``rnncost diff``: what changed between two models or two reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rnncost.cli.options import (
    PRECISION_NAMES,
    binding_options,
    estimate_options,
    output_options,
    parse_dims,
    parse_shapes,
    parse_values,
)
from rnncost.cli.output import Output, emit, parse_outputs

if TYPE_CHECKING:
    from rnncost.difference import Difference

FORMATS = ("table", "json", "markdown")


@click.command("diff")
@click.argument("base")
@click.argument("head")
@binding_options
@click.option("--trace", is_flag=True, help="Run each model once and count what was executed.")
@estimate_options
@click.option(
    "--precision",
    type=click.Choice(PRECISION_NAMES),
    help="Estimate as if the models ran in it; their own types otherwise.",
)
@click.option(
    "--metric",
    default="macs",
    show_default=True,
    metavar="NAME",
    help="Sort operators by what changed most in it: params, streamed_bytes, latency_s, ...",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every total, operator and change.")
@output_options(FORMATS)
def command(
    base: str,
    head: str,
    dims: tuple[str, ...],
    shapes: tuple[str, ...],
    values: tuple[str, ...],
    trace: bool,
    profiles: tuple[str, ...],
    threads: int,
    precision: str | None,
    metric: str,
    verbose: bool,
    outputs: tuple[str, ...],
    quiet: bool,
) -> None:
    """Show what changed between two models or two reports.

    BASE and HEAD are each an .onnx file, a .pt2 export, package.module:factory for PyTorch,
    or a report that "analyze -o json:FILE" wrote. Options that bind dimensions or choose
    profiles hold for each side that is a model. Exit code 0: compared, whatever changed; 2: a
    fault.
    """
    import contextlib
    import sys

    import rnncost
    from rnncost.difference.lines import check_metric, metric_of

    places = parse_outputs(outputs, FORMATS)
    check_metric(metric)
    # A factory that prints must not spoil a result on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        difference = rnncost.diff(
            base,
            head,
            dims=parse_dims(dims),
            shapes=parse_shapes(shapes),
            values=parse_values(values),
            trace=trace,
            profiles=profiles or None,
            threads=threads,
            precision=precision,
        )
    metric_of(difference, metric)  # whatever the format, a metric that nothing has is a fault

    def render(output: Output) -> str:
        return _render(difference, output, metric=metric, verbose=verbose, quiet=quiet)

    emit(places, render, difference.warnings, quiet=quiet)


def _render(
    difference: Difference, output: Output, *, metric: str, verbose: bool, quiet: bool
) -> str:
    if output.format == "json":
        from rnncost import __version__
        from rnncost.report.json_text import to_json

        return to_json({"rnncost": __version__, **difference.to_dict()})
    if output.format == "markdown":
        from rnncost.difference.markdown import render_markdown

        return render_markdown(difference, metric=metric, verbose=verbose)
    if quiet and output.path is None:
        from rnncost.difference.lines import verdict

        return verdict(difference)
    from rnncost.difference.text import render_text

    return render_text(difference, metric=metric, verbose=verbose)
