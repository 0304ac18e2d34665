"""``rnncost check``: models held to the budgets of a project, and a first budget."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from rnncost.cli.options import (
    PRECISION_NAMES,
    binding_options,
    output_options,
    parse_dims,
    parse_shapes,
    parse_values,
)
from rnncost.cli.output import (
    Output,
    check_place,
    emit,
    note,
    parse_outputs,
    wants_color,
    write_file,
    write_stdout,
)
from rnncost.errors import EXIT_OK, EXIT_OVER_BUDGET, BindingError, BudgetError

if TYPE_CHECKING:
    from rnncost.budgets.model import CheckResult

FORMATS = ("table", "json", "github", "junit", "sarif", "markdown", "badge", "html")


@click.command("check")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--budget",
    metavar="FILE",
    help="The budget file; by default rnncost.yaml, or [tool.rnncost] of pyproject.toml.",
)
@click.option(
    "--base",
    metavar="FILE",
    help="What relative limits compare with: the JSON of an earlier check, or of an analysis.",
)
@click.option("--absolute-only", is_flag=True, help="Leave relative limits out.")
@click.option(
    "--comment-key",
    metavar="NAME",
    help="Part of the hidden marker in markdown, where a pull request has several.",
)
@click.option(
    "--init", is_flag=True, help="Write a first budget for MODEL from its costs of today."
)
@click.option(
    "--headroom",
    metavar="SHARE",
    default="10%",
    show_default=True,
    help="With --init: how far limits stand above today's figures.",
)
@binding_options
@click.option("--trace", is_flag=True, help="With --init: run the model once and count that.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    metavar="NAME|FILE",
    help="With --init: limit the latency on this hardware profile; repeatable.",
)
@click.option("--threads", type=click.IntRange(min=1), help="With --init: threads of the runtime.")
@click.option(
    "--precision",
    type=click.Choice(PRECISION_NAMES),
    help="With --init: estimate as if the model ran in it.",
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a budget file.")
@output_options(FORMATS)
@click.option(
    "--color",
    type=click.Choice(("auto", "always", "never")),
    default="auto",
    show_default=True,
    help="Colour the table; NO_COLOR turns auto off.",
)
@click.pass_context
def command(
    context: click.Context,
    models: tuple[str, ...],
    budget: str | None,
    base: str | None,
    absolute_only: bool,
    comment_key: str | None,
    init: bool,
    headroom: str,
    dims: tuple[str, ...],
    shapes: tuple[str, ...],
    values: tuple[str, ...],
    trace: bool,
    profiles: tuple[str, ...],
    threads: int | None,
    precision: str | None,
    schema: bool,
    outputs: tuple[str, ...],
    quiet: bool,
    color: str,
) -> int:
    """Hold models to the budgets of a project.

    MODEL is an .onnx file, a .pt2 export, or package.module:factory; without any, all that
    the budget file names are checked. The budget file binds their dimensions, shapes and
    values: a check assumes nothing. With --init, write a first budget file in its place.

    Exit code 0: within budget, or only limits of level warn are broken; 1: over budget;
    2: a fault.
    """
    import contextlib
    import sys

    if schema:
        from rnncost.budgets.schema import budget_json_schema_text

        write_stdout(f"{budget_json_schema_text()}\n", machine=True)
        return EXIT_OK
    _refuse(context, _CHECK_ONLY if init else _INIT_ONLY, init)
    # A factory that prints must not spoil a result on stdout.
    if init:
        settings = {"threads": threads, "precision": precision, "trace": trace or None}
        with contextlib.redirect_stdout(sys.stderr):
            path, text = _initial(
                models,
                budget,
                headroom,
                dims=parse_dims(dims),
                shapes=parse_shapes(shapes),
                values=_values(values),
                settings={key: value for key, value in settings.items() if value is not None},
                profiles=profiles,
            )
        write_file(path, text)
        if not quiet:
            write_stdout(text)
        note(f"wrote {path}")
        return EXIT_OK
    import rnncost

    places = parse_outputs(outputs, FORMATS)
    with contextlib.redirect_stdout(sys.stderr):
        result = rnncost.check(models, budget=budget, base=base, absolute_only=absolute_only)

    def render(output: Output) -> str:
        return _render(result, output, quiet=quiet, color=color, comment_key=comment_key or "")

    emit(places, render, result.warnings, quiet=quiet)
    return EXIT_OK if result.passed else EXIT_OVER_BUDGET


_CHECK_ONLY = {
    "base": "--base",
    "absolute_only": "--absolute-only",
    "comment_key": "--comment-key",
    "outputs": "-o",
}
_INIT_ONLY = {
    "headroom": "--headroom",
    "dims": "--dim",
    "shapes": "--shape",
    "values": "--value",
    "trace": "--trace",
    "profiles": "--profile",
    "threads": "--threads",
    "precision": "--precision",
}


def _refuse(context: click.Context, names: dict[str, str], init: bool) -> None:
    """Refuse options that belong to the other way of calling.

    Raises:
        BindingError: one was given.
    """
    from click.core import ParameterSource

    for name, flag in names.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise BindingError(
                f"{flag} does not go with --init, which only writes a budget"
                if init
                else f"{flag} goes with --init: a check takes such things from the budget file"
            )


def _initial(
    models: tuple[str, ...], budget: str | None, headroom: str, **options: Any
) -> tuple[str, str]:
    """Where a first budget goes, and its text."""
    from rnncost.budgets.document import YAML_NAME, has_budgets
    from rnncost.budgets.initial import initial_budget
    from rnncost.units import parse_quantity

    if not models:
        raise BudgetError("--init needs a MODEL to write a budget for")
    path = budget or YAML_NAME
    if not path.endswith((".yaml", ".yml")):
        raise BudgetError(f"--init writes YAML: {path} must end in .yaml")
    if os.path.lexists(path):
        raise BudgetError(f"{path} exists, and --init overwrites nothing: remove it or edit it")
    if budget is None and has_budgets():
        raise BudgetError("[tool.rnncost] of pyproject.toml has budgets already: edit them")
    check_place(path)
    try:
        share = parse_quantity(headroom, "share")
    except ValueError as error:
        raise BudgetError(f"--headroom: {error}") from None
    if share >= 1 and not headroom.rstrip().endswith("%"):
        raise BudgetError(f"--headroom {headroom} would be {float(100 * share):g} %: write 10%")
    text, notes = initial_budget(models, folder=os.path.dirname(path), headroom=share, **options)
    for said in notes:
        note(said)
    return path, text


def _values(items: tuple[str, ...]) -> dict[str, Any]:
    """Values of inputs as a budget has them: what stands in a file stays there."""
    values: dict[str, Any] = {}
    for item in items:
        name, _, text = item.rpartition("=")
        if name in values:
            raise BindingError(f"--value {name} is given twice")
        values |= {name: text} if name and text.startswith("@") else parse_values((item,))
    return values


def _render(
    result: CheckResult, output: Output, *, quiet: bool, color: str, comment_key: str
) -> str:
    if output.format == "json":
        from rnncost.report.json_text import to_json

        return to_json(result.to_dict())
    if output.format == "table":
        from rnncost.budgets.text import one_line, render_text

        if quiet and output.path is None:
            return one_line(result)
        colored = wants_color(color) if output.path is None else color == "always"
        return render_text(result, color=colored)
    if output.format == "html":
        from rnncost.webpage import render_check

        return render_check(result)
    if output.format == "markdown":
        from rnncost.budgets.formats.markdown import render

        return render(result, comment_key)
    from rnncost.budgets import formats

    return formats.render(result, output.format)
