"""``rnncost numerics``: what the length of a sequence does to a recurrent network."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from rnncost.cli.options import (
    model_options,
    output_options,
    parse_dims,
    parse_period,
    parse_shapes,
    parse_values,
)
from rnncost.cli.output import Output, emit, note, parse_outputs, render_words, result_json
from rnncost.errors import BindingError, ReportError

if TYPE_CHECKING:
    from rnncost.along_time import Numerics

FORMATS = ("table", "json", "markdown", "html", "svg", "png")
_PLOTS = ("svg", "png")
_QUIET_S = 2.0
"""Runs that are shorter show no progress, and longer ones no line more often."""


@click.command("numerics")
@model_options
@click.option(
    "--data",
    metavar="FILE",
    help="Run on this .npy file, or .npz file with an array for each input by its name; "
    "other inputs are made up.",
)
@click.option(
    "--chunks",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Run so many times, each time from the states before; arrays of --data may have "
    "one axis more in front.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="INPUT=OUTPUT",
    help="An output that the next chunk takes as input, besides those that are found; repeatable.",
)
@click.option(
    "--step-period",
    metavar="TIME",
    help="Time between two steps of a recurrent layer, as 10ms: adds times in seconds.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of random values.",
)
@click.option("--weights-only", is_flag=True, help="Do not run the model, look at its weights.")
@click.option("--drift", is_flag=True, help="Compare the model with itself in fewer bits.")
@click.option(
    "--precision",
    "precisions",
    metavar="NAME,...",
    help="With --drift: int8, int8-emulated (comes with int8 where layers need it), qdq, fp16, "
    "fp16-emulated, bf16, fp32.  [default: int8,qdq,fp16,bf16]",
)
@click.option(
    "--limit-db",
    type=float,
    metavar="DB",
    help="With --drift: tell the first step whose signal-to-noise ratio is lower.  [default: 20]",
)
@click.option("--measure", is_flag=True, help="With --drift: also measure latencies.")
@output_options(FORMATS)
@click.option("-v", "--verbose", is_flag=True, help="Show every k, and how each layer was run.")
@click.option(
    "--color",
    type=click.Choice(("auto", "always", "never")),
    default="auto",
    show_default=True,
    help="Colour the table; NO_COLOR turns auto off.",
)
def command(
    model: str,
    dims: tuple[str, ...],
    shapes: tuple[str, ...],
    values: tuple[str, ...],
    data: str | None,
    chunks: int,
    states: tuple[str, ...],
    step_period: str | None,
    seed: int,
    weights_only: bool,
    drift: bool,
    precisions: str | None,
    limit_db: float | None,
    measure: bool,
    outputs: tuple[str, ...],
    quiet: bool,
    verbose: bool,
    color: str,
) -> None:
    """Measure how long recurrent layers remember.

    MODEL is an .onnx file, or package.module:factory for PyTorch, which is exported to ONNX
    first. It is run in ONNX Runtime on --data or on made-up inputs; gates and gradients of
    each LSTM, GRU and RNN layer are followed along time. With --drift it is also compared with
    itself in fewer bits. docs/numerics.md explains each number.
    """
    import contextlib

    import rnncost

    places = parse_outputs(outputs, FORMATS)
    if weights_only:
        _refuse_with_weights_only(
            data=data,
            chunks=chunks,
            states=states,
            step_period=step_period,
            drift="yes" if drift else None,
        )
    compared = _compared(places, precisions, limit_db, drift=drift, measure=measure)
    arguments: dict[str, Any] = {
        "data": data,
        "dims": parse_dims(dims),
        "shapes": parse_shapes(shapes),
        "values": parse_values(values),
        "chunks": chunks,
        "states": parse_states(states),
        "step_period_s": None if step_period is None else parse_period(step_period),
        "seed": seed,
        "weights_only": weights_only,
        **compared,
        "progress": _progress(quiet=quiet),
    }
    # A factory that prints must not spoil a result on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        result = rnncost.numerics(model, **arguments)

    def render(output: Output) -> str | bytes:
        return _render(result, output, quiet=quiet, verbose=verbose, color=color)

    emit(places, render, result.warnings, quiet=quiet)


def parse_states(items: tuple[str, ...]) -> dict[str, str]:
    """``h_in=h_out`` to ``{"h_in": "h_out"}``.

    Raises:
        BindingError: an item has no ``=``, or repeats an input.
    """
    pairs: dict[str, str] = {}
    for item in items:
        name, equals, output = item.partition("=")
        if not (name and equals and output):
            raise BindingError(f"--state {item}: write an input and an output, as in h_in=h_out")
        if name in pairs:
            raise BindingError(f"--state {name} is given twice")
        pairs[name] = output
    return pairs


def _compared(
    places: tuple[Output, ...],
    precisions: str | None,
    limit_db: float | None,
    *,
    drift: bool,
    measure: bool,
) -> dict[str, Any]:
    """The arguments of a comparison, none without one.

    Raises:
        BindingError: an option is given that needs --drift.
        ReportError: an image would go to stdout.
        RuntimeUnavailableError: a plot is asked for and matplotlib is not installed.
    """
    plots = [output for output in places if output.format in _PLOTS]
    needing = {
        "--precision": precisions is not None,
        "--limit-db": limit_db is not None,
        "--measure": measure,
        **{f"-o {output.format}": True for output in plots},
    }
    if not drift:
        for flag, given in needing.items():
            if given:
                raise BindingError(f"{flag} is about other precisions: give --drift too")
        return {}
    if any(output.format == "png" and output.path is None for output in plots):
        raise ReportError("-o png is no text: give it a file, as in -o png:FILE")
    if plots:
        from rnncost.report.extras import require_matplotlib

        require_matplotlib()
    from rnncost.along_time.drift.model import USUAL

    names = USUAL if precisions is None else tuple(precisions.replace(" ", "").split(","))
    given_limit = {} if limit_db is None else {"limit_db": limit_db}
    return {"precisions": names, "measure": measure, **given_limit}


def _refuse_with_weights_only(**given: Any) -> None:
    for name, value in given.items():
        if value not in (None, (), 1):
            flag = {"states": "--state"}.get(name, f"--{name.replace('_', '-')}")
            raise BindingError(f"{flag} is for a run of the model, and --weights-only runs none")


def _progress(*, quiet: bool) -> Callable[[str], None]:
    """Lines on stderr for a run that takes long, on a terminal alone."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        return lambda _: None
    last = time.monotonic()

    def tell(text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _QUIET_S:
            last = now
            note(text)

    return tell


def _render(
    result: Numerics, output: Output, *, quiet: bool, verbose: bool, color: str
) -> str | bytes:
    if output.format in _PLOTS:
        from rnncost.along_time.drift.plot import render_plot

        assert result.drift is not None
        plot = render_plot(result.drift, "png" if output.format == "png" else "svg")
        return plot if output.format == "png" else plot.decode("utf-8")
    if output.format == "html":
        from rnncost.webpage import render_numerics

        return render_numerics(result)
    if output.format == "json":
        return result_json("numerics", result)
    from rnncost.along_time import text

    return render_words(text, result, output, quiet=quiet, verbose=verbose, color=color)
