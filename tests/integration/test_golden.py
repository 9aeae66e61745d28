"""Decoding against transformers: every mode, token for token, in float32 on the CPU."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.generate import generate
from dftt.decoding.guidance.sources import Materials
from dftt.models.pair import Pair, load_pair
from dftt.types import DecodingSpec, Prompt, TTTSpec
from tests.fakes import EOS_ID, ScriptedDrafter, random_prompt
from tests.native_dflash import HAS_NATIVE_DFLASH, NativeAssistant

FAMILIES = ["llama", "qwen3", "qwen3-sliding", "qwen3-moe"]
NEW = 24  # tokens
GREEDY = DecodingSpec(max_new_tokens=NEW, ignore_eos=True)
SAMPLED = replace(GREEDY, temperature=1.0, top_p=0.9, top_k=20)
PROMPTS = [random_prompt(length, seed=length) for length in (1, 7, 33)]


def huggingface(model: Any, prompt: Prompt, count: int, **options: Any) -> tuple[int, ...]:
    """New tokens of transformers' own greedy generation."""
    ids = torch.tensor([prompt.input_ids])
    options = {"eos_token_id": None, "pad_token_id": 0, **options}
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count, **options)
    return tuple(out[0, len(prompt) :].tolist())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", ["target", "speculative"])
@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_greedy_equals_transformers_generate(tiny_pair, reference, family: str, mode: Any, prompt: Prompt) -> None:
    answer = generate(tiny_pair(family), prompt, replace(GREEDY, mode=mode))
    assert answer.token_ids == huggingface(reference(family), prompt, NEW)
    assert len(set(answer.token_ids)) > 5  # a model that repeats one token would prove nothing


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_with_a_good_draft_equals_transformers(good_pair, reference, family: str) -> None:
    pair, prompt = good_pair(family)
    answer = generate(pair, prompt, GREEDY)
    assert answer.token_ids == huggingface(reference(family), prompt, NEW)
    assert answer.tau > 1.5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", range(3))
def test_sampled_speculative_equals_sampled_target(good_pair, family: str, seed: int) -> None:
    pair, prompt = good_pair(family)
    spec = replace(SAMPLED, seed=seed)
    answer = generate(pair, prompt, replace(spec, mode="speculative"))
    assert answer.token_ids == generate(pair, prompt, replace(spec, mode="target")).token_ids
    assert answer.token_ids != generate(pair, prompt, GREEDY).token_ids


def test_another_seed_gives_other_tokens(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    assert len({generate(pair, PROMPTS[1], replace(SAMPLED, seed=seed)).token_ids for seed in range(4)}) == 4


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("block_size", [2, 3, 4])
def test_any_smaller_block_is_lossless_too(good_pair, block_size: int, temperature: float) -> None:
    pair, prompt = good_pair("qwen3")
    spec = replace(GREEDY, block_size=block_size, temperature=temperature)
    answer = generate(pair, prompt, spec)
    assert answer.token_ids == generate(pair, prompt, replace(spec, mode="target")).token_ids
    assert max(answer.acceptance_lengths) <= block_size


@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3-moe"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_scripted_proposals_are_accepted_exactly(tiny_pair, family: str, temperature: float) -> None:
    pair, prompt = tiny_pair(family, block_size=6), PROMPTS[1]
    spec = DecodingSpec(mode="target", max_new_tokens=50, ignore_eos=True, temperature=temperature)
    wanted = generate(pair, prompt, spec).token_ids
    script = [0, 5, 1, 4, 2, 3, 0, 5]
    drafter = ScriptedDrafter(wanted, len(prompt), script)
    spec = replace(spec, mode="speculative", max_new_tokens=29)
    answer = generate(pair, prompt, spec, drafter=drafter)
    assert answer.acceptance_lengths == tuple(kept + 1 for kept in script)
    assert set(answer.acceptance_lengths) == {1, 2, 3, 4, 5, 6}
    assert answer.token_ids == wanted[:29]


@pytest.mark.parametrize("mode", ["target", "speculative", "guided"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 9, 16, 17])
def test_exactly_max_new_tokens_are_made(good_pair, mode: Any, count: int) -> None:
    pair, prompt = good_pair("qwen3")
    longer = generate(pair, prompt, replace(GREEDY, mode=mode))
    answer = generate(pair, prompt, replace(GREEDY, mode=mode, max_new_tokens=count))
    assert answer.token_ids == longer.token_ids[:count]
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("keep", range(6))
@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 8, 13])
def test_max_new_tokens_is_exact_wherever_it_cuts_a_block(tiny_pair, keep: int, count: int) -> None:
    pair, prompt = tiny_pair("qwen3", block_size=6), PROMPTS[1]
    wanted = generate(pair, prompt, DecodingSpec(mode="target", max_new_tokens=40, ignore_eos=True)).token_ids
    drafter = ScriptedDrafter(wanted, len(prompt), [keep])
    answer = generate(pair, prompt, DecodingSpec(max_new_tokens=count, ignore_eos=True), drafter=drafter)
    assert answer.token_ids == wanted[:count]
    # The prefill's token belongs to no step, and the last step counts in full.
    steps = -(-(count - 1) // (keep + 1))
    assert answer.acceptance_lengths == (keep + 1,) * steps
    assert answer.target_calls == steps


@pytest.mark.parametrize("mode", ["target", "speculative"])
def test_acceptance_lengths_add_up_to_the_new_tokens_but_one(good_pair, mode: Any) -> None:
    pair, prompt = good_pair("qwen3")
    answer = generate(pair, prompt, replace(GREEDY, mode=mode))
    committed = sum(answer.acceptance_lengths)
    assert committed - answer.acceptance_lengths[-1] < len(answer.token_ids) - 1 <= committed


@pytest.mark.parametrize("mode", ["target", "speculative", "guided"])
@pytest.mark.parametrize("place", [0, 1, 2, 3, 6, 11])
def test_a_row_ends_after_the_first_end_token_of_a_block(good_pair, mode: Any, place: int) -> None:
    pair, prompt = good_pair("qwen3")
    spec = replace(GREEDY, mode=mode, alpha=0.0)
    free = generate(pair, prompt, spec).token_ids
    end = free[place]
    answer = generate(pair, prompt, replace(spec, ignore_eos=False, eos_token_ids=(end, 287)))
    assert answer.token_ids == free[: free.index(end) + 1]
    assert answer.finish_reason == "eos"


@pytest.mark.parametrize("keep", [0, 2, 5])
def test_the_step_that_draws_the_end_token_counts_in_full(tiny_pair, keep: int) -> None:
    pair, prompt = tiny_pair("qwen3", block_size=6), PROMPTS[1]
    wanted = generate(pair, prompt, replace(GREEDY, mode="target")).token_ids
    end = next(token for token in wanted[8:] if wanted.index(token) >= 8)
    drafter = ScriptedDrafter(wanted, len(prompt), [keep])
    answer = generate(pair, prompt, DecodingSpec(max_new_tokens=30, eos_token_ids=(end,)), drafter=drafter)
    assert answer.token_ids == wanted[: wanted.index(end) + 1]
    assert set(answer.acceptance_lengths) == {keep + 1}


def test_several_end_tokens_all_end_a_row_as_in_transformers(tiny_pair, reference) -> None:
    pair, prompt = tiny_pair("qwen3"), PROMPTS[2]
    free = generate(pair, prompt, GREEDY).token_ids
    ends = (free[20], free[12])
    answer = generate(pair, prompt, DecodingSpec(max_new_tokens=NEW, eos_token_ids=ends))
    assert answer.token_ids == huggingface(reference("qwen3"), prompt, NEW, eos_token_id=list(ends))


def test_the_targets_own_end_tokens_end_a_row_unless_ignored(tiny_target, tiny_draft) -> None:
    pair = load_pair(tiny_target("qwen3"), tiny_draft())
    free = generate(pair, PROMPTS[2], GREEDY).token_ids
    pair.target.model.generation_config.eos_token_id = [EOS_ID, free[5]]
    stopped = generate(pair, PROMPTS[2], replace(GREEDY, ignore_eos=False))
    assert stopped.token_ids == free[: free.index(free[5]) + 1]
    assert generate(pair, PROMPTS[2], GREEDY).token_ids == free


@pytest.mark.parametrize("family", ["qwen3", "qwen3-sliding", "qwen3-moe"])
@pytest.mark.parametrize("mode", ["target", "speculative", "guided"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_rows_decoded_together_equal_rows_decoded_alone(good_pair, family: str, mode: Any, temperature: float) -> None:
    pair, known = good_pair(family)
    spec = replace(GREEDY, mode=mode, temperature=temperature, alpha=0.3, max_new_tokens=24)
    prompts = [known, *PROMPTS]
    together = generate(pair, prompts, spec)
    for prompt, answer in zip(prompts, together, strict=True):
        alone = generate(pair, prompt, spec)
        assert answer.token_ids == alone.token_ids
        assert answer.acceptance_lengths == alone.acceptance_lengths
        assert answer.target_calls == alone.target_calls


def test_rows_that_end_apart_equal_rows_decoded_alone(good_pair) -> None:
    pair, known = good_pair("qwen3")
    ends = tuple(
        generate(pair, prompt, GREEDY).token_ids[place] for prompt, place in zip(PROMPTS, (2, 9, 20), strict=True)
    )
    spec = replace(GREEDY, ignore_eos=False, eos_token_ids=ends)
    together = generate(pair, [known, *PROMPTS], spec)
    assert len({len(answer.token_ids) for answer in together}) > 2
    for prompt, answer in zip([known, *PROMPTS], together, strict=True):
        alone = generate(pair, prompt, spec)
        assert (answer.token_ids, answer.finish_reason) == (alone.token_ids, alone.finish_reason)


def test_prefills_of_any_length_give_the_same_answers(good_pair) -> None:
    pair, known = good_pair("qwen3")
    prompts = [known, PROMPTS[1], PROMPTS[2]]
    spec = replace(GREEDY, mode="speculative")
    plain = [answer.token_ids for answer in generate(pair, prompts, spec)]
    whole = [pair.prefill(prompt) for prompt in prompts]
    parts = [pair.prefill(Prompt(prompt.input_ids[:-3])) for prompt in prompts]
    assert [answer.token_ids for answer in generate(pair, prompts, spec, prefill=whole)] == plain
    assert [answer.token_ids for answer in generate(pair, prompts, spec, prefill=parts)] == plain


def test_the_same_prompt_under_another_name_draws_other_tokens(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    first, second, again = generate(pair, [PROMPTS[1]] * 3, SAMPLED, sample_names=["a", "b", "a"])
    assert first.token_ids == again.token_ids != second.token_ids


@pytest.mark.skipif(not HAS_NATIVE_DFLASH, reason="this transformers has no DFlash decoding of its own")
@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen3-moe"])
@pytest.mark.parametrize("count", [1, 8, 40])
def test_our_loop_equals_the_native_dflash_loop(good_pair, reference, family: str, count: int) -> None:
    """Tokens exactly; target calls within 2, since the native loop shortens its last blocks. Both accept proposals."""
    pair, prompt = good_pair(family)
    model, calls = reference(family), []
    handle = model.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        native = huggingface(
            model, prompt, count, assistant_model=NativeAssistant(pair.draft), speculation_type="dflash"
        )
    finally:
        handle.remove()
    ours = generate(pair, prompt, replace(GREEDY, max_new_tokens=count))
    assert ours.token_ids == native
    assert abs(len(calls) - 1 - ours.target_calls) <= 2
    if count == 40:  # else both might be plain autoregression
        assert max(len(calls), ours.target_calls) < 40 / 1.5


@pytest.mark.parametrize("mode", ["target", "speculative", "guided"])
def test_streamed_pieces_add_up_to_the_answer(good_pair, mode: Any) -> None:
    pair, known = good_pair("qwen3")
    pieces: dict[int, list[int]] = {0: [], 1: []}
    answers = generate(
        pair,
        [known, PROMPTS[1]],
        replace(GREEDY, mode=mode),
        on_tokens=lambda row, new: pieces[row].extend(new),
    )
    assert [tuple(pieces[row]) for row in (0, 1)] == [answer.token_ids for answer in answers]


def test_text_is_the_decoded_answer_without_special_tokens(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    answer = generate(pair, PROMPTS[1], GREEDY)
    assert answer.text == pair.target.tokenizer.decode(answer.token_ids, skip_special_tokens=True)


@pytest.mark.parametrize("mode", ["speculative", "guided"])
def test_decoding_under_an_adapter_leaves_the_pair_alone(good_pair, mode: Any) -> None:
    pair, prompt = good_pair("qwen3")
    before = {name: tensor.clone() for name, tensor in pair.draft.state_dict().items()}
    adaptation = ttt_adapt(pair, PROMPTS[2], TTTSpec(steps=20, lr=2e-2))
    spec = replace(GREEDY, mode=mode, alpha=0.5)
    base = generate(pair, prompt, spec)
    adapted = generate(pair, prompt, spec, adaptation=adaptation)
    again = generate(pair, prompt, spec)
    assert (adapted.token_ids, adapted.acceptance_lengths) != (base.token_ids, base.acceptance_lengths)
    assert (again.token_ids, again.acceptance_lengths) == (base.token_ids, base.acceptance_lengths)
    after = pair.draft.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_speculative_under_an_adaptation_is_still_lossless(good_pair, reference) -> None:
    pair, prompt = good_pair("qwen3")
    adaptation = ttt_adapt(pair, PROMPTS[2], TTTSpec(steps=20, lr=2e-2))
    answer = generate(pair, prompt, GREEDY, adaptation=adaptation)
    assert answer.token_ids == huggingface(reference("qwen3"), prompt, NEW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_size": 5}, "decoding.block_size is 5, but the draft was trained with blocks of 4"),
        ({"verify_size": 9, "mode": "guided"}, "decoding.verify_size is 9, but"),
        ({"max_new_tokens": 600}, "600 new ones do not fit the target's window of 512"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused_before_decoding(tiny_pair, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(tiny_pair("qwen3"), PROMPTS[0], replace(GREEDY, **change))


def test_no_prompt_is_refused(tiny_pair: Callable[..., Pair]) -> None:
    with pytest.raises(ValueError, match="no prompt given"):
        generate(tiny_pair("qwen3"), [])


@pytest.mark.parametrize("alpha", [math.nan, math.inf, -math.inf, 0.0])
@pytest.mark.parametrize("place", [0, 1])
def test_an_alpha_that_guides_nowhere_is_refused(tiny_pair: Callable[..., Pair], alpha: float, place: int) -> None:
    alphas = [0.5, 0.5]
    alphas[place] = alpha
    with pytest.raises(ValueError, match="alphas"):
        generate(tiny_pair("qwen3"), PROMPTS[:2], DecodingSpec(mode="guided", alpha=0.3), alphas=alphas)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 1.5}, "rows must be a whole number, got 1.5"),
        ({"rows": math.nan}, "rows must be a whole number, got nan"),
        ({"sample_names": ["a"]}, r"sample_names \['a'\] given for 2 prompts"),
        ({"sample_names": ["a", "b", "c"]}, "given for 2 prompts: give a list with one name for each"),
        ({"sample_names": "ab"}, "sample_names 'ab' given for 2 prompts"),
        ({"sample_names": []}, r"sample_names \[\] given for 2 prompts"),
        ({"alphas": [0.5]}, "1 alphas given for 2 prompts"),
        ({"adaptation": [None]}, "1 adaptations given for 2 prompts"),
        ({"spec": DecodingSpec(eos_token_ids=(288,))}, "decoding.eos_token_ids: token 288 is not in the target's"),
        ({"materials": Materials(without_context=[Prompt((288,))] * 2)}, "token 288 is not in the target's vocabulary"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(tiny_pair, options: dict, message: str) -> None:
    spec = options.pop("spec", DecodingSpec(mode="guided", alpha=0.3))
    with pytest.raises(ValueError, match=message):
        generate(tiny_pair("qwen3"), PROMPTS[:2], spec, **options)


@pytest.mark.parametrize("call", [generate, lambda pair, prompt: ttt_adapt(pair, prompt, TTTSpec(steps=1))])
def test_a_token_that_the_target_does_not_have_is_refused(tiny_pair: Callable[..., Pair], call: Any) -> None:
    with pytest.raises(ValueError, match="prompt: token 288 is not in the target's vocabulary of 288"):
        call(tiny_pair("qwen3"), Prompt((5, 6, 288, 7, 8, 9)))


@pytest.mark.parametrize("call", [generate, lambda pair, prompt, **rest: ttt_adapt(pair, prompt, TTTSpec(), **rest)])
def test_a_prefill_of_another_pair_is_refused(tiny_pair: Callable[..., Pair], call: Any) -> None:
    prompt = random_prompt(20)
    other = tiny_pair("qwen3", taps=(1, 2)).prefill(prompt)
    with pytest.raises(ValueError, match=r"features and hidden states have shapes \[\(20, 64\), .* make it with"):
        call(tiny_pair("qwen3"), prompt, prefill=other)


def test_a_wrong_number_of_prefills_is_refused(tiny_pair: Callable[..., Pair]) -> None:
    pair = tiny_pair("qwen3")
    with pytest.raises(ValueError, match="1 prefills given for 2 prompts"):
        generate(pair, PROMPTS[:2], prefill=[pair.prefill(PROMPTS[0])])


def test_guidance_with_a_scripted_drafter_is_refused(tiny_pair: Callable[..., Pair]) -> None:
    drafter = ScriptedDrafter([0] * 50, 1, [0])
    with pytest.raises(ValueError, match="guided decoding needs the draft itself"):
        generate(tiny_pair("qwen3"), PROMPTS[0], DecodingSpec(mode="guided", alpha=0.3), drafter=drafter)
