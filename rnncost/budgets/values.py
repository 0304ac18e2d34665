"""Values of inputs that a budget gives: as they stand, or from a NumPy file."""

from __future__ import annotations

from typing import Any

from rnncost.errors import BindingError


def loaded(value: Any, where: str) -> Any:
    """The value itself, or the array of the file that ``"@file.npy"`` names.

    ``where`` begins the message of an error.

    Raises:
        BindingError: the file cannot be read, or holds something else than plain numbers.
    """
    if not (isinstance(value, str) and value.startswith("@")):
        return value
    import numpy as np

    try:
        return np.load(value[1:], allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BindingError(
            f"{where}: {value[1:]} is not a NumPy file of plain numbers; write one with numpy.save"
        ) from error
