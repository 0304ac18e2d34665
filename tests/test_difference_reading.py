"""What BASE and HEAD may be, and how what they may not be is refused: in one sentence."""

from __future__ import annotations

import copy
import json
import os
import threading
from pathlib import Path
from typing import Any

import onnx
import pytest
from report_samples import lstm, plain, report_of

import rnncost
from rnncost.errors import BindingError, ModelError, ReportError, RnncostError
from rnncost.report.json_text import render_json
from rnncost.report.model import Report

ROOT = Path(__file__).parent.parent
SPOTTER = str(ROOT / "examples" / "keyword_spotter.onnx")


@pytest.fixture
def saved(tmp_path: Path) -> str:
    """The report of the bundled model, in a file whose name does not say so."""
    path = tmp_path / "base"
    path.write_text(render_json(rnncost.analyze(SPOTTER, dims={"frames": 50})))
    return str(path)


def test_every_mix_of_models_and_reports(saved: str) -> None:
    report = rnncost.analyze(SPOTTER, dims={"frames": 50})
    sides: list[Any] = [SPOTTER, Path(SPOTTER), onnx.load(SPOTTER), saved, Path(saved), report]
    for n, base in enumerate(sides):
        for m, head in enumerate(sides):
            options: dict[str, Any] = {} if n > 2 and m > 2 else {"dims": {"frames": 50}}
            difference = rnncost.diff(base, head, **options)
            assert {op.status for op in difference.ops} == {"unchanged"}
            assert difference.totals["macs"].is_zero
            assert difference.base.source == (saved if n in (3, 4) else "")
            assert difference.head.source == (saved if m in (3, 4) else "")


def test_the_general_profile_is_the_default() -> None:
    difference = rnncost.diff(SPOTTER, SPOTTER)
    assert [e.profile for e in difference.estimates] == ["x86-64-server-core"]
    assert rnncost.diff(SPOTTER, SPOTTER, profiles=()).estimates == []
    names = iter(["esp32-s3", "raspberry-pi-4"])
    several = rnncost.diff(SPOTTER, SPOTTER, profiles=names)
    assert [e.profile for e in several.estimates] == ["esp32-s3", "raspberry-pi-4"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_reports_in_other_encodings_as_shells_write_them(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text(render_json(plain()), encoding=encoding)
    assert rnncost.diff(path, plain()).totals["macs"].is_zero


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_report_may_come_through_a_pipe(tmp_path: Path) -> None:
    """As in ``rnncost diff <(git show main:report.json) report.json``."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(render_json(plain()),))
    writer.start()
    difference = rnncost.diff(pipe, plain())
    writer.join()
    assert difference.totals["macs"].is_zero


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dims": {"seq": 3}}, "dims (--dim)"),
        ({"shapes": {"x": (1,)}, "values": {"y": 1}}, "shapes (--shape), values (--value)"),
        ({"profiles": "esp32-s3"}, "profiles (--profile)"),
        ({"threads": 2}, "threads (--threads)"),
        ({"trace": True}, "trace (--trace)"),
        ({"precision": "int8"}, "precision (--precision)"),
        ({"inputs": (1,)}, "inputs"),
    ],
)
def test_options_have_nothing_to_apply_to_in_two_reports(
    options: dict[str, Any], named: str
) -> None:
    with pytest.raises(BindingError) as caught:
        rnncost.diff(plain(), plain(), **options)
    assert str(caught.value).startswith(f"{named} cannot apply: base and head are both reports")
    assert rnncost.diff(plain(), plain(), dims={}, shapes={}, values={}).warnings == []


def test_options_hold_for_the_model_beside_a_report(saved: str) -> None:
    difference = rnncost.diff(saved, SPOTTER, dims={"frames": 100})
    assert difference.totals["sequential_steps"].base == 150
    assert difference.totals["sequential_steps"].head == 300
    assert "frames is 50 in base and 100 in head" in difference.warnings[0]
    with pytest.raises(BindingError) as caught:
        rnncost.diff(saved, SPOTTER, dims={"frame": 100})
    assert "both sides" not in str(caught.value)


def test_models_that_need_different_options_are_told_the_way() -> None:
    with pytest.raises(BindingError, match=r"^base: .*'frame'.*; both sides get the same options"):
        rnncost.diff(SPOTTER, SPOTTER, dims={"frame": 100})


def test_inputs_belong_to_modules() -> None:
    with pytest.raises(BindingError, match=r"inputs are those of a torch\.nn\.Module"):
        rnncost.diff(SPOTTER, SPOTTER, (1,))


def spoiled(**facts: Any) -> dict[str, Any]:
    """A report with other totals."""
    data = copy.deepcopy(report_of([lstm("a", i=2, h=3)]).to_dict())
    data["totals"].update(facts)
    return data


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ('{"a": 1}', "is not a rnncost report: it has no schema_version"),
        (json.dumps(spoiled() | {"schema_version": "2.0"}), "has schema version '2.0'"),
        (json.dumps(spoiled(macs=10**12)), "contradicts itself: totals.macs is 1000000000000"),
        (json.dumps(spoiled(params=0)), "contradicts itself: totals.params"),
        (json.dumps(spoiled(macs=-1)), "is faulty at $.totals.macs"),
        (json.dumps(spoiled(macs=float("nan"))), "has the figure NaN"),
        (json.dumps(spoiled(macs=float("inf"))), "has the figure Infinity"),
        (json.dumps(spoiled(macs=10**300)), "contradicts itself"),
        (json.dumps(spoiled(sequential_share=1e999)), "has the figure Infinity"),
        (json.dumps({"rnncost": "0.1.0", "totals": {}}), "is not a rnncost report"),
    ],
)
def test_hostile_reports_are_refused_in_one_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    for base, head in ((path, plain()), (plain(), path), (SPOTTER, path)):
        with pytest.raises(ReportError) as caught:
            rnncost.diff(base, head)
        assert str(caught.value).startswith(f"{path} ")
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_report_object_that_contradicts_itself() -> None:
    with pytest.raises(ReportError, match=r"^the report contradicts itself"):
        rnncost.diff(plain(), Report.from_dict(spoiled(macs=7)))


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ("absent.json", ReportError, "cannot read absent.json: No such file or directory"),
        ("a\0.json", ReportError, "embedded null"),
        ("absent.onnx", ModelError, "absent.onnx"),
        ("absent", ModelError, "absent"),
        ("tests", ModelError, "tests"),
        ("no.such.module:factory", RnncostError, "no"),
        (3, ModelError, "type int"),
        ({"schema_version": "1.0"}, ModelError, "type dict"),
        ("README.md", ModelError, "README.md"),
    ],
)
def test_what_is_neither_model_nor_report(
    given: Any, kind: type[RnncostError], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(kind) as caught:
        rnncost.diff(plain(), given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device")
def test_devices_are_not_read_for_ever(tmp_path: Path) -> None:
    link = tmp_path / "endless.json"
    link.symlink_to("/dev/zero")
    with pytest.raises(ReportError, match="is a device, not a report"):
        rnncost.diff(plain(), link)
