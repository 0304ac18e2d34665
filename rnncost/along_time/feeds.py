"""What the model is fed: given data, states handed from chunk to chunk, and stand-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from rnncost.along_time.data import Input, per_chunk
from rnncost.along_time.model import InputsUsed
from rnncost.along_time.nodes import bodies

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from rnncost.report.model import Bindings

    Array = np.ndarray[Any, Any]

_CHUNK_SEEDS = 1_000_003
"""So far apart are the seeds of two chunks that those of small seeds do not meet."""


class Feeds(msgspec.Struct, frozen=True, kw_only=True):
    """How each input of each chunk is made.

    ``given`` has arrays by input, each with whether its first axis counts chunks; ``zero`` are
    states that start at zero; ``rows`` the number of rows of a table that an input of indices
    picks from.
    """

    inputs: Sequence[Input]
    bindings: Bindings
    given: Mapping[str, tuple[Array, bool]]
    states: Mapping[str, str]
    zero: frozenset[str]
    rows: Mapping[str, int]
    chunks: int
    seed: int

    def first(self, session: Any, chunk: int) -> dict[str, Array]:
        """The inputs of a chunk for an ONNX Runtime session, its states as at the start.

        Raises:
            MeasurementError: an input cannot be made.
        """
        import numpy as np

        from rnncost.runtime.inputs import make_inputs

        seed = self.seed + _CHUNK_SEEDS * chunk
        feed = make_inputs(
            session,
            shapes=self.bindings.shapes,
            values=self.bindings.values,
            dims=self.bindings.dims,
            seed=seed,
        )
        generator = np.random.default_rng(seed)
        for name in feed:
            if name in self.given:
                array, counted = self.given[name]
                feed[name] = array[chunk] if counted else array
            elif name in self.bindings.values:
                continue
            elif name in self.zero:
                feed[name] = np.zeros_like(feed[name])
            elif name in self.rows:
                low = min(1, self.rows[name] - 1)  # 0 is often padding
                drawn = generator.integers(low, self.rows[name], feed[name].shape)
                feed[name] = drawn.astype(feed[name].dtype)
        return feed

    def used(self, data: str) -> InputsUsed:
        """What is told about the inputs."""
        given = [one.name for one in self.inputs if one.name in self.given]
        valued = [one.name for one in self.inputs if one.name in self.bindings.values]
        told = [*given, *(name for name in valued if name not in given)]
        generated = {one.name: self._how(one) for one in self.inputs if one.name not in told}
        random = any(how != "zero" for how in generated.values())
        source = "partly generated" if given else "generated"
        return InputsUsed(
            source=source if random else "given",
            data=data,
            given=told,
            generated=generated,
            seed=self.seed if random else None,
            chunks=self.chunks,
            states=dict(self.states),
        )

    def _how(self, one: Input) -> str:
        import numpy as np

        if one.name in self.zero:
            return "zero"
        if one.name in self.rows:
            return f"random rows of a table of {self.rows[one.name]:,}"
        kind = np.dtype(one.dtype).kind if one.dtype is not None else ""
        if kind == "f":
            return "normal"
        return {"b": "true", "i": "1", "u": "1"}.get(kind, "empty")


def chunked(
    inputs: Sequence[Input], arrays: Mapping[str, Array], chunks: int
) -> dict[str, tuple[Array, bool]]:
    """Arrays with whether their first axis counts chunks.

    Raises:
        BindingError: a shape does not fit.
    """
    known = {one.name: one for one in inputs}
    return {name: per_chunk(known[name], array, chunks) for name, array in arrays.items()}


def table_rows(graph: onnx.GraphProto) -> dict[str, int]:
    """For each input of indices the rows of the stored table that it picks from."""
    stored = {tensor.name: tensor.dims for tensor in graph.initializer}
    same = {info.name: info.name for info in graph.input if info.name not in stored}
    rows: dict[str, int] = {}
    _find_rows(graph, stored, same, rows)
    return rows


def _find_rows(
    graph: onnx.GraphProto,
    stored: dict[str, Any],
    same: dict[str, str],
    rows: dict[str, int],
) -> None:
    for node in graph.node:
        if node.op_type in ("Identity", "Cast") and node.input[0] in same:
            same[node.output[0]] = same[node.input[0]]
        if node.op_type == "Gather" and node.input[1] in same and node.input[0] in stored:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            dims = stored[node.input[0]]
            if axis == 0 and len(dims) == 2:
                name = same[node.input[1]]
                rows[name] = min(int(dims[0]), rows.get(name, int(dims[0])))
        for _, body in bodies(node):
            stored |= {tensor.name: tensor.dims for tensor in body.initializer}
            _find_rows(body, stored, same, rows)
