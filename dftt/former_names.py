"""Modules under the names they had before the rooms were sorted: commands in scripts and class paths in saved configs
still find them (`python -m dftt.evaluation.rescore`, `dftt.evaluation.judges.local.LocalJudge`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from types import ModuleType

# The longest name that fits counts.
FORMER = {
    "dftt.synthesise": "dftt_tools.synthesise",
    "dftt.adaptation.corpus": "dftt_tools.corpus",
    "dftt.evaluation": "dftt.analysis",
    "dftt.evaluation.diagnostic": "dftt_tools.diagnostic",
    "dftt.evaluation.judges": "dftt.judges",
    "dftt.evaluation.report": "dftt.report",
    "dftt.evaluation.suites": "dftt.suites",
}


class FormerNames(MetaPathFinder):
    """Finds a module under its former name; asked only where nothing of that name exists."""

    def find_spec(self, fullname: str, *_: Sequence[str] | ModuleType | None) -> ModuleSpec | None:
        """The spec of the module that `fullname` was the name of; None where it never was one."""
        room = next((name for name in sorted(FORMER, key=len, reverse=True) if is_within(fullname, name)), None)
        found = find_spec(FORMER[room] + fullname.removeprefix(room)) if room else None
        if found is None or found.origin is None:
            return None
        return spec_from_file_location(
            fullname, found.origin, submodule_search_locations=found.submodule_search_locations
        )


def is_within(module: str, room: str) -> bool:
    """Whether a module is a package or stands in it."""
    return module == room or module.startswith(f"{room}.")


def keep_former_names() -> None:
    """Lets imports find modules under their former names, too."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(FormerNames())
