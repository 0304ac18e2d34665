"""A design's figures are those that ``rnncost.analyze`` gives for the model itself."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rnncost
from rnncost.latency.arrays.layer import GATES, STATES
from rnncost.latency.onnxruntime_cpu.predict import constants_for
from rnncost.report.model import Report
from rnncost.search import evaluate
from rnncost.search.counts import COUNTS
from rnncost.search.stack import Design

PROFILES = ("x86-64-server-core", "raspberry-pi-4", "a100-40gb-pcie", "t4", "cortex-m7", "esp32-s3")
ESTIMATED = ("latency_s", "dram_bytes", "energy_j")


def available() -> list[str]:
    names = {profile.name for profile in rnncost.list_profiles()}
    found = [name for name in PROFILES if name in names]
    assert len(found) >= 4
    return found


def design(rng: random.Random, layers: int) -> Design:
    return Design(
        cell=rng.choice(("lstm", "gru", "rnn")),
        directions=rng.choice((1, 2)),
        layers=layers,
        hidden=rng.randint(1, 200),
        inputs=rng.randint(1, 200),
        steps=rng.randint(1, 40),
        batch=rng.randint(1, 9),
        precision=rng.choice((None, None, "int8", "fp16")),
    )


def found(one: Design, names: list[str], threads: int) -> dict[str, Any]:
    """What the arrays say of one design, between two others that must not disturb it."""
    metrics = [*COUNTS, *(f"{metric}@{name}" for name in names for metric in metrics_of(name))]
    hidden = np.array([1, one.hidden, 3000])
    columns = evaluate(
        metrics,
        cell=one.cell,
        layers=one.layers,
        direction="bi" if one.directions == 2 else "uni",
        precision=one.precision or "fp32",
        hidden=hidden,
        inputs=one.inputs,
        steps=np.array([7, one.steps, 30]),
        batch=one.batch,
        threads=threads,
    )
    assert list(columns) == metrics
    return {key: column[1].item() for key, column in columns.items()}


def metrics_of(name: str) -> list[str]:
    profile = rnncost.load_profile(name)
    extra = ["energy_j"] if profile.energy else []
    return ["latency_s", "dram_bytes", *extra, *(["fits"] if profile.capacity else [])]


def expected(report: Report, precision: str | None) -> dict[str, Any]:
    bits = {None: 32, "fp16": 16, "int8": 8}[precision]
    wanted: dict[str, Any] = {}
    for name in COUNTS:
        value = getattr(report.totals, name)
        wanted[name] = value * bits // 32 if name.endswith("_bytes") else value
    for estimate in report.estimates:
        for name in metrics_of(estimate.profile):
            fits = estimate.fits
            value = fits.weights and fits.activations if name == "fits" else getattr(estimate, name)
            wanted[f"{name}@{estimate.profile}"] = value
    return wanted


def onnx_model(one: Design) -> onnx.ModelProto:
    """Recurrent nodes of the ONNX standard, joined as exporters do it: Squeeze, or Transpose and
    Reshape where a layer has two directions."""
    t, b, d, h = one.steps, one.batch, one.directions, one.hidden
    columns = GATES[one.cell] * h
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, np.ndarray] = {
        "axis": np.array([1], np.int64),
        "joined": np.array([t, b, d * h], np.int64),
    }
    x = "x"
    for layer in range(one.layers):
        width = one.inputs if layer == 0 else d * h
        shapes = {"W": (d, columns, width), "R": (d, columns, h), "B": (d, 2 * columns)}
        weights |= {f"{name}{layer}": np.ones(s, np.float32) for name, s in shapes.items()}
        made = [f"{name}{layer}" for name in ("Y", "Yh", "Yc")[: 1 + STATES[one.cell]]]
        extra = {"linear_before_reset": 1} if one.cell == "gru" else {}
        nodes.append(
            helper.make_node(
                one.cell.upper(),
                [x, *(f"{name}{layer}" for name in shapes)],
                made,
                name=f"layer{layer}",
                hidden_size=h,
                direction="bidirectional" if d == 2 else "forward",
                **extra,
            )
        )
        if layer == one.layers - 1:
            break
        x = f"x{layer + 1}"
        if d == 1:
            nodes.append(helper.make_node("Squeeze", [made[0], "axis"], [x]))
        else:
            turned = f"turned{layer}"
            nodes.append(helper.make_node("Transpose", [made[0]], [turned], perm=[0, 2, 1, 3]))
            nodes.append(helper.make_node("Reshape", [turned, "joined"], [x]))
    graph = helper.make_graph(
        nodes,
        "stack",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [t, b, one.inputs])],
        [helper.make_tensor_value_info(made[0], TensorProto.FLOAT, [t, d, b, h])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize("seed", range(24))
def test_one_layer_as_an_onnx_model(seed: int) -> None:
    rng = random.Random(seed)
    one, threads, names = design(rng, 1), rng.choice((1, 2, 4)), available()
    report = rnncost.analyze(
        onnx_model(one), profiles=names, threads=threads, precision=one.precision
    )
    assert found(one, names, threads) == expected(report, one.precision)


@pytest.mark.parametrize("seed", range(24))
def test_a_stack_as_an_onnx_model_without_what_joins_its_layers(seed: int) -> None:
    """What stands between the nodes of a file is no part of a design."""
    rng = random.Random(100 + seed)
    one = design(rng, rng.randint(2, 4))
    name = "x86-64-server-core"
    report = rnncost.analyze(onnx_model(one), profiles=name, precision=one.precision)
    rows = [row for row in report.ops if row.dims]
    assert len(rows) == one.layers
    mine = found(one, [name], 1)
    wanted = expected(report, one.precision)
    sums = ("params", "macs", "streamed_bytes", "activation_bytes", "compulsory_bytes")
    for metric in sums:
        factor = {None: 4, "fp16": 2, "int8": 1}[one.precision] if "_bytes" in metric else 4
        assert mine[metric] * 4 == sum(getattr(row, metric) for row in rows) * factor, metric
    same = set(COUNTS) - {"streamed_bytes", "activation_bytes"}
    if one.directions == 1:  # a Squeeze moves nothing
        same = set(COUNTS)
    assert {key: mine[key] for key in same} == {key: wanted[key] for key in same}
    constants, _ = constants_for(rnncost.load_profile(name))
    recurrent = {row.name for row in rows}
    parts = [op.latency_s for op in report.estimates[0].ops if op.name in recurrent]
    assert mine[f"latency_s@{name}"] == math.fsum([constants.run_s, *parts])


@pytest.mark.torch
@pytest.mark.parametrize("seed", range(16))
def test_a_stack_as_a_module(seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = random.Random(200 + seed)
    one, threads, names = design(rng, rng.randint(1, 4)), rng.choice((1, 2, 4)), available()
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[one.cell]

    class Outputs(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layers = kind(
                one.inputs, one.hidden, one.layers, bidirectional=one.directions == 2
            )

        def forward(self, x: Any) -> Any:
            return self.layers(x)[0]

    x = torch.empty(one.steps, one.batch, one.inputs, device="meta")
    report = rnncost.analyze(
        Outputs().to("meta"), (x,), profiles=names, threads=threads, precision=one.precision
    )
    assert found(one, names, threads) == expected(report, one.precision)


def test_evaluate_answers_in_the_shape_of_the_sizes() -> None:
    columns = evaluate(
        ("params", "latency_s@raspberry-pi-4", "sequential_share"),
        hidden=np.arange(1, 20_001)[:, None],
        inputs=np.array([[1, 80]]),
    )
    params, latency = columns["params"], columns["latency_s@raspberry-pi-4"]
    assert params.shape == latency.shape == (20_000, 2)
    assert (params.dtype, latency.dtype) == (np.int64, np.float64)
    hidden = np.arange(1, 20_001)
    assert params[:, 1].tolist() == (4 * hidden * (80 + hidden) + 8 * hidden).tolist()
    one = evaluate("latency_s@raspberry-pi-4", hidden=12_345, inputs=80)
    assert one["latency_s@raspberry-pi-4"].shape == ()
    assert one["latency_s@raspberry-pi-4"] == latency[12_344, 1]
    assert evaluate("macs", hidden=np.array([], np.int64), inputs=3)["macs"].shape == (0,)


def test_designs_are_evaluated_by_the_hundred_thousand() -> None:
    """A tenth of what benchmarks/fit_speed.py measures, so that a busy machine passes."""
    rng = np.random.default_rng(5)
    sizes = {
        name: rng.integers(1, most, 200_000)
        for name, most in {"steps": 300, "batch": 9, "inputs": 400, "hidden": 600}.items()
    }
    start = time.process_time()
    evaluate(("macs", "latency_s@x86-64-server-core"), **sizes)
    assert time.process_time() - start < 1.0


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"hidden": 0}, "hidden must be whole numbers from 1 to"),
        ({"hidden": 1.5}, "hidden must be whole numbers"),
        ({"hidden": np.array([1.0, 2.0])}, "as integers"),
        ({"hidden": [1, 2], "steps": [1, 2, 3]}, "the shapes of the arrays do not go together"),
        ({"hidden": True}, "hidden must be whole numbers"),
        ({"hidden": 2**31 - 1}, "too large to be counted exactly"),
        ({"hidden": 8, "layers": 0}, "layers must be a whole number from 1 to 1,000"),
        ({"hidden": 8, "threads": 0}, "threads must be a whole number"),
        ({"hidden": 8, "cell": "ltsm"}, "did you mean 'lstm'?"),
        ({"hidden": 8, "direction": "both"}, "there is no direction 'both'"),
        ({"hidden": 8, "precision": "fp31"}, "did you mean 'fp32'?"),
    ],
)
def test_evaluate_refuses_odd_sizes(sizes: dict[str, Any], said: str) -> None:
    with pytest.raises(rnncost.RnncostError, match=said.replace("?", r"\?")):
        evaluate("params", inputs=1, **sizes)
