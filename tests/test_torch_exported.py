""".pt2 exports and ExportedPrograms cost what their modules do."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch_models import (  # noqa: E402
    Attention,
    CellLoop,
    LinearLstm,
    Tied,
    metrics,
    parameters,
    recurrent_truth,
    report,
)

from rnncost.analysis import analyze  # noqa: E402
from rnncost.errors import BindingError, ControlFlowError  # noqa: E402
from rnncost.frontends.torch import load_exported  # noqa: E402
from rnncost.graph.source import InputValue, Request  # noqa: E402

pytestmark = pytest.mark.torch

T, B, IN, H = 5, 2, 6, 8


def export(module: Any, *inputs: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(module.eval(), inputs, **options)


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (lambda: nn.LSTM(IN, H, 2, bidirectional=True), (torch.zeros(T, B, IN),)),
        (lambda: nn.GRU(IN, H, batch_first=True), (torch.zeros(B, T, IN),)),
        (lambda: nn.RNN(IN, H, bias=False), (torch.zeros(T, B, IN),)),
        (lambda: nn.LSTM(IN, H, proj_size=3), (torch.zeros(T, B, IN),)),
        (lambda: CellLoop(nn.GRUCell(IN, H)), (torch.zeros(T, B, IN),)),
        (lambda: LinearLstm(IN, H), (torch.zeros(T, B, IN),)),
        (Tied, (torch.zeros(B, T, dtype=torch.int64),)),
        (Attention, (torch.zeros(2, 7, 16), torch.zeros(2, 5, dtype=torch.int64))),
    ],
)
def test_a_program_costs_what_its_module_does(make: Any, inputs: Any) -> None:
    module = make()
    program = export(module, *inputs)
    expected = metrics(report(module, *inputs).totals)
    found = analyze(program, symbolic=False)
    assert metrics(found.totals) == expected
    assert found.uncounted == []
    assert found.warnings == []


def test_a_file(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(IN, IN), nn.LSTM(IN, H))
    path = tmp_path / "net.pt2"
    torch.export.save(export(module, torch.zeros(T, B, IN)), path)
    found = analyze(path)
    truth = recurrent_truth("LSTM", inputs=IN, hidden=H, steps=T, rows=T * B)
    assert found.totals.params == parameters(module)
    assert found.totals.macs == truth["macs"] + T * B * IN * IN
    assert found.totals.sequential_steps == T
    assert [row.name for row in found.ops] == ["0", "1"]
    assert found.model.format == "torch"


@pytest.mark.parametrize("cell", ["LSTM", "RNN"])
def test_a_decomposed_program_is_a_chain_of_products(cell: str) -> None:
    module = getattr(nn, cell)(IN, H, 2)
    program = export(module, torch.zeros(T, B, IN)).run_decompositions()
    assert "lstm" not in {str(node.target) for node in program.graph.nodes}
    found = analyze(program, symbolic=False)
    truth = recurrent_truth(cell, inputs=IN, hidden=H, steps=T, rows=T * B, layers=2)
    assert metrics(found.totals) == truth


def test_a_free_dimension() -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = export(nn.GRU(IN, H), torch.zeros(T, 3, IN), dynamic_shapes={"input": {1: batch}})
    default = load_exported(program, Request())
    ((name, size),) = default.dims.items()
    assert size == 3
    assert default.assumed == (name,)
    bound = load_exported(program, Request(dims={name: 7}))
    assert bound.dims == {name: 7}
    assert bound.assumed == ()
    assert bound.shapes == {"input": (T, 7, IN)}
    shaped = load_exported(program, Request(shapes={"input": (T, 9, IN)}))
    assert shaped.dims == {name: 9}
    with pytest.raises(BindingError, match=f"no free dimension 'batch_size'.*it has {name}"):
        load_exported(program, Request(dims={"batch_size": 7}))
    with pytest.raises(BindingError, match="is free: bind it"):
        load_exported(program, Request(assume=False))
    with pytest.raises(BindingError, match="no input 'x'"):
        load_exported(program, Request(shapes={"x": (T, 9, IN)}))


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Linear(IN, H)
        self.large = nn.Sequential(nn.Linear(IN, 4 * H), nn.Linear(4 * H, H))

    def forward(self, x: Any, n: Any) -> Any:
        def small(x: Any) -> Any:
            return self.small(x)

        def large(x: Any) -> Any:
            return self.large(x)

        return torch.cond((n > 3).all(), small, large, (x,))


def test_a_branch_that_a_value_settles() -> None:
    module = Branch()
    program = export(module, torch.zeros(B, IN), torch.tensor([1]))
    value = {"n": InputValue((1,), (4,))}
    found = analyze(program, values={"n": [4]}, symbolic=False)
    assert found.totals.macs == B * IN * H
    assert found.totals.params == parameters(module)
    assert found.totals.active_params == IN * H + H
    assert load_exported(program, Request(values=value)).warnings == ()
    other = analyze(program, values={"n": [1]}, symbolic=False)
    assert other.totals.macs == B * (IN * 4 * H + 4 * H * H)


def test_a_branch_that_nothing_settles_is_the_costlier_one() -> None:
    program = export(Branch(), torch.zeros(B, IN), torch.tensor([1]))
    found = analyze(program, symbolic=False)
    assert found.totals.macs == B * (IN * 4 * H + 4 * H * H)
    assert found.warnings == ["the branch in Branch is assumed to be the costlier one"]


def test_a_scan_is_one_operator_with_trips() -> None:
    from torch._higher_order_ops import scan

    class Scanned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.i2h = nn.Linear(IN, H)
            self.h2h = nn.Linear(H, H)

        def forward(self, x: Any) -> Any:
            def step(h: Any, x_t: Any) -> Any:
                after = torch.tanh(self.i2h(x_t) + self.h2h(h))
                return after, after.clone()

            return scan(step, torch.zeros(B, H), x, dim=0)

    module = Scanned()
    program = export(module, torch.zeros(T, B, IN))
    loaded = load_exported(program, Request())
    (op,) = [op for op in loaded.graph.ops if op.op_type == "Scan"]
    assert op.trips == T
    assert op.body is not None
    assert len(op.carried) == 1
    truth = recurrent_truth("RNN", inputs=IN, hidden=H, steps=T, rows=T * B)
    assert metrics(analyze(program, symbolic=False).totals) == truth


class Repeated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.h2h = nn.Linear(H, H)

    def forward(self, x: Any, n: Any) -> Any:
        from torch._higher_order_ops import while_loop

        def again(i: Any, h: Any) -> Any:
            return (i < n).all()

        def body(i: Any, h: Any) -> Any:
            return i + 1, torch.tanh(self.h2h(h))

        return while_loop(again, body, (torch.tensor([0]), x))


def test_a_while_loop_with_known_trips() -> None:
    program = export(Repeated(), torch.zeros(B, H), torch.tensor([4]))
    found = analyze(program, values={"n": [6]}, symbolic=False)
    assert found.totals.macs == 6 * B * H * H
    assert found.totals.sequential_steps == 6


def test_a_while_loop_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnncost.frontends.torch.control.TRIP_LIMIT", 50)
    program = export(Repeated(), torch.zeros(B, H), torch.tensor([4]))
    with pytest.raises(
        ControlFlowError, match="the while loop in Repeated runs more than 50 trips"
    ):
        load_exported(program, Request(values={"n": InputValue((1,), (10**9,))}))
