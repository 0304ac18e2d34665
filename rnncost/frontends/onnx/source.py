"""Where a model's bytes come from, and where its external data may lie."""

from __future__ import annotations

import os

from rnncost.errors import ModelFileError
from rnncost.frontends.onnx.wire import Buffer, Malformed


class Source:
    """The bytes of one model, what to call it in messages, and its folder.

    ``folder`` is None for a model in memory: its external data cannot be found.
    """

    __slots__ = ("_located", "_roots", "buf", "where")

    def __init__(self, buf: Buffer, where: str, folder: str | None, real_folder: str | None) -> None:
        self.buf = buf
        self.where = where
        # A model that is a link keeps its data beside the link or beside its target
        # (as download caches do).
        self._roots = tuple({os.path.realpath(f): f for f in (folder, real_folder) if f}.items())
        self._located: dict[str, tuple[str, int] | None] = {}

    def error(self, fault: Malformed) -> ModelFileError:
        return ModelFileError(f"{self.where}: {fault.what} (at byte {fault.offset:,}); {fault.mend}")

    def locate(self, tensor: str, location: str, offset: int) -> tuple[str, int] | None:
        """Path and size of an external data file; None where there is no such file.

        Raises:
            Malformed: the location leaves the folder of the model.
        """
        if location not in self._located:
            path = self._resolve(location)
            if path is None:
                raise Malformed(
                    f"tensor {tensor!r} keeps its data in {location!r}, which is outside the "
                    "folder of the model",
                    offset,
                    "save the model again with its data file beside it",
                )
            found = path and os.path.isfile(path)
            self._located[location] = (path, os.path.getsize(path)) if found else None
        return self._located[location]

    def _resolve(self, location: str) -> str | None:
        """The real path of a location; "" for a model in memory; None if it is outside."""
        parts = location.replace("\\", "/").split("/")
        if not parts[0] or ".." in parts or ":" in parts[0] or "\0" in location:
            return None
        if not self._roots:
            return ""
        allowed = [root for root, _ in self._roots]
        best = None
        for root in allowed:
            path = os.path.realpath(os.path.join(root, location))
            if any(path.startswith(os.path.join(a, "")) for a in allowed):
                if os.path.isfile(path):
                    return path
                best = best or path
        return best
