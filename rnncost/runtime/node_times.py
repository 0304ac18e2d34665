"""The time of each node, from ONNX Runtime's profiler, with the profiler's own cost taken off.

The profiler writes whole microseconds, and describes the shapes of each node's tensors
within the time that it gives the node: some two microseconds, more than most small nodes
take. What it costs is therefore measured first, on a chain of cheap nodes whose time
without the profiler is known. Times are means over the faster runs; the mean of many cut
off microseconds is finer than one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Union

import msgspec

from rnncost.errors import MeasurementError
from rnncost.runtime.profiling import NODE_END, Event, read_events
from rnncost.runtime.reference import chain_inputs, chain_model
from rnncost.runtime.session import create_session
from rnncost.runtime.timing import Run, Timing, prepare

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

CONTROL = frozenset(("If", "Loop", "Scan"))
"""Operators whose time holds that of the nodes in their bodies."""

_RUN = "model_run"
_FASTER = 0.02
_FEWEST = 3
_CHAIN = 200
_NARROW, _WIDE = 2, 8
"""Inputs of a node of the two chains."""

_PROBE_S = 4e-3


class NodeTime(msgspec.Struct, frozen=True, kw_only=True):
    """The time of one node in one run, all its executions together.

    ``path`` names the control-flow nodes around it, the outermost first. ``seconds`` is its
    own time: that of the nodes in a body belongs to them.
    """

    name: str
    op_type: str
    path: tuple[str, ...]
    executions: int
    seconds: float


class ProfilerCost(msgspec.Struct, frozen=True, kw_only=True):
    """What the profiler adds to one node: to the time it reports, and around that.

    To the time it reports it adds ``inside_s`` and, for each tensor that the node reads or
    writes, ``tensor_s``.
    """

    inside_s: float
    outside_s: float
    tensor_s: float = 0.0


class Profile:
    """A session that is profiled: ``run`` it, then ``finish`` once.

    The profile goes to a folder of its own in ``folder``, and so does the model as ONNX
    Runtime runs it, to the file ``optimized``.
    """

    def __init__(
        self,
        model: Union[str, Path, bytes],
        inputs: Mapping[str, np.ndarray[Any, Any]],
        *,
        threads: int,
        folder: Union[str, Path],
        burst_s: Union[float, None] = None,
    ) -> None:
        folder = tempfile.mkdtemp(dir=folder)
        self.optimized = Path(folder) / "optimized.onnx"
        self._session: onnxruntime.InferenceSession = create_session(
            model,
            threads=threads,
            profile_prefix=Path(folder) / "profile",
            optimized_path=self.optimized,
        )
        self.run = Run(prepare(self._session, inputs).run, burst_s)

    def finish(self, cost: ProfilerCost) -> tuple[NodeTime, ...]:
        """The time of each node, in the order of first execution.

        Raises:
            MeasurementError: the profile cannot be read, or the runs were too many for it.
        """
        with Path(self._session.end_profiling()).open("rb") as lines:
            return node_times(lines, cost)


class CostProbe:
    """Five runs that show what the profiler adds to a node; time them beside a profile.

    One node, a chain of nodes, one of nodes with more inputs, and both chains profiled.
    """

    def __init__(self, threads: int, folder: Union[str, Path]) -> None:
        inputs = chain_inputs()
        chains = [chain_model(_CHAIN + 1), chain_model(_CHAIN + 1, inputs=_WIDE)]
        self._profiles = [
            Profile(chain, inputs, threads=threads, folder=folder, burst_s=_PROBE_S)
            for chain in chains
        ]
        plain = (
            prepare(create_session(model, threads=threads), inputs).run
            for model in (chain_model(1), *chains)
        )
        self.runs = (
            *(Run(run, _PROBE_S) for run in plain),
            *(profile.run for profile in self._profiles),
        )

    def cost(self, timings: Sequence[Timing]) -> ProfilerCost:
        """What the profiler costs, from the timings of the five runs.

        Raises:
            MeasurementError: the profile cannot be read.
        """
        short, narrow, wide, profiled, _ = timings
        inside_s = []
        for long, profile in zip((narrow, wide), self._profiles, strict=True):
            node_s = (long.min_s - short.min_s) / _CHAIN
            nodes = profile.finish(ProfilerCost(inside_s=0.0, outside_s=0.0))
            inside_s.append(max(0.0, fmean(node.seconds for node in nodes) - node_s))
        tensor_s = max(0.0, (inside_s[1] - inside_s[0]) / (_WIDE - _NARROW))
        added_s = (profiled.min_s - narrow.min_s) / _CHAIN
        return ProfilerCost(
            inside_s=max(0.0, inside_s[0] - (_NARROW + 1) * tensor_s),
            outside_s=max(0.0, added_s - inside_s[0]),
            tensor_s=tensor_s,
        )


def node_times(lines: Iterable[bytes], cost: ProfilerCost) -> tuple[NodeTime, ...]:
    """Read a profile of many runs: means over the fastest runs of those alike, one in fifty.

    Raises:
        MeasurementError: the profile cannot be read or holds no run.
    """
    runs: dict[tuple[tuple[str, ...], ...], list[tuple[int, list[_Nested]]]] = {}
    for run_us, nodes in _runs(read_events(lines, [NODE_END.encode(), _RUN.encode()])):
        signature = tuple((*node.path, node.name, node.op_type) for node in nodes)
        runs.setdefault(signature, []).append((run_us, nodes))
    if not runs:
        raise MeasurementError("ONNX Runtime's profile holds no run")
    # A node whose work is random may take another branch: most runs are alike.
    alike = max(runs.values(), key=len)
    alike.sort(key=lambda run: run[0])
    faster = [nodes for _, nodes in alike[: max(_FEWEST, round(len(alike) * _FASTER))]]
    return _means(faster, cost)


class _Nested(msgspec.Struct):
    """An event with the control-flow nodes around it.

    ``inside_us`` is the time from the first node of a trip through a body to its last, over
    all trips.
    """

    name: str
    op_type: str
    start_us: int
    duration_us: int
    tensors: int = 0
    path: tuple[str, ...] = ()
    inside_us: int = 0
    trips: int = 0
    nodes: list[_Nested] = []


def _runs(events: Iterable[Event]) -> Iterator[tuple[int, list[_Nested]]]:
    """Each run's microseconds and its nodes, those of a body before their control-flow node."""
    top: list[_Nested] = []
    for event in events:
        if event.name.endswith(NODE_END):
            node = _Nested(
                event.name.removesuffix(NODE_END),
                event.args.op_name,
                event.ts,
                event.dur,
                len(event.args.input_type_shape) + len(event.args.output_type_shape),
            )
            if node.op_type in CONTROL:
                # An event is written when it ends: those that began later lie within.
                first = len(top)
                while first and top[first - 1].start_us >= node.start_us:
                    first -= 1
                node.nodes = top[first:]
                node.inside_us, node.trips = _inside(node.nodes)
                del top[first:]
            top.append(node)
        elif event.name == _RUN:
            yield event.dur, _flat(top, ())
            top = []


def _inside(nodes: Sequence[_Nested]) -> tuple[int, int]:
    """The time within trips through a body, and how many trips there were.

    A trip begins where the first node runs again. What lies between the nodes of a trip is
    the profiler's work on each event, so that it is no time of the control-flow node.
    """
    starts = [i for i, node in enumerate(nodes) if (node.name, node.op_type) == _first(nodes)]
    spans = [
        nodes[last - 1].start_us + nodes[last - 1].duration_us - nodes[start].start_us
        for start, last in zip(starts, [*starts[1:], len(nodes)], strict=True)
    ]
    return sum(spans), len(spans)


def _first(nodes: Sequence[_Nested]) -> tuple[str, str]:
    return nodes[0].name, nodes[0].op_type


def _flat(nodes: Sequence[_Nested], path: tuple[str, ...]) -> list[_Nested]:
    """Nodes and those inside them, each once: the trips of a body are added up later."""
    found: list[_Nested] = []
    for node in nodes:
        node.path = path
        found.append(node)
        if node.nodes:
            found.extend(_flat(node.nodes, (*path, node.name)))
            node.nodes = []
    return found


def _means(runs: Sequence[Sequence[_Nested]], cost: ProfilerCost) -> tuple[NodeTime, ...]:
    """One entry for each node of a place: its mean own time, all executions in a run."""
    totals: dict[tuple[tuple[str, ...], str, str], list[float]] = {}
    for nodes in runs:
        for node in nodes:
            total = totals.setdefault((node.path, node.name, node.op_type), [0.0, 0.0])
            own_s = (node.duration_us - node.inside_us) * 1e-6
            # A trip ends with two events, of its last node and of the whole body.
            own_s -= cost.inside_s + node.tensors * cost.tensor_s
            total[0] += own_s - 2 * node.trips * cost.outside_s
            total[1] += 1
    return tuple(
        NodeTime(
            name=name,
            op_type=op_type,
            path=path,
            executions=round(executions / len(runs)),
            seconds=max(0.0, seconds / len(runs)),
        )
        for (path, name, op_type), (seconds, executions) in totals.items()
    )
