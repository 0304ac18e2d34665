"""Groups of commands: unknown names get a suggestion, and modules load only when used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from rnncost.errors import nearest


class SuggestingGroup(click.Group):
    """A group that answers no command with its help, and an unknown one with the nearest."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        wants_help = not args and not ctx.resilient_parsing
        return super().parse_args(ctx, ["--help"] if wants_help else args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            hint = nearest(args[0], known) or f"; the commands are {', '.join(known)}"
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(SuggestingGroup):
    """A group whose commands are ``command`` in the module of their name.

    ``summaries`` gives their one-line help, so that ``--help`` imports none of them.
    """

    def __init__(self, *, package: str, summaries: dict[str, str], **attrs: Any) -> None:
        super().__init__(**attrs)
        self._package = package
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._summaries:
            return None
        command: click.Command = import_module(f"{self._package}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))
