"""``package.module:factory``: importing it and calling it. Torch is not imported here."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rnncost.errors import ModuleError, nearest


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
