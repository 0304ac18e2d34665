"""YAML text as plain values with the place of each, read with limits.

Only what a profile needs is accepted: one document of mappings, lists and scalars, with
text keys, and neither aliases nor tags. Plain scalars follow the YAML 1.2 core schema, so
``1e9`` is a number and ``010`` is text.
"""

from __future__ import annotations

from typing import Any, Union

import msgspec

from rnncost.errors import ProfileError

MAX_DEPTH = 16

Path = tuple[Union[str, int], ...]

_WORDS: dict[str, Any] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


class Place(msgspec.Struct, frozen=True, order=True):
    """A line of a file, counted from 1."""

    file: str
    line: int


class Fault(msgspec.Struct, frozen=True, order=True):
    """Something wrong at a place."""

    place: Place
    message: str


class Document(msgspec.Struct, frozen=True):
    """The values of a document, the place of each by its path, and the faults in its keys."""

    data: Any
    places: dict[Path, Place]
    faults: tuple[Fault, ...]

    def place(self, path: Path) -> Place:
        """The place of a path, or of the nearest thing that contains it."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def read_document(text: str, origin: str, what: str = "a profile") -> Document:
    """Read YAML text; ``origin`` names it in messages, and ``what`` says what it holds.

    Raises:
        ProfileError: not YAML, empty, nested too deeply, or with aliases or tags.
    """
    import yaml

    loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    try:
        _refuse_unwanted(yaml, loader, text, origin, what)
        root: Any = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{origin}:{mark.line + 1}" if mark is not None else origin
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise ProfileError(f"{where}: not readable as YAML: {problem}") from None
    places: dict[Path, Place] = {(): Place(origin, root.start_mark.line + 1)}
    faults: list[Fault] = []
    data = _value(root, (), places, faults)
    return Document(data, places, tuple(faults))


def _refuse_unwanted(yaml: Any, loader: Any, text: str, origin: str, what: str) -> None:
    """Walk the events, which needs no recursion, before anything is built from them."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=loader):
        where = f"{origin}:{event.start_mark.line + 1}"
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ProfileError(f"{where}: a second YAML document starts here; keep one a file")
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ProfileError(f"{where}: {what} has no anchors or aliases; write values out")
        elif getattr(event, "tag", None) not in (None, "!"):
            raise ProfileError(f"{where}: {what} has no tags; remove {event.tag!r}")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ProfileError(f"{where}: nested deeper than the {MAX_DEPTH} levels allowed")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    if documents == 0:
        raise ProfileError(f"{origin} is empty: {what} is a YAML mapping")


def _value(node: Any, path: Path, places: dict[Path, Place], faults: list[Fault]) -> Any:
    file = places[()].file
    places.setdefault(path, Place(file, node.start_mark.line + 1))
    if node.id == "mapping":
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = Place(file, key_node.start_mark.line + 1)
            key = _scalar(key_node) if key_node.id == "scalar" else None
            if not isinstance(key, str):
                faults.append(Fault(place, "a key must be text"))
                continue
            inner = (*path, key)
            if key in result:
                first = places[inner].line
                faults.append(Fault(place, f"{key!r} is given again; it stands on line {first}"))
                continue
            places[inner] = place
            result[key] = _value(value_node, inner, places, faults)
        return result
    if node.id == "sequence":
        return [_value(item, (*path, i), places, faults) for i, item in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: Any) -> Any:
    text: str = node.value
    if node.style:  # quoted, literal or folded
        return text
    if text in _WORDS:
        return _WORDS[text]
    if text.lstrip("+-")[:1].isdigit() or text.lstrip("+-")[:1] == ".":
        return _number(text)
    return text


def _number(text: str) -> Any:
    """A decimal integer or a float as YAML 1.2 writes them (``_`` may group digits), or text."""
    digits = text.lstrip("+-")
    if len(text) > 60 or len(text) - len(digits) > 1 or "__" in text or not text.isascii():
        return text
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        return text
    try:
        return int(text) if digits.replace("_", "").isdigit() else float(text)
    except ValueError:
        return text
