"""Refuses studies that make no sense as a whole; an arm by itself refuses what makes no sense in it."""

from __future__ import annotations

from collections.abc import Sequence

from dftt.types import DecodingSpec, TTTSpec
from dftt.types.arms import Arm
from dftt.types.learning import check_bounds_study


def check_arms(arms: Sequence[Arm], baseline: str, decoding: DecodingSpec, ttt: TTTSpec) -> None:
    """Raise ValueError where arms do not fit each other or what they share, or the baseline is none of them."""
    ids = [arm.id for arm in arms]
    if not ids:
        raise ValueError("evaluator.arms is empty: name at least one arm")
    repeated = sorted({name for name in ids if ids.count(name) > 1})
    if repeated:
        raise ValueError(f"evaluator.arms names {', '.join(repeated)} more than once")
    if baseline not in ids:
        raise ValueError(f"evaluator.baseline {baseline!r} is not an arm; arms are {', '.join(ids)}")
    for arm in arms:
        _check_settings(arm, decoding, ttt)
        if arm.matched_to:
            _check_match(arm, arms, decoding)
    _check_self_study(arms, decoding, ttt)


def check_alone(arm: Arm, decoding: DecodingSpec, ttt: TTTSpec) -> None:
    """Raise ValueError where an arm cannot answer without a study around it."""
    if arm.matched_to:
        raise ValueError(f"arm {arm.id} is matched to the answers of another arm; predict needs one with a temperature")
    _check_settings(arm, decoding, ttt)
    _check_self_study([arm], decoding, ttt)


def check_materials(arms: Sequence[Arm], *, amateur: str | None, has_generic: bool) -> None:
    """Raise ValueError where a rule of guidance needs a model or an adapter that is not given.

    Args:
        arms: The arms.
        amateur: Name of the amateur, None where there is none.
        has_generic: Whether there is a generic adapter: of a setting, or of a checkpoint.
    """
    for arm in arms:
        if "amateur" in arm.sources and amateur is None:
            raise ValueError(
                f"arm {arm.id} needs an amateur: set evaluator.amateur to a smaller model of the target's vocabulary, "
                "or give the rule another reference, such as early_exit:8 or without_context"
            )
        if "generic" in arm.sources and not has_generic:
            raise ValueError(
                f"arm {arm.id} needs a generic adapter: set evaluator.generic_adapter to a PEFT folder, or give "
                "--ckpt_path of a fit over a corpus"
            )


def check_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """The seeds, or a ValueError where there is none or one twice."""
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"evaluator.seeds must be different numbers, at least one, got {list(seeds)}")
    return tuple(seeds)


def _check_settings(arm: Arm, decoding: DecodingSpec, ttt: TTTSpec) -> None:
    """Refuse to rerank greedy answers, which are all the same, to set adapters that have learnt nothing against each
    other, to learn from answers that are too short for it, and settings of self-study in an arm that does not study.
    """
    if arm.mode == "rerank" and arm.decoding(decoding).temperature == 0:
        raise ValueError(
            f"arm {arm.id}: reranking needs samples that differ, but the temperature is 0; set evaluator.decoding."
            "temperature, or the arm's own, above 0"
        )
    spec = arm.ttt_spec(ttt)
    arm.check_learning(spec)
    if "other" in arm.sources and spec.steps == 0:
        raise ValueError(
            f"arm {arm.id}: with ttt.steps 0 the adapters of all contexts are equal, so their difference is nothing; "
            "set model.ttt.steps above 0"
        )
    if arm.ttt != "none" and spec.learns("generation") and spec.every > decoding.max_new_tokens - 2:
        raise ValueError(
            f"arm {arm.id}: ttt.every {spec.every} leaves no update in an answer of at most {decoding.max_new_tokens} "
            "tokens; set it lower, or evaluator.decoding.max_new_tokens higher"
        )
    if arm.drafting.get("lookup_study") and not spec.learns("self_study"):
        raise ValueError(
            f"arm {arm.id}: lookup_study looks in what the target wrote about the context, but ttt.learns_from is "
            f"{spec.learns_from!r}, so it writes nothing; name self_study there, or leave lookup_study out"
        )
    if "seconds" in arm.ttt_overrides:
        check_bounds_study(spec)


def _check_self_study(arms: Sequence[Arm], decoding: DecodingSpec, ttt: TTTSpec) -> None:
    """Refuse settings of self-study that all arms share where none of them studies."""
    specs = [arm.ttt_spec(ttt) for arm in arms if arm.ttt != "none"]
    if any(spec.learns("self_study") for spec in specs):
        return
    for spec in specs:
        check_bounds_study(spec)
    if decoding.lookup_study:
        raise ValueError(
            "evaluator.decoding.lookup_study looks in what the target wrote about the context, but no arm learns from "
            "self_study; set ttt.learns_from of an arm that adapts, or leave lookup_study out"
        )


def _check_match(arm: Arm, arms: Sequence[Arm], decoding: DecodingSpec) -> None:
    guided = {each.id: each for each in arms if each.mode == "guided"}
    if arm.matched_to not in guided:
        known = ", ".join(guided) or "there are none"
        raise ValueError(f"arm {arm.id}: matched_to {arm.matched_to!r} is not a guided arm of the study; {known}")
    if guided[arm.matched_to].rounds > 1:
        raise ValueError(
            f"arm {arm.id}: {arm.matched_to} answers in rounds, and the adapter of its last one is not kept to match a "
            "temperature with; name a guided arm of one round"
        )
    if guided[arm.matched_to].decoding(decoding).temperature == 0:
        raise ValueError(
            f"arm {arm.id}: a greedy answer has no entropy to match; set evaluator.decoding.temperature, or that of "
            f"{arm.matched_to}, above 0"
        )
