"""Chains of dependence between the operators of a graph.

Operators are numbered in execution order, and ``preds[i]`` has the numbers of those whose
results operator ``i`` reads, all smaller than ``i``. Sets of weights or of loop values are
bit masks in plain integers, so that one pass over the graph serves all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from rnncost.graph.bounds import lower_bound
from rnncost.graph.dim import Dim, hint, maximum

Preds = Sequence[tuple[int, ...]]
Region = tuple[int, int]
_LARGEST_MAX = 64


def predecessors(
    reads: Iterable[Sequence[str]], writes: Iterable[Sequence[str]]
) -> list[tuple[int, ...]]:
    """For each operator the operators that it waits for, from the names read and written.

    A name that nothing before wrote (a graph input, a stored tensor) waits for nothing.
    """
    writer: dict[str, int] = {}
    preds: list[tuple[int, ...]] = []
    for index, (names, results) in enumerate(zip(reads, writes, strict=True)):
        preds.append(tuple({writer[name] for name in names if name in writer}))
        for name in results:
            writer[name] = index
    return preds


def larger(a: Dim, b: Dim) -> Dim:
    """The larger of two counts, where free dimensions are at least 1.

    ``max(a, b)`` only stands where the dimensions decide; a result that would be a long
    nest of them takes the one that is larger at the sample point.
    """
    if isinstance(a, int) and isinstance(b, int):
        return a if a >= b else b
    if a is b or b == 0:
        return a
    if a == 0:
        return b
    difference = a - b
    if _at_least_zero(difference):
        return a
    if _at_least_zero(-difference):
        return b
    if _size(a) + _size(b) > _LARGEST_MAX:
        return a if hint(a) >= hint(b) else b
    return maximum(a, b)


def _at_least_zero(dim: Dim) -> bool:
    low = lower_bound(dim)
    return low is not None and low >= 0


def _size(dim: Dim) -> int:
    return 1 if isinstance(dim, int) else dim.size


def longest_chain(
    preds: Preds, weights: Mapping[int, Dim], regions: Mapping[int, Region] = {}
) -> Dim:
    """The largest sum of weights along one chain; operators without a weight add nothing.

    ``regions`` puts operators together that make one step: a chain that enters a region
    from outside adds 1, whichever of its operators it meets first.
    """
    if not (weights or regions):
        return 0
    first = min(min(weights, default=len(preds)), min(regions, default=len(preds)))
    last = max(max(weights, default=0), max(regions, default=0))
    ends: list[Dim] = []
    longest: Dim = 0
    for index in range(first, last + 1):
        region = regions.get(index)
        best: Dim = 0 if region is None else 1
        for pred in preds[index]:
            if pred >= first:
                end = ends[pred - first]
                if region is not None and regions.get(pred) != region:
                    end = end + 1
                if end is not best:
                    best = larger(best, end)
        weight = weights.get(index)
        if weight is not None:
            best = best + weight
        if weight is not None or region is not None:
            longest = larger(longest, best)
        ends.append(best)
    return longest


def gathered(preds: Preds, own: Sequence[int]) -> list[int]:
    """The union of ``own`` over each operator and all that it depends on."""
    masks: list[int] = []
    for index, first in enumerate(own):
        mask = first
        for pred in preds[index]:
            mask |= masks[pred]
        masks.append(mask)
    return masks


def spread(preds: Preds, own: Sequence[int]) -> list[int]:
    """The union of ``own`` over each operator and all that depend on it."""
    masks = list(own)
    for index in range(len(masks) - 1, -1, -1):
        mask = masks[index]
        if mask:
            for pred in preds[index]:
                masks[pred] |= mask
    return masks


class Chained(msgspec.Struct, frozen=True):
    """A key (a weight) that a chain of dependence uses again.

    ``group`` numbers the cell that it belongs to; ``length`` is the number of uses on the
    longest chain.
    """

    key: int
    group: int
    uses: tuple[int, ...]
    length: int


class Reuse(msgspec.Struct, frozen=True):
    """The keys that chains use again.

    ``regions`` has the operators of unrolled cells, from the first use of a cell's weights
    to the last: the cell's group, and its how many-th step the operator belongs to.
    """

    chained: tuple[Chained, ...] = ()
    regions: Mapping[int, Region] = {}
    bits: Mapping[int, int] = {}
    before: Sequence[int] = ()

    def follows(self, operator: int, key: int) -> bool:
        """Whether an operator uses a repeated key or depends on one that does."""
        return bool(self.before[operator] & self.bits[key])


def reuse(preds: Preds, keys: Sequence[int | None]) -> Reuse:
    """Find the weights of unrolled cells: those used again by what depends on their first use.

    ``keys[i]`` numbers the weight that operator ``i`` multiplies by, or is None. Weights
    that lie before each other along chains (the gates of one cell, layers with feedback)
    form one group; layers that only feed forward do not, and branches that share a weight
    without waiting for each other are no chain.
    """
    uses: dict[int, list[int]] = {}
    for index, key in enumerate(keys):
        if key is not None:
            uses.setdefault(key, []).append(index)
    repeated = [key for key, users in uses.items() if len(users) > 1]
    if not repeated:
        return Reuse()
    bits = {key: 1 << position for position, key in enumerate(repeated)}
    own = [0 if key is None else bits.get(key, 0) for key in keys]
    before = gathered(preds, own)
    ahead: list[int] = []
    for key in repeated:
        mask = 0
        for use in uses[key]:
            for pred in preds[use]:
                mask |= before[pred]
        ahead.append(mask)
    groups = _groups(ahead)
    if not groups:
        return Reuse()
    lengths, regions = _steps(preds, own, before, groups)
    chained = [
        Chained(key, groups[position], tuple(uses[key]), lengths[position])
        for position, key in enumerate(repeated)
        if position in groups
    ]
    return Reuse(tuple(chained), regions, bits, before)


def _groups(ahead: Sequence[int]) -> dict[int, int]:
    """From each key that lies before itself to the number of its group."""
    left = sum(1 << position for position, mask in enumerate(ahead) if mask >> position & 1)
    groups: dict[int, int] = {}
    number = 0
    while left:
        members = [(left & -left).bit_length() - 1]
        left &= left - 1
        for member in members:
            groups[member] = number
            for other in _positions(ahead[member] & left):
                if ahead[other] >> member & 1:
                    members.append(other)
                    left ^= 1 << other
        number += 1
    return groups


def _steps(
    preds: Preds, own: Sequence[int], before: Sequence[int], groups: Mapping[int, int]
) -> tuple[dict[int, int], dict[int, Region]]:
    """The longest chain of each key's uses, and the step of each operator between uses.

    An operator belongs to step t when t uses of some weight of its cell lie on a chain up
    to it.
    """
    members: dict[int, list[int]] = {}
    for position, group in groups.items():
        members.setdefault(group, []).append(position)
    wanted = sum(1 << position for position in groups)
    lengths = dict.fromkeys(groups, 0)
    regions: dict[int, Region] = {}
    counts: dict[int, list[int]] = {}
    for index, (use, since, until) in enumerate(zip(own, before, spread(preds, own), strict=True)):
        between = since & until & wanted
        if not between:
            continue
        group = groups[(between & -between).bit_length() - 1]
        count = [0] * len(members[group])
        for pred in preds[index]:
            if regions.get(pred, (-1, 0))[0] == group:
                count = list(map(max, count, counts[pred]))
        if use & wanted:
            at = members[group].index(use.bit_length() - 1)
            count[at] += 1
            lengths[members[group][at]] = max(lengths[members[group][at]], count[at])
        counts[index] = count
        regions[index] = (group, max(count))
    return lengths, regions


def cycles(
    preds: Preds,
    reads: Sequence[Sequence[str]],
    writes: Sequence[Sequence[str]],
    carried: Sequence[tuple[str, str]],
) -> list[int]:
    """For each operator of a loop body the carried values that share a cycle with it.

    An operator is on a cycle when the next trip's run of it waits for this one's, over any
    number of trips. ``carried`` has the names of each value on entry to a trip and on exit
    from it; bit ``k`` of a mask stands for the value ``k``, 0 is off every cycle.
    """
    entry_bits: dict[str, int] = {}
    exit_bits: dict[str, int] = {}
    for position, (entry, leave) in enumerate(carried):
        entry_bits[entry] = entry_bits.get(entry, 0) | 1 << position
        exit_bits[leave] = exit_bits.get(leave, 0) | 1 << position
    from_entry = [_union(entry_bits, names) for names in reads]
    to_exit = spread(preds, [_union(exit_bits, names) for names in writes])
    leads = [0] * len(carried)
    for mask, goal in zip(from_entry, to_exit, strict=True):
        for position in _positions(mask):
            leads[position] |= goal
    for position, (entry, _) in enumerate(carried):
        leads[position] |= exit_bits.get(entry, 0)
    reach = _closure(leads)
    depends = gathered(preds, from_entry)
    shared: dict[tuple[int, int], int] = {}
    through: list[int] = []
    for pair in zip(depends, to_exit, strict=True):
        if pair not in shared:
            shared[pair] = _on_cycle(reach, *pair)
        through.append(shared[pair])
    return through


def _on_cycle(reach: Sequence[int], depends: int, goal: int) -> int:
    """The values that ``goal`` leads to and that lead to ``depends``."""
    later = goal
    for position in _positions(goal):
        later |= reach[position]
    mask = 0
    for position in _positions(later):
        if (reach[position] | 1 << position) & depends:
            mask |= 1 << position
    return mask


def _closure(leads: Sequence[int]) -> list[int]:
    """Which values each value reaches in one or more trips (Warshall)."""
    reach = list(leads)
    for middle in range(len(reach)):
        for position in range(len(reach)):
            if reach[position] >> middle & 1:
                reach[position] |= reach[middle]
    return reach


def _union(bits: Mapping[str, int], names: Sequence[str]) -> int:
    mask = 0
    for name in names:
        mask |= bits.get(name, 0)
    return mask


def _positions(mask: int) -> Iterable[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
