"""``rnncost calibrate``: measure this machine and write its profile."""

from __future__ import annotations

from typing import Literal

import click

from rnncost.cli.output import check_place, note, write_file, write_stdout


@click.command("calibrate")
@click.option(
    "-o",
    "--output",
    "path",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Where to write the profile  [default: host.yaml in your folder of profiles, "
    "cuda.yaml for a GPU].",
)
@click.option(
    "--device",
    type=click.Choice(("cpu", "cuda")),
    default="cpu",
    show_default=True,
    help="What to measure: this machine's processor, or the GPU that PyTorch uses.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="The most threads it is for  [default: all cores of this process].",
)
@click.option("--force", is_flag=True, help="Write a profile even if the machine is noisy.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(
    path: str | None,
    device: Literal["cpu", "cuda"],
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Measure this machine and write its profile.

    Times small models in ONNX Runtime, which takes up to a minute and a half. Close other
    programs before. `rnncost analyze` and `validate` use the profile from then on.

    With --device cuda it times the layers of cuDNN through PyTorch instead, and writes a
    profile of the GPU, for `--profile cuda`.
    """
    import os
    import re

    import rnncost
    from rnncost.errors import ReportError
    from rnncost.profiles.folders import user_profile_folder
    from rnncost.profiles.writer import profile_text

    folder = user_profile_folder()
    place = path or os.fspath(folder / ("cuda.yaml" if device == "cuda" else "host.yaml"))
    if path is None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ReportError(
                f"cannot make the folder {str(folder)!r}: {error.strerror}; -o names another file"
            ) from None
    check_place(place)
    _check_writable(place)
    stem = os.path.basename(place).rpartition(".")[0] or os.path.basename(place)
    profile = rnncost.calibrate(
        threads=threads,
        device=device,
        name=re.sub("[^a-z0-9.-]+", "-", stem.lower())[:100].strip(".-") or "host",
        force=force,
        progress=(lambda _: None) if quiet else note,
    )
    header = "# yaml-language-server: $schema=profile.schema.json\n"
    write_file(place, header + profile_text(profile))
    calibration = profile.calibration
    assert calibration is not None
    errors = "; ".join(
        (f"{cases.threads} thread{'s' if cases.threads > 1 else ''}: " if device == "cpu" else "")
        + f"median error {cases.median_error:.1%}, 9 of 10 within {cases.p90_error:.1%}"
        for cases in calibration.held_out
    )
    write_stdout(f"{place}\non layers left out of the fit, {errors}\n")


def _check_writable(path: str) -> None:
    """Refuse a folder that takes no files before a minute is spent on measuring.

    Raises:
        ReportError: no file can be made there.
    """
    import os
    import tempfile

    from rnncost.errors import ReportError

    target = os.path.realpath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        return  # a pipe or a device: nothing is made beside it
    try:
        with tempfile.TemporaryFile(dir=os.path.dirname(target), prefix=".rnncost-"):
            pass
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from None
