"""The judge behind an OpenAI-compatible endpoint: OpenAI itself, vLLM, SGLang, llama.cpp, `transformers serve` ..."""

from __future__ import annotations

import json
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dftt.judges.base import JudgeError, UnreadableError
from dftt.judges.chat import PARSE_TRIES, ChatJudge, Reply

if TYPE_CHECKING:
    from openai import OpenAI


class OpenAIJudge(ChatJudge):
    """Grades by the CL-bench protocol through an OpenAI-compatible endpoint.

    Each of up to three tries for a readable reply may call the endpoint again where a call fails; the `openai` client
    waits between calls, as long as Retry-After asks or ever longer. A verdict once had is kept on disk. Where calls
    keep failing, the rest of the answers stay unscored at once; score them later with
    `python -m dftt.analysis.rescore`.

    Args:
        model: Name of the model at the endpoint.
        base_url: The endpoint, such as http://localhost:8000/v1; empty means OpenAI's own.
        api_key_env: Environment variable that holds the key; an endpoint of your own may need none.
        options: Further fields of the request, such as temperature; by default reasoning_effort low.
        concurrency: Calls at the same time.
        timeout: Seconds that a call may take.
        max_retries: Further calls where one fails in a way that may pass.
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
        max_retries: int = 2,
        give_up_after: int = 10,
        price_in: float = 0.0,
        price_out: float = 0.0,
        cache_dir: str | None = None,
    ) -> None:
        for name, value in (("concurrency", concurrency), ("timeout", timeout), ("give_up_after", give_up_after)):
            if value <= 0:
                raise ValueError(f"judge.{name} must be > 0, got {value}")
        if max_retries < 0:
            raise ValueError(f"judge.max_retries must be >= 0, got {max_retries}")
        self._key = os.environ.get(api_key_env, "")
        if not self._key and not base_url:
            raise ValueError(
                f"judge: no key in the environment variable {api_key_env}; set it, or give base_url or api_key_env"
            )
        self.model, self.base_url = model, base_url
        self.options = {"reasoning_effort": "low"} if options is None else options
        described = json.dumps(self.options, sort_keys=True, separators=(",", ":"))
        where = f"@{base_url}" if base_url else ""
        super().__init__(f"{model}{where} {described}", cache_dir, price_in=price_in, price_out=price_out)
        self.concurrency, self.timeout = concurrency, timeout
        self.max_retries, self.give_up_after = max_retries, give_up_after
        self._failures_in_a_row = 0

    def ask(self, prompt: str, attempt: int) -> Reply:
        """One reply; none, and no call, where the endpoint has failed too often."""
        if self._failures_in_a_row >= self.give_up_after:
            raise JudgeError(f"not asked: {self._failures_in_a_row} judgements in a row had no reply; re-score later")
        try:
            reply = self._call(prompt)
        except JudgeError as error:
            # What is no chat completion is asked for again; the last try makes it a judgement without a reply.
            self._failures_in_a_row += not isinstance(error, UnreadableError) or attempt + 1 == PARSE_TRIES
            raise
        self._failures_in_a_row = 0
        return reply

    def _call(self, prompt: str) -> Reply:
        import openai

        tries = f" ({self.max_retries + 1} tries)"
        try:
            completion = self._client.chat.completions.create(
                model=self.model, messages=[{"role": "user", "content": prompt}], extra_body=self.options
            )
            usage = completion.usage
            return Reply(
                completion.choices[0].message.content or "",
                usage.prompt_tokens if usage else 0,
                usage.completion_tokens if usage else 0,
            )
        except openai.APIStatusError as error:
            if wait := error.response.headers.get("retry-after"):
                raise JudgeError(f"HTTP {error.status_code}: asked to wait {wait} s") from None
            is_retried = error.status_code in (408, 409, 429) or error.status_code >= 500
            raise JudgeError(f"HTTP {error.status_code}{tries if is_retried else ': ' + _first_line(error)}") from None
        except openai.APITimeoutError:
            raise JudgeError(f"no reply within {self.timeout:g} s{tries}") from None
        except openai.APIError as error:
            raise JudgeError(f"{_first_line(error)}{tries}") from None
        # What the client makes of a body that is no chat completion, or no complete JSON.
        except (ValueError, TypeError, AttributeError, IndexError) as error:
            raise UnreadableError(f"not a chat completion: {_first_line(error)}") from None

    @cached_property
    def _client(self) -> OpenAI:
        """The client, made at first use: importing it takes a while, and most runs have no judge."""
        from openai import OpenAI

        return OpenAI(
            api_key=self._key or "none",  # the client insists on a text
            base_url=self.base_url or None,
            timeout=self.timeout,
            max_retries=self.max_retries,
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
