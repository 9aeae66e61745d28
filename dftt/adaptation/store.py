"""Adapters kept on disk, so that a document that is asked about again is not learnt again."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dftt.adaptation.self_study import study_instructions
from dftt.models.fingerprint import fingerprint
from dftt.models.lora import Adaptation, Adapter
from dftt.models.pair import Pair
from dftt.types import TTTSpec

_FILE = "adaptation.json"
_NEUTRAL = ("store",)  # where an adapter is kept changes nothing in it


class AdapterStore:
    """A folder of PEFT folders, one for each context, pair and settings; made where it is missing.

    Raises:
        ValueError: If nothing can be written there.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise ValueError(f"ttt.store: {folder} cannot be written ({error.strerror or error})") from error

    def key(self, pair: Pair, context: Sequence[int], spec: TTTSpec, **more: Any) -> str:
        """Name of an adaptation: a hash of all that decides it.

        That is the weights and precision of the pair, the tokens of the context, the spec without where adapters are
        kept, and whatever `more` names, such as masked layers.
        """
        settings = {name: value for name, value in asdict(spec).items() if name not in _NEUTRAL}
        if spec.learns("self_study"):
            settings["study_prompts"] = study_instructions(spec.study_prompts)
        weights = [fingerprint(pair.target.model), fingerprint(pair.draft), str(pair.target.dtype)]
        decided_by = [*weights, list(context), settings, more]
        return hashlib.sha256(json.dumps(decided_by, sort_keys=True, default=str).encode()).hexdigest()[:32]

    def find(self, key: str) -> Adaptation | None:
        """The adaptation of that name, None where there is none.

        Raises:
            ValueError: If its folder was damaged.
        """
        folder = self.folder / key
        if not folder.is_dir():
            return None
        try:
            told = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            told |= {name: tuple(told[name]) for name in ("losses", "fallbacks")}
            told["study"] = tuple(map(tuple, told["study"]))
            return Adaptation(adapter=Adapter.load(folder), **told)
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"ttt.store: {folder} is damaged ({error}); remove it, and it is made again") from error

    def keep(self, key: str, adaptation: Adaptation) -> None:
        """Write an adaptation; one that is there already stays."""
        told = {name: value for name, value in vars(adaptation).items() if name != "adapter"}
        # Written beside and renamed, so that a run that is killed leaves no half of one.
        partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=".new-"))
        try:
            adaptation.adapter.save(partial)
            (partial / _FILE).write_text(json.dumps(told) + "\n", encoding="utf-8")
            if not (self.folder / key).exists():
                partial.rename(self.folder / key)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
