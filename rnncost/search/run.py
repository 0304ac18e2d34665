"""``fit``: from limits to the designs that meet them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from rnncost.errors import BindingError, nearest
from rnncost.profiles.schema import HardwareProfile
from rnncost.search.axis import whole_number
from rnncost.search.counts import COUNTS
from rnncost.search.front import MOST_ON_FRONT, Numbers
from rnncost.search.metrics import Limit, Metric, Profiles, Target, limit_of
from rnncost.search.model import FitResult, Miss, ProfileLine
from rnncost.search.space import MOST_THREADS, Space, space_of
from rnncost.search.stack import Design, estimated
from rnncost.search.sweep import Goal, Sweep, Tally, in_order, sweep
from rnncost.search.tables import name_of, table_of, value_of

if TYPE_CHECKING:
    from rnncost.report.model import Estimate

    ProfileLike: TypeAlias = str | Path | HardwareProfile

SHOWN = (
    *("params", "macs", "weight_bytes", "state_bytes", "streamed_bytes"),
    *("sequential_steps", "lookahead_steps"),
)
"""The totals that every table has."""

MOST_SHOWN = 100_000


def fit(
    *,
    inputs: Any,
    hidden_sizes: Any,
    cells: Any = "lstm",
    layers: Any = 1,
    directions: Any = "uni",
    dims: Mapping[str, Any] | None = None,
    precisions: Any = "fp32",
    maximum: Mapping[str, Any] | None = None,
    fits: ProfileLike | Iterable[ProfileLike] | None = (),
    profiles: ProfileLike | Iterable[ProfileLike] | None = (),
    threads: int = 1,
    maximize: str = "params",
    top: int = 10,
) -> FitResult:
    """Find the stacks of recurrent layers that meet every limit.

    A design is ``torch.nn.LSTM(inputs, hidden, layers, bidirectional=...)``, ``GRU`` or ``RNN``
    alone, of which the output sequence is used; its figures are those that ``rnncost.analyze``
    gives for it.

    Args:
        inputs: features of the input; as for all numbers, one, several, a ``range``, or text as
            ``"64,128"`` or ``"32-1024:32"``.
        hidden_sizes: units of a direction, alike in all layers.
        cells: "lstm", "gru", "rnn".
        layers: layers of the stack.
        directions: "uni", "bi".
        dims: the steps ``seq`` (100 unless given) and the rows ``batch`` (1).
        precisions: "fp32", "fp16", "bf16", "int8" ...: of the estimates and of all bytes.
        maximum: limits by metric: ``{"params": 1e6, "latency_s@raspberry-pi-4": "5 ms"}``. An
            estimate names its profile behind ``@``. Numbers are in base units.
        fits: profiles whose memory must hold weights and activations.
        profiles: further profiles to estimate the latency on, by name, path or loaded.
        threads: threads of the runtime.
        maximize: the total of which more is better: designs are listed by it.
        top: how many designs the table has at most.

    Raises:
        BindingError: a range, a limit or a name is wrong, or the space is too large.
        ProfileError: a profile is missing or wrong.
    """
    known = Profiles(_several(profiles))
    limits = _limits(maximum or {}, fits, known)
    threads = whole_number("threads", threads, MOST_THREADS)
    top = whole_number("top", top, MOST_SHOWN)
    goal = _goal(maximize, limits)
    space = space_of(
        cells=cells,
        directions=directions,
        precisions=precisions,
        layers=layers,
        inputs=inputs,
        hidden_sizes=hidden_sizes,
        dims=dims,
        threads=threads,
    )
    target = Target(known.own, threads)
    found = sweep(space, limits, goal, target, top)
    return _result(space, limits, goal, target, found)


def _result(
    space: Space, limits: list[Limit], goal: Goal, target: Target, found: Sweep
) -> FitResult:
    metrics = [Metric(name) for name in SHOWN]
    metrics += [goal.maximize, *(Metric("latency_s", name) for name in target.profiles)]
    metrics += [limit.metric for limit in limits]
    best, front = found.best.numbers, in_order(space, found.front.numbers, goal, target)
    closest = np.array([] if found.meeting else [found.all_miss.number], np.int64)
    table = table_of(space, best, metrics, target)
    notes = []
    if found.front.given_up:
        notes.append(
            f"the front is left out, as more than {MOST_ON_FRONT:,} designs were on it at once: "
            "give a narrower space or other limits"
        )
    shown = np.concatenate((best, front, closest))
    return FitResult(
        space=space.described(),
        assumed=space.assumed,
        designs=space.size,
        meeting=found.meeting,
        limits=tuple(
            [
                _miss(space, limit, tally, target)
                for limit, tally in zip(limits, found.misses, strict=True)
            ]
        ),
        maximize=goal.maximize.key,
        costs=tuple([cost.key for cost in goal.costs]),
        table=table | {"front": np.isin(best, front)},
        front=None if found.front.given_up else table_of(space, front, metrics, target),
        nearest=None if found.meeting else table_of(space, closest, metrics, target),
        profiles=tuple(_profile_lines(space, shown, target)),
        notes=tuple(notes),
    )


def _limits(
    maximum: Mapping[str, Any], fits: ProfileLike | Iterable[ProfileLike] | None, known: Profiles
) -> list[Limit]:
    limits = [limit_of(name, value, known) for name, value in maximum.items()]
    limits += [limit_of(f"fits@{known.add(one).name}", True, known) for one in _several(fits)]
    seen: set[Metric] = set()
    for limit in limits:
        if limit.metric in seen:
            raise BindingError(f"{limit.metric.key} is limited twice")
        seen.add(limit.metric)
    return limits


def _goal(maximize: str, limits: Iterable[Limit]) -> Goal:
    """More of one total is better, and less of what is limited; MACs where nothing else is."""
    if maximize not in COUNTS:
        raise BindingError(
            f"there is no total {maximize!r} to maximize{nearest(str(maximize), COUNTS)} "
            "(docs/fit.md lists them)"
        )
    costs = [limit.metric for limit in limits if limit.metric.name not in ("fits", maximize)]
    other = Metric("params" if maximize == "macs" else "macs")
    return Goal(maximize=Metric(maximize), costs=tuple(costs or [other]))


def _miss(space: Space, limit: Limit, tally: Tally, target: Target) -> Miss:
    miss = Miss(metric=limit.metric.key, maximum=limit.maximum, missed=tally.missed)
    if tally.number < 0:
        return miss
    nearest_value: int | float = tally.ratio
    if limit.maximum is not None:
        nearest_value = value_of(space, tally.number, limit.metric, target)
    return msgspec.structs.replace(miss, nearest=nearest_value, design=name_of(space, tally.number))


def _profile_lines(space: Space, numbers: Numbers, target: Target) -> Iterator[ProfileLine]:
    """What the models say of the designs shown: of the first of each cell and precision."""
    first: dict[tuple[str, str | None], Design] = {}
    for number in space.first_of_each(numbers).tolist():
        design = space.design(number)
        first.setdefault((design.cell, design.precision), design)
    designs = list(first.values())
    for profile in target.profiles.values():
        # A price is that of one design.
        plain = msgspec.structs.replace(profile, price_per_hour=None)
        estimates = [estimated(design, plain, threads=target.threads) for design in designs]
        yield ProfileLine(
            name=profile.name,
            version=profile.version,
            runtime=profile.runtime,
            threads=estimates[0].threads,
            calibrated=profile.calibrated,
            notes=tuple(dict.fromkeys(note for one in estimates for note in _notes(one))),
        )


def _notes(estimate: Estimate) -> Iterator[str]:
    if estimate.latency_low_s is not None and estimate.latency_high_s is not None:
        low, high = (
            bound / estimate.latency_s
            for bound in (estimate.latency_low_s, estimate.latency_high_s)
        )
        yield f"90 % of measured times are expected from {low:.2f} to {high:.2f} times latency_s"
    yield from estimate.notes


def _several(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, (str, Path, HardwareProfile)) else tuple(given)
