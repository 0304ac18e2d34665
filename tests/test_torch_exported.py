""".pt2 exports and ExportedPrograms cost what their modules do."""

from __future__ import annotations

import io
import json
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch_models import (
    Attention,
    CellLoop,
    LinearLstm,
    Tied,
    metrics,
    parameters,
    recurrent_truth,
    report,
)

from rnncost.analysis import analyze
from rnncost.errors import (
    BindingError,
    ControlFlowError,
    ModelFileError,
    ModuleError,
    RnncostError,
)
from rnncost.frontends.torch import load_exported
from rnncost.graph.source import InputValue, Request

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


def test_the_costlier_branch_has_more_macs_not_more_operators() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Linear(IN, H)

        def forward(self, x: Any) -> Any:
            def wide(x: Any) -> Any:
                return self.wide(x)

            def long(x: Any) -> Any:
                return (x.sin().cos().tanh() + 1).sum(1, keepdim=True).expand(-1, H).clone()

            return torch.cond(x.sum() > 0, wide, long, (x,))

    found = analyze(export(Wide(), torch.zeros(B, IN)), symbolic=False)
    assert found.totals.macs == B * IN * H


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
    assert metrics(analyze(program, symbolic=False, trace=True).totals) == truth


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


# -- files that would run code --------------------------------------------------------------


def rewritten(source: Path, target: Path, change: Any) -> Path:
    """A copy of an archive with each entry's bytes changed, or left out where None."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = change(name, old.read(name))
            if content is not None:
                new.writestr(name, content)
    return target


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "net.pt2"
    batch = torch.export.Dim("batch", min=1, max=64)
    program = export(nn.Linear(IN, H), torch.zeros(3, IN), dynamic_shapes={"input": {0: batch}})
    torch.export.save(program, path)
    return path


def test_a_rewritten_file_is_still_read(saved: Path, tmp_path: Path) -> None:
    copy = rewritten(saved, tmp_path / "copy.pt2", lambda _, content: content)
    assert analyze(copy, symbolic=False).totals.macs == 3 * IN * H


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('touch sprung')",
        "lambdify('x', 'y')",
        "Symbol('s0').__class__",
        "(lambda: 1)()",
        "[1 for _ in (1,)]",
        "Symbol('a b')",
    ],
)
def test_sizes_that_are_code_are_refused(
    saved: Path, tmp_path: Path, expression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        graph = json.loads(content)
        waiting = [graph]
        while waiting:
            item = waiting.pop()
            if isinstance(item, dict):
                if "expr_str" in item:
                    item["expr_str"] = expression
                waiting.extend(item.values())
            elif isinstance(item, list):
                waiting.extend(item)
        return json.dumps(graph).encode()

    path = rewritten(saved, tmp_path / "trap.pt2", change)
    with pytest.raises(ModuleError, match="a size that is more than arithmetic"):
        analyze(path)
    assert not (tmp_path / "sprung").exists()


def test_pickles_inside_are_read_without_running_code(saved: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    def change(name: str, content: bytes) -> bytes:
        if "sample_inputs" not in name:
            return content
        stream = io.BytesIO()
        torch.save([Trap()], stream)
        return stream.getvalue()

    path = rewritten(saved, tmp_path / "trap.pt2", change)
    with pytest.raises(ModelFileError, match="cannot be read as a PyTorch export"):
        analyze(path)
    assert not (tmp_path / "sprung").exists()


def test_pickled_objects_inside_are_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "trap.pt2"
    shutil.copy(saved, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/data/constants/opaque_obj_0", b"\x80\x02.")
    with pytest.raises(ModuleError, match="holds a pickled object"):
        analyze(path)


def test_functions_that_are_no_operators_are_not_called(saved: Path, tmp_path: Path) -> None:
    def change(name: str, content: bytes) -> bytes:
        return content.replace(b"torch.ops.aten.linear.default", b"torch.os.getcwd")

    path = rewritten(saved, tmp_path / "trap.pt2", change)
    with pytest.raises(RnncostError) as raised:
        analyze(path)
    assert "\n" not in str(raised.value)


def failure(path: Path) -> str:
    """What is said about a file; any other exception than ours is a failed test."""
    try:
        analyze(path)
    except RnncostError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("part", ["models/model.json", "weights_config.json", "weight_0"])
def test_damaged_parts_are_one_sentence(saved: Path, tmp_path: Path, part: str) -> None:
    for number, damage in enumerate((None, b"", b"{", b"[" * 100_000, b"\x00\xff" * 40)):
        path = rewritten(
            saved,
            tmp_path / f"damaged{number}.pt2",
            lambda name, content, damage=damage: damage if name.endswith(part) else content,
        )
        assert "\n" not in failure(path)
