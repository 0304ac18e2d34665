"""The JSON Schema of the report, generated from its types; docs/report.schema.json is a copy."""

from __future__ import annotations

from typing import Any

import msgspec

from rnncost.report.model import SCHEMA_VERSION, Report

DESCRIPTIONS: dict[str, str] = {
    # report
    "schema_version": "major.minor; a new major version may rename or drop keys, a minor one adds",
    "tool": "the program that wrote the report",
    "model": "where the model came from",
    "bindings": "what the counts hold for",
    "totals": "sums of the operators; for steps the longest path, for peaks the largest",
    "ops": "one object for each operator, in execution order",
    "uncounted": "operators without a count, and why",
    "coverage": "share of operators that are counted, 0 to 1",
    "estimates": "one object for each hardware profile",
    "symbolic": "totals as formulas in the free dimensions; null when there is none",
    "training": "cost of a training step; null where it was not asked for",
    "warnings": "sentences for the reader",
    # tool, model, bindings
    "name": "name of the operator; for PyTorch the path of its module",
    "version": "version of the program",
    "path": "file or factory that was analysed; empty for a model in memory",
    "format": "onnx or torch",
    "sha256": "SHA-256 of the model file, hexadecimal; empty without a file",
    "producer": "program that wrote the model file",
    "opset": "version of each operator set, by domain; the empty domain is ai.onnx",
    "dims": "values of T, B, I, H, D, G (and P with a projection); empty unless recurrent",
    "assumed": "dimensions that nobody gave and that have a default value",
    "shapes": "shape of each input",
    "values": "values that inputs were bound to: a number, or the shape and flat elements",
    "traced": "whether the counts come from a run of the model",
    # counts
    "params": "stored weight scalars, each once",
    "active_params": "stored weight scalars that this run uses",
    "quantization_params": "stored scales and zero points",
    "weight_bytes": "size of the stored weights, bytes",
    "macs": "multiply-accumulates of matrix work; 1 MAC = 2 FLOPs",
    "dense_macs": "multiply-accumulates with padding rows and unused gates included",
    "parallel_macs": "multiply-accumulates that wait for no earlier time step",
    "sequential_macs": "multiply-accumulates that wait for the time step before",
    "elementwise_ops": "operations that are not matrix work",
    "multiplies": "elementwise multiplications",
    "adds": "elementwise additions, without biases",
    "bias_adds": "additions of a stored bias element",
    "activations": "evaluations of sigmoid, tanh, relu and the like",
    "activation_bytes": "size of inputs, outputs and intermediates, bytes",
    "state_bytes": "size of the recurrent state, bytes",
    "peak_activation_bytes": "largest size of activations alive at once, bytes",
    "compulsory_bytes": "least traffic: each weight, input and output once, bytes",
    "streamed_bytes": "traffic when nothing stays on chip, bytes",
    "sequential_steps": "longest chain of dependent recurrent steps",
    "executed_steps": "steps that a runtime runs one after another, directions in turn",
    "lookahead_steps": "steps of later input that an output needs",
    "wavefront_steps": "longest chain of steps when layers overlap",
    "sequential_share": "sequential_macs over macs, 0 to 1",
    "streamable": "whether the model can run step by step on a stream",
    "compulsory_arithmetic_intensity": "macs over compulsory_bytes, MACs a byte",
    "streamed_arithmetic_intensity": "macs over streamed_bytes, MACs a byte",
    # operators
    "op_type": "ONNX operator; domain::Name outside ai.onnx",
    "kind": "recurrent, product, elementwise, reduction, normalisation, data, control or constant",
    "executions": "how often it runs; the counts include all of them",
    "precision": "number format that it computes in, such as fp32 or int8",
    "extents": "value of each letter in the formulas of an operator that is not recurrent",
    "textbook_params": "weight scalars with one bias vector a gate; null unless recurrent",
    "formulas": "counts of one execution as formulas in dims or extents",
    "notes": "sentences about how it was counted or estimated",
    "reason": "why there is no count",
    # estimates
    "profile": "name of the hardware profile",
    "profile_version": "version of the hardware profile",
    "runtime": "software that the estimate assumes",
    "threads": "threads that the runtime uses",
    "latency_s": "predicted time of one run, seconds",
    "level_bytes": "bytes that each memory level serves, by its name",
    "latency_low_s": "low end of the range of 90 % of cases, seconds; null when unknown",
    "latency_high_s": "high end of the range of 90 % of cases, seconds; null when unknown",
    "sequential_s": "part of latency_s in recurrent steps, seconds",
    "parallel_s": "part of latency_s in work that waits for no step, seconds",
    "overhead_s": "part of latency_s in starting the run and its operators, seconds",
    "step_s": "time of one step of the slowest recurrent operator, seconds; null without one",
    "bound_by": "what sets the time: compute, memory, latency or overhead",
    "dram_bytes": "traffic to memory, bytes",
    "energy_j": "predicted energy of one run, joules; null when unknown",
    "fits": "whether the model fits the device; null where a size is unknown",
    "calibrated": "whether the profile was measured; false for data-sheet figures",
    "weights": "whether the weights fit",
    # training
    "optimizer": "adam, sgd, sgd-momentum or none",
    "bptt_steps": "steps that back-propagation is truncated to; null without truncation",
    "checkpoint_steps": "steps of a checkpointed segment; null without checkpointing",
    "trained_params": "weight scalars that get a gradient",
    "forward_macs": "multiply-accumulates of the forward pass",
    "backward_data_macs": "multiply-accumulates of the gradients of activations",
    "backward_weight_macs": "multiply-accumulates of the gradients of weights",
    "recomputed_macs": "multiply-accumulates that checkpointing executes a second time",
    "step_macs": "multiply-accumulates of the whole step",
    "parameter_bytes": "size of the stored weights, bytes",
    "gradient_bytes": "size of the gradients of weights, bytes",
    "optimizer_bytes": "size of the optimiser's state, bytes",
    "input_bytes": "size of the model's inputs, bytes",
    "formula": "activation_bytes of recurrent layers in their steps T and rows B",
    "implementation": "PyTorch's CPU implementation of a recurrent layer: oneDNN, native or cell",
    "peak": "the highest point of memory in the step",
    "where": "what runs at that point",
    "total_bytes": "what is allocated, the sum of the sizes below, bytes",
    "resident_bytes": "highest point without what is reserved and not written to, bytes",
    "transient_bytes": "everything else that is alive then, bytes",
    "step_low_s": "low end of the range of 90 % of steps, seconds; null when unknown",
    "step_high_s": "high end of the range of 90 % of steps, seconds; null when unknown",
    "forward_s": "predicted time of the forward pass, seconds",
    "backward_data_s": "predicted time of the gradients of activations, seconds",
    "backward_weight_s": "predicted time of the gradients of weights, seconds",
    "recompute_s": "predicted time of what checkpointing runs again, seconds",
    "optimizer_s": "predicted time of the optimiser, seconds",
}
"""What each key means, and its unit."""

SPECIFIC: dict[tuple[str, str], str] = {
    ("Tool", "name"): "rnncost",
    ("Bindings", "dims"): "value of each free dimension of the model, by name",
    ("Fits", "activations"): "whether the activations that are alive at once fit",
    ("OpEstimate", "latency_s"): "predicted time of this operator in one run, seconds",
    ("OpEstimate", "step_s"): "time of one of its steps, seconds; null unless recurrent",
    ("OpEstimate", "overhead_s"): "part of its time in starting it, seconds",
    ("Training", "activation_bytes"): "size of what is kept for the backward pass, bytes",
    ("Training", "uncounted"): "operators whose backward pass is not counted, and why",
    ("Training", "estimates"): "one object for each profile of a GPU with cuDNN",
    ("TrainingOp", "activation_bytes"): "size of what it keeps for the backward pass, bytes",
    ("TrainingPeak", "activation_bytes"): "size of what is kept then, bytes",
    ("TrainingPeak", "gradient_bytes"): "size of the gradients that are there then, bytes",
    ("TrainingEstimate", "step_s"): "predicted time of the whole training step, seconds",
}
"""Keys that mean something of their own in one of the report's types."""


def report_json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every report of this version meets."""
    schema = msgspec.json.schema(Report)
    for title, definition in schema["$defs"].items():
        definition["description"] = " ".join(definition.get("description", title).split())
        for key, value in definition["properties"].items():
            value["description"] = describe(title, key)
    report = schema["$defs"]["Report"]
    report["required"].insert(0, "schema_version")
    report["properties"]["schema_version"]["pattern"] = (
        rf"^{SCHEMA_VERSION.partition('.')[0]}\.[0-9]+$"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"rnncost report {SCHEMA_VERSION}",
        **schema,
    }


def describe(type_name: str, key: str) -> str:
    """What a key of one of the report's types means."""
    return SPECIFIC.get((type_name, key)) or DESCRIPTIONS[key]


def report_json_schema_text() -> str:
    """The schema as the text of docs/report.schema.json."""
    import json

    return json.dumps(report_json_schema(), indent=2) + "\n"
