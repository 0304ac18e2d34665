"""Finding and reading hardware profiles: the ones that ship, and files of your own."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from rnncost.errors import ProfileError, nearest
from rnncost.profiles import GENERAL_PROFILE
from rnncost.profiles.extends import merged
from rnncost.profiles.folders import profile_files, shipped_files, user_files, user_profile_folder
from rnncost.profiles.reader import Document, Fault, Place, read_document
from rnncost.profiles.schema import HardwareProfile

__all__ = [
    "default_profile",
    "host_profile",
    "list_profiles",
    "load_profile",
    "locate_profile",
    "profile_files",
    "shipped_files",
    "user_files",
    "user_profile_folder",
]

HOST = "host"
"""The name of the user's profile of this machine."""

MAX_FILE_BYTES = 256 * 1024
MAX_CHAIN = 8
"""How many profiles may extend one another."""

_SUFFIXES = (".yaml", ".yml")
_HELP = "'rnncost profiles list' shows all, and a path to a .yaml file works too"


def load_profile(name_or_path: str | Path) -> HardwareProfile:
    """Load a profile by its name, or from a YAML file.

    A ``Path``, or text that ends in .yaml or .yml or has a path separator, is a file. A
    profile in the user's folder goes before a shipped one of the same name.

    Raises:
        ProfileError: no such profile, or the file is wrong; the message lists every fault,
            one a line, as ``file:line: key: what is wrong``.
    """
    path = locate_profile(name_or_path)
    return _load_file(path, named=not _is_file(name_or_path))


def locate_profile(name_or_path: str | Path) -> Path:
    """The file of a profile that is given as to ``load_profile``.

    Raises:
        ProfileError: no profile has this name.
    """
    if _is_file(name_or_path):
        return Path(name_or_path)
    text = str(name_or_path)
    files = profile_files()
    if text not in files:
        raise ProfileError(f"no hardware profile is named {text!r}{nearest(text, files)}; {_HELP}")
    return files[text]


def list_profiles() -> tuple[HardwareProfile, ...]:
    """All profiles that can be named, shipped and the user's own, by kind and name.

    Raises:
        ProfileError: one of them is wrong.
    """
    profiles = (_load_file(path, named=True) for path in profile_files().values())
    return tuple(sorted(profiles, key=lambda p: (p.kind, p.name)))


def host_profile() -> HardwareProfile | None:
    """The profile ``host`` in the user's folder, as a calibration writes it, or None.

    Raises:
        ProfileError: the file is wrong.
    """
    path = user_files().get(HOST)
    return None if path is None else _load_file(path, named=True)


def default_profile() -> HardwareProfile | str:
    """This machine's profile where ``rnncost calibrate`` has written one, else a general name.

    Raises:
        ProfileError: the file is wrong.
    """
    return host_profile() or GENERAL_PROFILE


def _is_file(name_or_path: str | Path) -> bool:
    text = str(name_or_path)
    is_path = isinstance(name_or_path, Path) or text.endswith(_SUFFIXES)
    return is_path or "/" in text or "\\" in text


def _load_file(path: Path, *, named: bool = False) -> HardwareProfile:
    document = _read(path, ())
    profile = None
    problem = ""
    if not document.faults:
        try:
            profile = msgspec.convert(document.data, HardwareProfile)
        except msgspec.ValidationError as error:
            problem = str(error)
    faults = _all_faults(profile, document, problem)
    if profile is not None and named and profile.name != path.stem:
        message = f"name: must be {path.stem!r} as the file is called, got {profile.name!r}"
        faults.append(Fault(document.place(("name",)), message))
    if profile is None or faults:
        raise ProfileError(_message(path, faults))
    return profile


def _read(path: Path, extended_by: tuple[Path, ...]) -> Document:
    """The document of a file, with those that it extends merged in."""
    document = read_document(_read_text(path), str(path))
    if not isinstance(document.data, dict):
        raise ProfileError(f"{path}:1: a profile is a YAML mapping of keys to values")
    if document.data.get("extends") is None:
        return document
    chain = (*extended_by, path)
    return merged(document, _read(_parent(document, chain), chain))


def _parent(document: Document, chain: tuple[Path, ...]) -> Path:
    """The file that the last file of a chain extends."""
    text, path = document.data["extends"], chain[-1]
    place = document.place(("extends",))

    def refusal(message: str) -> ProfileError:
        return ProfileError(f"{place.file}:{place.line}: extends: {message}")

    if not isinstance(text, str) or not text:
        raise refusal("must be the name of a profile or the path of a .yaml file")
    if _is_file(text):
        parent = Path(os.path.normpath(path.parent / text))
        if not parent.is_file():
            raise refusal(f"no such file: {parent}; a path starts at this file's folder")
    else:
        # A profile of your own may extend the shipped one whose name it takes.
        files = {name: file for name, file in profile_files().items() if not _same(file, path)}
        files = {**shipped_files(), **files}
        if text not in files:
            raise refusal(f"no hardware profile is named {text!r}{nearest(text, files)}; {_HELP}")
        parent = files[text]
    if any(_same(parent, file) for file in chain):
        loop = " extends ".join(file.name for file in (*chain, parent))
        raise refusal(f"a profile cannot extend itself ({loop})")
    if len(chain) >= MAX_CHAIN:
        raise refusal(f"at most {MAX_CHAIN} profiles may extend one another")
    return parent


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _all_faults(profile: HardwareProfile | None, document: Document, problem: str) -> list[Fault]:
    from rnncost.profiles.faults import number_faults, schema_faults, sense_faults

    if profile is not None:
        return [*number_faults(document), *sense_faults(profile, document)]
    faults = [*document.faults, *schema_faults(document)]
    return faults or [Fault(document.place(()), problem)]


def _message(path: Path, faults: list[Fault]) -> str:
    def order(fault: Fault) -> tuple[bool, Place, str]:
        return fault.place.file != str(path), fault.place, fault.message

    lines = [f"{f.place.file}:{f.place.line}: {f.message}" for f in sorted(set(faults), key=order)]
    if len(lines) == 1:
        return lines[0]
    return "\n".join([f"{path} has {len(lines)} faults:", *(f"  {line}" for line in lines)])


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise ProfileError(f"{path} is a folder: give the path of a .yaml profile")
        if not path.is_file():
            raise ProfileError(
                f"no such profile file: {path}; 'rnncost profiles list' shows the names"
            )
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ProfileError(f"cannot read the profile {str(path)!r}: {error}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ProfileError(f"{path} is larger than {MAX_FILE_BYTES} bytes: not a hardware profile")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProfileError(f"{path} is not UTF-8 text (at byte {error.start})") from None
