"""What starting rnncost imports: an allowlist, held in a fresh process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

# Packages outside the standard library that each start may import.
NOTHING: set[str] = set()
HELP = {"click"}
YAML = {"yaml", "_yaml", "cython_runtime"}
ANALYZE = HELP | YAML | {"msgspec", "tabulate", "typing_extensions"}

PROBE = """
import sys
before = set(sys.modules)
{code}
tops = {{name.partition(".")[0] for name in set(sys.modules) - before}}
tops -= set(sys.stdlib_module_names) | {{"rnncost"}}
print("IMPORTED", *sorted(t for t in tops if not t.startswith("_cython_")))
"""


def imported(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(code=code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "IMPORTED"
    return set(last[1:])


def main_of(*args: str) -> str:
    return f"from rnncost.cli.main import main; assert main({list(args)!r}) == 0"


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An LSTM of four units in ONNX."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    t, i, h = 5, 3, 4
    weights = [
        numpy_helper.from_array(np.ones((1, 4 * h, i), np.float32), "W"),
        numpy_helper.from_array(np.ones((1, 4 * h, h), np.float32), "R"),
    ]
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "W", "R"], ["y"], name="lstm", hidden_size=h)],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [t, 1, i])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [t, 1, 1, h])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path = tmp_path_factory.mktemp("models") / "small.onnx"
    onnx.save(model, path)
    return path


def test_import_rnncost() -> None:
    assert imported("import rnncost") == NOTHING


def test_help() -> None:
    assert imported(main_of("--help")) <= HELP
    assert imported(main_of("--version")) <= HELP


@pytest.mark.parametrize("command", ["analyze", "validate", "check", "render", "profiles"])
def test_help_of_commands(command: str) -> None:
    assert imported(main_of(command, "--help")) <= HELP | {"msgspec", "typing_extensions"}


def test_analyze(small_model: Path) -> None:
    assert imported(main_of("analyze", str(small_model))) <= ANALYZE
    assert imported(main_of("analyze", str(small_model), "-o", "json")) <= ANALYZE - {"tabulate"}


def test_help_answers_at_once() -> None:
    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "rnncost", "--help"], capture_output=True, check=True)
        return time.perf_counter() - start

    assert min(once() for _ in range(5)) < 0.2
