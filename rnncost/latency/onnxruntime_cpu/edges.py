"""The rows of a counted graph with who makes and who reads each value, while it is optimised."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from rnncost.graph.dim import hint
from rnncost.latency.onnxruntime_cpu.plan import Planned

if TYPE_CHECKING:
    from rnncost.counting.counted import Counted, CountedOp
    from rnncost.graph.ir import Graph, Op, Tensor


class Site:
    """A row as it is changed step by step; ``inputs`` and ``output`` are names of values."""

    def __init__(self, row: CountedOp, in_body: bool) -> None:
        self.row = row
        self.op: Op = row.op
        self.type = row.op.op_type
        self.in_body = in_body
        self.runs = hint(row.executions) > 0
        self.inputs = ["" if t is None else t.name for t in row.op.inputs]
        self.activations: list[str] = []
        self.extra: list[tuple[str, float]] = []
        self.blocked = False
        self.reordered: list[Tensor] = []
        self.packable = True
        self.views = 0

    @property
    def output(self) -> str:
        """The first output, under its first name."""
        first = self.op.outputs[0] if self.op.outputs else None
        return "" if first is None else first.name

    def stored(self, index: int) -> bool:
        """Whether an input is a stored tensor."""
        tensor = self.op.tensor(index)
        return tensor is not None and bool(tensor.stored)

    def planned(self) -> Planned:
        """What is left."""
        return Planned(
            row=self.row,
            runs=self.runs,
            as_type="" if self.type == self.op.op_type else self.type,
            activations=tuple(self.activations),
            extra=tuple(self.extra),
            blocked=self.blocked,
            reordered=tuple(self.reordered),
            packable=self.packable,
            views=self.views,
        )


class Edges:
    """All sites, the site that makes each value, and those that read it."""

    def __init__(self, counted: Counted, outputs: Collection[str] = ()) -> None:
        loops = list(loops_of(counted))
        inside = {op.name for _, body in loops for op in body.ops}
        returned = {tensor.name for _, body in loops for tensor in body.outputs}
        # What a body takes from outside keeps its name; the state gets one of its own.
        carried = {
            tensor.name
            for loop, body in loops
            for tensor in body.inputs
            if all(outer is None or outer.name != tensor.name for outer in loop.inputs)
        }
        self.returned = returned.union(outputs)
        """Values that a body or the graph returns."""
        self.sites = [Site(row, row.op.name in inside) for row in counted.ops]
        self.makers: dict[str, Site] = {}
        self.renamed: dict[str, str] = {}
        for site in self.sites:
            # Weights in the state of a loop are operands like any other when it runs.
            site.packable = not any(
                name in carried and site.stored(index) for index, name in enumerate(site.inputs)
            )
            for tensor in site.op.outputs:
                if tensor is not None:
                    self.makers[tensor.name] = site
        self.read_by: dict[str, list[Site]] = {}
        for site in self.sites:
            for name in site.inputs:
                self.read_by.setdefault(name, []).append(site)

    def maker(self, name: str) -> Site | None:
        """The running site that makes a value."""
        site = self.makers.get(self.original(name))
        return site if site is not None and site.runs else None

    def original(self, name: str) -> str:
        """The value that one stands for after what made it was dropped."""
        while name in self.renamed:
            name = self.renamed[name]
        return name

    def readers(self, site: Site) -> list[Site]:
        """The running sites that read any output of a site."""
        found: list[Site] = []
        for tensor in site.op.outputs:
            if tensor is not None:
                found += self.readers_of(tensor.name)
        return found

    def readers_of(self, name: str) -> list[Site]:
        """The running sites that read a value, under any of its names."""
        found = [site for site in self.read_by.get(name, ()) if site.runs]
        for alias, target in self.renamed.items():
            if target == name:
                found += self.readers_of(alias)
        return found

    def only_reader(self, site: Site) -> Site | None:
        """The one site that reads a site's result, or None."""
        if site.output in self.returned:
            return None
        readers = self.readers_of(site.output)
        return readers[0] if len(readers) == 1 else None

    def drop(self, site: Site, index: int = 0) -> None:
        """Take a site out; its result is then its input at ``index``."""
        site.runs = False
        if index < len(site.inputs) and site.output and site.inputs[index]:
            self.renamed[site.output] = site.inputs[index]

    def absorb(self, into: Site, site: Site) -> None:
        """Take a site out whose result another one now makes."""
        site.runs = False
        if site.output != into.output:
            self.renamed[site.output] = into.output


def loops_of(counted: Counted) -> Iterator[tuple[Op, Graph]]:
    """Every Loop and Scan with its body, those in bodies too."""
    pending = [row.op for row in counted.ops if row.op.body is not None]
    while pending:
        loop = pending.pop()
        if loop.body is not None:
            yield loop, loop.body
            pending += [op for op in loop.body.ops if op.body is not None]


def plan_of(edges: Edges) -> tuple[Planned, ...]:
    """What is left of each row."""
    return tuple([site.planned() for site in edges.sites])
