"""What a front end hands to the analysis: a graph, and what it holds for."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rnncost.graph.ir import Graph


class InputValue(msgspec.Struct, frozen=True):
    """The elements of a model input that the caller gave, flat and row-major."""

    shape: tuple[int, ...]
    elements: tuple[int | float | bool | str, ...]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller settled about the model's inputs.

    ``assume`` allows stated defaults for free dimensions (batch-like 1, others 100);
    without it a free dimension is an error that names it. ``training`` asks for the graph
    of a training step: a PyTorch module in training mode, with its dropout, and with the
    places where forward cuts gradients off.
    """

    dims: Mapping[str, int] = msgspec.field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    values: Mapping[str, InputValue] = msgspec.field(default_factory=dict)
    trace: bool = False
    assume: bool = True
    training: bool = False


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A model as a graph with integer dimensions.

    ``symbolic`` is the same graph with its free dimensions kept as expressions, or None
    when there are none or the model cannot be followed that way (``symbolic_reason``
    then says why); it holds under its ``provisos``. ``dims`` binds every free dimension,
    ``assumed`` names those bound by default. ``trained`` are the roots of the stored tensors
    that need gradients; None where the model does not say (an ONNX file).
    """

    graph: Graph
    symbolic: Graph | None = None
    symbolic_reason: str = ""
    provisos: tuple[str, ...] = ()
    format: str
    path: str = ""
    producer: str = ""
    opset: Mapping[str, int] = msgspec.field(default_factory=dict)
    dims: Mapping[str, int] = msgspec.field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    values: Mapping[str, InputValue] = msgspec.field(default_factory=dict)
    traced: bool = False
    warnings: tuple[str, ...] = ()
    trained: frozenset[str] | None = None
