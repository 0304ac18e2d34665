"""Numbers of a profile: each carries its source and its kind of evidence."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Evidence = Literal["datasheet", "measured", "assumed"]
Text = Annotated[str, Meta(min_length=1)]
NAME_PATTERN = r"^[a-z0-9][a-z0-9.-]*$"
Name = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=100)]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keys that are not known are refused."""


class Quantity(Strict, frozen=True, kw_only=True):
    """A positive number, where it comes from, and how far to trust it."""

    value: Annotated[float, Meta(gt=0)]
    kind: Evidence
    source: Text
    note: str = ""


class Duration(Strict, frozen=True, kw_only=True):
    """Seconds that something takes, zero allowed, and where the figure comes from."""

    value: Annotated[float, Meta(ge=0)]
    kind: Evidence
    source: Text
    note: str = ""
