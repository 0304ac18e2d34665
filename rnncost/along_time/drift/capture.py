"""The states of one layer, call by call: of the model as it is and of a quantised one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time.calls import Call, difference, make_call, run
from rnncost.along_time.cells import Cell
from rnncost.along_time.constants import stored_weights
from rnncost.along_time.drift.cells import Scans
from rnncost.along_time.exposing import exposed, returned
from rnncost.along_time.feeds import Feeds
from rnncost.along_time.layers import cells
from rnncost.along_time.nodes import FreshNames, Place, all_names, node_at, places
from rnncost.along_time.running import NotRunError, layer_calls, seen_calls
from rnncost.along_time.sequences import TOLERANCE
from rnncost.along_time.source import OnnxModel
from rnncost.errors import MeasurementError
from rnncost.runtime.quantize import crash

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class Trace(msgspec.Struct, frozen=True):
    """One direction of a call; ``c`` [T, B, H] is an LSTM's cell state after each step.

    Where it is not known, ``c`` is None and ``why`` says so.
    """

    call: Call
    c: Array | None
    why: str = ""


Traces = Iterator[list[Trace]]


def run_traces(source: OnnxModel, place: Place, feeds: Feeds, ways: Sequence[str]) -> Traces:
    """What a layer does in a model that ONNX Runtime runs as it is.

    Of an LSTM the cell state is computed by the equations from what the layer read, and held
    against the runtime's outputs.

    Raises:
        MeasurementError: ONNX Runtime cannot run the model.
        NotRunError: the layer is not run.
    """
    parts: Sequence[Cell | None] = [None] * len(ways)
    why = ""
    node = node_at(source.proto, place)
    if "LSTM" in node.op_type:
        try:
            parts = cells(node, stored_weights(source.proto, place, source.folder))
        except (MeasurementError, ValueError) as error:
            why = str(error)
    for _, calls in layer_calls(source, place, feeds, ways):
        yield [_traced(call, cell, why) for call, cell in zip(calls, parts, strict=True)]


def emulated_traces(
    source: OnnxModel, scans: Scans, loops: int, feeds: Feeds, ways: Sequence[str]
) -> Traces:
    """What a layer does in a model whose rounding is emulated.

    Raises:
        MeasurementError: ONNX Runtime cannot run the model.
        NotRunError: the layer is not run.
    """
    if loops > 1:
        raise NotRunError("it stands in a loop inside a loop")
    model = type(source.proto)()
    model.CopyFrom(source.proto)
    names = returned(model, scans.path, scans.values, FreshNames(all_names(model.graph)))
    lstm = "C" in scans.values
    for _, seen in seen_calls(source, model, names, loops, feeds):
        found = []
        for number, way in enumerate(ways):
            call = make_call(seen, number, way == "reverse", lstm)
            c = None
            if lstm:
                c = make_call({**seen, "Y": seen["C"]}, number, way == "reverse", lstm).y
            found.append(Trace(call, c))
        yield found


def check_crash(source: OnnxModel, place: Place, folder: Path) -> None:
    """Make sure that a layer can be looked at without a crash.

    Raises:
        NotRunError: ONNX Runtime crashes.
    """
    path = folder / "exposed.onnx"
    path.write_bytes(exposed(source.proto, place)[0].SerializeToString())
    fault = crash(path)
    if fault:
        raise NotRunError(f"its states cannot be returned: {fault}")


def matching(before: OnnxModel, after: OnnxModel) -> dict[Place, Place | None]:
    """For each recurrent operator of a model the one of its quantised self that gives the same.

    It stands at the same depth in bodies of the same kind, and has an output or the name in common.
    Several of them, as of two branches that are alike, are taken in their order.
    """
    candidates = list(places(after.proto.graph))
    found: dict[Place, Place | None] = {}
    for place in places(before.proto.graph):
        fits = [one for one in candidates if _alike(before, place, after, one)]
        found[place] = fits[0] if fits else None
        candidates = [one for one in candidates if one is not found[place]]
    return found


def _alike(before: OnnxModel, place: Place, after: OnnxModel, other: Place) -> bool:
    def way(one: Place) -> list[tuple[str, str]]:
        return [(step.attribute, step.op_type) for step in one.path]

    if way(place) != way(other):
        return False
    node, candidate = node_at(before.proto, place), node_at(after.proto, other)
    shared = set(filter(None, node.output)) & set(candidate.output)
    return bool(shared) or candidate.name in (place.name, f"{place.name}_quant")


def _traced(call: Call, cell: Cell | None, why: str) -> Trace:
    import numpy as np

    if cell is None:
        return Trace(call, None, why)
    states = []
    with np.errstate(over="ignore", invalid="ignore"):
        for part in run(cell, call, 0, 0):
            found = difference(call, part)
            if not found <= TOLERANCE:
                return Trace(
                    call,
                    None,
                    f"outputs computed anew differ from the runtime's by {found:.1e}, more than "
                    f"{TOLERANCE:.0e}",
                )
            if part.block.c is not None:
                states.append(part.block.c)
    return Trace(call, np.concatenate(states) if states else None, "")
