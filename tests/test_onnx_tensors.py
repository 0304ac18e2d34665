"""Elements of stored tensors, from every type and encoding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from same_as_onnx import (
    ELEMENT_TYPES,
    check_model,
    check_tensor,
    expected_dtype,
    field,
    graph_model,
    read,
    read_tensor,
    varint,
    wrap,
)

from rnncost.frontends.onnx.read import read_model_bytes
from rnncost.units import DTYPE_BITS


@pytest.mark.parametrize("number", ELEMENT_TYPES, ids=TensorProto.DataType.Name)
@pytest.mark.parametrize("count", [0, 1, 3, 8])
def test_elements_of_every_type_are_read(number, count):
    """From raw bytes and from the typed lists, with lengths that end inside a byte too."""
    values = [0, 1, 1, 0, 1, 1, 0, 1][:count]
    if number == TensorProto.STRING:
        tensor = helper.make_tensor("t", number, [count], [b"", b"ab", b"\xc3\xa4"][:1] * count)
        check_tensor(read_tensor(tensor), tensor)
        return
    typed = helper.make_tensor("t", number, [count], values)
    check_tensor(read_tensor(typed), typed)
    array = np.array(values).astype(helper.tensor_dtype_to_np_dtype(number))
    raw = numpy_helper.from_array(array, "t")
    check_tensor(read_tensor(raw), raw)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (TensorProto.INT8, [-128, -1, 127]),
        (TensorProto.UINT8, [0, 200, 255]),
        (TensorProto.INT16, [-(2**15), -1, 2**15 - 1]),
        (TensorProto.UINT16, [0, 2**16 - 1]),
        (TensorProto.INT32, [-(2**31), -1, 2**31 - 1]),
        (TensorProto.UINT32, [0, 2**32 - 1]),
        (TensorProto.INT64, [-(2**63), -1, 2**63 - 1]),
        (TensorProto.UINT64, [0, 2**64 - 1]),
        (TensorProto.INT4, [-8, -1, 7]),
        (TensorProto.UINT4, [0, 9, 15]),
        (TensorProto.BOOL, [True, False, True]),
        (TensorProto.DOUBLE, [1e300, -0.0, math.inf, math.nan]),
        (TensorProto.FLOAT, [0.1, -0.0, -math.inf, math.nan]),
        (TensorProto.FLOAT16, [0.1, -65504.0, math.inf, math.nan, 6e-8]),
        (TensorProto.BFLOAT16, [0.1, -0.0, math.inf, math.nan]),
    ],
)
def test_extreme_elements_are_read(dtype, values):
    typed = helper.make_tensor("t", dtype, [len(values)], values)
    check_tensor(read_tensor(typed), typed)
    raw = numpy_helper.from_array(numpy_helper.to_array(typed), "t")
    assert raw.HasField("raw_data")
    check_tensor(read_tensor(raw), raw)


@pytest.mark.parametrize(
    "number",
    [n for n in ELEMENT_TYPES if DTYPE_BITS[expected_dtype(n)] <= 8 and n != TensorProto.STRING],
    ids=TensorProto.DataType.Name,
)
def test_every_code_of_a_narrow_type_is_read(number):
    bits = DTYPE_BITS[expected_dtype(number)]
    if number == TensorProto.BOOL:
        raw = bytes((0, 1))
        codes = 2
    else:
        codes = 1 << bits
        stream = sum(code << (bits * code) for code in range(codes))
        raw = stream.to_bytes(codes * bits // 8, "little")
    tensor = TensorProto(name="t", data_type=number, dims=[codes], raw_data=raw)
    check_tensor(read_tensor(tensor), tensor)


def test_every_half_precision_number_is_read():
    for number in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        raw = np.arange(2**16, dtype="<u2").tobytes()
        tensor = TensorProto(name="t", data_type=number, dims=[2**16], raw_data=raw)
        ours = read_tensor(tensor).load()
        with np.errstate(invalid="ignore"):
            theirs = numpy_helper.to_array(tensor).astype(np.float64)
        np.testing.assert_array_equal(np.array(ours), theirs)


@pytest.mark.parametrize(
    ("number", "tag", "items"),
    [
        (TensorProto.FLOAT, 4 << 3 | 5, np.array([0.5, -2.0], "<f4")),
        (TensorProto.DOUBLE, 10 << 3 | 1, np.array([0.5, -2.0], "<f8")),
        (TensorProto.INT32, 5 << 3, [-7, 300]),
        (TensorProto.INT64, 7 << 3, [-7, 2**40]),
        (TensorProto.UINT64, 11 << 3, [7, 2**64 - 1]),
    ],
)
def test_packed_and_unpacked_lists_read_alike(number, tag, items):
    """Both dims and elements, one by one, packed, and half of each."""
    numbers = [i.tobytes() if isinstance(items, np.ndarray) else varint(i) for i in items]
    loose = [varint(tag) + n for n in numbers]
    packed = field(tag & ~7 | 2, b"".join(numbers))
    half = field(tag & ~7 | 2, numbers[1])
    for dims in (b"\x08\x02\x08\x01", b"\x0a\x02\x02\x01", b"\x08\x02\x0a\x01\x01"):
        for data in (b"".join(loose), packed, loose[0] + half):
            content = dims + b"\x10" + bytes([number]) + b"\x42\x01t" + data
            theirs = TensorProto.FromString(content)
            model = graph_model(wrap().graph.SerializeToString() + field(0x2A, content))
            ours = read_model_bytes(model, "model").graph.initializers["t"]
            check_tensor(ours, theirs)
            assert len(ours.load()) == 2


def test_sparse_initializers_keep_their_dense_shape_and_their_stored_count():
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("w", TensorProto.FLOAT, [3], [1, 2, 3]),
        helper.make_tensor("i", TensorProto.INT64, [3, 2], [0, 0, 1, 1, 2, 2]),
        [100, 200],
    )
    model = wrap(sparse_initializer=[sparse])
    check_model(read(model), model)
    tensor = read(model).graph.initializers["w"]
    assert (tensor.numel, tensor.stored_numel) == (20000, 3)


def test_a_tensor_stripped_of_its_data_keeps_its_shape():
    for tensor in (
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 5]),
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 5], raw_data=b""),
    ):
        ours = read_tensor(tensor)
        assert ours.dims == (4, 5)
        assert ours.load is None


def test_a_tensor_without_elements_is_read():
    ours = read_tensor(TensorProto(name="w", data_type=TensorProto.INT64, dims=[0, 5]))
    assert ours.load() == ()
