"""The page as text: self-contained, escaped, the same each time; and the formats that write it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from check_samples import hostile as hostile_check
from check_samples import many, mixed, passing, warned
from report_samples import hostile, plain
from webpage_samples import (
    ATTACKS,
    MODEL,
    PROFILES,
    attacked,
    attacked_training,
    profiles,
    spotter,
    trained,
)

from rnncost.cli.main import main
from rnncost.comparison.model import Comparison, Design, Skipped
from rnncost.errors import EXIT_ERROR, EXIT_OVER_BUDGET, ReportError, RuntimeUnavailableError
from rnncost.report import estimates, summary
from rnncost.report.model import Report
from rnncost.report.text import printable
from rnncost.report.training import training_lines, training_sentences
from rnncost.webpage import known_profiles, render_check, render_page, require_bokeh
from rnncost.webpage.markup import escape, script_json

pytest.importorskip("bokeh")

Capture = pytest.CaptureFixture[str]
VOID = {"meta", "link", "input", "br", "img"}
# Every attribute that the page writes: none of them runs anything.
ATTRIBUTES = set(
    "lang charset http-equiv content name rel href id class style aria-label aria-labelledby "
    "aria-hidden role tabindex scope for type min max step value list autocomplete".split()
)


class Document(HTMLParser):
    """Elements balanced, and only known attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: dict[str, int] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self.open[-1:] != ["style"]:
            self.text += data


def rendered(report: Report, **more: Any) -> str:
    return render_page(report, profiles=profiles(), **more)


def comparison() -> Comparison:
    """A comparison with hostile text wherever there is text."""
    whole = " ".join(ATTACKS)
    figures = {"params": 100, "macs": 2000, f"latency_s@{PROFILES[0]}": 1e-3}
    base = Design(name="as it is", report=spotter(), figures=figures, reasons=["a reason"])
    variant = Design(
        name=f"GRU {whole}",
        policy="same hidden size",
        report=spotter(),
        figures={"params": 75, "macs": 1500, f"latency_s@{PROFILES[0]}": 7e-4},
        ratios={"params": 0.75, "macs": 0.75, f"latency_s@{PROFILES[0]}": 0.7},
        reasons=[whole],
        notes=[whole],
    )
    return Comparison(
        base=base,
        variants=[variant],
        skipped=[Skipped(name=whole, reason=whole)],
        warnings=[whole],
    )


PAGES = {
    "everything": lambda: rendered(spotter(), comparison=comparison(), check=mixed()),
    "hostile": lambda: rendered(attacked(), check=hostile_check(" ".join(ATTACKS))),
    "hostile profiles": lambda: rendered(attacked(also_profiles=True)),
    "hostile samples": lambda: rendered(hostile()),
    "training": lambda: rendered(trained()),
    "hostile training": lambda: rendered(attacked_training()),
    "no estimate": lambda: rendered(plain()),
    "many models": lambda: rendered(plain(), check=many(40)),
}


@pytest.fixture(params=PAGES)
def text(request: pytest.FixtureRequest) -> str:
    return PAGES[request.param]()


def test_the_page_is_well_formed_and_self_contained(text: str) -> None:
    document = Document(text)
    assert {key for _, key, _ in document.attributes} <= ATTRIBUTES
    links = {value for tag, key, value in document.attributes if key in ("href", "src")}
    assert all(link.startswith("#") or link == "data:," for link in links)
    ids = [value for _, key, value in document.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    targets = {link[1:] for link in links if link.startswith("#")}
    assert targets <= set(ids)
    assert not {"img", "iframe", "object", "embed", "base", "form"} & set(document.tags)
    assert document.tags["h1"] == document.tags["main"] == document.tags["title"] == 1
    assert document.tags.get("caption", 0) == document.tags.get("table", 0)
    assert text.encode("utf-8")
    assert not set("\u2028\u2029\u202e\x1b\x07\udc80") & set(text)


def test_the_policy_names_the_scripts_and_nothing_else(text: str) -> None:
    document = Document(text)
    (policy,) = (v for _, key, v in document.attributes if key == "content" and "-src" in v)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert set(rules) == {
        *("default-src", "script-src", "style-src", "img-src", "base-uri", "form-action")
    }
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in document.scripts[1:]
    }
    assert set(rules["script-src"].split()) == (hashes or {"'none'"})
    assert len(document.scripts) in (0, 3)


def test_the_data_cannot_end_its_script() -> None:
    document = Document(PAGES["hostile"]())
    data = document.scripts[0]
    assert data.isascii()
    assert not set("<>&") & set(data)
    charts = json.loads(data)["charts"]
    assert [chart["target"] for chart in charts] == [
        *("timeline-0", "timeline-1", "roofline-0", "roofline-1")
    ]


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_is_escaped_and_can_be_read_back(attack: str) -> None:
    assert not set("<>\"'") & set(escape(attack))
    read = Document(f"<p>{escape(attack)}</p>").text
    assert read == printable(attack)
    assert json.loads(script_json([attack])) == [attack]


def test_figures_that_no_chart_can_place_are_refused() -> None:
    with pytest.raises(ReportError, match="infinite"):
        script_json([float("nan")])
    estimate = spotter().estimates[0]
    for wrong in (float("inf"), float("nan")):
        broken = msgspec.structs.replace(estimate, latency_s=wrong)
        with pytest.raises(ReportError, match="infinite"):
            rendered(msgspec.structs.replace(spotter(), estimates=[broken]))
    totals = msgspec.structs.replace(spotter().totals, macs=10**400)
    with pytest.raises(ReportError, match="above 10"):
        rendered(msgspec.structs.replace(spotter(), totals=totals))


def test_the_page_is_the_same_each_time() -> None:
    first = PAGES["everything"]()
    rendered(plain())
    assert PAGES["everything"]() == first
    assert len(first) < 1_600_000


def test_it_says_what_the_report_says() -> None:
    shown = Document(rendered(spotter())).text
    lines = [*summary.model_lines(spotter()), *summary.totals_lines(spotter())]
    for label, line in lines:
        assert f"{label}{line}" in shown
    for line in estimates.estimate_sentences(spotter()):
        assert line in shown
    assert summary.conventions(spotter()) in shown
    for op in spotter().ops:
        assert op.name in shown
    assert "1.\u00a0bilstm" in shown
    assert "\\x" not in shown


def test_training_is_shown_where_it_was_asked_for() -> None:
    page = rendered(trained())
    shown = Document(page).text
    for label, line in training_lines(trained()):
        assert f"{label}{line}" in shown
    sentences = training_sentences(trained(), verbose=True)
    assert any("a step in fp32" in sentence for sentence in sentences)
    for sentence in sentences:
        assert sentence in shown
    training = trained().training
    assert training is not None
    own = page[page.index('id="training"') : page.index('id="timeline"')]
    for op in training.ops:
        assert f"{op.backward_data_macs:,}</td>" in own
    assert f"{training.backward_weight_macs:,}</td>" in own
    assert '<a href="#training">' in page
    assert 'id="training"' not in rendered(spotter())


def test_a_report_edited_by_hand_has_a_page_all_the_same() -> None:
    """Times of zero, levels that no estimate serves, and a precision named as an attribute."""
    zero = {"latency_s": 0.0, "overhead_s": 0.0, "parallel_s": 0.0, "sequential_s": 0.0}
    for change in (
        {"level_bytes": {}},
        {"precision": "__class__"},
        {"precision": "value"},
        {**zero, "ops": [msgspec.structs.replace(o, **zero) for o in spotter().estimates[0].ops]},
    ):
        estimate = msgspec.structs.replace(spotter().estimates[0], **change)
        Document(rendered(msgspec.structs.replace(spotter(), estimates=[estimate])))


def test_the_operators_are_sorted_by_time() -> None:
    shown = rendered(spotter())
    times = shown[shown.index("Times on x86-64-server-core") :]
    names = re.findall(r'<th scope="row"><span>(.*?)</span>', times)[:3]
    ops = sorted(spotter().estimates[0].ops, key=lambda op: op.latency_s, reverse=True)
    assert names == [op.name for op in ops[:3]]


def test_budgets_met_and_missed() -> None:
    shown = Document(rendered(spotter(), check=mixed()))
    assert "Over budget: 2 of 5 limits exceeded, 1 warning." in shown.text
    assert shown.text.count("✗ missed") == 2
    assert shown.text.count("! warning") == 1
    assert shown.text.count("✓ met") == 2
    assert "rnncost.yaml:7" in shown.text
    assert "The rest of this page is about" in shown.text
    assert "Within budget" in Document(rendered(spotter(), check=passing())).text
    warning = Document(rendered(spotter(), check=warned())).text
    assert "Within budget: no error, 1 warning." in warning


def test_the_contrast_has_a_column_for_each_design() -> None:
    text = rendered(spotter(), comparison=comparison())
    shown = Document(text).text
    assert "same hidden size" in shown
    assert "75<small>0.75x</small>" in text
    assert "700 µs<small>0.70x</small>" in text
    assert "a reason" in shown
    assert text.index('id="contrast"') < text.index('id="timeline"')


def test_a_report_alone_finds_its_profiles_by_name_only(tmp_path: Path) -> None:
    assert [profile.name for profile in known_profiles(spotter())] == list(PROFILES)
    file = tmp_path / "own.yaml"
    file.write_text("not a profile")
    estimate = msgspec.structs.replace(spotter().estimates[0], profile=str(file))
    odd = msgspec.structs.replace(spotter(), estimates=[estimate])
    assert known_profiles(odd) == ()
    assert "is at hand to take the ceilings from." in Document(rendered(odd)).text
    assert known_profiles(spotter(), ("raspberry-pi-5",))[0].name == "raspberry-pi-5"


def test_ceilings_of_another_version_are_not_shown() -> None:
    old = [msgspec.structs.replace(e, profile_version="0") for e in spotter().estimates]
    text = rendered(msgspec.structs.replace(spotter(), estimates=old))
    assert "at hand is version 1, the estimate was made with version 0" in text
    assert 'id="roofline-0"' not in text


def test_every_command_writes_a_page(tmp_path: Path, capsys: Capture) -> None:
    page, report, again = (tmp_path / name for name in ("p.html", "r.json", "a.html"))
    words = ["analyze", str(MODEL), "--profile", PROFILES[0]]
    assert main([*words, "-o", f"html:{page}", "-o", f"json:{report}"]) == 0
    assert main(["render", str(report), "-o", f"html:{again}"]) == 0
    assert again.read_bytes() == page.read_bytes()
    assert main(["render", str(report), "-o", "html"]) == 0
    assert capsys.readouterr().out == page.read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>\n")


def test_a_profile_file_gives_the_ceilings(tmp_path: Path) -> None:
    profile, page = tmp_path / "mine.yaml", tmp_path / "p.html"
    profile.write_text("schema_version: 1\nname: mine\nextends: raspberry-pi-4\ntitle: Mine\n")
    words = ["analyze", str(MODEL), "--profile", str(profile), "-o", f"html:{page}"]
    assert main(words) == 0
    assert 'id="roofline-0"' in page.read_text(encoding="utf-8")


def test_a_check_writes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    import rnncost

    page = tmp_path / "p.html"
    monkeypatch.setattr(rnncost, "check", lambda *_, **__: mixed(), raising=False)
    assert main(["check", "-o", f"html:{page}"]) == EXIT_OVER_BUDGET
    assert "Over budget" in page.read_text(encoding="utf-8")
    assert "keyword_spotter.onnx</bdi></h1>" in page.read_text(encoding="utf-8")
    assert capsys.readouterr().out == ""
    with pytest.raises(ReportError, match="no model was checked"):
        render_check(msgspec.structs.replace(mixed(), models=[]))


def test_a_comparison_writes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rnncost

    page = tmp_path / "p.html"
    monkeypatch.setattr(rnncost, "compare", lambda *_, **__: comparison(), raising=False)
    assert main(["compare", str(MODEL), "-o", f"html:{page}"]) == 0
    assert 'id="contrast"' in page.read_text(encoding="utf-8")


def test_a_bokeh_that_does_not_escape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import bokeh

    require_bokeh()
    for old in ("2.4.3", "3.7.3"):
        monkeypatch.setattr(bokeh, "__version__", old)
        with pytest.raises(RuntimeUnavailableError, match=r"needs Bokeh 3\.8 or later, and this"):
            require_bokeh()
    for new in ("3.8.0", "3.10.0rc1", "4.0.0.dev1"):
        monkeypatch.setattr(bokeh, "__version__", new)
        require_bokeh()


def test_without_bokeh_the_extra_is_named_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'rnncost\[html\]'"):
        require_bokeh()
    with pytest.raises(RuntimeUnavailableError):
        render_page(plain())
    assert main(["analyze", "absent.onnx", "-o", f"html:{tmp_path}/p.html"]) == EXIT_ERROR
    err = capsys.readouterr().err
    assert "pip install 'rnncost[html]'" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
