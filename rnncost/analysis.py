"""``analyze``: from a model to its report."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from rnncost import __version__
from rnncost.counting.count import Counted, CountedOp, Counts, count
from rnncost.errors import BindingError, ModelError, ShapeError
from rnncost.graph.dim import Dim, evaluate, hint
from rnncost.graph.source import InputValue, Request, Source
from rnncost.latency import estimate
from rnncost.profiles.schema import HardwareProfile
from rnncost.profiles.store import host_profile, load_profile
from rnncost.report.model import (
    Bindings,
    ModelInfo,
    OpRow,
    Report,
    Tool,
    Totals,
    Training,
    UncountedOp,
)
from rnncost.training.options import Options, training_options

if TYPE_CHECKING:
    import onnx
    import torch

    Model: TypeAlias = str | Path | onnx.ModelProto | torch.nn.Module | torch.export.ExportedProgram

_LARGEST_COUNT = 10**280
_MOST_DIMENSIONS = 64

SYMBOLIC_METRICS = (
    "macs",
    "dense_macs",
    "sequential_macs",
    "multiplies",
    "adds",
    "bias_adds",
    "activations",
    "activation_bytes",
    "state_bytes",
    "streamed_bytes",
    "sequential_steps",
)
"""Totals that are also given as formulas in the free dimensions."""


def analyze(
    model: Model,
    inputs: tuple[Any, ...] = (),
    *,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Iterable[int]] | None = None,
    values: Mapping[str, Any] | None = None,
    trace: bool = False,
    assume: bool = True,
    profiles: str | Path | HardwareProfile | Iterable[str | Path | HardwareProfile] | None = None,
    threads: int = 1,
    precision: str | None = None,
    symbolic: bool = True,
    sha256: bool = True,
    training: bool = False,
    optimizer: str | None = None,
    bptt: int | None = None,
    checkpoint: bool | int = False,
) -> Report:
    """Count what a model costs, and estimate its latency on each profile.

    Args:
        model: path of an .onnx file or a .pt2 export, ``"package.module:factory"``, an
            ``onnx.ModelProto``, a ``torch.nn.Module`` or a ``torch.export.ExportedProgram``.
        inputs: for a module, its positional arguments: real or meta tensors.
        dims: values of free dimensions by name.
        shapes: shapes of inputs by name.
        values: values of inputs by name (numbers, nested lists or arrays); they settle
            branches and trip counts.
        trace: run the model once, in ONNX Runtime or PyTorch, and count what was executed.
        assume: bind free dimensions that nobody gave to stated defaults (batch-like 1,
            others 100) instead of refusing.
        profiles: names or paths of hardware profiles, or loaded ones; by default the
            profile of this machine, where ``rnncost calibrate`` has written one.
        threads: threads of the runtime that the estimates are for.
        precision: estimate as if the model ran in fp32, tf32, fp16, bf16 or int8.
        symbolic: also give the totals as formulas in the free dimensions.
        sha256: record the hash of the model file (a large file takes a while to hash).
        training: also give what a training step costs, a module in training mode.
        optimizer: adam (the default), sgd, sgd-momentum or none.
        bptt: back-propagation through time is truncated to so many steps.
        checkpoint: keep the states of every so many steps (True: the square root of all).

    Raises:
        ModelError: the model cannot be read or followed.
        BindingError: a dimension, shape or value does not fit the model.
        ProfileError: a profile is missing or wrong.
    """
    options = training_options(training, optimizer, bptt, checkpoint, precision)
    loaded, threads = _profiles(profiles), _whole("threads", threads)
    request = request_of(dims, shapes, values, trace=trace, assume=assume)
    source = _load(model, inputs, request)
    counted = count(source.graph)
    _check_size(counted)
    formulas, formula_warnings = _formulas(source, counted) if symbolic else (None, ())
    return Report(
        tool=Tool("rnncost", __version__),
        model=ModelInfo(
            path=source.path,
            format=source.format,
            sha256=_sha256(source.path) if sha256 else "",
            producer=source.producer,
            opset=dict(source.opset),
        ),
        bindings=Bindings(
            dims=dict(source.dims),
            assumed=list(source.assumed),
            shapes={name: list(shape) for name, shape in source.shapes.items()},
            values={name: _plain(value) for name, value in source.values.items()},
            traced=source.traced,
        ),
        totals=_totals(counted),
        ops=[_row(op) for op in counted.ops],
        uncounted=[UncountedOp(u.name, u.op_type, u.reason) for u in counted.uncounted],
        coverage=counted.coverage,
        estimates=[
            estimate(counted, profile, threads=threads, precision=precision) for profile in loaded
        ],
        symbolic=formulas,
        training=None
        if options is None
        else _training(model, inputs, request, source, options, loaded, threads, precision),
        warnings=[*source.warnings, *counted.warnings, *formula_warnings],
    )


def request_of(
    dims: Mapping[str, int] | None,
    shapes: Mapping[str, Iterable[int]] | None,
    values: Mapping[str, Any] | None,
    *,
    trace: bool = False,
    assume: bool = True,
) -> Request:
    """What a caller settled, checked and in plain types.

    Raises:
        BindingError: a dimension, shape or value is none.
    """
    return Request(
        dims={str(name): _whole(f"dimension {name!r}", n) for name, n in _named("dims", dims)},
        shapes={str(name): _shape(name, shape) for name, shape in _named("shapes", shapes)},
        values={str(name): input_value(name, value) for name, value in _named("values", values)},
        trace=trace,
        assume=assume,
    )


def _training(
    model: Any,
    inputs: Any,
    request: Request,
    source: Source,
    options: Options,
    profiles: Iterable[HardwareProfile],
    threads: int,
    precision: str | None,
) -> Training:
    """The cost of a training step; a module is followed once more, in training mode."""
    from rnncost.latency.cudnn_training import training_estimates
    from rnncost.training.block import training_block
    from rnncost.training.costing import training_cost

    if source.format == "torch":
        source = _load(model, inputs, msgspec.structs.replace(request, training=True))
    counted = count(source.graph)
    cost = training_cost(source.graph, counted, source.trained, options)
    estimates, notes = training_estimates(
        counted, profiles, cost, threads=threads, precision=precision
    )
    return training_block(cost, counted, options, estimates, notes)


def _profiles(given: Any) -> tuple[HardwareProfile, ...]:
    if given is None:
        host = host_profile()
        return () if host is None else (host,)
    if isinstance(given, (str, Path, HardwareProfile)):
        given = (given,)
    return tuple(p if isinstance(p, HardwareProfile) else load_profile(p) for p in given)


def input_value(name: str, value: Any) -> InputValue:
    """Turn a number, a nested list or an array into the elements of an input.

    Raises:
        BindingError: the value is ragged or holds something else than numbers and bools.
    """
    if isinstance(value, InputValue):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    shape: list[int] = []
    probe = value
    while isinstance(probe, (list, tuple)):
        shape.append(len(probe))
        if len(shape) > _MOST_DIMENSIONS:
            raise BindingError(f"the value of {name!r} is nested more than 64 deep")
        if not probe:
            break
        probe = probe[0]
    flat: list[int | float | bool | str] = []

    def flatten(item: Any, depth: int) -> None:
        if depth < len(shape):
            if not isinstance(item, (list, tuple)) or len(item) != shape[depth]:
                raise BindingError(f"the value of {name!r} is ragged: give a rectangular array")
            for part in item:
                flatten(part, depth + 1)
        elif isinstance(item, (int, float, str)):
            flat.append(item)
        else:
            raise BindingError(f"the value of {name!r} holds {type(item).__name__}, not numbers")

    flatten(value, 0)
    return InputValue(tuple(shape), tuple(flat))


def _named(argument: str, given: Mapping[str, Any] | None) -> Iterable[tuple[str, Any]]:
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise BindingError(f"{argument} is a {type(given).__name__}: give a dict by name")
    return given.items()


def _whole(what: str, number: Any) -> int:
    """A whole number as a plain int, from NumPy and PyTorch too."""
    try:
        return operator.index(number)
    except TypeError:
        raise BindingError(f"{what} must be a whole number, not {number!r}") from None


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    if isinstance(shape, str) or not isinstance(shape, Iterable):
        raise BindingError(f"the shape of {name!r} must be a tuple as (1, 576), not {shape!r}")
    return tuple([_whole(f"each dimension of {name!r}", dim) for dim in shape])


def _load(model: Any, inputs: tuple[Any, ...], request: Request) -> Source:
    kinds = {f"{c.__module__.split('.')[0]}.{c.__name__}" for c in type(model).__mro__}
    if len(inputs) and "torch.Module" not in kinds:
        raise BindingError("inputs are those of a torch.nn.Module: give shapes or values by name")
    if isinstance(model, (str, Path)):
        text = str(model)
        if text.endswith(".pt2"):
            from rnncost.frontends.torch import load_exported

            return load_exported(text, request, cost_of=_macs)
        if is_factory(text):
            from rnncost.frontends.torch import load_factory

            return load_factory(text, request)
        if text.endswith((".pt", ".pth")):
            from rnncost.frontends.torch import refuse_pickle

            raise refuse_pickle(text)
        from rnncost.frontends.onnx import load

        return load(text, request, cost_of=_macs)
    if hasattr(model, "SerializeToString"):
        from rnncost.frontends.onnx import load

        return load(model.SerializeToString(), request, cost_of=_macs)
    if "torch.Module" in kinds:
        from rnncost.frontends.torch import load_module

        return load_module(model, inputs, request)
    if "torch.ExportedProgram" in kinds:
        from rnncost.frontends.torch import load_exported

        return load_exported(model, request, cost_of=_macs)
    raise ModelError(
        f"cannot analyse an object of type {type(model).__name__}: give the path of an .onnx or "
        ".pt2 file, 'package.module:factory', an onnx.ModelProto, a torch.nn.Module or an "
        "ExportedProgram"
    )


def is_factory(text: str) -> bool:
    """Whether a model is given as ``package.module:factory``, not as a file."""
    module, _, attribute = text.rpartition(":")
    return (
        attribute.isidentifier()
        and all(part.isidentifier() for part in module.split("."))
        and not Path(text).exists()
    )


def _check_size(counted: Counted) -> None:
    """Refuse counts that no floating-point number holds: ratios and times would not exist."""
    totals = (getattr(counted.totals, field) for field in counted.totals.__struct_fields__)
    runs = (op.executions for op in counted.ops)
    if max(map(hint, (*totals, *runs))) > _LARGEST_COUNT:
        raise ShapeError(
            "the model's dimensions or trip counts are too large: a count exceeds "
            "10^280; give smaller ones with --dim, --shape or --value"
        )


def _macs(graph: Any) -> Dim:
    return count(graph).totals.macs


def _totals(counted: Counted) -> Totals:
    totals = counted.totals
    macs = hint(totals.macs)
    return Totals(
        **_metrics(totals),
        wavefront_steps=hint(counted.wavefront_steps),
        sequential_share=hint(totals.sequential_macs) / macs if macs else 0.0,
        streamable=counted.streamable,
        compulsory_arithmetic_intensity=_ratio(macs, hint(totals.compulsory_bytes)),
        streamed_arithmetic_intensity=_ratio(macs, hint(totals.streamed_bytes)),
    )


def _row(op: CountedOp) -> OpRow:
    cost = op.cost
    return OpRow(
        **_metrics(op.counts),
        name=op.name,
        op_type=op.op.op_type,
        kind=cost.kind,
        executions=hint(op.executions),
        precision=op.precision,
        dims={letter: hint(dim) for letter, dim in cost.dims.items()},
        extents={letter: hint(dim) for letter, dim in cost.extents.items()},
        textbook_params=cost.textbook_params,
        formulas=dict(cost.formulas),
        notes=list(cost.notes),
    )


def _metrics(counts: Counts) -> dict[str, int]:
    metrics = {field: hint(getattr(counts, field)) for field in counts.__struct_fields__}
    metrics["elementwise_ops"] = sum(
        metrics[part] for part in ("multiplies", "adds", "bias_adds", "activations")
    )
    return metrics


def _formulas(source: Source, counted: Counted) -> tuple[dict[str, str] | None, tuple[str, ...]]:
    """Totals as formulas, each checked against the integer count before it is shown."""
    if source.symbolic is None:
        if source.symbolic_reason:
            return None, (f"no formulas in the free dimensions: {source.symbolic_reason}",)
        return None, ()
    totals = count(source.symbolic).totals
    formulas: dict[str, str] = {}
    wrong: list[str] = []
    for metric in SYMBOLIC_METRICS:
        formula: Dim = getattr(totals, metric)
        if evaluate(formula, source.dims) == getattr(counted.totals, metric):
            formulas[metric] = str(formula)
        else:
            wrong.append(metric)
    said = f"no single formula holds for {', '.join(wrong)} at these dimensions"
    return formulas, (*source.provisos, *([said] if wrong else []))


def _ratio(macs: int, size_bytes: int) -> float:
    return macs / size_bytes if size_bytes else 0.0


def _plain(value: InputValue) -> Any:
    """A scalar as itself, anything else as a flat list with its shape beside it."""
    if not value.shape:
        return value.elements[0]
    return {"shape": list(value.shape), "elements": list(value.elements)}


def _sha256(path: str) -> str:
    if not path or not Path(path).is_file():
        return ""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
