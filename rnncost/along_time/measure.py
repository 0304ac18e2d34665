"""``numerics``: run a model, look into its recurrent layers one after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time import states as state_flow
from rnncost.along_time.constants import stored_weights
from rnncost.along_time.data import model_inputs, read_data
from rnncost.along_time.drift import measure as drifting
from rnncost.along_time.feeds import Feeds, chunked, table_rows
from rnncost.along_time.layers import KINDS, cells, directions
from rnncost.along_time.memory import layer_memory, weights_memory
from rnncost.along_time.model import InputsUsed, LayerMemory, NotAnalysed, Numerics
from rnncost.along_time.nodes import Place, node_at, places
from rnncost.along_time.running import NotRunError, layer_calls
from rnncost.along_time.sequences import Sequences
from rnncost.along_time.source import OnnxModel, as_onnx
from rnncost.analysis import analyze
from rnncost.errors import BindingError, MeasurementError, ModelError

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import torch

    from rnncost.along_time.cells import Cell
    from rnncost.report.model import Bindings, Report

Progress = Callable[[str], None]

_UNROLLED = (
    "its steps are products without a recurrent operator, so its gates are not known as such: "
    "export it with its layer as LSTM, GRU or RNN"
)


def numerics(
    model: str | Path | onnx.ModelProto | torch.nn.Module | torch.export.ExportedProgram,
    inputs: tuple[Any, ...] = (),
    *,
    data: str | Path | np.ndarray[Any, Any] | Mapping[str, Any] | None = None,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Iterable[int]] | None = None,
    values: Mapping[str, Any] | None = None,
    chunks: int = 1,
    states: Mapping[str, str] | None = None,
    step_period_s: float | None = None,
    seed: int = 0,
    weights_only: bool = False,
    precisions: Iterable[str] = (),
    limit_db: float = 20.0,
    measure: bool = False,
    progress: Progress | None = None,
) -> Numerics:
    """How long each recurrent layer of a model remembers, measured on a run.

    The model is run in ONNX Runtime. For every LSTM, GRU and RNN operator the gates are
    computed anew from what the operator read, its outputs are held against the runtime's
    (largest difference 1e-5), and the products of its gates and the norms of gradients are
    followed along time. docs/numerics.md defines every figure.

    Args:
        model: as for ``rnncost.analyze``; what PyTorch has is exported to ONNX first.
        inputs: for a module, its positional arguments.
        data: what to run on: path of an .npy or .npz file, an array, or arrays by the names
            of inputs. Inputs without data are made up with ``seed``; the result says how.
        dims, shapes, values: as for ``rnncost.analyze``.
        chunks: run the model so many times, each time from the states of the run before. Data
            may have one axis more in front, for the chunks.
        states: outputs that are handed on to inputs, as ``{input: output}``, besides those
            that are found.
        step_period_s: the time between two steps of a recurrent layer: adds times in seconds.
        seed: of inputs that are made up, and of random gradients.
        weights_only: do not run the model; only what the weights suggest is told.
        precisions: also compare the model with itself in these: ``int8`` (ONNX Runtime's dynamic
            quantisation), ``int8-emulated`` (comes with int8 where that leaves recurrent layers
            in 32 bits: these are emulated), ``qdq`` (its static one, calibrated on the inputs),
            ``fp16``, ``fp16-emulated``, ``bf16`` (emulated), ``fp32``.
        limit_db: tell the first step whose signal-to-noise ratio is below it.
        measure: also measure the latency in each precision.
        progress: is called with a line now and then.

    Raises:
        ModelError: the model cannot be read or followed, or has no recurrence.
        BindingError: data, a dimension, shape, value, state or number does not fit.
        MeasurementError: ONNX Runtime cannot run the model.
        RuntimeUnavailableError: a package is not installed.
    """
    _check(chunks, step_period_s, seed)
    wanted = drifting.asked(precisions, limit_db, step_period_s, measure=measure)
    if wanted.precisions and weights_only:
        raise BindingError("other precisions are compared on a run, and weights_only runs none")
    source = as_onnx(model, inputs, dims=dims, shapes=shapes, values=values)
    own_inputs = model_inputs(source.proto)
    if states:
        state_flow.check_states(source.proto, states)
    starts = frozenset(state_flow.state_inputs(source.proto)) | frozenset(states or ())
    arrays = dict(source.given)
    if data is not None:
        arrays |= read_data(data, own_inputs, {*starts, *source.values})
    given = chunked(own_inputs, arrays, chunks)
    per_chunk = {name for name, (_, counted) in given.items() if counted}
    report = _report(source, given)
    unrolled = _unrolled(report)
    found = list(places(source.proto.graph))
    if not found and not unrolled:
        raise ModelError(
            f"{source.name} has no recurrent layer: there is no LSTM, GRU or RNN operator, nor "
            "a loop or chain of products in it"
        )
    feeds = Feeds(
        inputs=own_inputs,
        bindings=report.bindings,
        given=given,
        states=state_flow.handed_on(source.proto, states or {}, per_chunk) if chunks > 1 else {},
        zero=starts,
        rows=table_rows(source.proto.graph),
        chunks=chunks,
        seed=seed,
    )
    look = _Look(source, feeds, step_period_s, weights_only, progress or (lambda _: None))
    for number, place in enumerate(found, 1):
        look.at(place, f"layer {number} of {len(found)}, {place.name}")
    drift = None
    if wanted.precisions:

        def report_of(other: OnnxModel, precision: str | None) -> Report:
            return _report(other, given, profiles=None, precision=precision)

        drift = drifting.measure_drift(source, feeds, wanted, report_of, look.progress)
    return Numerics(
        model=source.name,
        runtime="" if weights_only else _runtime(),
        bindings=_told(report.bindings, given),
        inputs=InputsUsed(source="none") if weights_only else feeds.used(_name_of(data)),
        step_period_s=step_period_s,
        layers=look.layers,
        drift=drift,
        not_analysed=[*look.not_analysed, *unrolled],
        notes=_notes(report, look, feeds),
        warnings=[*source.warnings, *_warnings(look, feeds, states)],
    )


class _Look:
    """What has been found so far."""

    def __init__(
        self,
        source: OnnxModel,
        feeds: Feeds,
        step_period_s: float | None,
        weights_only: bool,
        progress: Progress,
    ) -> None:
        self.source = source
        self.feeds = feeds
        self.step_period_s = step_period_s
        self.weights_only = weights_only
        self.progress = progress
        self.layers: list[LayerMemory] = []
        self.not_analysed: list[NotAnalysed] = []

    def at(self, place: Place, told: str) -> None:
        """Look into one operator."""
        node = node_at(self.source.proto, place)
        try:
            self.progress(f"{told}: reading its weights")
            weights = stored_weights(self.source.proto, place, self.source.folder)
            parts = cells(node, weights)
            ways = directions(node)
        except (MeasurementError, ValueError) as error:
            self._refuse(place, str(error))
            return
        if self.weights_only:
            for cell, way in zip(parts, ways, strict=True):
                self.layers.append(weights_memory(place, way, cell))
            return
        try:
            runs = self._run(place, parts, ways, told)
        except NotRunError as error:
            self._refuse(place, str(error))
            return
        for cell, way, run in zip(parts, ways, runs, strict=True):
            self.progress(f"{told}, {way}: following gates and gradients")
            self.layers.append(layer_memory(place, way, cell, run, self.step_period_s))

    def _run(
        self, place: Place, parts: Sequence[Cell], ways: Sequence[str], told: str
    ) -> list[Sequences]:
        runs = [Sequences(cell, self.feeds.seed) for cell in parts]
        for chunk, calls in layer_calls(self.source, place, self.feeds, ways):
            if self.feeds.chunks > 1:
                here = f"{told}: chunk {chunk + 1} of {self.feeds.chunks}"
            else:
                here = f"{told}: computing its gates"
            self.progress(here)
            for run in runs:
                call = calls.pop(0)  # so that the last one is not held until the end
                steps = len(call.x)
                if run.matches:
                    for done in run.add(call):
                        self.progress(f"{here}, step {done:,} of {steps:,}")
                del call
        for run in runs:
            run.close()
        return runs

    def _refuse(self, place: Place, why: str) -> None:
        self.not_analysed.append(NotAnalysed(name=place.name, op_type=place.op_type, reason=why))


def _check(chunks: int, step_period_s: float | None, seed: int) -> None:
    if isinstance(chunks, bool) or not isinstance(chunks, int) or chunks < 1:
        raise BindingError(f"chunks must be a whole number from 1 on, not {chunks!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise BindingError(f"the seed must be a whole number from 0 on, not {seed!r}")
    if step_period_s is not None and not 0 < step_period_s < math.inf:
        raise BindingError(f"the step period must be a time above 0, not {step_period_s!r}")


def _report(
    source: OnnxModel,
    given: Mapping[str, tuple[np.ndarray[Any, Any], bool]],
    *,
    profiles: tuple[str, ...] | None = (),
    precision: str | None = None,
) -> Report:
    """What ``analyze`` says about one chunk: shapes for all inputs, and what is unrolled.

    Raises:
        BindingError: a given shape contradicts the data.
    """
    shapes: dict[str, Iterable[int]] = {n: tuple(s) for n, s in source.shapes.items()}
    values: dict[str, Any] = dict(source.values)
    dims = dict(source.dims)
    for name, sizes in source.sizes.items():
        if name not in given:
            dims |= sizes
    for name, (array, counted) in given.items():
        one = array[0] if counted else array
        if name in values:
            raise BindingError(f"input {name!r} has a value and data: give one of them")
        if shapes.get(name, one.shape) != one.shape:
            raise BindingError(
                f"the shape of input {name!r} is {list(shapes[name])}, and that of its data "
                f"{list(one.shape)}"
            )
        if one.dtype.kind in "iub" and one.size <= _FEW:
            values[name] = one  # it may settle a branch or a number of trips
            shapes.pop(name, None)
        else:
            shapes[name] = one.shape
    return analyze(
        source.path if source.path is not None else source.proto,
        dims=dims,
        shapes=shapes,
        values=values,
        profiles=profiles,
        precision=precision,
        symbolic=False,
        sha256=False,
    )


_FEW = 4096


def _told(bindings: Bindings, given: Mapping[str, Any]) -> Bindings:
    """The bindings without the elements of data."""
    values = {name: value for name, value in bindings.values.items() if name not in given}
    return msgspec.structs.replace(bindings, values=values)


def _unrolled(report: Report) -> list[NotAnalysed]:
    """Recurrences that are no recurrent operators."""
    return [
        NotAnalysed(name=row.name, op_type=row.op_type, reason=_UNROLLED)
        for row in report.ops
        if row.kind == "recurrent" and row.op_type.rpartition("::")[2] not in KINDS
    ]


def _notes(report: Report, look: _Look, feeds: Feeds) -> list[str]:
    """What a reader must know to read the figures right."""
    found = []
    bindings = report.bindings
    if bindings.assumed and not look.weights_only:
        assumed = [f"{name} = {bindings.dims[name]}" for name in bindings.assumed]
        found.append(f"assumed, as nobody gave them: {', '.join(assumed)}")
    made_up = feeds.used("").generated
    lengths = sorted(state_flow.length_inputs(look.source.proto) & made_up.keys())
    if lengths and not look.weights_only:
        found.append(
            f"{', '.join(lengths)} says how many steps each row has, and was made up as 1: give it "
            "with --value or --data"
        )
    ran = [layer for layer in look.layers if layer.calls]
    if len({layer.steps for layer in ran}) > 1 and look.step_period_s is not None:
        found.append(
            "layers differ in the number of their steps: the step period is taken for a step of "
            "each of them"
        )
    return found


def _warnings(look: _Look, feeds: Feeds, states: Mapping[str, str] | None) -> list[str]:
    if look.weights_only:
        return []
    if feeds.chunks == 1:
        return ["states are handed on between chunks, and there is one"] if states else []
    found = []
    lost = sorted(feeds.zero - feeds.states.keys() - feeds.given.keys())
    if lost:
        found.append(
            f"no output was found that goes on as {', '.join(lost)}: each chunk starts at "
            "zero; name the output with --state INPUT=OUTPUT"
        )
    fixed = sorted((feeds.zero - feeds.states.keys()) & feeds.given.keys())
    if fixed:
        found.append(f"each chunk starts with the data of {', '.join(fixed)}: it is not handed on")
    if not feeds.zero:
        found.append("the model has no states as inputs: each chunk is a sequence of its own")
    apart = [
        layer.name
        for layer in look.layers
        if feeds.states and layer.calls > 1 and not layer.carried and not layer.withheld
    ]
    if apart and not lost and not fixed:
        found.append(
            f"states are handed on, but no call of {', '.join(dict.fromkeys(apart))} starts with "
            "what the one before ended with: each is a sequence of its own"
        )
    return found


def _runtime() -> str:
    from rnncost.runtime.machine import runtime_version

    return runtime_version()


def _name_of(data: Any) -> str:
    return str(data) if isinstance(data, (str, Path)) else ""
