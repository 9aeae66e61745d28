"""MemoTrap: an instruction that contradicts a memorised phrase."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dftt.suites.base import Suite
from dftt.suites.rows import as_written
from dftt.suites.tasks import phrase_rubrics

_FILE_ID = re.compile(r"memotrap/(\w+)/")


class MemoTrap(Suite):
    """Passed: the answer states the ending asked for and not the memorised one; the prompt repeated is neither."""

    name = "memotrap"
    hub_id = "Albertmade/memo-trap"
    hub_split = "train"  # the only one
    homepage = "https://github.com/liujch1998/memo-trap"
    licence = "MIT"
    citation = "Liu and Liu, The MemoTrap Dataset, 2023, github.com/liujch1998/memo-trap"

    def adapt(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """The hub's `prompt`, `classes` and `answer_index` become question, answer and distractor."""
        row = self._named(row)
        if not (str(row.get("context", "")).strip() and "answer" in row and "question" in row):
            return row
        # "Write a quote that ends in the word ..." names the ending, and a proverb may hold a denial.
        return {"rubrics": phrase_rubrics(row, f"{row['context']}\n{row['question']}"), **row}

    def _named(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if "classes" in row:
            classes, given = row["classes"], as_written("answer_index", row.get("answer_index", ""))
            if not isinstance(classes, list) or len(classes) != 2 or given not in ("0", "1"):
                raise ValueError(f"`classes` must be two endings, `answer_index` 0 or 1, got {classes!r} and {given!r}")
            right = int(given)
            return {
                "context": "",
                "question": row.get("prompt"),
                "answer": classes[right],
                "distractor": classes[1 - right],
            }
        of_file = _FILE_ID.match(str(row.get("id", "")))
        return {**row, "category": of_file.group(1)} if of_file else row
