"""The grading protocol over any chat model: prompt, up to three tries for a readable reply, replies on disk, score."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from dftt.judges.base import Judge, JudgeError, UnreadableError
from dftt.judges.grading import PROMPT_VERSION, Verdict, grading_prompt, is_echo, parse_verdict
from dftt.scoring.final_answer import final_answer
from dftt.types import Score

PARSE_TRIES = 3

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Reply:
    """What a chat model answered, and the tokens it read and wrote."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ReplyCache:
    """Replies on disk, so that a judgement is paid for once, also over killed runs; processes may share the folder.

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


def reply_key(judge: str, version: str, prompt: str) -> str:
    """Hash of all that decides a reply: the judge, the prompt's version, and the prompt with rubrics and answer."""
    return hashlib.sha256(json.dumps([judge, version, prompt]).encode()).hexdigest()


class ChatJudge(Judge):
    """Grades by the CL-bench protocol; a subclass says how a message is answered.

    A verdict comes from the reply alone, and one that is copied from the answer does not count. What no program can
    rule out is an answer that talks the model into writing its own wrong "yes".

    Args:
        name: Who judges; equal names mean equal replies, so it holds every setting that changes them.
        cache_dir: Folder of replies already had; None leaves it to the run.
        price_in: Price of a million tokens read.
        price_out: Price of a million tokens written.
    """

    def __init__(
        self, name: str, cache_dir: str | None = None, *, price_in: float = 0.0, price_out: float = 0.0
    ) -> None:
        self.name = name
        self.price_in, self.price_out = price_in, price_out
        self.calls = self.cache_hits = self.prompt_tokens = self.completion_tokens = 0
        self._cache = ReplyCache(cache_dir) if cache_dir else None
        self._counting = Lock()

    @abstractmethod
    def ask(self, prompt: str, attempt: int) -> Reply:
        """Reply to one user message; JudgeError where none is to be had, UnreadableError where another try may help.

        Args:
            prompt: The message.
            attempt: 0 at first, higher when an earlier reply could not be read.
        """

    def judge(self, rubrics: Sequence[Any], answer: str) -> Score:
        """One verdict on all rubrics; an empty answer fails without a call."""
        answer = final_answer(answer)
        if not answer:
            return Score(passed=False, statuses=(False,) * len(rubrics), explanation="empty answer")

        def parse(reply: str) -> Verdict:
            verdict = parse_verdict(reply, len(rubrics))
            if is_echo(reply, answer):
                raise UnreadableError("the verdict stands word for word in the answer")
            return verdict

        judge = f"{self.name} {PROMPT_VERSION}"
        try:
            verdict = self.consult(grading_prompt(rubrics, answer), PROMPT_VERSION, parse)
        except JudgeError as error:
            return Score(passed=None, explanation=f"judge: {error}", judge=judge)
        return Score(verdict.passed, verdict.statuses, verdict.rationale, judge, verdict.overall)

    def consult(self, prompt: str, version: str, parse: Callable[[str], Parsed]) -> Parsed:
        """What a readable reply says: one from the cache, else one had within three tries.

        Args:
            prompt: The user message.
            version: Version of its wording.
            parse: Reads a reply; raises UnreadableError.

        Raises:
            JudgeError: There was no reply, or none that could be read; the message says why.
        """
        key = reply_key(self.name, version, prompt)
        if self._cache and (kept := self._cache.get(key)) is not None:
            try:
                known = parse(kept)
            except UnreadableError:
                pass  # kept by an earlier version of the code; ask again
            else:
                with self._counting:
                    self.cache_hits += 1
                return known
        failure = UnreadableError("not asked")
        for attempt in range(PARSE_TRIES):
            try:
                reply = self._counted(self.ask(prompt, attempt))
                parsed = parse(reply)
            except UnreadableError as error:
                failure = error
                continue
            if self._cache:
                self._cache.put(key, reply, self.name)
            return parsed
        raise failure

    def keep_replies(self, folder: str | Path) -> None:
        """Use a folder of replies, unless one was configured."""
        self._cache = self._cache or ReplyCache(folder)

    def usage(self) -> str:
        """Calls, tokens and, where prices are known, cost."""
        cost = (self.prompt_tokens * self.price_in + self.completion_tokens * self.price_out) / 1e6
        priced = f", cost {cost:.2f}" if self.price_in or self.price_out else ""
        return (
            f"judge {self.name}: {self.calls} replies, {self.cache_hits} from the cache; "
            f"tokens: {self.prompt_tokens} in, {self.completion_tokens} out{priced}"
        )

    def _counted(self, reply: Reply) -> str:
        with self._counting:
            self.calls += 1
            self.prompt_tokens += reply.prompt_tokens
            self.completion_tokens += reply.completion_tokens
        return reply.text
