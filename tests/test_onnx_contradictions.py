"""Models that protobuf can parse and that contradict themselves are refused."""

from __future__ import annotations

import pytest
from onnx import AttributeProto, TensorProto, helper
from same_as_onnx import field, graph_model, read, refusal, wrap

from rnncost.errors import ModelFileError
from rnncost.frontends.onnx.read import read_model_bytes


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"dims": [2], "raw_data": b"1234567"}, "holds 7 bytes where 8 are needed"),
        ({"dims": [2], "float_data": [1.0]}, "float_data holds 1 numbers where 2 are needed"),
        ({"dims": [0], "float_data": [1.0]}, "holds 1 numbers where 0 are needed"),
        ({"dims": [2, -3]}, "negative dimension -3"),
        ({"dims": [1] * 65}, "65 dimensions"),
        ({"dims": [2], "int64_data": [1, 2]}, "float32, but has its elements in int64_data"),
        (
            {"dims": [1], "raw_data": b"1234", "float_data": [1.0]},
            "float_data and again in raw_data",
        ),
        ({"data_type": 0}, "no element type"),
        ({"data_type": 99}, "element type 99"),
        ({"data_type": TensorProto.INT64, "dims": [9], "int64_data": [1] * 8}, "8 numbers where 9"),
        ({"data_type": TensorProto.INT64, "dims": [1], "int64_data": [1] * 11}, "2 to 11 numbers"),
        (
            {"data_type": TensorProto.STRING, "dims": [2], "string_data": [b"a"]},
            "1 numbers where 2",
        ),
        ({"data_type": TensorProto.STRING, "dims": [1], "raw_data": b"a"}, "elements in raw_data"),
        (
            {"data_type": TensorProto.INT4, "dims": [3], "raw_data": b"a"},
            "1 bytes where 2 are needed",
        ),
        ({"segment": TensorProto.Segment(begin=0, end=1)}, "segments"),
        ({"data_location": 7}, "data location 7"),
        ({"name": "", "dims": [2]}, "an initializer has no name"),
    ],
)
def test_tensors_that_contradict_themselves_are_refused(tensor, message):
    tensor = {"name": "weight", "data_type": TensorProto.FLOAT, **tensor}
    location = tensor.pop("data_location", None)
    built = TensorProto(**tensor)
    data = built.SerializeToString() + (b"\x70\x07" if location else b"")
    graph = wrap().graph.SerializeToString() + field(0x2A, data)
    with pytest.raises(ModelFileError, match=message):
        read_model_bytes(graph_model(graph), "model")


def test_a_varint_list_of_the_wrong_length_is_refused_when_read():
    """Its bytes could hold as many numbers as are needed, so it is found out by reading."""
    tensor = TensorProto(name="w", data_type=TensorProto.INT64, dims=[3], int64_data=[300, 2])
    model = read(wrap(tensor))
    with pytest.raises(ModelFileError, match="'w' stores 2 numbers for 3 elements"):
        model.graph.initializers["w"].load()


def test_two_initializers_of_one_name_must_be_alike():
    first = helper.make_tensor("w", TensorProto.INT64, [1], [1])
    second = helper.make_tensor("w", TensorProto.INT64, [1], [2])
    other = helper.make_tensor("w", TensorProto.INT64, [2], [1, 2])
    assert read(wrap(first, second)).graph.initializers["w"].load() == (2,)
    assert "two initializers are named 'w'" in refusal(wrap(first, other))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ([AttributeProto(name="a")], "'a' has no value"),
        ([AttributeProto(name="a", type=AttributeProto.TENSOR)], "'a' has no value"),
        ([AttributeProto(i=1)], "no name"),
        ([AttributeProto(name="a", i=1), AttributeProto(name="a", i=1)], "given twice"),
        ([AttributeProto(name="a", type=AttributeProto.INT, ints=[1])], "beside the one"),
        ([AttributeProto(name="a", type=AttributeProto.INT, i=1, f=1.0)], "beside the one"),
        ([AttributeProto(name="a", i=1, ref_attr_name="b")], "beside the one"),
    ],
)
def test_attributes_that_contradict_themselves_are_refused(attributes, message):
    model = wrap()
    model.graph.node[0].attribute.extend(attributes)
    assert message in refusal(model)


def test_models_that_contradict_themselves_are_refused():
    model = wrap()
    model.graph.node[0].ClearField("op_type")
    assert "no operator type" in refusal(model)
    model = wrap()
    model.opset_import.append(helper.make_opsetid("ai.onnx", 9))
    assert "ai.onnx in versions 17 and 9" in refusal(model)
    model = wrap()
    del model.opset_import[:]
    assert "imports no operator set" in refusal(model)
    model.ir_version = 2
    assert read(model).opset == {"": 1}
    function = helper.make_function("d", "F", ["a"], ["b"], [], [])
    model = wrap()
    model.functions.extend([function, function])
    assert "function 'F' is defined twice" in refusal(model)


def test_a_known_field_of_another_wire_type_is_refused():
    """Protobuf would skip it, and the model would lack a part."""
    node = b"\x20\x01" + wrap().graph.node[0].SerializeToString()
    graph = field(0x0A, node)
    with pytest.raises(ModelFileError, match="field 4 of a node has the wire type 0"):
        read_model_bytes(graph_model(graph), "model")


FLOAT = b"\x08\x01"
TENSOR = b"\x08\x01\x10\x01"


def in_attribute(content: bytes) -> bytes:
    return field(0x0A, b"\x22\x01A" + field(0x2A, b"\x0a\x01a" + content))


def in_value(content: bytes) -> bytes:
    return field(0x0A, b"\x22\x01A") + field(0x5A, b"\x0a\x01v" + content)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (in_attribute(field(0x2A, TENSOR) * 2), "attribute 'a' has its value twice"),
        (in_attribute(field(0x32, b"") * 2), "attribute 'a' has its value twice"),
        (in_attribute(field(178, field(0x0A, TENSOR) * 2)), "its values or indices twice"),
        (in_value(field(0x12, b"") * 2), "value 'v' has its type twice"),
        (in_value(field(0x12, field(0x0A, FLOAT) * 2)), "two types"),
        (in_value(field(0x12, field(0x0A, FLOAT) + field(0x42, FLOAT))), "two types"),
        (in_value(field(0x12, field(0x0A, field(0x12, b"") * 2))), "its shape twice"),
        (in_value(field(0x12, field(0x22, field(0x0A, b"") * 2))), "its element type twice"),
    ],
)
def test_a_message_that_comes_twice_is_refused_not_merged(graph, message):
    """Protobuf would merge the two, and the count would be of something that nobody wrote."""
    with pytest.raises(ModelFileError, match=message):
        read_model_bytes(graph_model(graph), "model")


@pytest.mark.parametrize(
    ("values", "indices", "dims", "message"),
    [
        (3, [3], [2], r"more values \(3\) than \[2\] holds"),
        (3, [2], [9], r"values of shape \[3\] and indices of shape \[2\]"),
        (3, [2, 3], [9, 9, 9], r"values of shape \[3\] and indices of shape \[2, 3\]"),
    ],
)
def test_sparse_tensors_that_contradict_themselves_are_refused(values, indices, dims, message):
    model = wrap()
    sparse = model.graph.sparse_initializer.add(dims=dims)
    sparse.values.CopyFrom(TensorProto(name="v", data_type=TensorProto.FLOAT, dims=[values]))
    sparse.indices.CopyFrom(TensorProto(data_type=TensorProto.INT64, dims=indices))
    with pytest.raises(ModelFileError, match=message):
        read(model)
