"""An OpenAI-compatible endpoint on loopback that answers as scripted."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

from dftt.judges.grading import OVERALL, RATIONALE, STATUSES


@dataclass(frozen=True)
class Response:
    """What the endpoint sends: a chat completion with this text, unless `body` says otherwise.

    Args:
        text: Content of the assistant's message.
        status: HTTP status.
        headers: Further headers.
        body: The raw body instead.
        delay: Seconds before the response.
    """

    text: str = ""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    delay: float = 0.0

    def content(self) -> bytes:
        if self.body is not None:
            return self.body.encode()
        message = {"role": "assistant", "content": self.text}
        return json.dumps(
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "scripted",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            }
        ).encode()


@dataclass
class Endpoint:
    """A running endpoint.

    Args:
        url: Its base URL.
        requests: Bodies received, in order.
        times: When they came.
    """

    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        """The user messages received."""
        return [request["messages"][0]["content"] for request in self.requests]


def short_waits() -> Any:
    """While entered, the `openai` client waits 0.01 s before its second call, twice as long before the third."""
    return mock.patch("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


Script = Callable[[int, str], Response]  # number of the call, user message -> response


@contextmanager
def scripted_endpoint(script: Script | Sequence[Response], port: int = 0) -> Iterator[Endpoint]:
    """An endpoint while the block lasts; a list is answered in order, its last response again and again."""
    answer: Script = script if callable(script) else lambda number, _: script[min(number, len(script) - 1)]
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(endpoint.requests)
                endpoint.requests.append(request)
                endpoint.times.append(time.monotonic())
            response = answer(number, request["messages"][0]["content"])
            time.sleep(response.delay)
            try:
                self.send_response(response.status)
                for name, value in (("Content-Type", "application/json"), *response.headers):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(response.content())
            except OSError:  # a client that timed out has hung up
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with short_waits():
            yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def verdict(*statuses: str, overall: Any = None, **changes: Any) -> str:
    """A judge's reply with these statuses; the overall score follows from them unless it is given."""
    implied = int(all(status == "yes" for status in statuses))
    row = {RATIONALE: "because", STATUSES: list(statuses), OVERALL: implied if overall is None else overall}
    return json.dumps(row | changes)
