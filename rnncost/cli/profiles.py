"""``rnncost profiles``: the hardware profiles that ship, and your own."""

from __future__ import annotations

from pathlib import Path

import click

from rnncost.cli.groups import SuggestingGroup
from rnncost.cli.output import note, write_stdout


@click.group("profiles", cls=SuggestingGroup)
def command() -> None:
    """List, show and check hardware profiles."""


@command.command("list")
@click.option("--kind", type=click.Choice(("cpu", "gpu", "mcu")), help="Only devices of this kind.")
def list_command(kind: str | None) -> None:
    """List the profiles that can be named.

    They are those that ship with rnncost, and the .yaml files in your own folder
    ($RNNCOST_PROFILES, or the rnncost folder where your system keeps user data).
    """
    from tabulate import tabulate

    from rnncost.errors import ProfileError
    from rnncost.profiles.folders import profile_files, shipped_files
    from rnncost.profiles.store import load_profile
    from rnncost.report.text import printable

    shipped = shipped_files().values()
    rows, faults = [], []
    for name, path in profile_files().items():
        try:
            p = load_profile(name)
        except ProfileError as error:
            faults.append(str(error).split("\n")[0])
            continue
        yours = "" if path in shipped else "yours"
        calibrated = "yes" if p.calibrated else ""
        if kind in (None, p.kind):
            rows.append((p.name, p.kind, p.runtime, calibrated, yours, printable(p.title)))
    rows.sort(key=lambda row: (row[1], row[0]))
    headers = ["name", "kind", "runtime", "calibrated", "yours", "title"]
    # A column that says nothing goes.
    kept = [i for i, header in enumerate(headers) if header != "yours" or any(r[i] for r in rows)]
    table = [[row[i] for i in kept] for row in rows]
    text = tabulate(table, headers=[headers[i] for i in kept], disable_numparse=True)
    write_stdout(f"{text}\n")
    for fault in faults:
        note(f"warning: left out: {fault}")


@command.command("show")
@click.argument("profile", metavar="NAME|FILE")
@click.option("--resolved", is_flag=True, help="With all that it extends merged in.")
def show_command(profile: str, resolved: bool) -> None:
    """Show a profile, with the source of each number.

    The file is shown as it is. A profile that extends another holds only what differs;
    --resolved shows the whole.
    """
    from rnncost.profiles.store import load_profile, locate_profile
    from rnncost.profiles.writer import profile_text
    from rnncost.report.text import printable

    loaded = load_profile(profile)
    if resolved:
        write_stdout(profile_text(loaded))
        return
    lines = locate_profile(profile).read_text(encoding="utf-8-sig").splitlines()
    write_stdout("".join(f"{printable(line)}\n" for line in lines))
    if loaded.extends is not None:
        note(
            f"the rest comes from {printable(loaded.extends)}: 'rnncost profiles show --resolved "
            f"{printable(profile)}' shows the whole"
        )


@command.command("check")
@click.argument("files", metavar="[FILE]...", nargs=-1)
def check_command(files: tuple[str, ...]) -> None:
    """Check profiles: each FILE, or all that can be named.

    Every fault of every file is named with its line.
    """
    from rnncost.errors import ProfileError
    from rnncost.profiles.folders import profile_files

    named = {} if files else profile_files()
    checked: list[str | Path] = [Path(file) for file in files] or list(named)
    faults = [fault for profile in checked if (fault := _fault(profile, quiet=bool(named)))]
    if faults:
        raise ProfileError("\n".join(faults))
    if named:
        write_stdout(f"all {len(named)} profiles are right\n")


def _fault(name_or_path: str | Path, *, quiet: bool) -> str:
    """Say that a profile is right, or return what is wrong with it."""
    from rnncost.errors import ProfileError
    from rnncost.profiles.store import load_profile
    from rnncost.report.text import printable

    try:
        profile = load_profile(name_or_path)
    except ProfileError as error:
        return str(error)
    if not quiet:
        write_stdout(f"{printable(str(name_or_path))}: {profile.name} {profile.version} is right\n")
    return ""


@command.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a profile."""
    import json

    from rnncost.profiles.schema import profile_json_schema

    write_stdout(f"{json.dumps(profile_json_schema(), indent=2)}\n", machine=True)
