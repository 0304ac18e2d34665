"""The report's block about training."""

from __future__ import annotations

from collections.abc import Sequence

from rnncost.counting.counted import Counted
from rnncost.graph.dim import hint
from rnncost.report.model import (
    Training,
    TrainingEstimate,
    TrainingOp,
    TrainingPeak,
    UncountedOp,
)
from rnncost.training.costing import TrainingCost
from rnncost.training.optimizers import find_optimizer
from rnncost.training.options import Options


def training_block(
    cost: TrainingCost,
    counted: Counted,
    options: Options,
    estimates: Sequence[TrainingEstimate] = (),
    notes: Sequence[str] = (),
) -> Training:
    """The block of a report; ``counted`` is the graph that ``cost`` is about."""
    forward = sum(row.forward_macs for row in cost.rows)
    data = sum(row.backward_data_macs for row in cost.rows)
    weight = sum(row.backward_weight_macs for row in cost.rows)
    parameters = hint(counted.totals.weight_bytes)
    state = find_optimizer(options.optimizer).kept * cost.trained_bytes
    window = cost.window.window if cost.window is not None else None
    peak = cost.peak
    return Training(
        optimizer=options.optimizer,
        runtime="pytorch",
        bptt_steps=window if options.bptt is not None else None,
        checkpoint_steps=window if options.segment is not None else None,
        trained_params=cost.trained_params,
        forward_macs=forward,
        backward_data_macs=data,
        backward_weight_macs=weight,
        recomputed_macs=cost.recomputed_macs,
        step_macs=forward + data + weight + cost.recomputed_macs,
        parameter_bytes=parameters,
        gradient_bytes=cost.gradient_bytes,
        optimizer_bytes=state,
        input_bytes=cost.input_bytes,
        activation_bytes=cost.activation_bytes,
        formula="" if cost.formula is None else str(cost.formula),
        peak=TrainingPeak(
            where=peak.where,
            total_bytes=parameters + state + cost.input_bytes + peak.total_bytes,
            resident_bytes=parameters + state + cost.input_bytes + cost.resident_bytes,
            parameter_bytes=parameters,
            optimizer_bytes=state,
            input_bytes=cost.input_bytes,
            activation_bytes=peak.kept_bytes,
            gradient_bytes=peak.gradient_bytes,
            transient_bytes=peak.other_bytes,
        ),
        ops=[
            TrainingOp(
                name=row.name,
                op_type=row.op.op_type,
                forward_macs=own.forward_macs,
                backward_data_macs=own.backward_data_macs,
                backward_weight_macs=own.backward_weight_macs,
                activation_bytes=own.activation_bytes,
                formula="" if own.formula is None else str(own.formula),
                implementation=own.implementation,
            )
            for row, own in zip(counted.ops, cost.rows, strict=True)
            if own.forward_macs
            or own.backward_data_macs
            or own.backward_weight_macs
            or own.activation_bytes
        ],
        uncounted=[UncountedOp(*each) for each in cost.uncounted],
        estimates=list(estimates),
        notes=[*cost.notes, *notes],
    )
