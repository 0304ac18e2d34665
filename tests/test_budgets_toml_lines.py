"""The line of every key of a TOML document, held to tomllib's values and to known lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rnncost.budgets.toml_lines import dotted, read_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent


def paths(value: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    found = {path}
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, item in inner:
        found |= paths(item, (*path, key))
    return found


def lines_of(text: str) -> dict[str, int]:
    data, lines = read_toml(text)
    assert repr(data) == repr(tomllib.loads(text))
    assert set(lines) == paths(data)
    return {dotted(path): line for path, line in lines.items()}


def test_every_way_to_write_a_key() -> None:
    text = r"""# a comment with a = 1 and [a.table]
title = "x # no comment"

[tool.rnncost.models."models/*.onnx"]   # a comment
dims = {seq = 100, "a b" = 2}
macs.max = 10_000_000
macs . "level" = 'warn'
latency_s = [
    # the [slow] one
    {max = "5 ms", profile = "a"},  # } ] , '
    {profile = "b",
     max = "6 ms"},
] # done
text = '''
[not.a.table]
key = 1'''
more = "\"]#"
quotes = '''it's ''two'''''

[tool.rnncost.models.'C:\x.onnx'.params]
max = 1e3
[[tool.list]]
a = 1
[[tool.list]]
a = 2
[tool.list.deep]
b = [ [1, 2], [3] ]
""".replace('{profile = "b",\n     max = "6 ms"}', '{profile = "b", max = "6 ms"}')
    found = lines_of(text)
    kws = 'tool.rnncost.models."models/*.onnx"'
    expected = {
        "title": 2,
        kws: 4,
        f"{kws}.dims": 5,
        f'{kws}.dims."a b"': 5,
        f"{kws}.macs.max": 6,
        f"{kws}.macs.level": 7,
        f"{kws}.latency_s": 8,
        f"{kws}.latency_s[0].profile": 10,
        f"{kws}.latency_s[1].max": 11,
        f"{kws}.text": 13,
        f"{kws}.more": 16,
        f"{kws}.quotes": 17,
        r'tool.rnncost.models."C:\\x.onnx".params.max': 20,
        "tool.list[0].a": 22,
        "tool.list[1]": 23,
        "tool.list[1].a": 24,
        "tool.list[1].deep.b[1][0]": 26,
    }
    assert {key: found[key] for key in expected} == expected


def test_windows_line_ends_and_multi_line_strings() -> None:
    text = (
        'a = """\r\none \\\r\n  "" two""""\r\nb = 1 # x\r\n\r\n"\\u0063" = """"\r\n"""\r\nd = 2\r\n'
    )
    assert lines_of(text) == {"": 1, "a": 1, "b": 4, "c": 6, "d": 8}


def test_the_projects_own_file() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = lines_of(text)
    for key, start in {"project.name": "name = ", "tool.mypy.strict": "strict = "}.items():
        assert text.split("\n")[found[key] - 1].startswith(start)


def test_the_standard_library_s_valid_documents() -> None:
    test = pytest.importorskip("test")
    folder = Path(next(iter(test.__path__))) / "test_tomllib" / "data" / "valid"
    files = sorted(folder.rglob("*.toml"))
    if not files:
        pytest.skip("this Python has no test_tomllib")
    for file in files:
        lines_of(file.read_bytes().decode("utf-8").replace("\r\n", "\n"))


BARE = st.text("abcXYZ019_-", min_size=1, max_size=4)
PLAIN = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=6)


def basic(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(text: str) -> str:
    return basic(text) if "'" in text else f"'{text}'"


KEYS = BARE | PLAIN.map(basic) | PLAIN.map(literal)
SCALARS = (
    st.integers(-(10**9), 10**9).map(str)
    | st.sampled_from(["1.5e-3", "inf", "nan", "true", "0xf", "1979-05-27 07:32:00"])
    | PLAIN.map(basic)
    | PLAIN.map(literal)
    | PLAIN.filter(lambda t: "'" not in t).map(lambda t: f"'''\n{t}\n#['''")
    | PLAIN.map(lambda t: f'"""{basic(t)[1:-1]}\n\\""""""')
)
SPACE = st.sampled_from(["", " ", "\t"])
BLANK = st.sampled_from(["", " ", "\n", " # c ] } = \n", "\n\n"])


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0 or draw(st.integers(0, 2)) == 0:
        return draw(SCALARS)
    inner = draw(st.lists(values(depth - 1), max_size=3))
    if draw(st.booleans()):
        parts = [f"{draw(BLANK)}{text}{draw(BLANK)}" for text in inner]
        return f"[{','.join(parts)}{',' if inner and draw(st.booleans()) else ''}{draw(BLANK)}]"
    keys = draw(st.lists(KEYS, min_size=len(inner), max_size=len(inner), unique=True))
    return (
        "{" + ",".join(f" {k}{draw(SPACE)}= {v} " for k, v in zip(keys, inner, strict=True)) + "}"
    )


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[int]]:
    """A document and the lines on which its statements start."""
    text, starts = "", []
    for _ in range(draw(st.integers(0, 8))):
        text += draw(st.sampled_from(["", "\n", "# [c] = 1\n", " \t\n"]))
        starts.append(text.count("\n") + 1)
        dot = f"{draw(SPACE)}.{draw(SPACE)}"
        key = dot.join(draw(st.lists(KEYS, min_size=1, max_size=3)))
        if draw(st.integers(0, 2)):
            text += f"{draw(SPACE)}{key}{draw(SPACE)}={draw(SPACE)}{draw(values())}"
        else:
            text += f"[[{key}]]" if draw(st.booleans()) else f"[ {key} ]"
        text += draw(st.sampled_from(["\n", " # x = [\n"]))
    return text, starts


@settings(max_examples=120)
@given(documents())
def test_all_keys_of_any_document(document: tuple[str, list[int]]) -> None:
    text, starts = document
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # keys that collide
        assume(False)
    _, lines = read_toml(text)
    lines_of(text)
    assert {line for path, line in lines.items() if path} >= set(starts)


def test_a_table_that_is_opened_after_its_parts() -> None:
    found = lines_of("[a.b]\nc = 1\n\n[a]\nd = 2\n")
    assert found == {"": 1, "a": 4, "a.b": 1, "a.b.c": 2, "a.d": 5}
