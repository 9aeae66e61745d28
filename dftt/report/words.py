"""What a reader sees of arms, of a verdict's sentences and of models' text: words, and marks that can be seen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dftt.types import DecodingSpec
from dftt.types.arms import Arm
from dftt.types.methods import CopySpec, PowerSpec, RerankSpec

# Controls, zero-width and bidirectional marks: they would act on the page instead of being seen.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
_DRAFTS = {
    "none": "the plain draft",
    "own": "the adapted draft",
    "wrong": "the draft adapted to another context",
    "shuffled": "the draft adapted to shuffled text",
}
_SOURCES = {
    "target": "the target",
    "base": "the plain draft",
    "other": "the draft adapted to another context",
    "generic": "the draft adapted to many contexts",
    "without_context": "the target without the context",
    "amateur": "a smaller model",
    "uniform": "an even choice",
    "noise:spread": "noise as wide as the draft's",
    "noise:norm": "noise as loud as the draft's",
}
_COPIES = {"first_sentence": "first sentence", "last_sentence": "last sentence", "passage": "whole text"}
_TAPS = {"shallow": "shallow layers only", "deep": "deep layers only"}


def arm_in_words(arm: Arm, among: Sequence[Arm] = ()) -> str:
    """What an arm does, such as "guided towards the adapted draft, α 0.3".

    Args:
        arm: The arm.
        among: All arms of its study; of temperature, top-p and adaptation it is said only what differs among them.
    """
    return ", ".join([_method(arm, among), *_settings(arm, among)])


def words_of(arms: Sequence[Arm]) -> dict[str, str]:
    """What each arm of a study does, by id; where two say the same, with the id behind it."""
    said = {arm.id: arm_in_words(arm, arms) for arm in arms}
    counts = Counter(said.values())
    return {id: words if counts[words] == 1 else f"{words} ({id})" for id, words in said.items()}


def sentence_in_words(sentence: str, words: Mapping[str, str]) -> str:
    """A verdict's sentence with the words for arms in the places of their ids."""
    ids = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    place = rf"(?:(?<=: )|(?<= against ))({ids})(?= against |[,;.]|$)"
    return re.sub(place, lambda found: f"“{words[found[1]]}”", sentence)


def visible(text: str) -> str:
    """The text with marks that are not seen (bidirectional, zero-width, control) written out, such as ⟨U+202E⟩."""
    return _UNSEEN.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", text)


def shortened(text: str, limit: int) -> str:
    """The first `limit` characters, and how many there are in all where there are more."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters in all)"


def listed(settings: Mapping[str, Any]) -> str:
    """Settings one after the other, such as "steps 12, lr 0.001"."""
    return ", ".join(f"{name.replace('_', ' ')} {_value(value)}" for name, value in settings.items())


def _method(arm: Arm, among: Sequence[Arm]) -> str:
    draft, baseline = _DRAFTS[arm.ttt], arm.baseline
    if arm.mode == "guided":
        return _guidance(arm)
    if isinstance(baseline, CopySpec):
        return f"a copy of the passage's {_COPIES.get(baseline.what, f'first {baseline.tokens} tokens')}"
    if isinstance(baseline, RerankSpec):
        return f"the best of {baseline.samples} answers by {'the target' if baseline.by == 'target' else draft}"
    if isinstance(baseline, PowerSpec):
        return "Power Sampling" if arm.ttt == "none" else f"Power Sampling, sped up by {draft}"
    if arm.mode == "target":
        other = next((arm_in_words(each, among) for each in among if each.id == arm.matched_to), arm.matched_to)
        return f"the target alone, made as unsure as “{other}”" if other else "the target alone"
    drafter = arm.drafting.get("drafter", "draft")
    found = {"draft": draft, "hybrid": f"{draft} and looked-up text"}.get(drafter, "looked-up text")
    return f"sped up by {found}"


def _guidance(arm: Arm) -> str:
    rule = arm.decoding(DecodingSpec()).rule
    sources = {**_SOURCES, "draft": _DRAFTS[arm.ttt]}
    numerator, reference = (
        sources.get(name, f"early layers of the target ({name})") for name in (rule.numerator, rule.reference)
    )
    if rule.reference == "target":
        how = f"{'away from' if arm.alpha < 0 else 'towards'} {numerator}"
    elif rule.numerator in ("target", "uniform"):
        how = f"{'towards' if arm.alpha < 0 else 'away from'} {reference}"
    else:
        how = f"by {numerator} minus {reference}"
    named = "" if rule.rule == "interpolate" else f" ({rule.rule.replace('_', ' ')})"
    return f"guided {how}{named}, α {arm.alpha:g}"


def _settings(arm: Arm, among: Sequence[Arm]) -> Iterator[str]:
    """What the arm sets besides its method, as far as it tells it from others."""
    adapted = [each.ttt_overrides for each in among if each.ttt != "none"]
    if arm.temperature is not None and _differ([each.temperature for each in among]):
        yield f"temperature {arm.temperature:g}"
    if arm.top_p is not None and _differ([each.top_p for each in among]):
        yield f"top-p {arm.top_p:g}"
    own = {name: value for name, value in arm.guidance.items() if name not in ("rule", "numerator", "reference")}
    own |= arm.parameters if isinstance(arm.baseline, PowerSpec) else {}
    own |= {name: value for name, value in arm.ttt_overrides.items() if _differ([ttt.get(name) for ttt in adapted])}
    own |= {name: value for name, value in arm.drafting.items() if name != "drafter"}
    if own:
        yield listed(own)
    if arm.taps != "all":
        yield _TAPS.get(str(arm.taps), f"tapped layer {arm.taps} only")
    if arm.rounds > 1:
        yield f"{arm.rounds} rounds"


def _differ(values: Sequence[object]) -> bool:
    """Whether there are several values, or none to compare with."""
    return not values or len(set(map(repr, values))) > 1


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
