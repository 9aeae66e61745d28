"""Teacher forcing: what target, drafts and tapped layers say of each token of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dftt.adaptation.losses import run_blocks
from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.sampling import sample_key
from dftt.models.lora import Adapter, applied
from dftt.models.pair import Pair
from dftt.types import Prefill, Prompt, TTTSpec
from dftt_tools.diagnostic.questions import Context, Question
from dftt_tools.diagnostic.reading import Reading, read, read_slots

TARGET, BASE, OWN, WRONG, NOISE = "target", "base", "own", "wrong", "noise"
BLOCKS = 64  # blocks in one masked pass


@dataclass(frozen=True)
class ForcedAnswer:
    """All that was read along one answer.

    Args:
        question: Prompt and answer.
        readings: By source: `target` and `layer i` (logit lens) have one slot; `base`, `own`, `wrong` and `noise`, the
            drafts, have K-1. Token i is read from the block anchored k tokens before it, context strictly before the
            anchor, as in training and in decoding.
        states: Hidden states of the tapped layers where the answer's first token is drawn from, (L, D), on the CPU.
        preferences: By source, how much higher the logit of the right first token is than that of the wrong one, for
            the target and the layers; empty where the question has no choice.
    """

    question: Question
    readings: Mapping[str, Reading]
    states: Tensor
    preferences: Mapping[str, float]


def layer_name(tap: int) -> str:
    """Name of a tapped layer as a source: by its hidden state, so 1 is the first layer's output."""
    return f"layer {tap}"


def force_all(pair: Pair, contexts: Sequence[Context], spec: TTTSpec, *, seed: int) -> Iterator[ForcedAnswer]:
    """Every question of every context; each context is read and adapted to once.

    The wrong context is the next one, and the first for the last. Nothing is adapted where spec.steps is 0, and there
    is no wrong context where there is only one.

    Args:
        pair: Target and draft.
        contexts: At least one.
        spec: How drafts are adapted.
        seed: Seeds the random features.
    """

    def adapt(prefill: Prefill) -> Adapter | None:
        return ttt_adapt(pair, Prompt(prefill.input_ids), spec, prefill=prefill).adapter if spec.steps else None

    prefill = pair.prefill(contexts[0].prompt)
    first = own = adapt(prefill)
    for place, context in enumerate(contexts):
        following = pair.prefill(contexts[place + 1].prompt) if place + 1 < len(contexts) else None
        other = first if following is None else adapt(following)
        named = {OWN: own, WRONG: other if len(contexts) > 1 else None}
        adapters = {name: adapter for name, adapter in named.items() if adapter is not None}
        for question in context.questions:
            yield force(pair, question, adapters, prefix=prefill, seed=seed)
        prefill, own = following or prefill, other


@torch.no_grad()
def force(
    pair: Pair, question: Question, adapters: Mapping[str, Adapter], *, prefix: Prefill | None = None, seed: int = 0
) -> ForcedAnswer:
    """What every source says along an answer, from one target pass over it.

    Args:
        pair: Target and draft.
        question: Prompt and answer.
        adapters: The draft is read under each of these too, by the name of the source.
        prefix: A prefill of the question's first tokens, to save reading them again.
        seed: Seeds the random features, with the question's task_id.
    """
    target, taps = pair.target, pair.draft.config.tap_ids
    prefill = pair.prefill(Prompt(question.token_ids), prefix=prefix)
    before = len(question.prompt) - 1  # where the first token of the answer is drawn from
    drawn_from = slice(before, before + len(question.answer))
    token_ids = torch.tensor(question.answer, device=target.device)
    tapped = prefill.features.unflatten(-1, (len(taps), -1))[drawn_from]  # (N, L, D)

    readings = {TARGET: read(target.head, prefill.hidden[drawn_from], token_ids)}
    features = {BASE: prefill.features, NOISE: noise_like(prefill.features, seed=sample_key(seed, question.task_id))}
    for name, given in features.items():
        readings[name] = read_slots(target.head, _blocks(pair, given, question), token_ids)
    for name, adapter in adapters.items():
        with applied(pair.draft, adapter):
            readings[name] = read_slots(target.head, _blocks(pair, prefill.features, question), token_ids)
    for place, tap in enumerate(taps):
        readings[layer_name(tap)] = read(target.exit_head, tapped[:, place], token_ids)

    preferences = {}
    if question.choice is not None:
        logits = torch.cat([target.head(prefill.hidden[before, None]), target.exit_head(tapped[0])])  # (1 + L, V)
        right, wrong = question.choice
        margins = (logits[:, right] - logits[:, wrong]).tolist()
        preferences = dict(zip([TARGET, *map(layer_name, taps)], margins, strict=True))
    return ForcedAnswer(question, readings, tapped[0].to("cpu", torch.float64), preferences)


def noise_like(features: Tensor, *, seed: int) -> Tensor:  # (T, L*D) -> (T, L*D)
    """Normal noise with the features' mean and standard deviation in every dimension, the same on any device."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(features.shape, generator=generator).to(features)
    return features.mean(0) + features.std(0) * noise


def _blocks(pair: Pair, features: Tensor, question: Question) -> Tensor:  # (T, L*D) -> (N, K, D)
    """Hidden states of blocks anchored at every token that one of the answer is drawn after, in the training layout."""
    ids = torch.tensor([question.token_ids], device=features.device)
    first = len(question.prompt) - 1
    anchors = torch.arange(first, first + len(question.answer), device=features.device)[None]
    parts = [
        run_blocks(pair.draft, pair.target, features=features[None], anchors=some, anchor_ids=ids.gather(1, some))[0]
        for some in anchors.split(BLOCKS, dim=1)
    ]
    return torch.cat(parts)
