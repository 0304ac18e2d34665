"""Options with one meaning in every command, and the parsing of their values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from rnncost.errors import BindingError
from rnncost.profiles import GENERAL_PROFILE

OPTIMIZER_NAMES = ("adam", "sgd", "sgd-momentum", "none")
PRECISION_NAMES = ("fp32", "tf32", "fp16", "bf16", "int8")
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def model_options(function: F) -> F:
    """MODEL and the options that bind its dimensions, shapes and values."""
    return _apply((click.argument("model"),), binding_options(function))


def binding_options(function: F) -> F:
    """The options that bind dimensions, shapes and values."""
    options = (
        click.option(
            "--dim", "dims", multiple=True, metavar="NAME=N", help="Bind a free dimension."
        ),
        click.option(
            "--shape",
            "shapes",
            multiple=True,
            metavar="INPUT=1x576",
            help="Give the shape of an input.",
        ),
        click.option(
            "--value",
            "values",
            multiple=True,
            metavar="INPUT=V",
            help="Give the value of an input: 16000, or 1,2,3, or @file.npy; it settles "
            "branches and trip counts.",
        ),
    )
    return _apply(options, function)


def estimate_options(function: F) -> F:
    """What the estimates are for: profiles and threads."""
    profiles = profile_option(
        "Hardware profile to estimate on; repeatable  [default: host if `rnncost "
        f"calibrate` has written it, else {GENERAL_PROFILE}]."
    )
    return _apply((profiles, threads_option), function)


def profile_option(text: str) -> Callable[[F], F]:
    """Profiles by name or file; ``text`` says what for."""
    return click.option("--profile", "profiles", multiple=True, metavar="NAME|FILE", help=text)


def threads_option(function: F) -> F:
    """How many threads estimates are for."""
    option = click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Threads of the runtime.",
    )
    return option(function)


def training_options(function: F) -> F:
    """What a training step is like."""
    options = (
        click.option("--training", is_flag=True, help="Also give what a training step costs."),
        click.option(
            "--optimizer",
            type=click.Choice(OPTIMIZER_NAMES),
            help="Optimizer of the training step  [default: adam].",
        ),
        click.option(
            "--bptt",
            type=click.IntRange(min=1),
            metavar="K",
            help="Back-propagation through time is truncated to K steps.",
        ),
        click.option(
            "--checkpoint",
            is_flag=True,
            help="Keep the states of every so many steps alone (the square root of all), and "
            "compute the rest again.",
        ),
        click.option(
            "--checkpoint-steps",
            type=click.IntRange(min=1),
            metavar="N",
            help="The same with every N steps.",
        ),
    )
    return _apply(options, function)


def given_training(
    training: bool, optimizer: str | None, bptt: int | None, checkpoint: bool | int
) -> dict[str, Any]:
    """The arguments of ``analyze`` for those of the options that were given."""
    options = {
        "training": training or None,
        "optimizer": optimizer,
        "bptt": bptt,
        "checkpoint": checkpoint or None,
    }
    return {name: value for name, value in options.items() if value is not None}


def output_options(formats: Sequence[str]) -> Callable[[F], F]:
    """Where the result goes, and whether one line is enough."""
    options = (
        click.option(
            "-o",
            "--output",
            "outputs",
            multiple=True,
            metavar="FORMAT[:PATH]",
            default=(formats[0],),
            show_default=True,
            help=f"Write the result as {', '.join(formats)}, to PATH or to stdout; repeatable.",
        ),
        click.option("-q", "--quiet", is_flag=True, help="Print one line instead of the table."),
    )
    return lambda function: _apply(options, function)


def table_options(function: F) -> F:
    """How much the table of a report shows, and in which colours."""
    verbose = click.option("-v", "--verbose", is_flag=True, help="Show every operator and formula.")
    return _apply((verbose, color_option), function)


def color_option(function: F) -> F:
    """Whether a table has colours."""
    option = click.option(
        "--color",
        type=click.Choice(("auto", "always", "never")),
        default="auto",
        show_default=True,
        help="Colour the table; NO_COLOR turns auto off.",
    )
    return option(function)


def parse_dims(items: Iterable[str]) -> dict[str, int]:
    """``seq=100`` to ``{"seq": 100}``.

    Raises:
        BindingError: an item has no ``=``, no whole number, or repeats a name.
    """
    return _bindings("--dim", items, "seq=100", _whole_number)


def parse_shapes(items: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """``input=1x576`` to ``{"input": (1, 576)}``.

    Raises:
        BindingError: an item has no ``=``, is no shape, or repeats a name.
    """

    def shape(text: str) -> tuple[int, ...]:
        return tuple(map(_whole_number, text.split("x")))

    return _bindings("--shape", items, "input=1x576", shape)


def parse_values(items: Iterable[str]) -> dict[str, Any]:
    """``sr=16000``, ``ids=1,2,3`` or ``x=@file.npy`` to numbers, lists or arrays by name.

    Raises:
        BindingError: an item has no ``=``, is no number, or its file cannot be read.
    """
    return _bindings("--value", items, "sr=16000", _value)


def parse_period(text: str) -> float:
    """``10ms`` to 0.01.

    Raises:
        BindingError: the text is no time above 0.
    """
    from rnncost.units import parse_quantity

    try:
        seconds = float(parse_quantity(text, "seconds"))
    except ValueError as error:
        raise BindingError(f"--step-period: {error}") from None
    if not seconds:
        raise BindingError(f"--step-period {text}: give a time above 0, as 10ms")
    return seconds


def _bindings(
    flag: str, items: Iterable[str], example: str, parse: Callable[[str], T]
) -> dict[str, T]:
    bound: dict[str, T] = {}
    for item in items:
        # Names of inputs may hold "=" and ":"; what follows the last "=" never does.
        name, equals, text = item.rpartition("=")
        if not equals or not name:
            raise BindingError(f"{flag} {item} names nothing to bind: write {flag} {example}")
        if name in bound:
            raise BindingError(f"{flag} {name} is given twice")
        try:
            bound[name] = parse(text)
        except ValueError as error:
            raise BindingError(f"{flag} {item}: {error}, write {flag} {example}") from error
    return bound


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def _value(text: str) -> Any:
    if text.startswith("@"):
        return _array(text[1:])
    parts = [_number(part.strip()) for part in text.split(",")]
    return parts if len(parts) > 1 else parts[0]


def _number(text: str) -> bool | int | float:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    raise ValueError(f"{text!r} is not a number, true or false")


def _array(path: str) -> Any:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BindingError(
            f"--value @{path}: not a NumPy file of plain numbers ({_reason(error)}); "
            "write one with numpy.save"
        ) from error


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.splitlines()[0] if text else type(error).__name__


def _apply(options: Iterable[Callable[[F], F]], function: F) -> F:
    for option in reversed(tuple(options)):
        function = option(function)
    return function
