"""ONNX Runtime sessions, made-up inputs and timings."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rnncost.errors import BindingError, MeasurementError
from rnncost.runtime.inputs import make_inputs
from rnncost.runtime.machine import Machine, machine, runtime_version
from rnncost.runtime.reference import (
    chain_inputs,
    chain_model,
    reference_inputs,
    reference_model,
)
from rnncost.runtime.session import create_session
from rnncost.runtime.timing import (
    Interleaved,
    Run,
    Timing,
    _quantile,
    prepare,
    time_interleaved,
)


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, tuple[int, list[Any] | None]],
    weights: dict[str, np.ndarray[Any, Any]] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(n, *spec) for n, spec in inputs.items()],
        [helper.make_tensor_value_info(n, *spec) for n, spec in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def lstm_model(hidden: int = 16) -> bytes:
    """x [seq, 1, 8] through an LSTM."""
    generator = np.random.default_rng(0)
    weights = {
        "w": generator.standard_normal((1, 4 * hidden, 8), dtype=np.float32),
        "r": generator.standard_normal((1, 4 * hidden, hidden), dtype=np.float32),
    }
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=hidden)
    float_ = TensorProto.FLOAT
    made = model(
        [node], {"x": (float_, ["seq", 1, 8])}, {"y": (float_, ["seq", 1, 1, hidden])}, weights
    )
    return made.SerializeToString()


def identity(element: int, shape: list[Any]) -> bytes:
    made = model(
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": (element, shape)},
        {"y": (element, None)},
    )
    return made.SerializeToString()


def scripted(seconds: list[float], seen: list[str], name: str) -> Run:
    """A run that takes no time and says that it took the next of ``seconds``."""
    left = iter(seconds)

    def run() -> float:
        seen.append(name)
        return next(left)

    return Run(run, 0.0)


def test_a_timing_agrees_with_a_clock_around_plain_runs() -> None:
    session = create_session(lstm_model(64))
    inputs = make_inputs(session, dims={"seq": 200})
    timed = time_interleaved([prepare(session, inputs)], rounds=5, min_time_s=0.02)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        session.run(None, inputs)
        times.append(time.perf_counter() - start)
    (timing,) = timed.timings
    assert timing.runs >= 5
    assert 0 < timing.min_s <= timing.median_s <= timing.p90_s
    assert 0.2 < timing.min_s / min(times) < 5
    assert len(timing.per_round_min_s) == timed.rounds == 5
    assert min(timing.per_round_min_s) == timing.min_s


def test_a_prepared_run_takes_no_longer_than_a_plain_one() -> None:
    """Passing run options to ONNX Runtime 1.32 made a run of 2 µs one of 28 µs."""
    session = create_session(chain_model(1))
    inputs = chain_inputs()
    prepared = prepare(session, inputs)

    def plain() -> float:
        start = time.perf_counter()
        session.run(None, inputs)
        return time.perf_counter() - start

    assert min(prepared.run() for _ in range(500)) < 2 * min(plain() for _ in range(500))


def test_runs_take_turns_with_the_reference_before_each() -> None:
    """A burst here is one run that does not count and one that does."""
    seen: list[str] = []
    first = scripted([9.0, 3.0, 9.0, 1.0, 9.0, 2.0], seen, "a")
    second = scripted([9.0, 5.0, 9.0, 5.0, 9.0, 8.0], seen, "b")
    kernel = Run(lambda: (seen.append("-"), 0.5)[1])
    timed = time_interleaved([first, second], rounds=3, min_time_s=1.0, reference=kernel)
    turns = "".join(seen)
    assert re.fullmatch("(--+aa--+bb){3}", turns)
    a, b = timed.timings
    assert a.per_round_min_s == (3.0, 1.0, 2.0)
    assert (a.min_s, a.median_s, a.runs) == (1.0, 2.0, 3)
    assert a.noise == 2.0
    assert b.per_round_min_s == (5.0, 5.0, 8.0)
    assert b.noise == 1.0
    assert (timed.reference.min_s, timed.drift) == (0.5, 1.0)


def test_drift_and_noise_are_those_of_the_reference() -> None:
    def reference(*rounds: float) -> Interleaved:
        timing = Timing(
            min_s=min(rounds), median_s=1, p90_s=1, iqr_s=0, runs=9, per_round_min_s=rounds
        )
        return Interleaved(timings=(), reference=timing)

    assert reference(1.0, 1.2, 0.8).drift == pytest.approx(1.5)
    # One slow round is drift, but most rounds reached the minimum.
    assert not reference(1.0, 1.01, 3.0).noisy
    assert reference(1.0, 1.3, 1.2).noisy


def test_longer_sequences_take_longer() -> None:
    session = create_session(lstm_model())
    runs = [prepare(session, make_inputs(session, dims={"seq": n})) for n in (10, 10_000)]
    short, long = time_interleaved(runs, rounds=3, min_time_s=0.01).timings
    assert long.min_s > 5 * short.min_s


def test_the_time_limits_hold() -> None:
    session = create_session(lstm_model())
    run = prepare(session, make_inputs(session, dims={"seq": 5}))
    start = time.perf_counter()
    timed = time_interleaved([run], rounds=10**9, min_time_s=0.01, max_time_s=0.1)
    assert 1 <= timed.rounds < 100
    assert time.perf_counter() - start < 5
    # However short the time, each run has one whole round.
    timed = time_interleaved([run, run], rounds=5, min_time_s=0.0, max_time_s=0.0)
    assert [t.runs for t in timed.timings] == [1, 1]


def test_nothing_to_time_is_refused() -> None:
    run = Run(lambda: 1.0)
    for runs, rounds in (([], 1), ([run], 0)):
        with pytest.raises(ValueError, match="at least one run and one round"):
            time_interleaved(runs, rounds=rounds, min_time_s=0.0)


def test_an_output_of_another_shape_than_declared_is_timed() -> None:
    made = model(
        [helper.make_node("Concat", ["x", "x"], ["y"], axis=0)],
        {"x": (TensorProto.FLOAT, ["n", 2])},
        {"y": (TensorProto.FLOAT, ["m", 2])},
    )
    made.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 6
    session = create_session(made.SerializeToString())
    run = prepare(session, make_inputs(session, dims={"n": 4}))
    assert run.run() > 0
    assert run.run() > 0


def test_a_run_that_fails_is_one_sentence() -> None:
    session = create_session(lstm_model())
    run = prepare(session, {"x": np.zeros((3, 1, 9), np.float32)})
    with pytest.raises(MeasurementError, match="cannot run the model") as caught:
        time_interleaved([run], rounds=1, min_time_s=0.0)
    assert "\n" not in str(caught.value)
    with pytest.raises(MeasurementError, match="refuses the inputs"):
        prepare(session, {"z": np.zeros((3, 1, 8), np.float32)})


@pytest.mark.parametrize("made", [reference_model(), chain_model(3), chain_model(200)])
def test_the_models_made_here_are_onnx(made: bytes) -> None:
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)


def test_the_reference_is_one_product_and_the_chain_adds_zeros() -> None:
    session = create_session(reference_model())
    inputs = reference_inputs()
    (product,) = session.run(None, inputs)
    np.testing.assert_allclose(product, inputs["a"] @ inputs["b"], rtol=1e-4, atol=1e-4)
    assert [n.op_type for n in onnx.load_from_string(chain_model(3)).graph.node] == ["Add"] * 3
    (last,) = create_session(chain_model(3)).run(None, chain_inputs())
    assert last.tolist() == [0.0]


def test_the_garbage_collector_is_as_it_was() -> None:
    for turn in (gc.enable, gc.disable, gc.enable):
        turn()
        before = gc.isenabled()
        during: list[bool] = []
        run = Run(lambda during=during: (during.append(gc.isenabled()), 1.0)[1])
        time_interleaved([run], rounds=1, min_time_s=0.0, reference=run)
        assert not any(during)
        assert gc.isenabled() == before


def test_quantiles_are_numpys() -> None:
    values = sorted(np.random.default_rng(1).random(23).tolist())
    for q in (0.0, 0.25, 0.5, 0.9, 1.0):
        assert _quantile(values, q) == pytest.approx(float(np.quantile(values, q)))
    assert _quantile([3.0], 0.9) == 3.0


@pytest.mark.parametrize(
    ("element", "dtype"),
    [
        (TensorProto.FLOAT, np.float32),
        (TensorProto.DOUBLE, np.float64),
        (TensorProto.FLOAT16, np.float16),
        (TensorProto.INT64, np.int64),
        (TensorProto.INT32, np.int32),
        (TensorProto.UINT8, np.uint8),
        (TensorProto.INT8, np.int8),
        (TensorProto.BOOL, np.bool_),
    ],
)
def test_inputs_have_the_types_and_shapes_of_the_model(element: int, dtype: Any) -> None:
    session = create_session(identity(element, [2, "n"]))
    made = make_inputs(session, dims={"n": 3})["x"]
    assert (made.shape, made.dtype) == ((2, 3), dtype)
    assert make_inputs(session, shapes={"x": (2, 7)})["x"].shape == (2, 7)
    np.testing.assert_array_equal(session.run(None, {"x": made})[0], made)
    if np.issubdtype(dtype, np.floating):
        assert len(set(made.ravel().tolist())) == 6
        np.testing.assert_array_equal(made, make_inputs(session, dims={"n": 3})["x"])
    else:
        assert (made == 1).all()


def test_given_values_are_used_in_every_form() -> None:
    session = create_session(identity(TensorProto.INT64, [2, "n"]))
    expected = np.array([[1, 2, 3], [4, 5, 6]])
    forms: list[Any] = [
        expected,
        expected.tolist(),
        {"shape": [2, 3], "elements": [1, 2, 3, 4, 5, 6]},
    ]
    for form in forms:
        made = make_inputs(session, values={"x": form})["x"]
        assert made.dtype == np.int64
        np.testing.assert_array_equal(made, expected)
    scalar = create_session(identity(TensorProto.INT64, []))
    assert make_inputs(scalar, values={"x": 16000})["x"] == 16000
    for wrong in ({"shape": [5], "elements": [1]}, {"shape": [1]}, [[1], [2, 3]], "text"):
        with pytest.raises(MeasurementError, match="value of input 'x'"):
            make_inputs(session, values={"x": wrong})


def test_an_input_that_cannot_be_made_is_named_with_the_flag_that_helps() -> None:
    session = create_session(identity(TensorProto.FLOAT, [2, "n"]))
    with pytest.raises(MeasurementError, match=r"'n' of input 'x' is free: give --dim n=N or"):
        make_inputs(session)
    unnamed = create_session(identity(TensorProto.FLOAT, [2, None]))
    with pytest.raises(MeasurementError, match=r"without a name of input 'x'.*--shape x="):
        make_inputs(unnamed)
    with pytest.raises(MeasurementError, match="cannot be made"):
        make_inputs(session, dims={"n": 10**12})
    with pytest.raises(MeasurementError, match="cannot be made"):
        make_inputs(session, dims={"n": -1})


def test_an_input_that_is_no_tensor_is_refused() -> None:
    sequence = helper.make_sequence_type_proto(
        helper.make_tensor_type_proto(TensorProto.FLOAT, [None])
    )
    graph = helper.make_graph(
        [helper.make_node("SequenceLength", ["s"], ["n"])],
        "test",
        [helper.make_value_info("s", sequence)],
        [helper.make_tensor_value_info("n", TensorProto.INT64, [])],
    )
    opset = helper.make_opsetid("", 17)
    made = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    with pytest.raises(MeasurementError, match=r"input 's' is seq\(tensor\(float\)\)"):
        make_inputs(create_session(made.SerializeToString()))


def test_threads_are_fixed() -> None:
    options = create_session(lstm_model(), threads=2).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    with pytest.raises(BindingError, match="at least 1"):
        create_session(lstm_model(), threads=0)


@pytest.mark.parametrize("content", [b"", b"no model", lstm_model()[:50]])
def test_a_file_that_onnx_runtime_refuses_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(MeasurementError, match=r"cannot load .*m\.onnx") as caught:
        create_session(path)
    assert "\n" not in str(caught.value)
    assert "[ONNXRuntimeError]" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="no model file"):
        create_session(tmp_path / "none.onnx")


def test_external_data_of_a_model_in_memory_is_found(tmp_path: Path) -> None:
    made = onnx.load_from_string(lstm_model())
    onnx.save(
        made, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    slim = (tmp_path / "m.onnx").read_bytes()
    session = create_session(slim, external_data_folder=tmp_path)
    expected = create_session(lstm_model())
    x = make_inputs(expected, dims={"seq": 3})
    np.testing.assert_array_equal(session.run(None, x)[0], expected.run(None, x)[0])


def test_profiling_and_configuration_reach_the_session(tmp_path: Path) -> None:
    session = create_session(
        lstm_model(),
        optimization="disable",
        config={"session.disable_prepacking": "1"},
        profile_prefix=tmp_path / "run",
    )
    session.run(None, make_inputs(session, dims={"seq": 2}))
    file = Path(session.end_profiling())
    assert file.parent == tmp_path
    assert "LSTM" in file.read_text()


def test_onnx_runtime_writes_nothing_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(lstm_model())
    code = (
        "import sys, numpy as np\n"
        "from rnncost.runtime.session import create_session\n"
        "from rnncost.runtime.timing import prepare\n"
        "from rnncost.errors import MeasurementError\n"
        f"session = create_session({str(path)!r})\n"
        "try: prepare(session, {'x': np.zeros((3, 1, 9), np.float32)}).run()\n"
        "except MeasurementError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_the_machine_is_described() -> None:
    here = machine()
    assert here == machine()
    assert here.cores >= 1
    assert here.cpu
    assert str(Machine(cpu="A CPU", cores=1, system="Linux 6")) == "A CPU, 1 core, Linux 6"
    assert re.fullmatch(r"onnxruntime \d+\.\d+.*", runtime_version())


def test_modules_load_without_onnx_runtime() -> None:
    code = (
        "import sys, rnncost.runtime.timing, rnncost.runtime.inputs; "
        "assert not {'onnxruntime', 'numpy', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
