"""``rnncost compare``: a model beside variants of itself."""

from __future__ import annotations

from typing import Any

import click

from rnncost.cli.options import (
    PRECISION_NAMES,
    color_option,
    estimate_options,
    model_options,
    output_options,
    parse_dims,
    parse_period,
    parse_shapes,
    parse_values,
)
from rnncost.cli.output import Output, emit, parse_outputs, render_words, result_json
from rnncost.errors import BindingError

FORMATS = ("table", "json", "markdown", "html")


@click.command("compare")
@model_options
@click.option("--cell", "cells", metavar="C[,C]...", help="Every layer as lstm, gru or rnn.")
@click.option("--direction", "directions", metavar="D[,D]...", help="Every layer as uni or bi.")
@click.option("--hidden", "hidden_sizes", metavar="N[,N]...", help="Units a direction.")
@click.option("--layers", metavar="N[,N]...", help="Layers of a stack.")
@click.option(
    "--precision",
    "precisions",
    metavar="P[,P]...",
    help=f"Estimates in {', '.join(PRECISION_NAMES[:-1])} or {PRECISION_NAMES[-1]}.",
)
@click.option("--steps", metavar="N[,N]...", help="Time steps of the recurrent layers.")
@click.option("--batch", "batches", metavar="N[,N]...", help="Rows of a batch.")
@click.option(
    "--policy",
    type=click.Choice(("same-hidden", "same-width", "both")),
    help="What a change of direction keeps: the units a direction, or the width of the "
    "output  [default: both].",
)
@estimate_options
@click.option("--measure", is_flag=True, help="Also time all designs in ONNX Runtime here.")
@click.option(
    "--step-period",
    metavar="TIME",
    help="Time between two steps of the recurrent layers, as 10ms: adds real-time figures.",
)
@click.option("--chunk", type=click.IntRange(min=1), help="Steps that a run handles in real time.")
@output_options(FORMATS)
@click.option("-v", "--verbose", is_flag=True, help="Show every row of the table.")
@color_option
def command(
    model: str,
    dims: tuple[str, ...],
    shapes: tuple[str, ...],
    values: tuple[str, ...],
    cells: str | None,
    directions: str | None,
    hidden_sizes: str | None,
    layers: str | None,
    precisions: str | None,
    steps: str | None,
    batches: str | None,
    policy: str | None,
    profiles: tuple[str, ...],
    threads: int,
    measure: bool,
    step_period: str | None,
    chunk: int | None,
    outputs: tuple[str, ...],
    quiet: bool,
    verbose: bool,
    color: str,
) -> None:
    """Show a model beside variants of itself, and say what each buys and costs.

    MODEL is an .onnx file, or package.module:factory for PyTorch, which is exported to ONNX
    first. Each value of --cell, --direction, --hidden, --layers, --precision, --steps and
    --batch makes one variant of the model as it is. Without any, the variants are those that
    apply: its LSTMs as GRUs, and its bidirectional layers as unidirectional ones.
    """
    import contextlib
    import sys

    import rnncost

    places = parse_outputs(outputs, FORMATS)
    arguments: dict[str, Any] = {
        "cells": parse_names(cells),
        "directions": parse_names(directions),
        "hidden_sizes": parse_numbers("--hidden", hidden_sizes),
        "layers": parse_numbers("--layers", layers),
        "precisions": parse_names(precisions),
        "steps": parse_numbers("--steps", steps),
        "batches": parse_numbers("--batch", batches),
        "policy": policy,
        "dims": parse_dims(dims),
        "shapes": parse_shapes(shapes),
        "values": parse_values(values),
        "step_period_s": None if step_period is None else parse_period(step_period),
    }
    # A factory that prints must not spoil a result on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        comparison = rnncost.compare(
            model,
            **arguments,
            profiles=profiles or None,
            threads=threads,
            measure=measure,
            chunk=chunk,
        )

    def render(output: Output) -> str:
        if output.format == "html":
            from rnncost.webpage import known_profiles, render_page

            report = comparison.base.report
            known = known_profiles(report, profiles)
            return render_page(report, profiles=known, comparison=comparison)
        if output.format == "json":
            return result_json("comparison", comparison)
        from rnncost.comparison import text

        return render_words(text, comparison, output, quiet=quiet, verbose=verbose, color=color)

    emit(places, render, comparison.warnings, quiet=quiet)


def parse_names(text: str | None) -> tuple[str, ...]:
    """``gru,rnn`` to ``("gru", "rnn")``."""
    return () if text is None else tuple(part.strip() for part in text.split(","))


def parse_numbers(flag: str, text: str | None) -> tuple[int, ...]:
    """``64,128`` to ``(64, 128)``.

    Raises:
        BindingError: a part is no whole number from 1 on.
    """
    parts = parse_names(text)
    if not all(part.isascii() and part.isdigit() and int(part) >= 1 for part in parts):
        raise BindingError(
            f"{flag} {text}: write whole numbers from 1 on with commas between, as in 64,128"
        )
    return tuple(map(int, parts))
