"""The judge behind an OpenAI-compatible endpoint: OpenAI itself, vLLM, SGLang, llama.cpp, `transformers serve` ..."""

from __future__ import annotations

import json
import os
import time
from threading import Lock
from typing import TYPE_CHECKING, Any

from dftt.judges.chat import ChatJudge, JudgeError, Reply
from dftt.judges.waiting import Pause, backoff, retry_after

if TYPE_CHECKING:
    from openai import OpenAI

API_TRIES = 3
_RETRIED = frozenset({408, 409, 425, 429})  # and everything from 500 on


class _TryAgainError(Exception):
    """A call failed in a way that may pass; `wait` is what the endpoint asked for, None where it said nothing."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class OpenAIJudge(ChatJudge):
    """Grades by the CL-bench protocol through an OpenAI-compatible endpoint.

    Each of up to three tries for a readable reply makes up to three calls. A verdict once had is kept on disk. Where
    calls keep failing, the rest of the answers stay unscored at once; score them later with
    `python -m dftt.analysis.rescore`.

    Args:
        model: Name of the model at the endpoint.
        base_url: The endpoint, such as http://localhost:8000/v1; empty means OpenAI's own.
        api_key_env: Environment variable that holds the key; an endpoint of your own may need none.
        options: Further fields of the request, such as temperature; by default reasoning_effort low.
        concurrency: Calls at the same time.
        timeout: Seconds that a call may take.
        retry_wait: Seconds before the second try, twice as many before the third; Retry-After takes precedence.
        max_wait: Give up where the endpoint asks to wait for longer, in seconds.
        give_up_after: Judgements in a row without any reply after which the endpoint is left alone.
        price_in: Price of a million tokens read, for the cost report.
        price_out: Price of a million tokens written.
        cache_dir: Folder of verdicts already had; by default `verdicts` in the run's folder.
    """

    def __init__(
        self,
        model: str = "gpt-5.1",
        base_url: str = "",
        api_key_env: str = "OPENAI_API_KEY",
        options: dict[str, Any] | None = None,
        concurrency: int = 8,
        timeout: float = 120.0,
        retry_wait: float = 1.0,
        max_wait: float = 120.0,
        give_up_after: int = 10,
        price_in: float = 0.0,
        price_out: float = 0.0,
        cache_dir: str | None = None,
    ) -> None:
        _check(concurrency=concurrency, timeout=timeout, give_up_after=give_up_after)
        self.model, self.base_url = model, base_url
        self.options = {"reasoning_effort": "low"} if options is None else options
        described = json.dumps(self.options, sort_keys=True, separators=(",", ":"))
        where = f"@{base_url}" if base_url else ""
        super().__init__(f"{model}{where} {described}", cache_dir, price_in=price_in, price_out=price_out)
        self.concurrency, self.timeout = concurrency, timeout
        self.retry_wait, self.max_wait, self.give_up_after = retry_wait, max_wait, give_up_after
        self._key = _api_key(api_key_env, needed=not base_url)
        self._client: OpenAI | None = None
        self._making = Lock()
        self._pause = Pause()
        self._failures_in_a_row = 0

    def ask(self, prompt: str, attempt: int) -> Reply:  # noqa: ARG002 - a sampled reply differs by itself
        """One reply, within three calls."""
        if self._failures_in_a_row >= self.give_up_after:
            raise JudgeError(f"not asked: {self._failures_in_a_row} judgements in a row had no reply; re-score later")
        try:
            reply = self._reply(prompt)
        except JudgeError:
            self._failures_in_a_row += 1
            raise
        self._failures_in_a_row = 0
        return reply

    def _reply(self, prompt: str) -> Reply:
        reason = ""
        for attempt in range(API_TRIES):
            self._pause.wait()
            try:
                return self._call(prompt)
            except _TryAgainError as error:
                reason = str(error)
                wait = backoff(attempt, self.retry_wait) if error.wait is None else error.wait
                if wait > self.max_wait:
                    raise JudgeError(f"{reason}: asked to wait {wait:.0f} s, more than max_wait") from None
                # An explicit wish is for all threads: they share the endpoint.
                if error.wait is not None:
                    self._pause.extend(wait)
                elif attempt + 1 < API_TRIES:
                    time.sleep(wait)
        raise JudgeError(f"{reason} ({API_TRIES} tries)")

    def _call(self, prompt: str) -> Reply:
        """One call; raises _TryAgainError where the next one may succeed, JudgeError where it cannot."""
        import openai

        try:
            completion = self._openai().chat.completions.create(
                model=self.model, messages=[{"role": "user", "content": prompt}], extra_body=self.options
            )
            return _read(completion)
        except openai.APIStatusError as error:
            code = error.status_code
            if code < 500 and code not in _RETRIED:
                raise JudgeError(f"HTTP {code}: {_first_line(error)}") from None
            raise _TryAgainError(f"HTTP {code}", retry_after(error.response.headers)) from None
        except openai.APITimeoutError:
            raise _TryAgainError(f"no reply within {self.timeout:g} s") from None
        except openai.APIError as error:
            raise _TryAgainError(_first_line(error)) from None
        # What the client makes of a body that is no chat completion, or no complete JSON.
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise _TryAgainError(f"not a chat completion: {_first_line(error)}") from None

    def _openai(self) -> OpenAI:
        """The client, made at first use: importing it takes a while, and most runs have no judge."""
        with self._making:
            if self._client is None:
                from openai import OpenAI

                self._client = OpenAI(
                    api_key=self._key, base_url=self.base_url or None, timeout=self.timeout, max_retries=0
                )
            return self._client


def _read(completion: Any) -> Reply:
    usage = completion.usage
    return Reply(
        completion.choices[0].message.content or "",
        usage.prompt_tokens if usage else 0,
        usage.completion_tokens if usage else 0,
    )


def _api_key(variable: str, *, needed: bool) -> str:
    key = os.environ.get(variable, "")
    if needed and not key:
        raise ValueError(
            f"judge: no key in the environment variable {variable}; set it, or give base_url or api_key_env"
        )
    return key or "none"  # the client insists on a text


def _check(**least_one: float) -> None:
    for name, value in least_one.items():
        if value <= 0:
            raise ValueError(f"judge.{name} must be > 0, got {value}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
