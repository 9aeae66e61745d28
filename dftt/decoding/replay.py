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
from dftt.decoding.engine import Engine
from dftt.decoding.generate import Adapted, resolve_sizes
from dftt.decoding.guidance.materials import Materials
from dftt.models.cache import Placement
from dftt.models.lora import applied
from dftt.models.pair import Pair
from dftt.models.target import Target
from dftt.types import DecodingSpec, Generation, Prefill, Prompt


@dataclass(frozen=True)
class Candidates:
    """The top of a next-token distribution, before temperature.

    Args:
        log_prob: Log-probability of the token that was committed.
        token_ids: The most likely tokens, the best one first.
        log_probs: Theirs, in the same order.
    """

    log_prob: float
    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]


@dataclass(frozen=True)
class TokenTrace:
    """One committed token and the distributions at its position.

    Args:
        token_id: The token.
        slot: Its place after the anchor of its verify step, from 1; 0 is the token drawn from the prefill.
        accepted: Whether it was a proposal that was kept; the last token of a step is the target's own.
        target: The target's distribution.
        draft: The draft's, None where it had none: in mode guided, where the rule reads the draft, that of slot 1 of a
            block anchored at the token before; else the proposal's at this slot.
        guided: What was drawn from in mode guided; None in the other modes, which draw from the target's.
    """

    token_id: int
    slot: int
    accepted: bool
    target: Candidates
    draft: Candidates | None = None
    guided: Candidates | None = None


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
        pair: Target and draft that made it.
        prompt: What it answers.
        spec: How it was decoded.
        generation: The answer.
        adaptation: What it was decoded under.
        prefill: Prefill of the prompt or of its first tokens.
        materials: What its rule of guidance needed besides the pair.
        key: Sample key of the noise controls; see `sample_key`.
        top_k: Candidates kept of each distribution.

    Raises:
        ValueError: The answer and its acceptance lengths do not fit each other, or top_k is below 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be >= 1, got {top_k}")
    spec = resolve_sizes(spec, pair.draft.config.block_size)
    with applied(pair.draft, adaptation):
        drafter = None if spec.mode == "target" else _Watched(pair.draft, pair.target)
        engine = _Replay(pair.target, drafter, spec, prompt, prefill, generation, top_k, materials, key)
        while len(engine.traces) < len(generation.token_ids):
            engine.step()
    return tuple(engine.traces[: len(generation.token_ids)])


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


class _Replay(Engine):
    """An engine of one row that draws what is known and notes the logits."""

    def __init__(
        self,
        target: Target,
        drafter: _Watched | None,
        spec: DecodingSpec,
        prompt: Prompt,
        prefill: Prefill | None,
        generation: Generation,
        top_k: int,
        materials: Materials | None,
        key: int,
    ) -> None:
        self.traces: list[TokenTrace] = []
        self._known, self._lengths = generation.token_ids, list(generation.acceptance_lengths)
        self._prompt_length, self._top_k, self._watched = len(prompt), top_k, drafter
        self._target_logits = self._drawn_logits = self._drawn = torch.empty(0)
        ids = [prompt.input_ids]
        super().__init__(target, drafter, spec, ids, [prefill], [key], materials=materials, accept=self._recorded)
        self._capture = None  # looks at every cycle from the host

    def _draw_first(self, hidden: Tensor) -> None:
        super()._draw_first(hidden)
        self._note(0, slot=0, accepted=False)

    def _guided(self, logits: Tensor, block: Tensor, at: Placement, early: Tensor) -> Tensor:
        self._target_logits = logits
        return super()._guided(logits, block, at, early)

    def _draw(self, logits: Tensor, positions: Tensor) -> Tensor:
        """The answer's tokens; the likeliest ones after its end, where they no longer matter."""
        self._drawn_logits = logits
        drawn = logits.argmax(-1)
        for place, position in enumerate((positions[0] - self._prompt_length).tolist()):
            if position < len(self._known):
                drawn[0, place] = self._known[position]
        self._drawn = drawn
        return drawn

    def _recorded(self, _proposed: Tensor, drawn: Tensor) -> Tensor:
        """The number of proposals that were accepted then."""
        if not self._lengths or self._lengths[0] > drawn.shape[1]:
            raise ValueError(
                f"an answer of {len(self._known)} tokens does not fit its acceptance lengths under this spec: "
                "give the spec it was decoded with"
            )
        committed = self._lengths.pop(0)
        for place in range(committed):
            self._note(place, slot=place + 1, accepted=place + 1 < committed)
        return torch.full_like(drawn[:, 0], committed - 1)

    def _note(self, place: int, *, slot: int, accepted: bool) -> None:
        token = int(self._drawn[0, place])
        draft = None if self._watched is None else self._watched.logits
        self.traces.append(
            TokenTrace(
                token_id=token,
                slot=slot,
                accepted=accepted,
                target=self._candidates(self._target_logits[0, place], token),
                draft=self._candidates(draft[0, place], token)
                if draft is not None and place < draft.shape[1]
                else None,
                guided=self._candidates(self._drawn_logits[0, place], token) if self.spec.mode == "guided" else None,
            )
        )

    def _candidates(self, logits: Tensor, token: int) -> Candidates:
        log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        top = log_probs.topk(min(self._top_k, len(log_probs)))
        return Candidates(float(log_probs[token]), tuple(top.indices.tolist()), tuple(top.values.tolist()))
