"""``diff``: from two models or reports to what changed between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnncost.difference.estimates import estimate_differences, latencies, total_s
from rnncost.difference.matching import match
from rnncost.difference.mismatches import mismatches
from rnncost.difference.model import (
    LARGEST,
    PATHS,
    Change,
    Difference,
    OpDifference,
    Side,
    Status,
    change,
    combined,
)
from rnncost.difference.reading import analysed, is_module, refuse_options, report_in
from rnncost.difference.regrouping import Match
from rnncost.profiles.schema import HardwareProfile
from rnncost.profiles.store import default_profile, load_profile
from rnncost.report.model import Metrics, OpRow, Report, Totals

if TYPE_CHECKING:
    from rnncost.analysis import Model

_FACTS = ("op_type", "kind", "precision", "executions")


def diff(
    base: Model | Report,
    head: Model | Report,
    inputs: tuple[Any, ...] = (),
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Iterable[int]] | None = None,
    values: Mapping[str, Any] | None = None,
    trace: bool = False,
    profiles: str | Path | HardwareProfile | Iterable[str | Path | HardwareProfile] | None = None,
    threads: int = 1,
    precision: str | None = None,
) -> Difference:
    """Compare two models, two reports, or a model and a report.

    ``dims`` and all that follows are those of ``analyze``, for each side that is a model.

    Args:
        base: what there was: a model as ``analyze`` takes it, a ``Report``, or the path of a
            JSON report.
        head: what there is now, likewise.
        inputs: the positional arguments of each side that is a ``torch.nn.Module``.
        dims: values of free dimensions by name.
        shapes: shapes of inputs by name.
        values: values of inputs by name.
        trace: run each model once, and count what was executed.
        profiles: hardware profiles to estimate on; by default this machine's, where
            ``rnncost calibrate`` has written one, else a general one.
        threads: threads of the runtime.
        precision: estimate as if the models ran in it.

    Raises:
        ReportError: a report cannot be read, is of another major schema version, or has
            totals that are not the sums of its operators.
        BindingError: a dimension, shape or value does not fit a model, or is given although
            both sides are reports.
        ModelError: a model cannot be read or followed.
        ProfileError: a profile is missing or wrong.
    """
    bound: dict[str, Any] = {
        "dims": dims,
        "shapes": shapes,
        "values": values,
        "trace": trace,
        "profiles": profiles,
        "threads": threads,
        "precision": precision,
    }
    given = {"base": base, "head": head}
    reports = {role: report_in(side) for role, side in given.items()}
    if None in reports.values():
        bound["profiles"] = _loaded(profiles)
    else:
        refuse_options(inputs, bound)
    both = not any(reports.values())
    misplaced = not any(map(is_module, given.values()))  # analyze says so of the inputs
    sides: list[tuple[Report, str]] = []
    for role, read in reports.items():
        side = given[role]
        if read is None:
            own = inputs if misplaced or is_module(side) else ()
            sides.append((analysed(role, side, own, bound, both=both), ""))
        else:
            sides.append((read, "" if read is side else str(side)))
    (before, before_source), (after, after_source) = sides
    return difference_of(before, after, base_source=before_source, head_source=after_source)


def difference_of(
    base: Report, head: Report, *, base_source: str = "", head_source: str = ""
) -> Difference:
    """Compare two reports; a source is the file that a report was read from."""
    estimates, only_base, only_head = estimate_differences(base, head)
    return Difference(
        base=_side(base, base_source),
        head=_side(head, head_source),
        totals={
            key: change(getattr(base.totals, key), getattr(head.totals, key))
            for key in Totals.__struct_fields__
        },
        estimates=estimates,
        only_base=only_base,
        only_head=only_head,
        ops=_op_differences(base, head),
        warnings=mismatches(base, head),
    )


def _loaded(profiles: Any) -> list[HardwareProfile]:
    """Profiles for both sides, each read once."""
    given = default_profile() if profiles is None else profiles
    if isinstance(given, str | Path | HardwareProfile):
        given = (given,)
    return [p if isinstance(p, HardwareProfile) else load_profile(p) for p in given]


def _side(report: Report, source: str) -> Side:
    return Side(
        source=source,
        model=report.model,
        tool=report.tool,
        schema_version=report.schema_version,
        bindings=report.bindings,
        coverage=report.coverage,
        uncounted=report.uncounted,
    )


def _op_differences(base: Report, head: Report) -> list[OpDifference]:
    """In the order of head; what head lacks follows what it followed in base."""
    times = latencies(base, head)
    matches = sorted(match(base.ops, head.ops), key=lambda m: (m.base or (len(base.ops),))[0])
    places: list[tuple[int, Match]] = []
    last = -1
    for found in matches:
        if found.head:
            last = found.head[0] if found.base else last
        places.append((found.head[0] if found.head else last, found))
    places.sort(key=lambda place: place[0])
    return [
        _op_difference(
            found,
            [base.ops[n] for n in found.base],
            [head.ops[n] for n in found.head],
            {
                profile: change(total_s(here, found.base), total_s(there, found.head))
                for profile, (here, there) in times.items()
            },
        )
        for _, found in places
    ]


def _op_difference(
    found: Match, base: list[OpRow], head: list[OpRow], latency_s: dict[str, Change]
) -> OpDifference:
    changes = _changes(base, head) if base and head else {}
    return OpDifference(
        status=_status(base, head, bool(changes)),
        base=base,
        head=head,
        changes=changes,
        latency_s=latency_s,
    )


def _status(base: list[OpRow], head: list[OpRow], changed: bool) -> Status:
    if not base or not head:
        return "added" if head else "removed"
    if len(base) > 1 or len(head) > 1:
        if len(base) > 1 and len(head) > 1:
            return "regrouped"
        return "merged" if len(base) > 1 else "split"
    if base[0].name != head[0].name:
        return "renamed"
    return "changed" if changed else "unchanged"


def _changes(base: list[OpRow], head: list[OpRow]) -> dict[str, Change]:
    """What differs; of groups only what is a sum.

    What is alive while an operator runs depends on the others, so that it is none of its own.
    """
    found: dict[str, Change] = {}
    alone = len(base) == len(head) == 1
    if alone:
        one, other = base[0], head[0]
        found |= {fact: change(getattr(one, fact), getattr(other, fact)) for fact in _FACTS}
        for kind in ("dims", "extents"):
            here, there = getattr(one, kind), getattr(other, kind)
            for letter in dict.fromkeys((*here, *there)):
                found[f"{kind}.{letter}"] = change(here.get(letter), there.get(letter))
    for metric in Metrics.__struct_fields__:
        if metric != "peak_activation_bytes" and (alone or metric not in LARGEST | PATHS):
            found[metric] = change(combined(metric, base), combined(metric, head))
    return {key: one for key, one in found.items() if not one.is_zero}
