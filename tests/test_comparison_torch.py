"""PyTorch modules in a comparison: exported to ONNX, and left as they were."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402  (only where there is PyTorch)

import rnncost  # noqa: E402
from rnncost.errors import BindingError, ModelError, ModuleError  # noqa: E402
from rnncost.frontends.torch.export import export_onnx  # noqa: E402
from rnncost.graph.source import Request  # noqa: E402

pytestmark = pytest.mark.torch


class Tagger(nn.Module):  # type: ignore[misc]
    """Token ids to scores, through an embedding, a recurrent layer and a projection."""

    def __init__(self, cell: str = "LSTM", both: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 8)
        layer = getattr(nn, cell)
        self.layer = layer(8, 16, batch_first=True, bidirectional=both, dropout=0.0)
        self.scores = nn.Linear(32 if both else 16, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.scores(self.layer(self.embedding(tokens))[0])


TOKENS = torch.ones(2, 7, dtype=torch.int64)


def test_a_module_is_exported_and_says_so() -> None:
    module = Tagger().train()
    comparison = rnncost.compare(module, (TOKENS,), cells=["gru"], steps=[21], batches=[4])
    assert comparison.warnings[0].startswith("Tagger was exported to ONNX")
    assert comparison.skipped == []
    assert module.training
    assert module.layer.training
    assert comparison.base.report.model.path == "Tagger"
    same = (Tagger(), Tagger("GRU"), Tagger(), Tagger())
    inputs = (TOKENS, TOKENS, torch.ones(2, 21, dtype=torch.int64), TOKENS.repeat(2, 1))
    for design, other, tokens in zip(comparison.designs, same, inputs, strict=True):
        expected = rnncost.analyze(other, (tokens,)).totals
        for name in ("params", "macs", "sequential_macs", "sequential_steps", "weight_bytes"):
            assert design.figures[name] == getattr(expected, name), (design.name, name)


def test_a_factory_with_shapes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taggers_of_a_test.py").write_text(
        "from test_comparison_torch import Tagger\n\n\ndef make():\n    return Tagger('GRU')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    comparison = rnncost.compare(
        "taggers_of_a_test:make", shapes={"tokens": (2, 7)}, precisions=["fp16"]
    )
    assert comparison.base.report.model.path == "taggers_of_a_test:make"
    assert comparison.base.report.bindings.shapes == {"tokens": [2, 7]}
    assert comparison.base.report.bindings.assumed == []
    expected = rnncost.analyze(Tagger("GRU"), (TOKENS,)).totals
    assert comparison.base.figures["macs"] == expected.macs


def test_a_module_without_data_is_exported_with_made_up_weights() -> None:
    with torch.device("meta"):
        module = Tagger()
    comparison = rnncost.compare(module, (TOKENS.to("meta"),), precisions=["fp16"])
    expected = rnncost.analyze(Tagger(), (TOKENS,)).totals
    assert comparison.base.figures["params"] == expected.params
    assert all(parameter.is_meta for parameter in module.parameters())


def test_an_exported_program_is_taken_with_its_example_inputs() -> None:
    program = torch.export.export(Tagger().eval(), (TOKENS,))
    comparison = rnncost.compare(program, precisions=["fp16"])
    expected = rnncost.analyze(Tagger(), (TOKENS,)).totals
    assert comparison.base.figures["macs"] == expected.macs


def test_what_cannot_be_exported_is_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    class Odd(nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svd(x)[1]

    with pytest.raises(ModuleError) as caught:
        export_onnx(Odd(), (torch.zeros(3, 3),), Request())
    message = str(caught.value)
    assert message.startswith("PyTorch cannot export Odd to ONNX, which its variants are made of")
    assert "\n" not in message
    assert capfd.readouterr().out == ""


def test_faults() -> None:
    with pytest.raises(BindingError, match="no dimension 'seq' is free: give --shape"):
        rnncost.compare(Tagger(), (TOKENS,), dims={"seq": 3})
    with pytest.raises(ModuleError, match="Tagger takes tokens: give example inputs"):
        rnncost.compare(Tagger())
    with pytest.raises(ModelError, match="cannot be read"):
        rnncost.compare("model.pt")
