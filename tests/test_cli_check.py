"""``rnncost check``: exit codes, outputs, a first budget, and one sentence for each fault."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from budget_support import EXAMPLE, product

from rnncost.budgets.formats import FORMATS as CI_FORMATS
from rnncost.cli.check import FORMATS
from rnncost.cli.main import main
from rnncost.errors import EXIT_ERROR, EXIT_OK, EXIT_OVER_BUDGET

Capture = pytest.CaptureFixture[str]
BUDGET = "models:\n  m.onnx:\n    dims: {rows: 4}\n    macs: "


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model of 200 MACs and a budget of 190."""
    monkeypatch.chdir(tmp_path)
    product(tmp_path / "m.onnx", 5, rows="rows")
    budget("190")
    return tmp_path


def budget(limit: str) -> None:
    Path("rnncost.yaml").write_text(f"{BUDGET}{limit}\n")


def run(words: str) -> int:
    return main(["check", *words.split()])


def fault(words: str, capsys: Capture) -> str:
    assert run(words) == EXIT_ERROR
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rnncost: error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ("200", EXIT_OK),
        ("202", EXIT_OK),
        ("198", EXIT_OVER_BUDGET),
        ("{max: 198, level: warn}", EXIT_OK),
        ("[{max: 198, level: warn}, 201]", EXIT_OK),
        ("[{max: 198, level: warn}, 199]", EXIT_OVER_BUDGET),
        ("many", EXIT_ERROR),
    ],
)
def test_the_exit_code_is_the_verdict(limit: str, code: int, capsys: Capture) -> None:
    budget(limit)
    assert run("") == code
    out, err = capsys.readouterr()
    assert (out == "") == (code == EXIT_ERROR)
    assert (err == "") == (code != EXIT_ERROR)


def test_the_table(capsys: Capture) -> None:
    assert run("m.onnx") == EXIT_OVER_BUDGET
    out, err = capsys.readouterr()
    assert out == (
        "m.onnx (rows=4)\n"
        "  FAIL  macs  200  of 190  105.3 %  rnncost.yaml:4\n"
        "\n"
        "rnncost.yaml:4: error: m.onnx: macs is 200, over its limit of 190 by 5.26 %; the largest "
        'part is product (100.0 %) (models."m.onnx".macs)\n'
        "\n"
        "1 model: 1 of 1 limit exceeded (m.onnx: macs)\n"
    )
    assert err == ""
    assert run("-q") == EXIT_OVER_BUDGET
    assert capsys.readouterr().out == "1 model: 1 of 1 limit exceeded (m.onnx: macs)\n"


def test_colours(capsys: Capture) -> None:
    assert run("--color always") == EXIT_OVER_BUDGET
    assert "\x1b[31mFAIL\x1b[0m" in capsys.readouterr().out
    assert run("--color auto") == EXIT_OVER_BUDGET
    assert "\x1b" not in capsys.readouterr().out


def test_names_cannot_act_on_a_terminal(capsys: Capture) -> None:
    product(Path("a\x1b[2J\nb.onnx"), 5)
    Path("rnncost.yaml").write_text("models: {'*2J*': {macs: 1, state_bytes: {max_increase: 1%}}}")
    assert run("--absolute-only") == EXIT_OVER_BUDGET
    out, err = capsys.readouterr()
    assert "a\\x1b[2J\\nb.onnx" in out
    assert "\x1b" not in out + err
    assert fault("", capsys).count("\\x1b") == 0


def test_reports_are_written_before_a_failure(folder: Path, capsys: Capture) -> None:
    names = ("table", "json", *CI_FORMATS)
    outputs = [f"{name}:{folder}/out.{name}" for name in names]
    assert main(["check", *(word for o in outputs for word in ("-o", o))]) == EXIT_OVER_BUDGET
    assert capsys.readouterr() == ("", "")
    texts = {name: (folder / f"out.{name}").read_text() for name in names}
    assert json.loads(texts["json"])["passed"] is False
    assert json.loads(texts["sarif"])["version"] == "2.1.0"
    assert json.loads(texts["badge"])["message"] == "1 over budget"
    assert "<testsuites" in texts["junit"]
    assert texts["github"].startswith("::error file=rnncost.yaml,line=4,")
    assert texts["markdown"].startswith("<!-- rnncost -->\n")
    assert texts["table"].startswith("m.onnx (rows=4)\n")


def test_every_format_has_a_name() -> None:
    assert set(FORMATS) == {"table", "json", *CI_FORMATS, "html"}


def test_the_comment_key_is_in_the_marker(capsys: Capture) -> None:
    assert run("-o markdown --comment-key nightly") == EXIT_OVER_BUDGET
    assert capsys.readouterr().out.startswith("<!-- rnncost nightly -->\n")


def test_json_is_the_base_of_a_later_check(capsys: Capture) -> None:
    budget("{max: 1M, max_increase: 10%}")
    assert run("--absolute-only -o json:base.json") == EXIT_OK
    assert run("--absolute-only -o json") == EXIT_OK
    data = json.loads(capsys.readouterr().out)
    assert data == json.loads(Path("base.json").read_text())
    assert list(data) == ["schema_version", "tool", "passed", "models", "profiles", "warnings"]
    assert list(data["models"][0]) == ["model", "findings", "report"]
    assert data["models"][0]["findings"][0]["limit"] == 1_000_000
    for width, code in ((5, EXIT_OK), (6, EXIT_OVER_BUDGET), (4, EXIT_OK)):
        product(Path("m.onnx"), width, rows="rows")
        assert run("--base base.json") == code
        out = capsys.readouterr().out
        assert ("over its limit of 220 by 9.09 % (10 % above the base); +20 % from 200" in out) == (
            width == 6
        )


def test_warnings_stand_on_stderr_beside_machine_formats(capsys: Capture) -> None:
    product(Path("n.onnx"), 5)
    Path("rnncost.yaml").write_text("models: {n.onnx: {macs: 1k}}\n")
    assert run("-o json:base.json") == EXIT_OK
    product(Path("n.onnx"), 5, depth=9)
    said = "warning: n.onnx: the shape of 'x' is 4x10 in the base and 4x9 here\n"
    assert run("--base base.json -o badge") == EXIT_OK
    assert capsys.readouterr().err == f"rnncost: {said}"
    assert run("--base base.json") == EXIT_OK
    out, err = capsys.readouterr()
    assert said in out
    assert err == ""


def test_what_a_factory_prints_is_not_in_the_result(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    (folder / "loud_budget_factory.py").write_text(
        "import torch\ndef build():\n    print('loud')\n    return torch.nn.Linear(3, 5)\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    name = "loud_budget_factory:build"
    assert run(f"--init {name} --shape input=2x3 --budget f.yaml -q") == EXIT_OK
    assert "loud" not in capsys.readouterr().out
    assert run("--budget f.yaml -o json") == EXIT_OK
    out, err = capsys.readouterr()
    assert json.loads(out)["models"][0]["model"] == name
    assert "loud\n" in err


# A first budget.


def test_init_writes_a_budget_that_passes(capsys: Capture) -> None:
    shutil.copy(EXAMPLE, "spotter.onnx")
    Path("rnncost.yaml").unlink()
    words = "--init m.onnx spotter.onnx --profile raspberry-pi-4 --headroom 5% --threads 2"
    assert run(words) == EXIT_OK
    out, err = capsys.readouterr()
    assert out == Path("rnncost.yaml").read_text()
    assert "5 % head-room" in out
    assert "  m.onnx:\n    # assumed: rows=100\n    dims: {rows: 100}\n    threads: 2\n" in out
    assert err == (
        "rnncost: m.onnx: rows=100 is assumed; change it in the budget\n"
        "rnncost: spotter.onnx: batch=1, frames=100 is assumed; change it in the budget\n"
        "rnncost: wrote rnncost.yaml\n"
    )
    assert run("-q") == EXIT_OK
    assert capsys.readouterr().out == "2 models: all 14 limits hold\n"
    shutil.copy(EXAMPLE, "m.onnx")
    assert run("") == EXIT_ERROR  # other free dimensions


def test_init_writes_what_it_was_given(capsys: Capture) -> None:
    assert run("--init m.onnx --dim rows=7 --budget new.yaml --precision int8 -q") == EXIT_OK
    out, err = capsys.readouterr()
    assert (out, err) == ("", "rnncost: wrote new.yaml\n")
    text = Path("new.yaml").read_text()
    assert "    dims: {rows: 7}\n    precision: int8\n    params: 55\n" in text
    assert run("--budget new.yaml") == EXIT_OK


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--init m.onnx", "rnncost.yaml exists, and --init overwrites nothing"),
        ("--init", "--init needs a MODEL"),
        ("--init m.onnx --budget b.toml", "--init writes YAML: b.toml must end in .yaml"),
        ("--init m.onnx --budget no/b.yaml", "the folder no does not exist"),
        ("--init m.onnx --budget b.yaml --headroom 10", "would be 1000 %: write 10%"),
        ("--init m.onnx --budget b.yaml --headroom -5%", "--headroom: '-5%' is below 0"),
        ("--init m.onnx --budget b.yaml --headroom x", "--headroom: 'x' is not a share"),
        ("--init m.onnx --budget b.yaml --base a", "--base does not go with --init"),
        ("--init m.onnx --budget b.yaml --absolute-only", "--absolute-only does not go with"),
        ("--init m.onnx --budget b.yaml -o json", "-o does not go with --init"),
        ("--init m.onnx --budget b.yaml --value x", "--value x names nothing to bind"),
        ("--init m.onnx --budget b.yaml --value x=1 --value x=2", "--value x is given twice"),
        ("--init n.onnx --budget b.yaml", "n.onnx"),
        ("--dim rows=4", "--dim goes with --init: a check takes such things from the budget"),
        ("--profile host", "--profile goes with --init"),
        ("--headroom 5%", "--headroom goes with --init"),
        ("-o jsn", "there is no format 'jsn', did you mean 'json'?"),
        ("-o sarif:no/s.json", "the folder no does not exist"),
        ("--budget nope.yaml", "cannot read the budget nope.yaml: no such file"),
        ("--base nope.json", "there is no base nope.json"),
        ("--base rnncost.yaml", "rnncost.yaml is not JSON"),
        ("other.onnx", "no such model file: other.onnx"),
    ],
)
def test_faults_are_one_sentence(words: str, said: str, capsys: Capture) -> None:
    assert said in fault(words, capsys)
    assert not Path("b.yaml").exists()


def test_init_does_not_make_a_second_budget(capsys: Capture) -> None:
    Path("rnncost.yaml").unlink()
    Path("pyproject.toml").write_text("[tool.rnncost.models.'m.onnx']\nmacs = 1\n")
    said = fault("--init m.onnx", capsys)
    assert "[tool.rnncost] of pyproject.toml has budgets already" in said
    assert not Path("rnncost.yaml").exists()


def test_the_line_of_a_toml_limit(capsys: Capture) -> None:
    Path("rnncost.yaml").unlink()
    Path("pyproject.toml").write_text(
        "[tool.rnncost.models.'m.onnx']\ndims = {rows = 4}\n\nmacs = 190 # too few\n"
    )
    assert run("-o github") == EXIT_OVER_BUDGET
    assert "file=pyproject.toml,line=4," in capsys.readouterr().out


def test_the_schema_of_a_budget(capsys: Capture) -> None:
    assert run("--schema") == EXIT_OK
    schema: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "latency_s" in schema["$defs"]["budget"]["properties"]
