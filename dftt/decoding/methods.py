"""Runs what `make_method` has named and checked: a rule of guidance, or a baseline made of lossless answers."""

from __future__ import annotations

from dataclasses import replace

from dftt.decoding.baselines.power import generate_power
from dftt.decoding.baselines.rerank import generate_reranked
from dftt.decoding.generate import Adapted, generate
from dftt.decoding.guidance.sources import Materials
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Generation, GuidanceSpec, Prefill, Prompt
from dftt.types.methods import Method, PowerSpec


def generate_by(
    pair: Pair,
    prompt: Prompt,
    spec: DecodingSpec,
    method: Method,
    *,
    adaptation: Adapted = None,
    materials: Materials | None = None,
    prefill: Prefill | None = None,
    sample_name: str | None = None,
) -> Generation:
    """The answer that a method of `make_method` makes; of `spec` it takes all but mode, alpha and guidance.

    The other arguments are those of `generate`; without a name, the sample is named by the prompt.

    Raises:
        ValueError: As `generate`, `generate_power` and `generate_reranked`.
    """
    if isinstance(method, GuidanceSpec):
        spec = replace(spec, mode="guided", alpha=0.0, guidance=method)
        names = None if sample_name is None else [sample_name]
        return generate(
            pair, prompt, spec, adaptation=adaptation, materials=materials, prefill=prefill, sample_names=names
        )
    spec = replace(spec, alpha=0.0, guidance=None)
    name = repr(prompt.input_ids) if sample_name is None else sample_name
    if isinstance(method, PowerSpec):
        return generate_power(pair, prompt, spec, method, adaptation=adaptation, prefill=prefill, sample_name=name)
    return generate_reranked(pair, prompt, spec, method, adaptation=adaptation, prefill=prefill, sample_name=name)
