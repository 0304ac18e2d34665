"""``rnncost profiles``: the hardware profiles that ship, and checks for your own."""

from __future__ import annotations

import click

from rnncost.cli.groups import SuggestingGroup
from rnncost.cli.output import write_stdout


@click.group("profiles", cls=SuggestingGroup)
def command() -> None:
    """List, show and check hardware profiles."""


@command.command("list")
def list_command() -> None:
    """List the profiles that ship with rnncost."""
    from tabulate import tabulate

    from rnncost.profiles.store import list_profiles

    rows = [
        (p.name, p.kind, p.version, "yes" if p.calibrated else "no", p.title)
        for p in list_profiles()
    ]
    headers = ("name", "kind", "version", "calibrated", "title")
    write_stdout(f"{tabulate(rows, headers=headers, disable_numparse=True)}\n")


@command.command("show")
@click.argument("profile", metavar="NAME|FILE")
def show_command(profile: str) -> None:
    """Show a profile, with the source of each number."""
    from pathlib import Path

    from rnncost.profiles.store import load_profile, profile_files
    from rnncost.report.text import printable

    load_profile(profile)
    path = profile_files().get(profile, Path(profile))
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    write_stdout("".join(f"{printable(line)}\n" for line in lines))


@command.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
def check_command(files: tuple[str, ...]) -> None:
    """Check profiles of your own.

    Every fault of every FILE is named with its line.
    """
    from rnncost.errors import ProfileError

    faults = [fault for file in files if (fault := _fault(file))]
    if faults:
        raise ProfileError("\n".join(faults))


def _fault(file: str) -> str:
    """Say that a profile is right, or return what is wrong with it."""
    from pathlib import Path

    from rnncost.errors import ProfileError
    from rnncost.profiles.store import load_profile
    from rnncost.report.text import printable

    try:
        profile = load_profile(Path(file))
    except ProfileError as error:
        return str(error)
    write_stdout(f"{printable(file)}: {profile.name} {profile.version} is right\n")
    return ""


@command.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a profile."""
    import json

    from rnncost.profiles.schema import profile_json_schema

    write_stdout(f"{json.dumps(profile_json_schema(), indent=2)}\n", machine=True)
