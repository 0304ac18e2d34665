"""``rnncost validate``: models timed in ONNX Runtime beside their estimates, or a whole suite."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from rnncost.cli.options import (
    binding_options,
    output_options,
    parse_dims,
    parse_shapes,
    parse_values,
)
from rnncost.cli.output import Output, emit, note, parse_outputs
from rnncost.errors import EXIT_OK, EXIT_OVER_BUDGET, BindingError, ReportError

if TYPE_CHECKING:
    from rnncost.suites.model import SuiteResult
    from rnncost.suites.registry import Options
    from rnncost.validation import Validation

FORMATS = ("table", "json", "markdown", "svg")
_SUITES = ("layers", "models", "published")  # rnncost.suites.registry.SUITES


@click.command("validate")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@binding_options
@click.option("--trace", is_flag=True, help="Run the model once and count what was executed.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME|FILE",
    help="Hardware profile to estimate on; repeatable. By default this machine's own, which "
    "'rnncost calibrate' makes, or a general one.",
)
@click.option(
    "--threads", metavar="N[,N]...", help="Threads of ONNX Runtime; 1 by default, as in 1,2."
)
@click.option(
    "--tolerance",
    metavar="SHARE",
    help="Exit with 1 when an estimate is off by more than this, as in 15%.",
)
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
    help="Start no round of runs after so long.",
)
@click.option(
    "--suite", type=click.Choice(_SUITES), help="Run an accuracy suite in place of models."
)
@click.option(
    "--seed", type=click.IntRange(min=0), help="Draw the layers of the suite with this seed."
)
@click.option("--cases", type=click.IntRange(min=1), help="How many layers the suite draws.")
@click.option(
    "--models", "folder", metavar="FOLDER", help="Where the packages of the models suite lie."
)
@click.option("-v", "--verbose", is_flag=True, help="Show every node.")
@output_options(FORMATS)
@click.pass_context
def command(
    context: click.Context,
    models: tuple[str, ...],
    dims: tuple[str, ...],
    shapes: tuple[str, ...],
    values: tuple[str, ...],
    trace: bool,
    profiles: tuple[str, ...],
    threads: str | None,
    tolerance: str | None,
    min_time_s: float,
    max_time_s: float,
    suite: str | None,
    seed: int | None,
    cases: int | None,
    folder: str | None,
    verbose: bool,
    outputs: tuple[str, ...],
    quiet: bool,
) -> int:
    """Time models in ONNX Runtime beside their estimates, whole and node by node.

    MODEL is an .onnx file; it runs on this machine, with random inputs where --value
    gives none. With --suite, run one of the project's accuracy suites instead.

    Exit code 0: done, or the machine was too noisy to judge; 1: an estimate is off by more
    than the tolerance; 2: a fault.
    """
    places = parse_outputs(outputs, FORMATS)
    counts = None if threads is None else parse_threads(threads)
    share = None if tolerance is None else parse_tolerance(tolerance)
    if suite is not None:
        _refuse(context, _MODEL_ONLY, "--suite", "MODEL")
        if models:
            raise BindingError("give either models or --suite, not both")
        from rnncost.suites.registry import Options

        if len(profiles) > 1:
            raise BindingError("--suite takes one --profile")
        options = Options(
            profile=profiles[0] if profiles else None,
            threads=counts,
            seed=seed,
            cases=cases,
            models=folder,
        )
        return _run_suite(suite, options, places, quiet=quiet)
    _refuse(context, _SUITE_ONLY, "MODEL", "--suite")
    if not models:
        raise BindingError("nothing to validate: give one or more .onnx files, or --suite")
    if any(place.format == "svg" for place in places):
        raise ReportError("-o svg is the plot of a --suite; models have table, json and markdown")
    import rnncost

    bound: dict[str, Any] = {
        "dims": parse_dims(dims),
        "shapes": parse_shapes(shapes),
        "values": parse_values(values),
    }
    results = []
    for model in models:
        for count in counts or (1,):
            if len(models) * len(counts or (1,)) > 1 and not quiet:
                note(f"timing {model}, threads={count}")
            results.append(
                rnncost.validate(
                    model,
                    **bound,
                    trace=trace,
                    profiles=profiles,
                    threads=count,
                    tolerance=share,
                    min_time_s=min_time_s,
                    max_time_s=max_time_s,
                )
            )
    _emit_models(results, places, quiet=quiet, verbose=verbose)
    return EXIT_OVER_BUDGET if any(result.failed for result in results) else EXIT_OK


_MODEL_ONLY = {
    "dims": "--dim",
    "shapes": "--shape",
    "values": "--value",
    "trace": "--trace",
    "tolerance": "--tolerance",
    "min_time_s": "--min-time",
    "max_time_s": "--max-time",
    "verbose": "--verbose",
}
_SUITE_ONLY = {"seed": "--seed", "cases": "--cases", "folder": "--models"}


def _refuse(context: click.Context, names: dict[str, str], given: str, other: str) -> None:
    """Refuse options that belong to the other way of calling.

    Raises:
        BindingError: one was given.
    """
    from click.core import ParameterSource

    for name, flag in names.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise BindingError(f"{flag} goes with {other}, not with {given}")


def parse_threads(text: str) -> tuple[int, ...]:
    """``1,2`` to ``(1, 2)``.

    Raises:
        BindingError: a part is no whole number from 1 on, or is there twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) >= 1 for part in parts):
        raise BindingError(
            f"--threads {text}: write whole numbers from 1 on with commas between, as in 1,2"
        )
    counts = tuple(map(int, parts))
    if len(set(counts)) < len(counts):
        raise BindingError(f"--threads {text}: a number is there twice")
    return counts


def parse_tolerance(text: str) -> float:
    """``15%`` or ``0.15`` to 0.15.

    Raises:
        BindingError: the text is no number above 0, or has neither % nor a point.
    """
    number = text.strip().removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    percent = text.strip().endswith("%")
    if not math.isfinite(value) or value <= 0:
        raise BindingError(f"--tolerance {text}: write a share above 0, as in 15% or 0.15")
    if not percent and value >= 1:
        raise BindingError(
            f"--tolerance {text} would be {100 * value:g} %: write {number}% or {value / 100:g}"
        )
    return value / 100 if percent else value


def _emit_models(
    results: list[Validation], places: tuple[Output, ...], *, quiet: bool, verbose: bool
) -> None:
    from rnncost.validation.text import one_line, render_markdown, render_text

    def render(output: Output) -> str:
        if output.format == "json":
            from rnncost import __version__
            from rnncost.report.json_text import to_json

            return to_json(
                {
                    "rnncost": __version__,
                    "validations": [result.to_dict() for result in results],
                }
            )
        if output.format == "markdown":
            return render_markdown(results, verbose=verbose)
        if quiet and output.path is None:
            return "\n".join(map(one_line, results))
        return "\n\n\n".join(render_text(result, verbose=verbose) for result in results)

    warnings = dict.fromkeys(
        text for result in results for text in (*result.notes, result.advice, *result.warnings)
    )
    emit(places, render, filter(None, warnings), quiet=quiet)


def _run_suite(suite: str, options: Options, places: tuple[Output, ...], *, quiet: bool) -> int:
    from rnncost.suites.registry import check_options, run_suite

    check_options(suite, options)
    if any(place.format == "svg" for place in places):
        from rnncost.report.extras import require_matplotlib

        require_matplotlib()
    result = run_suite(suite, options, (lambda _: None) if quiet else note)

    def render(output: Output) -> str:
        return _render_suite(result, output, quiet=quiet)

    emit(places, render, result.notes, quiet=quiet)
    return EXIT_OK


def _render_suite(result: SuiteResult, output: Output, *, quiet: bool) -> str:
    from rnncost.suites.text import one_line, render_markdown, render_text

    if output.format == "json":
        from rnncost import __version__
        from rnncost.report.json_text import to_json
        from rnncost.suites.stats import to_dict

        return to_json({"rnncost": __version__, **to_dict(result)})
    if output.format == "svg":
        from rnncost.suites.plot import render_svg

        return render_svg(result)
    if output.format == "markdown":
        return render_markdown(result)
    return one_line(result) if quiet and output.path is None else render_text(result)
