"""Trials of output paths, made before the work whose result they are to hold."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_TRIAL_BYTES = 1 << 16


def check_output_folder(name: str, folder: str | Path) -> None:
    """Raise ValueError unless a file can be written in `folder`, which need not exist yet; nothing is left there.

    Args:
        name: The setting that names it.
        folder: The folder.
    """
    try:
        nearest = next(each for each in (Path(folder), *Path(folder).absolute().parents) if each.exists())
        with tempfile.TemporaryFile(dir=nearest) as trial:
            trial.write(bytes(_TRIAL_BYTES))
            trial.flush()
            os.fsync(trial.fileno())  # some file systems say only now that they are full
    except OSError as error:
        raise ValueError(
            f"{name}: nothing can be written in {folder} ({error.strerror}); name a folder on a disk with room"
        ) from None


def check_output_file(name: str, path: str | Path) -> None:
    """Raise ValueError unless a file can be written at `path`; one that is there keeps what it holds.

    Args:
        name: The setting that names it.
        path: The file.
    """
    path = Path(path)
    check_output_folder(name, path.parent)
    if path.exists() and not path.is_file():
        raise ValueError(f"{name}: {path} is there and is no file; name a file to write to")
    try:
        if path.exists():
            path.open("r+b").close()
    except OSError as error:
        raise ValueError(f"{name}: {path} cannot be written ({error.strerror}); name another file") from None
