"""The result of an accuracy suite: cases, each a measured time beside predictions of it."""

from __future__ import annotations

from typing import Annotated, Union

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One measured time, what the model predicts for it, and what the baselines predict.

    ``group`` is the part of the suite whose figures are reported together. ``features``
    describe the case (cell, hidden size, threads, ...): the same names in every case of a
    group. ``low_s`` and ``high_s`` bound the 90 % interval. ``baselines`` are predicted
    seconds by the name of the baseline. Times are in seconds, all above zero.
    """

    name: str
    group: str
    features: dict[str, Union[str, int, float]]
    measured_s: Seconds
    predicted_s: Seconds
    low_s: Union[Seconds, None] = None
    high_s: Union[Seconds, None] = None
    baselines: dict[str, Seconds] = {}


class SuiteResult(msgspec.Struct, frozen=True, kw_only=True):
    """The cases of one suite. ``facts`` say where they come from (machine, runtime, date,
    seed, profile); ``notes`` what a reader must know, as a machine too noisy to judge.
    """

    suite: str
    cases: list[Case]
    facts: dict[str, str] = {}
    notes: list[str] = []
