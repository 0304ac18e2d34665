"""Which models a check is about, and which tables of the budget hold for each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from glob import glob, has_magic
from pathlib import Path

import msgspec

from rnncost.analysis import is_factory
from rnncost.budgets.document import where
from rnncost.budgets.model import Limit
from rnncost.budgets.parse import Table
from rnncost.errors import BudgetError

_LISTED = 5


class Selected(msgspec.Struct, frozen=True, kw_only=True):
    """A model to check: its name in the budget's terms, where it lies, and its tables."""

    name: str
    path: str
    tables: list[Table]

    @property
    def limits(self) -> list[Limit]:
        """The limits of all its tables."""
        return [limit for table in self.tables for limit in table.limits]


def select(
    tables: Sequence[Table], file: Path, wanted: Iterable[str | Path]
) -> tuple[list[Selected], list[str]]:
    """Match models to the tables of a budget file.

    A model's name is its path from the budget file's folder, with forward slashes, or the
    ``package.module:factory`` as it is.

    Args:
        tables: the tables of the budget.
        file: the budget file; patterns start at its folder.
        wanted: the models to check, as paths from the working directory or factories; all
            that the patterns match where there is none.

    Returns:
        The models, and sentences about patterns that match none where models were asked for.

    Raises:
        BudgetError: a pattern matches no model, a wanted model matches no pattern, or no
            table has a limit for a model.
    """
    folder = os.path.dirname(file)
    found: dict[str, list[Table]] = {}
    empty: list[Table] = []
    for table in tables:
        names = matches(table.pattern, folder)
        for name in names:
            found.setdefault(name, []).append(table)
        if not names:
            empty.append(table)
    names = [_covered(str(model), folder, found, file) for model in wanted]
    faults = [f"{where(table.place)}: no model file matches" for table in empty]
    if faults and not names:
        raise BudgetError(faults[0])
    selected = [
        Selected(name=name, path=_path(name, folder), tables=found[name])
        for name in dict.fromkeys(names or found)
    ]
    for model in selected:
        if not model.limits:
            place = model.tables[0].place
            raise BudgetError(f"{where(place)}: {model.name} has no limit: add one, as macs")
    return selected, faults


def matches(pattern: str, folder: str) -> list[str]:
    """The names of the models that a pattern of a budget stands for, sorted.

    A link that leads nowhere is among them: to leave it out would be to pass it.
    """
    if is_factory(pattern) and not os.path.exists(os.path.join(folder, pattern)):
        return [pattern]
    if os.path.lexists(os.path.join(folder, pattern)) or not has_magic(pattern):
        found = [pattern]
    else:
        found = glob(pattern, root_dir=folder or ".", recursive=True)
    paths = (os.path.join(folder, path) for path in found)
    files = (path for path in paths if os.path.lexists(path) and not os.path.isdir(path))
    return sorted({model_name(path, folder) for path in files})


def model_name(model: str, folder: str) -> str:
    """A model's path from the folder of the budget file; a factory is its own name."""
    if is_factory(model):
        return model
    try:
        return Path(os.path.relpath(model, folder or ".")).as_posix()
    except ValueError:  # another drive
        return Path(os.path.abspath(model)).as_posix()


def _path(name: str, folder: str) -> str:
    return name if is_factory(name) else os.path.normpath(os.path.join(folder, name))


def _covered(model: str, folder: str, found: dict[str, list[Table]], file: Path) -> str:
    """The name under which the budget knows a model that was asked for."""
    name = model_name(model, folder)
    if name in found:
        return name
    if not is_factory(model):
        if not os.path.isfile(model):
            raise BudgetError(f"no such model file: {model}")
        for other in found:
            if os.path.exists(path := _path(other, folder)) and os.path.samefile(model, path):
                return other
    known = list(found)
    listed = ", ".join(known[:_LISTED]) + (" and others" if len(known) > _LISTED else "")
    raise BudgetError(
        f"no budget in {file} covers {model}"
        + (f" (it covers {listed})" if known else "")
        + "; add a table for it"
    )
