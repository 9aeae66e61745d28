from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.models.gemma2 import Gemma2Config
from transformers.models.qwen3 import Qwen3Config

from dftt.models.cache import RowCache, place
from dftt.models.pair import Pair
from dftt.models.target import Target, check_window
from tests.fakes import EOS_ID, VOCAB, byte_tokenizer, random_prompt

FAMILIES = ["llama", "qwen3", "qwen3-sliding", "qwen3-moe"]
SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "pad_token_id": None,
    "bos_token_id": None,
}


def small_target(config: Any = None, **changes: Any) -> Target:
    """A target of 2 layers, its config changed after the model is made."""
    model = AutoModelForCausalLM.from_config(config or Qwen3Config(**SMALL), attn_implementation="eager")
    for name, value in changes.items():
        setattr(model.config, name, value)
    return Target(model, byte_tokenizer(), "small")


@pytest.mark.parametrize("family", FAMILIES)
def test_taps_are_the_hidden_states_of_transformers(tiny_pair, reference, family: str) -> None:
    ids, taps = random_prompt(40).input_ids, (0, 1, 3)
    features = tiny_pair(family).target.prefill(ids, tap_ids=taps).features
    hidden_states = reference(family)(torch.tensor([ids]), output_hidden_states=True).hidden_states
    expected = torch.cat([hidden_states[tap][0] for tap in taps], dim=-1)
    torch.testing.assert_close(features, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_head_of_the_prefill_gives_the_logits_of_transformers(tiny_pair, reference, family: str) -> None:
    target, ids = tiny_pair(family).target, random_prompt(40).input_ids
    logits = target.head(target.prefill(ids, tap_ids=()).hidden)
    torch.testing.assert_close(logits, reference(family)(torch.tensor([ids])).logits[0], atol=1e-4, rtol=0)


def assert_same_prefill(prefill: Any, expected: Any) -> None:
    assert prefill.input_ids == expected.input_ids
    for name in ("features", "hidden", "keys", "values"):
        torch.testing.assert_close(getattr(prefill, name), getattr(expected, name), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("chunk", [1, 7, 37])
def test_chunked_prefill_equals_one_prefill(tiny_pair, family: str, chunk: int) -> None:
    target, ids = tiny_pair(family, dtype="float64").target, random_prompt(38).input_ids
    whole = target.prefill(ids, tap_ids=(1, 2))
    assert_same_prefill(target.prefill(ids, tap_ids=(1, 2), chunk=chunk), whole)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("done", [1, 20, 37])
def test_prefill_of_a_prefix_and_the_rest_equals_the_whole(tiny_pair, family: str, done: int) -> None:
    target, ids = tiny_pair(family, dtype="float64").target, random_prompt(38).input_ids
    prefix = target.prefill(ids[:done], tap_ids=(1, 2))
    assert_same_prefill(target.prefill(ids, tap_ids=(1, 2), prefix=prefix), target.prefill(ids, tap_ids=(1, 2)))


@pytest.mark.parametrize("ids", [(1, 2, 4, 5), (1, 2, 3), (1, 2)], ids=["other", "all of it", "shorter"])
def test_a_prefill_of_something_else_is_no_prefix(tiny_pair, ids: tuple[int, ...]) -> None:
    target = tiny_pair("qwen3").target
    with pytest.raises(ValueError, match=f"prefix of 3 tokens is not a proper prefix of the prompt of {len(ids)}"):
        target.prefill(ids, tap_ids=(), prefix=target.prefill((1, 2, 3), tap_ids=()))


def test_a_prompt_beyond_the_window_names_the_two_ways_out() -> None:
    check_window(512, 500, 12)
    with pytest.raises(ValueError, match=r"500 tokens and 13 new .* of 512; shorten the context or use a target"):
        check_window(512, 500, 13, name="context")


def test_prefill_refuses_a_prompt_beyond_the_window(tiny_pair: Callable[..., Pair]) -> None:
    with pytest.raises(ValueError, match="prompt is too long: 513 tokens"):
        tiny_pair("qwen3").target.prefill([1] * 513, tap_ids=())


@pytest.mark.parametrize(("ids", "expected"), [(EOS_ID, (EOS_ID,)), ([EOS_ID, 3], (EOS_ID, 3)), (0, (0,)), (None, ())])
def test_all_end_tokens_of_the_generation_config_count(ids: Any, expected: tuple[int, ...]) -> None:
    target = small_target(eos_token_id=None)
    target.model.generation_config.eos_token_id = ids
    assert target.eos_token_ids == expected


def test_end_tokens_of_the_config_are_the_fallback() -> None:
    target = small_target(eos_token_id=[5, 6])
    target.model.generation_config.eos_token_id = None
    assert target.eos_token_ids == (5, 6)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_is_frozen(tiny_pair: Callable[..., Pair], family: str) -> None:
    """transformers' from_pretrained sets requires_grad again on what it loads."""
    target = tiny_pair(family).target
    assert not any(parameter.requires_grad for parameter in target.model.parameters())
    assert not target.model.training


def test_no_hook_stays_on_the_model_even_when_a_pass_fails() -> None:
    target = small_target()  # its own: transformers leaves hooks on a model that once returned all hidden states
    cache = RowCache(target.num_layers, rows=1, capacity=4)
    with pytest.raises(IndexError):
        target.forward(torch.tensor([[VOCAB + 5]]), place([0], 1, device=target.device), cache, tap_ids=(0, 1))
    assert not any(module._forward_hooks for module in target.model.modules())


def test_vocabulary_is_the_embedding_not_the_tokenizer(tiny_pair: Callable[..., Pair]) -> None:
    target = tiny_pair("qwen3").target
    assert target.vocab_size == VOCAB > len(target.tokenizer)


def test_layers_that_cannot_be_rolled_back_are_refused() -> None:
    with pytest.raises(ValueError, match="has linear_attention layers, whose state cannot be rolled back"):
        small_target(layer_types=["linear_attention", "full_attention"])


@pytest.mark.parametrize("name", ["logit_scale", "logits_scaling", "lm_head_multiplier"])
def test_scaled_logits_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"scales its logits \({name}=0.5\)"):
        small_target(**{name: 0.5})


def test_a_neutral_scale_is_accepted() -> None:
    small_target(logit_scale=1.0)


def test_soft_capped_scores_and_logits_equal_transformers() -> None:
    """Soft-capped scores need eager attention, which adds a boolean mask to them: nothing was hidden."""
    config = Gemma2Config(**SMALL, final_logit_softcapping=0.02, query_pre_attn_scalar=8, sliding_window=4)
    target = small_target(config)
    ids = random_prompt(9).input_ids
    logits = target.head(target.prefill(ids, tap_ids=()).hidden)
    expected = target.model(torch.tensor([ids])).logits[0]
    assert logits.abs().max() > 0.01
    torch.testing.assert_close(logits, expected, atol=1e-6, rtol=0)
