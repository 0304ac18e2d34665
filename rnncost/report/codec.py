"""Reading a report back: strict about types, open to keys that a later version adds."""

from __future__ import annotations

import msgspec

from rnncost.errors import ReportError
from rnncost.report.model import SCHEMA_VERSION, Report


def report_from_json(text: str | bytes, where: str = "the report") -> Report:
    """Rebuild a report from JSON text; ``where`` names the file in messages.

    Raises:
        ReportError: the text is not JSON, not a report, or of another major version.
    """
    return report_from_dict(json_value(text, where), where)


def json_value(text: str | bytes, where: str) -> object:
    """JSON text as plain values; ``where`` names the file in messages.

    Raises:
        ReportError: the text is not JSON, or has a figure that JSON does not know.
    """
    import json

    def refuse(constant: str) -> float:
        raise ReportError(f"{where} has the figure {constant}, which JSON does not know")

    try:
        value: object = json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ReportError(f"{where} is not JSON: {error.msg} at {place}") from error
    except UnicodeDecodeError as error:
        raise ReportError(f"{where} is not JSON: it is not text in UTF-8") from error
    except ValueError as error:
        raise ReportError(f"{where} has a number too long to read") from error
    except RecursionError as error:
        raise ReportError(f"{where} is nested too deeply to be a report") from error
    return value


def report_from_dict(data: object, where: str = "the report") -> Report:
    """Rebuild a report from ``Report.to_dict()`` or from parsed JSON.

    Keys that this version does not know are skipped: they may be added by later ones.

    Raises:
        ReportError: the data is not a report, a value has the wrong type (the message
            gives its JSON path), or the major schema version is another.
    """
    _check_version(data, where)
    try:
        return msgspec.convert(data, Report)
    except msgspec.ValidationError as error:
        what, _, path = str(error).replace("`", "").partition(" - at ")
        at = path or "$"
        raise ReportError(f"{where} is faulty at {at}: {what[:1].lower()}{what[1:]}") from error
    except RecursionError as error:
        raise ReportError(f"{where} is nested too deeply to be a report") from error


def _check_version(data: object, where: str) -> None:
    if not isinstance(data, dict):
        raise ReportError(f"{where} is not a rnncost report: it is not a JSON object")
    version = data.get("schema_version")
    if not isinstance(version, str):
        raise ReportError(f"{where} is not a rnncost report: it has no schema_version")
    major = SCHEMA_VERSION.partition(".")[0]
    if version.partition(".")[0] != major:
        raise ReportError(
            f"{where} has schema version {version!r} and this rnncost reads {major}.x; "
            "write the report anew with this version, or read it with the one that wrote it"
        )
