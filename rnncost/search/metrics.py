"""What a design may be limited by, and the arrays of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from rnncost.errors import BindingError, ProfileError, nearest
from rnncost.latency.arrays import ESTIMATED, Estimator, Sizes, Stack, estimator_of
from rnncost.profiles.schema import HardwareProfile
from rnncost.profiles.store import load_profile
from rnncost.search.counts import COUNTS, sizes_of, total
from rnncost.search.space import Block
from rnncost.units import parse_quantity

METRICS = (*COUNTS, *ESTIMATED)
_SUFFIXES = {"_bytes": "bytes", "_s": "seconds", "_j": "joules", "_share": "share"}

_BEYOND = 2**62
"""More than any figure that is held as a float here; larger limits are as good as this."""

Column = NDArray[Any]


class Metric(msgspec.Struct, frozen=True):
    """A total of the counts, or an estimate on a profile by its name."""

    name: str
    profile: Union[str, None] = None

    @property
    def key(self) -> str:
        """The name of its column."""
        return self.name if self.profile is None else f"{self.name}@{self.profile}"

    @property
    def kind(self) -> str:
        """One of ``rnncost.units.UNITS``."""
        return next((k for suffix, k in _SUFFIXES.items() if self.name.endswith(suffix)), "count")

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return self.kind in ("count", "bytes") and self.name != "fits"


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a metric may be; None for ``fits``, which must be true."""

    metric: Metric
    maximum: Union[int, float, None]


class Target:
    """What designs are evaluated for: profiles by name, and threads."""

    def __init__(self, profiles: Mapping[str, HardwareProfile], threads: int) -> None:
        self.profiles, self.threads = profiles, threads
        self._ready: dict[tuple[str, str | None], Estimator] = {}

    def estimator(self, profile: str, precision: str | None) -> Estimator:
        """A profile ready for arrays; made once."""
        key = (profile, precision)
        if key not in self._ready:
            self._ready[key] = estimator_of(
                self.profiles[profile], threads=self.threads, precision=precision
            )
        return self._ready[key]

    def columns(self, block: Block, metrics: Iterable[Metric]) -> dict[str, Column]:
        """Each metric of each design; whole numbers as floats."""
        stack, shape = block.stack, (len(block.numbers),)
        sizes = sizes_of(stack)
        return {
            metric.key: np.broadcast_to(self._values(metric, stack, sizes), shape)
            for metric in metrics
        }

    def _values(self, metric: Metric, stack: Stack, sizes: Sizes) -> Any:
        if metric.profile is None:
            return total(metric.name, stack)
        estimator = self.estimator(metric.profile, stack.precision)
        if metric.name == "latency_s":
            return estimator.latency_s(stack, sizes)
        if metric.name == "dram_bytes":
            return estimator.dram_bytes(stack)
        if metric.name == "energy_j":
            return estimator.energy_j(stack, sizes)
        return estimator.fits(sizes)


class Profiles:
    """Profiles by the names that they are given under and by their own; each is loaded once."""

    def __init__(self, given: Iterable[Any]) -> None:
        self.own: dict[str, HardwareProfile] = {}
        self._asked: dict[str, HardwareProfile] = {}
        for one in given:
            self.add(one)

    def add(self, given: Any) -> HardwareProfile:
        """The profile of a name, a path, or itself.

        Raises:
            ProfileError: there is none, it is wrong, or another one has its name.
        """
        if isinstance(given, HardwareProfile):
            profile = given
        else:
            text = str(given)
            found = self._asked.get(text) or self.own.get(text)
            profile = load_profile(given) if found is None else found
            self._asked[text] = profile
        if self.own.setdefault(profile.name, profile) != profile:
            raise ProfileError(
                f"two profiles are named {profile.name!r}: give one of them another name"
            )
        return profile


def metric_of(text: str, profiles: Profiles) -> Metric:
    """``"params"`` or ``"latency_s@raspberry-pi-4"`` as a metric.

    Raises:
        BindingError: there is no such metric, or a profile is missing or too many.
        ProfileError: the profile does not exist, or lacks the figures.
    """
    name, at, device = text.partition("@")
    if name not in METRICS:
        raise BindingError(
            f"there is no metric {name!r}{nearest(name, METRICS)} (docs/fit.md lists them)"
        )
    if name not in ESTIMATED:
        if at:
            raise BindingError(f"{name} is the same on every device: leave out @{device}")
        return Metric(name)
    if not device:
        raise BindingError(
            f"{name} needs a profile: write it as {name}@raspberry-pi-4 "
            "('rnncost profiles list' shows the names)"
        )
    profile = profiles.add(device)
    if name == "energy_j" and profile.energy is None:
        raise ProfileError(f"{profile.name} has no energy figures: leave out energy_j@{device}")
    if name == "fits" and profile.capacity is None:
        raise ProfileError(f"{profile.name} does not say how much memory it has: leave out fits")
    return Metric(name, profile.name)


def limit_of(text: str, maximum: Any, profiles: Profiles) -> Limit:
    """A metric with the most that it may be: a number in base units, or text with a unit.

    A whole metric has a whole limit, the next below; others the nearest float.

    Raises:
        BindingError, ProfileError: as ``metric_of``; or the limit is no number from 0 on.
    """
    metric = metric_of(text, profiles)
    if metric.name == "fits":
        if maximum is not True:
            raise BindingError(f"{text} is true or false and has no maximum: give --fits PROFILE")
        return Limit(metric=metric, maximum=None)
    value = _number(text, maximum, metric.kind)
    return Limit(metric=metric, maximum=math.floor(value) if metric.whole else float(value))


def _number(text: str, maximum: Any, kind: str) -> Fraction:
    if isinstance(maximum, str):
        try:
            return parse_quantity(maximum, kind)
        except ValueError as error:
            raise BindingError(f"the limit of {text}: {error}") from error
    try:
        value = float(maximum)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(maximum, bool) or not math.isfinite(value) or value < 0:
        raise BindingError(
            f"the limit of {text} must be a number from 0 on, or text with a unit, not {maximum!r}"
        )
    return Fraction(maximum if isinstance(maximum, int) else value)


def excess_of(
    limit: Limit, column: Column, block: Block, target: Target
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which designs miss a limit, and how many times the limit each of them is.

    Of a limit of 0 that is 1 more than the metric, of ``fits`` the share of the memory taken.
    """
    if limit.maximum is None:
        estimator = target.estimator(limit.metric.profile or "", block.stack.precision)
        filling = estimator.filling(sizes_of(block.stack))
        share = np.float64(math.inf if filling is None else filling)
        return ~column, np.broadcast_to(share, column.shape)
    bound = float(min(limit.maximum, _BEYOND))
    return column > bound, column / bound if bound else 1.0 + column
