"""Where profiles lie: in the installed package, and in the user's own folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rnncost.errors import ProfileError

FOLDER_VARIABLE = "RNNCOST_PROFILES"


def profile_files() -> dict[str, Path]:
    """All profile files by name; the user's own stand for shipped ones of the same name.

    Raises:
        ProfileError: the shipped profiles are missing, or the user's folder is unreadable.
    """
    return {**shipped_files(), **user_files()}


def shipped_files() -> dict[str, Path]:
    """The files of the shipped profiles by profile name.

    Raises:
        ProfileError: the folder of profiles is not where the installation put it.
    """
    package = Path(__file__).resolve().parent.parent
    # A wheel carries the folder inside the package; a source tree has it beside the package.
    for folder in (package / "hardware_profiles", package.parent / "hardware_profiles"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*/*.yaml"))}
    raise ProfileError(f"the hardware profiles are missing beside {package}: reinstall rnncost")


def user_files() -> dict[str, Path]:
    """The profiles in the user's folder by file name; none where there is no such folder.

    Raises:
        ProfileError: the folder cannot be read.
    """
    folder = user_profile_folder()
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise ProfileError(
            f"cannot read the folder of your profiles, {str(folder)!r}: {error}; "
            f"{FOLDER_VARIABLE} can name another"
        ) from None
    return {name.removesuffix(".yaml"): folder / name for name in names if name.endswith(".yaml")}


def user_profile_folder() -> Path:
    """The folder of the user's own profiles, which need not exist.

    ``$RNNCOST_PROFILES`` if it is set; else the ``rnncost`` folder where the system keeps a
    user's data: ``$XDG_DATA_HOME`` or ``~/.local/share``, on macOS ``~/Library/Application
    Support``, on Windows ``%LOCALAPPDATA%``.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return Path(chosen)
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        data = _absolute("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        data = home / "Library" / "Application Support"
    else:
        data = _absolute("XDG_DATA_HOME") or home / ".local" / "share"
    return data / "rnncost"


def _absolute(variable: str) -> Path | None:
    """The folder that a variable names; the XDG rules ignore a relative one."""
    path = Path(os.environ.get(variable, ""))
    return path if path.is_absolute() else None
