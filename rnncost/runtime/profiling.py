"""One profiled run in ONNX Runtime: which nodes executed, in which order, with which shapes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union

import msgspec

from rnncost.errors import MeasurementError
from rnncost.runtime.inputs import make_inputs
from rnncost.runtime.session import create_session, reason

MAX_EVENTS = 1_000_000
"""ONNX Runtime records no more events than this, and drops the others in silence."""

_SUFFIX = "_kernel_time"
_DTYPES = {"float": "float32", "double": "float64"}


class NodeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a node; inputs and outputs are element types and shapes.

    Only tensors are recorded, so an omitted input or a sequence leaves no entry.
    """

    name: str
    op_type: str
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    duration_s: float


class _Args(msgspec.Struct):
    op_name: str = ""
    input_type_shape: list[dict[str, list[int]]] = []
    output_type_shape: list[dict[str, list[int]]] = []


class _Event(msgspec.Struct):
    name: str
    dur: int = 0
    args: _Args = msgspec.field(default_factory=_Args)


def profile_nodes(
    model: bytes,
    *,
    shapes: Mapping[str, Sequence[int]],
    values: Mapping[str, Any] | None = None,
    external_data_folder: Union[str, Path, None] = None,
) -> tuple[NodeEvent, ...]:
    """Run a model once and return its node executions in the order in which they ended.

    Graph optimisation and weight prepacking are off, so that every node of the file runs
    as it stands there. Inputs without a value are made up (see ``make_inputs``).

    Raises:
        MeasurementError: the model cannot be loaded or run, or ran more nodes than are
            recorded.
        RuntimeUnavailableError: ONNX Runtime is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="rnncost-") as folder:
        session = create_session(
            model,
            optimization="disable",
            config={"session.disable_prepacking": "1"},
            external_data_folder=external_data_folder,
            profile_prefix=Path(folder) / "profile",
        )
        try:
            session.run(None, make_inputs(session, shapes=shapes, values=values))
        except MeasurementError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise MeasurementError(f"ONNX Runtime cannot run the model: {reason(error)}") from None
        finally:
            file = Path(session.end_profiling())
        data = file.read_bytes()
    return _parse(data)


def _parse(data: bytes) -> tuple[NodeEvent, ...]:
    try:
        events = msgspec.json.decode(data, type=list[_Event])
    except msgspec.DecodeError as error:
        raise MeasurementError(f"ONNX Runtime's profile cannot be read: {error}") from None
    if len(events) >= MAX_EVENTS:
        raise MeasurementError(
            f"the model runs more than the {MAX_EVENTS:,} nodes that ONNX Runtime records: "
            "give smaller dimensions"
        )
    return tuple(
        [
            NodeEvent(
                name=event.name.removesuffix(_SUFFIX),
                op_type=event.args.op_name,
                inputs=_shapes(event.args.input_type_shape),
                outputs=_shapes(event.args.output_type_shape),
                duration_s=event.dur * 1e-6,
            )
            for event in events
            if event.name.endswith(_SUFFIX)
        ]
    )


def _shapes(recorded: list[dict[str, list[int]]]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple(
        [
            (_DTYPES.get(dtype, dtype), tuple(shape))
            for entry in recorded
            for dtype, shape in entry.items()
        ]
    )
