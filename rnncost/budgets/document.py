"""Budget files: where they are found, and their values with the place of each."""

from __future__ import annotations

import os
import re
from pathlib import Path as FilePath
from typing import Any

import msgspec

from rnncost.budgets.model import Place
from rnncost.errors import BudgetError, ProfileError, nearest
from rnncost.profiles.reader import Document, Path
from rnncost.profiles.reader import Place as Line

YAML_NAME, TOML_NAME = "rnncost.yaml", "pyproject.toml"
TOML_TABLE: Path = ("tool", "rnncost")
_YAML_SUFFIXES = (".yaml", ".yml")
_MAX_BYTES = 4 * 1024 * 1024
_HUGE = 10**60


class Node(msgspec.Struct, frozen=True):
    """A value of a budget, and where it stands."""

    value: Any
    path: Path
    document: Document

    @property
    def place(self) -> Place:
        from rnncost.budgets.toml_lines import dotted

        line = self.document.place(self.path)
        return Place(file=line.file, line=line.line, key=dotted(self.path))

    def fault(self, message: str) -> BudgetError:
        """An error that begins with the file, the line and the key."""
        return BudgetError(f"{where(self.place)}: {message}")

    def child(self, key: str | int) -> Node:
        return Node(self.value[key], (*self.path, key), self.document)

    def items(self, known: tuple[str, ...] | None = None) -> list[tuple[str, Node]]:
        """The keys of a table, which must be among the known ones, if those are given.

        Raises:
            BudgetError: it is no table, or has another key.
        """
        if not isinstance(self.value, dict):
            raise self.fault(f"must be a table of keys and values, got {shown(self.value)}")
        for key in self.value:
            if known is not None and key not in known:
                raise self.child(key).fault(f"unknown key{nearest(key, known)}")
        return [(key, self.child(key)) for key in self.value]

    def elements(self) -> list[Node]:
        return [self.child(index) for index in range(len(self.value))]


def where(place: Place) -> str:
    """A place as the beginning of a message: ``rnncost.yaml:7: models.a.macs``."""
    start = f"{place.file}:{place.line}"
    return f"{start}: {place.key}" if place.key else start


def shown(value: Any) -> str:
    """A value for a message."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "nothing"
    if isinstance(value, int) and abs(value) >= _HUGE:
        return "a number of more than 60 digits"
    plain = isinstance(value, (int, float, str))
    text = repr(value) if plain else f"the {type(value).__name__} {value}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def locate_budget(given: str | FilePath | None) -> FilePath:
    """The budget file that was given, or the one in the working directory.

    Raises:
        BudgetError: there is none, or the working directory has two.
    """
    if given is not None:
        path = FilePath(given)
        if path.suffix not in (*_YAML_SUFFIXES, ".toml"):
            raise BudgetError(f"{path}: a budget file is called .yaml, .yml or .toml")
        return path
    toml, yaml = FilePath(TOML_NAME), FilePath(YAML_NAME)
    in_toml = has_budgets()
    if in_toml and yaml.is_file():
        raise BudgetError(
            f"both {TOML_NAME} ([tool.rnncost]) and {YAML_NAME} hold budgets: "
            "keep one of them, or name it with --budget"
        )
    if not in_toml and not yaml.is_file():
        raise BudgetError(
            f"no budget: neither {YAML_NAME} nor a [tool.rnncost] table in {TOML_NAME} is in "
            f"{os.getcwd()}; 'rnncost check --init MODEL' writes a first one"
        )
    return toml if in_toml else yaml


def has_budgets() -> bool:
    """Whether the pyproject.toml of the working directory has budgets.

    Raises:
        BudgetError: the file cannot be read.
    """
    toml = FilePath(TOML_NAME)
    return toml.is_file() and _table_of(_read(toml)[0]) is not None


def read_budget(path: FilePath) -> Node:
    """The budgets of a file: the whole of a YAML file, ``[tool.rnncost]`` of a TOML file.

    Raises:
        BudgetError: the file cannot be read, or has no budgets.
    """
    data, document = _read(path)
    if path.suffix != ".toml":
        return Node(data, (), document)
    table = _table_of(data)
    if table is None:
        raise BudgetError(f"{path}: there is no table [tool.rnncost]")
    return Node(table, TOML_TABLE, document)


def _table_of(data: Any) -> Any:
    """What stands under [tool.rnncost], or None."""
    for key in TOML_TABLE:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _read(path: FilePath) -> tuple[Any, Document]:
    text, name = _text(path), _name(path)
    document = _read_toml(text, name) if path.suffix == ".toml" else _read_yaml(text, name)
    return document.data, document


def _read_yaml(text: str, name: str) -> Document:
    from rnncost.profiles.reader import read_document

    try:
        document = read_document(text, name, "a budget file")
    except ProfileError as error:
        starred = re.search(r"^\s*(- +)?\*", text, re.MULTILINE)
        hint = "; a pattern that begins with * needs quotes" if starred else ""
        raise BudgetError(f"{error}{hint}") from None
    for fault in document.faults:
        raise BudgetError(f"{fault.place.file}:{fault.place.line}: {fault.message}")
    return document


def _read_toml(text: str, name: str) -> Document:
    from rnncost.budgets.toml_lines import read_toml

    try:
        data, lines = read_toml(text)
    except RecursionError:
        raise BudgetError(f"{name}: nested too deeply") from None
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise BudgetError(f"{name}: not readable as TOML: {reason}") from None
    return Document(data, {key: Line(name, line) for key, line in lines.items()}, ())


def _name(path: FilePath) -> str:
    """The path as messages and annotations give it: from the working directory where it can."""
    absolute = FilePath(os.path.abspath(path))
    here = FilePath(os.getcwd())
    inside = absolute.is_relative_to(here)
    return absolute.relative_to(here).as_posix() if inside else path.as_posix()


def _text(path: FilePath) -> str:
    try:
        if not path.is_file():
            problem = "it is a folder" if path.is_dir() else "no such file"
            raise BudgetError(f"cannot read the budget {path}: {problem}")
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise BudgetError(f"cannot read the budget {str(path)!r}: {error}") from None
    if len(content) > _MAX_BYTES:
        raise BudgetError(f"{path} is larger than {_MAX_BYTES} bytes: not a budget file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BudgetError(f"{path} is not UTF-8 text (at byte {error.start})") from None
