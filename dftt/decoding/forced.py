"""Teacher forcing: what target and rules of guidance say at each token of a text that is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.drafters import make_draft
from dftt.decoding.generate import Adapted
from dftt.decoding.guidance.build import SourceSet, apply_rule
from dftt.decoding.guidance.sources import Materials
from dftt.models.cache import RowCache, place
from dftt.models.lora import applied
from dftt.models.pair import Pair
from dftt.models.target import check_window
from dftt.types import DecodingSpec, GuidanceSpec, Prefill, Prompt


@dataclass(frozen=True)
class ForcedLogits:
    """Logits from which each token of a continuation would be drawn, temperature not applied."""

    token_ids: tuple[int, ...]  # the continuation
    target: Tensor  # (N, V), the target's
    guided: tuple[Tensor, ...]  # (N, V) each, one per rule, in order


@torch.no_grad()
def forced_logits(
    pair: Pair,
    prompt: Prompt,
    continuation: Sequence[int],
    rules: Sequence[GuidanceSpec] = (),
    spec: DecodingSpec = DecodingSpec(),
    *,
    adaptation: Adapted = None,
    materials: Materials | None = None,
    prefill: Prefill | None = None,
    key: int = 0,
) -> ForcedLogits:
    """Logits of the target and of any number of rules along a given continuation; rules share what they have in common.

    The same distributions that `generate` draws from where it has drawn these tokens.

    Args:
        continuation: The tokens to be judged, at least one.
        rules: Rules of guidance.
        spec: How the tokens are decoded: says how far back the draft sees.
        adaptation: As in `generate`, like materials and prefill.
        key: Sample key of the noise controls; see `sample_key`.

    Raises:
        ValueError: If the continuation is empty, does not fit the target's window, or a rule lacks a material.
    """
    given = tuple(int(token) for token in continuation)
    if not given:
        raise ValueError("continuation is empty: give at least one token")
    check_window(pair.target.window, len(prompt), len(given))
    prefill = whole_prefill(pair, prompt, prefill)
    target, device = pair.target, pair.target.device
    drafter = make_draft(pair, spec, DFlashDrafter)
    keys = torch.tensor([key], device=device)
    tokens = torch.tensor([prompt.input_ids[-1:] + given[:-1]], device=device)
    capacity = len(prompt) + len(given)
    size = pair.draft.config.block_size  # the draft's scratch room is for so many
    parts: list[list[Tensor]] = []
    with applied(pair.draft, adaptation):
        sources = SourceSet(rules, target, drafter, [prompt.input_ids], materials)
        cache = RowCache(target.num_layers, rows=1, capacity=capacity)
        cache.fill_row(0, prefill.keys, prefill.values)
        for follower in (drafter, sources):
            follower.begin([prefill.features], capacity=capacity)
        for start in range(0, len(given), size):
            block = tokens[:, start : start + size]
            at = place([len(prompt) - 1 + start], block.shape[1], device=device)
            hidden, tapped = target.forward(block, at, cache, tap_ids=drafter.tap_ids + sources.taps)
            features, early = tapped.tensor_split([len(drafter.tap_ids) * target.hidden_size], dim=-1)
            for follower in (drafter, sources):
                follower.extend(features, at)
            own, values = sources.read(target.head(hidden), block, at, early, keys)
            parts.append([own[0], *(apply_rule(rule, own, values)[0] for rule in rules)])
    own, *guided = (torch.cat(part) for part in zip(*parts, strict=True))
    return ForcedLogits(given, own, tuple(guided))


def whole_prefill(pair: Pair, prompt: Prompt, prefill: Prefill | None) -> Prefill:
    """A prefill of the whole prompt, made from one of its first tokens where that is given.

    Raises:
        ValueError: If the prefill is of other tokens than the prompt's first ones.
    """
    if prefill is not None and prompt.input_ids[: len(prefill)] != prefill.input_ids:
        raise ValueError(f"a prefill of {len(prefill)} tokens is not of the first of the prompt's {len(prompt)} tokens")
    if prefill is not None and len(prefill) == len(prompt):
        return prefill
    return pair.prefill(prompt, prefix=prefill)


def token_log_probabilities(logits: Tensor, token_ids: Sequence[int], *, temperature: float = 1.0) -> Tensor:
    """Log-probability of each token, (N,), from the logits (N, V) that it is drawn from."""
    wanted = torch.tensor(token_ids, device=logits.device)[:, None]
    return (logits / temperature).log_softmax(-1).gather(1, wanted)[:, 0]
