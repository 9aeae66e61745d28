import math
from typing import Any

import pytest

from dftt.models.lora import Adapter
from dftt.types import DecodingSpec, Generation, Prompt, Record, TTTSpec


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", -1, "ttt.steps must be >= 0, got -1"),
        ("warmup", -1, "ttt.warmup must be >= 0, got -1"),
        ("anchors", 0, "ttt.anchors must be >= 1, got 0"),
        ("window", -5, "ttt.window must be >= 0, got -5"),
        ("patience", -1, "ttt.patience must be >= 0, got -1"),
        ("lr", 0.0, "ttt.lr must be a positive number, got 0.0"),
        ("lr", math.nan, "ttt.lr must be a positive number, got nan"),
        ("lr", math.inf, "ttt.lr must be a positive number, got inf"),
        ("max_grad_norm", 0.0, "ttt.max_grad_norm must be a positive number, got 0.0"),
        ("decay", 1.5, "ttt.decay must be between 0 and 1, got 1.5"),
        ("decay", math.nan, "ttt.decay must be between 0 and 1, got nan"),
        ("loss", "mse", "ttt.loss: unknown 'mse'; choose from ce, kl, mixed"),
        ("rank", 0, "ttt.rank must be >= 1, got 0"),
        ("lora_alpha", 0.0, "ttt.lora_alpha must be a positive number, got 0.0"),
        ("lora_alpha", math.nan, "ttt.lora_alpha must be a positive number, got nan"),
        ("modules", ("fc", "lm_head"), "ttt.modules: unknown 'lm_head'; choose from fc, q_proj"),
        ("modules", (), "ttt.modules is empty"),
    ],
)
def test_a_bad_adaptation_setting_is_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        TTTSpec(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("mode", "fast", "decoding.mode: unknown 'fast'; choose from target, speculative, guided"),
        ("max_new_tokens", 0, "decoding.max_new_tokens must be >= 1, got 0"),
        ("temperature", -1.0, "decoding.temperature must be finite and >= 0, got -1.0"),
        ("temperature", math.nan, "decoding.temperature must be finite and >= 0, got nan"),
        ("temperature", math.inf, "decoding.temperature must be finite and >= 0, got inf"),
        ("top_p", 0.0, "decoding.top_p must be in"),
        ("top_p", 1.01, "decoding.top_p must be in"),
        ("top_p", math.nan, "decoding.top_p must be in"),
        ("top_k", -1, "decoding.top_k must be >= 0, got -1"),
        ("alpha", math.nan, "decoding.alpha must be a finite number, got nan"),
        ("alpha", math.inf, "decoding.alpha must be a finite number, got inf"),
        ("alpha", -math.inf, "decoding.alpha must be a finite number, got -inf"),
        ("block_size", 1, "decoding.block_size must be >= 2, got 1"),
        ("block_size", -3, "decoding.block_size must be >= 2, got -3"),
        ("verify_size", -1, "decoding.verify_size must be >= 0, got -1"),
    ],
)
def test_a_bad_decoding_setting_is_named(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        DecodingSpec(**{field: value})


@pytest.mark.parametrize("spec", [TTTSpec, DecodingSpec])
def test_defaults_are_accepted(spec: Any) -> None:
    spec()


@pytest.mark.parametrize(
    ("ids", "context_length", "message"),
    [
        ((), -1, "prompt is empty"),
        ((1, 2), 0, "context_length must be between 1 and the prompt's 2 tokens, got 0"),
        ((1, 2), 3, "context_length must be between 1 and the prompt's 2 tokens, got 3"),
        ((1, 2), -2, "context_length must be between 1 and the prompt's 2 tokens, got -2"),
    ],
)
def test_a_bad_prompt_is_refused(ids: tuple[int, ...], context_length: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prompt(ids, context_length)


def test_the_context_is_the_whole_prompt_where_not_given() -> None:
    assert Prompt((5, 6, 7)).context_length == 3


@pytest.mark.parametrize(
    ("rank", "lora_alpha", "modules", "message"),
    [
        (0, 1.0, ("fc",), "adapter.rank"),
        (1, -1.0, ("fc",), "adapter.lora_alpha"),
        (1, 1.0, ("x",), "unknown 'x'"),
    ],
)
def test_a_bad_adapter_is_named(rank: int, lora_alpha: float, modules: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adapter(rank, lora_alpha, modules, {})


def generation(*lengths: int) -> Generation:
    return Generation("", (), lengths, "length", 0, 0.0)


def test_tau_counts_the_bonus_token() -> None:
    assert generation(1, 4, 4).tau == 3


def test_tau_of_no_step_is_nan() -> None:
    assert math.isnan(generation().tau)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task_id": "a"}, "record lacks .*'context_id', 'arm', 'seed', 'spec_hash'"),
        (
            {"task_id": "a", "context_id": "c", "arm": "x", "seed": 0, "spec_hash": "h", "colour": 1},
            "unknown keys .'colour'.",
        ),
    ],
)
def test_a_record_row_that_does_not_fit_is_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Record.from_json(row)
