"""One engine for all modes. A cycle proposes, verifies, perhaps guides, and commits; modes leave parts of it out.

    target        no proposals                one position verified   no guidance
    speculative   block_size - 1 proposals    block_size verified     no guidance
    guided        verify_size - 1 proposals   verify_size verified    the rule's sources read at each verified position

With a second drafter (hybrid), both propose; one target pass reads the two branches, and the longer one stays.

Rows may have different lengths. A finished row keeps its slot and repeats its last position until all are done, or
until a new row takes the slot (`refill`; `queue.py` decides when).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dftt.decoding.captured import Cycle, Run, capture_for
from dftt.decoding.drafter import Drafter, Draw
from dftt.decoding.guidance.build import SourceSet, apply_rule
from dftt.decoding.guidance.sources import Materials
from dftt.decoding.sampling import count_accepted, draw
from dftt.decoding.schedule import BlockScheduler
from dftt.models.cache import Placement, RowCache, forked, place, place_on_device
from dftt.models.spans import KEYS_PER_TILE
from dftt.models.target import PREFILL_CHUNK, Target
from dftt.types import DecodingSpec, Prefill

Accept = Callable[[Tensor, Tensor], Tensor]
Capture = Callable[[Cycle, int, torch.device], Run]


class Observer:
    """Is shown what an engine does; a subclass overrides what it wants to see."""

    by_kernels = True  # whether it looks by kernels alone, so that a cycle that it observes may be captured
    tap_ids: tuple[int, ...] = ()  # the hidden states that it wants where no drafter reads any

    def after_pass(self, hidden: Tensor, features: Tensor, positions: Tensor) -> None:
        """A target pass over the tokens at (R, Q) gave final hidden states (R, Q, D) and features (R, Q, L*D)."""

    def before_draw(self, target: Tensor, guided: Tensor) -> None:
        """Tokens are about to be drawn from guided logits, made of the target's, (R, Q, V) each."""

    def after_cycle(self, engine: Engine) -> None:
        """All rows of the engine have advanced by one cycle."""


@dataclass
class Row:
    """Host-side state of one row."""

    prompt_length: int
    length: int  # committed tokens, prompt included; the last one is the next anchor
    acceptance_lengths: list[int] = field(default_factory=list)  # tokens committed by each verify step
    target_calls: int = 0  # while the row was active
    finish_reason: str = ""  # "eos" or "length" once it is done


class Engine:
    """Decodes rows until all are finished; call `step` while `active`.

    Args:
        target: The frozen target.
        drafter: What proposes; None in mode target. Guidance by the draft needs a DFlashDrafter.
        second: Proposes beside it; mode speculative only.
        spec: How to decode; block_size and verify_size already resolved (see `resolve_sizes`).
        prompts: Token ids, one sequence per row.
        prefills: Per row, a prefill of the prompt or of its first tokens, or None; the rest is read here, all rows at
            once.
        keys: One sample key per row.
        materials: What the rule of guidance needs besides target and draft.
        scheduler: Chooses the block size of every cycle, up to spec.block_size; mode speculative only.
        accept: Counts the accepted proposals; benchmarks script it, since random weights accept nothing.
        choose: Chooses tokens from logits in place of the spec's temperature and noise.
        capture: Makes a cycle ready for replay; by default a CUDA graph where that pays, and nothing elsewhere.
        longest_prompt: Tokens of the longest prompt that a row is ever to hold; by default of these prompts.
        shared: First tokens that all prompts and prefills have in common, fewer than any prompt has and a multiple of
            KEYS_PER_TILE: their keys and values in the target are stored once.
        alphas: One weight of guidance per row, none of them 0, instead of the rule's own; mode guided only.
        observer: Is shown what the engine does.
    """

    def __init__(
        self,
        target: Target,
        drafter: Drafter | None,
        spec: DecodingSpec,
        prompts: Sequence[Sequence[int]],
        prefills: Sequence[Prefill | None],
        keys: Sequence[int],
        *,
        second: Drafter | None = None,
        materials: Materials | None = None,
        scheduler: BlockScheduler | None = None,
        accept: Accept = count_accepted,
        choose: Draw | None = None,
        capture: Capture | None = None,
        longest_prompt: int = 0,
        shared: int = 0,
        alphas: Sequence[float] = (),
        observer: Observer | None = None,
    ) -> None:
        if scheduler is not None and (spec.mode != "speculative" or scheduler.largest > spec.block_size):
            raise ValueError(
                f"a scheduler of block sizes up to {scheduler.largest} needs mode speculative and a block at least "
                f"as large, got mode {spec.mode} and block_size {spec.block_size}"
            )
        self.target, self.drafter, self.spec, self.scheduler = target, drafter, spec, scheduler
        self.accept, self.choose = accept, choose
        self.observer = observer or Observer()
        self.verified = {"target": 1, "speculative": spec.block_size, "guided": spec.verify_size}[spec.mode]
        self._drafters = [each for each in (drafter, second) if each is not None]
        self.taps = next((each.tap_ids for each in (*self._drafters, self.observer) if each.tap_ids), ())
        self._rule = spec.rule if spec.mode == "guided" else None
        self._sources = SourceSet([self._rule] if self._rule else [], target, drafter, prompts, materials)
        self.rows = [Row(len(prompt), len(prompt)) for prompt in prompts]
        device = target.device
        by_kernels = all(each.by_kernels for each in (*self._drafters, self.observer))
        self._capture = capture or (capture_for(device, len(self.rows)) if by_kernels else None)
        self._runs: dict[int, Run] = {}
        self._eos_ids = ending_tokens(spec, target)
        self._eos = torch.tensor(sorted(self._eos_ids), dtype=torch.long, device=device)
        self._keys = torch.tensor(keys, device=device)
        self._alphas = torch.tensor(alphas, device=device)[:, None, None] if alphas else None
        known = [0 if prefill is None else len(prefill) for prefill in prefills]
        longest_rest = max(len(prompt) - start for prompt, start in zip(prompts, known, strict=True))
        self._longest_prompt = max(longest_prompt, *map(len, prompts))
        longest = self._longest_prompt + spec.max_new_tokens + max(1, len(self._drafters)) * self.verified
        # Rows read their rests together, right-padded: the padding of a row that starts late needs room too.
        capacity = max(longest, max(known) + longest_rest)
        self._tokens = torch.zeros(len(prompts), capacity, dtype=torch.long, device=device)
        for index, prompt in enumerate(prompts):
            self._tokens[index, : len(prompt)] = torch.tensor(prompt, device=device)
        for each in self._drafters:
            each.follow(self._tokens)
        if shared:
            _check_shared(shared, target, prompts, known)
        self._cache = RowCache(target.num_layers, rows=len(prompts), capacity=capacity, shared=shared)
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
        working = [row for row in self.rows if not row.finish_reason]
        if self.scheduler is not None:
            self.verified = self.scheduler.choose(len(working))
        starts = [row.length - 1 for row in self.rows]
        if self._capture is None:
            outcome = self._cycle(place(starts, self.verified, device=self._tokens.device))
        else:
            outcome = self._run_of(self.verified, self._capture)(starts)
        self._advance(outcome)
        if self.scheduler is not None:
            self.scheduler.observe(self.verified, [row.acceptance_lengths[-1] for row in working])
        self.observer.after_cycle(self)

    @torch.no_grad()
    def refill(self, slots: Sequence[int], fresh: Engine) -> None:
        """Give the slots of finished rows to the rows of an engine that has just been made, one each.

        Everything is copied to where it was, so captured cycles stay valid. A row goes on as it would have alone. The
        fresh engine has the same target, draft and spec.

        Raises:
            ValueError: If a slot is in use, or a prompt is longer than this engine has room for.
        """
        if in_use := [slot for slot in slots if not self.rows[slot].finish_reason]:
            raise ValueError(f"slots {in_use} are in use: only those of finished rows can be refilled")
        longest = max(row.prompt_length for row in fresh.rows)
        if longest > self._longest_prompt:
            raise ValueError(
                f"a prompt of {longest} tokens, and the engine was made for at most {self._longest_prompt}: make it "
                "with a larger longest_prompt"
            )
        width = min(self._cache.capacity, fresh._cache.capacity)
        self._tokens[slots, :width] = fresh._tokens[:, :width]
        self._keys[slots] = fresh._keys
        if self._alphas is not None and fresh._alphas is not None:
            self._alphas[slots] = fresh._alphas
        self._cache.copy_rows(slots, fresh._cache)
        self._sources.copy_rows(slots, fresh._sources)
        for own, other in zip(self._drafters, fresh._drafters, strict=True):
            own.copy_rows(slots, other)
        for slot, row in zip(slots, fresh.rows, strict=True):
            self.rows[slot] = row

    def _run_of(self, verified: int, capture: Capture) -> Run:
        """The captured cycle of a block size, made on first use."""
        if verified not in self._runs:
            # Held by a cycle of references, an engine and its caches would stay until the collector comes by.
            engine, capacity = weakref.proxy(self), self._cache.capacity
            cycle: Cycle = lambda starts: engine._cycle(place_on_device(starts, verified, capacity=capacity))  # noqa: E731
            self._runs[verified] = capture(cycle, len(self.rows), self._tokens.device)
        return self._runs[verified]

    def _cycle(self, at: Placement) -> Tensor:  # (R, 2)
        """The device's part of a cycle, without waiting: tokens committed per row, and whether one of them ends it."""
        anchor_ids = self._tokens.gather(1, at.positions[:, :1])
        block = anchor_ids
        if at.positions.shape[1] > 1:
            proposals = [each.propose(anchor_ids[:, 0], at, self._draw) for each in self._drafters]
            if len(proposals) == 2:
                return self._verify_both(anchor_ids, proposals[0], proposals[1], at)
            block = torch.cat([anchor_ids, *proposals], dim=1)
        hidden, early = self._read(block, at)
        drawn = self._draw(self._guided(self.target.head(hidden), block, at, early), at.positions + 1)
        return self._commit(self.accept(block[:, 1:], drawn) + 1, drawn, at)

    def _verify_both(self, anchor_ids: Tensor, first: Tensor, second: Tensor, at: Placement) -> Tensor:  # (R, 2)
        """One pass over two branches that share the anchor; the longer one is committed, the first where equal."""
        size = at.positions.shape[1]
        both = forked(at, capacity=self._cache.capacity)
        block = torch.cat([anchor_ids, first, second], dim=1)
        hidden, features = self.target.forward(block, both, self._cache, tap_ids=self.taps)
        logits = self.target.head(hidden)
        self.observer.before_draw(logits, logits)
        drawn = self._draw(logits, both.times + 1)
        accepted = self.accept(first, drawn[:, :size])
        accepted_second = self.accept(second, torch.cat([drawn[:, :1], drawn[:, size:]], dim=1))
        # Where in the pass each slot of the branch that stays was read; the anchor comes first in either.
        slots = torch.arange(size, device=drawn.device)
        moved = slots + (accepted_second > accepted)[:, None] * (slots > 0) * (size - 1)
        self._cache.move(both.positions.gather(1, moved)[:, 1:], at.positions[:, 1:])
        stays = lambda each: each.gather(1, moved[..., None].expand(-1, -1, each.shape[-1]))  # noqa: E731
        self._hand_on(stays(hidden), stays(features), at)
        return self._commit(torch.maximum(accepted, accepted_second) + 1, drawn.gather(1, moved), at)

    def _read(self, block: Tensor, at: Placement) -> tuple[Tensor, Tensor]:
        """Final hidden states of a pass over a block, and those of the layers that sources of guidance tap."""
        hidden, tapped = self.target.forward(block, at, self._cache, tap_ids=self.taps + self._sources.taps)
        features, early = tapped.tensor_split([len(self.taps) * self.target.hidden_size], dim=-1)
        self._hand_on(hidden, features, at)
        return hidden, early

    def _hand_on(self, hidden: Tensor, features: Tensor, at: Placement) -> None:
        """Drafters, sources and observer take what a pass computed."""
        for follower in (*self._drafters, self._sources):
            follower.extend(features, at)
        self.observer.after_pass(hidden, features, at.positions)

    def _read_prompts(
        self, prefills: Sequence[Prefill | None], known: Sequence[int], longest_rest: int, capacity: int
    ) -> Tensor:  # (R, 1, D)
        """Fill the caches with all prompts and return the final hidden state of each row's last token."""
        for index, prefill in enumerate(prefills):
            if prefill is not None:
                self._cache.fill_row(index, prefill.keys, prefill.values)
        none = torch.zeros(0, 0)
        known_features = [none if prefill is None else prefill.features for prefill in prefills]
        for follower in (*self._drafters, self._sources):
            follower.begin(known_features, capacity=capacity)
        last: dict[int, Tensor] = {i: prefill.hidden[-1] for i, prefill in enumerate(prefills) if prefill is not None}
        for offset in range(0, longest_rest, PREFILL_CHUNK):
            starts = [start + offset for start in known]
            at = place(starts, min(PREFILL_CHUNK, longest_rest - offset), device=self._tokens.device)
            hidden, _ = self._read(self._tokens.gather(1, at.positions), at)
            for index, (row, start) in enumerate(zip(self.rows, starts, strict=True)):
                if start < row.length <= start + hidden.shape[1]:
                    last[index] = hidden[index, row.length - 1 - start]
        return torch.stack([last[index] for index in range(len(self.rows))])[:, None]

    def _draw_first(self, hidden: Tensor) -> None:
        """The token after the prompt, from the prefill; it belongs to no verify step."""
        at = place([row.prompt_length - 1 for row in self.rows], 1, device=self._tokens.device)
        last = self._tokens.gather(1, at.positions)
        early = hidden[..., :0]
        if self._sources.taps:  # a prefill holds the draft's layers only: read the last token again for the others
            hidden, early = self._read(last, at)
        logits = self._guided(self.target.head(hidden), last, at, early)
        drawn = self._draw(logits, at.positions + 1)
        self._advance(self._commit(torch.ones_like(drawn[:, 0]), drawn, at), counts_as_step=False)

    def _guided(self, logits: Tensor, block: Tensor, at: Placement, early: Tensor) -> Tensor:
        """What the next tokens are drawn from: the target's logits, guided where a rule says so."""
        guided = logits
        if self._rule is not None:
            target, values = self._sources.read(logits, block, at, early, self._keys)
            guided = apply_rule(self._rule, target, values, self._alphas)
        self.observer.before_draw(logits, guided)
        return guided

    def _draw(self, logits: Tensor, positions: Tensor) -> Tensor:
        if self.choose is not None:
            return self.choose(logits, positions)
        spec = self.spec
        return draw(logits, self._keys, positions, temperature=spec.temperature, top_k=spec.top_k, top_p=spec.top_p)

    def _commit(self, committed: Tensor, drawn: Tensor, at: Placement) -> Tensor:  # (R, 2)
        """Write what was drawn; per row, how much of it counts and whether that ends the row."""
        self._tokens.scatter_(1, at.positions + 1, drawn)
        kept = torch.arange(drawn.shape[1], device=drawn.device) < committed[:, None]
        ended = (torch.isin(drawn, self._eos) & kept).any(1)
        return torch.stack([committed, ended.long()], dim=1)

    def _advance(self, outcome: Tensor, *, counts_as_step: bool = True) -> None:
        """Advance the rows by what was committed; the one place that waits for the device."""
        for index, (row, (count, has_ended)) in enumerate(zip(self.rows, outcome.tolist(), strict=True)):
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


def ending_tokens(spec: DecodingSpec, target: Target) -> frozenset[int]:
    """The tokens that end an answer."""
    return frozenset(() if spec.ignore_eos else spec.eos_token_ids or target.eos_token_ids)


def _check_shared(shared: int, target: Target, prompts: Sequence[Sequence[int]], known: Sequence[int]) -> None:
    if not target.is_grouped:
        raise ValueError(f"shared is {shared}, but target {target.name!r} has eager attention: each row needs a copy")
    common = {tuple(prompt[:shared]) for prompt in prompts}
    fits = shared % KEYS_PER_TILE == 0 and shared <= min(known) and shared < min(map(len, prompts))
    if len(common) > 1 or not fits:
        raise ValueError(
            f"shared is {shared}: it must be a multiple of {KEYS_PER_TILE}, and the prompts must begin with the same "
            f"{shared} tokens and go on, each with a prefill of them; got {len(common)} beginnings, prompts of "
            f"{min(map(len, prompts))} tokens or more, and prefills of {min(known)} or more"
        )
