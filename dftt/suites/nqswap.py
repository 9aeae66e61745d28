"""NQ-Swap: the passage names another entity than the world does; the passage is to be believed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dftt.suites.base import Suite


class NQSwap(Suite):
    """Passed: the answer names the passage's entity and not the one that was replaced."""

    name = "nqswap"
    hub_id = "pminervini/NQ-Swap"
    hub_split = "dev"
    homepage = "https://github.com/apple/ml-knowledge-conflicts"
    licence = "MIT (data card); passages of Wikipedia, CC-BY-SA-3.0"
    citation = "Longpre et al., Entity-Based Knowledge Conflicts in Question Answering, 2021, arXiv:2109.05052"
    columns: ClassVar = {"sub_context": "context", "sub_answer": "answers", "org_answer": "distractors"}

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The passage with the real entity is left out."""
        return {key: value for key, value in row.items() if key != "org_context"}
