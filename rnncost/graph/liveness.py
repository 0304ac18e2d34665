"""How many bytes of activations are alive at each point of a run.

A buffer lives from the operator that writes it to the last one that reads it; a graph
input from the start to its last reader; a graph output to the end. Operators run one after
another, none in place.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from rnncost.graph.dim import Dim


class Life(msgspec.Struct, frozen=True):
    """What one operator does to memory: buffers read, buffers made with their bytes.

    ``extra`` is held only while the operator runs: its scratch space, a loop body's peak.
    """

    reads: Sequence[str]
    writes: Sequence[tuple[str, Dim]]
    extra: Dim = 0


def live_bytes(lives: Sequence[Life], given: Mapping[str, Dim], kept: Collection[str]) -> list[Dim]:
    """The bytes alive while each operator runs, in execution order.

    ``given`` has the buffers that exist before the first operator, with their bytes;
    ``kept`` those that outlive the last one.
    """
    size = dict(given)
    last: dict[str, int] = {}
    for index, life in enumerate(lives):
        for name, nbytes in life.writes:
            size[name] = nbytes
            last[name] = index
        for name in life.reads:
            last[name] = index
    ends: list[list[str]] = [[] for _ in lives]
    for name, index in last.items():
        if name in size and name not in kept:
            ends[index].append(name)

    alive: Dim = 0
    for name, nbytes in given.items():
        if name in last or name in kept:
            alive = alive + nbytes
    result: list[Dim] = []
    for life, ended in zip(lives, ends, strict=True):
        for _, nbytes in life.writes:
            alive = alive + nbytes
        result.append(alive + life.extra)
        for name in ended:
            alive = alive - size[name]
    return result
