"""One pass over a design space, block by block: only counters and the best designs are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnncost.search.front import Best, Front, Numbers, points_of
from rnncost.search.metrics import Column, Limit, Metric, Target, excess_of
from rnncost.search.space import Block, Space


class Tally(msgspec.Struct):
    """How many designs miss, and the nearest of them: its number and how far it is."""

    missed: int = 0
    ratio: float = math.inf
    number: int = -1

    def add(self, misses: NDArray[np.bool_], ratios: NDArray[np.float64], numbers: Numbers) -> None:
        """Take in more designs."""
        if not misses.any():
            return
        self.missed += int(np.count_nonzero(misses))
        nearest = int(np.argmin(np.where(misses, ratios, math.inf)))
        if ratios[nearest] < self.ratio or self.number < 0:
            self.ratio, self.number = float(ratios[nearest]), int(numbers[nearest])


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a design better: more of one total, then less of each cost."""

    maximize: Metric
    costs: tuple[Metric, ...]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (self.maximize, *self.costs)

    def points(self, columns: dict[str, Column]) -> NDArray[np.float64]:
        """The columns that are to be small."""
        return points_of(columns, self.maximize.key, [cost.key for cost in self.costs])


class Sweep:
    """What is known of a space once all of its blocks were added."""

    def __init__(self, limits: Sequence[Limit], goal: Goal, top: int) -> None:
        self.limits, self.goal = limits, goal
        self.meeting = 0
        self.misses = [Tally() for _ in limits]
        self.all_miss = Tally()
        """Of the designs of blocks in which none meets every limit."""
        self.best, self.front = Best(top), Front()

    def add(self, block: Block, target: Target) -> None:
        """Take in more designs."""
        wanted = dict.fromkeys((*self.goal.metrics, *(limit.metric for limit in self.limits)))
        columns = target.columns(block, wanted)
        missing = np.zeros(len(block.numbers), np.bool_)
        worst = np.zeros(len(block.numbers))
        for limit, tally in zip(self.limits, self.misses, strict=True):
            misses, ratios = excess_of(limit, columns[limit.metric.key], block, target)
            tally.add(misses, ratios, block.numbers)
            missing |= misses
            np.maximum(worst, ratios, out=worst, where=misses)
        met = np.flatnonzero(~missing)
        self.meeting += len(met)
        if len(met):
            points, numbers = self.goal.points(columns)[met], block.numbers[met]
            self.best.add(numbers, points)
            self.front.add(numbers, points)
        else:
            self.all_miss.add(missing, worst, block.numbers)


def sweep(space: Space, limits: Sequence[Limit], goal: Goal, target: Target, top: int) -> Sweep:
    """Go through all designs of a space."""
    result = Sweep(limits, goal, top)
    for block in space.blocks():
        result.add(block, target)
    return result


def in_order(space: Space, numbers: Numbers, goal: Goal, target: Target) -> Numbers:
    """Designs in the order of the goal."""
    best = Best(max(1, len(numbers)))
    for block in space.blocks_of(numbers):
        best.add(block.numbers, goal.points(target.columns(block, goal.metrics)))
    return best.numbers
