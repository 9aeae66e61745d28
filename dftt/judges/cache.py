"""Replies of judges on disk, so that a judgement is paid for once, also over killed runs."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path


def reply_key(judge: str, version: str, prompt: str) -> str:
    """Hash of all that decides a reply: the judge, the prompt's version, and the prompt with rubrics and answer."""
    return hashlib.sha256(json.dumps([judge, version, prompt]).encode()).hexdigest()


class ReplyCache:
    """One small file per reply, each written whole or not at all; processes may share the folder.

    Args:
        folder: Created with the first reply.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, key: str) -> str | None:
        """The reply kept under a key, or None; a damaged file counts as none."""
        try:
            return str(json.loads(self._path(key).read_text(encoding="utf-8"))["reply"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, reply: str, judge: str) -> None:
        """Keep a reply; the judge's name goes along for the reader of the file."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed: a killed run leaves no half-written file under the key.
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=".reply-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"judge": judge, "reply": reply}, file)
        Path(partial).replace(path)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
