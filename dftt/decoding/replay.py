"""What each distribution said while an answer was made.

The engine runs once more with the answer's own tokens in place of its draws and the recorded acceptance lengths in
place of its counts. So every cycle sees what it saw then, whatever the mode and the rule of guidance, and no decoding
loop pays for the observation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dftt.decoding.drafter import DFlashDrafter, Draw
from dftt.decoding.drafters import make_draft
from dftt.decoding.engine import Engine, Observer
from dftt.decoding.generate import Adapted, resolve_sizes
from dftt.decoding.guidance.sources import Materials
from dftt.models.cache import Placement
from dftt.models.lora import applied
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Generation, Prefill, Prompt


@dataclass(frozen=True)
class Candidates:
    """The top of a next-token distribution, before temperature."""

    log_prob: float  # of the token that was committed
    token_ids: tuple[int, ...]  # the most likely ones, the best one first
    log_probs: tuple[float, ...]  # theirs, in the same order


@dataclass(frozen=True)
class TokenTrace:
    """One committed token and the distributions at its position.

    The draft's is, in mode guided, where the rule reads the draft, that of slot 1 of a block anchored at the token
    before; else the proposal's at this slot.
    """

    token_id: int
    slot: int  # its place after the anchor of its verify step, from 1; 0 is the token drawn from the prefill
    accepted: bool  # whether it was a proposal that was kept; the last token of a step is the target's own
    target: Candidates
    draft: Candidates | None = None  # None where the draft said nothing
    guided: Candidates | None = None  # what was drawn from in mode guided; other modes draw from the target's


def replay(
    pair: Pair,
    prompt: Prompt,
    spec: DecodingSpec,
    generation: Generation,
    *,
    adaptation: Adapted = None,
    prefill: Prefill | None = None,
    materials: Materials | None = None,
    key: int = 0,
    top_k: int = 5,
) -> tuple[TokenTrace, ...]:
    """The distributions behind each token of an answer; costs about what decoding it did.

    Args:
        spec: How it was decoded; prompt, adaptation and materials as well are those of then.
        generation: The answer.
        prefill: Prefill of the prompt or of its first tokens.
        key: Sample key of the noise controls; see `sample_key`.
        top_k: Candidates kept of each distribution.

    Raises:
        ValueError: The answer and its acceptance lengths do not fit each other, or top_k is below 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be >= 1, got {top_k}")
    spec = resolve_sizes(spec, pair.draft.config.block_size)
    with applied(pair.draft, adaptation):
        drafter = None if spec.mode == "target" else make_draft(pair, spec, _Watched)
        tracer = _Tracer(generation, len(prompt), drafter, top_k, is_guided=spec.mode == "guided")
        engine = Engine(
            pair.target,
            drafter,
            spec,
            [prompt.input_ids],
            [prefill],
            [key],
            materials=materials,
            accept=tracer.accept,
            choose=tracer.choose,
            observer=tracer,
        )
        while len(tracer.traces) < len(generation.token_ids):
            engine.step()
    return tuple(tracer.traces[: len(generation.token_ids)])


class _Watched(DFlashDrafter):
    """A drafter that remembers its last logits: of the proposed slots, or of slot 1 at every verified position."""

    logits: Tensor | None = None  # (1, Q or Q-1, V)

    def propose(self, anchor_ids: Tensor, placement: Placement, draw: Draw) -> Tensor:
        def keep(logits: Tensor, positions: Tensor) -> Tensor:
            self.logits = logits
            return draw(logits, positions)

        return super().propose(anchor_ids, placement, keep)

    def first_slot_logits(self, anchor_ids: Tensor, placement: Placement, *, inclusive: bool = False) -> Tensor:
        self.logits = super().first_slot_logits(anchor_ids, placement, inclusive=inclusive)
        return self.logits


class _Tracer(Observer):
    """Has an engine of one row choose and accept what an answer holds, and notes the logits that it shows."""

    by_kernels = False  # looks at every cycle from the host

    def __init__(
        self, generation: Generation, prompt_length: int, drafter: _Watched | None, top_k: int, *, is_guided: bool
    ) -> None:
        self.traces: list[TokenTrace] = []
        self._known, self._lengths = generation.token_ids, list(generation.acceptance_lengths)
        self._prompt_length, self._drafter, self._top_k, self._is_guided = prompt_length, drafter, top_k, is_guided
        self._target = self._guided = torch.empty(0)

    def before_draw(self, target: Tensor, guided: Tensor) -> None:
        self._target, self._guided = target, guided

    def choose(self, logits: Tensor, positions: Tensor) -> Tensor:
        """The answer's tokens; the likeliest ones after its end, where they no longer matter."""
        drawn = logits.argmax(-1)
        for place, position in enumerate((positions[0] - self._prompt_length).tolist()):
            if position < len(self._known):
                drawn[0, place] = self._known[position]
        if not self.traces:  # the token from the prefill, which is drawn before anything is proposed
            self._note(0, int(drawn[0, 0]), slot=0, accepted=False)
        return drawn

    def accept(self, _proposed: Tensor, drawn: Tensor) -> Tensor:
        """The number of proposals that were accepted then."""
        if not self._lengths or self._lengths[0] > drawn.shape[1]:
            raise ValueError(
                f"an answer of {len(self._known)} tokens does not fit its acceptance lengths under this spec: "
                "give the spec it was decoded with"
            )
        committed = self._lengths.pop(0)
        for place in range(committed):
            self._note(place, int(drawn[0, place]), slot=place + 1, accepted=place + 1 < committed)
        return torch.full_like(drawn[:, 0], committed - 1)

    def _note(self, place: int, token: int, *, slot: int, accepted: bool) -> None:
        drafted = None if self._drafter is None else self._drafter.logits
        if drafted is not None and place >= drafted.shape[1]:
            drafted = None  # nothing was proposed behind the last slot
        self.traces.append(
            TokenTrace(
                token_id=token,
                slot=slot,
                accepted=accepted,
                target=self._candidates(self._target[0, place], token),
                draft=None if drafted is None else self._candidates(drafted[0, place], token),
                guided=self._candidates(self._guided[0, place], token) if self._is_guided else None,
            )
        )

    def _candidates(self, logits: Tensor, token: int) -> Candidates:
        log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        top = log_probs.topk(min(self._top_k, len(log_probs)))
        return Candidates(float(log_probs[token]), tuple(top.indices.tolist()), tuple(top.values.tolist()))
