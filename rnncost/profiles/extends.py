"""A profile that extends another: the two documents as one, with the place of each value."""

from __future__ import annotations

from typing import Any

from rnncost.profiles.reader import Document, Path, Place

OWN_KEYS = ("schema_version", "name", "extends")
"""What a profile never takes from the one that it extends."""


def merged(child: Document, parent: Document) -> Document:
    """The child's values over the parent's; both are mappings.

    Mappings merge key by key. A number with its source (a mapping that holds ``value``)
    and a list are replaced as a whole, so that no number keeps another one's source.
    """
    base = {key: value for key, value in parent.data.items() if key not in OWN_KEYS}
    places: dict[Path, Place] = {}
    data = _merged((), child.data, base, child, parent, places)
    return Document(data, places, (*child.faults, *parent.faults))


def _merged(
    path: Path,
    over: dict[str, Any],
    under: dict[str, Any],
    child: Document,
    parent: Document,
    places: dict[Path, Place],
) -> dict[str, Any]:
    places[path] = child.places[path]
    result: dict[str, Any] = {}
    for key in {**under, **over}:
        inner = (*path, key)
        if key in over and key in under and _merges(over[key]) and _merges(under[key]):
            result[key] = _merged(inner, over[key], under[key], child, parent, places)
            continue
        source, values = (child, over) if key in over else (parent, under)
        result[key] = values[key]
        at = len(inner)
        places.update({p: place for p, place in source.places.items() if p[:at] == inner})
    return result


def _merges(value: Any) -> bool:
    return isinstance(value, dict) and "value" not in value
