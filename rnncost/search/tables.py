"""Designs as tables: columns by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rnncost.search.front import Numbers
from rnncost.search.metrics import Column, Metric, Target
from rnncost.search.space import DIRECTIONS, Block, Extent, Space

EXTENTS = ("layers", "hidden", "input", "seq", "batch")
_DIRECTION = {number: name for name, number in DIRECTIONS.items()}


def table_of(
    space: Space, numbers: Numbers, metrics: Iterable[Metric], target: Target
) -> dict[str, Column]:
    """What the designs are and what they cost, in the order of ``numbers``."""
    wanted = list(dict.fromkeys(metrics))
    order = np.argsort(numbers, kind="stable")
    blocks = space.blocks_of(numbers[order])
    parts = [_identity(block) | target.columns(block, wanted) for block in blocks]
    whole = {*EXTENTS, *(metric.key for metric in wanted if metric.whole)}
    places = np.argsort(order, kind="stable")
    table: dict[str, Column] = {}
    for name in (*_IDENTITY, *(metric.key for metric in wanted)):
        if parts:
            column = np.concatenate([part[name] for part in parts])[places]
        else:
            column = np.empty(0, np.str_ if name in _NAMES else np.float64)
        table[name] = column.astype(np.int64) if name in whole else column
    return table


def name_of(space: Space, number: int) -> str:
    """A design in a few words."""
    row = {name: column[0] for name, column in _identity(_one(space, number)).items()}
    return words_of(row, space.described())


def words_of(row: Mapping[str, Any], extents: Mapping[str, Extent]) -> str:
    """A row in a few words: cell, direction, layers x hidden size, and what else varies."""
    words = [row["cell"], row["direction"], f"{row['layers']:.0f}x{row['hidden']:.0f}"]
    varied = [name for name in ("input", "seq", "batch") if extents[name].count > 1]
    words += [f"{name} {row[name]:.0f}" for name in varied]
    return " ".join([*words, row["precision"]] if extents["precision"].count > 1 else words)


def value_of(space: Space, number: int, metric: Metric, target: Target) -> int | float:
    """One figure of one design."""
    value = target.columns(_one(space, number), [metric])[metric.key][0]
    return int(value) if metric.whole else float(value)


_NAMES = ("cell", "direction", "precision")
_IDENTITY = (*_NAMES, *EXTENTS)


def _identity(block: Block) -> dict[str, Column]:
    stack = block.stack
    values: tuple[Any, ...] = (
        stack.cell,
        _DIRECTION[stack.directions],
        stack.precision or "fp32",
        float(stack.layers),
        stack.hidden,
        stack.inputs,
        stack.steps,
        stack.batch,
    )
    size = (len(block.numbers),)
    columns = [np.broadcast_to(np.asarray(value), size) for value in values]
    return dict(zip(_IDENTITY, columns, strict=True))


def _one(space: Space, number: int) -> Block:
    return next(space.blocks_of(np.array([number], np.int64)))
