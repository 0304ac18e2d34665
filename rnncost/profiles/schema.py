"""What a hardware profile holds. Each number carries its source and its kind.

All quantities are in base units, named by the suffix of their key: ``_s``, ``_bytes``,
``_bytes_per_s``, ``_macs_per_s``, ``_per_s``, ``_j``. docs/profiles.md explains each key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import Meta

SCHEMA_VERSION = 1

Precision = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "int8"]
Kind = Literal["cpu", "gpu", "mcu"]
Evidence = Literal["datasheet", "measured", "assumed"]

Text = Annotated[str, Meta(min_length=1)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=100)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Quantity(_Strict, frozen=True, kw_only=True):
    """A positive number, where it comes from, and how far to trust it."""

    value: Annotated[float, Meta(gt=0)]
    kind: Evidence
    source: Text
    note: str = ""


class Duration(_Strict, frozen=True, kw_only=True):
    """Seconds that something takes, zero allowed, and where the figure comes from."""

    value: Annotated[float, Meta(ge=0)]
    kind: Evidence
    source: Text
    note: str = ""


class Peaks(_Strict, frozen=True, kw_only=True):
    """The most MACs a second that one thread can reach, by precision (on a GPU: the device)."""

    fp32: Quantity
    fp64: Union[Quantity, None] = None
    tf32: Union[Quantity, None] = None
    fp16: Union[Quantity, None] = None
    bf16: Union[Quantity, None] = None
    int8: Union[Quantity, None] = None


class MemoryLevel(_Strict, frozen=True, kw_only=True):
    """A cache or memory. Levels are listed from the nearest to the farthest.

    ``per_core`` says that size and bandwidth are those of one core, so that n threads have
    n times both. ``holds`` restricts a level to weights or activations, as on a
    microcontroller whose weights stay in flash.
    """

    name: Text
    bandwidth_bytes_per_s: Quantity
    size_bytes: Union[Quantity, None] = None
    per_core: bool = False
    holds: Literal["all", "weights", "activations"] = "all"


class Overheads(_Strict, frozen=True, kw_only=True):
    """Fixed times: of a run, an executed operator, a recurrent step, a trip of a loop."""

    run_s: Duration
    op_s: Duration
    step_s: Duration
    loop_s: Duration


class Capacity(_Strict, frozen=True, kw_only=True):
    """The memory that weights and activations must fit, where it is a fixed size."""

    weight_bytes: Quantity
    activation_bytes: Quantity


class Energy(_Strict, frozen=True, kw_only=True):
    """Joules for one MAC, and for one byte from the farthest memory level."""

    mac_j: Quantity
    byte_j: Quantity


class Calibration(_Strict, frozen=True, kw_only=True):
    """When (ISO 8601) and on which machine the profile's numbers were measured."""

    date: Text
    host: Text


class HardwareProfile(_Strict, frozen=True, kw_only=True):
    """A device, described for the latency estimate."""

    schema_version: Literal[1]
    name: Name
    title: Text
    kind: Kind
    runtime: Literal["roofline"]
    version: Text
    threads: Annotated[int, Meta(ge=1, le=65536)]
    peak_macs_per_s: Peaks
    elementwise_per_s: Quantity
    memory: Annotated[tuple[MemoryLevel, ...], Meta(min_length=1, max_length=16)]
    overheads: Overheads
    capacity: Union[Capacity, None] = None
    energy: Union[Energy, None] = None
    calibration: Union[Calibration, None] = None

    @property
    def calibrated(self) -> bool:
        """Whether the numbers were measured on one machine together."""
        return self.calibration is not None


def profile_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a profile, as plain values."""
    schema = msgspec.json.schema(HardwareProfile)
    for definition in schema["$defs"].values():
        definition["description"] = " ".join(definition["description"].split())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rnncost hardware profile",
        **schema,
    }
