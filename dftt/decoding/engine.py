"""One engine for all modes. A cycle proposes, verifies, perhaps guides, and commits; modes leave parts of it out.

    target        no proposals                one position verified   no guidance
    speculative   block_size - 1 proposals    block_size verified     no guidance
    guided        verify_size - 1 proposals   verify_size verified    slot-1 logits of a block at each verified position

Rows may have different lengths. A finished row keeps its slot and repeats its last position until all are done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dftt.decoding.acceptance import count_accepted
from dftt.decoding.drafter import DFlashDrafter, Drafter
from dftt.decoding.guidance import interpolate
from dftt.decoding.sampling import draw
from dftt.models.cache import Placement, RowCache, place
from dftt.models.target import PREFILL_CHUNK, Target
from dftt.types import DecodingSpec, Prefill


@dataclass
class Row:
    """Host-side state of one row.

    Args:
        prompt_length: Tokens of the prompt.
        length: Committed tokens, prompt included; the last one is the next anchor.
        acceptance_lengths: Tokens committed by each verify step.
        target_calls: Target passes while the row was active.
        finish_reason: "eos" or "length" once it is done.
    """

    prompt_length: int
    length: int
    acceptance_lengths: list[int] = field(default_factory=list)
    target_calls: int = 0
    finish_reason: str = ""


class Engine:
    """Decodes rows until all are finished; call `step` while `active`.

    Args:
        target: The frozen target.
        drafter: What proposes; None in mode target. Guidance needs a DFlashDrafter.
        spec: How to decode; block_size and verify_size already resolved (see `resolve_sizes`).
        prompts: Token ids, one sequence per row.
        prefills: Per row, a prefill of the prompt or of its first tokens, or None; the rest is read here, all rows at
            once.
        keys: One sample key per row.
    """

    def __init__(
        self,
        target: Target,
        drafter: Drafter | None,
        spec: DecodingSpec,
        prompts: Sequence[Sequence[int]],
        prefills: Sequence[Prefill | None],
        keys: Sequence[int],
    ) -> None:
        self.target = target
        self.drafter = drafter
        self.spec = spec
        self.verified = {"target": 1, "speculative": spec.block_size, "guided": spec.verify_size}[spec.mode]
        self.taps = drafter.draft.config.tap_ids if isinstance(drafter, DFlashDrafter) else ()
        self.rows = [Row(len(prompt), len(prompt)) for prompt in prompts]
        device = target.device
        self._eos_ids = frozenset(() if spec.ignore_eos else spec.eos_token_ids or target.eos_token_ids)
        self._eos = torch.tensor(sorted(self._eos_ids), dtype=torch.long, device=device)
        self._keys = torch.tensor(keys, device=device)
        known = [0 if prefill is None else len(prefill) for prefill in prefills]
        longest_rest = max(len(prompt) - start for prompt, start in zip(prompts, known, strict=True))
        longest = max(map(len, prompts)) + spec.max_new_tokens + self.verified
        # Rows read their rests together, right-padded: the padding of a row that starts late needs room too.
        capacity = max(longest, max(known) + longest_rest)
        self._tokens = torch.zeros(len(prompts), capacity, dtype=torch.long, device=device)
        for index, prompt in enumerate(prompts):
            self._tokens[index, : len(prompt)] = torch.tensor(prompt, device=device)
        self._cache = RowCache(target.num_layers, rows=len(prompts), capacity=capacity)
        with torch.no_grad():
            self._draw_first(self._read_prompts(prefills, known, longest_rest, capacity))

    @property
    def active(self) -> bool:
        """Whether any row still decodes."""
        return any(not row.finish_reason for row in self.rows)

    def new_tokens(self, index: int) -> list[int]:
        """The tokens that a row has committed so far, cut after an end-of-sequence token and at max_new_tokens."""
        row = self.rows[index]
        ids = self._tokens[index, row.prompt_length : row.length].tolist()[: self.spec.max_new_tokens]
        end = next((number for number, token in enumerate(ids, 1) if token in self._eos_ids), len(ids))
        return ids[:end]

    @torch.no_grad()
    def step(self) -> None:
        """One cycle for all rows: propose, verify, guide where asked, commit."""
        starts = [row.length - 1 for row in self.rows]
        at = place(starts, self.verified, device=self._tokens.device)
        anchor_ids = self._tokens.gather(1, at.positions[:, :1])
        block = anchor_ids
        if self.drafter is not None and self.verified > 1:
            proposed = self.drafter.propose(anchor_ids[:, 0], starts, self.verified - 1, self._draw)
            block = torch.cat([anchor_ids, proposed], dim=1)
        hidden, features = self.target.forward(block, at, self._cache, tap_ids=self.taps)
        if self.drafter is not None:
            self.drafter.extend(features, at)
        drawn = self._draw(self._guided(self.target.head(hidden), block, at), at.positions + 1)
        self._commit(count_accepted(block[:, 1:], drawn) + 1, drawn, at)

    def _read_prompts(
        self, prefills: Sequence[Prefill | None], known: Sequence[int], longest_rest: int, capacity: int
    ) -> Tensor:  # (R, 1, D)
        """Fill the caches with all prompts and return the final hidden state of each row's last token."""
        for index, prefill in enumerate(prefills):
            if prefill is not None:
                self._cache.fill_row(index, prefill.keys, prefill.values)
        if self.drafter is not None:
            none = torch.zeros(0, 0)
            self.drafter.begin(
                [none if prefill is None else prefill.features for prefill in prefills], capacity=capacity
            )
        last: dict[int, Tensor] = {i: prefill.hidden[-1] for i, prefill in enumerate(prefills) if prefill is not None}
        for offset in range(0, longest_rest, PREFILL_CHUNK):
            starts = [start + offset for start in known]
            at = place(starts, min(PREFILL_CHUNK, longest_rest - offset), device=self._tokens.device)
            hidden, features = self.target.forward(
                self._tokens.gather(1, at.positions), at, self._cache, tap_ids=self.taps
            )
            if self.drafter is not None:
                self.drafter.extend(features, at)
            for index, (row, start) in enumerate(zip(self.rows, starts, strict=True)):
                if start < row.length <= start + hidden.shape[1]:
                    last[index] = hidden[index, row.length - 1 - start]
        return torch.stack([last[index] for index in range(len(self.rows))])[:, None]

    def _draw_first(self, hidden: Tensor) -> None:
        """The token after the prompt, from the prefill; it belongs to no verify step."""
        at = place([row.prompt_length - 1 for row in self.rows], 1, device=self._tokens.device)
        logits = self._guided(self.target.head(hidden), self._tokens.gather(1, at.positions), at)
        drawn = self._draw(logits, at.positions + 1)
        self._commit(torch.ones_like(drawn[:, 0]), drawn, at, counts_as_step=False)

    def _guided(self, logits: Tensor, block: Tensor, at: Placement) -> Tensor:
        if self.spec.mode != "guided":
            return logits
        if not isinstance(self.drafter, DFlashDrafter):
            raise ValueError("guided decoding needs the draft itself, not a scripted drafter")
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return interpolate(logits, self.drafter.first_slot_logits(block, at), self.spec.alpha)

    def _draw(self, logits: Tensor, positions: Tensor) -> Tensor:
        spec = self.spec
        return draw(logits, self._keys, positions, temperature=spec.temperature, top_k=spec.top_k, top_p=spec.top_p)

    def _commit(self, committed: Tensor, drawn: Tensor, at: Placement, *, counts_as_step: bool = True) -> None:
        """Write what was drawn and advance the rows; the one place that waits for the device."""
        self._tokens.scatter_(1, at.positions + 1, drawn)
        kept = torch.arange(drawn.shape[1], device=drawn.device) < committed[:, None]
        ended = (torch.isin(drawn, self._eos) & kept).any(1)
        for index, (row, count, has_ended) in enumerate(
            zip(self.rows, *torch.stack([committed, ended.long()]).tolist(), strict=True)
        ):
            if row.finish_reason:
                continue
            row.length += count
            if counts_as_step:
                row.acceptance_lengths.append(count)
                row.target_calls += 1
            if has_ended or row.length - row.prompt_length >= self.spec.max_new_tokens:
                # Never longer than the limit: the storage ends there, and a finished row keeps its slot.
                row.length = min(row.length, row.prompt_length + self.spec.max_new_tokens)
                ends_in_eos = self._eos_ids.intersection(self.new_tokens(index)[-1:])
                row.finish_reason = "eos" if ends_in_eos else "length"
