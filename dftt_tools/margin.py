"""Does a rule of guidance believe the context? Log-probabilities of two given answers, without generating any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dftt.decoding.forced import forced_logits, token_log_probabilities, whole_prefill
from dftt.decoding.generate import Adapted
from dftt.decoding.guidance.sources import Materials
from dftt.models.pair import Pair
from dftt.types import GuidanceSpec, Prefill, Prompt


@dataclass(frozen=True)
class Margin:
    """How much likelier the context's answer is than the memorised one.

    Args:
        in_context: Log-probability of each token of the context's answer.
        memorised: The same of the answer that the world gives and the context contradicts.
    """

    in_context: tuple[float, ...]
    memorised: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Difference of the mean log-probabilities per token: answers of different lengths weigh alike."""
        return sum(self.in_context) / len(self.in_context) - sum(self.memorised) / len(self.memorised)

    @property
    def total(self) -> float:
        """Difference of the answers' log-probabilities: the log-odds of the one against the other."""
        return sum(self.in_context) - sum(self.memorised)


def answer_margins(
    pair: Pair,
    prompt: Prompt,
    in_context: Sequence[int],
    memorised: Sequence[int],
    rules: Sequence[GuidanceSpec],
    *,
    temperature: float = 1.0,
    adaptation: Adapted = None,
    materials: Materials | None = None,
    prefill: Prefill | None = None,
    key: int = 0,
) -> list[Margin]:
    """The target's own margin, then that of each rule in order; one prefill and two passes for all of them.

    Args:
        pair: Target and draft.
        prompt: Context and question.
        in_context: Tokens of the answer that the context gives (NQ-Swap: `answer`).
        memorised: Tokens of the answer that it contradicts (NQ-Swap: `distractor`).
        rules: Rules of guidance.
        temperature: Of all distributions.
        adaptation: As in `forced_logits`.
        materials: As in `forced_logits`.
        prefill: As in `forced_logits`.
        key: As in `forced_logits`.

    Raises:
        ValueError: If an answer is empty or does not fit, or a rule lacks a material.
    """
    prefill = whole_prefill(pair, prompt, prefill)
    per_answer = []
    for answer in (in_context, memorised):
        forced = forced_logits(
            pair, prompt, answer, rules, adaptation=adaptation, materials=materials, prefill=prefill, key=key
        )
        per_answer.append(
            [
                tuple(token_log_probabilities(logits, forced.token_ids, temperature=temperature).tolist())
                for logits in (forced.target, *forced.guided)
            ]
        )
    return [Margin(first, second) for first, second in zip(*per_answer, strict=True)]
