"""From what was kept of a layer's run to its figures."""

from __future__ import annotations

from rnncost.along_time.cells import Cell
from rnncost.along_time.gradient import gradient_decay
from rnncost.along_time.model import GradientDecay, LayerMemory
from rnncost.along_time.nodes import Place
from rnncost.along_time.prior import MOST_UNITS, finite_weights, prior
from rnncost.along_time.retention import gate_memory
from rnncost.along_time.sequences import TOLERANCE, Sequences
from rnncost.along_time.tails import STEPS_BACK


def weights_memory(place: Place, direction: str, cell: Cell) -> LayerMemory:
    """What is known of a direction of a layer without a run."""
    return LayerMemory(
        name=place.name,
        op_type=place.op_type,
        direction=direction,
        units=cell.units,
        quantised=cell.quantised,
        prior=prior(cell),
        notes=_prior_notes(cell),
    )


def layer_memory(
    place: Place,
    direction: str,
    cell: Cell,
    run: Sequences,
    step_period_s: float | None,
) -> LayerMemory:
    """The figures of a direction of a layer after its run."""
    matches = run.matches
    gradient = gradient_decay(run.traces) if matches else None
    memory = None
    if matches and run.logs:
        memory = gate_memory(
            cell.kind,
            run.logs,
            monotone=not run.negative and all(float(log.max()) <= 0 for log in run.logs),
            step_period_s=step_period_s,
        )
    return LayerMemory(
        name=place.name,
        op_type=place.op_type,
        direction=direction,
        units=cell.units,
        quantised=cell.quantised,
        calls=run.calls,
        sequences=len(run.lengths),
        steps=max(run.lengths, default=0),
        carried=run.carried,
        largest_difference=run.largest_difference if _finite(run.largest_difference) else None,
        withheld=_withheld(run),
        memory=memory,
        gradient=gradient,
        prior=prior(cell),
        notes=[*(_notes(cell, run, gradient) if matches else []), *_prior_notes(cell)],
    )


def _finite(value: float) -> bool:
    return value - value == 0


def _withheld(run: Sequences) -> str:
    difference = run.largest_difference
    if run.matches:
        return "" if run.lengths else "its rows have no steps"
    if not finite_weights(run.cell):
        return "its weights hold NaN or infinity"
    if not _finite(difference):
        return "its outputs are not finite"
    rounded = ": the model rounds its outputs to float16, so look at it in float32"
    return (
        f"its outputs, computed anew, differ from ONNX Runtime's by {difference:.1e}, more than "
        f"{TOLERANCE:.0e}{rounded if run.half else ''}"
    )


def _notes(cell: Cell, run: Sequences, gradient: GradientDecay | None) -> list[str]:
    found = []
    if cell.quantised:
        found.append(
            "weights of 8 bits: gates are those of the dequantised weights, with x and h "
            "quantised as ONNX Runtime does"
        )
    if run.negative:
        found.append(
            "the gate is below 0 at some steps: retention is that of its magnitude, and no "
            "times are measured from products"
        )
    elif any(float(log.max()) > 0 for log in run.logs):
        found.append(
            "the gate is above 1 at some steps, so the state can grow: no times are measured "
            "from products"
        )
    if any(bool((log == -float("inf")).any()) for log in run.logs):
        found.append(
            "the gate is exactly 0 at some steps: a unit with such a step has a half-life of 0 "
            "by its mean, so take the measured one"
        )
    if gradient is not None and gradient.rows < len(run.lengths):
        followed = f"{gradient.rows} of {len(run.lengths)} sequences"
        found.append(f"gradients are followed through {followed}")
    if gradient is not None and 0 < gradient.vanished < gradient.traces:
        found.append(
            f"{gradient.vanished} of {gradient.traces} random gradients became exactly 0: the "
            "exponent and the norms are those of the others, as long as each lasts"
        )
    if max(run.lengths, default=0) > STEPS_BACK:
        found.append(f"gradients are followed over the last {STEPS_BACK} steps")
    return found


def _prior_notes(cell: Cell) -> list[str]:
    if not finite_weights(cell):
        return ["weights hold NaN or infinity: there is no prior"]
    if cell.units <= MOST_UNITS:
        return []
    return [f"the spectral radius is that of the candidate alone: {cell.units} units are many"]
