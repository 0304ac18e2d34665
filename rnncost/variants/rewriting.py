"""``rewrite``: one model into one variant of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rnncost.errors import VariantError
from rnncost.variants.assembling import NothingLeftError, assemble
from rnncost.variants.flow import Flow
from rnncost.variants.load import inlined, opset_of
from rnncost.variants.model import Change, Variant
from rnncost.variants.planning import Plan, plan
from rnncost.variants.released import released
from rnncost.variants.survey import Survey, request_of, surveys
from rnncost.variants.target import Key
from rnncost.variants.walk import Walk
from rnncost.variants.written_out import recurrences, without_weights

if TYPE_CHECKING:
    import onnx

_LARGEST_BYTES = (1 << 31) - 1
"""What one protobuf message can hold."""


def rewrite(
    model: onnx.ModelProto,
    change: Change,
    *,
    seed: int = 0,
    dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Iterable[int]] | None = None,
    values: Mapping[str, Any] | None = None,
) -> Variant:
    """Make a variant of a model; the model itself stays as it is.

    Weights that change shape are cut or repeated, those of another cell are drawn from the
    uniform distribution within 1/sqrt(H), as PyTorch initialises them, from ``seed``.
    ``dims``, ``shapes`` and ``values`` are those of ``rnncost.analyze``; they are needed
    only where a width cannot be followed without them.

    Raises:
        VariantError: the model has no such variant, or a width cannot be followed.
        BindingError: a dimension, shape or value does not fit the model.
    """
    if model.ByteSize() > _LARGEST_BYTES:
        raise VariantError("the model has more than 2 GB of weights, too much for a variant")
    model = inlined(model)
    failure: VariantError | None = None
    others = recurrences(model)
    for survey in surveys(model, request_of(dims, shapes, values))[:2]:
        planned = plan(survey.flow, change, others)
        result = _rewritten(model, planned, survey, seed)
        if isinstance(result, Variant):
            return result
        failure = failure or result
    raise failure or VariantError("the model has no such variant")


def _rewritten(
    model: onnx.ModelProto,
    planned: Plan,
    survey: Survey,
    seed: int,
    redirect: frozenset[Key] = frozenset(),
) -> Variant | VariantError:
    """The variant, or why there is none as far as this survey shows."""
    try:
        return _attempt(model, planned, survey, seed, redirect)
    except NothingLeftError as error:
        # What reads the second direction alone can read the first.
        more = redirect | (_alone(survey.flow, error.lost) or error.lost)
        if more == redirect:
            return error
    except VariantError as error:
        return error
    return _rewritten(model, planned, survey, seed, more)


def _alone(flow: Flow, lost: frozenset[Key]) -> frozenset[Key]:
    """Those that picked a dropped direction from a value of which nothing else picks more."""

    def readers(key: Key) -> set[Key | None]:
        source = flow.owner(key[0], flow.nodes[key].input[0])
        uses = [use.key for use in flow.uses.get(source, ())]
        return {use for use in uses if use is None or flow.nodes[use].op_type != "Shape"}

    return frozenset([key for key in lost if readers(key) <= lost])


def _attempt(
    model: onnx.ModelProto, planned: Plan, survey: Survey, seed: int, redirect: frozenset[Key]
) -> Variant:
    walk = Walk(
        model,
        survey.inputs,
        planned.targets,
        state_inputs=survey.flow.state_inputs(),
        demands=released(survey.flow, planned.targets, opset_of(model)),
        redirect=redirect,
    )
    walk.run()
    new = assemble(walk, survey.root, seed)
    _check(new, model)
    return Variant(model=new, notes=[*planned.notes, *walk.notes])


def _check(new: onnx.ModelProto, old: onnx.ModelProto) -> None:
    """Hold the new model against the standard, unless the old one fails there too.

    Raises:
        VariantError: the new model is no valid one, or its shapes contradict each other.
    """
    fault = _fault(new)
    if fault and not _fault(old):
        raise VariantError(f"the variant is no valid model: {fault}")


def _fault(model: onnx.ModelProto) -> str:
    """What onnx's checker and shape inference say against a model; "" for nothing."""
    from onnx import checker, shape_inference

    try:
        checker.check_model(model)
        shape_inference.infer_shapes(without_weights(model), strict_mode=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        return next(iter(str(error).splitlines()), type(error).__name__)
    return ""
