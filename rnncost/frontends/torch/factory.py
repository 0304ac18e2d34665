"""``package.module:factory``, and files that are refused. Torch is not imported here."""

from __future__ import annotations

import importlib
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnncost.errors import ModelFileError, ModuleError, RnncostError, nearest

_ADVICE = (
    "export the model to .onnx, save torch.export.export(...) as .pt2, or name a function "
    "that builds it, as in package.module:factory"
)


def describe(error: BaseException) -> str:
    """An exception as a phrase: its type and the first line of its message."""
    text = str(error).strip()
    first = text.splitlines()[0].strip() if text else ""
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def build(target: str) -> Any:
    """What the factory returns: a module, or ``(module, inputs)``.

    Raises:
        ModuleError: the import fails, there is no such name, or the factory raises.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise ModuleError(f"{target!r} is not of the form package.module:factory")
    with _folder_on_path():
        home = _imported(module_name)
        factory: Any = home
        for part in attribute.split("."):
            names = [name for name in dir(factory) if not name.startswith("_")]
            try:
                factory = getattr(factory, part)
            except AttributeError:
                raise ModuleError(
                    f"{module_name} has no {attribute!r}{nearest(part, names)}"
                ) from None
        if _is_module(factory):
            return factory
        if not callable(factory):
            raise ModuleError(
                f"{target} is {_article(factory)}, not a function that returns a module"
            )
        try:
            return factory()
        except (Exception, SystemExit) as error:
            raise ModuleError(f"the factory {target} raised {describe(error)}") from error


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ModuleError(
                f"there is no module {error.name!r} in this folder or installed"
            ) from None
        raise ModuleError(f"importing {name} failed with {describe(error)}") from error
    except (Exception, SystemExit) as error:
        raise ModuleError(f"importing {name} failed with {describe(error)}") from error


@contextmanager
def _folder_on_path() -> Iterator[None]:
    """Modules of the current folder can be imported, as with ``python -m``."""
    folder = os.getcwd()
    added = folder not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        yield
    finally:
        if added and folder in sys.path:
            sys.path.remove(folder)


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"an {name}" if name[:1].lower() in "aeiou" else f"a {name}"


def check_program(path: Path) -> None:
    """Make sure that a file is a .pt2 export, which is read without running code.

    Raises:
        ModelFileError: the file is missing, unreadable, or no archive at all.
        ModuleError: it is a pickle or a TorchScript archive.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
    except IsADirectoryError:
        raise ModelFileError(f"{path} is a folder, not a model file") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ModelFileError(f"{path} cannot be read: {reason}") from error
    if head[:1] == b"\x80":
        raise _pickle(path)
    if head != b"PK\x03\x04":
        raise ModelFileError(f"{path} is not a PyTorch export: it is no zip archive")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelFileError(f"{path} is damaged: {describe(error)}") from error
    leaves = {name.rsplit("/", 1)[-1] for name in names}
    if "archive_format" in leaves or "serialized_exported_program.json" in leaves:
        return
    if "constants.pkl" in leaves:
        raise ModuleError(
            f"{path} is a TorchScript archive, which holds compiled code instead of a graph: "
            f"{_ADVICE}"
        )
    if "data.pkl" in leaves:
        raise _pickle(path)
    raise ModelFileError(f"{path} is a zip archive, but not one that torch.export.save wrote")


def refuse_pickle(path: str) -> RnncostError:
    """Why a .pt or .pth file is not loaded, as an error to raise."""
    try:
        check_program(Path(path))
    except RnncostError as error:
        return error
    return ModuleError(f"{path} holds an exported program: give it the suffix .pt2")


def _pickle(path: Path) -> ModuleError:
    return ModuleError(
        f"{path} is a pickle from torch.save, and loading it would run whatever code it "
        f"holds: {_ADVICE}"
    )
