"""Where each key of a TOML document stands.

``tomllib`` gives the values without their lines, so this walks the text once more. It knows
only where tokens begin and end: the text must be a document that ``tomllib`` has read.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from rnncost.profiles.reader import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'''"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'''
    r"""|'''(?:[^']|'{1,2}(?!'))*'{3,5}"""
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]+")


def read_toml(text: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """The values of a TOML document, and the line of each by its path.

    Raises:
        ValueError: the text is not TOML, or has a number too long to read.
        RecursionError: it is nested too deeply.
    """
    return tomllib.loads(text), _Walk(text.replace("\r\n", "\n")).document()


class _Walk:
    """One walk over a document, from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[Path, int] = {(): 1}
        self.lengths: dict[Path, int] = {}  # of the arrays that [[headers]] fill

    def document(self) -> dict[Path, int]:
        table: Path = ()
        self.take(_BLANK)
        while self.at < len(self.text):
            if self.sees("["):
                table = self.header()
            else:
                self.pair(table)
            self.take(_BLANK)
        return self.lines

    def take(self, pattern: re.Pattern[str]) -> str:
        """Go past what a pattern matches here, counting lines."""
        match = pattern.match(self.text, self.at)
        if match is None:
            raise AssertionError(f"tomllib read what stands on line {self.line}")
        self.at = match.end()
        self.line += match.group().count("\n")
        return match.group()

    def sees(self, character: str) -> bool:
        return self.text.startswith(character, self.at)

    def skip(self, count: int = 1) -> None:
        """Go past brackets, a comma, a dot or an equals sign."""
        self.at += count

    def header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``: the path of the table that it opens."""
        line, depth = self.line, 2 if self.sees("[[") else 1
        self.skip(depth)
        *parents, last = self.key()
        self.skip(depth)
        path: Path = ()
        for part in parents:
            path = self.inside((*path, part))
            self.lines.setdefault(path, line)
        path = (*path, last)
        if depth == 2:
            self.lines.setdefault(path, line)
            self.lengths[path] = self.lengths.get(path, 0) + 1
            path = self.inside(path)
        self.lines[path] = line
        return path

    def inside(self, path: Path) -> Path:
        """The path itself, or the last element so far where it is an array of tables."""
        return (*path, self.lengths[path] - 1) if path in self.lengths else path

    def pair(self, table: Path) -> None:
        line = self.line
        path = table
        for part in self.key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self.skip()
        self.take(_SPACE)
        self.value(path)

    def key(self) -> list[str]:
        """A key with its dotted parts, and the spaces around them."""
        parts = []
        while True:
            self.take(_SPACE)
            parts.append(_plain_key(self.take(_KEY)))
            self.take(_SPACE)
            if not self.sees("."):
                return parts
            self.skip()

    def value(self, path: Path) -> None:
        if self.sees("["):
            self.elements(path)
        elif self.sees("{"):
            self.pairs(path)
        else:
            self.take(_STRING if self.sees('"') or self.sees("'") else _PLAIN)

    def elements(self, path: Path) -> None:
        self.skip()
        self.take(_BLANK)
        index = 0
        while not self.sees("]"):
            inner: Path = (*path, index)
            self.lines[inner] = self.line
            self.value(inner)
            self.separator()
            index += 1
        self.skip()

    def pairs(self, path: Path) -> None:
        self.skip()
        self.take(_BLANK)
        while not self.sees("}"):
            self.pair(path)
            self.separator()
        self.skip()

    def separator(self) -> None:
        self.take(_BLANK)
        if self.sees(","):
            self.skip()
            self.take(_BLANK)


def _plain_key(text: str) -> str:
    """A key without its quotes."""
    if text.startswith("'"):
        return text[1:-1]
    if text.startswith('"') and "\\" in text:
        (key,) = tomllib.loads(f"{text} = 0")
        return str(key)
    return text.strip('"')


def dotted(path: Path) -> str:
    """A path as TOML writes it: ``models."a/*.onnx".macs``, an element as ``[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            shown = part if bare else json.dumps(part, ensure_ascii=False)
            text += f".{shown}" if text else shown
    return text
