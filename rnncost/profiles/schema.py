"""What a hardware profile holds. Each number carries its source and its kind.

All quantities are in base units, named by the suffix of their key: ``_s``, ``_bytes``,
``_bytes_per_s``, ``_macs_per_s``, ``_per_s``, ``_j``. docs/profiles.md explains each key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import Meta

from rnncost.profiles.extends import OWN_KEYS
from rnncost.profiles.onnxruntime import OnnxRuntimeCpu
from rnncost.profiles.quantities import (
    Duration,
    Evidence,
    Name,
    Quantity,
    Strict,
    Text,
)
from rnncost.profiles.runtimes import Cudnn, Mcu, PytorchCpu

SCHEMA_VERSION = 1
CURRENCY_PATTERN = r"^[A-Z]{3}$"

Precision = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "int8"]
Kind = Literal["cpu", "gpu", "mcu"]
Runtime = Literal["roofline", "onnxruntime-cpu", "cudnn", "pytorch-cpu", "mcu"]

RUNTIME_KINDS: dict[Runtime, tuple[Kind, ...]] = {
    "roofline": ("cpu", "gpu", "mcu"),
    "onnxruntime-cpu": ("cpu",),
    "pytorch-cpu": ("cpu",),
    "cudnn": ("gpu",),
    "mcu": ("mcu",),
}
"""The kinds of device that an execution model describes."""


class Peaks(Strict, frozen=True, kw_only=True):
    """The most MACs a second that one thread can reach, by precision (on a GPU: the device)."""

    fp32: Quantity
    fp64: Union[Quantity, None] = None
    tf32: Union[Quantity, None] = None
    fp16: Union[Quantity, None] = None
    bf16: Union[Quantity, None] = None
    int8: Union[Quantity, None] = None


class Processor(Strict, frozen=True, kw_only=True):
    """What data sheets say of the cores: streaming multiprocessors on a GPU.

    ``clock_hz`` is the highest sustained clock (boost on a GPU). ``register_bytes`` and
    ``shared_bytes`` are those of one core: its register file and its shared memory.
    ``isa`` names the widest vector extension that kernels use, as "avx2" or "neon".
    """

    cores: Union[Quantity, None] = None
    clock_hz: Union[Quantity, None] = None
    register_bytes: Union[Quantity, None] = None
    shared_bytes: Union[Quantity, None] = None
    power_w: Union[Quantity, None] = None
    isa: str = ""


class MemoryLevel(Strict, frozen=True, kw_only=True):
    """A cache or memory. Levels are listed from the nearest to the farthest.

    ``per_core`` says that size and bandwidth are those of one core, so that n threads have
    n times both. ``core_bandwidth_bytes_per_s`` is the most that one core draws from a
    shared level by itself. ``holds`` restricts a level to weights or activations, as on a
    microcontroller whose weights stay in flash.
    """

    name: Text
    bandwidth_bytes_per_s: Quantity
    core_bandwidth_bytes_per_s: Union[Quantity, None] = None
    size_bytes: Union[Quantity, None] = None
    per_core: bool = False
    holds: Literal["all", "weights", "activations"] = "all"


class Overheads(Strict, frozen=True, kw_only=True):
    """Fixed times: of a run, an executed operator, a recurrent step, a trip of a loop."""

    run_s: Union[Duration, None] = None
    op_s: Union[Duration, None] = None
    step_s: Union[Duration, None] = None
    loop_s: Union[Duration, None] = None


class Capacity(Strict, frozen=True, kw_only=True):
    """The memory that weights and activations must fit, where it is a fixed size."""

    weight_bytes: Quantity
    activation_bytes: Quantity


class Energy(Strict, frozen=True, kw_only=True):
    """Joules for one MAC, and for one byte from the farthest memory level."""

    mac_j: Quantity
    byte_j: Quantity


class Price(Strict, frozen=True, kw_only=True):
    """What an hour of the device costs, in a currency by its ISO 4217 code."""

    value: Annotated[float, Meta(gt=0)]
    currency: Annotated[str, Meta(pattern=CURRENCY_PATTERN)]
    source: Text


class Interval(Strict, frozen=True, kw_only=True):
    """Ratios of measured to estimated time that 5 % and 95 % of held-out cases lie below."""

    low: Annotated[float, Meta(gt=0, le=1)]
    high: Annotated[float, Meta(ge=1)]
    kind: Evidence
    source: Text


class HeldOut(Strict, frozen=True, kw_only=True):
    """How well calibrated constants predict cases that they were not fitted to.

    ``low`` and ``high`` are the ratios of measured to estimated time that 5 % and 95 % of the
    cases lie below.
    """

    what: Text
    threads: Annotated[int, Meta(ge=1)]
    cases: Annotated[int, Meta(ge=1)]
    median_error: Annotated[float, Meta(ge=0)]
    p90_error: Annotated[float, Meta(ge=0)]
    low: Annotated[float, Meta(gt=0, le=1)]
    high: Annotated[float, Meta(ge=1)]


class Calibration(Strict, frozen=True, kw_only=True):
    """When (ISO 8601) and on which machine the profile's numbers were measured.

    ``drift`` is how much the machine's speed went up and down meanwhile, ``scatter`` what
    was left of the spread of a single timing; both as shares. ``reference_s`` is what the
    reference kernel took, which tells how fast the machine is at another time.
    """

    date: Text
    host: Text
    runtime: str = ""
    reference_s: Union[Annotated[float, Meta(gt=0)], None] = None
    drift: Union[Annotated[float, Meta(ge=0)], None] = None
    scatter: Union[Annotated[float, Meta(ge=0)], None] = None
    held_out: tuple[HeldOut, ...] = ()


class HardwareProfile(Strict, frozen=True, kw_only=True):
    """A device, described for the latency estimate.

    ``runtime`` names the execution model; the block of the same name holds its constants,
    and what is absent there is taken from the model's own, which a note says.
    ``extends`` is what the file named as its parent, whose values are merged in already.
    """

    schema_version: Literal[1]
    name: Name
    extends: Union[Text, None] = None
    title: Text
    kind: Kind
    runtime: Runtime
    version: Text
    threads: Annotated[int, Meta(ge=1, le=65536)]
    peak_macs_per_s: Peaks
    memory: Annotated[tuple[MemoryLevel, ...], Meta(min_length=1, max_length=16)]
    processor: Processor = Processor()
    elementwise_per_s: Union[Quantity, None] = None
    overheads: Overheads = Overheads()
    onnxruntime_cpu: Union[OnnxRuntimeCpu, None] = None
    cudnn: Union[Cudnn, None] = None
    pytorch_cpu: Union[PytorchCpu, None] = None
    mcu: Union[Mcu, None] = None
    capacity: Union[Capacity, None] = None
    energy: Union[Energy, None] = None
    price_per_hour: Union[Price, None] = None
    interval: Union[Interval, None] = None
    calibration: Union[Calibration, None] = None

    @property
    def calibrated(self) -> bool:
        """Whether the numbers were measured on one machine together."""
        return self.calibration is not None


def profile_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a profile's file, as plain values.

    A file that extends another may leave out what it takes over from there.
    """
    schema = resolved_json_schema()
    whole = schema.pop("$ref")
    part = _add_part(whole, schema["$defs"])
    schema["$defs"][_title(part)]["required"] = list(OWN_KEYS)
    return {
        **schema,
        "if": {"required": ["extends"]},
        "then": {"$ref": part},
        "else": {"$ref": whole},
    }


def _add_part(reference: str, definitions: dict[str, Any]) -> str:
    """Add a copy of a mapping's definition in which nothing is required, and return its name.

    A number with its source stays as it is, as do lists: they are replaced as a whole.
    """
    definition = definitions[_title(reference)]
    if "value" in definition["properties"]:
        return reference

    def part_of(schema: dict[str, Any]) -> dict[str, Any]:
        if "$ref" in schema:
            return {**schema, "$ref": _add_part(schema["$ref"], definitions)}
        if "anyOf" in schema:
            return {**schema, "anyOf": [part_of(choice) for choice in schema["anyOf"]]}
        return schema

    part = f"Part{_title(reference)}"
    properties = {key: part_of(value) for key, value in definition["properties"].items()}
    definitions[part] = {**definition, "properties": properties, "required": []}
    return f"#/$defs/{part}"


def _title(reference: str) -> str:
    return reference.removeprefix("#/$defs/")


def resolved_json_schema() -> dict[str, Any]:
    """The JSON Schema of a profile with all that it extends merged in."""
    # Through JSON, so that all values are JSON's own (defaults are tuples before).
    schema = msgspec.json.decode(msgspec.json.encode(msgspec.json.schema(HardwareProfile)))
    for definition in schema["$defs"].values():
        definition["description"] = " ".join(definition["description"].split())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rnncost hardware profile",
        **schema,
    }
