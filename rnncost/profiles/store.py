"""Finding and reading hardware profiles: the ones that ship, and files of your own."""

from __future__ import annotations

from pathlib import Path

import msgspec

from rnncost.errors import ProfileError, nearest
from rnncost.profiles.reader import Document, Fault, read_document
from rnncost.profiles.schema import HardwareProfile

MAX_FILE_BYTES = 256 * 1024
_SUFFIXES = (".yaml", ".yml")


def load_profile(name_or_path: str | Path) -> HardwareProfile:
    """Load a profile by its name, or from a YAML file.

    A ``Path``, or text that ends in .yaml or .yml or has a path separator, is a file.

    Raises:
        ProfileError: no such profile, or the file is wrong; the message lists every fault,
            one a line, as ``file:line: key: what is wrong``.
    """
    text = str(name_or_path)
    is_file = isinstance(name_or_path, Path) or text.endswith(_SUFFIXES)
    if is_file or "/" in text or "\\" in text:
        return _load_file(Path(name_or_path))
    files = profile_files()
    if text not in files:
        raise ProfileError(
            f"no hardware profile is named {text!r}{nearest(text, files)}; "
            "'rnncost profiles list' shows all, and a path to a .yaml file works too"
        )
    return _load_file(files[text])


def list_profiles() -> tuple[HardwareProfile, ...]:
    """All profiles that ship with the package, by kind and name.

    Raises:
        ProfileError: a shipped profile is wrong.
    """
    profiles = (_load_file(path) for path in profile_files().values())
    return tuple(sorted(profiles, key=lambda p: (p.kind, p.name)))


def profile_files() -> dict[str, Path]:
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


def _load_file(path: Path) -> HardwareProfile:
    text = _read_text(path)
    document = read_document(text, str(path))
    if not isinstance(document.data, dict):
        raise ProfileError(f"{path}:1: a profile is a YAML mapping of keys to values")
    profile = None
    problem = ""
    if not document.faults:
        try:
            profile = msgspec.convert(document.data, HardwareProfile)
        except msgspec.ValidationError as error:
            problem = str(error)
    faults = _all_faults(profile, document, problem)
    if profile is None or faults:
        raise ProfileError(_message(path, faults))
    return profile


def _all_faults(profile: HardwareProfile | None, document: Document, problem: str) -> list[Fault]:
    from rnncost.profiles.faults import memory_faults, number_faults, schema_faults

    if profile is not None:
        return [*number_faults(document), *memory_faults(profile, document)]
    faults = [*document.faults, *schema_faults(document)]
    return faults or [Fault(1, problem)]


def _message(path: Path, faults: list[Fault]) -> str:
    lines = [f"{path}:{fault.line}: {fault.message}" for fault in sorted(set(faults))]
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
