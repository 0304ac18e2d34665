"""``rnncost analyze``: counts, and an estimate for each profile."""

from __future__ import annotations

import click

from rnncost.cli.options import (
    PRECISION_NAMES,
    estimate_options,
    given_training,
    model_options,
    output_options,
    parse_dims,
    parse_shapes,
    parse_values,
    table_options,
    training_options,
)
from rnncost.cli.output import REPORT_FORMATS, emit_report, parse_outputs


@click.command("analyze")
@model_options
@click.option("--trace", is_flag=True, help="Run the model once and count what was executed.")
@click.option(
    "--symbolic/--no-symbolic",
    default=True,
    show_default=True,
    help="Also give the totals as formulas in the free dimensions.",
)
@estimate_options
@click.option(
    "--precision",
    type=click.Choice(PRECISION_NAMES),
    help="Estimate as if the model ran in it; its own types otherwise.",
)
@training_options
@output_options(REPORT_FORMATS)
@table_options
def command(
    model: str,
    dims: tuple[str, ...],
    shapes: tuple[str, ...],
    values: tuple[str, ...],
    trace: bool,
    symbolic: bool,
    profiles: tuple[str, ...],
    threads: int,
    precision: str | None,
    training: bool,
    optimizer: str | None,
    bptt: int | None,
    checkpoint: bool,
    checkpoint_steps: int | None,
    outputs: tuple[str, ...],
    quiet: bool,
    verbose: bool,
    color: str,
) -> None:
    """Count what a model costs and estimate its latency.

    MODEL is an .onnx file, a .pt2 export, or package.module:factory for PyTorch. Free
    dimensions that --dim does not bind get stated defaults. Without --profile, the estimate
    is for this machine if `rnncost calibrate` has measured it, else for a common server.
    """
    import contextlib
    import sys

    import rnncost
    from rnncost.profiles.store import default_profile

    places = parse_outputs(outputs, REPORT_FORMATS)
    chosen = profiles or (default_profile(),)
    # A factory that prints must not spoil a report on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        report = rnncost.analyze(
            model,
            dims=parse_dims(dims),
            shapes=parse_shapes(shapes),
            values=parse_values(values),
            trace=trace,
            symbolic=symbolic,
            profiles=chosen,
            threads=threads,
            precision=precision,
            sha256=any(place.format == "json" for place in places),
            **given_training(training, optimizer, bptt, checkpoint_steps or checkpoint),
        )
    emit_report(report, places, quiet=quiet, verbose=verbose, color=color, profiles=chosen)
