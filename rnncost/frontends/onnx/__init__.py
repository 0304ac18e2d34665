"""The ONNX front end: from a model file to a graph."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from rnncost.errors import ModelError, ShapeError
from rnncost.frontends.onnx.bind import ASSUMED_OTHER, Binding, alternatives, bind
from rnncost.frontends.onnx.context import Context
from rnncost.frontends.onnx.functions import check_functions
from rnncost.frontends.onnx.lower import lower_graph
from rnncost.frontends.onnx.order import shown
from rnncost.frontends.onnx.proto import ModelProto
from rnncost.frontends.onnx.read import read_model, read_model_bytes
from rnncost.graph.dim import Dim
from rnncost.graph.ir import Graph
from rnncost.graph.source import Request, Source

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load"]

OLDEST_OPSET, NEWEST_OPSET = 7, 28
"""The operator sets of ai.onnx whose operators are followed as they were defined."""

_MAX_ATTEMPT_S = 0.5
"""A model that takes longer than this to follow is not tried with other assumptions."""


def load(
    model: str | Path | bytes,
    request: Request,
    *,
    cost_of: Callable[[Graph], Dim] | None = None,
) -> Source:
    """Turn an ONNX model into a graph with every dimension bound.

    Args:
        model: path of a .onnx file, or a serialised ModelProto.
        request: what the caller settled about the inputs.
        cost_of: decides between the branches of an If that nothing settles: the one that
            costs more is taken. Without it, the one with more operators.

    Raises:
        ModelError: the file cannot be read, or the graph cannot be followed.
        BindingError: what the caller gave does not fit the model.
        MeasurementError: a trace was asked for, and the model does not run.
    """
    path = "" if isinstance(model, bytes) else os.fspath(model)
    proto = read_model_bytes(model, "the model") if isinstance(model, bytes) else read_model(path)
    check_functions(proto)
    usual = binding = bind(proto.graph, request)
    cost_of = cost_of or _operators
    if request.trace:
        from rnncost.frontends.onnx.trace import trace

        if binding.assumed:
            with suppress(ModelError):  # the run itself shows what is wrong
                binding = _fit(proto, binding, cost_of)[0]
        ctx = Context(proto, binding, binding.dims, cost_of)
        graph = lower_graph(ctx, trace(model, proto, binding))
    else:
        binding, ctx, graph = _fit(proto, binding, cost_of)
    symbolic, reason, provisos = _symbolic(proto, binding, ctx)
    return Source(
        graph=graph,
        symbolic=symbolic,
        symbolic_reason=reason,
        provisos=tuple(dict.fromkeys(provisos)),
        format="onnx",
        path=path,
        producer=proto.producer,
        opset=proto.opset,
        dims=binding.dims,
        assumed=binding.assumed,
        shapes=binding.shapes(),
        values=binding.values(),
        traced=request.trace,
        warnings=(
            *_unfamiliar(proto.opset.get("", OLDEST_OPSET)),
            *_changed(usual, binding),
            *dict.fromkeys(ctx.warnings),
        ),
    )


def _fit(
    proto: ModelProto, binding: Binding, cost_of: Callable[[Graph], Dim]
) -> tuple[Binding, Context, Graph]:
    """Lower a model, with other assumptions where its shapes contradict the usual ones.

    Raises:
        ModelError: the graph cannot be followed with any of them.
    """
    failure: ShapeError | None = None
    for candidate in (binding, *alternatives(binding)):
        ctx = Context(proto, candidate, candidate.dims, cost_of)
        started = time.monotonic()
        try:
            return candidate, ctx, lower_graph(ctx)
        except ShapeError as error:
            failure = failure or error
            if time.monotonic() - started > _MAX_ATTEMPT_S:
                break
    raise failure or ModelError("the model has no shapes that fit")


def _changed(usual: Binding, binding: Binding) -> Iterator[str]:
    other = {n: size for n, size in binding.dims.items() if size != usual.dims[n]}
    if other:
        sizes = ", ".join(f"{shown(name)}={size}" for name, size in other.items())
        yield f"the usual assumption of {ASSUMED_OTHER} contradicts the model: {sizes} fits it"


def _unfamiliar(opset: int) -> Iterator[str]:
    """A warning on an operator set whose operators may differ from those that are known."""
    if opset < OLDEST_OPSET:
        yield (
            f"the model uses opset {opset} of ai.onnx; rnncost knows {OLDEST_OPSET} to "
            f"{NEWEST_OPSET}, and before {OLDEST_OPSET} operators broadcast otherwise: convert it"
        )
    elif opset > NEWEST_OPSET:
        yield (
            f"the model uses opset {opset} of ai.onnx, and {NEWEST_OPSET} is the newest that "
            "rnncost knows: operators may have changed since"
        )


def _symbolic(
    proto: ModelProto, binding: Binding, ctx: Context
) -> tuple[Graph | None, str, Sequence[str]]:
    """The same graph with its free dimensions kept, or why there is none; and its provisos."""
    reason = ""
    for distinct in (True, False):
        symbols = binding.symbols(distinct=distinct)
        if all(isinstance(dim, int) for dim in symbols.values()):
            break
        again = Context(proto, binding, symbols, ctx.cost_of, before=ctx)
        try:
            return lower_graph(again), "", again.provisos
        except ModelError as error:
            reason = reason or str(error)
            if not isinstance(error, ShapeError) or not binding.may_be_equal():
                break
    return None, reason, ()


def _operators(graph: Graph) -> Dim:
    return len(graph.ops)
