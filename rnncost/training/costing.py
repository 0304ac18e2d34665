"""A training step of a counted graph: matrix products, memory, and where it is highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rnncost.counting.counted import Counted
from rnncost.counting.registry import ROLE_QUANTIZATION
from rnncost.counting.scope import RUN, UNCOUNTED, Node, apply_rules
from rnncost.counting.slabs import Region
from rnncost.errors import ModelError
from rnncost.graph.ir import Graph
from rnncost.training.formula import Coefficients
from rnncost.training.gradients import Gradients, find_gradients
from rnncost.training.kept import Kept, forward_only, kept_of, resident
from rnncost.training.optimizers import Optimizer, find_optimizer
from rnncost.training.options import Options
from rnncost.training.recomputing import recomputed_macs
from rnncost.training.rows import RowCost, row_costs
from rnncost.training.storage import Window, find_storages, is_layer
from rnncost.training.timeline import Course, Peak, input_bytes, run_step
from rnncost.training.windows import checkpointed, count_windows, layers_of, state_bytes, truncated
from rnncost.units import DTYPE_BITS, FLOAT_DTYPES

_RANDOM_STATE_BYTES = 5056
"""The state of PyTorch's random numbers on a CPU, which ``torch.utils.checkpoint`` keeps."""
_QUANTISED = ("Quantize", "Quant", "QLinear", "QGemm", "QAttention", "Integer", "NBits")


class TrainingCost(msgspec.Struct, frozen=True, kw_only=True):
    """A training step. ``rows`` are in the order of the counted graph's.

    ``peak`` is beside parameters, optimiser state and inputs, and so are ``resident_bytes``, the
    peak without memory that is reserved and not written to; ``windows`` how many windows of
    steps a sequence has (1 without truncation and checkpointing). The optimiser reads and
    writes ``moved_bytes`` in each of its ``updates``.
    """

    rows: tuple[RowCost, ...]
    recomputed_macs: int
    trained_params: int
    trained_bytes: int
    input_bytes: int
    activation_bytes: int
    gradient_bytes: int
    formula: Coefficients | None
    peak: Peak
    resident_bytes: int
    window: Window | None
    windows: int
    moved_bytes: int
    updates: int
    uncounted: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]


def training_cost(
    graph: Graph, counted: Counted, trained: frozenset[str] | None, options: Options
) -> TrainingCost:
    """What one training step of a graph costs; ``trained`` as in ``Source``.

    Raises:
        BindingError: the optimiser is unknown, or the model cannot be truncated or
            checkpointed so.
        ModelError: the model is quantised, or holds nothing to train.
    """
    optimizer = find_optimizer(options.optimizer)
    applied = apply_rules(graph)
    nodes = applied.nodes
    _refuse_quantised(nodes)
    gradients = find_gradients(applied.scope, trained)
    visited = [node for node in nodes if gradients.visits(node)]
    params, sizes = _trained(visited, gradients)
    trained_bytes = sum(sizes)
    if params == 0:
        raise ModelError(
            "there is nothing to train: no stored weight that asks for gradients leads to an output"
        )
    window, windows = _windows(nodes, options)
    storages = find_storages(applied.scope, nodes, window)
    kept = {node.index: kept_of(node, gradients, storages) for node in visited}
    again = options.segment is not None

    idle = {n.index: forward_only(n) for n in nodes if n.status == RUN and n.index not in kept}

    def run(held: Mapping[int, Kept]) -> tuple[Course, int, Peak]:
        standing = trained_bytes if again and windows > 1 else 0
        course = run_step(nodes, graph, held, idle, gradients, storages, standing_bytes=standing)
        return course, *_peak(course, graph, nodes, windows if again else 1)

    course, activation_bytes, peak = run(kept)
    resident_bytes = run({index: resident(each) for index, each in kept.items()})[2].total_bytes
    cuts = windows if options.bptt is not None else 1
    rows, uncounted, notes = row_costs(counted, nodes, visited, kept, gradients, storages, cuts)
    optimizing = Peak(
        total_bytes=course.gradient_bytes + _working_bytes(optimizer, sizes),
        gradient_bytes=course.gradient_bytes,
        where="optimizer",
    )
    return TrainingCost(
        rows=rows,
        recomputed_macs=recomputed_macs(visited, kept) if again else 0,
        trained_params=params,
        trained_bytes=trained_bytes,
        input_bytes=input_bytes(graph.inputs),
        activation_bytes=activation_bytes,
        gradient_bytes=course.gradient_bytes,
        formula=_formula(nodes, rows),
        peak=max(peak, optimizing, key=lambda p: p.total_bytes),
        resident_bytes=max(resident_bytes, optimizing.total_bytes),
        window=window,
        windows=windows,
        moved_bytes=optimizer.passes * trained_bytes,
        updates=cuts,
        uncounted=uncounted,
        notes=(*notes, *_notes(nodes, visited, kept, window)),
    )


def _windows(nodes: Sequence[Node], options: Options) -> tuple[Window | None, int]:
    if options.bptt is not None:
        window = truncated(nodes, options.bptt)
    elif options.segment is not None:
        window = checkpointed(nodes, options.segment or None)
    else:
        return None, 1
    return window, count_windows(window)


def _peak(course: Course, graph: Graph, nodes: Sequence[Node], segments: int) -> tuple[int, Peak]:
    """The activations kept at once, and the peak; with ``segments``, of checkpointing.

    The forward pass leaves the states at the ends of the segments, the outputs of all of them,
    and the state of the random numbers, which dropout needs again. The loss hands back the
    gradients of all outputs at once.
    """
    peak = max(course.forward, course.backward, key=lambda p: p.total_bytes)
    if segments == 1:
        return course.kept_bytes, peak
    borders = (segments - 1) * state_bytes(nodes) + segments * _RANDOM_STATE_BYTES
    outputs = 2 * input_bytes(graph.outputs) - course.output_bytes
    return course.kept_bytes + borders, Peak(
        total_bytes=peak.total_bytes + borders + outputs,
        kept_bytes=peak.kept_bytes + borders,
        gradient_bytes=peak.gradient_bytes,
        where=peak.where,
    )


def _refuse_quantised(nodes: Sequence[Node]) -> None:
    for node in nodes:
        if node.status not in (RUN, UNCOUNTED):
            continue
        op_type = node.op.op_type
        stored = [s for s in node.stored if s.role == ROLE_QUANTIZATION]
        if stored or any(word in op_type for word in _QUANTISED):
            raise ModelError(
                f"{node.op.name} ({op_type}) is quantised, and training is counted for float "
                "models alone: give the float model"
            )


def _working_bytes(optimizer: Optimizer, sizes: Sequence[int]) -> int:
    """What an optimiser needs beside its state: tensors of the largest parameter's size, and
    one of the parameter before it.
    """
    if optimizer.needed == 0:
        return 0
    return optimizer.needed * sizes[0] + sum(sizes[1:2])


def _trained(visited: Sequence[Node], gradients: Gradients) -> tuple[int, list[int]]:
    """Trained elements that get a gradient, and the bytes of each tensor, the largest first."""
    regions: dict[str, Region] = {}
    sizes: dict[str, int] = {}
    params = 0
    for node in visited:
        for slot, tensor in enumerate(node.op.inputs):
            if tensor is None or gradients.share_trained(node, slot) == 0:
                continue
            for slab in tensor.stored:
                if gradients.trained is not None and slab.root not in gradients.trained:
                    continue
                new = regions.setdefault(slab.root, Region()).claim(slab.ranges)
                params += new
                size = new * DTYPE_BITS.get(slab.dtype, 0) // 8
                sizes[slab.root] = sizes.get(slab.root, 0) + size
    return params, sorted(sizes.values(), reverse=True)


def _formula(nodes: Sequence[Node], rows: Sequence[RowCost]) -> Coefficients | None:
    """The formula of all recurrent layers, where they have one T and one B."""
    shapes = {(shape.steps, shape.batch) for _, shape in layers_of(nodes)}
    formulas = [row.formula for row in rows if row.formula is not None]
    if len(shapes) != 1 or not formulas:
        return None
    total = Coefficients()
    for formula in formulas:
        total = total.plus(formula)
    return total


def _notes(
    nodes: Sequence[Node],
    visited: Sequence[Node],
    kept: Mapping[int, Kept],
    window: Window | None,
) -> list[str]:
    notes = [
        "memory is that of PyTorch on an x86 CPU; the loss and what it keeps are not in it, nor is "
        "the memory of a GPU, where cuDNN keeps a buffer of its own"
    ]
    assumed = sorted({n.op.op_type for n in visited if kept[n.index].assumed})
    if assumed:
        notes.append(f"taken to keep inputs and results: {', '.join(assumed)}")
    if any(n.body is not None for n in visited):
        notes.append("loops: the first trip is counted like the others")
    if window is not None:
        notes.append(
            "tensors with an axis of T or T*B elements are taken to run over time, "
            f"T={window.steps}"
        )
    odd = {t.dtype for n in visited if is_layer(n) for t in n.op.inputs[:1] if t is not None}
    if odd - {"float32", "float64"} and odd <= FLOAT_DTYPES:
        notes.append("layers in 16 bits are taken to run as single operators")
    return notes
