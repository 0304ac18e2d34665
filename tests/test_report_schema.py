"""The published JSON Schema is current, and the report's documentation names every key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from golden_files import FOLDER, check_file
from report_samples import hostile, plain, spotter

from rnncost.report.model import Metrics, Report
from rnncost.report.schema import describe, report_json_schema, report_json_schema_text

DOCS = Path(__file__).parent.parent / "docs"

# Keys of version 1: scripts read them, so none is renamed or dropped.
CONTRACT = {
    "Report": "schema_version tool model bindings totals ops uncounted coverage estimates symbolic "
    "training warnings",
    "Tool": "name version",
    "ModelInfo": "path format sha256 producer opset",
    "Bindings": "dims assumed shapes values traced",
    "Totals": "params active_params quantization_params weight_bytes macs dense_macs parallel_macs "
    "sequential_macs elementwise_ops multiplies adds bias_adds activations activation_bytes "
    "state_bytes peak_activation_bytes compulsory_bytes streamed_bytes sequential_steps "
    "executed_steps lookahead_steps wavefront_steps sequential_share streamable "
    "compulsory_arithmetic_intensity streamed_arithmetic_intensity",
    "OpRow": "name op_type kind executions precision dims extents textbook_params formulas notes "
    "params active_params quantization_params weight_bytes macs dense_macs parallel_macs "
    "sequential_macs elementwise_ops multiplies adds bias_adds activations activation_bytes "
    "state_bytes peak_activation_bytes compulsory_bytes streamed_bytes sequential_steps "
    "executed_steps lookahead_steps",
    "UncountedOp": "name op_type reason",
    "Fits": "weights activations",
    "OpEstimate": "name latency_s bound_by step_s overhead_s sequential_s parallel_s dram_bytes "
    "level_bytes",
    "Estimate": "profile profile_version runtime threads precision latency_s latency_low_s "
    "latency_high_s sequential_s parallel_s overhead_s step_s bound_by dram_bytes level_bytes "
    "energy_j fits calibrated notes ops",
    "Training": "optimizer runtime bptt_steps checkpoint_steps trained_params forward_macs "
    "backward_data_macs backward_weight_macs recomputed_macs step_macs parameter_bytes "
    "gradient_bytes optimizer_bytes input_bytes activation_bytes formula peak ops uncounted "
    "estimates notes",
    "TrainingOp": "name op_type forward_macs backward_data_macs backward_weight_macs "
    "activation_bytes formula implementation",
    "TrainingPeak": "where total_bytes resident_bytes parameter_bytes optimizer_bytes input_bytes "
    "activation_bytes gradient_bytes transient_bytes",
    "TrainingEstimate": "profile profile_version precision step_s step_low_s step_high_s forward_s "
    "backward_data_s backward_weight_s recompute_s optimizer_s notes",
}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = report_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_committed_schema_is_current() -> None:
    check_file(DOCS / "report.schema.json", report_json_schema_text())


@pytest.mark.parametrize("sample", [spotter, plain, hostile])
def test_samples_meet_the_schema(sample: Any, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(sample().to_dict())


def test_golden_reports_meet_the_schema_and_read_back(
    validator: jsonschema.Draft202012Validator,
) -> None:
    golden = sorted(FOLDER.glob("*.report.json"))
    assert golden
    for path in golden:
        data = json.loads(path.read_text(encoding="utf-8"))
        validator.validate(data)
        assert Report.from_dict(data).to_dict() == data


STEPS = {"sequential_steps", "executed_steps"}
LARGEST = {"peak_activation_bytes", "lookahead_steps"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.report.json")), ids=lambda p: p.name)
def test_totals_of_golden_reports_follow_from_their_operators(path: Path) -> None:
    report = Report.from_dict(json.loads(path.read_text(encoding="utf-8")))
    for key in set(Metrics.__struct_fields__) - STEPS:
        values = [getattr(op, key) for op in report.ops]
        expected = max(values) if key in LARGEST else sum(values)
        assert getattr(report.totals, key) == expected, key
    for key in STEPS:
        values = [getattr(op, key) for op in report.ops]
        assert max(values) <= getattr(report.totals, key) <= sum(values), key
    parts = report.totals.parallel_macs + report.totals.sequential_macs
    assert parts == report.totals.macs
    share = report.totals.sequential_share * report.totals.macs
    assert share == pytest.approx(report.totals.sequential_macs)


@pytest.mark.parametrize(
    ("key", "value"),
    [("coverage", 1.5), ("ops", {}), ("schema_version", "2.0"), ("warnings", [1])],
)
def test_the_schema_refuses_faults(
    key: str, value: object, validator: jsonschema.Draft202012Validator
) -> None:
    assert not validator.is_valid(plain().to_dict() | {key: value})


def test_the_schema_asks_for_a_version(validator: jsonschema.Draft202012Validator) -> None:
    data = plain().to_dict()
    del data["schema_version"]
    assert not validator.is_valid(data)


def test_no_key_of_the_contract_is_renamed_or_dropped() -> None:
    definitions = report_json_schema()["$defs"]
    found = {title: set(definition["properties"]) for title, definition in definitions.items()}
    assert found == {title: set(keys.split()) for title, keys in CONTRACT.items()}


def test_the_documentation_explains_every_key() -> None:
    text = (DOCS / "report.md").read_text(encoding="utf-8")
    missing = [
        f"{title}.{key}: {describe(title, key)}"
        for title, keys in CONTRACT.items()
        for key in keys.split()
        if f"| `{key}` |" not in text or describe(title, key) not in text
    ]
    assert missing == []
