"""Shape and small-value inference, one operator at a time.

``infer`` finds an operator's rule in the table of ``base``; the rules stand in modules by
family. An operator without a rule goes to the inference of the onnx package.
"""

from __future__ import annotations

from struct import error as struct_error

from rnncost.frontends.onnx.infer import (  # noqa: F401  (importing registers the rules)
    convolution,
    creation,
    cutting,
    elementwise,
    picking,
    products,
    quantised,
    recurrent,
    reductions,
    shaping,
)
from rnncost.frontends.onnx.infer.base import (
    Call,
    Element,
    InferenceError,
    InferRule,
    Known,
    View,
    find,
)
from rnncost.frontends.onnx.infer.bounds import UnknownElementError, shape_text, within_limits
from rnncost.graph.dim import Expr, Shape, hint

__all__ = ["Call", "Element", "InferenceError", "Known", "View", "infer"]

_EXTENT_LIMIT = 1 << 63
_RANK_LIMIT = 256
_REASON_CHARS = 200
_FREE_ELEMENTS = 256
"""The most elements of a tensor that holds free dimensions; shapes have far fewer."""


def infer(call: Call) -> tuple[Known, ...]:
    """What is known of an operator's outputs, one entry for each that the node lists.

    An output whose shape cannot be told has ``shape`` None, whatever else is known of it.

    Raises:
        InferenceError: the inputs or attributes contradict the operator's definition.
    """
    for source in call.inputs:
        if source is not None and source.shape is not None:
            _check_rank(source.shape)
    try:
        outputs = _rule(call.op_type)(call)
    except UnknownElementError:
        raise InferenceError("an element that decides the shape is not a whole number") from None
    except RecursionError:
        raise InferenceError("the free dimensions' expression is nested too deep") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct_error) as e:
        raise InferenceError(
            f"inputs {', '.join(_text(source) for source in call.inputs)} do not fit the"
            f" operator's definition ({_first_line(e)})"
        ) from None
    if len(outputs) < call.outputs:
        raise InferenceError(f"{call.outputs} outputs are listed, there are {len(outputs)}")
    return tuple([_checked(output) for output in outputs[: call.outputs]])


def _rule(op_type: str) -> InferRule:
    rule = find(op_type)
    if rule is not None:
        return rule
    # The rarer families are imported when an operator first asks for them.
    from rnncost.frontends.onnx.infer import (  # noqa: F401
        attention,
        contrib,
        fallback,
        normalisation,
        resampling,
        selection,
        sequences,
        signal,
    )

    return find(op_type) or fallback.infer_by_library


def _checked(output: Known) -> Known:
    """The output, unless its shape is none or its expressions grew beyond use."""
    if output.shape is not None:
        _check_rank(output.shape)
        for dim in output.shape:
            if not 0 <= hint(dim) < _EXTENT_LIMIT:
                raise InferenceError(f"the output would be {shape_text(output.shape)}")
            if isinstance(dim, Expr) and not within_limits(dim):
                raise InferenceError("the free dimensions' expression is too long")
    if output.value is not None and Expr in set(map(type, output.value)):
        free = [e for e in output.value if isinstance(e, Expr)]
        if len(output.value) > _FREE_ELEMENTS or not all(within_limits(e) for e in free):
            return Known(dtype=output.dtype, shape=output.shape)
    return output


def _check_rank(shape: Shape) -> None:
    if len(shape) > _RANK_LIMIT:
        raise InferenceError(f"a tensor has {len(shape)} dimensions, more than {_RANK_LIMIT}")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:_REASON_CHARS] or type(error).__name__


def _text(source: Known | None) -> str:
    return "(none)" if source is None else f"{source.dtype}{shape_text(source.shape)}"
