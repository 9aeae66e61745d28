"""Reranking: several samples of the target, of which a judge's favourite is the answer."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from dftt.decoding.forced import forced_logits, token_log_probabilities, whole_prefill
from dftt.decoding.generate import Adapted, generate
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Generation, GuidanceSpec, Prefill, Prompt
from dftt.types.methods import RerankSpec

_DRAFT_ALONE = GuidanceSpec("interpolate", alpha=1.0)


def generate_reranked(
    pair: Pair,
    prompt: Prompt,
    spec: DecodingSpec,
    rerank: RerankSpec,
    *,
    adaptation: Adapted = None,
    prefill: Prefill | None = None,
    sample_name: str = "",
) -> Generation:
    """The sample with the highest mean log-probability per token; steps and passes of all samples are counted.

    Args:
        spec: How the samples are drawn; mode speculative, at a temperature above 0.
        adaptation: The adapter under which the draft proposes, and judges.
        prefill: A prefill of the prompt or of its first tokens.
        sample_name: Names the samples, which are numbered from 0; with the seed it decides the answer.

    Raises:
        ValueError: If the temperature is 0, or the prompt and its answer do not fit the target's window.
    """
    if spec.temperature == 0:
        raise ValueError("reranking needs samples that differ: decoding.temperature must be above 0, got 0")
    begun = time.perf_counter()
    prefill = whole_prefill(pair, prompt, prefill)
    samples = generate(
        pair,
        [prompt] * rerank.samples,
        replace(spec, mode="speculative"),
        adaptation=adaptation,
        prefill=prefill,
        sample_names=[f"{sample_name}/{number}" for number in range(rerank.samples)],
    )
    judged_by = partial(
        mean_log_probability, pair, prompt, spec=spec, by=rerank.by, adaptation=adaptation, prefill=prefill
    )
    best = max(samples, key=judged_by)
    return replace(
        best,
        acceptance_lengths=tuple(length for sample in samples for length in sample.acceptance_lengths),
        target_calls=sum(sample.target_calls + 1 for sample in samples),  # one pass more: the judge's
        seconds=time.perf_counter() - begun,
    )


def mean_log_probability(
    pair: Pair,
    prompt: Prompt,
    sample: Generation,
    *,
    by: str,
    spec: DecodingSpec,
    adaptation: Adapted,
    prefill: Prefill,
) -> float:
    """Mean log-probability per token of an answer, at temperature 1, to the target or to slot 1 of the draft."""
    rules = [_DRAFT_ALONE] if by == "draft" else []
    forced = forced_logits(pair, prompt, sample.token_ids, rules, spec, adaptation=adaptation, prefill=prefill)
    logits = forced.guided[0] if rules else forced.target
    return float(token_log_probabilities(logits, sample.token_ids).mean())
