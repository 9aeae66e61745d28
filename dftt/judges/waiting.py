"""How long to wait before an endpoint is asked again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock


def backoff(attempt: int, base: float) -> float:
    """Seconds before the next try: base, twice that, four times that ..."""
    return base * 2.0**attempt


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, given in seconds or as a date; None where there is none.

    Args:
        headers: Of the response; names in lower case, or a mapping that ignores case.
        now: The current time, for dates.
    """
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


class Pause:
    """A pause that all threads keep: where one is told to slow down, the others slow down too."""

    def __init__(self) -> None:
        self._until = 0.0
        self._lock = Lock()

    def extend(self, seconds: float) -> None:
        """No call within the next so many seconds."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    def wait(self) -> None:
        """Return when the pause is over."""
        while (left := self._until - time.monotonic()) > 0:
            time.sleep(left)
