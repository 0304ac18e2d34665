"""A model as it is: its shapes, and where its values go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.errors import VariantError
from rnncost.frontends.onnx.bind import Binding, alternatives
from rnncost.frontends.onnx.infer import Known
from rnncost.graph.source import InputValue, Request
from rnncost.variants.facts import Body
from rnncost.variants.flow import Flow
from rnncost.variants.known import attribute, bound_inputs, known_inputs, label
from rnncost.variants.target import Key
from rnncost.variants.walk import Walk

if TYPE_CHECKING:
    import onnx


class Survey(msgspec.Struct, frozen=True):
    """A walk through a model without a change.

    ``inputs`` are its graph inputs as they were bound, ``unknown`` how many inputs of its
    recurrent nodes have no known shape, and how many of the nodes no known outputs.
    """

    inputs: Mapping[str, Known]
    root: Body
    flow: Flow
    unknown: int


def surveys(model: onnx.ModelProto, request: Request) -> list[Survey]:
    """Walks through a model, with its free dimensions kept free, then bound; best first.

    Raises:
        BindingError: a dimension, shape or value does not fit the model.
        VariantError: the model is not in order.
    """
    found: list[Survey] = []
    for inputs in _bindings(bound_inputs(model.graph, request)):
        survey = _survey(model, inputs)
        found.append(survey)
        if not survey.unknown and len(found) > 1:
            break
    return sorted(found, key=lambda survey: survey.unknown)


def _bindings(binding: Binding) -> Iterator[Mapping[str, Known]]:
    yield known_inputs(binding, binding.symbols(distinct=True))
    if binding.may_be_equal():
        yield known_inputs(binding, binding.symbols(distinct=False))
    yield known_inputs(binding, binding.dims)
    for other in alternatives(binding):
        yield known_inputs(other, other.dims)


def _survey(model: onnx.ModelProto, inputs: Mapping[str, Known]) -> Survey:
    root = Walk(model, inputs, {}).run()
    flow = Flow(root)
    unknown = 0
    for key in flow.recurrent():
        names = list(flow.nodes[key].input)
        _check_weights(flow, key)
        for name in (*names[:1], *names[5:7]):
            if name and flow.bodies[key[0]].find(name).old.shape is None:
                unknown += 1
        made = [name for name in flow.nodes[key].output if name]
        unknown += any(flow.bodies[key[0]].find(name).old.shape is None for name in made)
    return Survey(inputs, root, flow, unknown)


def _check_weights(flow: Flow, key: Key) -> None:
    """Refuse a recurrent node without weights of three axes, which nothing below expects."""
    node = flow.nodes[key]
    body = flow.bodies[key[0]]
    ranks = [body.find(name).old.rank if name else 0 for name in node.input[1:3]]
    if len(ranks) < 2 or not node.output or any(rank not in (None, 3) for rank in ranks):
        raise VariantError(
            f"{node.op_type} {label(node)!r} has no weights W and R of three axes: check the model "
            "with onnx.checker"
        )
    recurrent = body.find(node.input[2]).old.shape
    hidden = attribute(node, "hidden_size")
    if hidden and recurrent is not None and hidden not in recurrent[1:]:
        raise VariantError(
            f"{node.op_type} {label(node)!r} has hidden_size {hidden}, but weights of "
            f"{list(recurrent)}: check the model with onnx.checker"
        )


def request_of(
    dims: Mapping[str, int] | None,
    shapes: Mapping[str, Iterable[int]] | None,
    values: Mapping[str, Any] | None,
) -> Request:
    """What the caller settled about the inputs.

    Raises:
        VariantError: a value is no array of numbers.
    """
    return Request(
        dims=dict(dims or {}),
        shapes={name: tuple(shape) for name, shape in (shapes or {}).items()},
        values={name: _value(name, value) for name, value in (values or {}).items()},
    )


def _value(name: str, value: Any) -> InputValue:
    import numpy as np

    if isinstance(value, InputValue):
        return value
    try:
        array = np.asarray(value)
    except ValueError:
        raise VariantError(f"the value of {name!r} is no array") from None
    return InputValue(array.shape, tuple(array.reshape(-1).tolist()))
