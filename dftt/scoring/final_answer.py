"""What of an answer is judged: the part after the thinking."""

from __future__ import annotations

import re

# Non-greedy to the closing tag, or to the end where the length limit cut the thinking short.
_THINKING = re.compile(r"<(think|thinking)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
# Some chat templates open the thinking inside the prompt: then only the closing tag is in the answer.
_UNOPENED = re.compile(r"\A.*</(?:think|thinking)>", re.DOTALL | re.IGNORECASE)


def final_answer(text: str) -> str:
    """The text without thinking (`<think>...</think>`) and outer white space; empty where thinking never ended."""
    return without_thinking(text).strip()


def without_thinking(text: str) -> str:
    """The text without thinking, its white space kept: the body of a Python function begins with an indent."""
    return _UNOPENED.sub("", _THINKING.sub("", text))
