"""What a search found."""

from __future__ import annotations

from typing import Any, Union

import msgspec

from rnncost.search.metrics import Column
from rnncost.search.space import Extent

Table = dict[str, Column]


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """How designs miss one limit.

    ``maximum`` is None for ``fits``. ``nearest`` is the smallest value of those that miss, of
    ``fits`` the share of the memory that it takes; ``design`` says which design that is. Both
    are None where none misses.
    """

    metric: str
    maximum: Union[int, float, None]
    missed: int
    nearest: Union[int, float, None] = None
    design: Union[str, None] = None


class ProfileLine(msgspec.Struct, frozen=True, kw_only=True):
    """A profile that designs were estimated on, and what its model says of those shown."""

    name: str
    version: str
    runtime: str
    threads: int
    calibrated: bool
    notes: tuple[str, ...]


class FitResult(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The designs that meet every limit, the best of them, and how far the rest miss.

    ``table`` and ``front`` are columns by name, as NumPy arrays of one length, which pandas and
    polars take as they are: ``pandas.DataFrame(result.table)``. ``table`` has the best designs
    that meet every limit: most ``maximize`` first, among equals least of each of ``costs``.
    ``front`` has those that no other such design beats: none has as much of ``maximize`` at no
    more of any cost, and is better in one of them (None where they are too many). Where no design
    meets every limit both are empty, and ``nearest`` is a table of the one design whose worst
    miss is the smallest, as a multiple of the limit.
    """

    space: dict[str, Extent]
    assumed: tuple[str, ...]
    designs: int
    meeting: int
    limits: tuple[Miss, ...]
    maximize: str
    costs: tuple[str, ...]
    table: Table
    front: Union[Table, None]
    nearest: Union[Table, None]
    profiles: tuple[ProfileLine, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        from rnncost.search.text import render_text

        return render_text(self)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values; tables as lists of rows, ``nearest`` as one row."""
        plain: dict[str, Any] = {}
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name == "nearest":
                plain[name] = None if value is None else rows_of(value)[0]
            elif name in ("table", "front"):
                plain[name] = None if value is None else rows_of(value)
            else:
                plain[name] = msgspec.to_builtins(value)
        return plain


def rows_of(table: Table) -> list[dict[str, Any]]:
    """The rows of a table as plain values."""
    columns = [column.tolist() for column in table.values()]
    return [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]
