"""What proposes, by the name that `DecodingSpec.drafter` gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from dftt.decoding.drafter import DFlashDrafter, Drafter
from dftt.decoding.lookup import Lookup
from dftt.models.pair import Pair
from dftt.types import DecodingSpec

D = TypeVar("D", bound=DFlashDrafter)
Texts = Sequence[Sequence[int]]


def make_draft(pair: Pair, spec: DecodingSpec, kind: type[D]) -> D:
    """The pair's draft as a drafter of this class that sees as much of its context as the spec says."""
    return kind(pair.draft, pair.target, window=spec.draft_window, sinks=spec.draft_sinks)


def _draft(pair: Pair, spec: DecodingSpec, _texts: Texts) -> Drafter:
    return make_draft(pair, spec, DFlashDrafter)


def _lookup(_pair: Pair, spec: DecodingSpec, texts: Texts) -> Drafter:
    return Lookup(spec.lookup_suffix, texts)


# Where a name has two, both propose and the longer branch stays.
PROPOSING: dict[str, tuple[Callable[[Pair, DecodingSpec, Texts], Drafter], ...]] = {
    "draft": (_draft,),
    "lookup": (_lookup,),
    "hybrid": (_draft, _lookup),
}


def make_drafters(pair: Pair, spec: DecodingSpec, texts: Texts = ()) -> tuple[Drafter | None, Drafter | None]:
    """What proposes under a spec, and what proposes beside it; None where there is nothing.

    Args:
        pair: Target and draft.
        spec: How to decode.
        texts: Token ids of other texts that lookup may look in.
    """
    made = [make(pair, spec, texts) for make in PROPOSING[spec.drafter]] if spec.mode != "target" else []
    first, second, *_ = (*made, None, None)
    return first, second
