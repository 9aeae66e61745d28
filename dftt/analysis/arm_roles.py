"""Which arms of a study are compared, for which question: decided here alone, and shown everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dftt.types.arms import Arm

Question = Literal["tau", "guidance", "controls", "baselines"]
Measure = Literal["pass rate", "tau"]
Guide = Literal["nothing", "draft", "noise", "another"]

# What the reference of a comparison is to the arm.
NO_TTT = "no TTT"  # the same arm, nothing adapted
OTHER_TTT = "TTT on other text"  # the same arm, adapted to another context or to shuffled tokens
TEXT = "TTT on the text"  # the same arm, adapted to the context's own text instead of what the target wrote about it
NO_CONTEXT = "self-study without the context"
DRAFT_ALONE = "the draft alone"  # the same arm without lookup and window
LOOKUP_ALONE = "lookup alone"
TARGET = "the target"
NOISE_NORM = "noise of the same norm"
NOISE_SPREAD = "noise of its spread"
MATCHED = "the target at a matched temperature"
_NOISE = {"noise:norm": NOISE_NORM, "noise:spread": NOISE_SPREAD}

_SETTINGS = ("mode", "alpha", "temperature", "top_p", "guidance", "parameters", "taps", "drafting")
_OF_ADAPTATION = ("ttt_overrides", "rounds")


@dataclass(frozen=True)
class ArmPair:
    """A comparison that a study makes: an arm with a reference, by their ids, for a question."""

    question: Question
    arm: str
    reference: str
    against: str  # what the reference is to the arm: one of the names above
    measure: Measure


def pairs_of(arms: Sequence[Arm]) -> list[ArmPair]:
    """All comparisons of a study, question by question; of its arms what they leave to it is filled in."""
    return [*_of_tau(arms), *_of_guidance(arms), *_of_controls(arms), *_of_baselines(arms)]


def guide_of(arm: Arm) -> Guide:
    """What changes an arm's answers: nothing, the draft, noise in its place, or another method (CAD, copying)."""
    if arm.baseline is not None:
        return "another"
    if arm.rule is None:
        return "nothing"
    if arm.rule.numerator in _NOISE:
        return "noise"
    return "draft" if "draft" in arm.sources else "another"


def alike(arms: Sequence[Arm], arm: Arm, *, ttt: str) -> Arm | None:
    """The arm that differs in what the draft was adapted to; how it is adapted says nothing where it is not."""
    same = _SETTINGS if "none" in (ttt, arm.ttt) else _SETTINGS + _OF_ADAPTATION
    return next((each for each in arms if each.ttt == ttt and _agree(each, arm, same)), None)


def target_of(arms: Sequence[Arm], arm: Arm) -> Arm | None:
    """The target's own answers at the arm's temperature: mode target, else lossless decoding, else alpha 0."""
    same = [each for each in arms if _agree(each, arm, ("temperature", "top_p")) and not each.matched_to]
    for mode in ("target", "speculative", "guided"):
        for each in same:
            if each.mode == mode and each.ttt == "none" and guide_of(each) == "nothing":
                return each
    return None


def _of_tau(arms: Sequence[Arm]) -> Iterator[ArmPair]:
    """Each lossless arm with an adaptation against the same without; the own context's against another's."""
    adapted = [arm for arm in arms if arm.mode == "speculative" and arm.ttt != "none"]
    based = [(arm, base) for arm in adapted if (base := alike(arms, arm, ttt="none"))]
    if any(arm.ttt == "own" for arm, _ in based):
        for arm, base in sorted(based, key=lambda pair: pair[0].ttt != "own"):
            yield ArmPair("tau", arm.id, base.id, NO_TTT, "tau")
        for arm, _ in based:
            if arm.ttt == "own" and (wrong := alike(arms, arm, ttt="wrong")):
                yield ArmPair("tau", arm.id, wrong.id, OTHER_TTT, "tau")

    yield from _of_study(adapted)
    yield from _of_drafting([arm for arm in arms if arm.mode == "speculative"])


def _of_study(adapted: Sequence[Arm]) -> Iterator[ArmPair]:
    """Each arm that studied its context against those that learnt as much from the text, or without the context."""

    def learns(arm: Arm) -> tuple[str, bool]:
        return arm.ttt_overrides.get("learns_from", "context"), arm.ttt_overrides.get("study_context", True)

    def rest(arm: Arm) -> dict[str, Any]:
        return {
            name: value
            for name, value in arm.ttt_overrides.items()
            if name not in ("learns_from", "seconds") and not name.startswith("study_")
        }

    for arm in adapted:
        if learns(arm) != ("self_study", True) or arm.ttt != "own":
            continue
        for other in adapted:
            same = _agree(other, arm, (*_SETTINGS, "ttt", "rounds")) and rest(other) == rest(arm)
            if same and learns(other)[0] == "context":
                yield ArmPair("tau", arm.id, other.id, TEXT, "tau")
            if same and learns(other) == ("self_study", False):
                yield ArmPair("tau", arm.id, other.id, NO_CONTEXT, "tau")


def _of_drafting(lossless: Sequence[Arm]) -> Iterator[ArmPair]:
    """Each arm with lookup or a window against the draft alone, and the hybrid against lookup alone."""
    same = [name for name in _SETTINGS if name != "drafting"]
    for arm in lossless:
        if not arm.drafting:
            continue
        for other in lossless:
            alone = not other.drafting and _agree(other, arm, (*same, "ttt"))
            if alone and (arm.ttt == "none" or _agree(other, arm, _OF_ADAPTATION)):
                yield ArmPair("tau", arm.id, other.id, DRAFT_ALONE, "tau")
            looks_up = other.drafting.get("drafter") == "lookup" and not other.drafting.get("lookup_study")
            if arm.drafting.get("drafter") == "hybrid" and looks_up and _agree(other, arm, same):
                yield ArmPair("tau", arm.id, other.id, LOOKUP_ALONE, "tau")


def _of_guidance(arms: Sequence[Arm]) -> Iterator[ArmPair]:
    """Arms that the draft guides, adapted to nothing or to the own context, against the target; these against those."""
    guided = [(arm, base) for arm in arms if guide_of(arm) == "draft" and (base := target_of(arms, arm))]
    for ttt in ("none", "own"):
        for arm, base in guided:
            if arm.ttt == ttt:
                yield ArmPair("guidance", arm.id, base.id, TARGET, "pass rate")
    for arm, _ in guided:
        if arm.ttt == "own" and (plain := alike(arms, arm, ttt="none")):
            yield ArmPair("guidance", arm.id, plain.id, NO_TTT, "pass rate")


def _of_controls(arms: Sequence[Arm]) -> Iterator[ArmPair]:
    """What guidance by the draft is held against, and each such control against the target."""
    asked = [*_other_text(arms), *_noise_in_place(arms), *_matched_targets(arms)]
    for arm, control, against in asked:
        yield ArmPair("controls", arm.id, control.id, against, "pass rate")
    for control in {control.id: control for _, control, _ in asked if not control.matched_to}.values():
        if base := target_of(arms, control):
            yield ArmPair("controls", control.id, base.id, TARGET, "pass rate")


def _of_baselines(arms: Sequence[Arm]) -> Iterator[ArmPair]:
    """Methods that do without the draft, and copies of the passage, against the target."""
    for arm in arms:
        if guide_of(arm) == "another" and (base := target_of(arms, arm)):
            yield ArmPair("baselines", arm.id, base.id, TARGET, "pass rate")


def _other_text(arms: Sequence[Arm]) -> Iterator[tuple[Arm, Arm, str]]:
    """Each arm guided by the draft adapted to the own context, and the same by one adapted to other text."""
    for arm in arms:
        if guide_of(arm) == "draft" and arm.ttt == "own":
            for source in ("wrong", "shuffled"):
                if control := alike(arms, arm, ttt=source):
                    yield arm, control, OTHER_TTT


def _noise_in_place(arms: Sequence[Arm]) -> Iterator[tuple[Arm, Arm, str]]:
    """Each arm that interpolates with the draft, and noise in the place of the draft."""
    same = [name for name in _SETTINGS + _OF_ADAPTATION if name != "guidance"]
    noises = [(noise, noise.rule) for noise in arms if guide_of(noise) == "noise"]
    for arm in arms:
        if arm.rule is not None and (arm.rule.numerator, arm.rule.reference) == ("draft", "target"):
            for noise, rule in noises:
                if rule is not None and noise.ttt == arm.ttt and _agree(noise, arm, same):
                    yield arm, noise, _NOISE[rule.numerator]


def _matched_targets(arms: Sequence[Arm]) -> Iterator[tuple[Arm, Arm, str]]:
    """Each arm, and the target at the temperature that makes it as unsure."""
    by_id = {arm.id: arm for arm in arms}
    for target in arms:
        if target.matched_to in by_id:
            yield by_id[target.matched_to], target, MATCHED


def _agree(one: Arm, other: Arm, names: Sequence[str]) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in names)
