"""ONNX Runtime's profiler: which nodes executed, in which order, how long, with which shapes."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import msgspec

from rnncost.errors import MeasurementError
from rnncost.runtime.inputs import make_inputs
from rnncost.runtime.session import create_session, reason

if TYPE_CHECKING:
    import onnxruntime

MAX_RUN_S = 60.0
"""A run that takes longer than this is stopped."""

MAX_EVENTS = 1_000_000
"""ONNX Runtime records no more events than this, and drops the others in silence."""

NODE_END = "_kernel_time"
"""How the name of a node's event ends."""

_DTYPES = {"float": "float32", "double": "float64"}


Shapes = tuple[tuple[str, tuple[int, ...]], ...]
"""Element type and shape of each tensor."""


class NodeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a node; inputs and outputs are element types and shapes.

    Only tensors are recorded, so an omitted input or a sequence leaves no entry.
    """

    name: str
    op_type: str
    inputs: Shapes
    outputs: Shapes
    duration_s: float


class _Args(msgspec.Struct):
    op_name: str = ""
    input_type_shape: list[dict[str, list[int]]] = []
    output_type_shape: list[dict[str, list[int]]] = []


class Event(msgspec.Struct):
    """One line of a profile; ``ts`` and ``dur`` are whole microseconds, cut off."""

    name: str
    ts: int = 0
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
        MeasurementError: the model cannot be loaded or run, or runs longer, or more
            nodes, than is recorded.
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
            _run(session, make_inputs(session, shapes=shapes, values=values))
        finally:
            file = Path(session.end_profiling())
        with file.open("rb") as lines:
            return _parse(lines)


def _run(session: onnxruntime.InferenceSession, inputs: Mapping[str, Any]) -> None:
    """Run once, and stop a run that does not end."""
    import onnxruntime as ort

    options = ort.RunOptions()
    late = threading.Event()

    def stop() -> None:
        late.set()
        options.terminate = True

    timer = threading.Timer(MAX_RUN_S, stop)
    timer.daemon = True
    timer.start()
    try:
        session.run(None, inputs, options)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        if late.is_set():
            raise MeasurementError(
                f"the run was stopped after {MAX_RUN_S:g} s: give smaller dimensions, "
                "or check that its loops end"
            ) from None
        raise MeasurementError(f"ONNX Runtime cannot run the model: {reason(error)}") from None
    finally:
        timer.cancel()


def read_events(lines: Iterable[bytes], wanted: Sequence[bytes]) -> Iterator[Event]:
    """The events of a profile, which has one a line, whose line holds one of ``wanted``.

    Raises:
        MeasurementError: the profile cannot be read, or events were dropped.
    """
    recorded = 0
    decoder = msgspec.json.Decoder(Event)
    for line in lines:
        recorded += 1
        if not any(part in line for part in wanted):
            continue
        try:
            yield decoder.decode(line.rstrip().rstrip(b","))
        except msgspec.DecodeError as error:
            raise MeasurementError(f"ONNX Runtime's profile cannot be read: {error}") from None
    if recorded >= MAX_EVENTS:
        raise MeasurementError(
            f"the model runs more than the {MAX_EVENTS:,} nodes that ONNX Runtime records: "
            "give smaller dimensions"
        )


def _parse(lines: Iterable[bytes]) -> tuple[NodeEvent, ...]:
    """Read a profile without holding all of it."""
    found: list[NodeEvent] = []
    pool: dict[Shapes, Shapes] = {}  # a loop records the same shapes at every trip
    for event in read_events(lines, [NODE_END.encode()]):
        if event.name.endswith(NODE_END):
            inputs = _shapes(event.args.input_type_shape)
            outputs = _shapes(event.args.output_type_shape)
            found.append(
                NodeEvent(
                    name=event.name.removesuffix(NODE_END),
                    op_type=event.args.op_name,
                    inputs=pool.setdefault(inputs, inputs),
                    outputs=pool.setdefault(outputs, outputs),
                    duration_s=event.dur * 1e-6,
                )
            )
    return tuple(found)


def _shapes(recorded: list[dict[str, list[int]]]) -> Shapes:
    return tuple(
        [
            (_DTYPES.get(dtype, dtype), tuple(shape))
            for entry in recorded
            for dtype, shape in entry.items()
        ]
    )
