"""How much of the real models the available shape inference libraries can follow.

For each model, with its input shapes fixed: of the values that a run computes in the main
graph (constants and shape arithmetic left out), the share whose shape is complete, for
onnx's own inference, onnx-shape-inference, and rnncost.

    python -m pip install onnx-shape-inference
    python benchmarks/shape_inference.py [FOLDER OF UNPACKED PACKAGES]
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from rnncost.frontends.onnx import load
from rnncost.graph.ir import Graph, Tensor
from rnncost.graph.source import InputValue, Request

ROOT = Path(__file__).parent.parent


def fixed(path: Path, inputs: dict[str, Any]) -> onnx.ModelProto:
    """Load a model and write the given input shapes into it; declared outputs are dropped."""
    model = onnx.load(path)
    for value in model.graph.input:
        if value.name in inputs:
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for extent in inputs[value.name]["shape"]:
                shape.dim.add().dim_value = extent
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return model


def stock(model: onnx.ModelProto) -> set[str]:
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = [*inferred.value_info, *inferred.output]
    return {v.name for v in values if _complete(v.type.tensor_type)}


def _complete(kind: onnx.TypeProto.Tensor) -> bool:
    return kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim)


def library(model: onnx.ModelProto) -> set[str]:
    import onnx_ir
    import onnx_shape_inference

    ir = onnx_ir.from_proto(model)
    onnx_shape_inference.infer_symbolic_shapes(ir)
    return {
        o.name
        for node in ir.graph
        for o in node.outputs
        if o.name and o.shape is not None and all(isinstance(d, int) for d in o.shape.dims)
    }


def follow(path: Path, inputs: dict[str, Any]) -> Graph:
    """The graph as rnncost follows it."""
    request = Request(
        shapes={name: tuple(i["shape"]) for name, i in inputs.items()},
        values={name: InputValue((), (i["value"],)) for name, i in inputs.items() if "value" in i},
    )
    return load(str(path), request).graph


def results(graph: Graph) -> dict[str, Tensor]:
    return {t.name: t for op in graph.ops for t in op.outputs if t is not None}


def row(path: Path, fact: dict[str, Any]) -> str:
    """One line of the table: each library's share of the outputs, and its time."""
    model = fixed(path, fact["inputs"])
    computed = results(follow(path, fact["inputs"]))
    wanted = computed.keys() & {o for node in model.graph.node for o in node.output}
    followers: tuple[Callable[[], set[str]], ...] = (
        lambda: stock(model),
        lambda: library(model),
        lambda: {
            name
            for name, tensor in results(follow(path, fact["inputs"])).items()
            if tensor.shape is not None
        },
    )
    cells = []
    for known in followers:
        start = time.perf_counter()
        try:
            share = len(known() & wanted) / len(wanted)
            cells.append(f"{share:.0%}, {(time.perf_counter() - start) * 1e3:.0f} ms")
        except Exception as error:
            cells.append(f"fails: {type(error).__name__}")
    return f"| {path.name}, {fact['case']} | {len(wanted)} | {' | '.join(cells)} |"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".real_models"
    facts = json.loads((ROOT / "tests" / "data" / "real_models.json").read_text())
    print("| model | outputs | onnx | onnx-shape-inference | rnncost |\n|---|---|---|---|---|")
    for fact in facts["models"]:
        print(row(folder / fact["path"], fact), flush=True)


if __name__ == "__main__":
    main()
