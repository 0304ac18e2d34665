"""Where a model's bytes come from, and where its external data may lie."""

from __future__ import annotations

import os

from rnncost.errors import ModelFileError
from rnncost.frontends.onnx.wire import Buffer, WireError

MESSAGE_CHARS = 400
"""Names in a damaged file can be of any length; messages are cut here."""


class Source:
    """The bytes of one model, what to call it in messages, and the path it was read from.

    ``path`` is None for a model in memory; its external data cannot be found.
    """

    def __init__(self, buf: Buffer, where: str, path: str | None) -> None:
        self.buf = buf
        self.where = where
        self._path = path
        self._files: dict[str, str] = {}

    def error(self, fault: WireError) -> ModelFileError:
        what = fault.what if len(fault.what) <= MESSAGE_CHARS else fault.what[:MESSAGE_CHARS] + "…"
        return ModelFileError(f"{self.where}: {what} (at byte {fault.offset:,}); {fault.mend}")

    def external_file(self, location: str) -> str | None:
        """The real path of an external data file, or None if it is outside the model's folder.

        The path is "" for a model in memory. Absolute locations, drive letters, ``..`` and
        links that lead out of the folder are outside. The file need not exist.
        """
        if location not in self._files:
            parts = location.replace("\\", "/").split("/")
            if not parts[0] or ".." in parts or parts[0][1:2] == ":" or "\0" in location:
                return None
            path = self._inside(location)
            if path is None:
                return None
            self._files[location] = path
        return self._files[location]

    def _inside(self, location: str) -> str | None:
        if self._path is None:
            return ""
        folder = os.path.dirname(self._path)
        path = os.path.realpath(os.path.join(folder, location))
        # The data of a model that is a link lies beside the link or, as in download
        # caches, beside its target.
        allowed = (os.path.realpath(folder), os.path.dirname(os.path.realpath(self._path)))
        if any(path.startswith(os.path.join(root, "")) for root in allowed):
            return path
        return None
