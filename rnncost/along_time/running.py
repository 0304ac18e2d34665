"""Running a model so that one recurrent operator's calls are seen, chunk after chunk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnncost.along_time.calls import Call, make_call
from rnncost.along_time.exposing import exposed
from rnncost.along_time.feeds import Feeds
from rnncost.along_time.layers import KINDS
from rnncost.along_time.nodes import Place
from rnncost.along_time.source import OnnxModel
from rnncost.errors import MeasurementError
from rnncost.runtime.session import create_session, reason

if TYPE_CHECKING:
    import numpy as np
    import onnx

    Array = np.ndarray[Any, np.dtype[Any]]


Session = Any
"""An ``onnxruntime.InferenceSession``."""


class NotRunError(Exception):
    """The model runs, but nothing is seen of this operator."""


def layer_calls(
    source: OnnxModel, place: Place, feeds: Feeds, ways: Sequence[str]
) -> Iterator[tuple[int, list[Call]]]:
    """Each call of an operator, with its chunk: one ``Call`` for each of its directions.

    Raises:
        MeasurementError: ONNX Runtime cannot load or run the model.
        NotRunError: the operator is not run, or what it reads cannot be returned.
    """
    if place.loops > 1:
        raise NotRunError("it stands in a loop inside a loop")
    model, names = exposed(source.proto, place)
    for chunk, call in seen_calls(source, model, names, place.loops, feeds):
        yield chunk, _directions(call, place, ways)


def seen_calls(
    source: OnnxModel, model: onnx.ModelProto, names: Mapping[str, str], loops: int, feeds: Feeds
) -> Iterator[tuple[int, Mapping[str, Array]]]:
    """What a rewritten model returns of one operator, call by call, with the chunk of each.

    Args:
        source: the model before it was rewritten.
        model: the one that is run.
        names: its further outputs by the names that the operator knows them by.
        loops: how many loops are around the operator, at most 1.
        feeds: what it is fed.

    Raises:
        MeasurementError: ONNX Runtime cannot load or run the model.
        NotRunError: the operator is not run, or what it reads cannot be returned.
    """
    session = _session(model, source, feeds)
    states = dict(feeds.states)
    handed: dict[str, Array] = {}
    executed = False
    for chunk in range(feeds.chunks):
        feed = feeds.first(session, chunk) | handed
        wanted = [*names.values(), *dict.fromkeys(states.values())]
        values = dict(zip(wanted, _outputs(session, wanted, feed, source), strict=True))
        del feed  # the caller works on this chunk now, and memory is that of what it is given
        handed = {name: values[output] for name, output in states.items()}
        seen = {key: values.pop(name) for key, name in names.items()}
        if seen["X"].ndim != 3 + loops:
            continue  # the empty output of a branch that is not taken
        for call in _trips(seen, loops):
            if call["X"].size:
                executed = True
                yield chunk, call
    if not executed:
        raise NotRunError(
            "it was not run: the branch or loop that it stands in is not entered with these inputs"
        )


def _directions(values: Mapping[str, Array], place: Place, ways: Sequence[str]) -> list[Call]:
    lstm = KINDS[place.op_type] == "lstm"
    return [make_call(values, number, way == "reverse", lstm) for number, way in enumerate(ways)]


def _trips(seen: Mapping[str, Array], loops: int) -> Iterator[Mapping[str, Array]]:
    if not loops:
        yield seen
        return
    for trip in range(len(seen["X"])):
        yield {key: value[trip] for key, value in seen.items()}


def _session(model: onnx.ModelProto, source: OnnxModel, feeds: Feeds) -> Session:
    try:
        # What operators need while they run is often more than the layer's activations.
        return create_session(_serialised(model), external_data_folder=source.folder, arena=False)
    except MeasurementError as error:
        plain = _plain(source)  # its own fault comes first
        _outputs(plain, None, feeds.first(plain, 0), None)
        raise NotRunError(f"what it reads cannot be returned: {error}") from None


def _plain(source: OnnxModel) -> Session:
    return create_session(_serialised(source.proto), external_data_folder=source.folder)


def _serialised(model: onnx.ModelProto) -> bytes:
    try:
        data: bytes = model.SerializeToString()
    except ValueError:
        raise MeasurementError(
            "the model is too large to be rewritten in memory: save it with its weights in a file "
            "of their own (onnx.save with save_as_external_data=True)"
        ) from None
    return data


def _outputs(
    session: Session,
    wanted: Sequence[str] | None,
    feed: Mapping[str, Array],
    source: OnnxModel | None,
) -> list[Array]:
    """Run once; with ``source``, a fault that the model itself has not is the rewriting's."""
    try:
        outputs: list[Array] = session.run(wanted, dict(feed))
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        if source is not None:
            _outputs(_plain(source), None, feed, None)
            raise NotRunError(f"what it reads cannot be returned: {reason(error)}") from None
        raise MeasurementError(f"ONNX Runtime cannot run the model: {reason(error)}") from None
    return outputs
