"""``rnncost validate``: the time of a model in ONNX Runtime beside its estimate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rnncost.cli.options import (
    estimate_options,
    model_options,
    output_options,
    parse_dims,
    parse_shapes,
    parse_values,
)
from rnncost.cli.output import Output, emit, parse_outputs

if TYPE_CHECKING:
    from rnncost.validation import Validation

FORMATS = ("table", "json")


@click.command("validate")
@model_options
@click.option("--trace", is_flag=True, help="Run the model once and count what was executed.")
@estimate_options
@click.option(
    "--min-time",
    "min_time_s",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="Time runs for at least so long.",
)
@click.option(
    "--max-time",
    "max_time_s",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Start no run after so long.",
)
@output_options(FORMATS)
def command(
    model: str,
    dims: tuple[str, ...],
    shapes: tuple[str, ...],
    values: tuple[str, ...],
    trace: bool,
    profiles: tuple[str, ...],
    threads: int,
    min_time_s: float,
    max_time_s: float,
    outputs: tuple[str, ...],
    quiet: bool,
) -> None:
    """Time a model in ONNX Runtime beside its estimate.

    MODEL is an .onnx file; it runs on this machine, with random inputs where --value
    gives none.
    """
    import rnncost

    places = parse_outputs(outputs, FORMATS)
    result = rnncost.validate(
        model,
        dims=parse_dims(dims),
        shapes=parse_shapes(shapes),
        values=parse_values(values),
        trace=trace,
        profiles=profiles,
        threads=threads,
        min_time_s=min_time_s,
        max_time_s=max_time_s,
    )

    def render(output: Output) -> str:
        if output.format == "json":
            from rnncost.report.json_text import to_json

            return to_json(result.to_dict())
        return _one_line(result) if quiet and output.path is None else _printable(str(result))

    emit(places, render, result.warnings, quiet=quiet)


def _one_line(result: Validation) -> str:
    from rnncost.units import format_seconds

    timing = result.timing
    measured = f"minimum {format_seconds(timing.min_s)}, median {format_seconds(timing.median_s)}"
    estimates = [
        f"{c.estimate.profile} estimates {format_seconds(c.estimate.latency_s)}"
        for c in result.comparisons
    ]
    return _printable(f"{result.model}: {'; '.join([measured, *estimates])}")


def _printable(text: str) -> str:
    from rnncost.report.text import printable

    return "\n".join(map(printable, text.split("\n")))
