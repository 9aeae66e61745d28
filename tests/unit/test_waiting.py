import threading
import time
from datetime import UTC, datetime

import pytest

from dftt.judges.waiting import Pause, backoff, retry_after

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


def test_waits_double() -> None:
    assert [backoff(attempt, 0.5) for attempt in range(3)] == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds


def test_no_header_is_no_wish() -> None:
    assert retry_after({}) is None


def test_a_pause_holds_other_threads() -> None:
    pause = Pause()
    pause.extend(0.2)
    waiter = threading.Thread(target=pause.wait)
    begun = time.monotonic()
    waiter.start()
    pause.wait()
    waiter.join()
    assert time.monotonic() - begun >= 0.19
