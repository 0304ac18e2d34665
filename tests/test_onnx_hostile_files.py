"""Files that are not whole ONNX models: one clear sentence each, soon, and nothing else."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import random
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import json_format, text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from same_as_onnx import field, graph_model, read, refusal, varint, wrap

from rnncost.errors import ModelFileError
from rnncost.frontends.onnx import proto
from rnncost.frontends.onnx.read import read_model, read_model_bytes


def rich_model() -> onnx.ModelProto:
    """A small model with an LSTM, a branch, a function and each way to store a tensor."""
    hidden, width = 2, 3
    rng = np.random.default_rng(0)
    w = rng.random((1, 4 * hidden, width), np.float32)
    r = rng.random((1, 4 * hidden, hidden), np.float32)
    branch = helper.make_graph(
        [helper.make_node("Add", ["y", "one"], ["z"])],
        "branch",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [helper.make_tensor("one", TensorProto.FLOAT16, [1], [1.0])],
    )
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sparse", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("at", TensorProto.INT64, [2], [0, 3]),
        [2, 2],
    )
    outside = TensorProto(name="outside", data_type=TensorProto.INT64, dims=[2])
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="weights.bin")
    outside.external_data.add(key="length", value="16")
    graph = helper.make_graph(
        [
            helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=hidden, name="lstm"),
            helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch),
            helper.make_node("Twice", ["o"], ["p"], domain="custom", alpha=0.5, axes=[0, -1]),
            helper.make_node("Constant", [], ["k"], sparse_value=sparse),
        ],
        "main",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["seq", 1, width]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["seq", None])],
        [
            numpy_helper.from_array(w, "w"),
            numpy_helper.from_array(r, "r"),
            helper.make_tensor("shape", TensorProto.INT64, [3], [1, -1, 300]),
            helper.make_tensor("bytes", TensorProto.INT8, [3], [1, -1, 100]),
            helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"bc"]),
            outside,
        ],
        value_info=[helper.make_tensor_value_info("y", TensorProto.FLOAT, ["seq", 1, 1, 2])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("custom", 1)]
    twice = helper.make_function(
        "custom", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opsets[:1]
    )
    return helper.make_model(graph, functions=[twice], opset_imports=opsets)


MODEL = rich_model()
DATA = MODEL.SerializeToString()


def test_the_model_that_is_damaged_below_is_sound():
    assert read_or_refuse(DATA)
    assert len(tensors_of(read(MODEL).graph)) == 9


def tensors_of(graph: proto.GraphProto) -> list[proto.TensorProto]:
    found = list(graph.initializers.values())
    for node in graph.nodes:
        for value in node.attrs.values():
            if isinstance(value, proto.TensorProto):
                found.append(value)
            elif isinstance(value, proto.GraphProto):
                found.extend(tensors_of(value))
    return found


def read_or_refuse(data: bytes) -> bool:
    """Read a model and its elements; True where it was taken, False where it was refused."""
    try:
        model = read_model_bytes(data, "model.onnx")
        for tensor in tensors_of(model.graph):
            if tensor.load is not None and tensor.numel < 10_000:
                assert len(tensor.load()) == tensor.numel
    except ModelFileError as error:
        message = str(error)
        assert message.startswith("model.onnx: ")
        assert "\n" not in message
        assert len(message) < 1000
        return False
    return True


def damaged(data: bytes, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    out = bytearray(data)
    for how, where, size, insert in edits:
        at = where % (len(out) + 1)
        if how == "flip" and at < len(out):
            out[at] ^= 1 << size % 8
        elif how == "overwrite":
            out[at : at + len(insert)] = insert
        elif how == "insert":
            out[at:at] = insert
        elif how == "delete":
            del out[at : at + size]
        elif how == "repeat":
            out[at:at] = out[at : at + size]
        elif how == "truncate":
            del out[at:]
    return bytes(out)


EDITS = st.lists(
    st.tuples(
        st.sampled_from(("flip", "overwrite", "insert", "delete", "repeat", "truncate")),
        st.integers(0, 2 * len(DATA)),
        st.integers(0, 300),
        st.binary(max_size=12),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=1500, deadline=5000)
@given(EDITS)
def test_a_damaged_model_is_read_or_refused(edits):
    read_or_refuse(damaged(DATA, edits))


@settings(max_examples=500, deadline=5000)
@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_read_or_refused(data):
    read_or_refuse(data)


def test_every_flipped_bit_is_read_or_refused():
    taken = [
        read_or_refuse(damaged(DATA, [("flip", b // 8, b, b"")])) for b in range(8 * len(DATA))
    ]
    # Most bits are names and weights, so both ends must be common.
    assert 0.1 < sum(taken) / len(taken) < 0.95


def test_every_truncation_is_refused():
    whole = onnx.ModelProto()
    whole.CopyFrom(MODEL)
    del whole.functions[:]  # the file could end before them and still be whole
    del whole.opset_import[1:]
    data = whole.SerializeToString()
    assert read_or_refuse(data)
    assert not any(read_or_refuse(data[:size]) for size in range(len(data)))


@pytest.mark.real_models
@pytest.mark.parametrize(
    "path",
    ["silero_vad/data/silero_vad_16k_op15.onnx", "livekit/plugins/dtln/models/model_1.onnx"],
)
def test_damaged_real_models_are_read_or_refused(path, real_model):
    data = real_model(path).read_bytes()
    rng = random.Random(0)
    hows = ("flip", "overwrite", "insert", "delete", "repeat", "truncate")
    refused = 0
    for _ in range(60):
        edits = [
            (rng.choice(hows), rng.randrange(len(data)), rng.randrange(300), rng.randbytes(4))
            for _ in range(rng.randrange(1, 30))
        ]
        refused += not read_or_refuse(damaged(data, edits))
    assert refused > 30


def zip_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    return buffer.getvalue()


LOOKALIKES = {
    "empty": (b"", "is empty"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        "Git LFS pointer.*git lfs pull",
    ),
    "html": (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "web page"),
    "zip": (zip_bytes(), r"ZIP archive.*\.pt.*torch\.onnx\.export"),
    "gzip": (gzip.compress(DATA), "gzip; unpack it"),
    "pickle": (pickle.dumps({"weight": [1.0]}), "pickle.*torch.onnx.export"),
    "ort": (b"\x18\x00\x00\x00ORTM" + bytes(100), "ORT format.*the .onnx file"),
    "tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(100), "TensorFlow Lite.*tf2onnx"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5.*tf2onnx"),
    "json": (json.dumps({"layers": 3}).encode(), "JSON"),
    "onnx json": (json_format.MessageToJson(MODEL).encode(), "JSON.*format='json'"),
    "onnx text": (onnx.printer.to_text(wrap()).encode(), "ONNX written as text"),
    "protobuf text": (text_format.MessageToString(MODEL).encode(), "ONNX written as text"),
    "text": ("Modèle\n".encode() * 2000, "a text file"),
    "python": (b"import torch\n", "a text file"),
    "zeros": (bytes(1000), "number 0"),
    "high bytes": (bytes(range(150, 250)) * 10, "damaged or was not fully written"),
    "tensor": (MODEL.graph.initializer[0].SerializeToString(), "model.onnx: "),
    "opset only": (onnx.ModelProto(ir_version=8).SerializeToString(), "no graph"),
    "no nodes": (
        onnx.ModelProto(ir_version=8, graph=onnx.GraphProto(name="g")).SerializeToString(),
        "no operators",
    ),
    "two graphs": (DATA + DATA, "two graphs"),
    "cut": (DATA[: len(DATA) // 2], r"runs \d+ bytes past its end .*download or export it again"),
}


@pytest.mark.parametrize(("data", "message"), LOOKALIKES.values(), ids=LOOKALIKES)
def test_what_is_not_a_model_is_refused_by_name(data, message, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert not read_or_refuse(data)


def test_paths_without_a_file_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="No such file or directory; check the path"):
        read_model(tmp_path / "missing.onnx")
    with pytest.raises(ModelFileError, match="is a directory"):
        read_model(tmp_path)
    with pytest.raises(ModelFileError, match=r"Not a directory|No such file"):
        read_model(Path(__file__) / "model.onnx")
    with pytest.raises(ModelFileError, match="null"):
        read_model("a\0b")
    with pytest.raises(ModelFileError, match="too long"):
        read_model("a" * 5000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(ModelFileError, match="not a regular file"):
        read_model(tmp_path / "model.onnx")


def test_unknown_fields_are_passed_over():
    unknown = b"\xa0\x3f\x05" + b"\xa2\x3f\x03abc" + b"\xa5\x3f1234" + b"\xa1\x3f12345678"
    assert read_or_refuse(unknown + DATA + unknown)


@pytest.mark.parametrize(
    "number", [b"\xff" * 9 + b"\x02", b"\x80" * 10 + b"\x01"], ids=["65 bits", "11 bytes"]
)
def test_numbers_beyond_64_bits_are_refused(number):
    with pytest.raises(ModelFileError, match="longer than 64 bits"):
        read_model_bytes(b"\x08" + number + DATA, "model")
    assert read_or_refuse(b"\x08" + b"\xff" * 9 + b"\x01" + DATA)


@pytest.mark.parametrize("excess", [1, 2])
def test_a_field_must_not_leave_its_message(excess):
    """Here the node would take the first bytes of what comes after the graph."""
    node = wrap().graph.node[0].SerializeToString()
    graph = b"\x0a" + varint(len(node) + excess) + node
    with pytest.raises(ModelFileError, match=f"field 1 runs {excess} bytes past its end"):
        read_model_bytes(graph_model(graph), "model")


def test_nesting_is_bounded():
    def nested(levels: int) -> onnx.ModelProto:
        graph = wrap().graph
        for _ in range(levels):
            outer = wrap().graph
            outer.node[0].attribute.add(name="body", type=AttributeProto.GRAPH).g.CopyFrom(graph)
            graph = outer
        model = wrap()
        model.graph.CopyFrom(graph)
        return model

    assert read(nested(20)).graph.nodes
    assert "nested more than 64 deep" in refusal(nested(70))


@pytest.mark.parametrize("tags", [b"\x0a\x2a\x32", b"\x22\x0a"], ids=["graphs", "types"])
def test_nesting_beyond_the_recursion_limit_is_refused(tags):
    """Graphs in attributes of nodes, and sequences of sequences."""
    data = b""
    for level in range(3000):
        tag = tags[-1 - level % len(tags)]
        data = field(tag, data)
    if len(tags) == 2:  # the type of an input
        data = field(0x5A, field(0x12, data))
    with pytest.raises(ModelFileError, match="nested more than 64 deep"):
        read_model_bytes(graph_model(data), "model")


def test_a_hostile_number_of_dimensions_costs_little():
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**62] * 200_000)
    start = time.perf_counter()
    assert "200,000 dimensions" in refusal(wrap(tensor))
    assert time.perf_counter() - start < 5


def test_names_of_any_length_do_not_flood_the_message():
    tensor = TensorProto(name="w" * 1_000_000, data_type=TensorProto.FLOAT, dims=[-1])
    assert len(refusal(wrap(tensor))) < 1000


@pytest.mark.skipif(sys.platform == "win32", reason="needs sparse files")
def test_a_model_beyond_two_gigabytes_is_read_without_its_weights(tmp_path):
    """Protobuf itself stops at 2 GB; 3 GB of weights are a hole in this file."""
    model = wrap(TensorProto(name="after", data_type=TensorProto.INT64, dims=[1], int64_data=[7]))
    size = 3 << 30
    head = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[size // 4]).SerializeToString()
    head += b"\x4a" + varint(size)
    before = b"\x2a" + varint(len(head) + size) + head
    after = model.graph.SerializeToString()
    total = len(before) + size + len(after)
    model.ClearField("graph")
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.write(model.SerializeToString() + b"\x3a" + varint(total) + before)
        file.seek(size, os.SEEK_CUR)
        file.write(after)
    assert path.stat().st_size > size
    tracemalloc.start()
    start = time.perf_counter()
    try:
        initializers = read_model(path).graph.initializers
        elapsed = time.perf_counter() - start
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert initializers["w"].numel == size // 4
    assert initializers["after"].load() == (7,)
    assert elapsed < 0.5
    assert peak < 1_000_000
