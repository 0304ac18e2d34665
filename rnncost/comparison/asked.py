"""Which variants a caller asks for, and which stand for "those that apply"."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any, Literal, Union

import msgspec

from rnncost.errors import BindingError, nearest
from rnncost.latency.assembly import PRECISION_BITS
from rnncost.report.text import plural
from rnncost.variants import SAME_HIDDEN_SIZE, SAME_OUTPUT_WIDTH, Change, Policy, Structure

Kind = Literal["change", "precision", "steps", "batch"]

CELLS = ("lstm", "gru", "rnn")
DIRECTIONS = {"uni": "unidirectional", "bi": "bidirectional"}
POLICIES: dict[str, tuple[Policy, ...]] = {
    "same-hidden": (SAME_HIDDEN_SIZE,),
    "same-width": (SAME_OUTPUT_WIDTH,),
    "both": (SAME_HIDDEN_SIZE, SAME_OUTPUT_WIDTH),
}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One variant of a model: a rewriting, another precision, or another extent."""

    name: str
    kind: Kind = "change"
    policy: Union[Policy, None] = None
    change: Change = Change()
    precision: str = ""
    extent: int = 0


def asked_for(
    *,
    cells: Any = (),
    directions: Any = (),
    hidden_sizes: Any = (),
    layers: Any = (),
    precisions: Any = (),
    steps: Any = (),
    batches: Any = (),
    policies: Iterable[Policy],
) -> list[Asked]:
    """The variants that a caller names, each value one variant of the model as it is.

    Raises:
        BindingError: a value is unknown, or no whole number from 1 on.
    """
    asked = [_cell(cell) for cell in _names("cell", cells, CELLS)]
    for direction in _names("direction", directions, DIRECTIONS, DIRECTIONS):
        asked += _directions(direction, policies)
    for size in _numbers("hidden size", hidden_sizes):
        change = Change(hidden_size=size)
        asked.append(Asked(name=plural(size, "hidden unit"), change=change))
    for count in _numbers("number of layers", layers):
        asked.append(Asked(name=plural(count, "layer"), change=Change(layers=count)))
    for precision in _names("precision", precisions, PRECISION_BITS):
        asked.append(Asked(name=precision, kind="precision", precision=precision))
    for extent in _numbers("number of steps", steps):
        asked.append(Asked(name=plural(extent, "step"), kind="steps", extent=extent))
    for extent in _numbers("batch", batches):
        asked.append(Asked(name=f"batch of {extent:,}", kind="batch", extent=extent))
    return asked


def that_apply(structure: Structure, policies: Iterable[Policy]) -> list[Asked]:
    """The contrasts of a model when none is named: LSTMs as GRUs, two directions as one."""
    asked = [_cell("gru")] if "lstm" in structure.cells else []
    if "bi" in structure.directions:
        asked += _directions("uni", policies)
    return asked


def policies_of(policy: str | None) -> tuple[Policy, ...]:
    """The policies by the name of ``--policy``; both without one.

    Raises:
        BindingError: there is no such policy.
    """
    if policy is None:
        return POLICIES["both"]
    text = str(policy)
    for name, policies in POLICIES.items():
        if text == name or (len(policies) == 1 and text == policies[0]):
            return policies
    raise BindingError(
        f"there is no policy {text!r}{nearest(text, POLICIES)} ({', '.join(POLICIES)})"
    )


def real_time_asked(step_period_s: Any, chunk: Any) -> tuple[float | None, int | None]:
    """The step period and the chunk as plain numbers.

    Raises:
        BindingError: one of them is wrong, or there is a chunk alone.
    """
    if chunk is not None:
        chunk = whole_number("chunk", chunk)
        if step_period_s is None:
            raise BindingError("a chunk needs the time between two steps too: give the step period")
    if step_period_s is None:
        return None, None
    good = isinstance(step_period_s, Real) and not isinstance(step_period_s, bool)
    if not (good and 0 < step_period_s < math.inf):
        raise BindingError(f"the step period must be seconds above 0, got {step_period_s!r}")
    return float(step_period_s), chunk


def _cell(cell: str) -> Asked:
    return Asked(name=f"{cell.upper()} cells", change=msgspec.convert({"cell": cell}, Change))


def _directions(direction: str, policies: Iterable[Policy]) -> list[Asked]:
    return [
        Asked(
            name=DIRECTIONS[direction],
            policy=policy,
            change=msgspec.convert({"direction": direction, "policy": policy}, Change),
        )
        for policy in policies
    ]


def _several(given: Any) -> Iterable[Any]:
    single = isinstance(given, (str, bytes)) or not isinstance(given, Iterable)
    return (given,) if single else given


def _names(
    what: str, given: Any, known: Iterable[str], aliases: dict[str, str] | None = None
) -> Iterator[str]:
    """Each name once, in lower case; ``aliases`` are other spellings by name."""
    names = tuple(known)
    spellings = {other: name for name, other in (aliases or {}).items()}
    seen: set[str] = set()
    for item in _several(given):
        text = str(item).strip().lower()
        text = spellings.get(text, text)
        if text not in names:
            hint = nearest(text, (*names, *spellings))
            raise BindingError(f"there is no {what} {str(item)!r}{hint} ({', '.join(names)})")
        if text not in seen:
            seen.add(text)
            yield text


def _numbers(what: str, given: Any) -> Iterator[int]:
    """Each number once."""
    yield from dict.fromkeys(whole_number(what, item) for item in _several(given))


def whole_number(what: str, item: Any) -> int:
    """A whole number from 1 on.

    Raises:
        BindingError: it is none.
    """
    try:
        number = operator.index(item)
    except TypeError:
        number = 0
    if number < 1 or isinstance(item, bool):
        raise BindingError(f"the {what} must be a whole number from 1 on, not {item!r}")
    return number
