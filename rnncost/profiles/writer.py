"""A profile as YAML text that ``load_profile`` reads back to the same profile."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from rnncost.profiles.schema import HardwareProfile

_WIDTH = 92


def profile_text(profile: HardwareProfile) -> str:
    """The whole profile as YAML; what it extends is merged in, what it lacks is left out."""
    data = _stated({**msgspec.to_builtins(profile), "extends": None})
    text = ""
    for key, value in data.items():
        text += "\n" if isinstance(value, (dict, list)) else ""
        text += _dump({key: value})
    return text


def _stated(value: Any) -> Any:
    """Without the keys that say nothing."""
    if isinstance(value, dict):
        items = {key: _stated(inner) for key, inner in value.items()}
        return {key: inner for key, inner in items.items() if inner not in (None, "", {})}
    return [_stated(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _dump(data: Any) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Numbers as people write them."""

        def represent_number(self, number: float) -> yaml.ScalarNode:
            text = _number(number)
            kind = "int" if text.lstrip("-").isdigit() else "float"
            return self.represent_scalar(f"tag:yaml.org,2002:{kind}", text)

    Dumper.add_representer(float, Dumper.represent_number)
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def _number(number: float) -> str:
    """The shorter of plain and scientific notation, both exact.

    >>> _number(33450000000000.0), _number(26214400.0), _number(5e-06), _number(0.25)
    ('3.345e+13', '26214400', '5.0e-6', '0.25')
    """
    whole = number.is_integer() and abs(number) < 1e15
    plain = str(int(number)) if whole else repr(number)
    mantissa, exponent = f"{Decimal(repr(number)).normalize():e}".split("e")
    scientific = f"{mantissa if '.' in mantissa else f'{mantissa}.0'}e{exponent}"
    return plain if "e" not in plain and len(plain) <= len(scientific) + 1 else scientific
