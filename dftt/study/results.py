"""Answers of a study as records: scored, with what they cost, or with the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dftt.models.lora import Adaptation
from dftt.scoring.repetition import share_in
from dftt.study.spec import Part
from dftt.suites.registry import score_answer
from dftt.types import DecodingSpec, Generation, Record, Score, TTTSpec
from dftt.types.inputs import is_bad_input

_SETTINGS = ("steps", "lr", "rank", "loss", "anchors", "window")  # of an adaptation, as far as reports compare them
_SETTINGS_OF_STUDY = ("study_samples", "study_tokens", "study_temperature", "study_context")
_OF_GENERATION = ("token_ids", "acceptance_lengths", "finish_reason", "seconds", "target_calls")


@dataclass(frozen=True)
class Round:
    """An answer, the adaptation that it began under, and the one that was made while it was decoded."""

    generation: Generation
    before: Adaptation | None
    during: Adaptation | None = None


@dataclass(frozen=True)
class Answer:
    """An answer before it is recorded: how it was decoded, and its rounds, of which the last one counts."""

    spec: DecodingSpec
    rounds: Sequence[Round]


def make_record(part: Part, answer: Answer, ttt: TTTSpec, *, allow_code_execution: bool) -> Record:
    """The record of an answer, scored by program where that is possible; `ttt` says how its arm adapts."""
    made, task = answer.rounds[-1].generation, part.asked.task
    found = {"matched_temperature": answer.spec.temperature} if part.arm.matched_to else {}
    score = scored(lambda: score_answer(task, made.text, allow_code_execution=allow_code_execution))
    return _record(
        part,
        **{name: getattr(made, name) for name in _OF_GENERATION},
        answer=made.text,
        passed=score.passed,
        statuses=score.statuses,
        explanation=score.explanation,
        adaptation={**_costs(answer.rounds, ttt), **_costs_of_study(answer.rounds[-1])},
        metadata={**task.metadata, **found},
    )


def make_failure(part: Part, problem: str) -> Record:
    """The record of an answer that could not be made, with the reason."""
    return _record(part, finish_reason="error", explanation=problem, metadata=dict(part.asked.task.metadata))


def scored(score: Callable[[], Score]) -> Score:
    """The score that a program gives, or none with the reason why it gave none."""
    try:
        return score()
    except Exception as error:  # whatever a suite of somebody else raises: the answer must not be lost
        return Score(passed=None, explanation=f"not scored: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """One line that says what went wrong: a sentence of our own as it is, else with the kind of the error before it."""
    text = " ".join(str(error).split())
    return text if is_bad_input(error) else f"{type(error).__name__}: {text}".rstrip(": ")


def _record(part: Part, **values: Any) -> Record:
    task_id, arm, seed = part.key
    return Record(
        task_id=task_id,
        context_id=part.asked.task.context_id,
        arm=arm,
        seed=seed,
        spec_hash=part.fingerprint.whole,
        prompt_tokens=len(part.asked.prompt),
        rubrics=part.asked.task.rubrics,
        hashes=part.fingerprint.parts,
        **values,
    )


def _costs_of_study(last: Round) -> dict[str, Any]:
    """What the target wrote before the answer, what that took, and how much of the answer it says already."""
    made = last.before
    if made is None or not made.study:
        return {}
    share, tokens = share_in(made.study, last.generation.token_ids), sum(map(len, made.study))
    costs = {"texts": len(made.study), "tokens": tokens, "seconds": made.study_seconds, "share_of_answer": share}
    return {"study": costs}


def _costs(rounds: Sequence[Round], spec: TTTSpec) -> dict[str, Any]:
    """What the adaptations of all rounds were and cost, and what the answers before the last one did."""
    made = [adaptation for each in rounds for adaptation in (each.before, each.during) if adaptation is not None]
    if not made:
        return {}
    settings = _SETTINGS if spec.learns_from == "context" else (*_SETTINGS, "learns_from")
    settings += ("every",) if spec.learns("generation") else ()
    settings += _SETTINGS_OF_STUDY if spec.learns("self_study") else ()
    losses = [loss for adaptation in made for loss in adaptation.losses]
    costs = {
        "steps": len(losses),
        "seconds": sum(adaptation.seconds for adaptation in made),
        "peak_bytes": max(adaptation.peak_bytes for adaptation in made),
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
        "losses": [round(loss, 4) for loss in losses],
        "settings": {name: getattr(spec, name) for name in settings},
        "stopped": next((adaptation.stopped for adaptation in made if adaptation.stopped), ""),
        "fallbacks": [name for adaptation in made for name in adaptation.fallbacks],
    }
    if len(rounds) == 1:
        return costs
    before = [each.generation for each in rounds[:-1]]
    return costs | {
        "rounds": len(rounds),
        "earlier_decoding_seconds": sum(generation.seconds for generation in before),
        "earlier_taus": [generation.tau if generation.acceptance_lengths else None for generation in before],
    }
