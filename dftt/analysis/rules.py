"""The rules by which verdicts are given, as a study writes them down when it starts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

# Raised whenever the same records may be judged otherwise; the changelog says how.
# 1: percentile bootstrap, McNemar on tasks. 2: jackknife with Student's t, contexts swapped as a whole, floors, bounds.
RULES_VERSION = 2
_TEXTS = ("arm_roles.py", "frame.py", "statistics.py", "comparison.py", "decision_tables.py", "verdict.py")


def rules() -> dict[str, Any]:
    """Version of the rules, and sha256 of the text of the modules that hold them."""
    digest = hashlib.sha256()
    for name in _TEXTS:
        digest.update(files("dftt.analysis").joinpath(name).read_bytes())
    return {"version": RULES_VERSION, "sha256": digest.hexdigest()}


def difference(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """A sentence where a study was started under other rules than it is judged by; empty where they are the same."""
    if before is None:
        return f"Judged by rules {now['version']}; the study did not write down under which rules it began."
    if before == now:
        return ""
    if before["version"] != now["version"]:
        return f"Judged by rules {now['version']}; the study began under rules {before['version']}."
    return f"Judged by rules {now['version']}, whose text has changed since the study began."
