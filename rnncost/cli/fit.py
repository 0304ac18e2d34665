"""``rnncost fit``: the designs of recurrent networks that meet limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from rnncost.cli.options import (
    PRECISION_NAMES,
    output_options,
    profile_option,
    threads_option,
)
from rnncost.cli.output import Output, emit, parse_outputs, result_json, text_width
from rnncost.errors import EXIT_OK, EXIT_OVER_BUDGET, BindingError

if TYPE_CHECKING:
    from rnncost.search import FitResult

FORMATS = ("table", "json", "csv")


@click.command("fit")
@click.option("--cell", "cells", default="lstm", show_default=True, metavar="C[,C]...")
@click.option("--layers", default="1", show_default=True, metavar="NUMBERS", help="Of the stack.")
@click.option(
    "--hidden",
    "hidden_sizes",
    required=True,
    metavar="NUMBERS",
    help="Units a direction: 64, or 64,128, or 32-1024, or 32-1024:32 for every 32nd.",
)
@click.option(
    "--direction",
    "directions",
    default="uni",
    show_default=True,
    metavar="D[,D]...",
    help="uni, bi.",
)
@click.option("--input", "inputs", required=True, metavar="NUMBERS", help="Features of the input.")
@click.option(
    "--dim",
    "dims",
    multiple=True,
    metavar="NAME=NUMBERS",
    help="Steps as seq=100 and rows as batch=1, which are also the defaults.",
)
@click.option(
    "--precision",
    "precisions",
    default="fp32",
    show_default=True,
    metavar="P[,P]...",
    help=f"Of estimates and bytes: {', '.join(PRECISION_NAMES)}.",
)
@click.option(
    "--max",
    "maxima",
    multiple=True,
    metavar="METRIC=VALUE[@PROFILE]",
    help="A limit, as params=1e6, weight_bytes=512kB or latency_s=5ms@raspberry-pi-4; repeatable.",
)
@click.option(
    "--fits",
    multiple=True,
    metavar="PROFILE",
    help="Weights and activations must fit the memory of this device; repeatable.",
)
@profile_option("Also show the latency on this profile; repeatable.")
@threads_option
@click.option(
    "--maximize",
    default="params",
    show_default=True,
    metavar="METRIC",
    help="The total of which more is better; designs are listed by it.",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How many of the best designs to list.",
)
@output_options(FORMATS)
def command(
    cells: str,
    layers: str,
    hidden_sizes: str,
    directions: str,
    inputs: str,
    dims: tuple[str, ...],
    precisions: str,
    maxima: tuple[str, ...],
    fits: tuple[str, ...],
    profiles: tuple[str, ...],
    threads: int,
    maximize: str,
    top: int,
    outputs: tuple[str, ...],
    quiet: bool,
) -> int:
    """Find the designs that meet limits, and say how far the rest miss.

    Goes through every combination of --cell (lstm, gru, rnn), --direction, --layers, --hidden,
    --input, --dim and --precision. A design is the recurrent layers alone, as torch.nn.LSTM has
    them. Without --max and --fits, all designs meet the limits.

    Exit code 0: a design meets every limit; 1: none does, and the nearest is shown; 2: a fault.
    """
    import rnncost

    places = parse_outputs(outputs, FORMATS)
    result = rnncost.fit(
        inputs=inputs,
        hidden_sizes=hidden_sizes,
        cells=cells,
        layers=layers,
        directions=directions,
        dims=parse_extents(dims),
        precisions=precisions,
        maximum=parse_maxima(maxima),
        fits=fits,
        profiles=profiles,
        threads=threads,
        maximize=maximize,
        top=top,
    )
    emit(places, lambda output: _render(result, output, quiet=quiet), result.notes, quiet=quiet)
    return EXIT_OK if result.meeting else EXIT_OVER_BUDGET


def parse_extents(items: Iterable[str]) -> dict[str, str]:
    """``seq=100`` to ``{"seq": "100"}``; the numbers are read later.

    Raises:
        BindingError: an item has no ``=``, or repeats a name.
    """
    return _named("--dim", items, "seq=100")


def parse_maxima(items: Iterable[str]) -> dict[str, str]:
    """``latency_s=5ms@raspberry-pi-4`` to ``{"latency_s@raspberry-pi-4": "5ms"}``.

    Raises:
        BindingError: an item has no ``=``, or repeats a metric.
    """
    given = [_at_the_metric(item) for item in items]
    return _named("--max", given, "params=1e6 or --max latency_s=5ms@raspberry-pi-4")


def _at_the_metric(item: str) -> str:
    """``latency_s=5ms@x`` as ``latency_s@x=5ms``; a path may hold ``=``, a value no ``@``."""
    name, equals, text = item.partition("=")
    value, at, profile = text.partition("@")
    return f"{name}{at}{profile}{equals}{value}"


def _named(flag: str, items: Iterable[str], example: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        name, equals, text = item.rpartition("=")
        if not (name and equals and text):
            raise BindingError(f"{flag} {item}: write it as {flag} {example}")
        if name in found:
            raise BindingError(f"{flag} {name} is given twice")
        found[name] = text
    return found


def _render(result: FitResult, output: Output, *, quiet: bool) -> str:
    from rnncost.search.text import one_line, render_csv, render_text

    on_stdout = output.path is None
    if output.format == "json":
        return result_json("fit", result)
    if output.format == "csv":
        return render_csv(result)
    if quiet and on_stdout:
        return one_line(result)
    return render_text(result, width=text_width(on_stdout=on_stdout))
