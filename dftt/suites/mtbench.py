"""MT-Bench: conversations of two turns in eight categories, for a judge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dftt.suites.base import Suite
from dftt.suites.conversation import LATER_TURNS
from dftt.suites.rows import is_list_of_texts
from dftt.types import Score, Task


class MTBench(Suite):
    """A task is a conversation: its message is the first turn, the others wait in the metadata (conversation.py)."""

    name = "mtbench"
    hub_id = "HuggingFaceH4/mt_bench_prompts"
    hub_split = "train"  # the only one
    homepage = "https://github.com/lm-sys/FastChat/tree/main/fastchat/llm_judge"
    licence = "Apache-2.0"
    citation = "Zheng et al., Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena, 2023, arXiv:2306.05685"
    columns: ClassVar = {"question_id": "id", "prompt_id": "id", "reference": "answer"}

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The hub's `prompt` is the list of turns; a local file calls it `turns`."""
        turns = row.get("turns", row.get("prompt"))
        if not turns or not is_list_of_texts(turns):
            raise ValueError(f"`turns` must be a list of what the user says, got {turns!r}")
        kept = {key: value for key, value in row.items() if key != "turns"}
        return {**kept, "prompt": turns[0], LATER_TURNS: turns[1:], "rubrics": []}

    def score(self, task: Task, answer: str) -> Score:  # noqa: ARG002
        """Unscored: grades of 1 to 10 are a judge's."""
        return Score(passed=None, explanation="MT-Bench answers are graded by a judge")
