"""Power Sampling with a pair: proposals come from lossless speculative decoding at temperature 1 / alpha."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from dftt.decoding.baselines.chain import Proposed, power_sample
from dftt.decoding.forced import forced_logits, token_log_probabilities, whole_prefill
from dftt.decoding.generate import Adapted, generate
from dftt.decoding.sampling import sample_key
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Generation, Prefill, Prompt
from dftt.types.methods import PowerSpec


def generate_power(
    pair: Pair,
    prompt: Prompt,
    spec: DecodingSpec,
    power: PowerSpec,
    *,
    adaptation: Adapted = None,
    prefill: Prefill | None = None,
    sample_name: str = "",
) -> Generation:
    """An answer drawn from about p(answer) ** power.alpha; steps and passes of all proposals are counted.

    Args:
        pair: Target and draft.
        prompt: The prompt.
        spec: max_new_tokens, seed, block_size and end-of-sequence tokens; its temperature, top_p and top_k have no
            meaning here, and its mode is speculative.
        power: Settings of the chain.
        adaptation: The draft proposes under this adapter; it changes the speed only.
        prefill: A prefill of the prompt or of its first tokens.
        sample_name: Names the sample; with the seed it decides the answer.

    Raises:
        ValueError: If the prompt and its answer do not fit the target's window.
    """
    begun = time.perf_counter()
    prefill = whole_prefill(pair, prompt, prefill)
    proposing = replace(spec, mode="speculative", temperature=1 / power.alpha, top_p=1.0, top_k=0)
    parts: list[Generation] = []

    def propose(tokens: tuple[int, ...], count: int) -> Proposed:
        before = Prompt(prompt.input_ids + tokens)
        part = generate(
            pair,
            before,
            replace(proposing, max_new_tokens=count),
            adaptation=adaptation,
            prefill=prefill,
            sample_names=[f"{sample_name}/{len(parts)}"],
        )
        parts.append(part)
        logits = forced_logits(pair, before, part.token_ids, prefill=prefill).target
        base = token_log_probabilities(logits, part.token_ids)
        proposal = token_log_probabilities(logits, part.token_ids, temperature=1 / power.alpha)
        return Proposed(part.token_ids, tuple(base.tolist()), tuple(proposal.tolist()))

    ends = frozenset(() if spec.ignore_eos else spec.eos_token_ids or pair.target.eos_token_ids)

    def has_ended(tokens: Sequence[int]) -> bool:
        return bool(tokens) and tokens[-1] in ends

    sampled = power_sample(
        propose,
        alpha=power.alpha,
        max_new_tokens=spec.max_new_tokens,
        blocks=power.blocks,
        steps=power.steps,
        has_ended=has_ended,
        random=Random(sample_key(spec.seed, sample_name)),
    )
    tokens = sampled.state.tokens
    return Generation(
        text=pair.target.tokenizer.decode(list(tokens), skip_special_tokens=True),
        token_ids=tokens,
        acceptance_lengths=tuple(length for part in parts for length in part.acceptance_lengths),
        finish_reason="eos" if has_ended(tokens) else "length",
        target_calls=sum(part.target_calls + 1 for part in parts),  # one pass more: the proposal's probabilities
        seconds=time.perf_counter() - begun,
    )
