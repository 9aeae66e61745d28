"""Many requests in few rows: a finished row's slot takes the next request, so that rows stay busy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dftt.decoding.engine import Engine, Row

OnTokens = Callable[[int, list[int]], None]
Start = Callable[[Sequence[int]], Engine]

# A refill waits until one slot in so many is free. Reading short prompts costs about a cycle however many they are, and
# a free slot its share of every cycle; behind answers of about a hundred cycles the sum is least near an eighth.
_REFILL_SHARE = 8


@dataclass(frozen=True)
class Finished:
    """A request that has been decoded."""

    request: int
    row: Row  # what became of it
    token_ids: list[int]  # the new ones
    seconds: float  # wall-clock time of the cycles that it took part in


@dataclass
class _Slot:
    """What a slot holds now."""

    request: int
    since: float  # the clock when it came
    sent: int = 0  # tokens that were passed on


def decode_queue(
    engine: Engine, requests: Sequence[int], start: Start, *, on_tokens: OnTokens | None = None
) -> Iterator[Finished]:
    """Decode requests in the rows of an engine, and yield each when it is finished.

    Every request gets the tokens that it would get alone.

    Args:
        engine: Holds the first requests, one a row, and has room for the longest of all.
        requests: Numbers of all requests, in the order in which they are taken.
        start: Makes an engine that holds the requests of the given numbers, one a row.
        on_tokens: Called with (request, new token ids) after every cycle, for streaming.
    """
    count = len(engine.rows)
    slots: list[_Slot | None] = [_Slot(request, 0.0) for request in requests[:count]]
    waiting, clock = list(requests[count:]), 0.0
    while True:
        for index, slot in enumerate(slots):
            row = engine.rows[index]
            if slot is None or (on_tokens is None and not row.finish_reason):
                continue  # asking for tokens would wait for the device
            tokens = engine.new_tokens(index)
            if on_tokens is not None and tokens[slot.sent :]:
                on_tokens(slot.request, tokens[slot.sent :])
                slot.sent = len(tokens)
            if row.finish_reason:
                slots[index] = None
                yield Finished(slot.request, row, tokens, clock - slot.since)
        free = [index for index, slot in enumerate(slots) if slot is None][: len(waiting)]
        if free and len(free) >= min(len(waiting), -(-count // _REFILL_SHARE)):
            taken, waiting = waiting[: len(free)], waiting[len(free) :]
            engine.refill(free, start(taken))
            for index, request in zip(free, taken, strict=True):
                slots[index] = _Slot(request, clock)
        elif engine.active:
            begun = time.perf_counter()
            engine.step()
            clock += time.perf_counter() - begun
        else:
            return
