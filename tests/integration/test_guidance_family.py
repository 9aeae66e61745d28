"""Every rule of guidance through the block-verified engine, against its meaning written here without any cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from dftt.adaptation.ttt import Adaptation, ttt_adapt
from dftt.decoding.captured import plain_cycle
from dftt.decoding.drafter import DFlashDrafter
from dftt.decoding.engine import Engine
from dftt.decoding.forced import forced_logits
from dftt.decoding.generate import generate, resolve_sizes
from dftt.decoding.guidance.sources import Materials
from dftt.decoding.sampling import sample_key
from dftt.models.lora import applied, sharing_copy
from dftt.models.pair import Pair
from dftt.models.target import Target
from dftt.types import DecodingSpec, GuidanceSpec, Prompt, TTTSpec
from dftt.types.guidance import RULES
from tests import by_hand
from tests.fakes import random_prompt, tiny_target_dir

SPEC = DecodingSpec(mode="guided", max_new_tokens=8, ignore_eos=True)
QUICK = [(-0.5, 0.6), (1.0, 0.0)]  # alpha, temperature
GRID = [
    *QUICK,
    *(pytest.param(*rest, marks=pytest.mark.slow) for rest in ((-0.5, 0.0), (0.3, 0.0), (0.3, 0.6), (1.0, 0.6))),
]
VARIANTS = [
    *(GuidanceSpec(rule) for rule in RULES),
    GuidanceSpec(draft_context="inclusive"),
    GuidanceSpec("own_minus_other", draft_context="inclusive", top_k=5),
    GuidanceSpec("contrastive", reference="early_exit:2"),
    GuidanceSpec("contrastive", reference="without_context"),
    GuidanceSpec("dola", reference="dola:1,2,3"),
    GuidanceSpec(space="probability"),
    GuidanceSpec("cad", adapt="divergence"),
    GuidanceSpec("contrast", adapt="entropy", plausibility=0.01),
]


def label(spec: GuidanceSpec) -> str:
    parts = (spec.rule, spec.reference, spec.space, spec.adapt, spec.draft_context, f"k{spec.top_k}")
    return "-".join(parts)


@pytest.fixture(scope="module")
def amateur_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_target_dir(tmp_path_factory.mktemp("amateur"), "llama")


@pytest.fixture(scope="module")
def amateur(amateur_folder: Path) -> Target:
    return Target.load(amateur_folder, dtype="float64")


@pytest.fixture(scope="module")
def amateur_reference(amateur_folder: Path) -> Any:
    """The amateur as transformers runs it by itself."""
    return AutoModelForCausalLM.from_pretrained(amateur_folder, dtype=torch.float64).eval()


@pytest.fixture(scope="module")
def own(good_pair: Callable[..., Any]) -> Adaptation:
    pair, prompt = good_pair("qwen3", dtype="float64")
    return ttt_adapt(pair, prompt, TTTSpec(steps=8, lr=2e-2))


@pytest.fixture(scope="module")
def materials(good_pair: Callable[..., Any], amateur: Target) -> Materials:
    pair, prompt = good_pair("qwen3", dtype="float64")
    adapters = {
        name: ttt_adapt(pair, random_prompt(30, seed=seed), TTTSpec(steps=8, lr=2e-2, rank=4)).adapter
        for name, seed in (("other", 5), ("generic", 6))
    }
    return Materials(adapters, (Prompt(prompt.input_ids[-4:]),), amateur)


class Naive:
    """Tokens of a rule by its definition: everything read anew by transformers' own model and by plain arithmetic."""

    def __init__(
        self, pair: Pair, own: Adaptation, materials: Materials, model: Any, amateur: Any, prompt: Prompt
    ) -> None:
        self.own, self.materials, self.model, self.amateur, self.prompt = own, materials, model, amateur, prompt
        self.weights, self.config = dict(pair.draft.named_parameters()), pair.draft.config
        self.key = by_hand.key_of(0, "x")

    @staticmethod
    def read(model: Any, ids: list[int]) -> Any:
        return model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)

    def draft(self, ids: list[int], out: Any, adapter: Any, *, inclusive: bool) -> Tensor:
        anchor = len(ids) - 1
        features = torch.cat([out.hidden_states[tap][0] for tap in self.config.tap_ids], dim=-1)
        masks = [self.config.mask_token_id] * (self.config.block_size - 1)
        block = self.model.get_input_embeddings().weight[[ids[-1], *masks]]
        weights = by_hand.merged(self.weights, adapter)
        return self.model.lm_head(
            by_hand.slot_one(weights, self.config, features[: anchor + int(inclusive)], block, anchor)
        )

    def source(self, name: str, ids: list[int], out: Any, inclusive: bool) -> Tensor:
        target = out.logits[0, -1]
        kind, _, argument = name.partition(":")
        adapters = {"draft": self.own.adapter, "base": None, **self.materials.adapters}
        if kind == "target":
            return target
        if kind in adapters:
            return self.draft(ids, out, adapters[kind], inclusive=inclusive)
        if kind == "uniform":
            return torch.zeros_like(target)
        if kind == "without_context":
            rest = list(self.materials.without_context[0].input_ids) + ids[len(self.prompt) :]
            return self.read(self.model, rest).logits[0, -1]
        if kind == "amateur":
            return self.read(self.amateur, ids).logits[0, -1]
        if kind == "early_exit":
            return self.model.lm_head(self.model.model.norm(out.hidden_states[int(argument)][0, -1]))
        if kind == "dola":
            early = [self.model.lm_head(out.hidden_states[int(n)][0, -1]) for n in (argument or "1").split(",")]
            return max(early, key=lambda each: float(by_hand.divergence(target.softmax(-1), each.softmax(-1))))
        if kind == "noise":
            difference = self.draft(ids, out, self.own.adapter, inclusive=inclusive) - target
            noise = by_hand.normal(self.key, len(ids), len(target))
            size = {"norm": lambda each: each.square().sum().sqrt(), "spread": lambda each: each.std()}[argument]
            return target + noise * size(difference) / size(noise)
        raise AssertionError(name)

    @torch.no_grad()
    def answer(self, rule: GuidanceSpec, spec: DecodingSpec) -> tuple[int, ...]:
        ids = list(self.prompt.input_ids)
        for _ in range(spec.max_new_tokens):
            out = self.read(self.model, ids)
            inclusive = rule.draft_context == "inclusive"
            numerator, reference = (self.source(name, ids, out, inclusive) for name in (rule.numerator, rule.reference))
            scores = by_hand.guided(rule, out.logits[0, -1], numerator, reference)
            if spec.temperature:
                scores = scores / spec.temperature + by_hand.gumbel(self.key, len(ids), len(scores))
            ids.append(int(scores.argmax()))
        return tuple(ids[len(self.prompt) :])


@pytest.fixture(scope="module")
def answer(good_pair, own, materials) -> Callable[..., tuple[int, ...]]:
    """Tokens of a rule at an alpha, temperature and verify size; decoded once, since several tests look at them."""
    pair, prompt = good_pair("qwen3", dtype="float64")

    @lru_cache
    def decoded(rule: GuidanceSpec, alpha: float, temperature: float = 0.0, verify_size: int = 0) -> tuple[int, ...]:
        spec = replace(SPEC, guidance=replace(rule, alpha=alpha), temperature=temperature, verify_size=verify_size)
        return generate(pair, prompt, spec, adaptation=own, materials=materials, sample_names=["x"]).token_ids

    return decoded


@pytest.mark.parametrize("rule", VARIANTS, ids=label)
def test_every_rule_decodes_what_it_means(
    good_pair, reference, amateur_reference, own, materials, answer, rule: GuidanceSpec
) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    model = reference("qwen3", torch.float64)
    naive = Naive(pair, own, materials, model, amateur_reference, prompt)
    for alpha, temperature in QUICK:
        spec = replace(SPEC, temperature=temperature)
        assert answer(rule, alpha, temperature) == naive.answer(replace(rule, alpha=alpha), spec), alpha


@pytest.mark.parametrize(("alpha", "temperature"), GRID)
def test_block_verified_equals_the_loop_under_every_rule(answer, alpha: float, temperature: float) -> None:
    for rule in VARIANTS:
        assert answer(rule, alpha, temperature) == answer(rule, alpha, temperature, verify_size=1), rule


@pytest.mark.parametrize("rule", list(RULES))
def test_alpha_zero_gives_the_targets_tokens_under_every_rule(good_pair, own, materials, rule: str) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    spec = replace(SPEC, guidance=GuidanceSpec(rule, alpha=0.0, plausibility=0.5), temperature=0.6)
    plain = generate(pair, prompt, replace(spec, mode="target"))
    assert generate(pair, prompt, spec, adaptation=own, materials=materials).token_ids == plain.token_ids


def test_the_rules_lead_to_different_answers(answer) -> None:
    assert len({answer(rule, 1.0) for rule in VARIANTS}) >= len(VARIANTS) - 4


@pytest.mark.parametrize("rule", ["cad", "contrastive", "own_minus_other", "dola", "noise_spread"])
def test_rows_of_different_lengths_decode_as_they_would_alone(good_pair, materials, rule: str) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    prompts = [prompt, random_prompt(23, seed=4), random_prompt(9)]
    questions = [Prompt(each.input_ids[-count:]) for each, count in zip(prompts, (4, 5, 8), strict=True)]
    spec = replace(SPEC, guidance=GuidanceSpec(rule, alpha=0.7), temperature=0.6)
    together = generate(pair, prompts, spec, materials=replace(materials, without_context=questions))
    for each, question, answer in zip(prompts, questions, together, strict=True):
        alone = generate(pair, each, spec, materials=replace(materials, without_context=(question,)))
        assert alone.token_ids == answer.token_ids


@pytest.mark.parametrize("rule", ["cad", "contrastive", "own_minus_other", "dola", "noise_norm"])
def test_replayed_cycles_give_the_same_tokens(good_pair, materials, rule: str) -> None:
    pair, _ = good_pair("qwen3", dtype="float64")
    prompts = [random_prompt(23, seed=4), random_prompt(9)]
    materials = replace(materials, without_context=tuple(Prompt(each.input_ids[-6:]) for each in prompts))
    spec = resolve_sizes(replace(SPEC, guidance=GuidanceSpec(rule, alpha=0.7), temperature=0.6), 4)

    def decode(capture: Any) -> list[list[int]]:
        drafter = DFlashDrafter(pair.draft, pair.target)
        ids = [prompt.input_ids for prompt in prompts]
        engine = Engine(pair.target, drafter, spec, ids, [None] * 2, [0, 1], materials=materials, capture=capture)
        while engine.active:
            engine.step()
        return [engine.new_tokens(row) for row in range(2)]

    assert decode(plain_cycle) == decode(None)


def test_a_prefill_of_the_prompt_changes_nothing(good_pair, own, materials) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    for rule in ("dola", "cad", "own_minus_base"):
        spec = replace(SPEC, guidance=GuidanceSpec(rule, alpha=1.0))
        known = [None, pair.prefill(prompt), pair.prefill(Prompt(prompt.input_ids[:6]))]
        answers = {
            generate(pair, prompt, spec, adaptation=own, materials=materials, prefill=each).token_ids for each in known
        }
        assert len(answers) == 1


def test_forced_logits_are_those_that_the_tokens_were_drawn_from(good_pair, own, materials, answer) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    for rule in VARIANTS[::2]:
        drawn = answer(rule, 1.0)
        rules = [replace(rule, alpha=1.0), GuidanceSpec(alpha=0.0)]
        options: Any = {"adaptation": own, "materials": materials, "key": sample_key(0, "x")}
        forced = forced_logits(pair, prompt, drawn, rules, **options)
        assert tuple(forced.guided[0].argmax(-1).tolist()) == drawn, rule
        assert torch.equal(forced.guided[1], forced.target)


def test_a_second_draft_shares_weights_and_changes_none(good_pair, own) -> None:
    pair, _ = good_pair("qwen3", dtype="float64")
    before = {name: tensor.clone() for name, tensor in pair.draft.state_dict().items()}
    with applied(pair.draft, own.adapter):
        twin = sharing_copy(pair.draft, None)
        assert set(twin.state_dict()) == set(before)
    adapted = sharing_copy(pair.draft, own.adapter)
    assert adapted.fc.weight.data_ptr() == pair.draft.fc.weight.data_ptr() == twin.fc.weight.data_ptr()
    after = pair.draft.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


# -- against transformers -----


@pytest.mark.parametrize("alpha", [-0.5, 0.5, 1.0])
def test_cad_is_transformers_classifier_free_guidance(good_pair, reference, alpha: float) -> None:
    """guidance_scale = 1 + alpha, the prompt without context as the negative one."""
    pair, prompt = good_pair("qwen3", dtype="float64")
    question = Prompt(prompt.input_ids[-4:])
    theirs = reference("qwen3", torch.float64).generate(
        torch.tensor([prompt.input_ids]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        negative_prompt_ids=torch.tensor([question.input_ids]),
        guidance_scale=1 + alpha,
        do_sample=False,
        max_new_tokens=20,
        min_new_tokens=0,
        eos_token_id=None,
        pad_token_id=0,
    )
    spec = replace(SPEC, guidance=GuidanceSpec("cad", alpha=alpha), max_new_tokens=20)
    ours = generate(pair, prompt, spec, materials=Materials(without_context=(question,)))
    assert list(ours.token_ids) == theirs[0, len(prompt) :].tolist()


# -- what is missing -----


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (GuidanceSpec("own_minus_other", alpha=1.0), r"source 'other' needs an adapter.*adapters="),
        (GuidanceSpec("cad", alpha=1.0), r"needs 1 prompts without context, got 0: pass materials="),
        (GuidanceSpec("contrastive", alpha=1.0), r"source 'amateur' needs a model: pass materials="),
        (GuidanceSpec("contrastive", alpha=1.0, reference="early_exit:4"), r"has 4: choose from 1 to 3"),
        (GuidanceSpec("dola", alpha=1.0, reference="dola:1,9"), r"names layer 9.*choose from 0 to 3"),
    ],
    ids=lambda value: label(value) if isinstance(value, GuidanceSpec) else "",
)
def test_a_missing_material_is_named(good_pair, rule: GuidanceSpec, message: str) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    with pytest.raises(ValueError, match=message):
        generate(pair, prompt, replace(SPEC, guidance=rule))


def test_a_question_that_ends_otherwise_is_refused(good_pair) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    question = Prompt((prompt.input_ids[-1] + 1,))
    with pytest.raises(ValueError, match="both must end alike"):
        generate(
            pair,
            prompt,
            replace(SPEC, guidance=GuidanceSpec("cad", alpha=1.0)),
            materials=Materials(without_context=(question,)),
        )


@pytest.mark.parametrize("rule", VARIANTS, ids=label)
@pytest.mark.parametrize("temperature", [0.0, pytest.param(0.6, marks=pytest.mark.slow)])
def test_weights_side_by_side_give_the_tokens_of_each_alone(good_pair, own, materials, rule, temperature) -> None:
    """In fewer rows than weights, so that slots are taken over; eager cycles and those that a graph would replay."""
    pair, prompt = good_pair("qwen3", dtype="float64")
    prefill, alphas = pair.prefill(Prompt(prompt.input_ids[:-3])), (-0.5, 0.3, 1.0, 2.0)
    questions = materials.without_context

    def spec(alpha: float) -> DecodingSpec:
        return replace(SPEC, temperature=temperature, guidance=replace(rule, alpha=alpha))

    alone = [
        generate(pair, prompt, spec(alpha), adaptation=own, materials=materials, sample_names=["it"]).token_ids
        for alpha in alphas
    ]
    together = generate(
        pair,
        [prompt] * 4,
        spec(1.0),
        adaptation=own,
        materials=replace(materials, without_context=list(questions) * 4),
        sample_names=["it"] * 4,
        prefill=prefill,
        rows=3,
        alphas=alphas,
    )
    assert [row.token_ids for row in together] == alone
    assert len(set(alone)) > 1  # the weights matter


@pytest.mark.parametrize(
    ("spec", "alphas", "message"),
    [
        (replace(SPEC, mode="speculative"), (0.5,), "alphas need mode guided and an alpha in the spec, got mode specu"),
        (SPEC, (0.5,), "alphas need mode guided and an alpha in the spec, got mode guided, 0.0"),
        (replace(SPEC, alpha=1.0), (0.5, 1.0), "2 alphas given for 1 prompts"),
        (replace(SPEC, alpha=1.0), (0.0,), "at 0 nothing guides"),
    ],
)
def test_weights_that_cannot_be_followed_are_refused(good_pair, spec, alphas, message) -> None:
    pair, prompt = good_pair("qwen3", dtype="float64")
    with pytest.raises(ValueError, match=message):
        generate(pair, [prompt], spec, alphas=alphas)
