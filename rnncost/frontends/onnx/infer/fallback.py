"""Operators without a rule: the inference of the onnx package, one node at a time.

The package is imported only when it is needed, and knows plain integers only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncost.frontends.onnx.elements import DTYPE_BY_NUMBER
from rnncost.frontends.onnx.infer.base import VALUE_LIMIT, Call, InferenceError, Known
from rnncost.frontends.onnx.proto import Attribute, TensorProto
from rnncost.graph.dim import Expr, Shape, hint

if TYPE_CHECKING:
    import onnx

_NUMBER_BY_DTYPE = {dtype: number for number, dtype in DTYPE_BY_NUMBER.items()}


def infer_by_library(call: Call) -> tuple[Known, ...]:
    """What the onnx package says of one node's outputs.

    Where it cannot say, an output has no shape and the first input's element type. With
    free dimensions only element types are taken over.

    Raises:
        InferenceError: the package finds the node to contradict its definition.
    """
    from onnx import defs, helper, shape_inference

    guess = next((source.dtype for source in call.inputs if source is not None), "")
    blank = (Known(dtype=guess, shape=None),) * call.outputs
    domain, _, name = call.op_type.rpartition("::")
    free = any(_is_free(source) for source in call.inputs if source is not None)
    try:
        schema = defs.get_schema(name, call.opset, domain)
        node, types, data = _as_protos(call, schema)
    except (defs.SchemaError, _UntranslatableError):
        return blank
    opsets = [helper.make_opsetid(domain, call.opset)]
    try:
        found = shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=opsets)
    except shape_inference.InferenceError as error:
        raise InferenceError(str(error).strip().splitlines()[-1]) from None
    except (KeyError, RuntimeError):
        return blank
    outputs = [_known(found[output]) if output in found else blank[0] for output in node.output]
    return tuple([Known(dtype=o.dtype, shape=None) for o in outputs] if free else outputs)


class _UntranslatableError(Exception):
    """The node holds what cannot be handed to the library, such as a subgraph."""


def _is_free(source: Known) -> bool:
    return any(isinstance(e, Expr) for e in (*(source.shape or ()), *(source.value or ())))


def _as_protos(
    call: Call, schema: onnx.defs.OpSchema
) -> tuple[onnx.NodeProto, dict[str, onnx.TypeProto], dict[str, onnx.TensorProto]]:
    """The node with made-up names, its inputs' types, and their elements when they are known."""
    from onnx import helper

    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    names: list[str] = []
    for index, source in enumerate(call.inputs):
        names.append("" if source is None else f"input_{index}")
        if source is None:
            continue
        number = _NUMBER_BY_DTYPE.get(source.dtype)
        if number is None:
            raise _UntranslatableError
        dims = None if source.shape is None else tuple(hint(dim) for dim in source.shape)
        made = helper.make_tensor_type_proto(number, dims)
        types[names[-1]] = helper.make_sequence_type_proto(made) if source.is_sequence else made
        if source.value is not None and dims is not None and not _is_free(source):
            data[names[-1]] = helper.make_tensor(names[-1], number, dims, source.value)
    outputs = [f"output_{index}" for index in range(call.outputs)]
    node = helper.make_node(schema.name, names, outputs, domain=schema.domain)
    for name, value in call.attrs.items():
        if name in schema.attributes and value is not None:
            kind = schema.attributes[name].type
            made_value = _attribute_value(value)
            node.attribute.append(helper.make_attribute(name, made_value, attr_type=kind.value))
    return node, types, data


def _attribute_value(value: Attribute) -> object:
    from onnx import helper

    if isinstance(value, (int, float, str)):
        return value
    if isinstance(value, TensorProto):
        if value.load is None or value.numel > VALUE_LIMIT:
            raise _UntranslatableError
        return helper.make_tensor(
            value.name, _NUMBER_BY_DTYPE[value.dtype], value.dims, value.load()
        )
    if isinstance(value, tuple) and all(isinstance(v, (int, float, str)) for v in value):
        return list(value)
    raise _UntranslatableError


def _known(proto: onnx.TypeProto) -> Known:
    if proto.HasField("optional_type"):
        return _known(proto.optional_type.elem_type)
    if proto.HasField("sequence_type"):
        item = _known(proto.sequence_type.elem_type)
        return Known(dtype=item.dtype, shape=item.shape, is_sequence=True)
    tensor = proto.tensor_type
    shape: Shape | None = None
    if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        shape = tuple(dim.dim_value for dim in tensor.shape.dim)
    return Known(dtype=DTYPE_BY_NUMBER.get(tensor.elem_type, ""), shape=shape)
