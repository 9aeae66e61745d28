"""Which part the arms of a study play: what guides each, whose answers it has, and which arms belong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from dftt.types import GuidanceSpec

ArmRow = Mapping[str, Any]  # a line of arms.json
Guide = Literal["nothing", "draft", "noise", "another"]

_SETTINGS = ("mode", "alpha", "temperature", "top_p", "guidance", "parameters", "taps")
_OF_ADAPTATION = ("ttt_settings", "rounds")


def guide_of(arm: ArmRow) -> Guide:
    """What changes an arm's answers: nothing, the draft, noise in its place, or another method (such as CAD)."""
    if arm["mode"] in ("power", "rerank"):
        return "another"
    if arm["mode"] != "guided" or arm["alpha"] == 0:
        return "nothing"
    rule = GuidanceSpec(**arm["guidance"])
    if rule.numerator.startswith("noise"):
        return "noise"
    return "draft" if "draft" in (rule.numerator, rule.reference) else "another"


def alike(arms: Sequence[ArmRow], arm: ArmRow, *, ttt: str) -> ArmRow | None:
    """The arm that differs in what the draft was adapted to; how it is adapted says nothing where it is not."""
    same = _SETTINGS if "none" in (ttt, arm["ttt"]) else _SETTINGS + _OF_ADAPTATION
    return next((each for each in arms if each["ttt"] == ttt and _agree(each, arm, same)), None)


def target_of(arms: Sequence[ArmRow], arm: ArmRow) -> ArmRow | None:
    """The target's own answers at the arm's temperature: mode target, else lossless decoding, else alpha 0."""
    same = [each for each in arms if _agree(each, arm, ("temperature", "top_p")) and not each.get("matched_to")]
    for mode in ("target", "speculative", "guided"):
        for each in same:
            if each["mode"] == mode and each["ttt"] == "none" and guide_of(each) == "nothing":
                return each
    return None


def other_adapters(arms: Sequence[ArmRow]) -> Iterator[tuple[ArmRow, ArmRow]]:
    """Each arm guided by the draft adapted to the own context, and the same by one adapted to other text."""
    for arm in arms:
        if guide_of(arm) == "draft" and arm["ttt"] == "own":
            for source in ("wrong", "shuffled"):
                if (control := alike(arms, arm, ttt=source)) is not None:
                    yield arm, control


def noise_in_place(arms: Sequence[ArmRow]) -> Iterator[tuple[ArmRow, ArmRow]]:
    """Each arm that interpolates with the draft, and noise as large in the place of the draft."""
    same = [name for name in _SETTINGS + _OF_ADAPTATION if name != "guidance"]
    noises = [arm for arm in arms if guide_of(arm) == "noise"]
    for arm in arms:
        if guide_of(arm) == "draft" and _interpolates(arm):
            yield from ((arm, noise) for noise in noises if noise["ttt"] == arm["ttt"] and _agree(noise, arm, same))


def matched_targets(arms: Sequence[ArmRow]) -> Iterator[tuple[ArmRow, ArmRow]]:
    """Each arm, and the target at the temperature that makes it as unsure."""
    by_id = {arm["id"]: arm for arm in arms}
    for target in arms:
        if target.get("matched_to") in by_id:
            yield by_id[target["matched_to"]], target


def _interpolates(arm: ArmRow) -> bool:
    rule = GuidanceSpec(**arm["guidance"])
    return (rule.numerator, rule.reference) == ("draft", "target")


def _agree(one: ArmRow, other: ArmRow, names: Sequence[str]) -> bool:
    # Lines of earlier versions lack some settings.
    return all(one.get(name) == other.get(name) for name in names)
