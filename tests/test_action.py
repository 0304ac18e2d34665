"""The GitHub Action, the pre-commit hook, and the examples of docs/ci.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parent.parent
SCHEMAS = Path(__file__).parent / "data" / "schemas"
GUIDE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
BASH = shutil.which("bash") or "bash"
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step.get("id", "python"): step for step in ACTION["runs"]["steps"]}
EXAMPLES = {
    block.split("\n", 1)[0].removeprefix("# "): yaml.safe_load(block)
    for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
}
WORKFLOW = ".github/workflows/model-cost.yml"


@cache
def validator(name: str) -> Any:
    schema = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return jsonschema.validators.validator_for(schema)(schema)


def check_shell(script: str) -> None:
    done = subprocess.run([BASH, "-n"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- what stands in the files


def test_the_action_meets_the_schema() -> None:
    validator("github-actions.json").validate(ACTION)
    with pytest.raises(jsonschema.ValidationError):
        validator("github-actions.json").validate(ACTION | {"runs": {"using": "composite"}})


@pytest.mark.parametrize("name", ["install", "check"])
def test_inputs_reach_the_shell_through_the_environment_only(name: str) -> None:
    check_shell(STEPS[name]["run"])
    assert "${{" not in STEPS[name]["run"]
    assert all(EXPRESSION.fullmatch(value) for value in STEPS[name]["env"].values())


def test_every_input_is_used_and_known() -> None:
    steps = json.dumps(ACTION["runs"])
    assert set(re.findall(r"inputs\.([\w-]+)", steps)) == set(ACTION["inputs"])


def test_every_output_is_written() -> None:
    for name, output in ACTION["outputs"].items():
        assert output["value"] == f"${{{{ steps.check.outputs.{name} }}}}"


def test_the_guide_has_the_inputs_and_outputs() -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", GUIDE.split("| input |")[1], re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert named == [*ACTION["inputs"], "passed", "markdown", "sarif", "junit", "json", "badge"]
    assert set(ACTION["outputs"]) == set(named[len(ACTION["inputs"]) :])


def test_the_workflows_meet_the_schema() -> None:
    own = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert own
    for workflow in [EXAMPLES[WORKFLOW], *map(load, own)]:
        validator("github-workflows.json").validate(workflow)
        for job in workflow["jobs"].values():
            for step in job["steps"]:
                check_shell(step.get("run", ""))
                assert "${{" not in step.get("run", "")


def load(path: Path) -> Any:
    # YAML 1.1 reads the key "on" as true; GitHub reads it as text.
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {("on" if key is True else key): value for key, value in data.items()}


EXAMPLES[WORKFLOW] = {
    ("on" if key is True else key): value for key, value in EXAMPLES[WORKFLOW].items()
}


def test_the_example_workflow_calls_the_action_with_what_it_takes() -> None:
    (job,) = EXAMPLES[WORKFLOW]["jobs"].values()
    (step,) = (s for s in job["steps"] if s.get("uses", "").startswith("OWNER/rnncost@"))
    assert set(step["with"]) <= set(ACTION["inputs"])
    used = re.findall(rf"steps\.{step['id']}\.outputs\.(\w+)", GUIDE)
    assert used
    assert set(used) <= set(ACTION["outputs"])


def test_the_example_for_gitlab_meets_the_schema() -> None:
    validator("gitlab-ci.json").validate(EXAMPLES[".gitlab-ci.yml"])


def test_the_hook_is_the_one_of_the_example() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    (repo,) = EXAMPLES[".pre-commit-config.yaml"]["repos"]
    assert [used["id"] for used in repo["hooks"]] == [hook["id"]]
    assert {"id", "name", "entry", "language"} <= set(hook)
    assert hook["pass_filenames"] is False


@pytest.mark.parametrize(
    ("path", "runs"),
    [
        ("models/a.onnx", True),
        ("rnncost.yaml", True),
        ("packages/a/pyproject.toml", True),
        ("my_rnncost.yaml", False),
        ("a.onnx.md", False),
    ],
)
def test_the_hook_runs_for_models_and_budgets(path: str, runs: bool) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert bool(re.search(hook["files"], path)) is runs


# --- the check step, run as the runner would


class Runner:
    """Runs the check step of the Action in a folder, with its files for outputs and summary."""

    def __init__(self, folder: Path, command: str) -> None:
        self.folder = folder
        self.command = folder / "bin" / "rnncost"
        self.command.parent.mkdir()
        self.command.write_text(f"#!/usr/bin/env bash\n{command}\n", encoding="utf-8")
        self.command.chmod(0o755)
        self.work = folder / "work"
        self.work.mkdir()

    def run(self, **inputs: str) -> subprocess.CompletedProcess[str]:
        given = {name: spec["default"] for name, spec in ACTION["inputs"].items()}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        known = {f"inputs.{name}": value for name, value in given.items()}
        known["steps.install.outputs.rnncost"] = str(self.command)
        env = {
            name: known[EXPRESSION.fullmatch(value)[1]]  # type: ignore[index]
            for name, value in STEPS["check"]["env"].items()
        }
        script = self.folder / "step.sh"
        script.write_text(STEPS["check"]["run"], encoding="utf-8")
        for name in ("output", "summary"):
            (self.folder / name).write_text("", encoding="utf-8")
        return subprocess.run(
            [BASH, "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.work,
            env={
                **os.environ,
                **env,
                "PYTHONUTF8": "1",
                "GITHUB_OUTPUT": str(self.folder / "output"),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            },
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )

    @property
    def outputs(self) -> dict[str, str]:
        lines = (self.folder / "output").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)

    @property
    def summary(self) -> str:
        return (self.folder / "summary").read_text(encoding="utf-8")


ECHO = (
    f'"{sys.executable}" -c "import json, sys; print(json.dumps(sys.argv[1:]))" "$@"\n'
    "echo summary > rnncost-reports/rnncost.md\n"
    'exit "${EXIT_CODE:-0}"'
)
OUTPUTS = [
    *("-o", "markdown:rnncost-reports/rnncost.md"),
    *("-o", "sarif:rnncost-reports/rnncost.sarif"),
    *("-o", "junit:rnncost-reports/rnncost.xml"),
    *("-o", "json:rnncost-reports/rnncost.json"),
    *("-o", "badge:rnncost-reports/rnncost.badge.json"),
]


def test_arguments_without_inputs(tmp_path: Path) -> None:
    runner = Runner(tmp_path, ECHO)
    done = runner.run()
    assert json.loads(done.stdout) == ["check", "-o", "github", *OUTPUTS, "--"]


def test_arguments_of_inputs(tmp_path: Path) -> None:
    runner = Runner(tmp_path, ECHO)
    (runner.work / "base.json").touch()
    done = runner.run(
        models="a b.onnx\n-c.onnx\n",
        budget="my budget.yaml",
        base="base.json",
        arguments="--dim\nbatch=1",
        comment_key="small",
    )
    assert json.loads(done.stdout)[3 + len(OUTPUTS) :] == [
        *("--budget", "my budget.yaml", "--base", "base.json", "--comment-key", "small"),
        *("--dim", "batch=1", "--", "a b.onnx", "-c.onnx"),
    ]


def test_a_base_that_is_missing_is_told(tmp_path: Path) -> None:
    done = Runner(tmp_path, ECHO).run(base="none.json")
    said, arguments = done.stdout.splitlines()
    assert said.startswith("::warning title=rnncost::The base report does not exist, so relative")
    assert json.loads(arguments)[-2:] == ["--absolute-only", "--"]


@pytest.mark.parametrize("name", ["models", "budget", "base", "arguments", "comment_key"])
def test_inputs_are_no_code(tmp_path: Path, name: str) -> None:
    runner = Runner(tmp_path, ECHO)
    text = "$(touch pwned) `touch pwned`; touch pwned && \" ' touch pwned"
    done = runner.run(**{name: text})
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("pwned"))
    if name != "base":
        assert text in json.loads(done.stdout)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_that_of_the_check(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXIT_CODE", str(code))
    runner = Runner(tmp_path, ECHO)
    assert runner.run().returncode == code
    assert runner.outputs["passed"] == ("true" if code == 0 else "false")
    if code == 2:
        assert set(runner.outputs) == {"passed"}
        assert runner.summary == ""
    else:
        assert set(runner.outputs) == set(ACTION["outputs"])
        assert runner.summary == "summary\n"


# --- the same step with the real command, on the project's own budget

REAL = f'exec "{sys.executable}" -m rnncost "$@"'


@pytest.fixture
def project(tmp_path: Path) -> Runner:
    """A repository with the bundled example and its budget."""
    runner = Runner(tmp_path, REAL)
    (runner.work / ".git").mkdir()
    budget = (ROOT / "examples" / "rnncost.yaml").read_text(encoding="utf-8")
    budget = budget.replace("keyword_spotter.onnx", "examples/keyword_spotter.onnx")
    (runner.work / "rnncost.yaml").write_text(budget, encoding="utf-8")
    (runner.work / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "keyword_spotter.onnx", runner.work / "examples")
    return runner


def tighten(runner: Runner, metric: str, limit: str) -> int:
    """Change a limit of the budget; its line."""
    path = runner.work / "rnncost.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    (index,) = (i for i, line in enumerate(lines) if line.startswith(f"    {metric}: "))
    lines[index] = f"    {metric}: {limit}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return index + 1


def test_the_bundled_example_is_within_its_budget(project: Runner) -> None:
    done = project.run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rnncost: all ")
    assert project.summary.startswith("<!-- rnncost -->\n### rnncost: all ")
    assert project.outputs.pop("passed") == "true"
    for path in list(project.outputs.values())[1:]:
        assert Path(path).stat().st_size


def test_over_budget_with_a_base(project: Runner) -> None:
    assert project.run().returncode == 0
    shutil.copy(project.outputs["json"], project.work / "base.json")
    line = tighten(project, "macs", "10_000_000")
    done = project.run(base="base.json", comment_key="pull/1")
    assert done.returncode == 1, done.stderr
    (command,) = (text for text in done.stdout.splitlines() if text.startswith("::"))
    assert command.startswith(f"::error file=rnncost.yaml,line={line},title=rnncost%3A macs::")
    assert project.outputs["passed"] == "false"
    assert project.summary.startswith(
        "<!-- rnncost pull/1 -->\n### rnncost: 1 of 8 limits exceeded"
    )
    assert "| 10,035,968 | 10,000,000 | 0 % | bilstm (42.9 %) |" in project.summary
    sarif = json.loads(Path(project.outputs["sarif"]).read_text(encoding="utf-8"))
    validator("sarif-2.1.0-rtm.5.json").validate(sarif)
    (result,) = sarif["runs"][0]["results"]
    (related,) = result["relatedLocations"]
    uri = related["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "examples/keyword_spotter.onnx"
    badge = json.loads(Path(project.outputs["badge"]).read_text(encoding="utf-8"))
    assert badge["message"] == "1 over budget"


def test_a_fault_ends_the_step_with_its_sentence(project: Runner) -> None:
    line = tighten(project, "macs", "5 ms")
    done = project.run()
    assert done.returncode == 2
    assert f"rnncost.yaml:{line}:" in done.stderr
    assert project.outputs == {"passed": "false"}
