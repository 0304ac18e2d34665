"""A model's rows and its measured nodes, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rnncost.counting.count import count
from rnncost.graph.dim import Dim
from rnncost.graph.ir import Graph
from rnncost.graph.source import InputValue, Request
from rnncost.report.model import Bindings, Report
from rnncost.runtime.node_times import NodeTime
from rnncost.validation.matching import Line, match
from rnncost.validation.model import NodeLine


def node_lines(
    model: str | Path, report: Report, times: Sequence[NodeTime], optimized: Path
) -> list[NodeLine]:
    """Group rows and nodes (see ``match``), the longest measured first.

    Rows that cost nothing and were not measured are left out.

    Args:
        model: the file that the report is of.
        report: with one estimate or more.
        times: the measured nodes.
        optimized: the model as ONNX Runtime ran it.

    Raises:
        ModelError: one of the models cannot be followed.
    """
    from rnncost.frontends.onnx import load
    from rnncost.frontends.onnx.read import read_model

    graph = load(model, _settled(report.bindings), cost_of=_macs).graph
    counted = count(graph)
    lines = match(graph, counted.ops, times, read_model(optimized).graph)
    made = [_line(line, report, times) for line in lines]
    shown = [line for line in made if line.nodes or any(line.estimated_s.values())]
    return sorted(shown, key=_weight, reverse=True)


def _weight(line: NodeLine) -> tuple[float, float]:
    return line.measured_s or 0.0, max(line.estimated_s.values(), default=0.0)


def _settled(bindings: Bindings) -> Request:
    """The inputs of a report as a request that leaves nothing open."""
    values = {
        name: InputValue(tuple(value["shape"]), tuple(value["elements"]))
        if isinstance(value, dict)
        else InputValue((), (value,))
        for name, value in bindings.values.items()
    }
    shapes = {name: tuple(shape) for name, shape in bindings.shapes.items() if name not in values}
    return Request(dims=bindings.dims, shapes=shapes, values=values, trace=bindings.traced)


def _macs(graph: Graph) -> Dim:
    return count(graph).totals.macs


def _line(line: Line, report: Report, times: Sequence[NodeTime]) -> NodeLine:
    rows = [report.ops[number] for number in line.rows]
    nodes = [times[number] for number in line.nodes]
    estimated_s = {}
    bound_by = {}
    if rows:
        for estimate in report.estimates:
            parts = [estimate.ops[number] for number in line.rows]
            estimated_s[estimate.profile] = sum(part.latency_s for part in parts)
            bound_by[estimate.profile] = max(parts, key=lambda part: part.latency_s).bound_by
    return NodeLine(
        rows=[row.name for row in rows],
        op_types=_once(row.op_type for row in rows),
        nodes=[node.name for node in nodes],
        node_types=_once(node.op_type for node in nodes),
        kinds=_once(row.kind for row in rows),
        measured_s=sum(node.seconds for node in nodes) if nodes else None,
        estimated_s=estimated_s,
        bound_by=bound_by,
    )


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
