"""Records of a study: from an answer and what it took to make it, or from the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dftt.adaptation.ttt import Adaptation
from dftt.scoring.repetition import share_in
from dftt.study import Arm
from dftt.study.digests import Digest
from dftt.study.records import Key
from dftt.suites.questions import Messages
from dftt.suites.registry import score_answer
from dftt.types import Generation, Prompt, Record, Score, Task, TTTSpec
from dftt.types.inputs import is_bad_input

_SETTINGS = ("steps", "lr", "rank", "loss", "anchors", "window")  # of an adaptation, as far as reports compare them
_OF_STUDY = ("study_samples", "study_tokens", "study_temperature", "study_context")


@dataclass(frozen=True)
class Round:
    """An answer, and what was learnt for it.

    Args:
        generation: The answer.
        before: The adaptation that it began under; None where there is none.
        during: That which was made while it was decoded; None where there is none.
    """

    generation: Generation
    before: Adaptation | None
    during: Adaptation | None = None


@dataclass(frozen=True)
class Part:
    """One record that is wanted.

    Args:
        task: The task.
        prompt: Its prompt; context_length is that of the context.
        asked: Its messages without the context; empty where there is no telling.
        question: These as a prompt, None where there are none.
        arm: The arm.
        seed: The decoding seed.
        digest: Of what decides the record.
    """

    task: Task
    prompt: Prompt
    asked: Messages
    question: Prompt | None
    arm: Arm
    seed: int
    digest: Digest

    @property
    def key(self) -> Key:
        """Key of the record."""
        return self.task.task_id, self.arm.id, self.seed


def make_record(
    part: Part,
    rounds: Sequence[Round],
    ttt: TTTSpec,
    *,
    allow_code_execution: bool,
    found: dict[str, Any] | None = None,
) -> Record:
    """The record of an answer, scored by program where that is possible.

    Args:
        part: What was wanted.
        rounds: Answer and adaptations of each round.
        ttt: How the arm adapts.
        allow_code_execution: Whether answers that are programs may be run.
        found: What the arm found out on the way, put beside the task's metadata.
    """
    generation = rounds[-1].generation
    judged = scored(lambda: score_answer(part.task, generation.text, allow_code_execution=allow_code_execution))
    return Record(
        task_id=part.task.task_id,
        context_id=part.task.context_id,
        arm=part.arm.id,
        seed=part.seed,
        spec_hash=part.digest.whole,
        answer=generation.text,
        token_ids=generation.token_ids,
        acceptance_lengths=generation.acceptance_lengths,
        finish_reason=generation.finish_reason,
        seconds=generation.seconds,
        target_calls=generation.target_calls,
        prompt_tokens=len(part.prompt),
        passed=judged.passed,
        statuses=judged.statuses,
        explanation=judged.explanation,
        rubrics=part.task.rubrics,
        adaptation={**_describe(rounds, ttt), **_describe_study(rounds)},
        metadata={**part.task.metadata, **(found or {})},
        hashes=part.digest.parts,
    )


def unmeasured(part: Part, problem: str) -> Record:
    """The record of an answer that could not be made, with the reason."""
    return Record(
        task_id=part.task.task_id,
        context_id=part.task.context_id,
        arm=part.arm.id,
        seed=part.seed,
        spec_hash=part.digest.whole,
        finish_reason="error",
        prompt_tokens=len(part.prompt),
        explanation=problem,
        rubrics=part.task.rubrics,
        metadata=dict(part.task.metadata),
        hashes=part.digest.parts,
    )


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


def _describe_study(rounds: Sequence[Round]) -> dict[str, Any]:
    """What the target wrote before the answer, what that took, and how much of the answer it says already."""
    made = rounds[-1].before
    if made is None or not made.study:
        return {}
    share = share_in(made.study, rounds[-1].generation.token_ids)
    tokens = sum(map(len, made.study))
    return {
        "study": {"texts": len(made.study), "tokens": tokens, "seconds": made.study_seconds, "share_of_answer": share}
    }


def _describe(rounds: Sequence[Round], spec: TTTSpec) -> dict[str, Any]:
    """What the adaptations of all rounds were and cost, and what the answers before the last one did."""
    made = [adaptation for each in rounds for adaptation in (each.before, each.during) if adaptation is not None]
    if not made:
        return {}
    settings = _SETTINGS if spec.learns_from == "context" else (*_SETTINGS, "learns_from")
    settings += ("every",) if spec.learns("generation") else ()
    settings += _OF_STUDY if spec.learns("self_study") else ()
    losses = [loss for adaptation in made for loss in adaptation.losses]
    described = {
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
        return described
    before = [each.generation for each in rounds[:-1]]
    return described | {
        "rounds": len(rounds),
        "earlier_decoding_seconds": sum(generation.seconds for generation in before),
        "earlier_taus": [generation.tau if generation.acceptance_lengths else None for generation in before],
    }
