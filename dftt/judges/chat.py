"""The grading protocol over any chat model: prompt, up to three readable-reply tries, cache, score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from dftt.judges.base import Judge
from dftt.judges.cache import ReplyCache, reply_key
from dftt.judges.parsing import Unreadable, Verdict, is_echo, parse_verdict
from dftt.judges.prompt import PROMPT_VERSION, grading_prompt
from dftt.scoring.final_answer import final_answer
from dftt.types import Score

PARSE_TRIES = 3

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Reply:
    """What a chat model answered, and what it took.

    Args:
        text: The reply.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class JudgeError(Exception):
    """The judge gave no reply; the message says why."""


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
        """Reply to one user message; raises JudgeError where none is to be had.

        Args:
            prompt: The message.
            attempt: 0 at first, higher when an earlier reply could not be read.
        """

    def judge(self, rubrics: Sequence[Any], answer: str) -> Score:
        """One verdict on all rubrics; an empty answer fails without a call."""
        answer = final_answer(answer)
        if not answer:
            return Score(passed=False, statuses=(False,) * len(rubrics), explanation="empty answer")

        def parse(reply: str) -> Verdict | Unreadable:
            verdict = parse_verdict(reply, len(rubrics))
            if isinstance(verdict, Verdict) and is_echo(reply, answer):
                return Unreadable("the verdict stands word for word in the answer")
            return verdict

        verdict = self.consult(grading_prompt(rubrics, answer), PROMPT_VERSION, parse)
        judge = f"{self.name} {PROMPT_VERSION}"
        if isinstance(verdict, Unreadable):
            return Score(passed=None, explanation=f"judge: {verdict.reason}", judge=judge)
        return Score(verdict.passed, verdict.statuses, verdict.rationale, judge, verdict.overall)

    def consult(self, prompt: str, version: str, parse: Callable[[str], Parsed | Unreadable]) -> Parsed | Unreadable:
        """What a reply says once it can be read: from the cache, else within three tries; else the last reason.

        Args:
            prompt: The user message.
            version: Version of its wording.
            parse: Reads a reply.
        """
        key = reply_key(self.name, version, prompt)
        kept = self._cache.get(key) if self._cache else None
        if kept is not None and not isinstance(known := parse(kept), Unreadable):
            with self._counting:
                self.cache_hits += 1
            return known
        parsed: Parsed | Unreadable = Unreadable("not asked")
        for attempt in range(PARSE_TRIES):
            try:
                reply = self._counted(self.ask(prompt, attempt))
            except JudgeError as error:
                return Unreadable(str(error))
            parsed = parse(reply)
            if not isinstance(parsed, Unreadable):
                if self._cache:
                    self._cache.put(key, reply, self.name)
                return parsed
        return parsed

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
