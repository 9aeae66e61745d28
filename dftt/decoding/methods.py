"""Everything that makes an answer by a name and parameters: what an arm of a study can say.

    name                                        parameters                          becomes
    a rule of guidance (interpolate, contrast,  alpha and any other field of        mode guided with that GuidanceSpec
    own_minus_other, own_minus_generic,         GuidanceSpec
    own_minus_base, cad, contrastive,
    contrastive_ratio, dola, noise_norm,
    noise_spread)
    power                                       alpha, blocks, steps                generate_power
    rerank                                      by, samples                         generate_reranked

`make_method` checks name and parameters without a model, so that a study can refuse a bad arm at once; `generate_by`
runs it.
The temperature-matched target is no method: it is mode target at the temperature that `matched_temperature` finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from dftt.decoding.baselines.power import generate_power
from dftt.decoding.baselines.rerank import generate_reranked
from dftt.decoding.baselines.specs import PowerSpec, RerankSpec
from dftt.decoding.generate import HasAdapter, generate
from dftt.decoding.guidance.materials import Materials
from dftt.models.pair import Pair
from dftt.types import DecodingSpec, Generation, GuidanceSpec, Prefill, Prompt
from dftt.types.guidance import RULES

Method = GuidanceSpec | PowerSpec | RerankSpec
METHODS: tuple[str, ...] = (*RULES, "power", "rerank")


def make_method(name: str, parameters: Mapping[str, Any] | None = None) -> Method:
    """The settings of a method by its name.

    Raises:
        ValueError: If the name or a parameter is unknown, or a value out of range.
    """
    if name not in METHODS:
        raise ValueError(f"method: unknown {name!r}; choose from {', '.join(METHODS)}")
    kind = {"power": PowerSpec, "rerank": RerankSpec}.get(name, GuidanceSpec)
    fixed = {"rule": name} if kind is GuidanceSpec else {}
    accepted = [field.name for field in fields(kind) if field.name not in fixed]
    given = dict(parameters or {})
    if unknown := sorted(set(given) - set(accepted)):
        raise ValueError(f"method {name}: unknown parameters {', '.join(unknown)}; it takes {', '.join(accepted)}")
    return kind(**fixed, **given)


def generate_by(
    pair: Pair,
    prompt: Prompt,
    spec: DecodingSpec,
    method: Method,
    *,
    adaptation: HasAdapter | None = None,
    materials: Materials | None = None,
    prefill: Prefill | None = None,
    sample_name: str | None = None,
) -> Generation:
    """The answer that a method makes; of `spec` it takes all but mode, alpha and guidance.

    Args:
        pair: Target and draft.
        prompt: The prompt.
        spec: Decoding settings that all methods share.
        method: From `make_method`.
        adaptation: Decode under this adapter.
        materials: What a rule of guidance needs besides the pair.
        prefill: A prefill of the prompt or of its first tokens.
        sample_name: Names the sample; by default the prompt does.

    Raises:
        ValueError: As `generate`, `generate_power` and `generate_reranked`.
    """
    if isinstance(method, GuidanceSpec):
        return generate(
            pair,
            prompt,
            replace(spec, mode="guided", alpha=0.0, guidance=method),
            adaptation=adaptation,
            materials=materials,
            prefill=prefill,
            sample_names=None if sample_name is None else [sample_name],
        )
    spec = replace(spec, alpha=0.0, guidance=None)
    name = repr(prompt.input_ids) if sample_name is None else sample_name
    if isinstance(method, PowerSpec):
        return generate_power(pair, prompt, spec, method, adaptation=adaptation, prefill=prefill, sample_name=name)
    return generate_reranked(pair, prompt, spec, method, adaptation=adaptation, prefill=prefill, sample_name=name)
