"""A module beside its own ONNX export: other names, other operators, the same work."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn
from torch_models import CellLoop, LinearLstm

import rnncost
from rnncost.difference import Difference, OpDifference
from rnncost.difference.regrouping import works

pytestmark = pytest.mark.torch

T, B, IN, H = 5, 2, 6, 8


def exported(module: Any, inputs: tuple[Any, ...], **options: Any) -> onnx.ModelProto:
    """The model that PyTorch's TorchScript-based exporter writes."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), inputs, stream, dynamo=False, opset_version=17, **options)
    return onnx.load_from_string(stream.getvalue())


def compared(module: Any, *inputs: Any) -> Difference:
    return rnncost.diff(module.eval(), exported(module, inputs), inputs)


def working(difference: Difference) -> list[OpDifference]:
    """The operators that compute or store something, on either side."""
    return [op for op in difference.ops if any(map(works, (*op.base, *op.head)))]


def assert_same_work(difference: Difference) -> None:
    for op in working(difference):
        assert op.status not in ("added", "removed"), op
        assert {"params", "macs"}.isdisjoint(op.changes), op
    for metric in ("params", "macs", "sequential_steps"):
        assert difference.totals[metric].is_zero


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("both", [False, True])
def test_layers_are_matched_one_by_one(cell: str, layers: int, both: bool) -> None:
    module = getattr(nn, cell)(IN, H, num_layers=layers, bidirectional=both, batch_first=True)
    difference = compared(module, torch.zeros(B, T, IN))
    assert_same_work(difference)
    found = working(difference)
    assert [op.status for op in found] == ["renamed"] * layers
    assert all(op.head[0].name.startswith(f"/{cell}") for op in found)
    assert {key for op in found for key in op.changes} <= {"activation_bytes", "compulsory_bytes"}


def test_a_linear_layer_is_split_into_product_and_bias() -> None:
    difference = compared(nn.Linear(IN, H), torch.zeros(B, T, IN))
    assert_same_work(difference)
    (one,) = working(difference)
    assert one.status == "split"
    assert [op.op_type for op in one.head] == ["MatMul", "Add"]
    back = rnncost.diff(
        exported(nn.Linear(IN, H), (torch.zeros(B, T, IN),)),
        nn.Linear(IN, H),
        (torch.zeros(B, T, IN),),
    )
    assert [op.status for op in working(back)] == ["merged"]


def test_a_cell_is_split_into_what_it_is_unrolled_to() -> None:
    state = torch.zeros(B, H), torch.zeros(B, H)
    difference = compared(CellLoop(nn.LSTMCell(IN, H)), torch.zeros(T, B, IN), state)
    assert_same_work(difference)
    (one,) = working(difference)
    assert one.status == "split"
    assert one.base[0].op_type == "LSTMCell"
    assert {"elementwise_ops", "activations"}.isdisjoint(one.changes)


def test_products_that_are_called_at_each_step() -> None:
    state = torch.zeros(B, H), torch.zeros(B, H)
    difference = compared(LinearLstm(IN, H), torch.zeros(T, B, IN), state)
    assert_same_work(difference)
    by_name = {op.base[0].name: op for op in working(difference)}
    assert by_name["h2h"].status == "renamed"
    assert by_name["i2h"].status == "split"
    assert len(by_name["i2h"].head) == T


class Net(nn.Module):
    def __init__(self, hidden: int = H) -> None:
        super().__init__()
        self.front = nn.Conv1d(IN, 10, 3, padding=1)
        self.norm = nn.LayerNorm(10)
        self.rnn = nn.LSTM(10, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(2 * hidden, H, batch_first=True)
        self.head = nn.Linear(H, 4)

    def forward(self, features: Any) -> Any:
        y = torch.relu(self.front(features.transpose(1, 2))).transpose(1, 2)
        y, _ = self.rnn(self.norm(y))
        y, _ = self.gru(y)
        return torch.softmax(self.head(y), -1)


def test_a_whole_network() -> None:
    difference = compared(Net(), torch.zeros(B, T, IN))
    assert_same_work(difference)
    assert {(op.base[0].name, tuple(h.name for h in op.head)) for op in working(difference)} == {
        ("front", ("/front/Conv",)),
        ("Net/relu", ("/Relu",)),
        ("norm", ("/norm/LayerNormalization",)),
        ("rnn.l0", ("/rnn/LSTM",)),
        ("rnn.l1", ("/rnn/LSTM_1",)),
        ("gru", ("/gru/GRU",)),
        ("head", ("/head/MatMul", "/head/Add")),
        ("Net/softmax", ("/Softmax",)),
    }


def test_two_modules_and_a_saved_program_beside_an_export(tmp_path: Path) -> None:
    features = torch.zeros(B, T, IN)
    difference = rnncost.diff(Net(), Net(4), (features,), profiles=())
    by_name = {op.base[0].name: op for op in difference.ops}
    assert {name for name, op in by_name.items() if "dims.H" in op.changes} == {"rnn.l0", "rnn.l1"}
    assert {op.status for op in difference.ops} == {"changed", "unchanged"}
    path = tmp_path / "net.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(Net().eval(), (features,)), path)
    onnx.save(exported(Net(), (features,), input_names=["features"]), tmp_path / "net.onnx")
    difference = rnncost.diff(path, tmp_path / "net.onnx")
    assert_same_work(difference)
    assert difference.warnings == []
    assert "(torch)" in str(difference)


def test_another_length_leaves_the_layers_matched() -> None:
    """The names and the time steps differ: the weights tell which layer is which."""
    module = Net().eval()
    base = rnncost.analyze(module, (torch.zeros(B, T, IN),))
    difference = rnncost.diff(base, exported(module, (torch.zeros(B, 2 * T, IN),)))
    by_name = {op.base[0].name: op for op in difference.ops if op.base}
    for name in ("rnn.l0", "rnn.l1", "gru"):
        assert by_name[name].status == "renamed"
        assert by_name[name].changes["dims.T"].change == T
        assert "params" not in by_name[name].changes
    assert difference.warnings[0] == (
        "the counts are for different inputs: the inputs is 2x5x6 in base and 2x10x6 in head"
    )
