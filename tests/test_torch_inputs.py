"""What the caller may give a module, and what is refused."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch_models import Tied, graph, ops, report, source

from rnncost.analysis import analyze
from rnncost.errors import (
    BindingError,
    ModelFileError,
    ModuleError,
    RnncostError,
)
from rnncost.frontends.torch import (
    load_exported,
    load_factory,
    load_module,
    refuse_pickle,
)
from rnncost.graph.source import InputValue, Request

pytestmark = pytest.mark.torch


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, a: Any, b: Any = None, *, c: Any = 1.0) -> Any:
        y = self.fc(a["x"] if isinstance(a, dict) else a) * c
        return y if b is None else y + b[0] + b[1]


def test_nested_and_keyword_arguments_are_named_after_their_place() -> None:
    x = torch.zeros(2, 4)
    found = source(Mixed(), {"x": x}, (x.clone(), x.clone()))
    assert [t.name for t in found.graph.inputs] == ["a.x", "b.0", "b.1"]
    by_keyword = load_module(Mixed(), {"a": x, "c": torch.zeros(2, 4)}, Request())
    assert [t.name for t in by_keyword.graph.inputs] == ["a", "c"]
    one = load_module(Mixed(), x, Request())
    assert [t.name for t in one.graph.inputs] == ["a"]


def test_a_tensor_given_twice_is_one_input() -> None:
    x = torch.zeros(5, 2, 8)
    found = source(nn.MultiheadAttention(8, 2), x, x, x)
    assert [t.name for t in found.graph.inputs] == ["query"]
    assert len(ops(found.graph, "Gemm")) == 2


def test_shapes_stand_for_inputs() -> None:
    shapes = {"input": (5, 2, 6), "hx.0": (1, 2, 8), "hx.1": (1, 2, 8)}
    found = source(nn.LSTM(6, 8), shapes=shapes)
    assert found.shapes == shapes
    (op,) = ops(found.graph, "LSTM")
    assert op.tensor(6) is not None
    assert source(nn.LSTM(6, 8), shapes={"0": (5, 2, 6)}).shapes == {"input": (5, 2, 6)}


def test_a_shape_replaces_that_of_a_given_input() -> None:
    x = torch.zeros(5, 2, 6)
    assert source(nn.GRU(6, 8), x, shapes={"input": (9, 1, 6)}).shapes == {"input": (9, 1, 6)}


def test_values_stand_for_inputs() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(4, 4)

        def forward(self, x: Any, count: Any) -> Any:
            h = torch.zeros(x.shape[0], 4)
            for _ in range(int(count)):
                h = self.cell(x, h)
            return h

    values = {"count": InputValue((), (3,))}
    found = graph(Steps(), shapes={"x": (2, 4)}, values=values)
    assert len(ops(found, "GRUCell")) == 3


def test_indices_are_recognised() -> None:
    found = source(Tied(), shapes={"words": (2, 7)})
    assert found.graph.inputs[0].dtype == "int64"
    assert found.warnings == ("the input 'words' is taken to hold indices",)


@pytest.mark.parametrize(
    ("module", "inputs", "request_", "error", "text"),
    [
        (nn.LSTM(6, 8), (), Request(), ModuleError, "LSTM takes input: give example inputs"),
        (
            nn.LSTM(6, 8),
            (),
            Request(shapes={"inptu": (5, 2, 6)}),
            BindingError,
            "no input 'inptu', did you mean 'input'",
        ),
        (
            nn.LSTM(6, 8),
            (torch.zeros(5, 2, 6),),
            Request(shapes={"x": (5, 2, 6)}),
            BindingError,
            "no input 'x'",
        ),
        (
            nn.LSTM(6, 8),
            (torch.zeros(5, 2, 6),),
            Request(dims={"seq": 4}),
            BindingError,
            "no named dimension 'seq'",
        ),
        (nn.LazyLinear(4), (torch.zeros(2, 4),), Request(), ModuleError, "has no shape yet"),
        (torch.zeros(3), (), Request(), ModuleError, "not a torch.nn.Module"),
    ],
)
def test_inputs_that_do_not_fit(
    module: Any, inputs: Any, request_: Request, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text) as raised:
        load_module(module, inputs, request_)
    assert "\n" not in str(raised.value)


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 4)

    def forward(self, x: Any) -> Any:
        return self.inner(x)


def test_an_exception_is_one_sentence_with_the_module_that_raised() -> None:
    with pytest.raises(ModuleError) as raised:
        report(Failing(), torch.zeros(2, 7, 16))
    text = str(raised.value)
    assert text.startswith("the forward of inner raised RuntimeError: ")
    assert "\n" not in text

    class Own(nn.Module):
        def forward(self, x: Any) -> Any:
            raise KeyError("first\nsecond")

    with pytest.raises(ModuleError, match=r"^the forward of Own raised KeyError: "):
        report(Own(), torch.zeros(2))


def test_scripted_modules_are_refused() -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        scripted = torch.jit.script(nn.Linear(3, 4))
    with pytest.raises(ModuleError, match="TorchScript"):
        report(scripted, torch.zeros(2, 3))


def test_weights_without_elements_cannot_be_run() -> None:
    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4, device="meta")

        def forward(self, x: Any) -> Any:
            return self.fc(x)[: int(x.sum())]

    with pytest.raises(ModuleError, match="weights are on the meta device"):
        report(Sized(), torch.zeros(2, 4))


def test_a_trace_runs_the_module() -> None:
    found = report(nn.LSTM(6, 8), torch.zeros(5, 2, 6), trace=True)
    assert found.bindings.traced
    assert found.totals.macs == report(nn.LSTM(6, 8), torch.zeros(5, 2, 6)).totals.macs


# -- factories ----------------------------------------------------------------------------


def test_factories() -> None:
    found = load_factory("torch_models:tiny_net", Request(shapes={"input": (2, 4)}))
    assert found.path == "torch_models:tiny_net"
    assert [op.op_type for op in found.graph.ops] == ["Gemm", "Tanh"]
    with_inputs = load_factory("torch_models:words_net", Request())
    assert with_inputs.shapes == {"words": (2, 7)}


def test_a_factory_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets_of_mine.py").write_text(
        "import torch\nnet = torch.nn.Linear(3, 2)\nsize = 3\n"
        "def breaks():\n    raise ValueError('no weights')\n"
        "def stops():\n    raise SystemExit(3)\n"
        "def tells():\n    return 'net'\n"
        "class Zoo:\n    @staticmethod\n    def make():\n        return net\n"
    )
    (tmp_path / "broken_net.py").write_text("import missing_library\n")
    monkeypatch.chdir(tmp_path)
    request = Request(shapes={"input": (1, 3)})
    for name in ("nets_of_mine:net", "nets_of_mine:Zoo.make"):
        assert len(load_factory(name, request).graph.ops) == 1
    for name, text in {
        "nets_of_mine:breaks": "the factory nets_of_mine:breaks raised ValueError: no weights",
        "nets_of_mine:stops": "raised SystemExit: 3",
        "nets_of_mine:tells": "returned str, neither a module nor",
        "nets_of_mine:size": "is an int, not a function",
        "nets_of_mine:bricks": "no 'bricks', did you mean 'breaks'",
        "broken_net:make": "importing broken_net failed with ModuleNotFoundError: .*missing_lib",
        "no_such_package.nets:make": "there is no module 'no_such_package'",
    }.items():
        with pytest.raises(ModuleError, match=text) as raised:
            load_factory(name, request)
        assert "\n" not in str(raised.value)


# -- files --------------------------------------------------------------------------------


def test_pickles_are_refused_without_being_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    saved = tmp_path / "module.pt"
    torch.save(nn.Linear(2, 2), saved)
    legacy = tmp_path / "legacy.pth"
    legacy.write_bytes(pickle.dumps(Trap()))
    for path in (saved, legacy):
        error = refuse_pickle(str(path))
        assert isinstance(error, ModuleError)
        assert "pickle" in str(error)
        assert ".pt2" in str(error)
        with pytest.raises(ModuleError, match="pickle"):
            analyze(path)
        with pytest.raises(ModuleError, match="pickle"):
            load_exported(path, Request())
    assert not (tmp_path / "sprung").exists()


def test_torchscript_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scripted.pt"
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.script(nn.Linear(3, 4)).save(str(path))
    assert "TorchScript archive" in str(refuse_pickle(str(path)))


def test_files_that_are_no_programs(tmp_path: Path) -> None:
    plain = tmp_path / "a.pt2"
    plain.write_text("hello")
    empty = tmp_path / "b.pt2"
    empty.touch()
    damaged = tmp_path / "c.pt2"
    damaged.write_bytes(b"PK\x03\x04 and nothing more")
    other = tmp_path / "d.pt2"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    hollow = tmp_path / "e.pt2"
    with zipfile.ZipFile(hollow, "w") as archive:
        archive.writestr("e/archive_format", "pt2")
    for path in (plain, empty, damaged, other, hollow, tmp_path, tmp_path / "missing.pt2"):
        with pytest.raises(RnncostError) as raised:
            load_exported(path, Request())
        assert isinstance(raised.value, ModelFileError)
        assert "\n" not in str(raised.value)
